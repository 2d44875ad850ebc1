"""How fast one may ask. Pure: every method is told the time (monotonic seconds).

The gateway takes 50 messages a second of a client; beyond, it answers 100 and in the end hangs up. Historical data has
four rules of its own (IBKR's page on historical limitations): at most 50 requests at a time; and for bars of at most
30 seconds no identical one within 15 s, fewer than six of one contract, exchange and kind within 2 s, at most 60 in 10
minutes, where BID_ASK counts twice. For longer bars IBKR has lifted the last three. All are kept with a margin, because
the gateway's clock sees the messages at other times than ours.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum

MESSAGES_A_SECOND = 25.0
BURST = 20
"""In any second at most BURST + MESSAGES_A_SECOND = 45 messages leave."""


class Urgency(IntEnum):
    """How many messages are left for others: what leaves a position may use the last one, a question may not."""

    EXIT = 0
    ENTRY = 5
    QUESTION = 10


@dataclass(slots=True)
class TokenBucket:
    """Messages that may go out now."""

    rate: float = MESSAGES_A_SECOND
    burst: int = BURST
    _tokens: float = field(init=False)
    _at: float = field(init=False, default=float("-inf"))

    def __post_init__(self) -> None:
        self._tokens = float(self.burst)

    def _refill(self, now: float) -> None:
        if self._at != float("-inf"):
            self._tokens = min(float(self.burst), self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = max(self._at, now)

    def take(self, now: float, urgency: Urgency = Urgency.EXIT) -> bool:
        """Whether one message may go out now; if so, it counts."""
        self._refill(now)
        if self._tokens < 1.0 + urgency:
            return False
        self._tokens -= 1.0
        return True

    def delay(self, now: float, urgency: Urgency = Urgency.EXIT) -> float:
        """Seconds until `take` can succeed."""
        self._refill(now)
        return max(0.0, (1.0 + urgency - self._tokens) / self.rate)

    def drain(self, now: float) -> None:
        """The gateway has complained: nothing more until the bucket has filled again."""
        self._refill(now)
        self._tokens = 0.0


CONCURRENT = 45  # of 50
SMALL_SECONDS = 30
IDENTICAL_SECONDS = 16.0  # of 15
ALIKE = 5  # "six or more within two seconds" is too many
ALIKE_SECONDS = 2.5
WINDOW_SECONDS = 610.0
WINDOW_LIMIT = 58  # of 60; LEAN's margin
VIOLATED_SECONDS = 60.0
"""After a pacing violation (162) nothing is asked for so long."""


@dataclass(frozen=True, slots=True)
class HistoricalRequest:
    """What the rules look at. `key` is all of the request; `kind` is what is asked for (TRADES, BID_ASK, …)."""

    key: str
    contract: str
    exchange: str
    kind: str
    bar_seconds: int = SMALL_SECONDS

    @property
    def is_small(self) -> bool:
        """Whether all four rules are for it."""
        return self.bar_seconds <= SMALL_SECONDS

    @property
    def weight(self) -> int:
        return 2 if self.kind == "BID_ASK" else 1

    @property
    def alike(self) -> tuple[str, str, str]:
        return self.contract, self.exchange, self.kind


@dataclass(slots=True)
class HistoricalPacer:
    """What was asked for in the window, and what is open."""

    _asked: deque[tuple[float, HistoricalRequest]] = field(default_factory=deque)
    _open: int = 0
    _not_before: float = float("-inf")

    def delay(self, request: HistoricalRequest, now: float) -> float | None:
        """Seconds until this request is within the rules by what was asked so far; None: first one must end."""
        while self._asked and now - self._asked[0][0] >= WINDOW_SECONDS:
            self._asked.popleft()
        if self._open >= CONCURRENT:
            return None
        until = [now, self._not_before]
        if not request.is_small:
            return max(until) - now
        until += [at + IDENTICAL_SECONDS for at, past in self._asked if past.key == request.key]
        alike = [at for at, past in self._asked if past.alike == request.alike]
        if len(alike) >= ALIKE:
            until.append(alike[-ALIKE] + ALIKE_SECONDS)
        weight = request.weight
        for at, past in reversed(self._asked):
            weight += past.weight
            if weight > WINDOW_LIMIT:
                until.append(at + WINDOW_SECONDS)
                break
        return max(until) - now

    def begin(self, request: HistoricalRequest, now: float) -> None:
        """The request goes out now."""
        if request.is_small:
            self._asked.append((now, request))
        self._open += 1

    def end(self) -> None:
        """A request was answered, refused or given up."""
        self._open = max(0, self._open - 1)

    def violated(self, now: float) -> None:
        """The gateway has answered that this was too fast."""
        self._not_before = max(self._not_before, now + VIOLATED_SECONDS)
