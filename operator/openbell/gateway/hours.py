"""When the exchange trades. The command line may put a real calendar in place of these."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")


class TradingHours(Protocol):
    """Sessions of the exchange; a session calendar is one. Times are aware, in UTC or any zone."""

    def is_open(self, moment: datetime) -> bool: ...

    def next_open(self, moment: datetime) -> datetime | None: ...

    def next_close(self, moment: datetime) -> datetime | None: ...


@dataclass(frozen=True, slots=True)
class AroundTheClock:
    """Always open; the day turns, with its closing and opening auction, at one time of New York."""

    turn: time = time(17, 0)

    def is_open(self, moment: datetime) -> bool:
        return True

    def next_open(self, moment: datetime) -> datetime:
        return self.next_close(moment)

    def next_close(self, moment: datetime) -> datetime:
        local = moment.astimezone(NEW_YORK)
        turn = local.replace(hour=self.turn.hour, minute=self.turn.minute, second=0, microsecond=0)
        return (turn if turn > local else turn + timedelta(days=1)).astimezone(moment.tzinfo)


@dataclass(frozen=True, slots=True)
class RegularHours:
    """Monday to Friday, 09:30 to 16:00 in New York, without holidays."""

    opening: time = time(9, 30)
    closing: time = time(16, 0)

    def is_open(self, moment: datetime) -> bool:
        local = moment.astimezone(NEW_YORK)
        return local.weekday() < 5 and self.opening <= local.time() < self.closing

    def next_open(self, moment: datetime) -> datetime:
        return self._next(moment, self.opening)

    def next_close(self, moment: datetime) -> datetime:
        return self._next(moment, self.closing)

    def _next(self, moment: datetime, at: time) -> datetime:
        local = moment.astimezone(NEW_YORK)
        then = local.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
        while then <= local or then.weekday() >= 5:
            then += timedelta(days=1)
        return then.astimezone(moment.tzinfo)


def midnight_after(moment: datetime) -> datetime:
    """When the next day of New York begins."""
    local = moment.astimezone(NEW_YORK)
    return (local.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)).astimezone(moment.tzinfo)
