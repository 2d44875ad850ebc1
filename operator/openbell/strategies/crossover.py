"""Crossover: follow the fast moving average across the slow one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from openbell.domain.bars import BarSeries, Floats
from openbell.domain.signals import Action, Signal
from openbell.strategies.api import Context, DataNeeds, SignalColumns, Strategy, StrategyParams, halving, halvings
from openbell.strategies.indicators import indicator
from openbell.strategies.rolling import ends_of_finite_windows, rolling_atr, rolling_ema, rolling_mean

# An exponential average never forgets its first value, it only counts it less: after n bars by (1 - weight)^n.
# The warm-up is long enough for that to be below this.
SEED_WEIGHT = 1e-3
# Separation of the averages, in average true ranges, that halves what the confidence misses to 1.
SEPARATION_UNIT = 0.1
# Averages closer than this part of the price are equal: the rounding of floats must not look like a crossing.
TOUCHING = 1e-9


class CrossoverParams(StrategyParams):
    """Lengths are in bars."""

    fast: int = Field(12, ge=2, le=499, description="Bars of the fast average; fewer than slow.")
    slow: int = Field(26, ge=3, le=500, description="Bars of the slow average.")
    average: Literal["EMA", "SMA"] = Field("EMA", description="Exponential or simple moving average.")
    atr: int = Field(14, ge=2, le=200, description="Bars of the average true range that separation is measured in.")
    direction: Literal["Long", "Both"] = Field(
        "Long", description="Whether a fall opens short positions too; the scheduler must allow short selling."
    )

    @model_validator(mode="after")
    def fast_is_faster(self) -> Self:
        if self.fast >= self.slow:
            raise ValueError(f"fast is {self.fast}, but must be less than slow ({self.slow})")
        return self


class Crossover(Strategy[CrossoverParams]):
    """Opens on the bar where the fast average crosses the slow one, closes while it is on the other side.

    Confidence is 0.5 for a touch and grows with the distance between the averages in average true ranges: 0.75 at
    a tenth of one, 0.875 at two tenths, towards 1.
    """

    name = "Crossover"
    version = "1.1"
    Params = CrossoverParams

    def data(self, params: CrossoverParams, bar_seconds: int) -> DataNeeds:
        """Bars for two values of the slow average and one of the range, each with its seed forgotten."""
        return DataNeeds(bar_seconds, _warmup(params.slow, params.average, params.atr))

    def evaluate(self, context: Context[CrossoverParams]) -> Iterable[Signal]:
        params, bars = context.params, context.bars
        needed = _warmup(params.slow, params.average, params.atr)
        close = bars.close[-needed:]
        if len(close) < needed:
            return ()
        # What the averages were a bar ago matters to a crossing alone, which few bars can be.
        after = _apart_at(close, params, 0)
        may_cross = context.is_flat and (after > 0 or (after < 0 and params.direction == "Both"))
        if context.is_flat and not may_cross:
            return ()
        before = _apart_at(close, params, 1) if may_cross else 0.0
        action = _action(before, after, context, params)
        # The range and the words are for bars that say something, which few do.
        if action is None:
            return ()
        high, low = bars.high[-needed:], bars.low[-needed:]
        if not (np.isfinite(close).all() and np.isfinite(high).all() and np.isfinite(low).all()):
            return ()
        true_range = float(indicator("ATR")(high, low, close, timeperiod=params.atr)[-1])
        separation = abs(after) / true_range if true_range > 0 else 0.0
        confidence = halving(1.0 + separation / SEPARATION_UNIT)
        reason = (
            f"{params.average}{params.fast} {'above' if after > 0 else 'below'} {params.average}{params.slow} "
            f"by {separation:.2f} ATR"
        )
        return (context.signal(action, confidence, reason),)

    def signals(self, bars: BarSeries, params: CrossoverParams) -> SignalColumns:
        needed = self.data(params, bars.bar_seconds).warmup
        if len(bars) < needed:
            return SignalColumns.silent(len(bars))
        known = ends_of_finite_windows(needed, bars.high, bars.low, bars.close)
        # Windows with a price that is no number are computed with zeros, and say nothing.
        high, low, close = (np.where(np.isfinite(column), column, 0.0) for column in (bars.high, bars.low, bars.close))
        before, after = _columns_apart(close, params, needed)
        true_range = rolling_atr(high, low, close, params.atr, needed)
        separation = np.divide(np.abs(after), true_range, out=np.zeros_like(after), where=true_range > 0)
        confidence = halvings(1.0 + separation / SEPARATION_UNIT)
        crosses_down = known & (before >= 0) & (after < 0)
        return SignalColumns.placed(
            len(bars),
            buy=known & (before <= 0) & (after > 0),
            sell=crosses_down if params.direction == "Both" else np.zeros_like(known),
            close_long=known & (after < 0),
            close_short=known & (after > 0),
            open_confidence=confidence,
            close_long_confidence=confidence,
            close_short_confidence=confidence,
        )


def _action(before: float, after: float, context: Context[CrossoverParams], params: CrossoverParams) -> Action | None:
    if not context.is_flat:
        in_favour = after if context.is_long else -after
        return Action.CLOSE if in_favour < 0 else None
    if before <= 0 < after:
        return Action.BUY
    if before >= 0 > after and params.direction == "Both":
        return Action.SELL
    return None


@cache
def _warmup(slow: int, average: str, atr: int) -> int:
    if average == "EMA":
        slow += _bars_to_forget(2.0 / (slow + 1))
    return max(slow + 1, atr + 1 + _bars_to_forget(1.0 / atr))


def _apart_at(close: Floats, params: CrossoverParams, back: int) -> float:
    """How far the averages were apart so many bars ago."""
    kind = params.average
    return _apart(_average(close, params.fast, kind, back), _average(close, params.slow, kind, back))


def _average(close: Floats, length: int, kind: str, back: int) -> float:
    # Each simple average is of its own bars alone; an exponential one of all from the window's first.
    if kind == "SMA":
        end = len(close) - back
        return float(indicator("SMA")(close[end - length : end], timeperiod=length)[-1])
    return float(indicator("EMA")(close, timeperiod=length)[-1 - back])


def _apart(fast: float, slow: float) -> float:
    apart = fast - slow
    return apart if abs(apart) > TOUCHING * abs(slow) else 0.0


def _columns_apart(close: Floats, params: CrossoverParams, needed: int) -> tuple[Floats, Floats]:
    """How far the averages are apart at the last bar but one of each window, and at its last."""

    def averages(length: int) -> tuple[Floats, Floats]:
        if params.average == "EMA":
            return rolling_ema(close, length, needed)
        means = rolling_mean(close[needed - length - 1 :], length)
        return means[:-1], means[1:]

    def apart(fast: Floats, slow: Floats) -> Floats:
        difference = fast - slow
        return np.where(np.abs(difference) > TOUCHING * np.abs(slow), difference, 0.0)

    (fast_before, fast_after), (slow_before, slow_after) = averages(params.fast), averages(params.slow)
    return apart(fast_before, slow_before), apart(fast_after, slow_after)


def _bars_to_forget(weight: float) -> int:
    """Bars after which an exponential average of this weight counts its seed less than SEED_WEIGHT."""
    return math.ceil(math.log(SEED_WEIGHT) / math.log1p(-weight))
