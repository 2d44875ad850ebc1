"""The adapter between a session and the runner, against a client whose gateway is the test."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from fakes.ibkr import (
    ACCOUNT,
    CLIENT,
    FakeGateway,
    commission,
    contract,
    execution,
    order,
    state,
)
from fakes.venues import Heard, intent, listening
from openbell.brokers.base import NotSentError
from openbell.brokers.ibkr.account import Mode, Wanted
from openbell.brokers.ibkr.adapter import IBKRBroker, Settings
from openbell.brokers.ibkr.library import LibraryMissingError
from openbell.brokers.ibkr.orderids import OrderIds
from openbell.brokers.ibkr.supervision import Phase, Reason, Timing
from openbell.domain.answers import ConfirmedEmpty, Unknown, Value
from openbell.domain.clock import SystemClock
from openbell.domain.errors import BrokerError, JournalError
from openbell.domain.orders import IntentKind, IntentState, OrderTerms, OrderType, Side

QUICK = Timing(handshake=1.0, synchronise=1.0, first_retry=0.02, longest_retry=0.1, client_id_retry=0.05, resets=())
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
REF = "ob1.a.1"


def broker(gateway: FakeGateway, **changes: Any) -> IBKRBroker:
    ids, write = changes.pop("order_ids", None), changes.pop("write", None)
    settings = Settings("gateway", 4002, CLIENT, request_seconds=0.3, timing=QUICK)
    settings = replace(settings, **changes)
    return IBKRBroker(
        settings,
        SystemClock(),
        order_ids=ids,
        write_order_id=write,
        rng=random.Random(1),
        load_library=gateway.library,
    )


@asynccontextmanager
async def connected(gateway: FakeGateway, **changes: Any) -> AsyncIterator[Heard]:
    async with listening(broker(gateway, **changes)) as heard:
        yield heard


def adapter(heard: Heard) -> IBKRBroker:
    assert isinstance(heard.broker, IBKRBroker)
    return heard.broker


async def until(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not found():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


def names(gateway: FakeGateway) -> list[str]:
    return [name for name, _ in gateway.asked]


# --- connecting -----------------------------------------------------------------------------------------------------


async def test_orders_and_executions_are_asked_before_it_is_connected(gateway: FakeGateway) -> None:
    async with connected(gateway) as heard:
        assert names(gateway)[:3] == ["reqAllOpenOrders", "reqCompletedOrders", "reqExecutions"]
        assert heard.broker.is_connected
        assert heard.connections() == [True]
        assert gateway.client.MaxRequests == 0, "the library must not keep an order back"
    assert not heard.broker.is_connected


@pytest.mark.parametrize(
    ("accounts", "wanted", "why"),
    [
        (("U1",), Wanted(), "a live one: nothing is sent to it"),
        (("DU1", "DU2"), Wanted(), "name one in spec.broker.ibkr.account"),
        (("DU1",), Wanted("DU9"), "does not manage account DU9"),
        (("U1",), Wanted("U1", Mode.LIVE), "not allowed for account U1"),
    ],
)
async def test_an_account_that_may_not_be_traded_is_never_connected(
    gateway: FakeGateway, accounts: tuple[str, ...], wanted: Wanted, why: str
) -> None:
    gateway.accounts = accounts
    refused = broker(gateway, wanted=wanted)
    task = asyncio.create_task(refused.run())
    try:
        await until(lambda: gateway.dialled >= 2)
        assert refused.link.reason in {Reason.REFUSED}
        assert why in refused.link.why
        assert gateway.asked == []
        with pytest.raises(NotSentError, match="was not sent"):
            refused.send(intent(REF))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_login_that_became_another_account_is_refused(gateway: FakeGateway) -> None:
    async with connected(gateway) as heard:
        gateway.accounts = ("DU2",)
        gateway.callbacks.setEventsDone()
        await until(lambda: adapter(heard).link.reason is Reason.REFUSED)
        assert "DU1 before, and is with DU2 now" in adapter(heard).link.why
        gateway.accounts = (ACCOUNT,)
        await heard.until(lambda: heard.connections() == [True, False, True])


async def test_a_gateway_that_is_away_is_dialled_until_it_answers(gateway: FakeGateway) -> None:
    gateway.refuse = [ConnectionRefusedError("refused"), OSError("no route"), TimeoutError()]
    async with connected(gateway):
        assert gateway.dialled == 4


async def test_a_turn_while_the_gateway_is_dialled_looks_for_no_socket(gateway: FakeGateway) -> None:
    dial = gateway.on_dial
    connecting = asyncio.Event()

    async def slowly(client: Any) -> None:
        connecting.set()
        await asyncio.sleep(0.2)
        await dial(client)

    gateway.on_dial = slowly  # type: ignore[method-assign]
    dialling = broker(gateway)
    task = asyncio.create_task(dialling.run())
    try:
        await connecting.wait()
        for _ in range(10):
            dialling._connection.wake()
            await asyncio.sleep(0.01)
        assert not dialling._connection.carries_data
        await until(lambda: dialling.is_connected)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_client_id_in_use_is_waited_for_with_the_same_id(gateway: FakeGateway) -> None:
    ids: list[int] = []
    dial = gateway.on_dial

    async def in_use_twice(client: Any) -> None:
        ids.append(CLIENT)
        if len(ids) <= 2:
            client.callbacks.error(-1, 326, "Unable to connect as the client id is already in use.", "")
            await asyncio.sleep(1)
        await dial(client)

    gateway.on_dial = in_use_twice  # type: ignore[method-assign]
    async with connected(gateway) as heard:
        assert len(ids) == 3
        assert heard.connections() == [True]


async def test_a_lost_socket_is_told_and_connected_again_with_the_same_orders_known(gateway: FakeGateway) -> None:
    async with connected(gateway) as heard:
        heard.broker.send(intent(REF))
        gateway.callbacks.setEventsDone()
        assert not heard.broker.is_connected
        await heard.until(lambda: heard.connections() == [True, False, True])
        heard.broker.send(intent("ob1.a.2"))
        assert [number for number, _, _ in gateway.placed()] == [1, 2], "the rolled back counter is not followed"


async def test_while_ibkr_is_away_nothing_is_sent_and_all_is_asked_when_it_is_back(gateway: FakeGateway) -> None:
    async with connected(gateway) as heard:
        gateway.callbacks.error(-1, 1100, "Connectivity has been lost.", "")
        assert not heard.broker.is_connected
        with pytest.raises(NotSentError, match="lost its connection to IBKR"):
            heard.broker.send(intent(REF))
        assert isinstance(await heard.broker.orders(), Unknown)
        gateway.asked.clear()
        gateway.callbacks.error(-1, 1102, "restored - data maintained.", "")
        await heard.until(lambda: heard.connections() == [True, False, True])
        assert names(gateway)[:3] == ["reqAllOpenOrders", "reqCompletedOrders", "reqExecutions"]
        assert gateway.dialled == 1


async def test_a_half_open_socket_is_found_though_the_library_says_connected(gateway: FakeGateway) -> None:
    gateway.answers["reqCurrentTime"] = lambda callbacks, arguments: None
    timing = replace(QUICK, heartbeat=0.05, silence=0.1)
    async with connected(gateway, timing=timing) as heard:
        await heard.until(lambda: heard.connections()[:2] == [True, False])
        await heard.until(lambda: len(heard.connections()) > 2)


async def test_by_hand_it_is_disconnected_and_connected_again(gateway: FakeGateway) -> None:
    async with connected(gateway) as heard:
        told: list[Reason] = []
        adapter(heard).connection.on_link = lambda: told.append(adapter(heard).link.reason)
        adapter(heard).connection.dismiss("by hand")
        assert not heard.broker.is_connected
        assert gateway.client.conn.transport is None or gateway.client.conn.transport.closing
        with pytest.raises(NotSentError, match="by hand"):
            heard.broker.send(intent(REF))
        await asyncio.sleep(0.2)
        assert (gateway.dialled, told) == (1, [Reason.DISMISSED])
        adapter(heard).connection.recall()
        await heard.until(lambda: heard.connections() == [True, False, True])
        assert told[-1] is Reason.CONNECTED


async def test_without_a_library_it_says_so_and_goes_on(gateway: FakeGateway) -> None:
    def missing(name: str) -> Any:
        raise LibraryMissingError("ib_async or ib_insync is not installed")

    made = IBKRBroker(Settings("gateway", 4002, CLIENT), SystemClock(), load_library=missing)
    told: list[str] = []
    made.connection.on_link = lambda: told.append(made.link.why)
    running = asyncio.create_task(made.run())
    try:
        await until(lambda: bool(told))
        assert (made.link.reason, made.is_connected) == (Reason.NO_LIBRARY, False)
        assert told == ["ib_async or ib_insync is not installed"]
        assert isinstance(await made.orders(), Unknown)
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_client_zero_is_refused(gateway: FakeGateway) -> None:
    with pytest.raises(BrokerError, match="by hand"):
        broker(gateway, client_id=0)


# --- sending --------------------------------------------------------------------------------------------------------


async def test_an_order_goes_out_whole_in_the_same_step(gateway: FakeGateway) -> None:
    async with connected(gateway) as heard:
        protective = replace(
            intent(REF, Side.SELL, 10, order_type=OrderType.STOP, stop_price=Decimal("98.0049"), oca_group="g"),
            kind=IntentKind.PROTECTIVE,
        )
        heard.broker.send(protective)
        ((number, sent_contract, sent),) = gateway.placed()
        assert number == 1
        assert (sent_contract.symbol, sent_contract.exchange, sent_contract.currency) == ("AAPL", "SMART", "USD")
        assert (sent.orderRef, sent.account, sent.tif) == (REF, ACCOUNT, "GTC")
        assert (sent.auxPrice, sent.ocaGroup, sent.ocaType) == (Decimal("98.01"), "g", 1)


async def test_the_highest_number_of_earlier_processes_is_passed(gateway: FakeGateway) -> None:
    async with connected(gateway, order_ids=OrderIds(high_water=40)) as heard:
        heard.broker.send(intent(REF))
        assert [number for number, _, _ in gateway.placed()] == [41]
        assert adapter(heard).order_ids.high_water == 41


class Disk:
    """Where order ids are written down; it can be full."""

    def __init__(self) -> None:
        self.is_full = False
        self.written: list[int] = []

    async def write(self, order_id: int) -> None:
        if self.is_full:
            raise JournalError("the disk is full")
        self.written.append(order_id)


async def test_a_block_of_order_ids_is_written_down_before_the_first_is_used(gateway: FakeGateway) -> None:
    disk, gateway.next_valid_id = Disk(), 300
    async with connected(gateway, order_ids=OrderIds.kept(40), write=disk.write) as heard:
        assert disk.written == [399], "before it counts as connected"
        for number in range(10):
            heard.broker.send(intent(f"ob1.a.{number}"))
        assert [number for number, _, _ in gateway.placed()] == list(range(300, 310))
        assert disk.written == [399]


async def test_the_next_block_is_written_down_while_enough_of_the_last_is_left(gateway: FakeGateway) -> None:
    disk = Disk()
    async with connected(gateway, order_ids=OrderIds.kept(0), write=disk.write) as heard:
        gateway.callbacks.openOrder(70, contract(), order(orderId=70), state())
        await until(lambda: disk.written == [100, 170])
        heard.broker.send(intent(REF))
        assert [number for number, _, _ in gateway.placed()] == [71]


async def test_without_room_to_write_an_order_id_down_entries_wait_and_exits_do_not(gateway: FakeGateway) -> None:
    disk = Disk()
    disk.is_full = True
    async with connected(gateway, order_ids=OrderIds.kept(40), write=disk.write) as heard:
        with pytest.raises(NotSentError, match="its order id is not written down yet"):
            heard.broker.send(intent(REF))
        heard.broker.send(replace(intent("ob1.a.x", Side.SELL), kind=IntentKind.EXIT))
        assert [number for number, _, _ in gateway.placed()] == [41]
        disk.is_full = False
        await until(lambda: disk.written == [141])
        heard.broker.send(intent(REF))
        assert [number for number, _, _ in gateway.placed()] == [41, 42]


async def test_a_disk_that_does_not_answer_keeps_no_connection_waiting(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openbell.brokers.ibkr.adapter.WRITE_SECONDS", 0.05)

    async def hang(order_id: int) -> None:
        await asyncio.sleep(60)

    async with connected(gateway, order_ids=OrderIds.kept(40), write=hang) as heard:
        assert heard.connections() == [True]
        heard.broker.send(replace(intent("ob1.a.x", Side.SELL), kind=IntentKind.EXIT))
        assert [number for number, _, _ in gateway.placed()] == [41]


async def test_an_order_that_cannot_be_one_is_rejected_and_never_sent(gateway: FakeGateway) -> None:
    async with connected(gateway) as heard:
        heard.broker.send(intent(REF, quantity=0))
        heard.broker.send(intent("ob1.a.2", quantity=Decimal("0.4")))
        update = await heard.state(REF, IntentState.REJECTED)
        assert "quantity 0" in update.detail
        assert "less than a lot" in (await heard.state("ob1.a.2", IntentState.REJECTED)).detail
        assert gateway.placed() == []


async def test_too_many_orders_in_a_second_are_not_sent_and_exits_have_the_last_word(gateway: FakeGateway) -> None:
    async with connected(gateway) as heard:
        refused: list[str] = []
        for number in range(100):
            try:
                heard.broker.send(intent(f"ob1.a.{number}"))
            except NotSentError as error:
                refused.append(str(error))
        assert len(gateway.placed()) + len(refused) == 100
        assert len(gateway.placed()) < 45
        assert all("no more messages in this second" in why for why in refused)
        sent = len(gateway.placed())
        heard.broker.send(replace(intent("ob1.a.x", Side.SELL), kind=IntentKind.EXIT))
        assert len(gateway.placed()) == sent + 1


@pytest.mark.parametrize("closing", [True, False])
async def test_a_socket_that_takes_no_bytes_gets_none(gateway: FakeGateway, closing: bool) -> None:
    async with connected(gateway) as heard:
        transport = gateway.client.conn.transport
        transport.closing, transport.backlog = closing, 10**6
        with pytest.raises(NotSentError, match=f"order {REF} was not sent"):
            heard.broker.send(intent(REF))
        assert gateway.placed() == []


async def test_a_library_that_is_not_connected_has_sent_nothing_and_any_other_error_is_doubt(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(gateway) as heard:

        def fail(error: Exception) -> None:
            def hear(client: Any, name: str, arguments: Any) -> None:
                if name == "placeOrder":
                    raise error

            monkeypatch.setattr(gateway, "hear", hear)

        fail(ConnectionError("Not connected"))
        with pytest.raises(NotSentError, match="Not connected"):
            heard.broker.send(intent(REF))
        fail(RuntimeError("half way"))
        with pytest.raises(BrokerError, match="may have been sent") as caught:
            heard.broker.send(intent(REF))
        assert not isinstance(caught.value, NotSentError)


async def test_a_gateway_that_alters_references_gets_no_entries_and_exits_go_on(gateway: FakeGateway) -> None:
    async with connected(gateway) as heard:
        heard.broker.send(intent(REF))
        gateway.callbacks.openOrder(1, contract(), order("ob1"), state())
        with pytest.raises(NotSentError, match="altered the reference"):
            heard.broker.send(intent("ob1.a.2"))
        heard.broker.send(replace(intent("ob1.a.x", Side.SELL), kind=IntentKind.EXIT))


async def test_an_order_of_a_group_that_has_had_its_fill_is_not_sent(gateway: FakeGateway) -> None:
    async with connected(gateway) as heard:
        stopped = order("ob1.a.s", ocaGroup="g", action="SELL", orderType="STP", auxPrice=98.0)
        gateway.callbacks.openOrder(1, contract(), stopped, state("Submitted"))
        gateway.callbacks.commissionReport(commission())
        gateway.callbacks.execDetails(-1, contract(), execution(shares=4.0, orderRef="ob1.a.s"))
        heard.broker.send(replace(intent("ob1.a.x", Side.SELL, oca_group="g"), kind=IntentKind.EXIT))
        assert "OCA group" in (await heard.state("ob1.a.x", IntentState.REJECTED)).detail
        assert gateway.placed() == []
        heard.broker.send(replace(intent("ob1.a.y", Side.SELL, oca_group="h"), kind=IntentKind.EXIT))
        assert len(gateway.placed()) == 1


# --- changing and cancelling ----------------------------------------------------------------------------------------


async def test_a_change_goes_out_under_the_same_number_with_the_whole_order(gateway: FakeGateway) -> None:
    async with connected(gateway) as heard:
        echo = order(REF, orderId=9, orderType="STP", action="SELL", auxPrice=98.0, tif="GTC", ocaGroup="g")
        gateway.callbacks.openOrder(9, contract(), echo, state("PreSubmitted"))
        heard.broker.modify(REF, OrderTerms(Decimal(4), stop_price=Decimal("99.5")))
        ((number, _, changed),) = gateway.placed()
        assert (number, changed.orderRef, changed.tif, changed.ocaGroup) == (9, REF, "GTC", "g")
        assert (changed.totalQuantity, changed.auxPrice) == (4, Decimal("99.5"))
        heard.broker.cancel(REF)
        assert gateway.asked[-1] == ("cancelOrder", (9,))


async def test_an_order_that_this_connection_has_not_named_is_not_changed(gateway: FakeGateway) -> None:
    """Where the gateway has forgotten the number, the change would be a new order (found by a seeded life)."""
    async with connected(gateway) as heard:
        gateway.callbacks.openOrder(1, contract(), order(REF), state())
        heard.broker.modify(REF, OrderTerms(Decimal(11)))
        gateway.callbacks.setEventsDone()
        await heard.until(lambda: heard.connections() == [True, False, True])
        with pytest.raises(NotSentError, match="has not named the order in this connection"):
            heard.broker.modify(REF, OrderTerms(Decimal(12)))
        gateway.callbacks.openOrder(1, contract(), order(REF), state())
        heard.broker.modify(REF, OrderTerms(Decimal(12)))
        assert [changed.totalQuantity for _, _, changed in gateway.placed()] == [11, 12]


async def test_terms_that_cannot_be_are_refused_with_those_that_stay(gateway: FakeGateway) -> None:
    async with connected(gateway) as heard:
        echo = order(REF, orderType="STP", action="SELL", auxPrice=98.0)
        gateway.callbacks.openOrder(1, contract(), echo, state("PreSubmitted"))
        heard.broker.modify(REF, OrderTerms(Decimal(0), stop_price=Decimal(98)))
        await heard.until(lambda: len(heard.updates(REF)) == 2)
        assert heard.updates(REF)[-1].terms == OrderTerms(Decimal(10), stop_price=Decimal(98))
        assert gateway.placed() == []


async def test_what_is_over_is_told_again_instead_of_changed(gateway: FakeGateway) -> None:
    async with connected(gateway) as heard:
        gateway.callbacks.openOrder(1, contract(), order(REF), state("Cancelled"))
        over = await heard.state(REF, IntentState.CANCELLED)
        heard.broker.cancel(REF)
        heard.broker.modify(REF, OrderTerms(Decimal(5)))
        await heard.until(lambda: len(heard.updates(REF)) == 3)
        assert heard.updates(REF) == [over] * 3
        assert "cancelOrder" not in names(gateway)


@pytest.mark.parametrize(("client", "why"), [(None, "is not known"), (3, "another client id")])
async def test_an_order_without_a_number_of_ours_cannot_be_cancelled(
    gateway: FakeGateway, client: int | None, why: str
) -> None:
    async with connected(gateway) as heard:
        if client is not None:
            gateway.callbacks.openOrder(1, contract(), order(REF, clientId=client), state())
        with pytest.raises(NotSentError, match=why):
            heard.broker.cancel(REF)


# --- asking ---------------------------------------------------------------------------------------------------------


async def test_nothing_is_a_confirmed_nothing(gateway: FakeGateway) -> None:
    async with connected(gateway) as heard:
        assert isinstance(await heard.broker.orders(), ConfirmedEmpty)
        assert isinstance(await heard.broker.fills(LONG_AGO), ConfirmedEmpty)
        assert isinstance(await heard.broker.positions(), ConfirmedEmpty)
        assert isinstance(await heard.broker.account(), Value)


QUESTIONS: dict[str, Callable[[IBKRBroker], Any]] = {
    "reqAllOpenOrders": lambda asked: asked.orders(),
    "reqCompletedOrders": lambda asked: asked.orders(),
    "reqExecutions": lambda asked: asked.fills(LONG_AGO),
    "reqPositions": lambda asked: asked.positions(),
    "reqAccountSummary": lambda asked: asked.account(),
    "reqContractDetails": lambda asked: asked.qualify("AAPL"),
}


@pytest.mark.parametrize("request_", QUESTIONS)
async def test_a_question_without_an_answer_is_unknown_and_never_empty(gateway: FakeGateway, request_: str) -> None:
    async with connected(gateway) as heard:
        gateway.answers[request_] = lambda callbacks, arguments: None
        found = await QUESTIONS[request_](adapter(heard))
        assert isinstance(found, Unknown)
        assert "not answered within 0.3 s" in found.why


@pytest.mark.parametrize("request_", QUESTIONS)
async def test_a_question_whose_connection_is_lost_is_unknown(gateway: FakeGateway, request_: str) -> None:
    async with connected(gateway) as heard:
        gateway.answers[request_] = lambda callbacks, arguments: callbacks.setEventsDone()
        assert isinstance(await QUESTIONS[request_](adapter(heard)), Unknown)


@pytest.mark.parametrize("request_", QUESTIONS)
async def test_a_message_that_the_library_dropped_makes_the_answer_unknown(gateway: FakeGateway, request_: str) -> None:
    def drop(callbacks: Any, arguments: Any) -> None:
        logging.getLogger("ib_fake.Decoder").error("Error handling fields: ['101', '?']")

    async with connected(gateway) as heard:
        gateway.answers[request_] = drop
        found = await QUESTIONS[request_](adapter(heard))
        assert isinstance(found, Unknown)
        assert "not understood" in found.why


@pytest.mark.parametrize("request_", ["reqExecutions", "reqAccountSummary", "reqContractDetails"])
async def test_a_question_that_is_refused_is_unknown_with_the_reason(gateway: FakeGateway, request_: str) -> None:
    async with connected(gateway) as heard:
        gateway.answers[request_] = lambda callbacks, arguments: callbacks.error(arguments[0], 321, "No.", "")
        found = await QUESTIONS[request_](adapter(heard))
        assert isinstance(found, Unknown)
        assert "No. (IBKR 321)" in found.why


async def test_a_read_only_gateway_is_named_and_not_connected(gateway: FakeGateway) -> None:
    said = "Error validating request. - cause - The API interface is currently in Read-Only mode."
    gateway.answers["reqAllOpenOrders"] = lambda callbacks, arguments: callbacks.error(-1, 321, said, "")
    reading = broker(gateway)
    task = asyncio.create_task(reading.run())
    try:
        await until(lambda: "Read-Only" in reading.link.why)
        assert not reading.is_connected
        assert reading.link.phase is not Phase.CONNECTED
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_answers_hold_what_was_asked_for_of_our_account_alone(gateway: FakeGateway) -> None:
    def positions(callbacks: Any, arguments: Any) -> None:
        callbacks.position(ACCOUNT, contract(), 10.0, 100.5)
        callbacks.position(ACCOUNT, contract(), 12.0, 100.25)
        callbacks.position("DU2", contract("IBM", 8314), 5.0, 50.0)
        callbacks.position(ACCOUNT, contract("MSFT", 272093), 0.0, 0.0)
        callbacks.positionEnd()

    def executions(callbacks: Any, arguments: Any) -> None:
        callbacks.execDetails(arguments[0], contract(), execution())
        callbacks.execDetailsEnd(arguments[0])
        callbacks.commissionReport(commission(cost=1.5))

    gateway.answers |= {"reqPositions": positions, "reqExecutions": executions}
    async with connected(gateway) as heard:
        found = await heard.broker.positions()
        assert isinstance(found, Value)
        assert [(held.symbol, str(held.quantity), str(held.average_price)) for held in found.value] == [
            ("AAPL", "12", "100.2500")
        ]
        assert gateway.asked[-1][0] == "cancelPositions"
        fills = await heard.broker.fills(LONG_AGO)
        assert isinstance(fills, Value)
        assert [(fill.order_ref, str(fill.commission)) for fill in fills.value] == [(REF, "1.5")]
        assert isinstance(await heard.broker.fills(datetime(2030, 1, 1, tzinfo=UTC)), ConfirmedEmpty)
        assert len(heard.fills(REF)) == 1, "what an answer shows first is told as well, once"


async def test_a_contract_is_asked_once_and_its_id_goes_out(gateway: FakeGateway) -> None:
    def details(callbacks: Any, arguments: Any) -> None:
        found = SimpleNamespace(contract=contract(), minTick=0.01, sizeIncrement=1.0)
        callbacks.contractDetails(arguments[0], found)
        callbacks.contractDetailsEnd(arguments[0])

    gateway.answers["reqContractDetails"] = details
    async with connected(gateway) as heard:
        assert await adapter(heard).qualify("AAPL") == await adapter(heard).qualify("AAPL")
        assert names(gateway).count("reqContractDetails") == 1
        heard.broker.send(intent(REF))
        assert gateway.placed()[0][1].conId == 265598


async def test_a_symbol_that_an_order_names_is_asked_for_by_itself(gateway: FakeGateway) -> None:
    def details(callbacks: Any, arguments: Any) -> None:
        found = SimpleNamespace(contract=contract(), minTick=0.01, sizeIncrement=1.0)
        callbacks.contractDetails(arguments[0], found)
        callbacks.contractDetailsEnd(arguments[0])

    gateway.answers["reqContractDetails"] = details
    async with connected(gateway) as heard:
        heard.broker.send(intent(REF))
        assert not hasattr(gateway.placed()[0][1], "conId") or gateway.placed()[0][1].conId == 0
        gateway.callbacks.tcpDataArrived()
        gateway.callbacks.openOrder(1, contract(), order(REF), state())
        await until(lambda: "reqContractDetails" in names(gateway))
        await asyncio.sleep(0.05)
        heard.broker.send(intent("ob1.a.2"))
        assert gateway.placed()[1][1].conId == 265598


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("No security definition has been found for the request", ConfirmedEmpty),
        ("The contract description specified for AAPL is ambiguous.", Unknown),
    ],
)
async def test_a_symbol_that_is_nothing_is_told_from_one_that_is_several(
    gateway: FakeGateway, text: str, answer: type
) -> None:
    gateway.answers["reqContractDetails"] = lambda callbacks, arguments: callbacks.error(arguments[0], 200, text, "")
    async with connected(gateway) as heard:
        assert isinstance(await adapter(heard).qualify("AAPL"), answer)


# --- what became of orders in doubt ---------------------------------------------------------------------------------


async def test_a_cancel_that_came_too_late_is_looked_up_and_told(gateway: FakeGateway) -> None:
    """10148: both libraries call the order cancelled, also where it was filled."""

    def executions(callbacks: Any, arguments: Any) -> None:
        callbacks.execDetails(arguments[0], contract(), execution())
        callbacks.commissionReport(commission())
        callbacks.execDetailsEnd(arguments[0])

    def completed(callbacks: Any, arguments: Any) -> None:
        done = order(REF, orderId=0, clientId=0, totalQuantity=0.0, filledQuantity=10.0)
        callbacks.completedOrder(contract(), done, state("Filled", "Filled Size: 10"))
        callbacks.completedOrdersEnd()

    async with connected(gateway) as heard:
        heard.broker.send(intent(REF))
        gateway.callbacks.openOrder(1, contract(), order(REF), state("Submitted"))
        heard.broker.cancel(REF)
        gateway.answers |= {"reqExecutions": executions, "reqCompletedOrders": completed}
        gateway.callbacks.error(1, 10148, "OrderId 1 cannot be cancelled, state: Filled.", "")
        filled = await heard.state(REF, IntentState.FILLED)
        assert filled.filled_quantity == 10
        assert len(heard.fills(REF)) == 1


async def test_after_a_dropped_message_everything_is_asked_for(gateway: FakeGateway) -> None:
    async with connected(gateway):
        gateway.asked.clear()
        logging.getLogger("ib_fake.Decoder").error("Error handling fields: ['11']")
        await until(lambda: {"reqAllOpenOrders", "reqExecutions"} <= set(names(gateway)))


async def test_stopping_leaves_no_task_behind(gateway: FakeGateway) -> None:
    before = asyncio.all_tasks()
    async with connected(gateway) as heard:
        gateway.answers["reqPositions"] = lambda callbacks, arguments: None
        asking = asyncio.create_task(heard.broker.positions())
        await asyncio.sleep(0.01)
    assert isinstance(await asking, Unknown)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
