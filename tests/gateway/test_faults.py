"""What goes wrong on purpose, as each unmodified client meets it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from driving import Client, story

from openbell.domain.money import text
from openbell.gateway.control import Control
from openbell.gateway.faults import Fault, Kind
from openbell.gateway.server import Gateway

AAPL = {"symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"}
ACCEPTED = ("+PreSubmitted", "PreSubmitted")
WORKING = (*ACCEPTED, "+Submitted", "Submitted")
FILLED = ("fill 10", "+Filled", "Filled", "+Filled", "Filled", "fee")
Connect = Callable[..., Any]


async def limit(driven: Client, price: float = 180.0, **more: Any) -> int:
    asked = {"action": "BUY", "totalQuantity": 10, "orderType": "LMT", "lmtPrice": price, "tif": "GTC", **more}
    order_id: int = await driven.do("place", contract=AAPL, order=asked)
    return order_id


async def codes(driven: Client, *wanted: int) -> None:
    await driven.until(lambda _: set(wanted) <= {args[1] for args in driven.named("error")}, f"{wanted}")


async def open_orders(driven: Client) -> dict[str, list[Any]]:
    """The client's open orders by their reference, as it is told when it asks."""
    since = len(driven.events)
    await driven.do("request", name="reqOpenOrders", args=[])
    await driven.until(lambda events: [1 for name, _ in events[since:] if name == "openOrderEnd"], "the end")
    return {args[2]["orderRef"]: args for args in driven.named("openOrder", since)}


async def gone(gateway: Gateway) -> None:
    """Wait until no client is connected."""
    for _ in range(500):
        if not gateway.sessions:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"clients {[session.client_id for session in gateway.sessions]} are still connected")


async def test_a_dropped_acknowledgement_hides_an_order_that_lives(gateway: Gateway, driven: Client) -> None:
    gateway.add_fault(Fault(Kind.DROP_ACKNOWLEDGEMENT, nth=1))
    hidden, seen = await limit(driven, orderRef="hidden"), await limit(driven, orderRef="seen")
    await driven.told(seen, *WORKING)
    assert story(driven.events, hidden) == []
    assert set(await open_orders(driven)) == {"hidden", "seen"}


async def test_an_order_may_be_lost_with_the_connection(connect: Connect, gateway: Gateway) -> None:
    driven = await connect()
    gateway.add_fault(Fault(Kind.DISCONNECT_BEFORE_ORDER, nth=1))
    await limit(driven, orderRef="lost")
    await gone(gateway)
    assert await open_orders(await connect()) == {}


async def test_an_order_may_live_though_the_connection_ended(connect: Connect, gateway: Gateway) -> None:
    driven = await connect()
    gateway.add_fault(Fault(Kind.DISCONNECT_AFTER_ORDER, nth=1))
    order_id = await limit(driven, orderRef="kept")
    await gone(gateway)
    assert story(driven.events, order_id) == []
    assert set(await open_orders(await connect())) == {"kept"}


async def test_an_order_may_be_filled_while_its_client_is_away(connect: Connect, gateway: Gateway) -> None:
    driven = await connect()
    gateway.add_fault(Fault(Kind.FILL_WHILE_AWAY, nth=1))
    order_id = await limit(driven, orderRef="away")
    await gone(gateway)
    again = await connect()
    since = len(again.events)
    await again.do("request", name="reqExecutions", args=[91, {"filter": {}}])
    await again.until(lambda _: [91] in again.named("execDetailsEnd", since), "the end")
    (fill,) = (args[2] for args in again.named("execDetails", since) if args[0] == 91)
    assert (fill["orderRef"], fill["orderId"], fill["shares"]) == ("away", order_id, 10)
    assert await open_orders(again) == {}


async def test_a_restart_in_mid_order_keeps_the_order(connect: Connect, gateway: Gateway) -> None:
    driven = await connect()
    gateway.add_fault(Fault(Kind.RESTART_IN_ORDER, nth=1, seconds=0.3))
    await limit(driven, orderRef="kept")
    await gone(gateway)
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", gateway.port)
    await asyncio.sleep(0.5)
    assert set(await open_orders(await connect())) == {"kept"}


