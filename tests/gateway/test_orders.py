"""Every order type and time in force, placed, changed, filled and cancelled by each unmodified client: what it is told,
message by message, is the sequence of a real gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from driving import Client, story

from openbell.gateway.server import Gateway
from openbell.gateway.settings import ExchangeSettings, GatewaySettings

AAPL = {"symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"}
PRICE = 190.0  # at which the catalogue's AAPL stands

# A market order's end: the fill first, the order twice, the second time with its commission, which is reported last.
FILLED = ("fill 10", "+Filled", "Filled", "+Filled", "Filled", "fee")
ACCEPTED = ("+PreSubmitted", "PreSubmitted")
WORKING = (*ACCEPTED, "+Submitted", "Submitted")

# Order types that rest: what they ask for, a change of it, what they are told when accepted, where the price has to go.
RESTING: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...], float]] = {
    "LMT": ({"lmtPrice": 180.0}, {"lmtPrice": 181.0}, WORKING, 180.5),
    "STP": ({"auxPrice": 200.0}, {"auxPrice": 199.0}, ACCEPTED, 199.0),
    "STP LMT": ({"auxPrice": 200.0, "lmtPrice": 201.0}, {"auxPrice": 199.0}, ACCEPTED, 199.5),
    "TRAIL": ({"auxPrice": 5.0}, {"auxPrice": 4.0}, ACCEPTED, 194.0),
    "TRAIL LIMIT": (
        {"auxPrice": 5.0, "lmtPriceOffset": 0.5, "trailStopPrice": 195.0},
        {"auxPrice": 4.0, "trailStopPrice": 194.0},
        ACCEPTED,
        194.0,
    ),
    "MIT": ({"auxPrice": 180.0}, {"auxPrice": 181.0}, ACCEPTED, 181.0),
    "LIT": ({"auxPrice": 180.0, "lmtPrice": 182.0}, {"auxPrice": 181.0}, ACCEPTED, 181.0),
    "MOC": ({}, {"totalQuantity": 11}, ACCEPTED, 0.0),
    "LOC": ({"lmtPrice": 195.0}, {"lmtPrice": 196.0}, ACCEPTED, 0.0),
}
AT_CLOSE = {"MOC", "LOC"}


def order(kind: str, **more: Any) -> dict[str, Any]:
    return {"action": "BUY", "totalQuantity": 10, "orderType": kind, "tif": "DAY", "orderRef": f"ref-{kind}", **more}


async def place(driven: Client, kind: str, **more: Any) -> int:
    placed: int = await driven.do("place", contract=AAPL, order=order(kind, **more))
    return placed


async def test_a_market_order_is_accepted_filled_and_charged(driven: Client) -> None:
    order_id = await place(driven, "MKT")
    await driven.told(order_id, *ACCEPTED, *FILLED)
    await asyncio.sleep(0.2)
    assert story(driven.events, order_id) == [*ACCEPTED, *FILLED]
    first, *_, last = (args for args in driven.named("openOrder") if args[0] == order_id)
    assert (first[2]["orderRef"], first[2]["action"], first[2]["totalQuantity"]) == ("ref-MKT", "BUY", 10)
    assert first[2]["permId"] == last[2]["permId"] > 0
    assert (first[3]["commission"], last[3]["commission"]) == (None, 1.0)
    (fill,) = (args for args in driven.named("execDetails") if args[2]["orderId"] == order_id)
    assert (fill[0], fill[2]["side"], fill[2]["price"], fill[2]["orderRef"]) == (-1, "BOT", 190.01, "ref-MKT")
    assert fill[2]["permId"] == first[2]["permId"]
    assert fill[2]["exchange"] == "NASDAQ"
    assert driven.named("commissionReport")[-1][0]["commission"] == 1.0


@pytest.mark.parametrize("kind", RESTING)
async def test_an_order_that_rests_is_changed_and_cancelled(driven: Client, kind: str) -> None:
    asks, change, accepted, _ = RESTING[kind]
    order_id = await place(driven, kind, **asks)
    await driven.told(order_id, *accepted)
    since = len(driven.events)
    await driven.do("modify", order_id=order_id, changes=change)
    await driven.told(order_id, f"+{accepted[-1]}", accepted[-1], since=since)
    changed = [args for args in driven.named("openOrder", since) if args[0] == order_id][-1][2]
    for field in {"lmtPrice", "auxPrice", "totalQuantity"} & set(change):
        assert changed[field] == change[field]
    since = len(driven.events)
    await driven.do("cancel", order_id=order_id)
    await driven.told(order_id, "Cancelled", "202", since=since)
    since = len(driven.events)
    await driven.do("request", name="cancelOrder", args=[order_id, *([""] * (driven.name != "ibapi"))])
    await driven.told(order_id, "10148", since=since)


@pytest.mark.parametrize("kind", RESTING)
async def test_an_order_that_rests_is_filled_where_its_price_is(gateway: Gateway, driven: Client, kind: str) -> None:
    asks, change, accepted, price = RESTING[kind]
    order_id = await place(driven, kind, **asks)
    await driven.told(order_id, *accepted)
    await driven.do("modify", order_id=order_id, changes={k: v for k, v in change.items() if k != "totalQuantity"})
    since = len(driven.events)
    await driven.told(order_id, *accepted, f"+{accepted[-1]}", accepted[-1])
    if kind in AT_CLOSE:
        gateway.exchange.closing_auction()
    else:
        gateway.exchange.move("AAPL", price)
    await driven.until(lambda events: story(events, order_id)[-6:] == list(FILLED), f"the fill of {kind}")
    assert since < len(driven.events)
    held = next(args[9] for args in driven.named("orderStatus") if args[0] == order_id)
    assert held == ("trigger" if kind not in AT_CLOSE | {"LMT"} else "")


async def test_a_trailing_stop_follows_the_price_and_never_goes_back(gateway: Gateway, driven: Client) -> None:
    order_id = await place(driven, "TRAIL", action="SELL", trailingPercent=1.0)
    await driven.told(order_id, *ACCEPTED)

    def stops(events: list[Any]) -> list[float]:
        return [a[2]["trailStopPrice"] for name, a in events if name == "openOrder" and a[0] == order_id]

    gateway.exchange.move("AAPL", 200)
    await driven.until(lambda events: 198.0 in stops(events), "a stop of 198")
    gateway.exchange.move("AAPL", 199)
    await asyncio.sleep(0.2)
    assert stops(driven.events)[-1] == 198.0
    gateway.exchange.move("AAPL", 198)
    await driven.until(lambda events: story(events, order_id)[-6:] == list(FILLED), "the fill")


async def test_an_immediate_or_cancel_order_that_does_not_trade_ends(driven: Client) -> None:
    order_id = await place(driven, "LMT", lmtPrice=180.0, tif="IOC")
    await driven.told(order_id, *WORKING, "Cancelled", "202")


async def test_a_good_till_date_order_ends_at_its_time(driven: Client) -> None:
    till = datetime.now(UTC) + timedelta(seconds=2)
    order_id = await place(driven, "LMT", lmtPrice=180.0, tif="GTD", goodTillDate=f"{till:%Y%m%d-%H:%M:%S}")
    await driven.told(order_id, *WORKING)
    await driven.told(order_id, *WORKING, "Cancelled", "202")


async def test_an_order_for_the_opening_trades_in_its_auction(gateway: Gateway, driven: Client) -> None:
    market, limit = await place(driven, "MKT", tif="OPG"), await place(driven, "LMT", lmtPrice=150.0, tif="OPG")
    await driven.told(market, *ACCEPTED)
    await driven.told(limit, *ACCEPTED)
    gateway.exchange.opening_auction()
    await driven.told(market, *ACCEPTED, *FILLED)
    await driven.told(limit, *ACCEPTED, "Cancelled", "202")


async def test_the_close_ends_day_orders_and_leaves_those_till_cancelled(gateway: Gateway, driven: Client) -> None:
    day = await place(driven, "LMT", lmtPrice=180.0, tif="DAY")
    kept = await place(driven, "LMT", lmtPrice=180.0, tif="GTC")
    await driven.told(day, *WORKING)
    await driven.told(kept, *WORKING)
    gateway.exchange.closing_auction()
    await driven.told(day, *WORKING, "Cancelled", "202")
    await asyncio.sleep(0.1)
    assert story(driven.events, kept) == list(WORKING)


class TestWithLittleDepth:
    """Four shares trade at a quote."""

    @pytest.fixture
    def settings(self) -> GatewaySettings:
        return GatewaySettings(ExchangeSettings(preset_tif=False, depth=Decimal(4)))

    async def test_an_order_is_filled_in_parts(self, driven: Client) -> None:
        order_id = await place(driven, "LMT", lmtPrice=195.0)
        part = ("+Submitted", "Submitted", "+Submitted", "Submitted", "fee")
        last = ("+Filled", "Filled", "+Filled", "Filled", "fee")
        await driven.told(order_id, *WORKING, "fill 4", *part, "fill 4", *part, "fill 2", *last)
        reports = driven.named("commissionReport")
        assert [report[0]["commission"] for report in reports] == [1.0, 0.0, 0.0]
        filled = [args[2:4] for args in driven.named("orderStatus") if args[0] == order_id]
        assert [4, 6] in filled
        assert filled[-1] == [10, 0]

    async def test_fill_or_kill_takes_all_or_nothing(self, driven: Client) -> None:
        killed = await place(driven, "LMT", lmtPrice=195.0, tif="FOK")
        await driven.told(killed, *WORKING, "Cancelled", "202")
        whole = await place(driven, "LMT", lmtPrice=195.0, tif="FOK", totalQuantity=4)
        await driven.told(whole, *WORKING, "fill 4", "+Filled", "Filled")

    async def test_immediate_or_cancel_takes_what_there_is(self, driven: Client) -> None:
        order_id = await place(driven, "LMT", lmtPrice=195.0, tif="IOC")
        part = ("fill 4", "+Submitted", "Submitted", "+Submitted", "Submitted", "fee")
        await driven.told(order_id, *WORKING, *part, "Cancelled", "202")


async def bracket(driven: Client, **entry: Any) -> tuple[int, int, int]:
    first = driven.hello["next"] + 50
    parent = await place(driven, "LMT", orderId=first, transmit=False, **{"lmtPrice": 190.5, **entry})
    sell = {"action": "SELL", "parentId": parent, "tif": "GTC"}
    target = await place(driven, "LMT", orderId=first + 1, transmit=False, lmtPrice=200.0, **sell)
    await asyncio.sleep(0.2)
    assert story(driven.events, parent) == story(driven.events, target) == []  # not before the last leg
    stop = await place(driven, "STP", orderId=first + 2, transmit=True, auxPrice=180.0, **sell)
    return parent, target, stop


def held(driven: Client, order_id: int) -> str:
    """Why an order waits, as first told."""
    found: str = next(args[9] for args in driven.named("orderStatus") if args[0] == order_id)
    return found


async def test_a_brackets_legs_wait_for_the_parent_and_one_fill_ends_the_other(
    gateway: Gateway, driven: Client
) -> None:
    parent, target, stop = await bracket(driven)
    await driven.told(parent, *WORKING, *FILLED)
    await driven.told(stop, *ACCEPTED, *ACCEPTED)
    await driven.until(lambda events: story(events, target)[-1:] == ["Submitted"], "the target's start")
    assert (held(driven, target), held(driven, stop)) == ("child", "child,trigger")
    told = {a[0]: a for name, a in driven.events if name == "openOrder"}
    assert told[target][2]["ocaGroup"] == told[stop][2]["ocaGroup"] == str(told[parent][2]["permId"])
    gateway.exchange.move("AAPL", 201)
    await driven.until(lambda events: story(events, target)[-6:] == list(FILLED), "the target's fill")
    await driven.until(lambda events: story(events, stop)[-2:] == ["Cancelled", "202"], "the stop's end")


async def test_a_cancelled_parent_takes_its_legs_along(driven: Client) -> None:
    parent, target, stop = await bracket(driven, lmtPrice=150.0)
    await driven.told(parent, *WORKING)
    await driven.do("cancel", order_id=parent)
    for order_id in (parent, target, stop):
        await driven.until(lambda events, o=order_id: story(events, o)[-2:] == ["Cancelled", "202"], "its end")


@pytest.mark.parametrize(("kind", "left"), [(1, None), (2, 6.0), (3, 6.0)])
async def test_a_group_of_orders_is_cancelled_or_reduced_by_a_fill(
    gateway: Gateway, driven: Client, kind: int, left: float | None
) -> None:
    group = {"ocaGroup": "pair", "ocaType": kind}
    low = await place(driven, "LMT", lmtPrice=185.0, totalQuantity=4, **group)
    other = await place(driven, "LMT", lmtPrice=170.0, **group)
    await driven.told(low, *WORKING)
    await driven.told(other, *WORKING)
    gateway.exchange.move("AAPL", 184)
    await driven.told(low, *WORKING, "fill 4", "+Filled", "Filled")
    if left is None:
        await driven.told(other, *WORKING, "Cancelled", "202")
    else:
        await driven.told(other, *WORKING, "+Submitted", "Submitted")
        assert [args[3] for args in driven.named("orderStatus") if args[0] == other][-1] == left


async def test_cancelling_one_of_a_group_cancels_the_others_first(driven: Client) -> None:
    group = {"ocaGroup": "pair", "ocaType": 1}
    one, two = [await place(driven, "LMT", lmtPrice=price, **group) for price in (180.0, 170.0)]
    await driven.told(one, *WORKING)
    await driven.told(two, *WORKING)
    since = len(driven.events)
    await driven.do("cancel", order_id=one)
    await driven.told(one, "Cancelled", "202", since=since)
    ended = [args[0] for name, args in driven.events[since:] if name == "orderStatus" and args[1] == "Cancelled"]
    assert ended == [two, one]


async def test_a_global_cancel_ends_everything(driven: Client) -> None:
    orders = [await place(driven, "LMT", lmtPrice=180.0), await place(driven, "STP", auxPrice=220.0)]
    for order_id in orders:
        await driven.told(order_id, *ACCEPTED)
    await driven.do("request", name="reqGlobalCancel", args=[])
    for order_id in orders:
        await driven.until(lambda events, o=order_id: story(events, o)[-2:] == ["Cancelled", "202"], "its end")


@pytest.mark.parametrize(
    ("contract", "asks", "code"),
    [
        ({"symbol": "NOSUCH"}, {"orderType": "MKT"}, "200"),
        ({}, {"orderType": "LMT", "lmtPrice": 150.005}, "110"),
        ({}, {"orderType": "XYZ"}, "321"),
        ({}, {"orderType": "MKT", "tif": "WHEN"}, "321"),
        ({}, {"orderType": "LMT"}, "321"),
        ({}, {"orderType": "MKT", "totalQuantity": 0.5}, "10243"),
        ({}, {"orderType": "MKT", "account": "U999"}, "321"),
        ({}, {"orderType": "LMT", "lmtPrice": 150.0, "parentId": 4711}, "10006"),
        ({"exchange": ""}, {"orderType": "MKT"}, "321"),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused_with_its_code(
    driven: Client, contract: dict[str, Any], asks: dict[str, Any], code: str
) -> None:
    order_id = await driven.do("place", contract={**AAPL, **contract}, order={**order("MKT"), **asks})
    await driven.told(order_id, code)
    await asyncio.sleep(0.1)
    assert story(driven.events, order_id) == [code]


async def test_an_order_beyond_the_accounts_means_is_rejected(driven: Client) -> None:
    order_id = await place(driven, "MKT", totalQuantity=1_000_000)
    await driven.told(order_id, "+Inactive", "Inactive", "201")


async def test_a_cancel_of_an_order_that_never_was_is_answered(driven: Client) -> None:
    await driven.do("cancel", order_id=4711)
    await driven.told(4711, "10147")


async def test_an_order_id_below_one_that_was_used_is_refused(driven: Client) -> None:
    first = await place(driven, "LMT", lmtPrice=180.0, orderId=90)
    await driven.told(first, *WORKING)
    reused = await driven.do("place", contract=AAPL, order=order("LMT", lmtPrice=181.0, orderId=40))
    await driven.told(reused, "103")


async def test_what_an_order_would_do_is_told_without_placing_it(gateway: Gateway, driven: Client) -> None:
    order_id = await driven.do(
        "request",
        name="placeOrder",
        args=[driven.hello["next"] + 9, {"contract": AAPL}, {"order": order("LMT", lmtPrice=190.0, whatIf=True)}],
    )
    assert order_id is None
    (state,) = await driven.until(lambda _: [args[3] for args in driven.named("openOrder")], "the answer")
    assert (float(state["initMarginChange"]), float(state["equityWithLoanAfter"])) == (475.0, 999_999.0)
    assert state["commission"] == 1.0
    assert gateway.exchange.orders() == []


class TestWithPresets:
    """The gateway fills in a time in force."""

    @pytest.fixture
    def settings(self) -> GatewaySettings:
        return GatewaySettings(ExchangeSettings(preset_tif=True))

    async def test_an_order_without_a_time_in_force_is_warned_about_and_lives(self, driven: Client) -> None:
        order_id = await place(driven, "LMT", lmtPrice=180.0, tif="")
        await driven.told(order_id, "10349", *WORKING)
        assert {args[2]["tif"] for args in driven.named("openOrder")} == {"DAY"}


class TestWithSlowCancels:
    """A cancel takes a second to arrive."""

    @pytest.fixture
    def settings(self) -> GatewaySettings:
        return GatewaySettings(ExchangeSettings(preset_tif=False, cancel_seconds=1.0))

    async def test_a_second_cancel_meanwhile_is_refused(self, driven: Client) -> None:
        order_id = await place(driven, "LMT", lmtPrice=180.0)
        await driven.told(order_id, *WORKING)
        for _ in range(2):
            await driven.do("request", name="cancelOrder", args=[order_id, *([""] * (driven.name != "ibapi"))])
        ends = ("+PendingCancel", "PendingCancel", "161", "Cancelled", "202")
        await driven.told(order_id, *WORKING, *ends)

    async def test_a_fill_may_come_first(self, gateway: Gateway, driven: Client) -> None:
        order_id = await place(driven, "LMT", lmtPrice=180.0)
        await driven.told(order_id, *WORKING)
        await driven.do("cancel", order_id=order_id)
        await driven.told(order_id, *WORKING, "+PendingCancel", "PendingCancel")
        gateway.exchange.move("AAPL", 170)
        await driven.told(order_id, *WORKING, "+PendingCancel", "PendingCancel", *FILLED, "10148")


async def test_a_read_only_gateway_refuses_orders(connect: Callable[..., Any], gateway: Gateway, name: str) -> None:
    driven = await connect()
    object.__setattr__(gateway.exchange.settings, "read_only", True)
    order_id = await place(driven, "MKT")
    await driven.told(order_id, "321")
