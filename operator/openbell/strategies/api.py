"""What a strategy is: typed parameters, a statement of the bars it needs, and a pure function of closed bars."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Generic, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from openbell.domain.bars import BarSeries, Floats
from openbell.domain.money import ZERO
from openbell.domain.records import quick
from openbell.domain.signals import Action, Signal

Flags: TypeAlias = npt.NDArray[np.int8]


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


@quick
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


@dataclass(frozen=True, slots=True)
class HeldPosition:
    """What a strategy sees of a position of its own: signed `quantity`, prices in account currency, and the `stop` at
    which it would be left now (None: it has none)."""

    quantity: Decimal
    average_price: float
    opened_at: datetime
    stop: float | None = None

    @property
    def is_long(self) -> bool:
        return self.quantity > ZERO


@dataclass(frozen=True, slots=True)
class ExitSignal:
    """Leave the position, or with `stop` tighten its stop to that price; `reason` is for people."""

    reason: str
    stop: float | None = None


@dataclass(frozen=True, slots=True)
class SignalColumns:
    """What a rule says at every bar of a history, for each position in which it could find itself there.

    Six arrays of one length, one value for each bar, oldest first. `open` (int8) is what it says while flat: 1 buy,
    -1 sell, 0 nothing. `close_long` and `close_short` (int8) are 1 where it would close such a position. The three
    confidences (float64, from 0 to 1) belong to them, and are 0 where nothing is said.
    """

    open: Flags
    open_confidence: Floats
    close_long: Flags
    close_long_confidence: Floats
    close_short: Flags
    close_short_confidence: Floats

    def __len__(self) -> int:
        return len(self.open)

    @classmethod
    def silent(cls, length: int) -> Self:
        """Nothing said at any of `length` bars."""

        def flags() -> Flags:
            return np.zeros(length, dtype=np.int8)

        def confidences() -> Floats:
            return np.zeros(length, dtype=np.float64)

        return cls(flags(), confidences(), flags(), confidences(), flags(), confidences())

    @classmethod
    def placed(
        cls,
        length: int,
        *,
        buy: npt.NDArray[np.bool_],
        sell: npt.NDArray[np.bool_],
        close_long: npt.NDArray[np.bool_],
        close_short: npt.NDArray[np.bool_],
        open_confidence: Floats,
        close_long_confidence: Floats,
        close_short_confidence: Floats,
    ) -> Self:
        """Columns of `length` bars from what is said of the newest of them; before those nothing is said."""
        columns = cls.silent(length)
        start = length - len(buy)
        columns.open[start:] = buy.astype(np.int8) - sell.astype(np.int8)
        columns.open_confidence[start:] = np.where(buy | sell, open_confidence, 0.0)
        columns.close_long[start:] = close_long
        columns.close_long_confidence[start:] = np.where(close_long, close_long_confidence, 0.0)
        columns.close_short[start:] = close_short
        columns.close_short_confidence[start:] = np.where(close_short, close_short_confidence, 0.0)
        return columns


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

    def exit(self, context: Context[P], position: HeldPosition) -> ExitSignal | None:
        """Optional: what to do about a position of the strategy's own at a closed bar; None lets it be.

        Pure, as `evaluate` is, and asked after it. It can leave the position or tighten its stop. It can veto no exit:
        where the policy's stop is the tighter one, that stays. A rule with this hook has no batch form.
        """
        return None

    def signals(self, bars: BarSeries, params: P) -> SignalColumns | None:
        """The same rule over a whole history at once, one value for each bar; None where a rule has no such form.

        At every bar it says what `evaluate` would say with the bars up to there: backtests use it, after proving so.
        """
        return None


def has_exit(strategy: Strategy[Any]) -> bool:
    """Whether a rule has the hook `exit`."""
    return type(strategy).exit is not Strategy.exit


def halving(strength: float) -> float:
    """A confidence in [0, 1): 0 for no strength, and each unit of strength halves what is missing to 1."""
    return 1.0 - float(0.5 ** max(0.0, strength))


def halvings(strength: Floats) -> Floats:
    """`halving` of each value."""
    missing: Floats = np.exp2(-np.maximum(strength, 0.0))
    return 1.0 - missing
