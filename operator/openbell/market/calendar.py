"""When a market trades: sessions in UTC, made from the exchange's own wall clock, and the ticks laid over them.

The venues come from tables (openbell.market.sessions); `Always` is a market without closing hours. In a lunch break
the session goes on, but nothing trades: `is_open` is false, no tick falls into it, and nothing is aged by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Protocol

from openbell.domain.errors import ManifestError
from openbell.market.sessions import ONE_DAY, VENUES, Session, SessionTable, load_table

ALWAYS = "Always"
MIDNIGHT = time(0)
RESOLUTION = timedelta(microseconds=1)


class SessionCalendar(Protocol):
    """Sessions of one market. None means: not known to be open, ever again (the table ends there)."""

    @property
    def name(self) -> str: ...

    def beyond(self, day: date) -> str:
        """One clause where nothing is known of that exchange date; empty where it is."""
        ...

    def is_open(self, moment: datetime) -> bool:
        """Whether the market trades; false in a lunch break."""
        ...

    def session_at(self, moment: datetime) -> Session | None:
        """The session that `moment` lies in, its lunch break included."""
        ...

    def session_on(self, day: date) -> Session | None:
        """The session of an exchange date."""
        ...

    def next_session(self, moment: datetime) -> Session | None:
        """The first session that opens after `moment`."""
        ...

    def next_open(self, moment: datetime) -> datetime | None:
        """When trading next begins after `moment`: a session's open, or the end of its lunch break."""
        ...

    def next_close(self, moment: datetime) -> datetime | None:
        """The first end of a session after `moment`: this session's, or the next one's. Lunch ends none."""
        ...

    def sessions(self, first: date, last: date) -> Iterator[Session]:
        """Sessions of the exchange dates from `first` to `last`, both included, in order."""
        ...

    def describe(self, moment: datetime) -> str:
        """One clause for people: "market closed until 09:30 ET Mon"."""
        ...


class AlwaysCalendar:
    """A market without closing hours; its sessions are the days of UTC."""

    name = ALWAYS

    def beyond(self, day: date) -> str:
        return ""

    def is_open(self, moment: datetime) -> bool:
        return True

    def session_at(self, moment: datetime) -> Session | None:
        return self.session_on(moment.astimezone(UTC).date())

    def session_on(self, day: date) -> Session | None:
        return _whole_day(day)

    def next_session(self, moment: datetime) -> Session | None:
        return self.session_on(moment.astimezone(UTC).date() + ONE_DAY)

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


@lru_cache(maxsize=4096)
def _whole_day(day: date) -> Session:
    opening = datetime.combine(day, MIDNIGHT, UTC)
    return Session(day, opening, opening + ONE_DAY)


class TableCalendar:
    """Sessions of an exchange by its table, with a person's overrides for days that no table foresaw.

    Overrides are by session date: a closure takes the whole session, its evening before included. Raises
    ManifestError for an early close that is not within the usual session of its day, or within its lunch break.
    """

    def __init__(
        self,
        table: SessionTable,
        extra_closures: Collection[date] = (),
        early_closes: Mapping[date, time] | None = None,
    ) -> None:
        overrides = early_closes or {}
        for day, at in overrides.items():
            _check_early_close(table, day, at)
        self._table = table
        self._closed = table.closed | frozenset(extra_closures)
        self._early = {**table.early, **overrides}
        self._known: dict[date, Session | None] = {}

    @property
    def name(self) -> str:
        return self._table.name

    def beyond(self, day: date) -> str:
        table = self._table
        if table.first <= day <= table.last:
            return ""
        return f"the {table.name} sessions are known from {table.first} to {table.last} only"

    def session_on(self, day: date) -> Session | None:
        if day not in self._known:
            is_session = not self.beyond(day) and day.weekday() < 5 and day not in self._closed
            self._known[day] = self._table.session(day, self._early.get(day)) if is_session else None
        return self._known[day]

    def session_at(self, moment: datetime) -> Session | None:
        today = self._today(moment)
        for day in (today, today + ONE_DAY) if self._table.opens_evening_before else (today,):
            session = self.session_on(day)
            if session is not None and session.contains(moment):
                return session
        return None

    def is_open(self, moment: datetime) -> bool:
        session = self.session_at(moment)
        return session is not None and session.is_trading(moment)

    def _today(self, moment: datetime) -> date:
        return moment.astimezone(self._table.zone).date()

    def _from(self, moment: datetime) -> Iterator[Session]:
        today = self._today(moment)
        # Before the table begins nothing is known either: the table's first open would be a guess.
        return iter(()) if today < self._table.first else self.sessions(today, self._table.last)

    def next_session(self, moment: datetime) -> Session | None:
        return next((session for session in self._from(moment) if session.open > moment), None)

    def next_open(self, moment: datetime) -> datetime | None:
        begins = (begin for session in self._from(moment) for begin, _ in session.parts)
        return next((begin for begin in begins if begin > moment), None)

    def next_close(self, moment: datetime) -> datetime | None:
        return next((session.close for session in self._from(moment) if session.close > moment), None)

    def sessions(self, first: date, last: date) -> Iterator[Session]:
        day = max(first, self._table.first)
        while day <= min(last, self._table.last):
            session = self.session_on(day)
            if session is not None:
                yield session
            day += ONE_DAY

    def describe(self, moment: datetime) -> str:
        session = self.session_at(moment)
        if session is not None:
            until, lunch = self._until(session.close, moment), session.lunch
            if lunch is None or moment >= lunch[1]:
                return f"market open until {until}"
            if moment >= lunch[0]:
                return f"market closed for lunch until {self._until(lunch[1], moment)}"
            begin, end = (each.astimezone(self._table.zone) for each in lunch)
            return f"market open until {until}, lunch {begin:%H:%M}–{end:%H:%M}"
        opening = self.next_open(moment)
        if opening is None:
            return f"market closed: {self.beyond(self._table.last + ONE_DAY)}"
        return f"market closed until {self._until(opening, moment)}"

    def _until(self, then: datetime, moment: datetime) -> str:
        local = then.astimezone(self._table.zone)
        days = (local.date() - self._today(moment)).days
        day = "" if days == 0 else f" {local:%a}" if days < 7 else f" {local:%a %Y-%m-%d}"
        return f"{local:%H:%M} {self._table.zone_label}{day}"


