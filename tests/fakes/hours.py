"""Trading hours for tests of the simulated gateway, without a calendar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from openbell.gateway.hours import NEW_YORK


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
