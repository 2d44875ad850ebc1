"""What decisions were made from: the inputs that are kept, so that a replay makes the same decisions again.

Inputs only, never a decision: bars, specs, lots, what the broker and the gate had said, and the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

from openbell.domain.bars import Quote
from openbell.domain.money import ZERO
from openbell.domain.positions import Position
from openbell.domain.reasons import ExitReason, Reason
from openbell.domain.signals import Signal
from openbell.engine.cycle import Tick

_NO_SIGNALS: Mapping[str, tuple[Signal, ...]] = MappingProxyType({})
_NO_ERRORS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SeriesRef:
    """Which of the recorded bars a series held: all from `first_end` to `last_end` (seconds since 1970 UTC)."""

    symbol: str
    bar_seconds: int
    count: int
    first_end: float | None
    last_end: float | None


@dataclass(frozen=True, slots=True)
class WaitedSignal:
    """A signal that waited until this evaluation and no longer: what it waited for and until when, what its strategy
    held, and the standing that it was given under and the one of now (None: the strategy is gone).
    """

    signal: Signal
    reason: Reason
    until: datetime
    lot: Decimal
    standing: tuple[int, ...] | None
    standing_now: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """One evaluation. `roster` names the specs in force; `asked` are the strategies that were due, in order.

    `lots` are the strategies' holdings when they were asked; `waiting` the signals of earlier evaluations that were
    decided again with this one's, `waited` those that were not any more. `given` has the signals of strategies whose
    rule is not part of this program, `failed` the error of those that could not answer. `tick` is what else the
    decisions depend on, without what follows from bars and specs (signals, terms, limits); None where nobody gave a
    signal. `connected` is whether the broker was there when the decisions were to be carried out.
    """

    now: datetime
    owner: str
    epoch: int
    roster: str
    asked: tuple[str, ...]
    bars: tuple[SeriesRef, ...]
    lots: Mapping[tuple[str, str], Decimal]
    connected: bool = True
    tick: Tick | None = None
    given: Mapping[str, tuple[Signal, ...]] = field(default_factory=lambda: _NO_SIGNALS)
    failed: Mapping[str, str] = field(default_factory=lambda: _NO_ERRORS)
    waiting: tuple[Signal, ...] = ()
    waited: tuple[WaitedSignal, ...] = ()


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """One look at a position that an exit was decided at. `held` is the broker's signed quantity, None = unknown.

    `asked`: an exit of the whole lot that a person wants, or that had to wait. `carried` and `carried_quantity`: one
    that a limit order has tried in vain; `in_vain` says that the last exit was such a limit order.
    """

    now: datetime
    owner: str
    epoch: int
    position: Position
    quote: Quote | None
    session_close: datetime | None
    held: Decimal | None
    flattening: bool = False
    asked: ExitReason | None = None
    carried: ExitReason | None = None
    carried_quantity: Decimal = ZERO
    in_vain: bool = False


@dataclass(frozen=True, slots=True)
class SplitRecord:
    """A stock split of `ratio` new shares for one old, which changed the orders that were under way."""

    now: datetime
    symbol: str
    ratio: Decimal


@dataclass(frozen=True, slots=True)
class Roster:
    """The specs in force as canonical JSON: the scheduler's, and each strategy's with the parameters in force."""

    scheduler: str
    strategies: Mapping[str, str]
