"""Connections of the unmodified clients: greeting, client ids, reconnecting, and what they see of each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from driving import Client, story

from openbell.gateway.server import Gateway
from openbell.gateway.settings import ExchangeSettings, GatewaySettings

AAPL = {"symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"}
WORKING = ("+PreSubmitted", "PreSubmitted", "+Submitted", "Submitted")
VERSIONS = {"ib_insync": 176, "ib_async": 178, "ibapi": 157}
Connect = Callable[..., Any]


async def limit(driven: Client, price: float = 180.0, **more: Any) -> int:
    asked = {"action": "BUY", "totalQuantity": 10, "orderType": "LMT", "lmtPrice": price, "tif": "GTC", **more}
    order_id: int = await driven.do("place", contract=AAPL, order=asked)
    return order_id


async def test_a_client_is_greeted_at_its_own_version(driven: Client) -> None:
    assert driven.hello["version"] == VERSIONS[driven.name]
    assert driven.hello["accounts"] == ["DU1000001"]
    await driven.until(lambda _: {2104, 2106, 2158} <= {args[1] for args in driven.named("error")}, "the farms")
    assert driven.named("nextValidId")[0] == [1]


async def test_a_client_id_in_use_is_refused_and_free_again_after(connect: Connect, gateway: Gateway) -> None:
    first = await connect(7)
    with pytest.raises(RuntimeError):
        await connect(7, patience=2)
    assert [session.client_id for session in gateway.sessions] == [7]
    await first.do("disconnect")
    for _ in range(100):
        if not gateway.sessions:
            break
        await asyncio.sleep(0.02)
    again = await connect(7)
    assert again.hello["accounts"] == ["DU1000001"]


async def test_the_refusal_of_a_client_id_says_326(connect: Connect, name: str, gateway: Gateway) -> None:
    await connect(7)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"API\0\0\0\0\x09v157..176" + b"\0\0\0\x08" + b"71\x002\x007\x00\x00")
    said = await asyncio.wait_for(reader.read(), 5)
    assert b"4\x002\x00-1\x00326\x00Unable to connect as the client id is already in use." in said
    writer.close()


async def test_a_client_that_comes_back_finds_its_orders_before_its_accounts(
    connect: Connect, gateway: Gateway
) -> None:
    first = await connect(7)
    order_id = await limit(first, orderRef="mine")
    await first.told(order_id, *WORKING)
    await first.do("disconnect")
    gateway.disconnect()
    await asyncio.sleep(0.2)
    again = await connect(7)
    names = [event for event, _ in again.events]
    assert names.index("openOrder") < names.index("managedAccounts") < names.index("nextValidId")
    found = next(args for args in again.named("openOrder") if args[0] == order_id)
    assert (found[2]["orderRef"], found[2]["clientId"]) == ("mine", 7)
    assert again.named("nextValidId")[0] == [order_id + 1]
    assert again.hello["next"] > order_id
    await again.do("cancel", order_id=order_id)
    await again.until(lambda events: story(events, order_id)[-2:] == ["Cancelled", "202"], "its end")


async def test_order_ids_belong_to_each_client_and_perm_ids_to_all(connect: Connect) -> None:
    one, two = await connect(1), await connect(2)
    first, second = await limit(one, orderId=500), await limit(two, orderId=500)
    await one.told(first, *WORKING)
    await two.told(second, *WORKING)
    assert first == second == 500
    numbers = {args[2]["permId"] for client in (one, two) for args in client.named("openOrder")}
    assert len(numbers) == 2
    since = len(two.events)
    await two.do("request", name="reqAllOpenOrders", args=[])
    await two.until(lambda events: [1 for name, _ in events[since:] if name == "openOrderEnd"], "the end")
    assert sorted(args[2]["clientId"] for args in two.named("openOrder", since)) == [1, 2]
    since = len(two.events)
    await two.do("request", name="reqOpenOrders", args=[])
    await two.until(lambda events: [1 for name, _ in events[since:] if name == "openOrderEnd"], "the end")
    assert [args[2]["clientId"] for args in two.named("openOrder", since)] == [2]


async def test_a_client_is_not_told_of_anothers_orders(connect: Connect) -> None:
    one, two = await connect(1), await connect(2)
    order_id = await limit(one, 195.0)
    await one.told(order_id, *WORKING, "fill 10")
    await asyncio.sleep(0.2)
    assert not two.named("openOrder")
    assert not two.named("execDetails")


async def test_what_was_done_is_found_again_by_another_connection(connect: Connect) -> None:
    first = await connect(1)
    filled, cancelled = await limit(first, 195.0, orderRef="done"), await limit(first, 150.0, orderRef="gone")
    await first.told(filled, *WORKING, "fill 10", "+Filled", "Filled", "+Filled", "Filled", "fee")
    await first.told(cancelled, *WORKING)
    await first.do("cancel", order_id=cancelled)
    await first.told(cancelled, *WORKING, "Cancelled", "202")
    second = await connect(2)
    since = len(second.events)
    await second.do("request", name="reqExecutions", args=[41, {"filter": {"acctCode": "DU1000001"}}])
    await second.until(lambda _: [41] in second.named("execDetailsEnd", since), "the end of executions")
    (execution,) = (args for args in second.named("execDetails", since) if args[0] == 41)
    assert (execution[2]["orderRef"], execution[2]["clientId"], execution[2]["orderId"]) == ("done", 1, filled)
    (fee,) = second.named("commissionReport", since)
    assert fee[0]["execId"] == execution[2]["execId"]
    await second.do("request", name="reqExecutions", args=[42, {"filter": {"symbol": "MSFT"}}])
    await second.until(lambda _: [42] in second.named("execDetailsEnd", since), "the end of no executions")
    assert not [args for args in second.named("execDetails", since) if args[0] == 42]
    since = len(second.events)
    await second.do("request", name="reqCompletedOrders", args=[False])
    await second.until(lambda _: second.named("completedOrdersEnd", since), "the end of completed orders")
    seen = {a[1]["orderRef"]: (a[2]["status"], a[1]["filledQuantity"]) for a in second.named("completedOrder", since)}
    assert seen == {"done": ("Filled", 10), "gone": ("Cancelled", 0)}
    numbers = {args[1]["orderRef"]: args[1]["permId"] for args in second.named("completedOrder", since)}
    assert numbers["done"] == execution[2]["permId"]


async def test_next_order_ids_are_told_when_asked(driven: Client) -> None:
    order_id = await limit(driven, orderId=77)
    await driven.told(order_id, *WORKING)
    await driven.do("request", name="reqIds", args=[1])
    await driven.until(lambda _: [78] in driven.named("nextValidId"), "78")


async def test_a_request_that_the_gateway_does_not_have_is_answered_with_an_error(driven: Client) -> None:
    await driven.do("request", name="reqSecDefOptParams", args=[99, "AAPL", "", "STK", 265598])
    (found,) = await driven.until(lambda _: [a for a in driven.named("error") if a[0] == 99], "an error")
    assert found[1] == 321
    assert "reqSecDefOptParams" in found[2]


async def test_too_many_messages_in_a_second_are_refused_with_100(gateway: Gateway, name: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"API\0\0\0\0\x09v157..176" + b"\0\0\0\x08" + b"71\x002\x008\x00\x00")
    writer.write((b"\0\0\0\x04" + b"5\x001\x00") * 60)
    said = b""
    while b"max=50 rec=61" not in said:
        said += await asyncio.wait_for(reader.read(4096), 5)
    assert b"4\x002\x00-1\x00100\x00Max rate of messages per second has been exceeded: max=50 rec=51" in said
    assert said.count(b"53\x001\x00") == 49
    writer.close()


async def test_the_daily_restart_keeps_orders_and_ids(connect: Connect, gateway: Gateway) -> None:
    driven = await connect(7)
    order_id = await limit(driven, orderId=31)
    await driven.told(order_id, *WORKING)
    held = await limit(driven, orderId=32, transmit=False)
    await asyncio.sleep(0.2)
    assert gateway.exchange.order(7, held) is not None
    await gateway.restart(0.2)
    again = await connect(7)
    assert next(args[0] for args in again.named("openOrder")) == order_id
    assert gateway.exchange.order(7, held) is None  # what was never transmitted is not remembered
    assert again.named("nextValidId")[0] == [33]


class TestWithTwoAccounts:
    """Several accounts are managed."""

    @pytest.fixture
    def settings(self) -> GatewaySettings:
        return GatewaySettings(ExchangeSettings(accounts=("DU1", "DU2"), preset_tif=False))

    async def test_an_order_must_name_its_account(self, driven: Client) -> None:
        assert driven.hello["accounts"] == ["DU1", "DU2"]
        without = await limit(driven)
        await driven.told(without, "435")
        named = await limit(driven, 195.0, account="DU2")
        await driven.told(named, *WORKING, "fill 10")
        (execution,) = driven.named("execDetails")
        assert execution[2]["acctNumber"] == "DU2"
        await driven.do("request", name="reqPositions", args=[])
        await driven.until(lambda _: driven.named("position"), "a position")
        assert {(args[0], args[2]) for args in driven.named("position")} == {("DU2", 10)}


class TestWithAMasterClient:
    """Client 3 is told of everyone's orders."""

    @pytest.fixture
    def settings(self) -> GatewaySettings:
        return GatewaySettings(ExchangeSettings(preset_tif=False), master_client_id=3)

    async def test_the_master_client_sees_everything(self, connect: Connect) -> None:
        one, master = await connect(1), await connect(3)
        order_id = await limit(one, 195.0, orderRef="others")
        await one.told(order_id, *WORKING, "fill 10")
        await master.until(lambda _: master.named("commissionReport"), "the commission")
        assert {args[2]["orderRef"] for args in master.named("openOrder")} == {"others"}
