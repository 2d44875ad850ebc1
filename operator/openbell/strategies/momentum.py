"""Momentum: follow a price that has moved far enough over the last bars."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np
from pydantic import Field

from openbell.domain.bars import BarSeries
from openbell.domain.signals import Action, Signal
from openbell.strategies.api import Context, DataNeeds, SignalColumns, Strategy, StrategyParams, halving, halvings
from openbell.strategies.indicators import indicator


class MomentumParams(StrategyParams):
    """Ratios of price: 0.002 is 0.2 %."""

    lookback: int = Field(10, ge=1, le=500, description="Bars over which the change of the close is measured.")
    threshold: float = Field(
        0.002, gt=0, le=1, description="Change, as a ratio, from which on the price counts as moving."
    )
    exit_threshold: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Change against the position, as a ratio, at which it is closed; 0: once none is in its favour.",
    )
    direction: Literal["Long", "Both"] = Field(
        "Long", description="Whether falling prices open short positions too; the scheduler must allow short selling."
    )


class Momentum(Strategy[MomentumParams]):
    """Opens when TA-Lib's ROC over `lookback` bars reaches `threshold`, closes when the move is over.

    Confidence is 0.5 at the threshold, 0.75 at twice, 0.875 at three times, towards 1.
    """

    name = "Momentum"
    version = "1.0"
    Params = MomentumParams

    def data(self, params: MomentumParams, bar_seconds: int) -> DataNeeds:
        return DataNeeds(bar_seconds, params.lookback + 1)

    def evaluate(self, context: Context[MomentumParams]) -> Iterable[Signal]:
        params = context.params
        needed = params.lookback + 1
        if len(context.bars) < needed:
            return ()
        closes = context.bars.close[-needed:]
        change = float(indicator("ROC")(closes, timeperiod=params.lookback)[-1]) / 100.0
        if not math.isfinite(change):
            return ()
        reason = f"{change:+.2%} over {params.lookback} bars"
        confidence = halving(abs(change) / params.threshold)
        if not context.is_flat:
            in_favour = change if context.is_long else -change
            over = in_favour <= -params.exit_threshold
            return (context.signal(Action.CLOSE, confidence, reason),) if over else ()
        if change >= params.threshold:
            return (context.signal(Action.BUY, confidence, reason),)
        if change <= -params.threshold and params.direction == "Both":
            return (context.signal(Action.SELL, confidence, reason),)
        return ()

    def signals(self, bars: BarSeries, params: MomentumParams) -> SignalColumns:
        lookback = params.lookback
        if len(bars) <= lookback:
            return SignalColumns.silent(len(bars))
        # A rate of change reads two bars alone, so that TA-Lib says the same of the whole history.
        change = indicator("ROC")(bars.close, timeperiod=lookback)[lookback:] / 100.0
        known = np.isfinite(change)
        change = np.where(known, change, 0.0)
        confidence = halvings(np.abs(change) / params.threshold)
        falls = change <= -params.threshold
        return SignalColumns.placed(
            len(bars),
            buy=known & (change >= params.threshold),
            sell=known & falls if params.direction == "Both" else np.zeros_like(known),
            close_long=known & (change <= -params.exit_threshold),
            close_short=known & (-change <= -params.exit_threshold),
            open_confidence=confidence,
            close_long_confidence=confidence,
            close_short_confidence=confidence,
        )
