"""Locks: what holds openings back."""

from __future__ import annotations

from datetime import datetime

from openbell.domain.limits import LockScope
from openbell.domain.reasons import Reason
from openbell.web.schemas.base import Answer, Body


class Lock(Body):
    """Openings that are held back; exits never are."""

    lock_id: str
    scope: LockScope
    subject: str
    reason: Reason
    detail: str
    since: datetime
    until: datetime | None
    made_by: str
    lifted_at: datetime | None
    lifted_by: str


class LockList(Answer):
    """Locks that hold openings back now, oldest first."""

    locks: list[Lock]


class LockAnswer(Answer):
    """One lock as it is now."""

    lock: Lock
