"""The equity curve of a run: cash and holdings at each session's close, at the last prices, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from openbell.backtest.run import Backtest
from openbell.domain.bars import Floats


@dataclass(frozen=True, slots=True)
class Curve:
    """`equity` at the close of each day (`times`), in account currency, rounded to cents.

    `gross` has what the positions are worth at the end of each bar, long and short both counted as positive; `initial`
    is the cash at the very beginning.
    """

    times: tuple[datetime, ...]
    equity: Floats
    gross: Floats
    initial: float

    @property
    def with_start(self) -> Floats:
        """The equity with the beginning before it: one value more than there are days."""
        return np.concatenate(([self.initial], self.equity))


def curve_of(run: Backtest, initial: float) -> Curve:
    """The curve of a run that has ended."""
    timeline, marks = run.timeline, run.outcome.marks
    count = len(timeline.sessions)
    begins = [mark.session for mark in marks]
    cash = _stairs(count, begins, [mark.cash for mark in marks], initial)
    value, gross = np.zeros(count), np.zeros(count)
    for symbol in sorted({name for mark in marks for name in mark.held}):
        held = _stairs(count, begins, [mark.held.get(symbol, 0.0) for mark in marks], 0.0)
        closes = timeline.tracks[symbol].columns.close
        value += held * closes
        gross += np.abs(held * closes)
    last = np.flatnonzero(np.asarray([*timeline.begins_day[1:], True]))
    times = tuple(timeline.sessions[number].close for number in last.tolist())
    return Curve(times, np.round(cash + value, 2)[last], gross, initial)


def _stairs(count: int, begins: Sequence[int], values: Sequence[float], before: float) -> Floats:
    """Each value from its session on until the next one's."""
    at: npt.NDArray[np.int64] = np.searchsorted(np.asarray(begins, dtype=np.int64), np.arange(count), side="right")
    steps: Floats = np.asarray([before, *values], dtype=np.float64)
    return steps[at]
