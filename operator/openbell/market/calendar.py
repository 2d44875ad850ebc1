"""When a market trades: sessions in UTC, made from the exchange's own wall clock.

XNYS comes from a table (sessions/XNYS.json, made by hack/generate_sessions.py); what the table does not cover is
closed and says so, never guessed. A session is open at its first instant and closed at its last: open ≤ t < close.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from typing import Protocol
from zoneinfo import ZoneInfo

from openbell.domain.errors import ManifestError

ONE_DAY = timedelta(days=1)
MIDNIGHT = time(0)
RESOLUTION = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Session:
    """One day of trading: `date` is the exchange's, `open` and `close` are UTC, `early` says it closes early."""

    date: date
    open: datetime
    close: datetime
    early: bool = False

    def contains(self, moment: datetime) -> bool:
        return self.open <= moment < self.close


class SessionCalendar(Protocol):
    """Sessions of one market. None means: not known to be open, ever again (the table ends there)."""

    @property
    def name(self) -> str: ...

    @property
    def horizon(self) -> date | None:
        """The last date that is known, or None where there is no end."""
        ...

    def is_open(self, moment: datetime) -> bool: ...

    def session_at(self, moment: datetime) -> Session | None:
        """The session that `moment` lies in."""
        ...

    def session_on(self, day: date) -> Session | None:
        """The session of an exchange date."""
        ...

    def next_open(self, moment: datetime) -> datetime | None:
        """The first open after `moment`."""
        ...

    def next_close(self, moment: datetime) -> datetime | None:
        """The first close after `moment`: this session's, or the next one's."""
        ...

    def sessions(self, first: date, last: date) -> Iterator[Session]:
        """Sessions from `first` to `last`, both included, in order."""
        ...

    def describe(self, moment: datetime) -> str:
        """One clause for people: "market closed until 09:30 ET Mon"."""
        ...


class AlwaysCalendar:
    """A market without closing hours; its sessions are the days of UTC."""

    name = "Always"
    horizon: date | None = None

    def is_open(self, moment: datetime) -> bool:
        return True

    def session_at(self, moment: datetime) -> Session | None:
        return self.session_on(moment.astimezone(UTC).date())

    def session_on(self, day: date) -> Session | None:
        opening = datetime.combine(day, MIDNIGHT, UTC)
        return Session(day, opening, opening + ONE_DAY)

    def next_open(self, moment: datetime) -> datetime | None:
        return datetime.combine(moment.astimezone(UTC).date(), MIDNIGHT, UTC) + ONE_DAY

    def next_close(self, moment: datetime) -> datetime | None:
        return self.next_open(moment)

    def sessions(self, first: date, last: date) -> Iterator[Session]:
        for number in range((last - first).days + 1):
            opening = datetime.combine(first, MIDNIGHT, UTC) + number * ONE_DAY
            yield Session(opening.date(), opening, opening + ONE_DAY)

    def describe(self, moment: datetime) -> str:
        return "market always open"


@dataclass(frozen=True, slots=True)
class SessionTable:
    """What a table file says: weekdays are sessions unless `closed`, and close at the usual time unless `early`."""

    name: str
    zone: ZoneInfo
    zone_label: str
    open: time
    close: time
    first: date
    last: date
    closed: frozenset[date]
    early: Mapping[date, time]


@cache
def load_table(name: str) -> SessionTable:
    """Read sessions/<name>.json from the package."""
    raw = json.loads((files("openbell.market") / "sessions" / f"{name}.json").read_text("utf-8"))
    return SessionTable(
        name=raw["name"],
        zone=ZoneInfo(raw["zone"]),
        zone_label=raw["zoneLabel"],
        open=time.fromisoformat(raw["open"]),
        close=time.fromisoformat(raw["close"]),
        first=date.fromisoformat(raw["first"]),
        last=date.fromisoformat(raw["last"]),
        closed=frozenset(date.fromisoformat(text) for text in raw["closed"]),
        early={date.fromisoformat(text): time.fromisoformat(at) for text, at in raw["early"].items()},
    )


