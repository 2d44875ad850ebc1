"""Breakout: follow a close that leaves the channel of the bars before it (Donchian's channel)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from openbell.domain.bars import BarSeries, Floats
from openbell.domain.signals import Action, Signal
from openbell.strategies.api import Context, DataNeeds, SignalColumns, Strategy, StrategyParams, halving, halvings
from openbell.strategies.indicators import indicator
from openbell.strategies.rolling import ends_of_finite_windows

# The part of the channel's width beyond it that halves what the confidence misses to 1.
DISTANCE_UNIT = 0.1


class BreakoutParams(StrategyParams):
    """Lengths are in bars before the newest."""

    channel: int = Field(20, ge=2, le=500, description="Bars whose highest high and lowest low a close must leave.")
    exit_channel: int = Field(
        10,
        ge=2,
        le=500,
        description="Bars of the channel on whose other side a position is closed; at most channel.",
    )
    direction: Literal["Long", "Both"] = Field(
        "Long", description="Whether a fall opens short positions too; the scheduler must allow short selling."
    )

    @model_validator(mode="after")
    def exit_is_shorter(self) -> Self:
        if self.exit_channel > self.channel:
            raise ValueError(f"exitChannel is {self.exit_channel}, but must be at most channel ({self.channel})")
        return self


class Breakout(Strategy[BreakoutParams]):
    """Buys a close above the highest high of the `channel` bars before it, sells one below the lowest low of
    `exit_channel` bars; short positions the other way round.

    The channels are TA-Lib's MAX and MIN. Confidence is 0.5 on the edge and grows with the distance beyond it: 0.75 at
    a tenth of the channel's width, 0.875 at two tenths, towards 1.
    """

    name = "Breakout"
    version = "1.0"
    Params = BreakoutParams

    def data(self, params: BreakoutParams, bar_seconds: int) -> DataNeeds:
        return DataNeeds(bar_seconds, params.channel + 1)

    def evaluate(self, context: Context[BreakoutParams]) -> Iterable[Signal]:
        params, bars = context.params, context.bars
        needed = params.channel + 1
        if len(bars) < needed:
            return ()
        high, low, close = bars.high[-needed:], bars.low[-needed:], float(bars.close[-1])
        if not (np.isfinite(high).all() and np.isfinite(low).all() and np.isfinite(close)):
            return ()
        length = params.channel if context.is_flat else params.exit_channel
        top = float(indicator("MAX")(high[:-1], timeperiod=length)[-1])
        bottom = float(indicator("MIN")(low[:-1], timeperiod=length)[-1])
        if close > top:
            action = Action.BUY if context.is_flat else Action.CLOSE
            is_asked = context.is_flat or not context.is_long
            beyond, side = close - top, f"above the highest high of {length} bars"
        elif close < bottom:
            action = Action.SELL if context.is_flat else Action.CLOSE
            is_asked = params.direction == "Both" if context.is_flat else context.is_long
            beyond, side = bottom - close, f"below the lowest low of {length} bars"
        else:
            return ()
        if not is_asked:
            return ()
        width = top - bottom
        distance = beyond / width if width > 0 else 0.0
        reason = f"{side} by {distance:.2f} of its width"
        return (context.signal(action, halving(1.0 + distance / DISTANCE_UNIT), reason),)

    def signals(self, bars: BarSeries, params: BreakoutParams) -> SignalColumns:
        needed = params.channel + 1
        if len(bars) < needed:
            return SignalColumns.silent(len(bars))
        count = len(bars) - needed + 1
        close = bars.close[-count:]
        known = ends_of_finite_windows(needed, bars.high, bars.low) & np.isfinite(close)
        high, low, close = (np.where(np.isfinite(column), column, 0.0) for column in (bars.high, bars.low, close))
        above, above_confidence, below, below_confidence = _outside(high, low, close, params.channel)
        up, up_confidence, down, down_confidence = _outside(high, low, close, params.exit_channel)
        return SignalColumns.placed(
            len(bars),
            buy=known & above,
            sell=known & below if params.direction == "Both" else np.zeros_like(known),
            close_long=known & down,
            close_short=known & up,
            open_confidence=np.where(above, above_confidence, below_confidence),
            close_long_confidence=down_confidence,
            close_short_confidence=up_confidence,
        )


def _outside(
    high: Floats, low: Floats, close: Floats, length: int
) -> tuple[npt.NDArray[np.bool_], Floats, npt.NDArray[np.bool_], Floats]:
    """Whether each close lies above the channel of the bars before it, and how sure; and the same below."""
    top: Floats = indicator("MAX")(high, timeperiod=length)[-len(close) - 1 : -1]
    bottom: Floats = indicator("MIN")(low, timeperiod=length)[-len(close) - 1 : -1]
    width = top - bottom

    def confidence(beyond: Floats) -> Floats:
        return halvings(1.0 + np.divide(beyond, width, out=np.zeros_like(width), where=width > 0) / DISTANCE_UNIT)

    return close > top, confidence(close - top), close < bottom, confidence(bottom - close)
