"""The batch form of rules in a backtest: which sessions matter, found in arrays, so that the loop goes to them alone.

A rule's columns say at which bars it speaks; a position's levels say which bars come near them. The loop visits those
sessions, splits, and whatever follows an order; at each it asks the rule itself and decides as ever. So columns decide
no trade, they only say where there is nothing to decide, and `difference` proves that against the rule, bar by bar.
Several strategies, symbols, short positions and trailing stops are all the same to it. A rule without columns has no
batch form.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from openbell.backtest.seats import Seat, Spoken, Table
from openbell.backtest.timeline import Timeline
from openbell.backtest.watch import Watch
from openbell.domain.bars import BarSeries, Floats
from openbell.domain.errors import ManifestError
from openbell.domain.positions import Position
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


def speaking(tables: Iterable[Table], recorded: RecordedBars, timeline: Timeline) -> list[Seat]:
    """Tell every seat where its rule speaks. Raises ManifestError where one has no batch form."""
    seats: list[Seat] = []
    for table in tables:
        entry = table.entry
        for seat in table.seats:
            seat.spoken = spoken(entry.strategy, entry.parameters, seat.symbol, recorded, timeline)
            if seat.spoken is None:
                raise ManifestError(f"Strategy {entry.name}: {entry.strategy.name} has no batch form")
            seats.append(seat)
    return seats


def spoken(
    strategy: Strategy[Any], params: Any, symbol: str, recorded: RecordedBars, timeline: Timeline
) -> Spoken | None:
    """Where a rule speaks of a symbol, each session with the splits that had happened by then; None without columns."""
    if not isinstance(strategy, HasColumns) or has_exit(strategy):
        return None
    sessions, track = timeline.sessions, timeline.tracks[symbol]
    last_bars = track.columns.at
    flags = [np.zeros(len(sessions), dtype=np.int8) for _ in range(3)]
    splits = sorted(split.date for split in recorded.splits if split.symbol == symbol)
    bounds = [0, *(bisect_left(sessions, day, key=lambda session: session.date) for day in splits), len(sessions)]
    for begin, end in pairwise(bounds):
        if begin == end:
            continue
        columns = recorded.columns(symbol, sessions[begin].open)
        said = strategy.signals(BarSeries(symbol, recorded.bar_seconds, *columns), params)
        if said is None:
            return None
        at = last_bars[begin:end]
        for into, column in zip(flags, (said.open, said.close_long, said.close_short), strict=True):
            into[begin:end] = np.where(at >= 0, np.asarray(column)[at], 0)
    flat, long, short = (np.flatnonzero(each).tolist() for each in flags)
    return Spoken(flat, long, short, tuple(flags))


class Horizon:
    """Finds the next session that matters. `always` are visited whatever is held and said."""

    def __init__(self, timeline: Timeline, closes: Sequence[datetime], always: Iterable[int]) -> None:
        self._timeline = timeline
        self._count = len(closes)
        self._always = sorted(always)
        self._closes = closes
        self._leaving: dict[int, list[int]] = {}
        self._lows: dict[str, Floats] = {}
        self._highs: dict[str, Floats] = {}
        for symbol, track in timeline.tracks.items():
            columns = track.columns
            # Without a bar there is nothing that a position surely lives through: such a session is always near.
            self._lows[symbol] = np.where(columns.has_bar, columns.low, -np.inf)
            self._highs[symbol] = np.where(columns.has_bar, columns.high, np.inf)

    def next(self, number: int, seats: Iterable[Seat], watches: Sequence[Watch]) -> int:
        """The first session from `number` on that has to be visited; the number of sessions where none is left."""
        nearest = self._of(self._always, number)
        for seat in seats:
            speaks = None if seat.spoken is None else seat.spoken.after(number, seat.quantity)
            if speaks is not None and speaks < nearest:
                nearest = speaks
        for at in watches:
            if at.leaves_at is not None:
                nearest = min(nearest, max(number, bisect_left(self._closes, at.leaves_at)))
            if at.flat_seconds:
                nearest = min(nearest, self._of(self._left_before_close(at.flat_seconds), number))
            nearest = self._near(at, number, nearest)
        return nearest

    def follow(self, at: Watch, begin: int, end: int) -> Position | None:
        """The position with its best price of the sessions from `begin` to before `end`, where that has moved."""
        symbol = at.track.symbol
        return at.follow(float(self._lows[symbol][begin:end].min()), float(self._highs[symbol][begin:end].max()))

    def _of(self, numbers: Sequence[int], number: int) -> int:
        place = bisect_left(numbers, number)
        return numbers[place] if place < len(numbers) else self._count

    def _left_before_close(self, seconds: int) -> list[int]:
        """Sessions at whose end nothing may be held that is left so long before the day's close."""
        found = self._leaving.get(seconds)
        if found is None:
            before = timedelta(seconds=seconds)
            ends = enumerate(zip(self._closes, self._timeline.day_closes, strict=True))
            found = self._leaving[seconds] = [number for number, (close, last) in ends if close >= last - before]
        return found

    def _near(self, at: Watch, number: int, until: int) -> int:
        lows, highs = self._lows[at.track.symbol], self._highs[at.track.symbol]
        size, best = CHUNK, at.best
        while number < until:
            end = min(number + size, until)
            near, best = at.near(lows[number:end], highs[number:end], best)
            first = int(near.argmax())
            if near[first]:
                return number + first
            number, size = end, size * 2
        return until
