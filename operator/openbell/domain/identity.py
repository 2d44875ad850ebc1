"""Who an order is, whatever happens to the process that sent it.

An entry is identified by (owner, strategy, symbol, bar time, action); an exit by (owner, position, sequence); a
protective order by (owner, position, stop or target, revision), where each one placed has the next revision.
The reference that travels to the broker is `ob1.<owner tag>.<base32 of the hash>`, at most 32 characters, so that
an order can be recognised as ours even when the journal is lost.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from enum import StrEnum

from openbell.domain.signals import Action

PREFIX = "ob1"
OWNER_TAG_LENGTH = 8
HASH_LENGTH = 19  # characters of base32 = 95 bits: ob1. + 8 + . + 19 = 32 characters


class Leg(StrEnum):
    """Which of a lot's protective orders one is."""

    STOP = "s"
    TARGET = "t"


def _digest(parts: tuple[str, ...], length: int) -> str:
    # Every part is length-prefixed, so that no two different tuples make one string.
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    # Fifteen bytes are 24 characters, more than any reference takes.
    encoded = base64.b32encode(hashlib.sha256(joined.encode()).digest()[:15]).decode().lower()
    return encoded[:length]


def owner_tag(uid: str) -> str:
    """Eight characters that stand for the owner of orders, made from the scheduler's uid at its first start."""
    return _digest(("owner", uid), OWNER_TAG_LENGTH)


def entry_ref(owner: str, strategy: str, symbol: str, bar_time: datetime, action: Action) -> str:
    """The one reference of an entry: confidence, reason or a corrected bar do not change it."""
    moment = bar_time.astimezone(UTC).isoformat()
    return f"{PREFIX}.{owner}.{_digest(('entry', strategy, symbol, moment, action.value), HASH_LENGTH)}"


def exit_ref(owner: str, position_id: str, sequence: int) -> str:
    """The reference of the n-th exit of a position."""
    return f"{PREFIX}.{owner}.{_digest(('exit', position_id, str(sequence)), HASH_LENGTH)}"


def protective_ref(owner: str, position_id: str, leg: Leg, revision: int) -> str:
    """The reference of a lot's protective stop or target."""
    return f"{PREFIX}.{owner}.{_digest(('protect', position_id, leg.value, str(revision)), HASH_LENGTH)}"


def oca_group(owner: str, position_id: str, revision: int) -> str:
    """The group that the protective orders placed from `revision` on share with the exits of their lot."""
    return f"{PREFIX}.{owner}.{_digest(('oca', position_id, str(revision)), HASH_LENGTH)}"


def position_id(entry_order_ref: str) -> str:
    """A position is named after the entry that opened it."""
    return "p-" + entry_order_ref.rsplit(".", 1)[1]


def is_ours(order_ref: str, owner: str) -> bool:
    """Whether an order at the broker was sent by this owner."""
    return order_ref.startswith(f"{PREFIX}.{owner}.")