async def test_a_half_open_socket_says_nothing_and_holds_the_client_id(connect: Connect, gateway: Gateway) -> None:
    driven = await connect()
    gateway.add_fault(Fault(Kind.HALF_OPEN, nth=1))
    order_id = await limit(driven, orderRef="kept")
    await driven.do("request", name="reqCurrentTime", args=[])
    await asyncio.sleep(0.5)
    assert story(driven.events, order_id) == []
    assert not driven.named("currentTime")
    with pytest.raises(RuntimeError):
        await connect(patience=2)
    await driven.do("disconnect")
    await gone(gateway)
    assert set(await open_orders(await connect())) == {"kept"}


async def test_the_exchange_may_reject_what_was_accepted(gateway: Gateway, driven: Client) -> None:
    gateway.add_fault(Fault(Kind.REJECT, nth=1))
    order_id = await limit(driven)
    await driven.told(order_id, *ACCEPTED, "+Inactive", "Inactive", "201")


async def test_a_cancel_may_be_lost(gateway: Gateway, driven: Client) -> None:
    order_id = await limit(driven, orderRef="stays")
    await driven.told(order_id, *WORKING)
    gateway.add_fault(Fault(Kind.LOSE_CANCEL, nth=1))
    await driven.do("request", name="cancelOrder", args=[order_id, *([""] * (driven.name != "ibapi"))])
    assert set(await open_orders(driven)) == {"stays"}
    await driven.do("request", name="cancelOrder", args=[order_id, *([""] * (driven.name != "ibapi"))])
    await driven.until(lambda events: story(events, order_id)[-2:] == ["Cancelled", "202"], "its end")


async def test_messages_may_come_twice(gateway: Gateway, driven: Client) -> None:
    gateway.add_fault(Fault(Kind.DUPLICATE))
    order_id = await limit(driven, 195.0)
    twice = [word for word in (*WORKING, *FILLED) for _ in range(2)]
    await driven.told(order_id, *twice)
    assert len({args[2]["execId"] for args in driven.named("execDetails")}) == 1


async def test_messages_may_come_out_of_order(gateway: Gateway, driven: Client) -> None:
    order_id = await limit(driven)
    await driven.told(order_id, *WORKING)
    gateway.add_fault(Fault(Kind.REORDER, nth=1))  # the execution
    gateway.exchange.move("AAPL", 170)
    await driven.told(order_id, *WORKING, "+Filled", "fill 10", "Filled", "+Filled", "Filled", "fee")


async def test_a_held_message_comes_though_nothing_follows(gateway: Gateway, driven: Client) -> None:
    order_id = await limit(driven)
    await driven.told(order_id, *WORKING)
    gateway.add_fault(Fault(Kind.REORDER, nth=6))  # the commission
    gateway.exchange.move("AAPL", 170)
    await driven.told(order_id, *WORKING, *FILLED)


async def test_answers_may_be_slow_and_stay_in_order(gateway: Gateway, driven: Client) -> None:
    gateway.add_fault(Fault(Kind.SLOW, nth=1, seconds=1.0))
    before = asyncio.get_running_loop().time()
    order_id = await limit(driven, 195.0)
    await driven.told(order_id, *WORKING, *FILLED)
    assert asyncio.get_running_loop().time() - before >= 0.9


async def test_lost_connectivity_is_told_and_hides_fills_until_they_are_asked_for(
    gateway: Gateway, driven: Client
) -> None:
    order_id = await limit(driven, orderRef="dark")
    await driven.told(order_id, *WORKING)
    gateway.lose_connectivity()
    await codes(driven, 1100)
    refused = await limit(driven)
    await driven.told(refused, "504")
    gateway.exchange.move("AAPL", 170)
    await asyncio.sleep(0.2)
    gateway.restore_connectivity()
    await codes(driven, 1102)
    assert story(driven.events, order_id) == list(WORKING)
    since = len(driven.events)
    await driven.do("request", name="reqExecutions", args=[92, {"filter": {}}])
    await driven.until(lambda _: [92] in driven.named("execDetailsEnd", since), "the end")
    assert [args[2]["orderRef"] for args in driven.named("execDetails", since)] == ["dark"]


