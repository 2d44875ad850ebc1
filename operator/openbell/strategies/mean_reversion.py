"""Mean reversion: buy what has fallen unusually far below its average, and leave when it is back."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from openbell.domain.bars import BarSeries, Floats
from openbell.domain.signals import Action, Signal
from openbell.strategies.api import Context, DataNeeds, SignalColumns, Strategy, StrategyParams, halving, halvings
from openbell.strategies.indicators import indicator
from openbell.strategies.rolling import BLOCK

# A price whose standard deviation is a smaller part of it does not move: a score would measure rounding.
STILL = 1e-6


class MeanReversionParams(StrategyParams):
    """Scores are in standard deviations of the close around its average."""

    lookback: int = Field(20, ge=3, le=500, description="Bars of the average and of the standard deviation.")
    entry: float = Field(
        2.0, gt=0, le=10, description="Standard deviations from the average at which it opens; above exit."
    )
    exit: float = Field(
        0.0,
        ge=0,
        lt=10,
        description="Standard deviations from the average, on the side of the entry, at which it closes; 0: on it.",
    )
    direction: Literal["Long", "Both"] = Field(
        "Long", description="Whether high prices open short positions too; the scheduler must allow short selling."
    )

    @model_validator(mode="after")
    def exit_is_nearer(self) -> Self:
        if self.exit >= self.entry:
            raise ValueError(f"exit is {self.exit:g}, but must be less than entry ({self.entry:g})")
        return self


class MeanReversion(Strategy[MeanReversionParams]):
    """Opens when the close is `entry` standard deviations from its average of `lookback` bars, closes near it.

    The score is the distance of Bollinger's bands: (close - average) / standard deviation of the population, both by
    TA-Lib's SMA. Confidence to open is 0.5 at `entry`, 0.75 at twice, towards 1; to close, 0.5 at `exit` and more
    beyond.
    """

    name = "MeanReversion"
    version = "1.0"
    Params = MeanReversionParams

    def data(self, params: MeanReversionParams, bar_seconds: int) -> DataNeeds:
        return DataNeeds(bar_seconds, params.lookback)

    def evaluate(self, context: Context[MeanReversionParams]) -> Iterable[Signal]:
        params = context.params
        if len(context.bars) < params.lookback:
            return ()
        score = _score(context.bars.close[-params.lookback :])
        if score is None:
            return ()
        reason = f"{score:+.2f} standard deviations from the average of {params.lookback} bars"
        if not context.is_flat:
            beyond = (score if context.is_long else -score) + params.exit
            if beyond < 0:
                return ()
            return (context.signal(Action.CLOSE, halving(1.0 + beyond / params.entry), reason),)
        confidence = halving(abs(score) / params.entry)
        if score <= -params.entry:
            return (context.signal(Action.BUY, confidence, reason),)
        if score >= params.entry and params.direction == "Both":
            return (context.signal(Action.SELL, confidence, reason),)
        return ()

    def signals(self, bars: BarSeries, params: MeanReversionParams) -> SignalColumns:
        if len(bars) < params.lookback:
            return SignalColumns.silent(len(bars))
        score = _scores(bars.close, params.lookback)
        known = np.isfinite(score)
        score = np.where(known, score, 0.0)
        beyond_long, beyond_short = score + params.exit, -score + params.exit
        high = known & (score >= params.entry)
        return SignalColumns.placed(
            len(bars),
            buy=known & (score <= -params.entry),
            sell=high if params.direction == "Both" else np.zeros_like(high),
            close_long=known & (beyond_long >= 0),
            close_short=known & (beyond_short >= 0),
            open_confidence=halvings(np.abs(score) / params.entry),
            close_long_confidence=halvings(1.0 + beyond_long / params.entry),
            close_short_confidence=halvings(1.0 + beyond_short / params.entry),
        )


def _score(close: Floats) -> float | None:
    """The score of the newest close; None where a price is no number above zero, or does not move.

    A score stays the same when all prices are scaled and shifted. Measured from the newest close as ratios, squares
    lose no digits, whatever the price is.
    """
    if not (np.isfinite(close).all() and close[-1] > 0):
        return None
    away = close / close[-1] - 1.0
    mean = float(indicator("SMA")(away, timeperiod=len(away))[-1])
    variance = float(indicator("SMA")(away * away, timeperiod=len(away))[-1]) - mean * mean
    return -mean / math.sqrt(variance) if variance > STILL * STILL else None


def _scores(close: Floats, length: int) -> Floats:
    """`_score` of the window that ends at each bar from the first whole one on; NaN where that has none."""
    count = len(close) - length + 1
    return np.concatenate(
        [_scores_of(close[start : min(start + BLOCK, count) + length - 1], length) for start in range(0, count, BLOCK)]
    )


def _scores_of(close: Floats, length: int) -> Floats:
    newest = close[length - 1 :]
    count = len(newest)
    total, squares = np.zeros(count), np.zeros(count)
    with np.errstate(all="ignore"):
        for offset in range(length):
            away = close[offset : offset + count] / newest - 1.0
            total += away
            squares += away * away
        mean = total / length
        variance = squares / length - mean * mean
        score = -mean / np.sqrt(variance)
        return np.where((newest > 0) & (variance > STILL * STILL), score, np.nan)
