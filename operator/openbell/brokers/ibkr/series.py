"""One series of closed bars, out of the rows that IBKR gives. Pure: no socket, no clock of its own.

IBKR names a bar by its start and tells it again and again while it forms; Openbell names it by its end, in UTC, and
never sees one before it can change no more. A bar is over when a later one has begun, or when it ended some seconds
ago and no later one has: nothing was traded. What was given once stays as it was: corrections of IBKR's that come
later are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby

import numpy as np

from openbell.brokers.ibkr.history import DAY_SECONDS, Row, base_seconds, midnight, refusal
from openbell.brokers.ibkr.supervision import EASTERN
from openbell.domain.bars import Bar, BarSeries
from openbell.market.calendar import RESOLUTION, AlwaysCalendar, SessionCalendar
from openbell.market.sessions import ONE_DAY, Session

FINAL_SECONDS = 6.0
"""IBKR tells how a bar has grown every five seconds at the latest."""
DAY_FINAL_SECONDS = 900.0
"""The closing auction's print comes after the close."""
LONGEST_CLOSURE = timedelta(days=14)
"""No exchange of the calendars was ever closed for longer."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the bars of a market begin and end. With `hours_only` they are of the sessions, and end with them."""

    calendar: SessionCalendar
    hours_only: bool = True

    def bucket(self, moment: datetime, seconds: int) -> tuple[datetime, datetime]:
        """Start and end of the bar of this length that `moment` lies in.

        They count from the session's open; outside of one from the midnight of UTC, up to the next open. Bars of a day
        are the dates of New York, and with `hours_only` end with their session.
        """
        if seconds == DAY_SECONDS:
            return self._day(moment)
        session = self.calendar.session_at(moment)
        base = session.open if session else moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        limit = session.close if session else self.calendar.next_open(moment)
        length = timedelta(seconds=seconds)
        start = base + (moment - base) // length * length
        end = start + length
        return start, end if limit is None else min(end, limit)

    def _day(self, moment: datetime) -> tuple[datetime, datetime]:
        day = moment.astimezone(EASTERN).date()
        session = self._session_on_own_day(moment)
        return midnight(day), session.close if session is not None else midnight(day + ONE_DAY)

    def _session_on_own_day(self, moment: datetime) -> Session | None:
        """The session of the date, where bars of a day are of sessions. The days of `Always` are none of New York."""
        if not self.hours_only or isinstance(self.calendar, AlwaysCalendar):
            return None
        return self.calendar.session_on(moment.astimezone(EASTERN).date())

    def is_hole(self, since: datetime, until: datetime) -> bool:
        """Whether anything may have been traded between two moments."""
        if since >= until:
            return False
        if not self.hours_only:
            return True
        sessions = self.calendar.sessions(since.date() - ONE_DAY, until.date() + ONE_DAY)
        return any(max(begin, since) < min(end, until) for session in sessions for begin, end in session.parts)

    def last_end(self, moment: datetime, seconds: int) -> datetime:
        """When the newest bar ended that had ended by `moment`; with the session's first forming, its beginning."""
        start, end = self.bucket(self.last_traded(moment) - RESOLUTION, seconds)
        return end if end <= moment else start

    def last_traded(self, moment: datetime) -> datetime:
        """The latest moment, up to `moment`, until which there may be bars."""
        if not self.hours_only or self.calendar.session_at(moment - RESOLUTION) is not None:
            return moment
        first = (moment - LONGEST_CLOSURE).date()
        closes = [each.close for each in self.calendar.sessions(first, moment.date() + ONE_DAY) if each.close <= moment]
        return max(closes, default=moment)


