"""Recorded bars, daily or shorter, seen as of a moment.

Prices are as they were traded, without adjustment. A split is applied to the history before it only when that history
is looked at from its date on, so no bar ever knows of a split to come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np

from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value
from openbell.domain.bars import Bar, BarSeries, Floats, Quote
from openbell.market.barfile import RecordedDataError, When, read_bars
from openbell.market.calendar import SessionCalendar
from openbell.market.sessions import Session

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Split:
    """From the open of `date` on, one old share is `ratio` new ones, and its price is divided by `ratio`."""

    symbol: str
    date: date
    ratio: Decimal


@dataclass(frozen=True, slots=True)
class _History:
    """One symbol's bars, oldest first: sessions, their ends, and (open, high, low, close, volume) as traded."""

    sessions: tuple[Session, ...]
    ends: Floats
    columns: tuple[Floats, ...]
    splits: tuple[tuple[datetime, int, float], ...]  # (open of its date, first bar after it, ratio)


class RecordedBars:
    """Every symbol's bars of one file with the splits of its manifest.

    A daily bar is its session. Shorter ones are of one length, the least distance of two of them, and lie on the grid
    of that length from the session's open; each is to a replay what a session is, from its start to its end.
    Raises RecordedDataError for a bar outside of any session and for a split that fits no bar.
    """

    def __init__(
        self,
        bars: Mapping[str, Sequence[tuple[When, tuple[float, ...]]]],
        calendar: SessionCalendar,
        splits: Iterable[Split] = (),
    ) -> None:
        self.splits = tuple(sorted(splits, key=lambda split: (split.date, split.symbol)))
        self.calendar = calendar
        self.bar_seconds = _bar_seconds([when for days in bars.values() for when, _ in days])
        self._sessions = {symbol: self._sessions_of(symbol, days) for symbol, days in sorted(bars.items())}
        _check_splits(self.splits, self._sessions)
        self._histories = {symbol: self._history(symbol, days) for symbol, days in sorted(bars.items())}
        self._views: dict[tuple[str, int], tuple[Floats, ...]] = {}

    @classmethod
    def load(cls, path: Path, calendar: SessionCalendar, splits: Iterable[Split] = ()) -> RecordedBars:
        """Read and check a file."""
        return cls(read_bars(path), calendar, splits)

    def _sessions_of(self, symbol: str, days: Sequence[tuple[When, tuple[float, ...]]]) -> tuple[Session, ...]:
        sessions = []
        for when, _ in days:
            session = self._slot(symbol, when) if isinstance(when, datetime) else self.calendar.session_on(when)
            if session is None:
                day = when.date() if isinstance(when, datetime) else when
                why = self.calendar.beyond(day) or f"which is no {self.calendar.name} session"
                raise RecordedDataError(f"{symbol} has a bar on {when}, {why}")
            sessions.append(session)
        return tuple(sessions)

    def _slot(self, symbol: str, start: datetime) -> Session | None:
        """A bar that is shorter than a day as a session of its own; the last one of a day may be cut by the close."""
        session = self.calendar.session_at(start)
        if session is None:
            return None
        length = timedelta(seconds=self.bar_seconds)
        if (start - session.open) % length:
            raise RecordedDataError(
                f"{symbol} has a bar at {start.isoformat()}, which is no multiple of {self.bar_seconds} s after the "
                f"session's open at {session.open.isoformat()}"
            )
        return Session(session.date, start, min(start + length, session.close), session.early)

    def _history(self, symbol: str, days: Sequence[tuple[When, tuple[float, ...]]]) -> _History:
        sessions = self._sessions[symbol]
        rows = np.asarray([values for _, values in days], dtype=np.float64)
        splits = []
        for split in self.splits:
            if split.symbol == symbol:
                first_after = next(index for index, session in enumerate(sessions) if session.date >= split.date)
                whole = self.calendar.session_on(sessions[first_after].date)
                opening = whole.open if whole else sessions[first_after].open
                splits.append((opening, first_after, float(split.ratio)))
        return _History(
            sessions,
            _frozen(np.asarray([session.close.timestamp() for session in sessions], dtype=np.float64)),
            tuple(_frozen(np.ascontiguousarray(rows[:, column])) for column in range(5)),
            tuple(splits),
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self._histories)

    @property
    def first(self) -> date:
        """The first date of any bar."""
        return min(history.sessions[0].date for history in self._histories.values())

    @property
    def last(self) -> date:
        """The last date of any bar."""
        return max(history.sessions[-1].date for history in self._histories.values())

    def bars_of(self, symbol: str) -> Iterator[tuple[Session, Bar]]:
        """Every bar of a symbol as it was traded."""
        history = self._histories[symbol]
        for index, session in enumerate(history.sessions):
            opening, high, low, close, volume = (float(column[index]) for column in history.columns)
            yield session, Bar(symbol, session.open, session.close, opening, high, low, close, volume)

    def series(self, symbol: str, count: int, now: datetime) -> BarSeries:
        """The newest `count` bars closed by `now`, adjusted for the splits that have happened by `now`."""
        columns = self.columns(symbol, now)
        stop = int(np.searchsorted(columns[0], now.timestamp(), side="right"))
        start = max(0, stop - count)
        return BarSeries(symbol, self.bar_seconds, *(column[start:stop] for column in columns))

    def columns(self, symbol: str, now: datetime) -> tuple[Floats, ...]:
        """All bars (end, open, high, low, close, volume), later ones too, with the splits that have happened by `now`.

        Read-only arrays of one length; a look at them is a slice, and as read-only as they are.
        """
        history = self._histories[symbol]
        applied = sum(opening <= now for opening, _, _ in history.splits)
        return (history.ends, *self._adjusted(symbol, applied))

    def sessions_of(self, symbol: str) -> tuple[Session, ...]:
        """The sessions of a symbol's bars, oldest first."""
        return self._histories[symbol].sessions

    def traded(self, symbol: str) -> tuple[Floats, ...]:
        """A symbol's (open, high, low, close, volume) as they were traded, whatever was split later."""
        return self._histories[symbol].columns

    def _adjusted(self, symbol: str, applied: int) -> tuple[Floats, ...]:
        view = self._views.get((symbol, applied))
        if view is None:
            history = self._histories[symbol]
            factor = np.ones(len(history.sessions))
            for _, first_after, ratio in history.splits[:applied]:
                factor[:first_after] *= ratio
            prices = tuple(column / factor for column in history.columns[:4])
            view = self._views[symbol, applied] = tuple(
                _frozen(each) for each in (*prices, history.columns[4] * factor)
            )
        return view


