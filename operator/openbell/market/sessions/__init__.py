"""Session tables of the exchanges: the usual hours, and what differs from them. One JSON file a venue.

hack/sessions.py writes the files; what a table does not cover is closed and says so, never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from openbell.domain.records import quick

VENUES = ("XNYS", "XNAS", "XLON", "XTKS", "XHKG", "XETR", "XTSE", "CMES")
ONE_DAY = timedelta(days=1)


@quick
@dataclass(frozen=True, slots=True)
class Session:
    """One day of trading: `date` is the exchange's, all moments are UTC, `early` says it closes early.

    A session is open at its first instant and closed at its last; in its lunch break, [begin, end), it does not trade
    but is still the same session. The open may lie on the day before `date`.
    """

    date: date
    open: datetime
    close: datetime
    early: bool = False
    lunch: tuple[datetime, datetime] | None = None

    def contains(self, moment: datetime) -> bool:
        """Whether the session has begun and is not over, lunch included."""
        return self.open <= moment < self.close

    def is_trading(self, moment: datetime) -> bool:
        """Whether orders are matched at `moment`."""
        return self.contains(moment) and not (self.lunch and self.lunch[0] <= moment < self.lunch[1])

    @property
    def parts(self) -> tuple[tuple[datetime, datetime], ...]:
        """The stretches of trading, [begin, end), in order."""
        if self.lunch is None:
            return ((self.open, self.close),)
        return ((self.open, self.lunch[0]), (self.lunch[1], self.close))


@dataclass(frozen=True, slots=True)
class Hours:
    """The usual hours from `since` on, by the exchange's wall clock."""

    since: date
    open: time
    close: time
    lunch: tuple[time, time] | None


@dataclass(frozen=True, slots=True)
class SessionTable:
    """What a table file says: weekdays are sessions unless `closed`, and close at the usual time unless `early`.

    With `opens_evening_before` a session opens on the calendar day before its date: Monday's on Sunday.
    """

    name: str
    zone: ZoneInfo
    zone_label: str
    opens_evening_before: bool
    first: date
    last: date
    hours: tuple[Hours, ...]  # oldest first
    closed: frozenset[date]
    early: Mapping[date, time]

    def hours_on(self, day: date) -> Hours:
        """The usual hours at that time; before the first known ones, these."""
        return next((hours for hours in reversed(self.hours) if hours.since <= day), self.hours[0])

    def utc(self, day: date, at: time) -> datetime:
        """A moment of the exchange's wall clock."""
        return datetime.combine(day, at, self.zone).astimezone(UTC)

    def session(self, day: date, early: time | None) -> Session:
        """The session of `day` by the usual hours, closed at `early`; a close before lunch's end leaves no lunch."""
        hours = self.hours_on(day)
        close = early or hours.close
        lunch = None
        if hours.lunch and hours.lunch[1] < close:
            lunch = (self.utc(day, hours.lunch[0]), self.utc(day, hours.lunch[1]))
        opening = self.utc(day - ONE_DAY if self.opens_evening_before else day, hours.open)
        return Session(day, opening, self.utc(day, close), early is not None, lunch)


@cache
def load_table(name: str) -> SessionTable:
    """Read <name>.json of this package."""
    raw = json.loads((files(__name__) / f"{name}.json").read_text("utf-8"))
    return SessionTable(
        name=raw["name"],
        zone=ZoneInfo(raw["zone"]),
        zone_label=raw["zoneLabel"],
        opens_evening_before=raw["opensEveningBefore"],
        first=date.fromisoformat(raw["first"]),
        last=date.fromisoformat(raw["last"]),
        hours=tuple(
            Hours(
                date.fromisoformat(each["from"]),
                time.fromisoformat(each["open"]),
                time.fromisoformat(each["close"]),
                _lunch(each.get("lunch")),
            )
            for each in raw["hours"]
        ),
        closed=frozenset(date.fromisoformat(f"{year}-{day}") for year, days in raw["closed"].items() for day in days),
        early={
            date.fromisoformat(f"{year}-{day}"): time.fromisoformat(at)
            for year, days in raw["early"].items()
            for day, at in days.items()
        },
    )


def _lunch(raw: list[str] | None) -> tuple[time, time] | None:
    return (time.fromisoformat(raw[0]), time.fromisoformat(raw[1])) if raw else None
