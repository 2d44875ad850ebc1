"""The decision trail: at each tick, for each strategy and symbol, why something was or was not done. Pure.

A `Note` is said at one tick. Notes that say the same again and again become one `Run`: the reason, since when, until
when, how often. A run ends when the reason, the order or what the detail says (its numbers aside) changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from openbell.domain.money import text
from openbell.domain.positions import Position
from openbell.domain.reasons import HoldReason, Reason
from openbell.domain.signals import Signal
from openbell.engine.cycle import Decision
from openbell.engine.exits import levels

_NUMBER = re.compile(r"[-+]?\d+(,\d{3})*(\.\d+)?(e[-+]?\d+)?", re.IGNORECASE)
MAX_DETAIL = 500
"""Characters of a detail that are kept: an exception's text may be of any length."""


class TrailKind(StrEnum):
    """Entry: what came of asking a strategy. Exit: what came of looking at one of its positions."""

    ENTRY = "Entry"
    EXIT = "Exit"


@dataclass(frozen=True, slots=True)
class Note:
    """What one tick came to for one strategy and symbol.

    `reason` is the value of a Reason, ExitReason or HoldReason; `detail` one clause with the numbers, "" where the
    reason says it all; `order_ref` the order that was decided, "" for none.
    """

    time: datetime
    strategy: str
    symbol: str
    kind: TrailKind
    reason: str
    detail: str = ""
    order_ref: str = ""

    @property
    def key(self) -> RunKey:
        return (self.strategy, self.symbol, self.kind)


RunKey: TypeAlias = tuple[str, str, TrailKind]


@dataclass(frozen=True, slots=True)
class Run:
    """Ticks in a row that came to the same; `detail` is the newest one's."""

    strategy: str
    symbol: str
    kind: TrailKind
    reason: str
    detail: str
    order_ref: str
    since: datetime
    until: datetime
    count: int

    @property
    def key(self) -> RunKey:
        return (self.strategy, self.symbol, self.kind)


@dataclass(frozen=True, slots=True)
class DecisionQuery:
    """Which runs to read; None = any. `since`: those that still went on at that time, or later."""

    strategy: str | None = None
    symbol: str | None = None
    reason: str | None = None
    since: datetime | None = None
    order_ref: str | None = None
    limit: int = 100


def begun(note: Note) -> Run:
    """A run of one tick."""
    return Run(
        note.strategy,
        note.symbol,
        note.kind,
        note.reason,
        note.detail[:MAX_DETAIL],
        note.order_ref,
        note.time,
        note.time,
        1,
    )


def extended(run: Run, note: Note) -> Run | None:
    """The run with one tick more, or None where the note says something else and begins a new one.

    A note that is older than the run (the clock was set back) begins a new one, too.
    """
    same = (
        run.key == note.key
        and run.reason == note.reason
        and run.order_ref == note.order_ref
        and note.time >= run.until
        and essence(run.detail) == essence(note.detail[:MAX_DETAIL])
    )
    return replace(run, detail=note.detail[:MAX_DETAIL], until=note.time, count=run.count + 1) if same else None


def essence(detail: str) -> str:
    """A detail without its numbers: what stays the same while prices move."""
    return _NUMBER.sub("#", detail)


# -- notes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one signal: the decision's reason, or the gate's where an order was decided and not sent."""

    signal: Signal
    reason: Reason
    detail: str = ""
    order_ref: str = ""


def outcome_of(decision: Decision, answered: Reason | None = None) -> Outcome:
    """What came of a decision; `answered` is what the gate and the journal said to its order, None = not asked."""
    ref = decision.intent.order_ref if decision.intent is not None else ""
    detail = decision.detail
    if decision.until is not None:
        detail += f"; not before {decision.until:%Y-%m-%d %H:%M:%S} UTC"
    return Outcome(decision.signal, answered or decision.reason, detail, ref)


@dataclass(frozen=True, slots=True)
class Silence:
    """Why a strategy gave no signal on a symbol."""

    strategy: str
    symbol: str
    reason: Reason
    detail: str = ""


def ended_notes(now: datetime, ended: Iterable[Outcome]) -> tuple[Note, ...]:
    """What ended the wait of signals that were given before: each is a note of its own, beside what is said now."""
    return tuple(
        Note(now, each.signal.strategy, each.signal.symbol, TrailKind.ENTRY, each.reason.value, _said(each))
        for each in ended
    )


def entry_notes(now: datetime, silences: Iterable[Silence], outcomes: Iterable[Outcome]) -> tuple[Note, ...]:
    """One note for each strategy and symbol. Of several signals the first that was ordered speaks, else the first."""
    by_key: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        by_key.setdefault((outcome.signal.strategy, outcome.signal.symbol), []).append(outcome)
    # A strategy may be silent now, and a signal that it gave before be decided again.
    notes = [
        Note(now, each.strategy, each.symbol, TrailKind.ENTRY, each.reason.value, each.detail)
        for each in silences
        if (each.strategy, each.symbol) not in by_key
    ]
    for (strategy, symbol), found in by_key.items():
        first = next((each for each in found if each.order_ref), found[0])
        others = [each for each in found if each is not first]
        detail = "; ".join([_said(first), *(f"also {_said(each)}: {each.reason.value}" for each in others)])
        notes.append(Note(now, strategy, symbol, TrailKind.ENTRY, first.reason.value, detail, first.order_ref))
    return tuple(notes)


def _said(outcome: Outcome) -> str:
    signal = outcome.signal
    words = f"{signal.action.value} with confidence {signal.confidence:.2f} ({signal.reason})"
    return f"{words}, {outcome.detail}" if outcome.detail else words


def same_for_all(now: datetime, asked: Iterable[tuple[str, Sequence[str]]], reason: Reason) -> Iterator[Note]:
    """Notes for strategies and their symbols that nobody was asked about: market closed, tick skipped, paused."""
    for strategy, symbols in asked:
        for symbol in symbols:
            yield Note(now, strategy, symbol, TrailKind.ENTRY, reason.value)


def exit_note(
    position: Position, now: datetime, reason: str, *, price: Decimal | None = None, order_ref: str = ""
) -> Note:
    """Why a position is held or left now, with the price and the stop and target around it."""
    stop, target = levels(position)
    parts = [f"{name} {text(value)}" for name, value in (("price", price), ("stop", stop), ("target", target)) if value]
    held = f"{text(position.quantity)} held"
    detail = ", ".join([held, *parts])
    return Note(now, position.strategy, position.symbol, TrailKind.EXIT, str(reason), detail, order_ref)


def held_or_left(position: Position, now: datetime, price: Decimal | None, *, leaving: bool) -> Note:
    """The note of a position that no exit was decided for."""
    if leaving:
        return exit_note(position, now, HoldReason.LEAVING, price=price)
    return exit_note(position, now, HoldReason.HOLD if price is not None else HoldReason.NO_PRICE, price=price)
