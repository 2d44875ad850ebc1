"""Which number the next order gets. It is only an address at the gateway; an order's identity is orderRef and permId.

The gateway's own counter is per client id and may roll back after a restart, and a number that was used before would
change that older order instead of making a new one. So the next is above all that was ever seen.

What was used must be known after a restart, too. It is written down a block of numbers at a time, before the first of
them is used, so that no order waits for a disk; what a process leaves of its block is skipped by the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

LARGEST = 2**31 - 1
"""Order ids are signed 32-bit numbers in the protocol."""
WARN_FROM = LARGEST - 100_000
BLOCK = 100
"""So many numbers are written down at a time; half of them are left when the next block is."""


@dataclass(frozen=True, slots=True)
class OrderIds:
    """`next_valid`: what the gateway said at the last connect; `high_water`: the highest ever given or seen.

    `written`: the highest that was written down. Where nothing is, that is as good as all of them.
    """

    next_valid: int = 1
    high_water: int = 0
    written: int = LARGEST

    @classmethod
    def kept(cls, order_id: int) -> OrderIds:
        """Where an earlier process had written down that it may have used every number up to this one."""
        return cls(high_water=order_id, written=order_id)

    @property
    def following(self) -> int:
        """The number that the next order would get."""
        return max(self.next_valid, self.high_water + 1, 1)

    @property
    def is_exhausted(self) -> bool:
        """Whether no number is left that the protocol can carry."""
        return self.following > LARGEST

    @property
    def is_written(self) -> bool:
        """Whether the number that the next order would get is written down."""
        return self.following <= self.written

    @property
    def to_write(self) -> int | None:
        """The highest number of the block to write down now; None while enough of the last one is left."""
        if self.written >= min(self.following + BLOCK // 2, LARGEST):
            return None
        return min(self.following + BLOCK - 1, LARGEST)

    def wrote(self, order_id: int) -> OrderIds:
        """All numbers up to this one are written down."""
        return replace(self, written=max(self.written, order_id))

    def connected(self, next_valid: int) -> OrderIds:
        """The gateway has named its next number, perhaps one that it has named before."""
        return replace(self, next_valid=next_valid)

    def seen(self, order_id: int) -> OrderIds:
        """An order with this number exists, of whichever client. Manual orders have 0 or less, and no number."""
        if not 0 < order_id <= LARGEST or order_id <= self.high_water:
            return self
        return replace(self, high_water=order_id)

    def allocate(self) -> tuple[int, OrderIds]:
        """A number that was never used, and what is left. The caller has asked `is_exhausted` before."""
        chosen = self.following
        return chosen, replace(self, high_water=chosen)
