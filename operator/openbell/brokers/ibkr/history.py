"""Bars of history: which to ask for, and what the rows of an answer say. Pure.

Only sizes are asked for that lie on the grid of every session (each divides half an hour, at which sessions begin); any
other length is made from one of these (`series`). How far back one request may reach is IBKR's table of step sizes
(TWS API, Historical Data Limitations); what is older is asked for page by page.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from openbell.brokers.ibkr.shapes import BarShape
from openbell.brokers.ibkr.supervision import EASTERN

DAY_SECONDS = 86_400
SESSION_SECONDS = 23_400
"""Of a usual session, 09:30 to 16:00: what a duration in days holds."""
SIZES = {
    5: "5 secs",
    10: "10 secs",
    15: "15 secs",
    30: "30 secs",
    60: "1 min",
    120: "2 mins",
    180: "3 mins",
    300: "5 mins",
    600: "10 mins",
    900: "15 mins",
    1_800: "30 mins",
    DAY_SECONDS: "1 day",
}
"""IBKR has bars of one second, of twenty minutes and of hours too: the first are not kept up to date, the others do not
begin with the session."""
SMALLEST_SECONDS = min(SIZES)


class Step(NamedTuple):
    """A row of IBKR's table: bars from `smallest` to `largest` seconds may be asked for over `duration`."""

    duration: str
    smallest: int
    largest: int
    sessions: int = 0  # that the duration holds; 0: it is less than one
    seconds: int = 0

    def holds(self, bar_seconds: int) -> int:
        """How many bars the duration has at most."""
        if bar_seconds == DAY_SECONDS:
            return self.sessions
        return (self.sessions * SESSION_SECONDS or self.seconds) // bar_seconds


HOUR, WEEK, MONTH = 3_600, 7 * DAY_SECONDS, 30 * DAY_SECONDS
STEPS = (
    Step("60 S", 1, 60, seconds=60),
    Step("120 S", 1, 120, seconds=120),
    Step("1800 S", 1, 1_800, seconds=1_800),
    Step("3600 S", 5, HOUR, seconds=3_600),
    Step("14400 S", 10, 3 * HOUR, seconds=14_400),
    Step("28800 S", 30, 8 * HOUR, seconds=28_800),
    Step("1 D", 60, DAY_SECONDS, sessions=1),
    Step("2 D", 120, DAY_SECONDS, sessions=2),
    Step("1 W", 180, WEEK, sessions=5),
    Step("1 M", 1_800, MONTH, sessions=20),
    Step("1 Y", DAY_SECONDS, MONTH, sessions=250),
)


def base_seconds(bar_seconds: int) -> int | None:
    """The longest size that IBKR has and that bars of this length can be made of; None: there is none."""
    if bar_seconds >= DAY_SECONDS:
        return DAY_SECONDS if bar_seconds == DAY_SECONDS else None
    return max((size for size in SIZES if bar_seconds % size == 0), default=None)


def refusal(bar_seconds: int) -> str:
    """Why there are no bars of this length; empty: there are."""
    if base_seconds(bar_seconds) is not None:
        return ""
    return (
        f"Interactive Brokers has no bars of {bar_seconds} s: "
        f"they are made of its bars of {SMALLEST_SECONDS} s or more, up to a day"
    )


def duration(size: int, count: int) -> str:
    """The shortest duration of the table that may be asked for in this size and has `count` bars, or else the longest.

    Bars of a minute or more are asked for in whole sessions: seconds are counted over closed hours too.
    """
    allowed = [step for step in STEPS if step.smallest <= size <= step.largest and (step.sessions or size < 60)]
    return next((step for step in allowed if step.holds(size) >= count), allowed[-1]).duration


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """A request for bars. `end` empty: up to now; `is_kept`: and kept up to date from then on."""

    size: str
    duration: str
    hours_only: bool
    end: str = ""
    is_kept: bool = False

    @classmethod
    def of(
        cls, size: int, count: int, *, hours_only: bool, end: datetime | None = None, is_kept: bool = False
    ) -> HistoryQuery:
        """The request for `count` bars of `size` seconds, if one request may ask for so many."""
        until = "" if end is None else f"{end.astimezone(UTC):%Y%m%d-%H:%M:%S}"  # this form means UTC
        return cls(SIZES[size], duration(size, count), hours_only, until, is_kept)


# --- rows in ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A bar by its start, in UTC; that of a daily bar is the midnight of its date in New York."""

    start: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def is_sane(self) -> bool:
        """Whether the prices can be a bar's. What a gateway does not know it writes as -1 or 0."""
        prices = (self.open, self.high, self.low, self.close)
        return all(math.isfinite(each) and each > 0 for each in prices) and (
            self.low <= min(self.open, self.close) and max(self.open, self.close) <= self.high
        )


_DAY = re.compile(r"\d{8}")
_LOCAL = re.compile(r"(?P<day>\d{8}) +(?P<time>\d\d:\d\d:\d\d)(?: (?P<zone>\S+))?")


def row_of(bar: BarShape) -> Row:
    """What a bar of an answer says. Raises ValueError for a time that is none."""
    volume = float(bar.volume)
    return Row(
        start_of(str(bar.date)),
        float(bar.open),
        float(bar.high),
        float(bar.low),
        float(bar.close),
        volume if math.isfinite(volume) and volume > 0 else 0.0,
    )


def start_of(written: str) -> datetime:
    """When a bar began: a date, seconds since 1970, or a local time with its zone. Raises ValueError."""
    if _DAY.fullmatch(written):
        return midnight(datetime.strptime(written, "%Y%m%d").date())  # noqa: DTZ007 - a date
    if written.isdigit():
        return datetime.fromtimestamp(int(written), UTC)
    found = _LOCAL.fullmatch(written)
    if found is None:
        raise ValueError(f"{written[:40]!r} is no time of a bar")
    try:
        zone = ZoneInfo(found["zone"]) if found["zone"] else EASTERN
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{written[:40]!r} names a time zone that nobody knows") from error
    local = datetime.strptime(f"{found['day']} {found['time']}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007 - its zone follows
    return local.replace(tzinfo=zone).astimezone(UTC)


def midnight(day: date) -> datetime:
    """When a day begins in New York."""
    return datetime(day.year, day.month, day.day, tzinfo=EASTERN).astimezone(UTC)
