"""The checks find planted faults by name, and have nothing to say of what is right."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

import numpy as np
import pytest

from openbell.domain.bars import BarSeries
from openbell.domain.signals import Action, Signal
from openbell.strategies import (
    STRATEGY_TYPES,
    Context,
    DataNeeds,
    ExitSignal,
    HeldPosition,
    SignalColumns,
    Strategy,
    StrategyParams,
    strategy_for,
    validate_parameters,
)
from openbell.strategies.checks import Check, Finding, check_strategy

LOOKBACK = 3


def walk(seed: int = 5, length: int = 120) -> BarSeries:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.004, length)))
    end = datetime(2026, 3, 2, 15, tzinfo=dt.UTC).timestamp() + 60.0 * np.arange(length)
    columns = [end, close, close + 0.1, close - 0.1, close, np.ones(length)]
    for column in columns:
        column.setflags(write=False)
    return BarSeries("AAPL", 60, *columns)


class Sound(Strategy[StrategyParams]):
    """Buys a rise over three bars, closes on a fall. The faults below are planted in it."""

    name: ClassVar[str] = "Sound"
    version: ClassVar[str] = "1"
    Params: ClassVar[type[StrategyParams]] = StrategyParams

    def data(self, params: StrategyParams, bar_seconds: int) -> DataNeeds:
        return DataNeeds(bar_seconds, LOOKBACK + 1)

    def rise(self, context: Context[Any]) -> float:
        return float(context.bars.close[-1] / context.bars.close[-1 - LOOKBACK] - 1)

    def evaluate(self, context: Context[Any]) -> Iterable[Signal]:
        rise = self.rise(context)
        if context.is_flat:
            return (context.signal(Action.BUY, 0.7, ""),) if rise > 0 else ()
        return (context.signal(Action.CLOSE, 0.7, ""),) if (rise < 0) is context.is_long else ()

    def signals(self, bars: BarSeries, params: StrategyParams) -> SignalColumns | None:
        rise = self.rises(bars)
        nothing, sure = np.zeros(len(rise), dtype=bool), np.full(len(rise), 0.7)
        return SignalColumns.placed(
            len(bars),
            buy=rise > 0,
            sell=nothing,
            close_long=rise < 0,
            close_short=rise >= 0,
            open_confidence=sure,
            close_long_confidence=sure,
            close_short_confidence=sure,
        )

    def rises(self, bars: BarSeries) -> Any:
        return bars.close[LOOKBACK:] / bars.close[: len(bars.close) - LOOKBACK] - 1


class PeeksAtTheFuture(Sound):
    """Reads the array behind the view that it is given."""

    def rise(self, context: Context[Any]) -> float:
        behind = context.bars.close.base
        later = behind if behind is not None and len(behind) > len(context.bars) else context.bars.close
        return float(later[-1] - context.bars.close[-1]) or super().rise(context)


class PeeksInItsBatch(Sound):
    """Measures every bar against the mean of the whole history."""

    def rises(self, bars: BarSeries) -> Any:
        return (bars.close - bars.close.mean())[LOOKBACK:]


class ReadsMoreThanItsWarmUp(Sound):
    def rise(self, context: Context[Any]) -> float:
        return float(context.bars.close[-1] - context.bars.close.mean())


class CountsItsCalls(Sound):
    def __init__(self) -> None:
        self.calls = 0

    def rise(self, context: Context[Any]) -> float:
        self.calls += 1
        return 1.0 if self.calls % 3 else -1.0


class RemembersTheHighest(Sound):
    def __init__(self) -> None:
        self.highest = 0.0

    def rise(self, context: Context[Any]) -> float:
        self.highest = max(self.highest, float(context.bars.close[-1]))
        return float(context.bars.close[-1]) - 0.999 * self.highest


class ThrowsDice(Sound):
    def rise(self, context: Context[Any]) -> float:
        return random.random() - 0.5


class ReadsTheClock(Sound):
    def rise(self, context: Context[Any]) -> float:
        return 1.0 if time.time() > 0 else -1.0


class ReadsTheDate(Sound):
    def rise(self, context: Context[Any]) -> float:
        assert isinstance(context.now, datetime)
        return float(datetime.now(dt.UTC).year)


class IsOneBarLate(Sound):
    def rises(self, bars: BarSeries) -> Any:
        return np.concatenate([[0.0], super().rises(bars)])[:-1]


class IsSurerInItsBatch(Sound):
    def signals(self, bars: BarSeries, params: StrategyParams) -> SignalColumns | None:
        columns = super().signals(bars, params)
        return replace(columns, open_confidence=columns.open_confidence + 2e-9) if columns else None


class HasTooShortColumns(Sound):
    def signals(self, bars: BarSeries, params: StrategyParams) -> SignalColumns | None:
        return SignalColumns.silent(len(bars) - 1)


class SpeaksTooEarly(Sound):
    def signals(self, bars: BarSeries, params: StrategyParams) -> SignalColumns | None:
        columns = super().signals(bars, params)
        if columns is not None:
            columns.open[0] = 1
        return columns


class FallsOver(Sound):
    def rise(self, context: Context[Any]) -> float:
        raise ZeroDivisionError("no")


class IsTooSure(Sound):
    def evaluate(self, context: Context[Any]) -> Iterable[Signal]:
        return (context.signal(Action.BUY, 1.5, ""),)


class SpeaksTwice(Sound):
    def evaluate(self, context: Context[Any]) -> Iterable[Signal]:
        return (context.signal(Action.BUY, 0.5, ""), context.signal(Action.SELL, 0.5, ""))


class SpeaksOfAnotherBar(Sound):
    def evaluate(self, context: Context[Any]) -> Iterable[Signal]:
        return (replace(context.signal(Action.BUY, 0.5, ""), bar_time=datetime(2020, 1, 1, tzinfo=dt.UTC)),)


FAULTS: list[tuple[type[Sound], Check, str]] = [
    (PeeksAtTheFuture, Check.LOOK_AHEAD, "while later bars exist and"),
    (PeeksInItsBatch, Check.LOOK_AHEAD, "the batch form says another thing of the bar that ends"),
    (ReadsMoreThanItsWarmUp, Check.WARM_UP, "from the 4 bars that it asks for"),
    (CountsItsCalls, Check.MEMORY, "asked the same twice, it says Close with confidence 0.7 and then nothing"),
    (RemembersTheHighest, Check.MEMORY, "it keeps something from one evaluation to the next"),
    (ThrowsDice, Check.REPEATS, "asked the same twice, it says"),
    (ReadsTheClock, Check.CLOCK, "it reads time.time at the bar that ends 2026-03-02 15:03:00 UTC, flat; the time of"),
    (ReadsTheDate, Check.CLOCK, "it reads datetime.now at"),
    (IsOneBarLate, Check.BATCH, "the batch form says"),
    (IsSurerInItsBatch, Check.BATCH, "Buy with confidence 0.700000002 and an evaluation Buy with confidence 0.7 at"),
    (HasTooShortColumns, Check.BATCH, "its columns have [119] values for 120 bars"),
    (SpeaksTooEarly, Check.BATCH, "speaks before the 4 bars"),
    (FallsOver, Check.RUNS, "it raised ZeroDivisionError: no"),
    (IsTooSure, Check.RUNS, "its confidence is 1.5 at the bar"),
    (SpeaksTwice, Check.RUNS, "it gave 2 signals at the bar"),
    (SpeaksOfAnotherBar, Check.RUNS, "its signal is of 2020-01-01"),
]


@pytest.mark.parametrize(("faulty", "check", "words"), FAULTS, ids=[each.__name__ for each, _, _ in FAULTS])
def test_a_planted_fault_is_found_by_name(faulty: type[Sound], check: Check, words: str) -> None:
    findings = check_strategy(faulty, StrategyParams(), walk())
    (found,) = [each for each in findings if each.check is check]
    assert words in found.sentence
    assert "\n" not in found.sentence
    assert {each.check for each in findings} <= {check, Check.BATCH}


def test_what_is_sound_has_no_findings() -> None:
    assert check_strategy(Sound, StrategyParams(), walk()) == ()


def test_the_first_bar_at_which_it_shows_is_named() -> None:
    class FailsFromThereOn(Sound):
        def rises(self, bars: BarSeries) -> Any:
            rises = super().rises(bars).copy()
            rises[50:] *= -1
            return rises

    (found,) = check_strategy(FailsFromThereOn, StrategyParams(), walk())
    assert found.bar == datetime(2026, 3, 2, 15, 50 + LOOKBACK, tzinfo=dt.UTC)
    assert "at the bar that ends 2026-03-02 15:53:00 UTC" in str(found)


@pytest.mark.parametrize("type_name", STRATEGY_TYPES)
def test_the_built_in_rules_pass(type_name: str) -> None:
    params = validate_parameters(type_name, {"direction": "Both"})
    assert check_strategy(type(strategy_for(type_name)), params, walk(length=160)) == ()


def test_too_few_bars_are_said() -> None:
    assert check_strategy(Sound, StrategyParams(), walk(length=3)) == (
        Finding(Check.RUNS, "it wants 4 bars; there are 3 to try it on"),
    )


def test_the_clock_is_the_clock_again_afterwards() -> None:
    before = (time.time, dt.datetime, datetime)
    check_strategy(ReadsTheDate, StrategyParams(), walk())
    assert (time.time, dt.datetime, datetime) == before


# -- the hook of exits -------------------------------------------------------------------------------------------------


class Leaving(Sound):
    """Leaves a position at the first fall, and else tightens its stop to the lowest of the last closes."""

    def exit(self, context: Context[Any], position: HeldPosition) -> ExitSignal | None:
        closes = context.bars.close[-LOOKBACK:]
        return ExitSignal("it falls") if closes[-1] < closes[0] else ExitSignal("up", stop=float(closes.min()))

    def signals(self, bars: BarSeries, params: StrategyParams) -> None:
        return None


class LeavingLate(Leaving):
    def exit(self, context: Context[Any], position: HeldPosition) -> ExitSignal | None:
        return ExitSignal("high", stop=float(context.bars.close.max()))


class LeavingByBase(Leaving):
    def exit(self, context: Context[Any], position: HeldPosition) -> ExitSignal | None:
        base = context.bars.close.base
        return ExitSignal("up", stop=float(base[-1])) if base is not None else None


class LeavingByMemory(Leaving):
    def __init__(self) -> None:
        self.times = 0

    def exit(self, context: Context[Any], position: HeldPosition) -> ExitSignal | None:
        self.times += 1
        return ExitSignal(f"{self.times}")


class LeavingByClock(Leaving):
    def exit(self, context: Context[Any], position: HeldPosition) -> ExitSignal | None:
        return ExitSignal("late") if time.time() < 0 else None


class LeavingByNonsense(Leaving):
    def exit(self, context: Context[Any], position: HeldPosition) -> ExitSignal | None:
        return ExitSignal("nowhere", stop=-1.0)


def test_a_sound_hook_of_exits_is_found_sound() -> None:
    assert check_strategy(Leaving, StrategyParams(), walk()) == ()


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        (LeavingLate, "from the 4 bars that it asks for"),
        (LeavingByBase, "while later bars exist"),
        (LeavingByMemory, "asked again"),
        (LeavingByClock, "reads time"),
        (LeavingByNonsense, "the stop -1.0"),
    ],
)
def test_a_fault_in_the_hook_of_exits_is_found(planted: type[Leaving], words: str) -> None:
    (finding,) = check_strategy(planted, StrategyParams(), walk())
    assert finding.check is Check.EXIT
    assert words in finding.sentence


def test_a_rule_with_the_hook_of_exits_has_no_batch_form() -> None:
    class Both(Leaving):
        def signals(self, bars: BarSeries, params: StrategyParams) -> SignalColumns:  # type: ignore[override]
            found = Sound().signals(bars, params)
            assert found is not None
            return found

    (finding,) = check_strategy(Both, StrategyParams(), walk())
    assert finding.sentence == "it has exit, which is asked bar by bar, and a batch form; it cannot have both"
