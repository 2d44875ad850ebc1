"""What must hold of any strategy, tried on bars: no look-ahead, enough warm-up, no memory, no clock, a true batch.

A strategy that breaks one of these makes a backtest that lies, or a runner that acts otherwise after a restart. Nothing
is proven: what is said of the bars at hand is.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np

from openbell.domain.bars import BarSeries, Floats
from openbell.domain.money import ZERO
from openbell.domain.signals import Action, Signal
from openbell.strategies.api import Context, ExitSignal, HeldPosition, SignalColumns, Strategy, StrategyParams, has_exit
from openbell.strategies.watching import clock_readings

CONFIDENCE_TOLERANCE = 1e-9
POSITIONS: tuple[tuple[str, Decimal], ...] = (("flat", ZERO), ("long", Decimal(10)), ("short", Decimal(-10)))
MOST_BARS = 300
"""Bars at which a strategy is asked, the newest ones; each is asked several times in each position."""

Make: TypeAlias = Callable[[], Strategy[Any]]
Said: TypeAlias = tuple[Signal, ...]


class Check(StrEnum):
    """What is looked at. The value is the name that people read."""

    RUNS = "runs"
    LOOK_AHEAD = "look-ahead"
    WARM_UP = "warm-up"
    REPEATS = "determinism"
    MEMORY = "memory"
    CLOCK = "clock"
    BATCH = "batch"
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not hold: a sentence, and the end of the first bar at which it shows (UTC)."""

    check: Check
    sentence: str
    bar: datetime | None = None

    def __str__(self) -> str:
        return f"{self.check.value}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Question:
    """One evaluation to ask for: the bar's index, and the position in words and shares."""

    bar: int
    position: str
    quantity: Decimal


class Examination:
    """One strategy with its parameters on one history, and the ways in which it is asked."""

    def __init__(self, make: Make, params: StrategyParams, bars: BarSeries) -> None:
        self.make = make
        self.params = params
        self.bars = bars
        self.strategy = make()
        self.warmup = self.strategy.data(params, bars.bar_seconds).warmup

    def questions(self) -> list[Question]:
        first = max(self.warmup - 1, len(self.bars) - MOST_BARS)
        return [
            Question(bar, position, quantity)
            for bar in range(first, len(self.bars))
            for position, quantity in POSITIONS
        ]

    def ask(self, question: Question, *, of: Strategy[Any] | None = None, bars: BarSeries | None = None) -> Said:
        """What it says; `bars` (a copy of all up to the question's, if not given) end with the question's bar."""
        return tuple((of or self.strategy).evaluate(self._context(question, bars)))

    def ask_to_exit(
        self, question: Question, *, of: Strategy[Any] | None = None, bars: BarSeries | None = None
    ) -> ExitSignal | None:
        """What it says of a position that was opened at the first bar, at its close, and has no stop."""
        context = self._context(question, bars)
        held = HeldPosition(question.quantity, float(self.bars.close[0]), self.end_of(0))
        return (of or self.strategy).exit(context, held)

    def _context(self, question: Question, bars: BarSeries | None) -> Context[Any]:
        series = bars if bars is not None else alone(window(self.bars, 0, question.bar + 1))
        end = series.last_end
        assert end is not None  # noqa: S101 - a question is about a bar
        return Context(
            symbol=series.symbol,
            bars=series,
            params=self.params,
            position_quantity=question.quantity,
            now=end,
            strategy="check",
        )

    def at(self, question: Question) -> str:
        """Where in the history, in words."""
        return f"at the bar that ends {self.end_of(question.bar):%Y-%m-%d %H:%M:%S} UTC, {question.position}"

    def end_of(self, bar: int) -> datetime:
        end = window(self.bars, bar, bar + 1).last_end
        assert end is not None  # noqa: S101 - the window has one bar
        return end


def check_strategy(make: Make, params: StrategyParams, bars: BarSeries) -> tuple[Finding, ...]:
    """Everything that does not hold of the strategies that `make` gives, each with these parameters, on these bars."""
    try:
        examination = Examination(make, params, bars)
        questions = examination.questions()
        if not questions:
            return (Finding(Check.RUNS, f"it wants {examination.warmup} bars; there are {len(bars)} to try it on"),)
        answers = {question: examination.ask(question) for question in questions}
    except Exception as error:  # noqa: BLE001 - the boundary of foreign code
        return (Finding(Check.RUNS, f"it raised {last_line(error)}"),)
    findings: list[Finding] = []
    for check in (_signals, _clock, _repeats, _memory, _look_ahead, _warm_up, _batch, _exit):
        try:
            found = next(iter(check(examination, answers)), None)
        except Exception as error:  # noqa: BLE001 - the boundary of foreign code
            found = Finding(Check.RUNS, f"asked again, or of other bars, it raised {last_line(error)}")
        if found is not None:
            findings.append(found)
            if found.check in _UNSTEADY:
                break  # answers that change by themselves would be found by every other check too
    return tuple(findings)


