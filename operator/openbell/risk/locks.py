"""Locks: openings held back for a time or until a person lifts it, with who made it and who lifted it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from openbell.domain.limits import LockScope
from openbell.domain.reasons import Reason
from openbell.risk.verdict import Deny

ID_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Lock:
    """Openings held back. `subject` is the symbol or the strategy, empty for the scope Global.

    `until` None: until it is lifted. `made_by` is the protection's type and place in the list (`StopLossGuard#0`)
    or who asked for it. A lifted lock stays on record, and what had made it does not make it again.
    """

    lock_id: str
    scope: LockScope
    subject: str
    reason: Reason
    detail: str
    since: datetime
    until: datetime | None
    made_by: str
    lifted_at: datetime | None = None
    lifted_by: str = ""

    def is_active(self, now: datetime) -> bool:
        """Whether it holds anything back at this time."""
        return self.lifted_at is None and (self.until is None or now < self.until)

    def concerns(self, symbol: str, strategy: str) -> bool:
        """Whether an opening of this symbol by this strategy is within its scope."""
        match self.scope:
            case LockScope.GLOBAL:
                return True
            case LockScope.SYMBOL:
                return self.subject == symbol
            case LockScope.STRATEGY:
                return self.subject == strategy


class Opening(Protocol):
    """What is to be opened, as far as locks ask."""

    @property
    def symbol(self) -> str: ...

    @property
    def strategy(self) -> str: ...


def lock_id(*parts: str) -> str:
    """The id of a lock, made from what it comes from: the same cause gives the same lock, also after a restart."""
    digest = hashlib.sha256("\x00".join(parts).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:ID_LENGTH]


def locked(candidate: Opening, locks: Iterable[Lock], now: datetime) -> Deny | None:
    """Deny by the active lock that holds longest; one without an end is longest."""
    active = [lock for lock in locks if lock.is_active(now) and lock.concerns(candidate.symbol, candidate.strategy)]
    if not active:
        return None
    endless = [lock for lock in active if lock.until is None]
    longest = endless[0] if endless else max(active, key=lambda lock: (lock.until or now, lock.lock_id))
    end = "" if longest.until else " until it is lifted"
    return Deny(longest.reason, f"lock {longest.lock_id}{end}: {longest.detail}", longest.until)


def lift(lock: Lock, *, by: str, at: datetime) -> Lock:
    """The lock after a person lifted it; one that was lifted before keeps who did it first."""
    return lock if lock.lifted_at is not None else replace(lock, lifted_at=at, lifted_by=by)
