"""Sessions and bars of a backtest laid side by side: for each session, which bar of each symbol belongs to it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import numpy.typing as npt

from openbell.domain.bars import Bar, Floats
from openbell.domain.errors import ManifestError
from openbell.market.recorded import RecordedBars
from openbell.market.sessions import Session


@dataclass(frozen=True, slots=True)
class Columns:
    """By session, what a symbol's newest bar at its close has (the first one before there is any); `has_bar` says
    whether it is the session's own."""

    has_bar: npt.NDArray[np.bool_]
    at: npt.NDArray[np.int64]  # the bar's number; -1 before the first
    open: Floats
    high: Floats
    low: Floats
    close: Floats


@dataclass(frozen=True, slots=True)
class Track:
    """One symbol along the timeline; lists, because the loop reads single numbers.

    `stops[k]` is the number of bars closed by session k's close; its last one is of session k where `has_bar[k]`.
    `first` is the number of bars before the timeline begins. Prices are as they were traded, by bar.
    """

    symbol: str
    sessions: tuple[Session, ...]
    stops: list[int]
    has_bar: list[bool]
    first: int
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]
    columns: Columns

    def bar(self, index: int) -> Bar:
        """One bar as the driver shows it."""
        session = self.sessions[index]
        return Bar(
            self.symbol,
            session.open,
            session.close,
            self.open[index],
            self.high[index],
            self.low[index],
            self.close[index],
            self.volume[index],
        )


@dataclass(frozen=True, slots=True)
class Timeline:
    """The sessions from first to last with any bar, and each symbol's track, by symbol in order.

    With bars shorter than a day a session is as long as one, `begins_day` says which are the first of their dates, and
    `day_opens` and `day_closes` have when the day of each begins and ends.
    """

    sessions: tuple[Session, ...]
    begins_day: tuple[bool, ...]
    day_opens: tuple[datetime, ...]
    day_closes: tuple[datetime, ...]
    tracks: dict[str, Track]

    @property
    def bars(self) -> int:
        """How many bars lie within it."""
        return sum(sum(track.has_bar) for track in self.tracks.values())

    def sessions_on(self, days: Set[date]) -> frozenset[int]:
        """The numbers of the sessions that begin one of these dates."""
        if not days:
            return frozenset()
        begins = enumerate(zip(self.sessions, self.begins_day, strict=True))
        return frozenset(number for number, (session, is_first) in begins if is_first and session.date in days)


def lay_out(recorded: RecordedBars, start: date, end: date) -> Timeline:
    """The timeline of the sessions from `start` to `end`. Raises ManifestError where there is none."""
    by_open = {
        session.open: session
        for symbol in recorded.symbols
        for session in recorded.sessions_of(symbol)
        if start <= session.date <= end
    }
    sessions = tuple(by_open[opening] for opening in sorted(by_open))
    if not sessions:
        raise ManifestError(
            f"there is no bar from {start} to {end}; the file's are from {recorded.first} to {recorded.last}"
        )
    days = [session.date for session in sessions]
    whole = {day: recorded.calendar.session_on(day) for day in days}
    wholes = [whole[session.date] or session for session in sessions]
    begins_day = tuple(number == 0 or day != days[number - 1] for number, day in enumerate(days))
    closes = np.asarray([session.close.timestamp() for session in sessions])
    return Timeline(
        sessions,
        begins_day,
        tuple(session.open for session in wholes),
        tuple(session.close for session in wholes),
        {symbol: _track(recorded, symbol, closes) for symbol in recorded.symbols},
    )


def _track(recorded: RecordedBars, symbol: str, closes: np.ndarray) -> Track:
    of_bars = recorded.sessions_of(symbol)
    ends = np.asarray([session.close.timestamp() for session in of_bars])
    stops = np.searchsorted(ends, closes, side="right")
    has_bar = (stops > 0) & (ends[np.maximum(stops - 1, 0)] == closes)
    first = int(np.searchsorted(ends, closes[0], side="left"))
    traded = recorded.traded(symbol)
    at = np.maximum(stops - 1, 0)
    columns = Columns(has_bar, stops - 1, *(column[at] for column in traded[:4]))
    opening, high, low, close, volume = (column.tolist() for column in traded)
    return Track(symbol, of_bars, stops.tolist(), has_bar.tolist(), first, opening, high, low, close, volume, columns)
