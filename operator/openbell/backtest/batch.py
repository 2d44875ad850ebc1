"""The batch form of rules in a backtest: which sessions matter, found in arrays, so that the loop goes to them alone.

A rule's columns say at which bars it speaks; a position's levels say which bars come near them. The loop visits those
sessions, splits, and whatever follows an order; at each it asks the rule itself and decides as ever. So columns decide
no trade, they only say where there is nothing to decide, and `difference` proves that against the rule, bar by bar.
Several strategies, symbols and short positions are all the same to it. While a trailing stop follows a price, or the
day's close counts, every session is visited; a rule without columns has no batch form.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from openbell.backtest.timeline import Timeline
from openbell.backtest.watch import Watch
from openbell.domain.bars import BarSeries
from openbell.market.recorded import RecordedBars
from openbell.strategies.api import Strategy, has_exit

CHUNK = 64  # bars looked at first; each further look is at twice as many


class Columns(Protocol):
    """What a rule says at every bar: `open` 1 buy, -1 sell, 0 nothing while flat; `close_…` 1 where it would close."""

    @property
    def open(self) -> npt.NDArray[Any]: ...
    @property
    def close_long(self) -> npt.NDArray[Any]: ...
    @property
    def close_short(self) -> npt.NDArray[Any]: ...


@runtime_checkable
class HasColumns(Protocol):
    """A rule with a batch form; None where it has none for these parameters."""

    def signals(self, bars: BarSeries, params: Any) -> Columns | None: ...


@dataclass(frozen=True, slots=True)
class Spoken:
    """Numbers of the sessions at which one rule speaks of one symbol: while flat, long, short; `said` has the flags."""

    flat: list[int]
    long: list[int]
    short: list[int]
    said: tuple[npt.NDArray[np.int8], ...]

    def after(self, number: int, quantity: Decimal) -> int | None:
        """The first session from `number` on at which it speaks with this position."""
        numbers = self.flat if quantity == 0 else self.long if quantity > 0 else self.short
        place = bisect_left(numbers, number)
        return numbers[place] if place < len(numbers) else None


def spoken(
    strategy: Strategy[Any], params: Any, symbol: str, recorded: RecordedBars, timeline: Timeline
) -> Spoken | None:
    """Where a rule speaks of a symbol, each session with the splits that had happened by then; None without columns."""
    if not isinstance(strategy, HasColumns) or has_exit(strategy):
        return None
    sessions, track = timeline.sessions, timeline.tracks[symbol]
    last_bars = track.columns.at
    flags = [np.zeros(len(sessions), dtype=np.int8) for _ in range(3)]
    opens = [session.open for session in sessions]
    splits = sorted(split.date for split in recorded.splits if split.symbol == symbol)
    bounds = [0, *(bisect_left(sessions, day, key=lambda session: session.date) for day in splits), len(sessions)]
    for begin, end in pairwise(bounds):
        if begin == end:
            continue
        columns = recorded.columns(symbol, opens[begin])
        said = strategy.signals(BarSeries(symbol, recorded.bar_seconds, *columns), params)
        if said is None:
            return None
        at = last_bars[begin:end]
        for into, column in zip(flags, (said.open, said.close_long, said.close_short), strict=True):
            into[begin:end] = np.where(at >= 0, np.asarray(column)[at], 0)
    flat, long, short = (np.flatnonzero(each).tolist() for each in flags)
    return Spoken(flat, long, short, tuple(flags))


class Horizon:
    """Finds the next session that matters."""

    def __init__(self, timeline: Timeline, always: Iterable[int]) -> None:
        self._count = len(timeline.sessions)
        self._always = sorted(always)
        self._closes = [session.close for session in timeline.sessions]
        self._lows: dict[str, npt.NDArray[np.float64]] = {}
        self._highs: dict[str, npt.NDArray[np.float64]] = {}
        for symbol, track in timeline.tracks.items():
            columns = track.columns
            # Without a bar there is nothing that a position surely lives through: such a session is always near.
            self._lows[symbol] = np.where(columns.has_bar, columns.low, -np.inf)
            self._highs[symbol] = np.where(columns.has_bar, columns.high, np.inf)

    def next(self, number: int, speaking: Iterable[int | None], watches: Sequence[Watch]) -> int:
        """The first session from `number` on that has to be visited; the number of sessions where none is left."""
        nearest = self._count
        place = bisect_left(self._always, number)
        if place < len(self._always):
            nearest = min(nearest, self._always[place])
        for each in speaking:
            if each is not None and each < nearest:
                nearest = each
        for at in watches:
            if at.follows or at.flat_seconds:
                return number
            nearest = min(nearest, self._left_from(at.leaves_at, number))
            nearest = self._near(at, number, nearest)
        return nearest

    def _left_from(self, moment: datetime | None, number: int) -> int:
        return self._count if moment is None else max(number, bisect_left(self._closes, moment))

    def _near(self, at: Watch, number: int, until: int) -> int:
        lows, highs = self._lows[at.track.symbol], self._highs[at.track.symbol]
        size = CHUNK
        while number < until:
            end = min(number + size, until)
            near = (lows[number:end] <= at.below) | (highs[number:end] >= at.above)
            first = int(near.argmax())
            if near[first]:
                return number + first
            number, size = end, size * 2
        return until
