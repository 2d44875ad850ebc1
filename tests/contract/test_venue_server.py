"""The venue as a process of its own: lost words, lost connections, and a book that stays right."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from fakes.venues import SECONDS, Board, Heard, administering, client, intent, listening, serving, value, with_terms
from openbell.brokers.base import ConnectionChanged
from openbell.brokers.simulated.book import Book
from openbell.brokers.simulated.messages import decode, encode
from openbell.brokers.simulated.remote import RemoteVenue
from openbell.domain.answers import ConfirmedEmpty, Unknown, Value
from openbell.domain.orders import Fill, Intent, IntentState, OrderTerms, Side
from openbell.market.synthetic import SyntheticMarket

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "book.db"


async def test_an_order_whose_acknowledgement_is_lost_is_found_by_asking(book: Path) -> None:
    async with (
        serving(book, Board(AAPL=100.0), with_terms(), "lose-ack:nth=1") as port,
        listening(client(port)) as heard,
    ):
        heard.broker.send(intent("ob1.a.1"))
        heard.broker.send(intent("ob1.a.2"))
        await heard.state("ob1.a.2", IntentState.FILLED)
        assert heard.updates("ob1.a.1") == []
        assert heard.fills("ob1.a.1") == []
        orders = value(await heard.broker.orders())
        assert [(order.order_ref, order.state) for order in orders] == [
            ("ob1.a.1", IntentState.FILLED),
            ("ob1.a.2", IntentState.FILLED),
        ]
        assert [fill.order_ref for fill in value(await heard.broker.fills(LONG_AGO))] == ["ob1.a.1", "ob1.a.2"]


async def test_a_cancel_and_a_change_can_be_lost_and_asked_for_again(book: Path) -> None:
    async with (
        serving(book, Board(), with_terms(), "lose-cancel:nth=1", "lose-modify:nth=1") as port,
        listening(client(port)) as heard,
    ):
        heard.broker.send(intent("ob1.a.1", quantity=5))
        await heard.state("ob1.a.1", IntentState.WORKING)
        heard.broker.modify("ob1.a.1", OrderTerms(Decimal(7)))
        heard.broker.cancel("ob1.a.1")
        (order,) = value(await heard.broker.orders())
        assert (order.state, order.terms) == (IntentState.WORKING, OrderTerms(Decimal(5)))
        heard.broker.modify("ob1.a.1", OrderTerms(Decimal(7)))
        await heard.until(lambda: heard.updates("ob1.a.1")[-1].terms == OrderTerms(Decimal(7)))
        heard.broker.cancel("ob1.a.1")
        await heard.state("ob1.a.1", IntentState.CANCELLED)


async def test_the_back_door_tells_every_fill(book: Path) -> None:
    async with (
        serving(book, Board(AAPL=100.0), with_terms()) as port,
        listening(client(port)) as heard,
        administering(port) as admin,
    ):
        heard.broker.send(intent("ob1.a.1", quantity=5))
        await heard.state("ob1.a.1", IntentState.FILLED)
        (fill,) = (await admin.ask("executions"))["value"]
        assert (fill["order_ref"], fill["symbol"], fill["side"], fill["quantity"]) == ("ob1.a.1", "AAPL", "Buy", "5")


async def test_an_order_is_known_after_a_drop_only_if_it_was_recorded(book: Path) -> None:
    async with (
        serving(book, Board(AAPL=100.0), with_terms(), "drop-before:nth=1", "drop-after:nth=1") as port,
        administering(port) as admin,
        listening(client(port)) as heard,
    ):
        for number, known in ((1, []), (2, ["ob1.a.2"])):
            heard.broker.send(intent(f"ob1.a.{number}"))
            await heard.until(lambda n=number: heard.connections() == [True] + [False, True] * n)  # type: ignore[misc]
            assert await admin.arrivals() == known
        assert heard.updates("ob1.a.2") in ([], [value(await heard.broker.orders())[0]])


async def test_what_was_sent_behind_a_dropped_order_is_lost_with_the_connection(book: Path) -> None:
    async with (
        serving(book, Board(AAPL=100.0), with_terms(), "drop-before:nth=1") as port,
        administering(port) as admin,
        listening(client(port)) as heard,
    ):
        for number in range(3):
            heard.broker.send(intent(f"ob1.a.{number}"))
        await heard.until(lambda: heard.connections() == [True, False, True])
        assert await admin.arrivals() == []


async def test_a_question_that_is_not_answered_in_time_is_unknown(book: Path) -> None:
    async with (
        serving(book, Board(AAPL=100.0), with_terms(), "mute-queries", "mute-data") as port,
        listening(client(port, request_seconds=0.1)) as heard,
    ):
        broker = heard.broker
        for answer in (
            await broker.account(),
            await broker.positions(),
            await broker.orders(),
            await broker.fills(LONG_AGO),
            await heard.remote.quote("AAPL", NOON),
        ):
            assert isinstance(answer, Unknown)
            assert "was not answered within 0.1 s" in answer.why
        assert broker.is_connected  # a mute venue is not a dead connection


async def test_a_question_without_or_with_a_lost_connection_is_unknown(book: Path) -> None:
    async with (
        serving(book, Board(AAPL=100.0), with_terms(), "mute-queries") as port,
        administering(port) as admin,
        listening(client(port)) as heard,
    ):
        asking = asyncio.create_task(heard.broker.account())
        await asyncio.sleep(0)
        await admin.ask("disconnect", account="default/paper")
        answer = await asking
        assert isinstance(answer, Unknown)
        assert "connection was lost" in answer.why
    answer = await heard.broker.account()
    assert isinstance(answer, Unknown)


async def test_a_lost_connection_comes_back_and_says_so(book: Path) -> None:
    async with (
        serving(book, Board(AAPL=100.0)) as port,
        administering(port) as admin,
        listening(client(port)) as heard,
    ):
        lost: list[bool] = []
        heard.broker.on_lost = lambda: lost.append(heard.broker.is_connected)
        for _ in range(2):
            assert (await admin.ask("disconnect", account="default/paper"))["value"] is True
            await heard.until(lambda: heard.connections()[-2:] == [False, True])
            heard.events.append(ConnectionChanged(True, "a mark between the rounds"))
        assert lost == [False, False], "told at once, before there was another"
        heard.broker.send(intent("ob1.a.1"))
        await heard.state("ob1.a.1", IntentState.FILLED)


async def test_a_client_that_is_closed_just_as_its_connection_breaks_is_closed(book: Path) -> None:
    class Breaking(RemoteVenue):
        async def _listen(self, reader: asyncio.StreamReader) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as error:
                raise ConnectionResetError from error

    async with serving(book, Board()) as port, asyncio.timeout(SECONDS):
        async with listening(Breaking("127.0.0.1", port, "default/paper")) as heard:
            assert heard.broker.is_connected
        assert not heard.broker.is_connected


async def test_a_venue_that_starts_later_is_found(book: Path) -> None:
    async with serving(book, Board()) as port:
        pass
    waiting = asyncio.create_task(_first_connection(port))
    await asyncio.sleep(0)
    async with serving(book, Board(), port=port):
        await waiting


async def _first_connection(port: int) -> None:
    async with listening(client(port)) as heard:
        assert heard.connections()[-1]


async def test_a_frozen_connection_is_given_up_after_three_heartbeats(book: Path) -> None:
    async with (
        serving(book, Board(AAPL=100.0), with_terms(), "freeze:nth=1") as port,
        listening(client(port, heartbeat_seconds=0.05)) as heard,
    ):
        heard.broker.send(intent("ob1.a.1"))
        await heard.until(lambda: heard.connections() == [True, False, True])
        silent = next(event for event in heard.events if isinstance(event, ConnectionChanged) and not event.connected)
        assert silent.why == "the venue fell silent"
        assert [order.order_ref for order in value(await heard.broker.orders())] == ["ob1.a.1"]


async def test_a_second_client_of_an_account_waits_until_the_first_is_gone(book: Path) -> None:
    async with serving(book, Board(AAPL=100.0)) as port:
        second = client(port)
        seen: list[ConnectionChanged] = []

        async def follow() -> None:
            async for event in second.events():
                assert isinstance(event, ConnectionChanged)
                seen.append(event)
                told.set()

        told = asyncio.Event()
        async with listening(client(port)), asyncio.timeout(SECONDS):
            tasks = [asyncio.create_task(follow()), asyncio.create_task(second.run())]
            await told.wait()
            assert not seen[-1].connected
            assert seen[-1].why == "the account default/paper is in use by another client"
            told.clear()
            async with listening(client(port, "default/other")):
                pass
        async with asyncio.timeout(SECONDS):
            await told.wait()
            assert seen[-1].connected
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_a_silent_client_loses_its_account(book: Path) -> None:
    async with serving(book, Board(AAPL=100.0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(encode({"op": "hello", "account": "default/paper", "heartbeat_seconds": 0.05}))
        assert decode(await reader.readline())["op"] == "welcome"
        async with listening(client(port)) as heard:  # connects once the silent one is dropped
            assert heard.broker.is_connected
        writer.close()


async def test_accounts_are_apart(book: Path) -> None:
    async with (
        serving(book, Board(AAPL=100.0)) as port,
        listening(client(port, "default/one")) as one,
        listening(client(port, "default/two")) as two,
    ):
        one.broker.send(intent("ob1.a.1"))
        await one.state("ob1.a.1", IntentState.FILLED)
        assert isinstance(await two.broker.positions(), ConfirmedEmpty)
        assert two.updates("ob1.a.1") == []
        assert value(await one.broker.account()).account_id == "default/one"
        assert value(await two.broker.account()).cash == 100_000


async def test_fills_that_are_told_twice_or_late_are_the_same_fills(book: Path) -> None:
    async with (
        serving(book, Board(AAPL=100.0), with_terms(), "duplicate-fills", "reorder-fills:nth=2") as port,
        listening(client(port)) as heard,
    ):
        heard.broker.send(intent("ob1.a.1"))
        await heard.until(lambda: len(heard.fills("ob1.a.1")) == 2)
        assert len({fill.execution_id for fill in heard.fills("ob1.a.1")}) == 1
        heard.broker.send(intent("ob1.a.2"))
        await heard.until(lambda: bool(heard.fills("ob1.a.2")))
        filled = heard.updates("ob1.a.2")[-1]
        assert filled.state is IntentState.FILLED
        assert heard.events.index(filled) < heard.events.index(heard.fills("ob1.a.2")[0])


async def test_a_delayed_word_comes_later(book: Path) -> None:
    async with (
        serving(book, Board(AAPL=100.0), with_terms(), "delay:seconds=0.1:nth=1") as port,
        listening(client(port)) as heard,
    ):
        heard.broker.send(intent("ob1.a.1"))
        await heard.until(lambda: len(heard.updates("ob1.a.1")) == 2)
        states = [update.state for update in heard.updates("ob1.a.1")]
        assert states == [IntentState.FILLED, IntentState.WORKING]  # the acknowledgement was overtaken


async def test_faults_can_be_set_and_ended_at_run_time(book: Path) -> None:
    async with (
        serving(book, Board(AAPL=100.0)) as port,
        administering(port) as admin,
        listening(client(port)) as heard,
    ):
        assert (await admin.ask("faults", faults=["reject"]))["value"] == 1
        heard.broker.send(intent("ob1.a.1"))
        assert (await heard.state("ob1.a.1", IntentState.REJECTED)).detail == "rejected by a scripted fault"
        assert (await admin.ask("faults", faults=[]))["value"] == 0
        heard.broker.send(intent("ob1.a.2"))
        await heard.state("ob1.a.2", IntentState.FILLED)
        assert "is not known" in (await admin.ask("faults", faults=["hiccup"]))["error"]


async def test_a_trade_by_hand_appears_in_the_account(book: Path) -> None:
    async with (
        serving(book, Board(AAPL=100.0)) as port,
        administering(port) as admin,
        listening(client(port)) as heard,
    ):
        await admin.ask("trade", account="default/paper", symbol="AAPL", side="Buy", quantity=7)
        await heard.state("by hand", IntentState.FILLED)
        (position,) = value(await heard.broker.positions())
        assert position.quantity == 7
        assert await admin.arrivals() == []
        assert (await admin.ask("sessions"))["value"] == ["default/paper"]


async def test_the_back_door_is_shut_unless_it_was_opened(tmp_path: Path) -> None:
    async with _process(tmp_path / "book.db") as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(encode({"op": "admin"}))
        assert decode(await reader.readline())["op"] == "refused"
        writer.close()


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b"[1]\n", b'{"op":"hello"}\n', b'{"op":"order"}\n', b"x" * 200 + b"\n"]
)
async def test_who_does_not_speak_the_language_is_shown_out(book: Path, line: bytes) -> None:
    async with serving(book, Board(AAPL=100.0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(line)
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(ConnectionResetError):
                answer = await reader.read(-1)
                assert answer == b"" or decode(answer)["op"] == "refused"
        writer.close()
        async with listening(client(port)) as heard:
            heard.broker.send(intent("ob1.a.1"))
            await heard.state("ob1.a.1", IntentState.FILLED)


@contextlib.asynccontextmanager
async def _process(book: Path, *options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """`openbell venue` as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "openbell.cli", "venue", "--listen", "127.0.0.1:0", "--book", str(book), *options),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("venue listening on 127.0.0.1:")
        yield process, int(line.rsplit(":", 1)[1])
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_the_market_is_the_same_over_the_wire(tmp_path: Path) -> None:
    local = SyntheticMarket(9, volatility=2.0)
    async with (
        _process(tmp_path / "book.db", "--seed", "9", "--volatility", "2.0") as (process, port),
        listening(client(port)) as heard,
    ):
        broker = heard.remote
        now = datetime.now(UTC)
        for asked in (now, now, now + timedelta(milliseconds=1)):  # the second and third need no question
            bars = value(await broker.bars("AAPL", 5, 50, asked))
            expected = local.series("AAPL", 5, 50, asked)
            assert np.array_equal(bars.close, expected.close)
            assert np.array_equal(bars.end, expected.end)
        assert len(value(await broker.bars("AAPL", 5, 10, now))) == 10
        future = value(await broker.bars("AAPL", 1, 3, now + timedelta(hours=1)))
        assert future.last_end is not None
        assert future.last_end <= datetime.now(UTC)
        quote = value(await broker.quote("AAPL", now))
        assert quote.price == local.price("AAPL", quote.time)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_a_venue_that_is_killed_at_any_moment_keeps_a_book_that_adds_up(tmp_path: Path) -> None:
    path, chance, sent = tmp_path / "book.db", random.Random(7), 0
    options = ("--partial-fills", "--poll-seconds", "0.002", "--start-price", "50")
    for _ in range(3):
        async with _process(path, *options) as (process, port), listening(patient(port)) as heard:
            enough, burst = chance.randrange(3, 12), chance.randrange(1, 12)
            while sum(isinstance(event, Fill) for event in heard.events) < enough:
                heard.broker.send(_numbered(sent))
                sent += 1
                await asyncio.sleep(0.002)
            for _ in range(burst):
                heard.broker.send(_numbered(sent))
                sent += 1
            process.kill()
            await process.wait()
    book = Book.open(path)
    try:
        arrivals = [arrival.order_ref for arrival in book.arrivals() if arrival.kind == "Order"]
        fills = book.fills("default/paper", LONG_AGO)
    finally:
        book.close()
    assert len(arrivals) == len(set(arrivals)) >= 9
    assert set(arrivals) <= {f"ob1.a.{number}" for number in range(sent)}
    assert {fill.order_ref for fill in fills} <= set(arrivals)
    assert len({fill.execution_id for fill in fills}) == len(fills) >= 9
    async with _process(path, *options) as (_, port), listening(patient(port)) as heard:
        orders = {order.order_ref: order for order in value(await heard.broker.orders())}
        assert set(orders) == set(arrivals)
        await _until_all_are_over(heard)
        fills = value(await heard.broker.fills(LONG_AGO))
        cash = value(await heard.broker.account()).cash
        positions = await heard.broker.positions()
    spent = sum(fill.side.sign * fill.quantity * fill.price + fill.commission for fill in fills)
    assert abs(cash - (100_000 - spent)) < 0.01
    held = sum(fill.side.sign * fill.quantity for fill in fills)
    assert held == (positions.value[0].quantity if isinstance(positions, Value) else 0)


