"""Which bars a position surely lives through: a bound on numbers, so that the exit rules need not be asked.

The levels are the engine's own (`engine.exits.levels`, `next_rung`). A bar that comes near one is not judged here: it
is stepped through, and the rules decide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from openbell.backtest.timeline import Track
from openbell.domain.bars import Floats
from openbell.domain.money import price
from openbell.domain.positions import Position
from openbell.engine.exits import levels, next_rung, ratchet

# Prices are compared as money of four places; nearer than this to a level is near.
NEAR = 0.001
NEAR_RATIO = 1e-9


@dataclass(slots=True)
class Watch:
    """One open position beside its symbol's bars."""

    track: Track
    position: Position
    is_long: bool
    follows: bool
    best: float
    leaves_at: datetime | None
    flat_seconds: int
    below: float = 0.0
    above: float = 0.0
    active_from: float = 0.0  # the best price from which on the trailing stop hangs
    distance: float = 0.0

    def stays(self, low: float, high: float, close: datetime, day_close: datetime) -> bool:
        """Whether no rule of price or time can leave the position in a session of these extremes and this close."""
        if self.leaves_at is not None and close >= self.leaves_at:
            return False
        if self.flat_seconds and close >= day_close - timedelta(seconds=self.flat_seconds):
            return False
        below, above = self.below, self.above
        if self.follows:
            moved = self._moved(low, high)
            if moved is not None:
                below, above = limits(moved)
        return low > below and high < above

    def follow(self, low: float, high: float) -> Position | None:
        """The position with the best price of a session that it lived through, where that has moved."""
        moved = self._moved(low, high)
        if moved is not None:
            self.position, self.best = moved, float(moved.best_price)
            self.below, self.above = limits(moved)
        return moved

    def near(self, lows: Floats, highs: Floats, best: float) -> tuple[npt.NDArray[np.bool_], float]:
        """Which of some sessions come near a level where none before does, and the best price after them.

        `best` is the best price before them. The trailing stop moves along: at each session it hangs from that one's
        best price already.
        """
        below: Floats | float = self.below
        above: Floats | float = self.above
        if self.follows and self.is_long:
            line = np.maximum(np.maximum.accumulate(highs), best)
            trail = line * (1.0 - self.distance)
            hangs = line >= self.active_from - NEAR
            below = np.maximum(below, np.where(hangs, trail + np.maximum(NEAR, NEAR_RATIO * trail), -np.inf))
            best = float(line[-1])
        elif self.follows:
            line = np.minimum(np.minimum.accumulate(lows), best)
            trail = line * (1.0 + self.distance)
            hangs = line <= self.active_from + NEAR
            above = np.minimum(above, np.where(hangs, trail - np.maximum(NEAR, NEAR_RATIO * trail), np.inf))
            best = float(line[-1])
        return (lows <= below) | (highs >= above), best

    def _moved(self, low: float, high: float) -> Position | None:
        if (high <= self.best) if self.is_long else (low >= self.best):
            return None
        best = ratchet(self.position, price(high if self.is_long else low))
        return None if best == self.position.best_price else replace(self.position, best_price=best)


def watch(position: Position, track: Track, *, hours_only: bool) -> Watch:
    """How a position is watched."""
    policy = position.policy
    held = policy.max_holding_seconds
    below, above = limits(position)
    trailing = policy.trailing
    is_long = position.is_long
    profit = 0.0 if trailing is None else trailing.activation if is_long else -trailing.activation
    return Watch(
        track=track,
        position=position,
        is_long=is_long,
        follows=trailing is not None,
        best=float(position.best_price),
        leaves_at=position.opened_at + timedelta(seconds=held) if held else None,
        flat_seconds=policy.flat_before_close_seconds if hours_only else 0,
        below=below,
        above=above,
        active_from=float(position.average_price) * (1.0 + profit),
        distance=0.0 if trailing is None else trailing.distance,
    )


def limits(position: Position) -> tuple[float, float]:
    """Prices that a bar must stay between for the position to be left alone, with a margin."""
    stop, target = levels(position)
    rung = next_rung(position)
    if rung is not None:  # a part is left on the way to the target, or beyond it where a person wrote it so
        nearer = min if position.is_long else max
        target = rung if target is None else nearer(target, rung)
    lower, upper = (stop, target) if position.is_long else (target, stop)
    below = float("-inf") if lower is None else _away(float(lower), 1.0)
    above = float("inf") if upper is None else _away(float(upper), -1.0)
    return below, above


def _away(level: float, sign: float) -> float:
    return level + sign * max(NEAR, NEAR_RATIO * level)
