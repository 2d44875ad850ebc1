"""Worlds for the broker contract: a market whose price is set by hand, and brokers that trade on it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Protocol, TypeVar

from openbell.brokers.base import Broker, BrokerEvent, ConnectionChanged
from openbell.brokers.simulated.adapter import SimulatedBroker
from openbell.brokers.simulated.book import Book
from openbell.brokers.simulated.desk import VenueSettings
from openbell.brokers.simulated.faults import FaultPlan, parse_fault
from openbell.brokers.simulated.messages import Json, decode, encode
from openbell.brokers.simulated.remote import RemoteVenue
from openbell.brokers.simulated.server import VenueServer
from openbell.brokers.simulated.venue import Terms
from openbell.domain.answers import Answer, ConfirmedEmpty, Value
from openbell.domain.bars import BarSeries, Quote
from openbell.domain.clock import SystemClock
from openbell.domain.orders import Fill, Intent, IntentKind, IntentState, OrderType, OrderUpdate, Side, TimeInForce

SECONDS = 20.0  # a bound for a machine under load, not a time that anything takes
FREE = Terms(
    starting_cash=Decimal(100_000),
    spread_bps=0.0,
    slippage_bps=0.0,
    commission_per_share=Decimal(0),
    minimum_commission=Decimal(0),
)
SETTINGS = VenueSettings(seed=1, terms=FREE, trades=lambda symbol: symbol != "NOPE", poll_seconds=0.005)
T = TypeVar("T")


class Board:
    """MarketData whose prices a test writes; a symbol without a price has no quote yet."""

    def __init__(self, **prices: float) -> None:
        self.prices = dict(prices)

    async def quote(self, symbol: str, now: datetime) -> Answer[Quote]:
        price = self.prices.get(symbol)
        return ConfirmedEmpty() if price is None else Value(Quote(symbol, now, price, price, price))

    async def bars(self, symbol: str, bar_seconds: int, count: int, now: datetime) -> Answer[BarSeries]:
        return ConfirmedEmpty()


def intent(
    order_ref: str,
    side: Side = Side.BUY,
    quantity: int | Decimal = 10,
    symbol: str = "AAPL",
    order_type: OrderType = OrderType.MARKET,
    limit_price: Decimal | None = None,
    stop_price: Decimal | None = None,
    time_in_force: TimeInForce = TimeInForce.DAY,
    reference_price: Decimal = Decimal(100),
    oca_group: str = "",
) -> Intent:
    """An intent with everything that does not matter filled in."""
    moment = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
    return Intent(
        order_ref,
        IntentKind.ENTRY,
        "momentum",
        symbol,
        side,
        Decimal(quantity),
        "p-1",
        "a test",
        moment,
        moment,
        1,
        reference_price,
        order_type,
        limit_price,
        stop_price,
        time_in_force,
        oca_group=oca_group,
    )


class Heard:
    """Everything that a broker has told, in order, and waiting for what it will tell."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.events: list[BrokerEvent] = []
        self._news = asyncio.Condition()

    @property
    def remote(self) -> RemoteVenue:
        """The broker, which is a remote one."""
        assert isinstance(self.broker, RemoteVenue)
        return self.broker

    @property
    def simulated(self) -> SimulatedBroker:
        """The broker, which is in this process."""
        assert isinstance(self.broker, SimulatedBroker)
        return self.broker

    async def listen(self) -> None:
        async for event in self.broker.events():
            async with self._news:
                self.events.append(event)
                self._news.notify_all()

    async def until(self, found: Callable[[], bool], seconds: float = SECONDS) -> None:
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(found)

    def updates(self, order_ref: str) -> list[OrderUpdate]:
        return [event for event in self.events if isinstance(event, OrderUpdate) and event.order_ref == order_ref]

    def fills(self, order_ref: str) -> list[Fill]:
        return [event for event in self.events if isinstance(event, Fill) and event.order_ref == order_ref]

    def connections(self) -> list[bool]:
        return [event.connected for event in self.events if isinstance(event, ConnectionChanged)]

    async def state(self, order_ref: str, state: IntentState) -> OrderUpdate:
        """Wait until an order's newest update says `state`."""
        await self.until(lambda: bool(self.updates(order_ref)) and self.updates(order_ref)[-1].state is state)
        return self.updates(order_ref)[-1]


@asynccontextmanager
async def listening(broker: Broker) -> AsyncIterator[Heard]:
    """Run a broker and hear what it tells, once it is connected."""
    heard = Heard(broker)
    tasks = [asyncio.create_task(heard.listen()), asyncio.create_task(broker.run())]
    try:
        await heard.until(lambda: True in heard.connections())
        yield heard
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


class World(Protocol):
    """Opens the broker under test on a book and a board."""

    def __call__(
        self, book: Path, board: Board, settings: VenueSettings = SETTINGS
    ) -> AbstractAsyncContextManager[Heard]: ...


@asynccontextmanager
async def in_process(book: Path, board: Board, settings: VenueSettings = SETTINGS) -> AsyncIterator[Heard]:
    opened = Book.open(book, "T")
    try:
        async with listening(SimulatedBroker(opened, board, SystemClock(), settings)) as heard:
            yield heard
    finally:
        opened.close()


@asynccontextmanager
async def serving(
    book: Path, board: Board, settings: VenueSettings = SETTINGS, *faults: str, port: int = 0
) -> AsyncIterator[int]:
    """A venue server in this loop; gives its port."""
    opened = Book.open(book, "T")
    plan = FaultPlan([parse_fault(text) for text in faults], settings.seed)
    server = VenueServer(opened, board, SystemClock(), settings, plan, allow_admin=True)
    address: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(server.serve("127.0.0.1", port, lambda host, got: address.set_result(got)))
    try:
        task.add_done_callback(lambda ended: None if address.done() else address.cancel())
        yield await address
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        opened.close()


def client(port: int, account: str = "default/paper", **options: float) -> RemoteVenue:
    settings = {"request_seconds": 2.0, "heartbeat_seconds": 0.5, **options}
    return RemoteVenue("127.0.0.1", port, account, rng=random.Random(1), **settings)


@asynccontextmanager
async def remote(book: Path, board: Board, settings: VenueSettings = SETTINGS) -> AsyncIterator[Heard]:
    async with serving(book, board, settings) as port, listening(client(port)) as heard:
        yield heard


class Admin:
    """The back door of a venue."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, op: str, **fields: object) -> Json:
        self._writer.write(encode({"op": op, "id": 1, **fields}))
        async with asyncio.timeout(SECONDS):
            return decode(await self._reader.readline())

    async def arrivals(self) -> list[str]:
        """References of the orders that arrived, in order."""
        answer = await self.ask("arrivals")
        return [row["order_ref"] for row in answer["value"] if row["kind"] == "Order"]


@asynccontextmanager
async def administering(port: int) -> AsyncIterator[Admin]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        admin = Admin(reader, writer)
        assert (await admin.ask("admin"))["op"] == "welcome"
        yield admin
    finally:
        writer.close()


def value(answer: Answer[T]) -> T:
    """The value of an answer that must have one."""
    assert isinstance(answer, Value), answer
    return answer.value


def with_terms(**changes: object) -> VenueSettings:
    return replace(SETTINGS, terms=replace(FREE, **changes))  # type: ignore[arg-type]
