"""A scenario: a YAML file that says what the gateway is and what goes wrong, checked with a sentence for each mistake.

seed: 7
accounts: [DU1000001]
faults:
  - kind: DropAcknowledgement
    nth: 2
  - kind: ConnectivityLost
    afterSeconds: 30
    seconds: 5
    dataLost: true
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from openbell.domain.errors import ManifestError
from openbell.gateway.faults import TIMED, Fault, Kind
from openbell.gateway.settings import DataRights, ExchangeSettings, GatewaySettings

M = TypeVar("M", bound=BaseModel)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class FaultModel(_Model):
    """One fault, as a person writes it."""

    kind: Kind
    nth: Annotated[int, Field(ge=1)] | None = None
    every: Annotated[int, Field(ge=1)] | None = None
    chance: Annotated[float, Field(gt=0, le=1)] | None = None
    after_seconds: Annotated[float, Field(ge=0)] | None = None
    every_seconds: Annotated[float, Field(gt=0)] | None = None
    seconds: Annotated[float, Field(ge=0, le=86_400)] = 1.0
    data_lost: bool = False
    steps: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _one_way(self) -> FaultModel:
        counted = [name for name in ("nth", "every", "chance") if getattr(self, name) is not None]
        if len(counted) > 1:
            raise ValueError(f"{' and '.join(counted)} exclude each other")
        timed = self.after_seconds is not None or self.every_seconds is not None
        if self.kind in TIMED and (counted or not timed):
            raise ValueError(f"{self.kind} happens at a time: say afterSeconds or everySeconds")
        if self.kind not in TIMED and timed:
            raise ValueError(f"{self.kind} happens at an opportunity: say nth, every or chance, or nothing for always")
        return self

    def fault(self) -> Fault:
        """The rule."""
        return Fault(**self.model_dump())


class Scenario(_Model):
    """What a gateway is, and what goes wrong with it. Everything has a default."""

    seed: Annotated[int, Field(ge=0)] = 1
    accounts: Annotated[tuple[str, ...], Field(min_length=1)] = ("DU1000001",)
    starting_cash: Annotated[Decimal, Field(ge=0)] = Decimal(1_000_000)
    volatility: Annotated[float, Field(ge=0, le=20)] = 0.3
    symbols: tuple[str, ...] = ()
    half_spread_ticks: Annotated[int, Field(ge=0)] = 1
    depth: Annotated[Decimal, Field(gt=0)] | None = None
    cancel_seconds: Annotated[float, Field(ge=0)] = 0.0
    preset_tif: bool = True
    read_only: bool = False
    data: DataRights = DataRights.LIVE
    delay_seconds: Annotated[float, Field(ge=0)] = 900.0
    pacing: bool = True
    master_client_id: Annotated[int, Field(ge=0)] | None = None
    max_version: Annotated[int, Field(ge=157, le=178)] = 178
    faults: tuple[FaultModel, ...] = ()

    def settings(self, host: str = "127.0.0.1", port: int = 0) -> GatewaySettings:
        """The gateway's settings."""
        exchange = ExchangeSettings(
            accounts=self.accounts,
            starting_cash=self.starting_cash,
            seed=self.seed,
            volatility=self.volatility,
            symbols=self.symbols,
            half_spread_ticks=self.half_spread_ticks,
            depth=self.depth,
            cancel_seconds=self.cancel_seconds,
            preset_tif=self.preset_tif,
            read_only=self.read_only,
        )
        return GatewaySettings(
            exchange=exchange,
            host=host,
            port=port,
            max_version=self.max_version,
            data_rights=self.data,
            delay_seconds=self.delay_seconds,
            pacing=self.pacing,
            master_client_id=self.master_client_id,
            faults=tuple(fault.fault() for fault in self.faults),
        )


def parse(text: str, name: str = "scenario") -> Scenario:
    """A scenario from YAML. Raises ManifestError with a sentence for each thing that is wrong."""
    try:
        values: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ManifestError(f"{name} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict | None):
        raise ManifestError(f"{name} is not a mapping of settings")
    return validated(Scenario, values or {}, name)


def read_file(path: Path) -> Scenario:
    """A scenario from a file. Raises ManifestError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read: {error}") from error
    return parse(text, path.name)


def parse_fault(values: dict[str, Any]) -> Fault:
    """One fault from plain values. Raises ManifestError."""
    return validated(FaultModel, values, "fault").fault()


def validated(model: type[M], values: dict[str, Any], name: str) -> M:
    """The model of `values`. Raises ManifestError."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        sentences = []
        for problem in error.errors():
            place = ".".join(str(part) for part in problem["loc"])
            said = problem["msg"].removeprefix("Value error, ")
            sentences.append(f"{name}{f', {place}' if place else ''}: {said}")
        raise ManifestError("; ".join(sentences)) from error