def patient(port: int) -> RemoteVenue:
    """A client that takes a starved venue for slow, not for dead."""
    return client(port, request_seconds=SECONDS, heartbeat_seconds=SECONDS)


def _numbered(number: int) -> Intent:
    return intent(f"ob1.a.{number}", Side.BUY if number % 3 else Side.SELL, 5 + number % 9)


async def _until_all_are_over(heard: Heard) -> None:
    for order in value(await heard.broker.orders()):
        if not order.state.is_final:
            await heard.state(order.order_ref, IntentState.FILLED)


async def test_two_venues_do_not_share_a_book(tmp_path: Path) -> None:
    async with _process(tmp_path / "book.db"):
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "openbell.cli", "venue", "--listen", "127.0.0.1:0", "--book"),
            str(tmp_path / "book.db"),
            stderr=asyncio.subprocess.PIPE,
        )
        _, complaint = await second.communicate()
        assert second.returncode == 1
        assert b"is in use by another process" in complaint


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--listen", "nowhere"), b"'nowhere' is not HOST:PORT"),
        (("--fault", "hiccup"), b"'hiccup' is not known; allowed are lose-ack"),
        (("--starting-cash", "-1"), b"'-1' is not allowed; it must be 0 or more"),
    ],
)
async def test_a_wrong_option_is_named(tmp_path: Path, options: tuple[str, ...], complaint: bytes) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "openbell.cli", "venue", "--book", str(tmp_path / "book.db"), *options),
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    assert process.returncode == 2
    assert complaint in told
