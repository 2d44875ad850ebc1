"""Faults that a venue commits on purpose, by script or by seeded chance.

A fault is written `kind[:option…]`; options are `nth=N` (once, at the n-th opportunity), `every=N`, `chance=P` and, for
delays, `seconds=S`. Without an option it happens at every opportunity. Opportunities are counted from when the fault
was set.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from openbell.domain.errors import ManifestError


class FaultKind(StrEnum):
    LOSE_ACK = "lose-ack"  # record and execute the order, and never tell of it
    REJECT = "reject"  # record the order and reject it
    DROP_BEFORE = "drop-before"  # drop the connection instead of recording the order
    DROP_AFTER = "drop-after"  # record and execute the order, then drop the connection without a word
    LOSE_CANCEL = "lose-cancel"  # record the cancel, and do nothing
    LOSE_MODIFY = "lose-modify"  # record the change of terms, and do nothing
    FREEZE = "freeze"  # after recording the order, neither read nor answer on its connection; the socket stays
    DELAY = "delay"  # tell of an event only after some seconds
    DUPLICATE_FILLS = "duplicate-fills"  # tell of a fill twice
    REORDER_FILLS = "reorder-fills"  # tell of a fill after what follows it
    MUTE_QUERIES = "mute-queries"  # do not answer what is asked about the account
    MUTE_DATA = "mute-data"  # do not answer what is asked about the market


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule. `seconds` is a delay's length."""

    kind: FaultKind
    nth: int | None = None
    every: int | None = None
    chance: float | None = None
    seconds: float = 1.0

    def happens(self, count: int, seed: int) -> bool:
        """Whether it strikes at its `count`-th opportunity (from 1)."""
        if self.nth is not None:
            return count == self.nth
        if self.every is not None:
            return count % self.every == 0
        if self.chance is not None:
            digest = hashlib.blake2b(f"{seed}:{self.kind}:{count}".encode(), digest_size=4).digest()
            return int.from_bytes(digest, "big") / 2**32 < self.chance
        return True


def parse_fault(text: str) -> Fault:
    """Read one `--fault`. Raises ManifestError naming the part that is wrong."""
    name, *options = text.split(":")
    if name not in set(FaultKind):
        raise ManifestError(f"fault {text!r}: {name!r} is not known; allowed are {', '.join(FaultKind)}")
    given = dict(_option(text, option) for option in options)
    nth, every = given.get("nth"), given.get("every")
    return Fault(
        FaultKind(name),
        None if nth is None else int(nth),
        None if every is None else int(every),
        given.get("chance"),
        given.get("seconds", 1.0),
    )


def _option(text: str, option: str) -> tuple[str, float]:
    key, _, value = option.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    counts = key in {"nth", "every"} and number >= 1 and number.is_integer()
    if counts or (key == "chance" and 0 <= number <= 1) or (key == "seconds" and 0 <= number < math.inf):
        return key, number
    raise ManifestError(
        f"fault {text!r}: {option!r} is not allowed; options are nth=N and every=N above 0, "
        f"chance=P from 0 to 1, seconds=S from 0"
    )


class FaultPlan:
    """The faults in force, each with its count of opportunities."""

    def __init__(self, faults: Iterable[Fault] = (), seed: int = 1) -> None:
        self._seed = seed
        self._faults = tuple(faults)
        self._counts = [0] * len(self._faults)

    def strikes(self, kind: FaultKind) -> Fault | None:
        """One more opportunity for faults of a kind: the one that happens, if any."""
        struck = None
        for number, fault in enumerate(self._faults):
            if fault.kind is kind:
                self._counts[number] += 1
                if fault.happens(self._counts[number], self._seed):
                    struck = fault
        return struck