def window(bars: BarSeries, start: int, stop: int) -> BarSeries:
    """Some of the bars, as views of the same memory."""
    return _of(bars, [getattr(bars, name)[start:stop] for name in _COLUMNS])


def alone(bars: BarSeries) -> BarSeries:
    """The same bars in memory of their own."""
    columns = [getattr(bars, name).copy() for name in _COLUMNS]
    for column in columns:
        column.setflags(write=False)
    return _of(bars, columns)


def _of(bars: BarSeries, columns: list[Floats]) -> BarSeries:
    """Other bars of the same kind; columns in the order of `_COLUMNS`."""
    return BarSeries(bars.symbol, bars.bar_seconds, *columns)


def last_line(error: BaseException) -> str:
    """The last line of the error's traceback, which names it."""
    return traceback.format_exception_only(error)[-1].strip()


_UNSTEADY = (Check.CLOCK, Check.REPEATS, Check.MEMORY)
_COLUMNS = ("end", "open", "high", "low", "close", "volume")
Answers: TypeAlias = dict[Question, Said]


def _signals(examination: Examination, answers: Answers) -> Iterator[Finding]:
    for question, said in answers.items():
        where, bar = examination.at(question), examination.end_of(question.bar)
        if len(said) > 1:
            yield Finding(Check.RUNS, f"it gave {len(said)} signals {where}; it may give one", bar)
        for signal in said:
            if not isinstance(signal, Signal):
                yield Finding(Check.RUNS, f"it gave {signal!r} {where}; it must give signals", bar)
            elif not (math.isfinite(signal.confidence) and 0 <= signal.confidence <= 1):
                yield Finding(Check.RUNS, f"its confidence is {signal.confidence} {where}; it must be from 0 to 1", bar)
            elif signal.bar_time != bar:
                yield Finding(Check.RUNS, f"its signal is of {signal.bar_time} {where}; it must be of that bar", bar)


def _repeats(examination: Examination, answers: Answers) -> Iterator[Finding]:
    for question in answers:
        first, second = examination.ask(question), examination.ask(question)
        if first != second:
            sentence = f"asked the same twice, it says {told(first)} and then {told(second)} {examination.at(question)}"
            new = [examination.ask(question, of=examination.make()) for _ in range(20)]
            check = Check.MEMORY if all(each == new[0] for each in new) else Check.REPEATS
            yield Finding(check, sentence, examination.end_of(question.bar))


def _look_ahead(examination: Examination, answers: Answers) -> Iterator[Finding]:
    for question, without in answers.items():
        # A view of all bars, behind which later ones lie in memory.
        with_future = examination.ask(question, bars=window(examination.bars, 0, question.bar + 1))
        if with_future != without:
            yield Finding(
                Check.LOOK_AHEAD,
                f"it says {told(with_future)} while later bars exist and {told(without)} without them "
                f"{examination.at(question)}",
                examination.end_of(question.bar),
            )
    yield from _batch_look_ahead(examination)


def _batch_look_ahead(examination: Examination) -> Iterator[Finding]:
    bars = examination.bars
    whole = examination.strategy.signals(bars, examination.params)
    if whole is None:
        return
    for stop in sorted({len(bars) - back for back in (1, 2, 3, 5, 10, 50, 200) if len(bars) - back >= 1}):
        prefix = examination.strategy.signals(alone(window(bars, 0, stop)), examination.params)
        first = _first_difference(whole, prefix, stop)
        if first is not None:
            yield Finding(
                Check.LOOK_AHEAD,
                f"the batch form says another thing of the bar that ends {examination.end_of(first):%Y-%m-%d %H:%M:%S} "
                f"UTC when {len(bars) - stop} later bars are there",
                examination.end_of(first),
            )


def _warm_up(examination: Examination, answers: Answers) -> Iterator[Finding]:
    for question, said in answers.items():
        stop = question.bar + 1
        shortest = examination.ask(question, bars=alone(window(examination.bars, stop - examination.warmup, stop)))
        if shortest != said:
            yield Finding(
                Check.WARM_UP,
                f"it says {told(shortest)} from the {examination.warmup} bars that it asks for and {told(said)} from "
                f"{stop} {examination.at(question)}",
                examination.end_of(question.bar),
            )


def _memory(examination: Examination, answers: Answers) -> Iterator[Finding]:
    """Neither what was asked before nor a fresh instance changes an answer."""
    for question, said in answers.items():
        fresh = examination.ask(question, of=examination.make())
        again = examination.ask(question)
        if said not in (fresh, again) or fresh != again:
            other, which = (fresh, "a fresh instance") if fresh != said else (again, "asked again later")
            yield Finding(
                Check.MEMORY,
                f"it says {told(said)}, and {which} {told(other)} {examination.at(question)}: it keeps something "
                "from one evaluation to the next",
                examination.end_of(question.bar),
            )


