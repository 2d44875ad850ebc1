"""What goes wrong on purpose: by count, by seeded chance, or at a time. Pure; `server` and `line` carry it out."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The faults. Those of orders, cancels and messages have opportunities; those of time have a time."""

    # Opportunity: an order arrives.
    DROP_ACKNOWLEDGEMENT = "DropAcknowledgement"  # it lives, and its client is not told until it asks
    REJECT = "Reject"  # the exchange turns it down after it was accepted
    DISCONNECT_BEFORE_ORDER = "DisconnectBeforeOrder"  # the connection ends, and the order never was
    DISCONNECT_AFTER_ORDER = "DisconnectAfterOrder"  # the order lives, and the connection ends without a word
    FILL_WHILE_AWAY = "FillWhileAway"  # the same, and it is filled before the client is back
    RESTART_IN_ORDER = "RestartInOrder"  # the gateway restarts with the order accepted and nothing said
    HALF_OPEN = "HalfOpen"  # the order lives; the socket stays open, and nothing is read or said on it any more
    # Opportunity: a cancel arrives.
    LOSE_CANCEL = "LoseCancel"  # nothing happens, and nothing is said
    # Opportunity: something is told of an order.
    DUPLICATE = "Duplicate"  # it is told twice
    REORDER = "Reorder"  # it is told after what follows it
    # Opportunity: any request.
    SLOW = "SlowAnswers"  # for some seconds everything is told late, in order
    RATE_EXCEEDED = "RateExceeded"  # it is refused with error 100, as if there had been too many
    # Opportunity: a request for history.
    PACING = "PacingViolation"  # it is refused with error 162
    # At a time.
    CONNECTIVITY_LOST = "ConnectivityLost"  # 1100; after some seconds 1101 or 1102
    DISCONNECT = "Disconnect"  # every connection ends
    RESTART = "Restart"  # the same, and the port refuses for some seconds
    ROLL_BACK_IDS = "RollBackIds"  # every client's next order id goes back, as over a bad restart


REMEMBERED = 1_000  # faults that have struck
TIMED = frozenset({Kind.CONNECTIVITY_LOST, Kind.DISCONNECT, Kind.RESTART, Kind.ROLL_BACK_IDS})


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule. Without `nth`, `every` or `chance` it strikes at every opportunity."""

    kind: Kind
    nth: int | None = None
    every: int | None = None
    chance: float | None = None
    after_seconds: float | None = None  # since the gateway began, for the timed ones
    every_seconds: float | None = None  # again and again from then on
    seconds: float = 1.0  # how long it lasts
    data_lost: bool = False  # whether an 1101 ends it, or an 1102
    steps: int = 1  # that order ids go back by

    def strikes(self, count: int, seed: int, number: int) -> bool:
        """Whether it strikes at its `count`-th opportunity (from 1), as rule `number` of its plan."""
        if self.nth is not None:
            return count == self.nth
        if self.every is not None:
            return count % self.every == 0
        if self.chance is not None:
            digest = hashlib.blake2b(f"{seed}:{number}:{count}".encode(), digest_size=4).digest()
            return int.from_bytes(digest, "big") / 2**32 < self.chance
        return True


class FaultPlan:
    """The faults of a run, with what they have counted. The same seed and the same requests give the same faults."""

    def __init__(self, faults: Iterable[Fault] = (), seed: int = 1) -> None:
        self._faults: list[Fault] = []
        self._counts: list[int] = []
        self._due: list[float | None] = []
        self._seed = seed
        self.struck: deque[Kind] = deque(maxlen=REMEMBERED)
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault, since: float = 0.0) -> None:
        """One more fault; its opportunities count, and its time runs, from `since` seconds after the beginning."""
        self._faults.append(fault)
        self._counts.append(0)
        first = fault.after_seconds if fault.after_seconds is not None else fault.every_seconds
        self._due.append(since + (first or 0.0) if fault.kind in TIMED else None)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._faults.clear()
        self._counts.clear()
        self._due.clear()

    def strike(self, kind: Kind) -> Fault | None:
        """Note an opportunity of a kind; the fault that strikes at it, if one does."""
        found = None
        for number, fault in enumerate(self._faults):
            if fault.kind is kind and kind not in TIMED:
                self._counts[number] += 1
                if found is None and fault.strikes(self._counts[number], self._seed, number):
                    found = fault
        if found is not None:
            self.struck.append(kind)
        return found

    def due(self, elapsed: float) -> list[Fault]:
        """The timed faults whose time has come, `elapsed` seconds after the beginning; each is given once a time."""
        found = []
        for number, due in enumerate(self._due):
            if due is not None and elapsed >= due:
                fault = self._faults[number]
                found.append(fault)
                self.struck.append(fault.kind)
                again = fault.every_seconds
                self._due[number] = None if again is None else max(due + again, elapsed)
        return found