def _frozen(column: Floats) -> Floats:
    column.setflags(write=False)
    return column


def _bar_seconds(times: Sequence[When]) -> int:
    """The length of the bars: a day, or the least distance of two of them. Raises RecordedDataError for only one."""
    starts = np.unique([when.timestamp() for when in times if isinstance(when, datetime)])
    if not len(starts):
        return DAY_SECONDS
    if len(starts) == 1:
        raise RecordedDataError("one bar alone does not tell how long a bar is; there must be two at different times")
    return int(np.diff(starts).min())


def _check_splits(splits: Sequence[Split], sessions: Mapping[str, Sequence[Session]]) -> None:
    seen = set()
    for split in splits:
        where = f"marketData.replay.splits: {split.symbol} on {split.date}"
        if split.symbol not in sessions:
            raise RecordedDataError(f"{where}: the file has no such symbol; it has {', '.join(sorted(sessions))}")
        if split.ratio <= 0:
            raise RecordedDataError(f"{where}: ratio {split.ratio} is not allowed; it is above 0")
        if split.date not in {session.date for session in sessions[split.symbol]}:
            raise RecordedDataError(f"{where}: the file has no bar of that date")
        if (split.symbol, split.date) in seen:
            raise RecordedDataError(f"{where}: the split is listed twice")
        seen.add((split.symbol, split.date))


class ReplayMarket:
    """MarketData of recorded bars as of a moment; quotes are what the replay has last shown."""

    def __init__(self, recorded: RecordedBars) -> None:
        self._recorded = recorded
        self._quotes: dict[str, Quote] = {}

    @property
    def recorded(self) -> RecordedBars:
        return self._recorded

    def has(self, symbol: str) -> bool:
        """Whether the file has bars of the symbol."""
        return symbol in self._recorded.symbols

    def show(self, quote: Quote) -> None:
        """From now on this is the symbol's price."""
        self._quotes[quote.symbol] = quote

    def last_quote(self, symbol: str) -> Quote | None:
        """What was shown last of the symbol."""
        return self._quotes.get(symbol)

    async def quote(self, symbol: str, now: datetime) -> Answer[Quote]:
        if not self.has(symbol):
            return Unknown(f"the recorded bars have no symbol {symbol}")
        quote = self._quotes.get(symbol)
        return ConfirmedEmpty() if quote is None else Value(quote)

    async def bars(self, symbol: str, bar_seconds: int, count: int, now: datetime) -> Answer[BarSeries]:
        if not self.has(symbol):
            return Unknown(f"the recorded bars have no symbol {symbol}")
        if bar_seconds != self._recorded.bar_seconds:
            return Unknown(f"the recorded bars are of {self._recorded.bar_seconds} seconds, not {bar_seconds}")
        series = self._recorded.series(symbol, count, now)
        return Value(series) if len(series) else ConfirmedEmpty()
