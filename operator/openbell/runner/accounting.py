"""Lots and profit by both ways of counting, from what was booked. Pure but for `Accounts`, which reads the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

import structlog

from openbell.domain.errors import JournalError
from openbell.domain.money import ZERO
from openbell.domain.positions import Position
from openbell.engine.lots import Lot, lots_of
from openbell.journal import Bookings, Journal
from openbell.runner.ledger import Ledger

log = structlog.get_logger("openbell.accounting")


@dataclass(frozen=True, slots=True)
class Accounting:
    """`lots` by position id, oldest first. Profit of the day is after the fees since its start, at average cost and by
    FIFO; `open_shift` is how much more FIFO has realised of what is open, and as much less it has unrealised."""

    lots: Mapping[str, tuple[Lot, ...]]
    realized_today: Decimal
    realized_today_fifo: Decimal
    open_shift: Decimal


def account(bookings: Bookings, positions: Mapping[str, Position], since: datetime) -> Accounting:
    """What the bookings of a day that began at `since` come to.

    A history that does not add up to what is held (splits of a journal's first schema version have no ratio) says
    nothing of lots, and counts at average cost.
    """
    lots: dict[str, tuple[Lot, ...]] = {}
    today = still_open = ZERO
    for position_id, events in bookings.histories.items():
        position = positions.get(position_id)
        now = lots_of(events)
        if now.quantity != (position.quantity if position is not None else ZERO):
            continue
        today += now.shift - lots_of(event for event in events if event.time < since).shift
        if position is not None:
            lots[position_id] = now.held
            still_open += now.shift
    return Accounting(MappingProxyType(lots), bookings.realized, bookings.realized + today, still_open)


class Accounts:
    """The accounting of now, read from the journal again only after something was booked."""

    def __init__(self, journal: Journal, ledger: Ledger) -> None:
        self._journal = journal
        self._ledger = ledger
        self._known: tuple[object, Accounting] | None = None

    async def read(self) -> Accounting | None:
        """None where the journal cannot be read, and before the day has begun."""
        since = self._ledger.day_start
        if since is None:
            return None
        positions = dict(self._ledger.positions)
        # Each booking changes the quantity or the money of a position, or ends it, which realises its profit.
        booked = frozenset((key, each.quantity, each.realized_pnl, each.fees) for key, each in positions.items())
        state = (since, booked, tuple(self._ledger.round_trips.items()))
        if self._known is None or self._known[0] != state:
            try:
                bookings = await self._journal.bookings(since)
            except JournalError as error:
                log.warning("lots.not-read", error=str(error))
                return None
            self._known = (state, account(bookings, positions, since))
        return self._known[1]