def _clock(examination: Examination, answers: Answers) -> Iterator[Finding]:
    for question in list(answers)[: len(POSITIONS)] + list(answers)[-len(POSITIONS) :]:
        with clock_readings(type(examination.strategy).__module__) as readings:
            examination.ask(question)
        if readings:
            yield Finding(
                Check.CLOCK,
                f"it reads {readings[0]} {examination.at(question)}; the time of an evaluation is context.now",
                examination.end_of(question.bar),
            )


def _batch(examination: Examination, answers: Answers) -> Iterator[Finding]:
    """The batch form says at every bar, for every position, what an evaluation says."""
    bars = examination.bars
    columns = examination.strategy.signals(bars, examination.params)
    if columns is None:
        return
    lengths = {len(getattr(columns, field.name)) for field in fields(SignalColumns)}
    if lengths != {len(bars)}:
        yield Finding(Check.BATCH, f"its columns have {sorted(lengths)} values for {len(bars)} bars")
        return
    for question, said in answers.items():
        action, confidence = _column_answer(columns, question)
        spoken = said[0] if said else None
        same_action = (spoken.action if spoken else None) is action
        if not same_action or (spoken and not abs(spoken.confidence - confidence) <= CONFIDENCE_TOLERANCE):
            batch = "nothing" if action is None else f"{action.value} with confidence {confidence:.9g}"
            sentence = f"the batch form says {batch} and an evaluation {told(said)} {examination.at(question)}"
            yield Finding(Check.BATCH, sentence, examination.end_of(question.bar))
    first = min(question.bar for question in answers)
    too_early = min(first, examination.warmup - 1)
    if any(np.any(getattr(columns, name)[:too_early]) for name in ("open", "close_long", "close_short")):
        yield Finding(Check.BATCH, f"the batch form speaks before the {examination.warmup} bars that it asks for")


def _exit(examination: Examination, answers: Answers) -> Iterator[Finding]:
    """The hook of exits sees no later bar, reads no more bars than it asked for, no clock, and keeps nothing."""
    if not has_exit(examination.strategy):
        return
    bars = examination.bars
    if examination.strategy.signals(bars, examination.params) is not None:
        yield Finding(Check.EXIT, "it has exit, which is asked bar by bar, and a batch form; it cannot have both")
    for question in answers:
        if question.quantity == ZERO:
            continue
        where, bar, stop = examination.at(question), examination.end_of(question.bar), question.bar + 1
        with clock_readings(type(examination.strategy).__module__) as readings:
            said = examination.ask_to_exit(question)
        if readings:
            yield Finding(Check.EXIT, f"exit reads {readings[0]} {where}; the time is context.now", bar)
        if said is not None and not isinstance(said, ExitSignal):
            yield Finding(Check.EXIT, f"exit gave {said!r} {where}; it must give an ExitSignal or None", bar)
            return
        if said is not None and said.stop is not None and not (math.isfinite(said.stop) and said.stop > 0):
            yield Finding(Check.EXIT, f"exit gave the stop {said.stop} {where}; it must be a price above 0", bar)
        others = {
            "asked again": examination.ask_to_exit(question),
            "a fresh instance": examination.ask_to_exit(question, of=examination.make()),
            "while later bars exist": examination.ask_to_exit(question, bars=window(bars, 0, stop)),
            f"from the {examination.warmup} bars that it asks for": examination.ask_to_exit(
                question, bars=alone(window(bars, stop - examination.warmup, stop))
            ),
        }
        for which, other in others.items():
            if other != said:
                yield Finding(Check.EXIT, f"exit says {other}, {which}, and else {said} {where}", bar)


def _column_answer(columns: SignalColumns, question: Question) -> tuple[Action | None, float]:
    flag, confidence = {
        "flat": (columns.open, columns.open_confidence),
        "long": (columns.close_long, columns.close_long_confidence),
        "short": (columns.close_short, columns.close_short_confidence),
    }[question.position]
    value = int(flag[question.bar])
    if value == 0:
        return None, 0.0
    action = Action.CLOSE if question.position != "flat" else Action.BUY if value > 0 else Action.SELL
    return action, float(confidence[question.bar])


def _first_difference(whole: SignalColumns, prefix: SignalColumns | None, stop: int) -> int | None:
    if prefix is None:
        return 0
    differing: list[int] = []
    for field in fields(SignalColumns):
        left, right = getattr(whole, field.name)[:stop], getattr(prefix, field.name)
        if len(left) != len(right):
            return None  # the batch check says so
        tolerance = CONFIDENCE_TOLERANCE if field.name.endswith("confidence") else 0
        apart = np.flatnonzero(~(np.abs(left.astype(float) - right) <= tolerance))
        differing += [int(apart[0])] if len(apart) else []
    return min(differing, default=None)


def told(said: Sequence[Signal]) -> str:
    """An answer in words."""
    return ", ".join(f"{each.action.value} with confidence {each.confidence:.9g}" for each in said) or "nothing"
