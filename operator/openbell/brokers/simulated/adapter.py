"""The simulated broker inside the trading process; its book is a file of its own all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import date, datetime
from decimal import Decimal

from openbell.brokers.base import REMEMBERED, BrokerEvent, ConnectionChanged, NotSentError
from openbell.brokers.simulated.book import Book, BookError
from openbell.brokers.simulated.desk import Desk, VenueSettings
from openbell.brokers.simulated.messages import request_of
from openbell.brokers.simulated.venue import Happened
from openbell.domain.account import Account
from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value
from openbell.domain.bars import Quote
from openbell.domain.clock import Clock
from openbell.domain.orders import Fill, Intent, OrderTerms, OrderUpdate
from openbell.domain.positions import BrokerPosition
from openbell.market.base import MarketData


class SimulatedBroker:
    """Broker over one account of a venue in this process.

    `polls` false: prices come by `on_quote` alone, as a replay shows them. The book is the caller's to close.
    """

    def __init__(
        self,
        book: Book,
        market: MarketData,
        clock: Clock,
        settings: VenueSettings | None = None,
        *,
        account: str = "SIM",
        polls: bool = True,
    ) -> None:
        self._account = account
        self._polls = polls
        self._connected = False
        self.on_lost: Callable[[], object] = lambda: None
        self._events: asyncio.Queue[BrokerEvent] = asyncio.Queue()
        self._desk = Desk(book, market, clock, settings or VenueSettings(), self._happened)

    def _happened(self, happened: Happened) -> None:
        self._events.put_nowait(happened.event)

    @property
    def is_connected(self) -> bool:
        return self._connected

    async def run(self) -> None:
        self._connected = True
        self._events.put_nowait(ConnectionChanged(True, "the simulated venue is open"))
        try:
            if self._polls:
                await self._desk.poll()
            else:
                await asyncio.Event().wait()
        finally:
            self._connected = False
            self.on_lost()
            self._events.put_nowait(ConnectionChanged(False, "the simulated venue is closed"))

    def remembers_since(self, now: datetime) -> datetime:
        return now - REMEMBERED

    async def account(self) -> Answer[Account]:
        try:
            return Value(await self._desk.account(self._account))
        except BookError as error:
            return Unknown(str(error))

    async def positions(self) -> Answer[tuple[BrokerPosition, ...]]:
        found = self._desk.positions(self._account)
        return Value(found) if found else ConfirmedEmpty()

    async def orders(self) -> Answer[tuple[OrderUpdate, ...]]:
        found = self._desk.orders(self._account)
        return Value(found) if found else ConfirmedEmpty()

    async def fills(self, since: datetime) -> Answer[tuple[Fill, ...]]:
        try:
            found = self._desk.fills(self._account, since)
        except BookError as error:
            return Unknown(str(error))
        return Value(found) if found else ConfirmedEmpty()

    def send(self, intent: Intent) -> None:
        if not self._connected:
            raise NotSentError(f"order {intent.order_ref} was not sent: the simulated venue is closed")
        try:
            self._desk.order(self._account, request_of(intent))
        except BookError as error:
            raise NotSentError(f"order {intent.order_ref} was not sent: {error}") from error

    def modify(self, order_ref: str, terms: OrderTerms) -> None:
        if not self._connected:
            raise NotSentError(f"the change of {order_ref} was not sent: the simulated venue is closed")
        try:
            self._desk.modify(self._account, order_ref, terms)
        except BookError as error:
            raise NotSentError(f"the change of {order_ref} was not sent: {error}") from error

    def cancel(self, order_ref: str) -> None:
        if not self._connected:
            raise NotSentError(f"the cancel of {order_ref} was not sent: the simulated venue is closed")
        try:
            self._desk.cancel(self._account, order_ref)
        except BookError as error:
            raise NotSentError(f"the cancel of {order_ref} was not sent: {error}") from error

    async def events(self) -> AsyncIterator[BrokerEvent]:
        while True:
            yield await self._events.get()

    def on_quote(self, quote: Quote) -> None:
        """A price, as a replay shows it."""
        self._desk.on_quote(quote)

    def apply_split(self, symbol: str, day: date, ratio: Decimal) -> None:
        """A split of a replay; announced again after a restart, it changes nothing."""
        self._desk.split(symbol, day, ratio)

    def drain(self) -> list[BrokerEvent]:
        """Everything that has happened and was not read by `events` yet, for a replay's own stepping."""
        drained: list[BrokerEvent] = []
        while not self._events.empty():
            drained.append(self._events.get_nowait())
        return drained
