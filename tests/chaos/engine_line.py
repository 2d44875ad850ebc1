"""What one runner sees of market and venue: a connection that can be lost, and that tells late or wrongly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from openbell.brokers.base import REMEMBERED, BrokerEvent, ConnectionChanged, NotSentError
from openbell.brokers.simulated.desk import Desk as VenueDesk
from openbell.brokers.simulated.faults import FaultKind, FaultPlan
from openbell.brokers.simulated.messages import request_of
from openbell.domain.account import Account
from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value
from openbell.domain.bars import Bar, BarSeries, Quote
from openbell.domain.orders import Fill, Intent, OrderTerms, OrderUpdate
from openbell.domain.positions import BrokerPosition

ACCOUNT = "default/main"
BAR_SECONDS = 10

T = TypeVar("T")


@dataclass
class Market:
    """Prices that a history moves, and bars that close when it says so; `told` are the last two prices asked for."""

    passing: Callable[[], object]
    quotes: dict[str, Quote] = field(default_factory=dict)
    bars_of: dict[str, list[Bar]] = field(default_factory=dict)
    told: dict[str, list[float]] = field(default_factory=dict)
    is_mute: bool = False

    def close_bar(self, symbol: str, end: datetime) -> None:
        at = self.quotes[symbol].price
        start = end - timedelta(seconds=BAR_SECONDS)
        self.bars_of.setdefault(symbol, []).append(Bar(symbol, start, end, at, at, at, at, 100.0))

    def correct_bar(self, symbol: str, close: float) -> None:
        """The newest bar, with other values."""
        bars = self.bars_of[symbol]
        old = bars[-1]
        bars[-1] = Bar(symbol, old.start, old.end, close, close, close, close, old.volume + 1)

    async def quote(self, symbol: str, now: datetime) -> Answer[Quote]:
        await asyncio.sleep(0)
        self.passing()
        if self.is_mute:
            return Unknown("the market does not answer")
        told = self.told.setdefault(symbol, [])
        told[:] = [*told[-1:], self.quotes[symbol].price]
        return Value(self.quotes[symbol])

    async def bars(self, symbol: str, bar_seconds: int, count: int, now: datetime) -> Answer[BarSeries]:
        await asyncio.sleep(0)
        self.passing()
        bars = self.bars_of.get(symbol, [])
        if self.is_mute or not bars:
            return Unknown("no bars")
        return Value(BarSeries.from_bars(symbol, bar_seconds, bars[-count:]))


class Line:
    """The broker of one process. What is said while it is down is never heard; what the faults strike is not either.

    `arrives` is told of every order, and `changes` of every change of one, the moment before the venue has it;
    `happened` is told of every event as it is made.
    """

    def __init__(
        self,
        venue: VenueDesk,
        passing: Callable[[], object],
        arrives: Callable[[Intent], object],
        changes: Callable[[str, OrderTerms], object],
        faults: FaultPlan,
    ) -> None:
        self._venue = venue
        self._passing = passing
        self._arrives = arrives
        self._changes = changes
        self.faults = faults
        self.on_lost: Callable[[], object] = lambda: None
        self.is_connected = False
        self.is_mute = False
        self.is_dead = False
        self.answered: set[str] = set()  # what was asked and answered since the connection is up
        self.unknown: set[str] = set()  # what was not answered when it was asked last
        self.held: list[BrokerEvent] = []
        self._behind: list[BrokerEvent] = []
        self._untold: set[str] = set()
        self._events: asyncio.Queue[BrokerEvent] = asyncio.Queue()

    # -- the wire ------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        if not self.is_connected:
            self.is_connected, self.is_mute = True, False
            self.answered.clear()
            self._events.put_nowait(ConnectionChanged(True, "connected"))

    def drop(self) -> None:
        if self.is_connected:
            self.is_connected = False
            self.held.clear()
            self._behind.clear()
            self._untold.clear()
            self.on_lost()
            self._events.put_nowait(ConnectionChanged(False, "the connection was lost"))

    def happened(self, event: OrderUpdate | Fill) -> None:
        """The venue says something to whoever listens."""
        if not self.is_connected or self.is_mute or event.order_ref in self._untold:
            return
        if self.faults.strikes(FaultKind.DELAY):
            self.held.append(event)
        elif isinstance(event, Fill) and self.faults.strikes(FaultKind.REORDER_FILLS):
            self._behind.append(event)
        else:
            self._tell(event)

    def _tell(self, event: BrokerEvent) -> None:
        self._events.put_nowait(event)
        if isinstance(event, Fill) and self.faults.strikes(FaultKind.DUPLICATE_FILLS):
            self._events.put_nowait(event)
        behind, self._behind = self._behind, []
        for late in behind:
            self._tell(late)

    def release(self, order: Iterable[int] = ()) -> None:
        """Tell what was held back: by these positions first, the rest as it came."""
        held = [*self.held, *self._behind]
        self.held, self._behind = [], []
        for position in order:
            if held:
                self._tell(held.pop(position % len(held)))
        for event in held:
            self._tell(event)

    # -- the broker ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        await asyncio.Event().wait()

    def send(self, intent: Intent) -> None:
        if self.is_dead or not self.is_connected:
            raise NotSentError("not connected")
        strikes = self.faults.strikes
        if strikes(FaultKind.DROP_BEFORE):
            self.drop()
            return
        if self.is_mute:
            return
        self._arrives(intent)
        refuse = "rejected by a scripted fault" if strikes(FaultKind.REJECT) else ""
        if strikes(FaultKind.LOSE_ACK):
            self._untold.add(intent.order_ref)
        if strikes(FaultKind.DROP_AFTER):
            self.drop()
        if strikes(FaultKind.FREEZE):
            self.is_mute = True
        self._venue.order(ACCOUNT, request_of(intent), refuse=refuse)

    def cancel(self, order_ref: str) -> None:
        if self.is_dead or not self.is_connected:
            raise NotSentError("not connected")
        if not self.is_mute:
            self._untold.discard(order_ref)
            self._venue.cancel(ACCOUNT, order_ref, lose=self.faults.strikes(FaultKind.LOSE_CANCEL) is not None)

    def modify(self, order_ref: str, terms: OrderTerms) -> None:
        if self.is_dead or not self.is_connected:
            raise NotSentError("not connected")
        if not self.is_mute:
            self._changes(order_ref, terms)
            self._venue.modify(ACCOUNT, order_ref, terms, lose=self.faults.strikes(FaultKind.LOSE_MODIFY) is not None)

    async def _answer(self, what: str, read: Callable[[], tuple[T, ...]]) -> Answer[tuple[T, ...]]:
        await asyncio.sleep(0)
        self._passing()
        self.unknown.add(what)
        if not self.is_connected or self.is_mute or self.faults.strikes(FaultKind.MUTE_QUERIES):
            return Unknown(f"{what} were not answered")
        self.answered.add(what)
        self.unknown.remove(what)
        found = read()
        return Value(found) if found else ConfirmedEmpty()

    def remembers_since(self, now: datetime) -> datetime:
        return now - REMEMBERED

    async def account(self) -> Answer[Account]:
        await asyncio.sleep(0)
        self._passing()
        if not self.is_connected or self.is_mute or self.faults.strikes(FaultKind.MUTE_QUERIES):
            return Unknown("the account was not answered")
        return Value(await self._venue.account(ACCOUNT))

    async def positions(self) -> Answer[tuple[BrokerPosition, ...]]:
        return await self._answer("positions", lambda: self._venue.positions(ACCOUNT))

    async def orders(self) -> Answer[tuple[OrderUpdate, ...]]:
        return await self._answer("orders", lambda: self._venue.orders(ACCOUNT))

    async def fills(self, since: datetime) -> Answer[tuple[Fill, ...]]:
        return await self._answer("executions", lambda: self._venue.fills(ACCOUNT, since))

    async def events(self) -> AsyncIterator[BrokerEvent]:
        while True:
            yield await self._events.get()
