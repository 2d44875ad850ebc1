"""Strategies: the list, and adding one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Self

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from openbell.domain.errors import ManifestError
from openbell.resources.common import Symbol
from openbell.resources.strategy import SourceSpec, StrategyType
from openbell.web.auth import require_write
from openbell.web.deps import View, errors
from openbell.web.schemas.strategies import StrategyAdded, StrategyList, strategy_body
from openbell.web.values import StrategyRequest

router = APIRouter(prefix="/api/strategies", tags=["strategies"])

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class AddStrategyConfig(BaseModel):
    """`symbol` or `symbols`, optional settings, and the parameters of the strategy's type beside them."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    symbol: Symbol | None = None
    symbols: Annotated[list[Symbol], Field(min_length=1, max_length=500)] | None = None
    bar_seconds: Annotated[int, Field(ge=1, le=86400)] | None = None
    evaluation_interval: Annotated[int, Field(ge=1, le=86400)] | None = None
    min_confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    max_concurrent_trades: Annotated[int, Field(ge=1, le=1000)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.symbol is None) == (self.symbols is None):
            raise ValueError("give either symbol or symbols")
        return self

    def all_symbols(self) -> tuple[str, ...]:
        return (self.symbol,) if self.symbol is not None else tuple(self.symbols or ())


class AddStrategy(BaseModel):
    """A strategy to create."""

    # Strict field by field: as a whole it would not take the names of types in `source`, which are no enum members yet.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {"strategy_type": "momentum", "config": {"symbol": "AAPL"}, "enabled": True},
                {
                    "strategy_type": "custom",
                    "source": {"type": "ConfigMap", "configMap": {"name": "streaks"}, "class": "Streak"},
                    "config": {"symbols": ["AAPL", "IBM"], "bars": 4},
                },
            ],
        },
    )

    strategy_type: Annotated[str, Field(description="A type of strategy in any spelling: momentum, Momentum.")]
    config: AddStrategyConfig
    source: Annotated[
        SourceSpec | None,
        Field(description="Where the class of type Custom comes from, as in the resource; refused for any other type."),
    ] = None
    enabled: Annotated[bool, Field(strict=True)] = True
    name: Name | None = None


def find_type(asked: str, types: Iterable[str]) -> str:
    """The type of strategy that a person meant, whatever the case and the separators. Raises ManifestError."""

    def key(text: str) -> str:
        return text.replace("_", "").replace("-", "").replace(" ", "").casefold()

    known = tuple(types)
    for each in known:
        if key(each) == key(asked):
            return each
    raise ManifestError(f"Field strategy_type cannot be {asked[:80]!r}: allowed are {', '.join(known)}.")


def source_of(type_name: str, source: SourceSpec | None) -> Mapping[str, object] | None:
    """The source as the resource has it. Raises ManifestError where the type needs one, or takes none."""
    is_custom = type_name == StrategyType.CUSTOM.value
    if is_custom and source is None:
        raise ManifestError("Field source is missing and required where strategy_type is Custom.")
    if not is_custom and source is not None:
        raise ManifestError(f"Field source is only allowed where strategy_type is Custom; it is {type_name}.")
    return None if source is None else source.to_manifest()


@router.get("")
async def list_strategies(view: View) -> StrategyList:
    """Every strategy of this scheduler, with its state and counters."""
    return StrategyList(strategies=[strategy_body(each) for each in view.strategies()])


@router.post(
    "/add",
    status_code=201,
    dependencies=[Depends(require_write)],
    responses=errors(401, 403, 404, 409, 413, 422, 503),
)
async def add_strategy(view: View, body: AddStrategy) -> StrategyAdded:
    """Create a Strategy for this scheduler. The class of a Custom one is in a ConfigMap or in the image already."""
    config = body.config
    type_name = find_type(body.strategy_type, view.strategy_types())
    created = await view.add_strategy(
        StrategyRequest(
            type=type_name,
            symbols=config.all_symbols(),
            parameters=dict(config.__pydantic_extra__),
            enabled=body.enabled,
            name=body.name,
            bar_seconds=config.bar_seconds,
            evaluation_interval=config.evaluation_interval,
            min_confidence=config.min_confidence,
            max_concurrent_trades=config.max_concurrent_trades,
            source=source_of(type_name, body.source),
        )
    )
    return StrategyAdded(name=created.name, strategy=strategy_body(created))