@dataclass(slots=True)
class Series:
    """The bars of one symbol and length, made of bars of `base` seconds, which IBKR is asked for.

    `closed` are base bars that change no more, oldest first; `forming` is the one that may. `is_live`: IBKR tells of
    the newest ones as they come. `has_all`: IBKR has none that are older.
    """

    symbol: str
    bar_seconds: int
    grid: Grid
    base: int = field(init=False)
    closed: list[Bar] = field(default_factory=list)
    forming: Bar | None = None
    is_live: bool = False
    has_all: bool = False
    _buckets: dict[datetime, tuple[datetime, datetime]] = field(default_factory=dict)
    _built: tuple[bool, BarSeries] | None = None  # of `closed`, with its last bar or without

    def __post_init__(self) -> None:
        base = base_seconds(self.bar_seconds)
        if base is None:
            raise ValueError(refusal(self.bar_seconds))
        self.base = base

    @property
    def oldest(self) -> datetime | None:
        """When the oldest base bar begins."""
        if self.closed:
            return self.closed[0].start
        return self.forming.start if self.forming else None

    @property
    def newest(self) -> datetime | None:
        """When the newest base bar begins, also one that is forming."""
        if self.forming is not None:
            return self.forming.start
        return self.closed[-1].start if self.closed else None

    @property
    def final_seconds(self) -> float:
        """How long after its end a bar can change."""
        return DAY_FINAL_SECONDS if self.base == DAY_SECONDS else FINAL_SECONDS

    # --- rows in -----------------------------------------------------------------------------------------------------

    def answered(self, rows: Sequence[Row]) -> None:
        """An answer up to now has come, and is kept up to date from here on.

        Where it leaves a hole to what is known, that is given up, and asked for anew.
        """
        bars = self._bars_of(rows)
        self.forming = None
        if self.closed and bars:
            newest = self.closed[-1]
            meets = bars[0].start <= newest.start
            if not meets and self.grid.is_hole(newest.end, bars[0].start):
                self.closed.clear()
                self.has_all = False
        fresh = [bar for bar in bars if not self.closed or bar.start > self.closed[-1].start]
        if fresh:
            self.closed += fresh[:-1]
            self.forming = fresh[-1]
        self.is_live, self._built = True, None

    def paged(self, rows: Sequence[Row], now: datetime) -> None:
        """Older rows have come; none that are older: there are no more."""
        oldest = self.oldest
        bars = (bar for bar in self._bars_of(rows) if oldest is None or bar.start < oldest)
        older = [bar for bar in bars if self._is_over(bar, now)]
        self.has_all, self._built = not older, None
        self.closed[:0] = older

    def grown(self, row: Row) -> None:
        """The newest bar, as far as it has come. One that is over is closed by the one that follows it."""
        if not self.is_live or not row.is_sane or (self.closed and row.start <= self.closed[-1].start):
            return
        if self.forming is not None:
            if row.start < self.forming.start:
                return
            if row.start > self.forming.start:
                self._close(self.forming)
        self.forming = self._bar(row)

    def settle(self, now: datetime) -> None:
        """Close the newest bar where it ended long enough ago.

        To be called once all that has come in by now was told: after a stall of this process the last word on a bar
        may wait in the socket behind others, each of which comes long after the bar's end.
        """
        if self.forming is not None and self._is_over(self.forming, now):
            self._close(self.forming)
            self.forming = None

    def interrupted(self) -> None:
        """What comes next may have a gap to what came before: the bar that formed is not known to its end."""
        self.is_live = False
        self.forming = None

    def trim(self, count: int) -> None:
        """Keep about `count` bars, and no fewer."""
        keep = count * (self.bar_seconds // self.base)
        if len(self.closed) > 2 * keep + 100:
            del self.closed[: len(self.closed) - keep - 50]
            self._buckets.clear()
            self.has_all, self._built = False, None

    def _close(self, bar: Bar) -> None:
        self.closed.append(bar)
        self._built = None

    def _is_over(self, bar: Bar, now: datetime) -> bool:
        return now >= bar.end + timedelta(seconds=self.final_seconds)

    def _bars_of(self, rows: Sequence[Row]) -> list[Bar]:
        found = {row.start: row for row in rows if row.is_sane}
        return [self._bar(found[start]) for start in sorted(found)]

    def _bar(self, row: Row) -> Bar:
        end = self.grid.bucket(row.start, self.base)[1]
        return Bar(self.symbol, row.start, end, row.open, row.high, row.low, row.close, row.volume)

    # --- bars out ----------------------------------------------------------------------------------------------------

    def known_until(self, now: datetime) -> datetime | None:
        """Up to when every base bar is known and closed; None: nothing is."""
        if self.is_live:
            if self.forming is not None:
                return self.forming.start
            return now - timedelta(seconds=self.final_seconds)
        return self.closed[-1].end if self.closed else None

    def missing_for(self, now: datetime) -> float | None:
        """Seconds until the newest bar that ended by `now` is known for certain, 0: it is; None: nobody can tell."""
        until, ended = self.known_until(now), self.grid.last_end(now, self.bar_seconds)
        if until is not None and until >= ended:
            return 0.0
        return (ended - now).total_seconds() + self.final_seconds if self.is_live else None

    def bars(self, now: datetime, until: datetime | None = None) -> BarSeries:
        """Every bar that is closed for certain at `now`, oldest first; those alone that had ended by `until`."""
        known = self.known_until(now)
        is_whole = known is not None and bool(self.closed) and self._bucket(self.closed[-1])[1] <= known
        if self._built is None or self._built[0] != is_whole:
            bars = self.closed if self.base == self.bar_seconds else self._composed(is_whole=is_whole)
            self._built = (is_whole, BarSeries.from_bars(self.symbol, self.bar_seconds, bars))
        return _until(self._built[1], now if until is None else until)

    def _bucket(self, bar: Bar) -> tuple[datetime, datetime]:
        if self.base == self.bar_seconds:
            return bar.start, bar.end
        found = self._buckets.get(bar.start)
        if found is None:
            found = self._buckets[bar.start] = self.grid.bucket(bar.start, self.bar_seconds)
        return found

    def _composed(self, *, is_whole: bool) -> list[Bar]:
        """Bars out of shorter ones: without the oldest where it may lack its beginning, and the newest its end."""
        groups = [(bucket, tuple(bars)) for bucket, bars in groupby(self.closed, self._bucket)]
        if groups and not self.has_all and groups[0][1][0].start != groups[0][0][0]:
            del groups[0]
        if groups and not is_whole:
            del groups[-1]
        return [
            Bar(
                self.symbol,
                start,
                end,
                bars[0].open,
                max(bar.high for bar in bars),
                min(bar.low for bar in bars),
                bars[-1].close,
                sum(bar.volume for bar in bars),
            )
            for (start, end), bars in groups
        ]


def _until(series: BarSeries, now: datetime) -> BarSeries:
    """Those that had ended by `now`."""
    stop = int(np.searchsorted(series.end, now.timestamp(), side="right"))
    if stop == len(series):
        return series
    columns = (series.end, series.open, series.high, series.low, series.close, series.volume)
    return BarSeries(series.symbol, series.bar_seconds, *(column[:stop] for column in columns))
