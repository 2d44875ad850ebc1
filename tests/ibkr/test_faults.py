"""What goes wrong between the adapter and a gateway: nothing is lost, nothing is sent twice, nothing is made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from fakes.gateways import CLIENT_ID, Worlds
from fakes.venues import Board, Heard, intent, listening, value
from openbell.brokers.base import NotSentError
from openbell.brokers.ibkr.account import Mode, Wanted
from openbell.brokers.ibkr.adapter import IBKRBroker
from openbell.brokers.ibkr.orderids import OrderIds
from openbell.brokers.ibkr.supervision import Reason
from openbell.domain.answers import Unknown, Value
from openbell.domain.orders import IntentState, OrderTerms, OrderType, Side, TimeInForce
from openbell.gateway.server import Gateway

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def trading(world: Worlds, book: Path, board: Board) -> AsyncIterator[tuple[Heard, Gateway]]:
    async with world(book, board) as heard:
        assert world.gateway is not None
        yield heard, world.gateway


def adapter(heard: Heard) -> IBKRBroker:
    assert isinstance(heard.broker, IBKRBroker)
    return heard.broker


async def until_said(broker: IBKRBroker, why: str) -> None:
    async with asyncio.timeout(15):
        while why not in broker.link.why:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_daily_restart_is_waited_for_and_resting_orders_are_ours_again(world: Worlds, book: Path) -> None:
    board = Board(AAPL=100.0)
    async with trading(world, book, board) as (heard, gateway):
        limit = {"order_type": OrderType.LIMIT, "limit_price": Decimal(95), "time_in_force": TimeInForce.GTC}
        heard.broker.send(intent("ob1.a.1", **limit))  # type: ignore[arg-type]
        await heard.state("ob1.a.1", IntentState.WORKING)
        await gateway.restart(0.3)
        await heard.until(lambda: heard.connections() == [True, False, True])
        (found,) = value(await heard.broker.orders())
        assert (found.order_ref, found.state) == ("ob1.a.1", IntentState.WORKING)
        terms = OrderTerms(Decimal(4), limit_price=Decimal(96))
        heard.broker.modify("ob1.a.1", terms)
        await heard.until(lambda: heard.updates("ob1.a.1")[-1].terms == terms)
        board.prices["AAPL"] = 95.5
        await heard.state("ob1.a.1", IntentState.FILLED)
        assert [fill.quantity for fill in heard.fills("ob1.a.1")] == [4]


async def test_a_loss_is_told_at_once_and_the_gateway_remembers_the_day_alone(world: Worlds, book: Path) -> None:
    async with world.serving(book, Board()) as gateway:
        broker = world.client(gateway.port)
        lost: list[bool] = []
        broker.on_lost = lambda: lost.append(broker.is_connected)
        async with listening(broker) as heard:
            gateway.disconnect()
            await heard.until(lambda: heard.connections() == [True, False, True])
            assert lost == [False], "before there was another"
    began = broker.remembers_since(datetime(2026, 3, 3, 15, 0, tzinfo=UTC))
    assert began == datetime(2026, 3, 3, 5, 0, tzinfo=UTC), "midnight in New York"


async def test_a_fill_while_nobody_was_connected_is_told_once_after(world: Worlds, book: Path) -> None:
    board = Board()
    async with world.serving(book, board) as gateway:
        broker = world.client(gateway.port)
        async with listening(broker) as heard:
            heard.broker.send(intent("ob1.a.1"))
            await heard.state("ob1.a.1", IntentState.WORKING)
            gateway.disconnect()
            board.prices["AAPL"] = 100.0
            gateway.exchange.advance()
            await heard.state("ob1.a.1", IntentState.FILLED)
            await heard.until(lambda: heard.connections() == [True, False, True])
            assert len(heard.fills("ob1.a.1")) == 1
            assert len(value(await heard.broker.fills(LONG_AGO))) == 1
            assert len(heard.fills("ob1.a.1")) == 1


async def test_a_new_process_is_told_of_everything_and_can_change_what_rests(world: Worlds, book: Path) -> None:
    board = Board(AAPL=100.0)
    async with world.serving(book, board) as gateway:
        async with listening(world.client(gateway.port)) as heard:
            heard.broker.send(intent("ob1.a.1"))
            await heard.state("ob1.a.1", IntentState.FILLED)
            stop = {"order_type": OrderType.STOP, "stop_price": Decimal(90), "time_in_force": TimeInForce.GTC}
            heard.broker.send(intent("ob1.a.s", Side.SELL, oca_group="g", **stop))  # type: ignore[arg-type]
            await heard.state("ob1.a.s", IntentState.WORKING)
        async with listening(world.client(gateway.port)) as heard:
            assert len(heard.fills("ob1.a.1")) == 1
            terms = OrderTerms(Decimal(10), stop_price=Decimal(91))
            heard.broker.modify("ob1.a.s", terms)
            await heard.until(lambda: heard.updates("ob1.a.s")[-1].terms == terms)
            assert heard.updates("ob1.a.s")[-1].oca_group == "g"
            heard.broker.cancel("ob1.a.s")
            await heard.state("ob1.a.s", IntentState.CANCELLED)


async def test_a_counter_that_rolled_back_makes_new_orders_and_changes_no_old_one(world: Worlds, book: Path) -> None:
    async with trading(world, book, Board(AAPL=100.0)) as (heard, gateway):
        for number in range(3):
            heard.broker.send(intent(f"ob1.a.{number}"))
            await heard.state(f"ob1.a.{number}", IntentState.FILLED)
        gateway.exchange.roll_back_ids(CLIENT_ID, 2)
        await gateway.restart()
        await heard.until(lambda: heard.connections() == [True, False, True])
        heard.broker.send(intent("ob1.a.9"))
        await heard.state("ob1.a.9", IntentState.FILLED)
        (position,) = value(await heard.broker.positions())
        assert position.quantity == 40
        assert adapter(heard).order_ids.high_water == 4


async def test_while_ibkr_is_away_nothing_is_sent_and_what_was_missed_is_asked_for(world: Worlds, book: Path) -> None:
    async with trading(world, book, Board(AAPL=100.0)) as (heard, gateway):
        gateway.exchange.broadcast(1100, "Connectivity between IBKR and Trader Workstation has been lost.")
        await heard.until(lambda: heard.connections() == [True, False])
        with pytest.raises(NotSentError, match="lost its connection to IBKR"):
            heard.broker.send(intent("ob1.a.1"))
        assert isinstance(await heard.broker.orders(), Unknown)
        gateway.exchange.broadcast(1102, "Connectivity has been restored - data maintained.")
        await heard.until(lambda: heard.connections() == [True, False, True])
        heard.broker.send(intent("ob1.a.1"))
        await heard.state("ob1.a.1", IntentState.FILLED)


async def test_a_second_program_with_our_client_id_waits_and_sends_nothing(world: Worlds, book: Path) -> None:
    async with trading(world, book, Board(AAPL=100.0)) as (heard, gateway):
        second = world.client(gateway.port)
        task = asyncio.create_task(second.run())
        try:
            await until_said(second, "it is waited for")
            assert second.link.reason is Reason.CLIENT_ID_IN_USE
            with pytest.raises(NotSentError, match="waited for"):
                second.send(intent("ob1.b.1"))
            assert heard.broker.is_connected
            assert heard.connections() == [True]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_read_only_gateway_takes_no_order_and_says_so(world: Worlds, book: Path) -> None:
    async with trading(world, book, Board(AAPL=100.0)) as (heard, gateway):
        gateway.exchange.settings = replace(gateway.exchange.settings, read_only=True)
        heard.broker.send(intent("ob1.a.1"))
        update = await heard.state("ob1.a.1", IntentState.REJECTED)
        assert "Read-Only" in update.detail


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (Wanted("DU9"), "does not manage account DU9"),
        (Wanted("DU1000001", Mode.LIVE, "DU1000001"), "is a paper one"),
    ],
)
async def test_an_account_that_may_not_be_traded_is_refused(
    world: Worlds, book: Path, wanted: Wanted, why: str
) -> None:
    async with world.serving(book, Board(AAPL=100.0)) as gateway:
        broker = world.client(gateway.port, wanted=wanted)
        task = asyncio.create_task(broker.run())
        try:
            await until_said(broker, why)
            assert not broker.is_connected
            assert gateway.exchange.orders() == []
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_port_that_takes_connections_and_closes_them_is_no_gateway(world: Worlds, book: Path) -> None:
    """As socat does in front of a gateway that is not logged in."""

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        broker = world.client(server.sockets[0].getsockname()[1])
        task = asyncio.create_task(broker.run())
        try:
            await until_said(broker, "closed the connection")
            assert isinstance(await broker.positions(), Unknown)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_burst_stays_within_what_the_gateway_takes(world: Worlds, book: Path) -> None:
    async with trading(world, book, Board(AAPL=100.0)) as (heard, gateway):
        sent: set[str] = set()
        for number in range(120):
            try:
                heard.broker.send(intent(f"ob1.a.{number}", quantity=1))
                sent.add(f"ob1.a.{number}")
            except NotSentError:
                await asyncio.sleep(0.05)
        assert len(sent) > 20
        await heard.until(lambda: all(bool(heard.fills(ref)) for ref in sent))
        (position,) = value(await heard.broker.positions())
        assert position.quantity == len(sent) == len(gateway.exchange.orders())
        assert heard.connections() == [True]


async def test_the_order_ids_of_earlier_processes_are_passed(world: Worlds, book: Path) -> None:
    async with (
        world.serving(book, Board(AAPL=100.0)) as gateway,
        listening(world.client(gateway.port, order_ids=OrderIds(high_water=500))) as heard,
    ):
        heard.broker.send(intent("ob1.a.1"))
        await heard.state("ob1.a.1", IntentState.FILLED)
        assert [order.order_id for order in gateway.exchange.orders()] == [501]


async def test_a_contract_is_qualified_and_its_orders_name_its_id(world: Worlds, book: Path) -> None:
    async with trading(world, book, Board(AAPL=100.0)) as (heard, _gateway):
        found = await adapter(heard).qualify("AAPL")
        assert isinstance(found, Value)
        assert (found.value.con_id, found.value.tick) == (265598, Decimal("0.01"))
        heard.broker.send(intent("ob1.a.1"))
        await heard.state("ob1.a.1", IntentState.FILLED)


BROKEN = {
    "an execution": ("11", "-1", "1", "265598"),
    "an open order": ("5", "1", "?"),
    "a completed order": ("101", "265598", "AAPL"),
    "a message that nobody knows": ("999", "1"),
}


@pytest.mark.parametrize("fields", BROKEN.values(), ids=BROKEN)
async def test_a_message_that_the_library_cannot_read_is_noticed_and_everything_asked_for(
    world: Worlds, book: Path, fields: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    async with trading(world, book, Board(AAPL=100.0)) as (heard, gateway):
        heard.broker.send(intent("ob1.a.1"))
        await heard.state("ob1.a.1", IntentState.FILLED)
        for connection in gateway._connections:
            connection.raw(*fields)
        async with asyncio.timeout(10):
            while "gateway.message-dropped" not in capsys.readouterr().out:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        (found,) = value(await heard.broker.orders())
        assert found.state is IntentState.FILLED
        assert heard.connections() == [True]


async def test_a_gateway_that_stops_reading_and_writing_is_left_within_seconds(world: Worlds, book: Path) -> None:
    """A half-open socket: TCP says that it is there, and nothing comes of it."""
    async with world.serving(book, Board(AAPL=100.0)) as gateway:
        silent = asyncio.Event()
        pipes: list[asyncio.Task[None]] = []

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while data := await reader.read(65536):
                    if not silent.is_set():
                        writer.write(data)
            except OSError:
                pass
            finally:
                writer.close()

        async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            to_gateway, from_us = await asyncio.open_connection("127.0.0.1", gateway.port)
            pipes.append(asyncio.create_task(pump(reader, from_us)))
            pipes.append(asyncio.create_task(pump(to_gateway, writer)))

        proxy = await asyncio.start_server(between, "127.0.0.1", 0)
        broker = world.client(proxy.sockets[0].getsockname()[1])
        quick = replace(broker._connection.settings.timing, heartbeat=0.2, silence=0.3)
        broker._connection.settings = replace(broker._connection.settings, timing=quick)
        try:
            async with listening(broker) as heard:
                silent.set()
                await heard.until(lambda: heard.connections() == [True, False])
                assert broker.link.reason is Reason.SILENT or "silent" in broker.link.why
                with pytest.raises(NotSentError):
                    broker.send(intent("ob1.a.1"))
                gateway.disconnect()
                silent.clear()
                await heard.until(lambda: heard.connections() == [True, False, True])
        finally:
            proxy.close()
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)
            await asyncio.sleep(0.05)