async def test_after_lost_data_nothing_comes_until_it_is_asked_for_again(gateway: Gateway, driven: Client) -> None:
    def last(number: int) -> float | None:
        event = "tickPrice" if driven.name == "ibapi" else "priceSizeTick"
        found = [args[2] for args in driven.named(event) if args[:2] == [number, 4]]
        return found[-1] if found else None

    await driven.do("request", name="reqMktData", args=[71, {"contract": AAPL}, "", False, False, []])
    await driven.until(lambda _: last(71) == 190, "the price")
    gateway.add_fault(Fault(Kind.CONNECTIVITY_LOST, after_seconds=0.1, seconds=0.3, data_lost=True))
    await codes(driven, 1100, 1101)
    gateway.exchange.move("AAPL", 195)
    await asyncio.sleep(0.3)
    assert last(71) == 190
    await driven.do("request", name="reqMktData", args=[72, {"contract": AAPL}, "", False, False, []])
    await driven.until(lambda _: last(72) == 195, "the price, asked for again")


async def test_history_may_be_refused_for_pacing(gateway: Gateway, driven: Client) -> None:
    gateway.add_fault(Fault(Kind.PACING, nth=1))
    asked = [{"contract": AAPL}, "", "2 D", "1 day", "TRADES", True, 1, False, []]
    await driven.do("request", name="reqHistoricalData", args=[81, *asked])
    await driven.until(lambda _: [a for a in driven.named("error") if a[:2] == [81, 162]], "a refusal")


async def test_ids_may_roll_back_over_a_restart(connect: Connect, gateway: Gateway) -> None:
    driven = await connect()
    order_id = await limit(driven, 195.0, orderId=60, orderRef="first")
    await driven.told(order_id, *WORKING, *FILLED)
    gateway.add_fault(Fault(Kind.ROLL_BACK_IDS, after_seconds=0.0, steps=5))
    gateway.add_fault(Fault(Kind.RESTART, after_seconds=0.1, seconds=0.1))
    await gone(gateway)
    await asyncio.sleep(0.4)
    again = await connect()
    assert again.named("nextValidId")[0] == [56]


async def test_the_control_port_moves_prices_and_breaks_things(gateway: Gateway, driven: Client) -> None:
    address: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(Control(gateway).serve("127.0.0.1", 0, lambda *a: address.set_result(a)))
    reader, writer = await asyncio.open_connection(*await address)

    async def do(**values: Any) -> Any:
        writer.write(json.dumps(values).encode() + b"\n")
        return json.loads(await reader.readline())

    order_id = await limit(driven, orderRef="mine")
    await driven.told(order_id, *WORKING)
    assert await do(do="move", symbol="AAPL", price=170) == {"ok": None}
    await driven.told(order_id, *WORKING, *FILLED)
    assert [order["orderRef"] for order in (await do(do="orders"))["ok"]] == ["mine"]
    assert (await do(do="positions"))["ok"] == [{"account": "DU1000001", "symbol": "AAPL", "position": "10"}]
    (fill,) = (await do(do="executions"))["ok"]
    paid = 10 * Decimal(fill["price"]) + Decimal(fill["commission"])
    assert (await do(do="cash"))["ok"] == {"DU1000001": text(gateway.exchange.settings.starting_cash - paid)}
    assert await do(do="fault", kind="Reject", nth=1) == {"ok": None}
    refused = await limit(driven)
    await driven.told(refused, *ACCEPTED, "+Inactive", "Inactive", "201")
    assert (await do(do="struck"))["ok"] == ["Reject"]
    assert "MSFTX is not traded here" in (await do(do="move", symbol="MSFTX", price=1))["error"]
    assert "price must be a number" in (await do(do="move", symbol="AAPL"))["error"]
    assert "say one of" in (await do(do="dance"))["error"]
    assert (await do(do="disconnect"))["ok"] is None
    await gone(gateway)
    writer.close()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
