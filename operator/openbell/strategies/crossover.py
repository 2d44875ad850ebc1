"""Crossover: follow the fast moving average across the slow one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import Literal, Self

import numpy as np
import talib
from pydantic import Field, model_validator

from openbell.domain.bars import Floats
from openbell.domain.signals import Action, Signal
from openbell.strategies.api import Context, DataNeeds, Strategy, StrategyParams, halving

# An exponential average never forgets its first value, it only counts it less: after n bars by (1 - weight)^n.
# The warm-up is long enough for that to be below this.
SEED_WEIGHT = 1e-3
# Separation of the averages, in average true ranges, that halves what the confidence misses to 1.
SEPARATION_UNIT = 0.1


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
    version = "1.0"
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
        fast = _average(close, params.fast, params.average)[-2:].tolist()
        slow = _average(close, params.slow, params.average)[-2:].tolist()
        before, after = fast[0] - slow[0], fast[1] - slow[1]
        action = _action(before, after, context, params)
        # The range and the words are for bars that say something, which few do.
        if action is None:
            return ()
        high, low = bars.high[-needed:], bars.low[-needed:]
        if not all(np.isfinite(column).all() for column in (high, low, close)):
            return ()
        true_range = float(talib.ATR(high, low, close, timeperiod=params.atr)[-1])
        separation = abs(after) / true_range if true_range > 0 else 0.0
        confidence = halving(1.0 + separation / SEPARATION_UNIT)
        reason = (
            f"{params.average}{params.fast} {'above' if after > 0 else 'below'} {params.average}{params.slow} "
            f"by {separation:.2f} ATR"
        )
        return (context.signal(action, confidence, reason),)


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


def _average(close: Floats, length: int, kind: str) -> Floats:
    function = talib.EMA if kind == "EMA" else talib.SMA
    values: Floats = function(close, timeperiod=length)
    return values


def _bars_to_forget(weight: float) -> int:
    """Bars after which an exponential average of this weight counts its seed less than SEED_WEIGHT."""
    return math.ceil(math.log(SEED_WEIGHT) / math.log1p(-weight))
