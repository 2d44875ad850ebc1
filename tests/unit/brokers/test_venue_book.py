"""The book: one transaction a step, one process a file, everything back after opening."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fakes.venues import FREE, Board, intent
from openbell.brokers.base import NotSentError
from openbell.brokers.simulated.adapter import SimulatedBroker
from openbell.brokers.simulated.book import Book, BookError, BookLockedError
from openbell.brokers.simulated.desk import Desk, VenueSettings
from openbell.brokers.simulated.messages import MessageError, order_from_row, order_row, request_from_row
from openbell.brokers.simulated.venue import Happened, OrderRequest, VenueOrder
from openbell.domain.answers import Answer
from openbell.domain.bars import Quote
from openbell.domain.clock import SimulatedClock
from openbell.domain.orders import IntentState, OrderType, OrderUpdate, Side, TimeInForce
from openbell.market.calendar import calendar_for

START = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)  # a Tuesday, the market is open


def request(order_ref: str, quantity: int = 10) -> OrderRequest:
    return OrderRequest(order_ref, "AAPL", Side.BUY, Decimal(quantity), reference_price=Decimal(100))


class Counter:
    """A desk at a given book with what it told."""

    def __init__(self, book: Book, settings: VenueSettings | None = None) -> None:
        self.clock = SimulatedClock(START)
        self.told: list[Happened] = []
        self.desk = Desk(book, Board(), self.clock, settings or VenueSettings(terms=FREE), self.told.append)

    def quote(self, seconds: float, at: float) -> None:
        self.desk.on_quote(Quote("AAPL", START + timedelta(seconds=seconds), at, at, at))

    def states(self) -> list[IntentState]:
        return [one.event.state for one in self.told if isinstance(one.event, OrderUpdate)]


def test_a_book_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    first = Book.open(tmp_path / "book.db")
    with pytest.raises(BookLockedError, match="in use by another process"):
        Book.open(tmp_path / "book.db")
    first.close()
    Book.open(tmp_path / "book.db").close()


def test_what_is_no_book_is_refused_and_let_go(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    path.write_bytes(b"certainly not a database" * 100)
    for _ in range(2):
        with pytest.raises(BookError, match="cannot be opened"):
            Book.open(path)
    path.unlink()
    Book.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = '99' WHERE key = 'version'")
    connection.commit()
    connection.close()
    with pytest.raises(BookError, match="version 99"):
        Book.open(path)


def test_a_book_keeps_its_name_and_two_books_differ(tmp_path: Path) -> None:
    names = []
    for path in (tmp_path / "one.db", tmp_path / "one.db", tmp_path / "other.db"):
        book = Book.open(path)
        names.append(book.name)
        book.close()
    assert names[0] == names[1] != names[2]


def test_a_step_that_fails_leaves_no_trace_on_disk_or_in_memory() -> None:
    book = Book.in_memory()
    counter = Counter(book)
    counter.desk.order("a", request("r1"))
    with pytest.raises(TypeError), book.step():
        book.record_arrival(START, "a", "Order", "r2", {"no": object()})
    assert [arrival.order_ref for arrival in book.arrivals()] == ["r1"]
    book._connection.execute("CREATE TRIGGER full BEFORE INSERT ON executions BEGIN SELECT raise(ABORT, 'full'); END")
    with pytest.raises(BookError, match="full"):
        counter.quote(1, 100.0)
    assert counter.states() == [IntentState.WORKING]
    assert counter.desk.positions("a") == ()
    book._connection.execute("DROP TRIGGER full")
    counter.quote(2, 100.0)
    assert counter.states() == [IntentState.WORKING, IntentState.FILLED]
    assert counter.desk.positions("a")[0].quantity == 10
    book.close()


async def test_an_order_that_cannot_be_recorded_was_not_sent() -> None:
    book = Book.in_memory()
    broker = SimulatedBroker(book, Board(), SimulatedClock(START), polls=False)
    running = asyncio.create_task(broker.run())
    await asyncio.sleep(0)
    book._connection.execute("CREATE TRIGGER full BEFORE INSERT ON arrivals BEGIN SELECT raise(ABORT, 'full'); END")
    with pytest.raises(NotSentError, match=r"ob1\.a\.1 was not sent: the book cannot be written: full"):
        broker.send(intent("ob1.a.1"))
    with pytest.raises(NotSentError, match="the book cannot be written"):
        broker.cancel("ob1.a.1")
    running.cancel()
    book.close()


def test_arrivals_are_kept_as_they_came_also_twice_and_also_wrong() -> None:
    book = Book.in_memory()
    counter = Counter(book)
    for quantity in (10, 10, 0):
        counter.desk.order("a", request("r1", quantity))
    counter.desk.cancel("a", "r1")
    counter.desk.order("b", request("r2"))
    assert [(arrival.kind, arrival.order_ref) for arrival in book.arrivals("a")] == [
        ("Order", "r1"),
        ("Order", "r1"),
        ("Order", "r1"),
        ("Cancel", "r1"),
    ]
    assert len(book.arrivals()) == 5
    assert request_from_row(book.arrivals()[0].message) == request("r1")
    book.close()


def test_a_split_is_applied_once_however_often_it_is_announced() -> None:
    book = Book.in_memory()
    counter = Counter(book)
    counter.desk.order("a", request("r1"))
    counter.quote(1, 100.0)
    for _ in range(2):
        counter.desk.split("AAPL", date(2026, 11, 25), Decimal(2))
    assert counter.desk.positions("a")[0].quantity == 20
    again = Counter(book)
    again.desk.split("AAPL", date(2026, 11, 25), Decimal(2))
    assert again.desk.positions("a")[0].quantity == 20
    book.close()


def test_a_market_order_waits_for_the_session_and_a_day_order_ends_with_it() -> None:
    book = Book.in_memory()
    counter = Counter(book, VenueSettings(terms=FREE, hours=calendar_for("XNYS")))
    close = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)
    counter.clock.set(close)
    counter.desk.order("a", request("r1"))
    counter.quote((close - START).total_seconds() + 3600, 100.0)
    assert counter.states() == [IntentState.WORKING]
    next_open = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)
    counter.quote((next_open - START).total_seconds(), 101.0)
    assert counter.states() == [IntentState.WORKING, IntentState.FILLED]
    counter.clock.set(next_open)
    counter.desk.order("a", OrderRequest("r2", "IBM", Side.BUY, Decimal(1), reference_price=Decimal(100)))
    counter.quote((next_open - START).total_seconds() + 6.5 * 3600, 101.0)
    assert counter.states()[-1] is IntentState.CANCELLED
    book.close()


async def test_a_clock_that_is_set_back_does_not_strand_an_order() -> None:
    book, clock = Book.in_memory(), SimulatedClock(START)
    told: list[Happened] = []
    desk = Desk(book, Board(AAPL=100.0), clock, VenueSettings(terms=FREE, poll_seconds=1.0), told.append)
    desk.order("a", request("r1"))
    polling = asyncio.create_task(desk.poll())
    clock.set(START - timedelta(hours=1))
    for second in range(1, 4):
        for _ in range(5):
            await asyncio.sleep(0)
        clock.set(START - timedelta(hours=1) + timedelta(seconds=second))
    for _ in range(5):
        await asyncio.sleep(0)
    polling.cancel()
    assert [one.event.order_ref for one in told] == ["r1", "r1", "r1"]  # acknowledged, executed, filled
    assert desk.positions("a")[0].quantity == 10
    book.close()


async def test_prices_are_asked_only_for_what_works_and_while_it_works() -> None:
    class Watched(Board):
        asked: list[str]

        async def quote(self, symbol: str, now: datetime) -> Answer[Quote]:
            self.asked.append(symbol)
            return await super().quote(symbol, now)

    board = Watched(AAPL=100.0)
    board.asked = []
    book, clock = Book.in_memory(), SimulatedClock(START)
    desk = Desk(book, board, clock, VenueSettings(terms=FREE, poll_seconds=1.0), lambda happened: None)
    polling = asyncio.create_task(desk.poll())

    async def seconds(first: int, last: int) -> None:
        for second in range(first, last):
            clock.set(START + timedelta(seconds=second))
            for _ in range(5):
                await asyncio.sleep(0)

    await seconds(1, 5)
    assert board.asked == []
    desk.order("a", request("r1"))
    await seconds(5, 12)
    assert board.asked == ["AAPL"]  # once was enough: it filled
    polling.cancel()
    book.close()


def test_every_order_survives_its_way_through_the_book() -> None:
    order = VenueOrder(
        "V-1",
        1,
        "a",
        OrderRequest(
            "r", "AAPL", Side.SELL, Decimal("1.5"), OrderType.STOP, Decimal(3), Decimal("2.5"), TimeInForce.GTC
        ),
        START,
        START + timedelta(microseconds=1),
        START + timedelta(hours=1),
        IntentState.WORKING,
        True,
        Decimal("0.5"),
        Decimal("2.4999"),
        Decimal(1),
        3,
        "half",
    )
    assert order_from_row(order_row(order)) == order


@pytest.mark.parametrize("change", [{"side": "Hold"}, {"quantity": "many"}, {"order_type": None}, {"symbol": None}])
def test_what_is_no_order_is_refused_by_name(change: dict[str, object]) -> None:
    row = {**{key: value for key, value in order_row_of_request().items() if key not in change}, **change}
    if change.get("symbol", "") is None:
        del row["symbol"]
    with pytest.raises(MessageError, match="is not well formed"):
        request_from_row(row)


def order_row_of_request() -> dict[str, object]:
    row: dict[str, object] = order_row(
        VenueOrder("V-1", 1, "a", request("r"), START, START, None, IntentState.WORKING)
    )["request"]
    return row