class TableCalendar:
    """Sessions of an exchange by its table, with a person's overrides for days that no table foresaw.

    Raises ManifestError for an early close that is not between the usual open and close.
    """

    def __init__(
        self,
        table: SessionTable,
        extra_closures: Collection[date] = (),
        early_closes: Mapping[date, time] | None = None,
    ) -> None:
        overrides = early_closes or {}
        for day, at in overrides.items():
            if not table.open < at < table.close:
                raise ManifestError(
                    f"market.earlyCloses: {at:%H:%M} on {day} is not allowed; "
                    f"it must lie between {table.open:%H:%M} and {table.close:%H:%M} {table.zone_label}"
                )
        self._table = table
        self._closed = table.closed | frozenset(extra_closures)
        self._early = {**table.early, **overrides}
        self._known: dict[date, Session | None] = {}

    @property
    def name(self) -> str:
        return self._table.name

    @property
    def horizon(self) -> date | None:
        return self._table.last

    def _utc(self, day: date, at: time) -> datetime:
        return datetime.combine(day, at, self._table.zone).astimezone(UTC)

    def session_on(self, day: date) -> Session | None:
        if day not in self._known:
            self._known[day] = self._session_on(day)
        return self._known[day]

    def _session_on(self, day: date) -> Session | None:
        table = self._table
        if not table.first <= day <= table.last or day.weekday() >= 5 or day in self._closed:
            return None
        early = self._early.get(day)
        return Session(day, self._utc(day, table.open), self._utc(day, early or table.close), early is not None)

    def session_at(self, moment: datetime) -> Session | None:
        session = self.session_on(moment.astimezone(self._table.zone).date())
        return session if session is not None and session.contains(moment) else None

    def is_open(self, moment: datetime) -> bool:
        return self.session_at(moment) is not None

    def _from(self, moment: datetime) -> Iterator[Session]:
        first = max(moment.astimezone(self._table.zone).date(), self._table.first)
        return self.sessions(first, self._table.last)

    def next_open(self, moment: datetime) -> datetime | None:
        # Before the table begins nothing is known either: the table's first open would be a guess.
        if moment < self._utc(self._table.first, MIDNIGHT):
            return None
        return next((session.open for session in self._from(moment) if session.open > moment), None)

    def next_close(self, moment: datetime) -> datetime | None:
        if moment < self._utc(self._table.first, MIDNIGHT):
            return None
        return next((session.close for session in self._from(moment) if session.close > moment), None)

    def sessions(self, first: date, last: date) -> Iterator[Session]:
        day = max(first, self._table.first)
        while day <= min(last, self._table.last):
            session = self.session_on(day)
            if session is not None:
                yield session
            day += ONE_DAY

    def describe(self, moment: datetime) -> str:
        table = self._table
        session = self.session_at(moment)
        if session is not None:
            return f"market open until {session.close.astimezone(table.zone):%H:%M} {table.zone_label}"
        opening = self.next_open(moment)
        if opening is None:
            return f"market closed: the {table.name} sessions are known from {table.first} to {table.last} only"
        local, today = opening.astimezone(table.zone), moment.astimezone(table.zone).date()
        clause = f"market closed until {local:%H:%M} {table.zone_label}"
        days = (local.date() - today).days
        if days == 0:
            return clause
        return f"{clause} {local:%a}" if days < 7 else f"{clause} {local:%a %Y-%m-%d}"


def calendar_for(
    name: str,
    extra_closures: Collection[date] = (),
    early_closes: Mapping[date, time] | None = None,
) -> SessionCalendar:
    """The calendar that `market.calendar` names. Raises ManifestError for another name or a misplaced override."""
    if name == "XNYS":
        return TableCalendar(load_table(name), extra_closures, early_closes)
    if name != "Always":
        raise ManifestError(f"market.calendar: {name!r} is not known; allowed are XNYS and Always")
    if extra_closures or early_closes:
        raise ManifestError("market.calendar: Always has no sessions to close; extraClosures and earlyCloses need XNYS")
    return AlwaysCalendar()


def next_tick(
    calendar: SessionCalendar, hours_only: bool, interval_seconds: float, settle_seconds: float, now: datetime
) -> datetime:
    """The first tick after `now`: session open + k × interval + settle, counted anew from the wall clock each time.

    Inside a session k starts at 0 and the last tick lies before the close. Outside: the next session's first tick,
    or, with `hours_only` false, the same grid laid from the UTC midnight, up to that tick. Where no further session
    is known the UTC grid goes on, so that the loop still wakes to say that the market is closed.
    """
    interval, settle = timedelta(seconds=interval_seconds), timedelta(seconds=settle_seconds)
    session = calendar.session_at(now)
    after = now
    if session is not None:
        tick = _grid(session.open, interval, settle, now)
        if tick < session.close:
            return tick
        after = session.close - RESOLUTION
    opening = calendar.next_open(now)
    if opening is not None and hours_only:
        return opening + settle
    midnight = datetime.combine((after + RESOLUTION).astimezone(UTC).date(), MIDNIGHT, UTC)
    tick = min(_grid(midnight, interval, settle, after), midnight + ONE_DAY + settle)
    return tick if opening is None or tick < opening else opening + settle


def _grid(base: datetime, interval: timedelta, settle: timedelta, now: datetime) -> datetime:
    """The first base + k × interval + settle, k ≥ 0, after `now`."""
    steps = (now - base - settle) // interval + 1
    return base + max(0, steps) * interval + settle
