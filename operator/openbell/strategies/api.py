"""What a strategy is: typed parameters, a statement of the bars it needs, and a pure function of closed bars."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from openbell.domain.bars import BarSeries
from openbell.domain.money import ZERO
from openbell.domain.signals import Action, Signal


class StrategyParams(BaseModel):
    """Base of every strategy's parameters: frozen, camelCase in manifests, nothing unknown, no coercion."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )


P = TypeVar("P", bound=StrategyParams)


@dataclass(frozen=True, slots=True)
class DataNeeds:
    """The bars that an evaluation reads: their length, and how many of the newest closed ones it takes."""

    bar_seconds: int
    warmup: int


@dataclass(frozen=True, slots=True)
class Context(Generic[P]):
    """Everything that an evaluation may depend on.

    `bars` are closed, oldest first, at least as many as the strategy's warm-up; `position_quantity` is what the
    strategy itself holds of the symbol, signed; `now` is the time of the evaluation, UTC.
    """

    symbol: str
    bars: BarSeries
    params: P
    position_quantity: Decimal
    now: datetime
    strategy: str = ""
    priority: int = 0
    version: str = ""
    parameters_hash: str = ""

    @property
    def is_flat(self) -> bool:
        return self.position_quantity == ZERO

    @property
    def is_long(self) -> bool:
        return self.position_quantity > ZERO

    def signal(self, action: Action, confidence: float, reason: str, *, valid_bars: float = 1.0) -> Signal:
        """A signal on the newest bar that lives for `valid_bars` bars from now on."""
        end = self.bars.last_end
        if end is None:
            raise ValueError("a signal needs at least one bar")
        return Signal(
            strategy=self.strategy,
            symbol=self.symbol,
            action=action,
            confidence=float(confidence),
            bar_time=end,
            valid_until=max(self.now, end) + timedelta(seconds=valid_bars * self.bars.bar_seconds),
            reason=reason,
            version=self.version,
            parameters_hash=self.parameters_hash,
            priority=self.priority,
        )


class Strategy(ABC, Generic[P]):
    """One rule. Instances hold no state: the same context always gives the same signals."""

    name: ClassVar[str]
    """The type's name in manifests."""
    version: ClassVar[str]
    """Changes whenever the same bars may give another signal."""
    Params: ClassVar[type[StrategyParams]]

    @abstractmethod
    def data(self, params: P, bar_seconds: int) -> DataNeeds:
        """The bars needed for these parameters."""

    @abstractmethod
    def evaluate(self, context: Context[P]) -> Iterable[Signal]:
        """At most one signal for the context's symbol and its newest bar; none without enough bars.

        Reads exactly the newest `data(...).warmup` bars, so that a longer history cannot change the answer.
        """


def halving(strength: float) -> float:
    """A confidence in [0, 1): 0 for no strength, and each unit of strength halves what is missing to 1."""
    return 1.0 - float(0.5 ** max(0.0, strength))
