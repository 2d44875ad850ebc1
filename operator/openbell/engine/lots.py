"""Lots: what is held of one strategy in one symbol, by what was bought first, and the profit of both ways of counting.

First in, first out: what is sold is what was bought earliest (the way that tax rules take where nothing else is chosen,
26 CFR § 1.1012-1(c)(1)). At average cost, which `portfolio` books by, every share costs the same. Both tell the same
profit once nothing is held, and the same quantity always.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from openbell.domain.money import ZERO
from openbell.domain.orders import Fill


@dataclass(frozen=True, slots=True)
class Lot:
    """Shares that were bought (or sold short, quantity < 0) at one price and time."""

    quantity: Decimal
    price: Decimal
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class ShareSplit:
    """`ratio` new shares for one old."""

    time: datetime
    ratio: Decimal


@dataclass(frozen=True, slots=True)
class Gone:
    """All of it left without a fill of ours; `realized` is the profit that was booked for it at average cost."""

    time: datetime
    realized: Decimal


LotEvent: TypeAlias = Fill | ShareSplit | Gone


@dataclass(frozen=True, slots=True)
class Lots:
    """What events came to: the open lots, oldest first, and money before fees, summed over all events."""

    held: tuple[Lot, ...] = ()
    average_price: Decimal = ZERO
    realized: Decimal = ZERO
    realized_fifo: Decimal = ZERO
    fees: Decimal = ZERO

    @property
    def quantity(self) -> Decimal:
        """Signed."""
        return sum((lot.quantity for lot in self.held), ZERO)

    @property
    def shift(self) -> Decimal:
        """How much more FIFO has realised than average cost; as much less it has open. Zero when nothing is held."""
        return self.realized_fifo - self.realized

    def unrealized_fifo(self, at_price: Decimal) -> Decimal:
        """Open profit at a price, each lot by its own cost."""
        return sum(((at_price - lot.price) * lot.quantity for lot in self.held), ZERO)


def lots_of(events: Iterable[LotEvent]) -> Lots:
    """What is held after all of these, in whatever order they are given: their times say which came first."""
    lots = Lots()
    for event in sorted(events, key=_when):
        lots = after(lots, event)
    return lots


def _when(event: LotEvent) -> tuple[datetime, int, str]:
    # A split happens before the market opens, so at one time it comes before the fills.
    if isinstance(event, Fill):
        return event.time, 1, event.execution_id
    return event.time, 0 if isinstance(event, ShareSplit) else 2, ""


def after(lots: Lots, event: LotEvent) -> Lots:
    """The lots after one more event."""
    if isinstance(event, ShareSplit):
        held = tuple(
            replace(lot, quantity=lot.quantity * event.ratio, price=lot.price / event.ratio) for lot in lots.held
        )
        return replace(lots, held=held, average_price=lots.average_price / event.ratio)
    if isinstance(event, Gone):
        cost = sum((lot.quantity * lot.price for lot in lots.held), ZERO)
        realized_fifo = event.realized + lots.average_price * lots.quantity - cost
        return replace(
            lots,
            held=(),
            average_price=ZERO,
            realized=lots.realized + event.realized,
            realized_fifo=lots.realized_fifo + realized_fifo,
        )
    return _after_fill(lots, event)


def _after_fill(lots: Lots, fill: Fill) -> Lots:
    quantity = lots.quantity
    left = fill.quantity * fill.side.sign
    realized = lots.realized
    realized_fifo = lots.realized_fifo
    held = list(lots.held)
    while held and held[0].quantity * left < 0:
        first = held[0]
        closed = first.quantity if abs(first.quantity) <= abs(left) else -left
        realized += (fill.price - lots.average_price) * closed
        realized_fifo += (fill.price - first.price) * closed
        left += closed
        if closed == first.quantity:
            held.pop(0)
        else:
            held[0] = replace(first, quantity=first.quantity - closed)
    average_price = lots.average_price if held else ZERO
    if left:
        before = quantity if held else ZERO
        average_price = (average_price * before + fill.price * left) / (before + left)
        held.append(Lot(left, fill.price, fill.time))
    return Lots(tuple(held), average_price, realized, realized_fifo, lots.fees + fill.commission)
