"""How often clients may ask: messages in a second, and the three rules for history of small bars."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from openbell.gateway.history import SIZES
from openbell.gateway.wire.requests import HistoryWanted

SMALL_SECONDS = 30
SAME_SECONDS = 15.0  # no identical request within
CONTRACT_SECONDS, CONTRACT_MOST = 2.0, 6  # fewer than this many for one contract within
WINDOW_SECONDS, WINDOW_MOST = 600.0, 60  # at most this many within


@dataclass(slots=True)
class MessageRate:
    """Messages of one client in the last second."""

    most: int
    _times: deque[float] = field(default_factory=deque)

    def count(self, now: float) -> int:
        """Note one message; how many there have been in this second when that is too many, else 0."""
        self._times.append(now)
        while self._times and self._times[0] <= now - 1.0:
            self._times.popleft()
        return len(self._times) if len(self._times) > self.most else 0


@dataclass(slots=True)
class HistoryPacer:
    """Requests of one client for history in bars of at most 30 seconds, for which the rules are hard.

    Those of bid and ask count twice.
    """

    _asked: deque[tuple[float, HistoryWanted]] = field(default_factory=deque)

    def allow(self, request: HistoryWanted, now: float) -> bool:
        """Whether a request is within the rules; if so it counts."""
        if SIZES.get(request.bar_size, 0) > SMALL_SECONDS:
            return True
        while self._asked and self._asked[0][0] <= now - WINDOW_SECONDS:
            self._asked.popleft()
        question = _question(request)
        alike = [at for at, past in self._asked if past.contract == request.contract and past.what == request.what]
        total = sum(2 if past.what == "BID_ASK" else 1 for _, past in self._asked)
        if any(at > now - SAME_SECONDS and _question(past) == question for at, past in self._asked):
            return False
        if sum(at > now - CONTRACT_SECONDS for at in alike) >= CONTRACT_MOST - 1:
            return False
        if total + (2 if request.what == "BID_ASK" else 1) > WINDOW_MOST:
            return False
        self._asked.append((now, request))
        return True


def _question(request: HistoryWanted) -> tuple[object, ...]:
    return (request.contract, request.end, request.bar_size, request.duration, request.regular_hours, request.what)
