"""Strategies: the list, and adding one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from openbell.domain.errors import ManifestError
from openbell.resources.common import Symbol
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

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        json_schema_extra={
            "examples": [{"strategy_type": "momentum", "config": {"symbol": "AAPL"}, "enabled": True}],
        },
    )

    strategy_type: Annotated[str, Field(description="A type of strategy in any spelling: momentum, Momentum.")]
    config: AddStrategyConfig
    enabled: bool = True
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
    """Create a Strategy for this scheduler."""
    config = body.config
    created = await view.add_strategy(
        StrategyRequest(
            type=find_type(body.strategy_type, view.strategy_types()),
            symbols=config.all_symbols(),
            parameters=dict(config.__pydantic_extra__),
            enabled=body.enabled,
            name=body.name,
            bar_seconds=config.bar_seconds,
            evaluation_interval=config.evaluation_interval,
            min_confidence=config.min_confidence,
            max_concurrent_trades=config.max_concurrent_trades,
        )
    )
    return StrategyAdded(name=created.name, strategy=strategy_body(created))
