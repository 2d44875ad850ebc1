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


def midnight_after(moment: datetime) -> datetime:
    """When the next day of New York begins."""
    local = moment.astimezone(NEW_YORK)
    return (local.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)).astimezone(moment.tzinfo)