def _check_early_close(table: SessionTable, day: date, at: time) -> None:
    hours = table.hours_on(day)
    begin = MIDNIGHT if table.opens_evening_before else hours.open
    if begin < at < hours.close and not (hours.lunch and hours.lunch[0] < at <= hours.lunch[1]):
        return
    lunch = f", not in the lunch break {hours.lunch[0]:%H:%M}–{hours.lunch[1]:%H:%M}" if hours.lunch else ""
    raise ManifestError(
        f"market.earlyCloses: {at:%H:%M} on {day} is not allowed; "
        f"it must lie between {begin:%H:%M} and {hours.close:%H:%M} {table.zone_label}{lunch}"
    )


def next_times(calendar: SessionCalendar, moment: datetime) -> tuple[datetime | None, datetime | None]:
    """When trading next begins and when the session closes, for people: a market that never closes has neither."""
    if isinstance(calendar, AlwaysCalendar):  # its days are for counting by, and end nothing
        return None, None
    return calendar.next_open(moment), calendar.next_close(moment)


def calendar_for(
    name: str,
    extra_closures: Collection[date] = (),
    early_closes: Mapping[date, time] | None = None,
) -> SessionCalendar:
    """The calendar that `market.calendar` names. Raises ManifestError for another name or a misplaced override."""
    if name in VENUES:
        return TableCalendar(load_table(name), extra_closures, early_closes)
    if name != ALWAYS:
        raise ManifestError(f"market.calendar: {name!r} is not known; allowed are {', '.join(VENUES)} and {ALWAYS}")
    if extra_closures or early_closes:
        raise ManifestError(
            f"market.calendar: {ALWAYS} has no sessions to close; extraClosures and earlyCloses need an exchange's "
            f"calendar: {', '.join(VENUES)}"
        )
    return AlwaysCalendar()


def next_tick(
    calendar: SessionCalendar, hours_only: bool, interval_seconds: float, settle_seconds: float, now: datetime
) -> datetime:
    """The first tick after `now`: session open + k × interval + settle, counted anew from the wall clock each time.

    Inside a session k starts at 0 and the last tick lies before the close. The grid goes on through a lunch break,
    with `hours_only` without the ticks in it: the first one after it is the grid's, not the break's end. Outside of
    sessions: the next session's first tick, or, with `hours_only` false, the same grid laid from the UTC midnight, up
    to that tick. Where no further session is known the UTC grid goes on, so that the loop still wakes to say that the
    market is closed.
    """
    interval, settle = timedelta(seconds=interval_seconds), timedelta(seconds=settle_seconds)
    session = calendar.session_at(now)
    after = now
    if session is not None:
        tick = _grid(session.open, interval, settle, now)
        if hours_only and session.lunch and session.lunch[0] <= tick < session.lunch[1]:
            tick = _grid(session.open, interval, settle, session.lunch[1] - RESOLUTION)
        if tick < session.close:
            return tick
        after = session.close - RESOLUTION
    following = calendar.next_session(now)
    opening = following.open if following else None
    if opening is not None and hours_only:
        return opening + settle
    midnight = datetime.combine((after + RESOLUTION).astimezone(UTC).date(), MIDNIGHT, UTC)
    tick = min(_grid(midnight, interval, settle, after), midnight + ONE_DAY + settle)
    return tick if opening is None or tick < opening else opening + settle


def _grid(base: datetime, interval: timedelta, settle: timedelta, now: datetime) -> datetime:
    """The first base + k × interval + settle, k ≥ 0, after `now`."""
    steps = (now - base - settle) // interval + 1
    return base + max(0, steps) * interval + settle
