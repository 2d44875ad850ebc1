"""Requests for history: which bars they mean, and how those are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from openbell.gateway.errors import FieldError
from openbell.gateway.hours import NEW_YORK, TradingHours
from openbell.gateway.pricing import Bar
from openbell.gateway.wire import fields
from openbell.gateway.wire.replies import HistoricalBar
from openbell.gateway.wire.requests import HistoryWanted

DAY_SECONDS = 86_400
MOST_BARS = 5_000
# Names of bar sizes, in both spellings that clients use → seconds.
SIZES = {
    "1 secs": 1,
    "5 secs": 5,
    "10 secs": 10,
    "15 secs": 15,
    "30 secs": 30,
    "1 min": 60,
    "2 mins": 120,
    "3 mins": 180,
    "5 mins": 300,
    "10 mins": 600,
    "15 mins": 900,
    "20 mins": 1_200,
    "30 mins": 1_800,
    "1 hour": 3_600,
    "2 hours": 7_200,
    "3 hours": 10_800,
    "4 hours": 14_400,
    "8 hours": 28_800,
    "1 day": DAY_SECONDS,
}
_UNITS = {"S": 1, "D": DAY_SECONDS, "W": 7 * DAY_SECONDS, "M": 30 * DAY_SECONDS, "Y": 365 * DAY_SECONDS}
WHAT = frozenset({"TRADES", "MIDPOINT", "BID", "ASK", "BID_ASK", "ADJUSTED_LAST"})


@dataclass(frozen=True, slots=True)
class HistoryPlan:
    """The bars that a request means: of `seconds` each, that begin in `begin` to `end`."""

    begin: datetime
    end: datetime
    seconds: int
    date_format: int
    title: str

    def start_of(self, moment: datetime) -> datetime:
        """When the bar began that `moment` lies in."""
        return day_start(moment) if self.seconds == DAY_SECONDS else floor(moment, self.seconds)

    def starts(self, hours: TradingHours | None) -> list[datetime]:
        """When the bars begin, oldest first; within the hours only, where they are given."""
        found: list[datetime] = []
        at = self.start_of(self.begin)
        while at < self.end and len(found) < MOST_BARS:
            if at >= self.begin and (hours is None or self._within(at, hours)):
                found.append(at)
            at = self._after(at)
        return found

    def _after(self, at: datetime) -> datetime:
        if self.seconds == DAY_SECONDS:
            return day_start(at + timedelta(seconds=DAY_SECONDS + 7_200))
        return at + timedelta(seconds=self.seconds)

    def _within(self, at: datetime, hours: TradingHours) -> bool:
        if self.seconds < DAY_SECONDS:
            return hours.is_open(at)
        noon = at.astimezone(NEW_YORK).replace(hour=12)
        return hours.is_open(noon.astimezone(UTC))

    def time(self, moment: datetime) -> str:
        """A time as the answer's head has it."""
        return fields.stamp(moment)

    def show(self, bar: Bar) -> HistoricalBar:
        """A bar as it is written."""
        if self.seconds == DAY_SECONDS:
            date = fields.day(bar.start)
        elif self.date_format == 2:
            date = str(int(bar.start.timestamp()))
        else:
            date = fields.stamp(bar.start)
        return HistoricalBar(date, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.average, bar.count)


def plan(request: HistoryWanted, now: datetime, hours: TradingHours) -> HistoryPlan:
    """The bars that `request` means at `now`: a duration in days counts the days that were traded.

    Raises FieldError for what cannot be asked.
    """
    seconds = SIZES.get(request.bar_size)
    if seconds is None:
        raise FieldError(f"Historical data bar size setting is invalid. Legal ones are: {', '.join(SIZES)}.")
    if request.what not in WHAT:
        raise FieldError(f"Invalid what to show {request.what[:20]!r}")
    if request.date_format not in {1, 2}:
        raise FieldError(f"Invalid date format {request.date_format}")
    if request.keep_up_to_date and request.end:
        raise FieldError("End Date/Time: the date must be empty to keep the data up to date")
    found = re.fullmatch(r"(\d{1,5}) ([SDWMY])", request.duration)
    if found is None:
        raise FieldError(f"Invalid duration {request.duration[:20]!r}")
    length = timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    if length > timedelta(days=20 * 365) or length.total_seconds() / seconds > MOST_BARS:
        raise FieldError("The query would return too many bars")
    end = fields.moment(request.end, "endDateTime") if request.end.strip() else now
    end = min(end, now)
    if found[2] == "D":
        begin = _days_before(end, int(found[1]), hours)
    elif seconds == DAY_SECONDS:
        begin = day_start(end - length)
    else:
        begin = end - length
    return HistoryPlan(begin, end, seconds, request.date_format, request.what.capitalize())


def _days_before(end: datetime, count: int, hours: TradingHours) -> datetime:
    """When the last `count` days began that were traded before `end`."""
    day = day_start(end - timedelta(microseconds=1))
    for _ in range(2 * count + 10):  # no more than every second day is closed, but for a long weekend
        opening = day if hours.is_open(day) else hours.next_open(day)
        count -= opening is not None and opening < min(end, day_start(day + timedelta(hours=26)))
        if count <= 0:
            break
        day = day_start(day - timedelta(hours=2))
    return day


def floor(moment: datetime, seconds: int) -> datetime:
    """The last whole `seconds` since 1970."""
    return datetime.fromtimestamp(int(moment.timestamp()) // seconds * seconds, UTC)


def day_start(moment: datetime) -> datetime:
    """Midnight of New York."""
    local = moment.astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0)
    return local.astimezone(UTC)
