"""When a request for market data is to be out, and how long its answer is worth waiting for. Pure.

Every method is told the time (monotonic seconds). A subscription lives as long as somebody asks for what it gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

RETRY_SECONDS = 30.0
"""Between two attempts at what was refused."""


class Step(StrEnum):
    """What is to be done about one subscription now."""

    NOTHING = "Nothing"
    SEND = "Send"
    RENEW = "Renew"  # end it, and ask again
    GIVE_UP = "GiveUp"  # it had no answer: end it, and ask again later
    FORGET = "Forget"  # nobody asks any more: end it


@dataclass(frozen=True, slots=True)
class Rules:
    """Seconds: without anybody asking, until it is ended; without any answer, until it is given up; and with nothing
    heard although the market trades, until it is asked for again."""

    idle: float
    answer: float
    quiet: float


@dataclass(slots=True)
class Subscription:
    """One request. `number` 0: it is not out. `why` says why there is no answer."""

    asked_at: float
    number: int = 0
    sent_at: float = -math.inf
    heard_at: float = -math.inf
    not_before: float = -math.inf
    is_answered: bool = False
    is_refused: bool = False
    is_doubted: bool = False
    why: str = "it is being asked for"

    def step(self, at: float, rules: Rules, *, is_trading: bool) -> Step:
        """What to do now."""
        if at - self.asked_at >= rules.idle:
            return Step.FORGET
        if not self.number:
            return Step.SEND if at >= self.not_before else Step.NOTHING
        if not self.is_answered:
            return Step.GIVE_UP if at - self.sent_at >= rules.answer else Step.NOTHING
        if self.is_doubted and at >= self.not_before:
            return Step.RENEW
        is_quiet = at - max(self.heard_at, self.sent_at) >= rules.quiet
        return Step.RENEW if is_quiet and is_trading else Step.NOTHING

    @property
    def is_pending(self) -> bool:
        """Whether an answer may come soon."""
        return not self.is_answered and not self.is_refused

    def asked(self, at: float) -> None:
        """Somebody asks for it."""
        self.asked_at = at

    def sent(self, number: int, at: float) -> None:
        """The request is out."""
        self.number, self.sent_at = number, at
        self.is_answered = self.is_doubted = False

    def heard(self, at: float) -> None:
        """Something came of it."""
        self.heard_at, self.is_answered, self.why = at, True, ""
        self.is_refused = self.is_doubted = False

    def doubted(self, why: str, not_before: float) -> None:
        """What it gives is not to be relied on: it is asked for again at `not_before`, unless it is heard of before."""
        if self.is_answered:
            self.is_doubted, self.why, self.not_before = True, why, not_before

    def refused(self, why: str, not_before: float) -> None:
        """It gives nothing, for that reason; it is tried again later."""
        self.number, self.is_answered, self.is_refused = 0, False, True
        self.why, self.not_before = why, not_before

    def over(self, why: str, not_before: float = -math.inf) -> None:
        """It is not out any more, and may be asked for again."""
        self.number, self.is_answered, self.is_refused = 0, False, False
        self.why, self.not_before = why, not_before


@dataclass(slots=True)
class Patience:
    """How long callers wait for first answers, all together: many questions in a row wait no longer than one.

    After `again_after` seconds there are `seconds` of it again.
    """

    seconds: float
    again_after: float
    _began: float = -math.inf

    def left(self, at: float) -> float:
        """Seconds that may be waited now."""
        if at >= self._began + self.again_after:
            self._began = at
        return max(0.0, self.seconds - (at - self._began))
