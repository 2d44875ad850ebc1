"""Named places where chaos tests kill this process: nothing happens unless OPENBELL_KILL_POINT=name:n is set."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass

from openbell.domain.errors import ManifestError

VARIABLE = "OPENBELL_KILL_POINT"

JOURNAL_POINTS = (
    "journal.schema.created",
    "journal.epoch.written",
    "journal.epoch.committed",
    "journal.owner.written",
    "journal.owner.committed",
    "journal.intents.begun",
    "journal.intents.written",
    "journal.intents.committed",
    "journal.update.written",
    "journal.update.committed",
    "journal.fill.begun",
    "journal.fill.recorded",
    "journal.fill.written",
    "journal.fill.committed",
    "journal.amendment.written",
    "journal.amendment.committed",
    "journal.positions.written",
    "journal.positions.committed",
    "journal.statistics.written",
    "journal.statistics.committed",
)


@dataclass(slots=True)
class _Armed:
    name: str
    remaining: int


def _parse(text: str) -> _Armed | None:
    if not text:
        return None
    name, _, count = text.rpartition(":")
    if not name or not count.isdecimal() or int(count) < 1:
        raise ManifestError(f"{VARIABLE} is {text!r}, but must be name:n with n ≥ 1")
    return _Armed(name, int(count))


_armed = _parse(os.environ.get(VARIABLE, ""))
_lock = threading.Lock()


def reach(name: str) -> None:
    """Pass the point `name`; at the n-th passing of the armed one the process gets SIGKILL from itself."""
    if _armed is None or name != _armed.name:
        return
    with _lock:
        _armed.remaining -= 1
        if _armed.remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)
