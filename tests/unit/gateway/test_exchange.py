"""The exchange by itself, on a clock that is moved by hand: what it does with orders, money and days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_bytes import hello, place

from fakes.hours import RegularHours
from openbell.domain.clock import SimulatedClock
from openbell.gateway import events
from openbell.gateway.exchange import Exchange
from openbell.gateway.orders import Status
from openbell.gateway.settings import ExchangeSettings
from openbell.gateway.wire.frames import Framer, Message
from openbell.gateway.wire.requests import PlaceOrder, read_request

MONDAY = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)  # ten o'clock in New York


def asked(order_id: int, **terms: object) -> PlaceOrder:
    framer = Framer()
    framer.feed(hello())
    (item,) = framer.feed(place(order_id, **terms))
    assert isinstance(item, Message)
    request = read_request(item.fields, 178)
    assert isinstance(request, PlaceOrder)
    return request


class World:
    """An exchange, its clock, and what it has told."""

    def __init__(self, start: datetime = MONDAY, hours: RegularHours | None = None, **settings: Any) -> None:
        self.clock = SimulatedClock(start)
        self.exchange = Exchange(ExchangeSettings(**{"preset_tif": False, **settings}), self.clock, hours)

    def place(self, order_id: int, client_id: int = 1, **terms: object) -> None:
        self.exchange.place(client_id, asked(order_id, **terms))

    def told(self) -> list[str]:
        """What has happened since the last call, in words."""
        words = []
        for event in self.exchange.drain():
            match event:
                case events.OrderChanged(order) | events.StatusChanged(order):
                    words.append(f"{order.order_id} {order.status}")
                case events.Executed(execution):
                    words.append(f"{execution.order.order_id} fill {execution.shares} at {execution.price}")
                case events.Charged(execution):
                    words.append(f"{execution.order.order_id} fee {execution.commission}")
                case events.Notice(_, number, code, _):
                    words.append(f"{number} error {code}")
        return words

    def later(self, **by: float) -> list[str]:
        """Let time pass, and what that brings."""
        self.clock.set(self.clock.now() + timedelta(**by))
        self.exchange.advance()
        return self.told()

    def status(self, order_id: int, client_id: int = 1) -> Status:
        order = self.exchange.order(client_id, order_id)
        assert order is not None
        return order.status


FILL = ["1 Filled", "1 Filled", "1 fee 1.00"]


def test_an_order_does_not_trade_before_a_quote_that_came_after_it() -> None:
    world = World()
    world.place(1)
    assert world.told() == ["1 PreSubmitted"]
    assert world.later(seconds=1) == ["1 fill 100 at 190.01", *FILL]


def test_a_limit_order_trades_at_its_limit_or_better() -> None:
    world = World()
    world.place(1, kind="LMT", limit=189.5)
    assert world.later(seconds=1) == ["1 PreSubmitted", "1 Submitted"]
    world.exchange.move("AAPL", 189.49)
    assert world.told() == ["1 fill 100 at 189.50", *FILL]
    world.exchange.move("AAPL", 200)
    world.place(2, kind="LMT", limit=190, action="SELL")
    assert "2 fill 100 at 199.99" in world.later(seconds=1)


def test_a_stop_trades_at_the_market_once_it_is_reached_also_over_a_gap() -> None:
    world = World()
    world.place(1, kind="STP", aux=185, action="SELL")
    world.later(seconds=1)
    world.exchange.move("AAPL", 185.01)
    assert world.told() == []
    world.exchange.move("AAPL", 180)
    assert "1 fill 100 at 179.99" in world.told()


def test_a_stop_limit_waits_for_its_limit_once_it_is_triggered() -> None:
    world = World()
    world.place(1, kind="STP LMT", aux=185, limit=184, action="SELL")
    world.later(seconds=1)
    world.exchange.move("AAPL", 180)
    assert world.told() == ["1 Submitted"]
    world.exchange.move("AAPL", 184.01)
    assert "1 fill 100 at 184.00" in world.told()


def test_a_trailing_limit_moves_its_limit_with_its_stop() -> None:
    world = World()
    world.place(1, kind="TRAIL LIMIT", aux=5, offset=1, trail_stop=180, action="SELL")
    world.later(seconds=1)
    order = world.exchange.order(1, 1)
    assert order is not None
    assert (order.stop, order.limit) == (Decimal(185), Decimal(184))  # the market is above what was asked
    world.exchange.move("AAPL", 200)
    order = world.exchange.order(1, 1)
    assert order is not None
    assert (order.stop, order.limit) == (Decimal(195), Decimal(194))


def test_while_the_exchange_is_closed_orders_wait_with_a_warning() -> None:
    world = World(MONDAY.replace(hour=13), RegularHours())  # eight o'clock in New York
    world.place(1)
    assert world.told() == ["1 error 399", "1 PreSubmitted"]
    world.place(2, kind="LMT", limit=195, outside=True)
    assert world.told() == ["2 PreSubmitted"]
    assert "2 fill 100 at 190.01" in world.later(seconds=1)
    assert world.later(hours=1) == []
    assert "1 fill 100 at 190.01" in world.later(hours=1)


def test_a_stop_that_wants_to_trade_outside_hours_is_warned_about() -> None:
    world = World()
    world.place(1, kind="STP", aux=195, outside=True)
    assert world.told() == ["1 error 2109", "1 PreSubmitted"]


def test_the_close_fills_orders_for_it_and_ends_day_orders() -> None:
    world = World(hours=RegularHours())
    world.place(1, kind="MOC")
    world.place(2, kind="LOC", limit=180)
    world.place(3, kind="LMT", limit=150)
    world.place(4, kind="LMT", limit=150, tif="GTC")
    world.later(seconds=1)
    told = world.later(hours=7)
    assert told[0] == "1 fill 100 at 190"  # the auction's price, without a spread
    assert [world.status(n) for n in (2, 3, 4)] == [Status.CANCELLED, Status.CANCELLED, Status.SUBMITTED]


def test_an_order_after_the_close_is_for_the_next_day() -> None:
    world = World(MONDAY.replace(hour=22), RegularHours())
    world.place(1, kind="LMT", limit=150)
    world.later(hours=17)  # Tuesday's session
    assert world.status(1) is Status.SUBMITTED
    world.later(hours=7)
    assert world.status(1) is Status.CANCELLED


def test_what_is_over_is_forgotten_at_midnight() -> None:
    world = World()
    world.place(1)
    world.place(2, kind="LMT", limit=150, tif="GTC")
    world.later(seconds=1)
    assert (len(world.exchange.completed_orders()), len(world.exchange.executions)) == (1, 1)
    world.later(days=1)
    assert (world.exchange.completed_orders(), world.exchange.executions) == ([], [])
    assert world.status(2) is Status.SUBMITTED
    assert world.exchange.next_id(1) == 3


def test_an_order_that_is_good_after_a_time_waits_for_it() -> None:
    world = World()
    world.place(1, good_after="20261123-15:10:00")
    assert world.later(minutes=9) == ["1 PreSubmitted"]
    assert world.later(minutes=2)[0] == "1 fill 100 at 190.01"


def test_all_or_none_waits_until_there_is_enough() -> None:
    world = World(depth=Decimal(99))
    world.place(1, kind="LMT", limit=195, all_or_none=True)
    assert world.later(seconds=1) == ["1 PreSubmitted", "1 Submitted"]
    assert world.later(seconds=1) == []


def test_a_fill_of_a_group_that_cancels_lets_none_of_it_fill_in_the_same_step() -> None:
    world = World()
    for number in (1, 2, 3):
        world.place(number, kind="LMT", limit=195, oca_group="one", oca_type=1)
    told = world.later(seconds=1)
    assert [word for word in told if "fill" in word] == ["1 fill 100 at 190.01"]
    assert [world.status(number) for number in (2, 3)] == [Status.CANCELLED, Status.CANCELLED]


def test_the_children_of_a_rejected_parent_end_with_it() -> None:
    world = World(starting_cash=Decimal(1_000))
    world.place(1, transmit=False)
    world.place(2, kind="STP", aux=180, action="SELL", parent=1)
    assert world.told() == ["1 Inactive", "1 error 201", "2 Cancelled", "2 error 202"]


def test_a_child_of_an_order_that_never_was_is_refused() -> None:
    world = World()
    world.place(2, kind="STP", aux=180, action="SELL", parent=1)
    assert world.told() == ["2 error 10006"]


def test_a_cancel_of_one_that_was_not_transmitted_ends_its_legs() -> None:
    world = World()
    world.place(1, kind="LMT", limit=150, transmit=False)
    world.place(2, kind="LMT", limit=200, action="SELL", parent=1, transmit=False)
    world.exchange.cancel(1, 1)
    assert world.told() == ["1 Cancelled", "1 error 202", "2 Cancelled", "2 error 202"]
    assert world.exchange.completed_orders() == []  # never sent, so not of the day's orders


@pytest.mark.parametrize(
    "shape",
    [
        {"scale": 0.5},
        {"hedge": "D"},
        {"algorithm": "Adaptive"},
        {"neutral": "MKT"},
        {"conditions": ((4, "a", True, 30),)},
    ],
)
def test_what_would_not_be_acted_on_is_refused(shape: dict[str, object]) -> None:
    world = World()
    world.place(1, **shape)
    assert world.told() == ["1 error 321"]


def test_a_round_trip_is_booked_to_the_cent() -> None:
    world = World(starting_cash=Decimal(100_000))
    world.place(1)
    world.later(seconds=1)
    world.exchange.move("AAPL", 200)
    world.place(2, action="SELL")
    world.later(seconds=1)
    account = world.exchange.accounts["DU1000001"]
    gain = 100 * (Decimal("199.99") - Decimal("190.01")) - 2
    assert account.cash == Decimal(100_000) + gain
    assert account.realized == gain
    assert account.position(265598) == 0


def test_selling_more_than_is_held_turns_the_position_round() -> None:
    world = World()
    world.place(1, quantity=10)
    world.later(seconds=1)
    world.place(2, quantity=25, action="SELL")
    world.later(seconds=1)
    held = world.exchange.accounts["DU1000001"].holdings[265598]
    assert held.position == -15
    assert held.average_cost == Decimal("189.99") - Decimal("0.04")  # a dollar of commission over 25 shares


def test_a_part_of_a_brackets_leg_reduces_the_other() -> None:
    world = World(depth=Decimal(60))
    world.place(1, kind="LMT", limit=195, transmit=False, quantity=60)
    world.place(2, kind="LMT", limit=200, parent=1, transmit=False, action="SELL", quantity=60)
    world.place(3, kind="STP", aux=180, parent=1, action="SELL", quantity=60)
    world.later(seconds=1)
    world.later(seconds=1)
    target = world.exchange.order(1, 2)
    assert target is not None
    world.exchange.fill(target, Decimal(20), Decimal(200))
    stop = world.exchange.order(1, 3)
    assert stop is not None
    assert (stop.size, stop.remaining, stop.status) == (40, 40, Status.PRE_SUBMITTED)


def test_a_lower_id_is_refused_and_after_a_roll_back_taken_again() -> None:
    world = World()
    world.place(5)
    world.later(seconds=1)
    world.place(4)
    assert world.told() == ["4 error 103"]
    world.exchange.roll_back_ids(1, 2)
    assert world.exchange.next_id(1) == 4
    world.place(5)
    assert world.told() == ["5 PreSubmitted"]
    assert len(world.exchange.orders()) == 2


def test_after_a_roll_back_an_id_may_still_be_that_of_an_order_that_works() -> None:
    world = World()
    world.place(5, kind="LMT", limit=150)
    world.later(seconds=1)
    world.exchange.roll_back_ids(1, 1)
    world.place(5, kind="LMT", limit=151)
    assert world.told() == ["5 Submitted"]  # a change of the old order, not a new one
    assert len(world.exchange.orders()) == 1


def test_a_change_of_what_is_over_is_not_answered() -> None:
    world = World()
    world.place(1)
    world.later(seconds=1)
    world.place(1, quantity=200)
    assert world.told() == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["BUY", "SELL"]),
            st.integers(1, 500),
            st.sampled_from(["MKT", "LMT", "STP", "TRAIL", "MIT"]),
            st.integers(150, 230),
        ),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.integers(150, 230), min_size=1, max_size=8),
    st.none() | st.integers(1, 200),
)
def test_money_and_shares_are_never_made_or_lost(
    orders: list[tuple[str, int, str, int]], prices: list[int], depth: int | None
) -> None:
    world = World(starting_cash=Decimal(10**9), depth=None if depth is None else Decimal(depth))
    for number, (action, quantity, kind, price) in enumerate(orders, 1):
        needs = {"LMT": {"limit": price}, "STP": {"aux": price}, "TRAIL": {"aux": 5}, "MIT": {"aux": price}}
        world.place(number, action=action, quantity=quantity, kind=kind, **needs.get(kind, {}))
    for price in prices:
        world.exchange.move("AAPL", price)
        world.later(seconds=1)
    account, fills = world.exchange.accounts["DU1000001"], world.exchange.executions
    signed = [fill.shares if fill.side == "BOT" else -fill.shares for fill in fills]
    assert account.position(265598) == sum(signed)
    spent = sum((s * f.price + f.commission for s, f in zip(signed, fills, strict=True)), Decimal(0))
    assert account.cash == Decimal(10**9) - spent
    assert len({fill.exec_id for fill in fills}) == len(fills)
    for order in world.exchange.orders():
        traded = sum(fill.shares for fill in fills if fill.order.perm_id == order.perm_id)
        assert traded == order.filled <= order.terms.quantity
        assert (order.status is Status.FILLED) == (order.filled == order.terms.quantity)
    value = account.equity(world.exchange.mark) - Decimal(10**9)
    assert abs(account.realized + account.unrealized(world.exchange.mark) - value) < Decimal("0.000001")


@pytest.mark.parametrize("seed", [1, 2])
def test_prices_are_the_same_in_whatever_order_they_are_asked(seed: int) -> None:
    first, second = (Exchange(ExchangeSettings(seed=seed, volatility=1.0), SimulatedClock(MONDAY)) for _ in range(2))
    times = [MONDAY + timedelta(seconds=number * 97) for number in range(50)]
    forward = [first.prices.at("MSFT", time) for time in times]
    backward = [second.prices.at("MSFT", time) for time in reversed(times)]
    assert forward == backward[::-1]
    assert len(set(forward)) > 30


def test_a_bar_holds_what_a_price_was_moved_to_between() -> None:
    world = World()
    world.clock.set(MONDAY + timedelta(seconds=7))
    world.exchange.move("AAPL", 300)
    world.clock.set(MONDAY + timedelta(seconds=8))
    world.exchange.move("AAPL", 191)
    bar = world.exchange.prices.bar("AAPL", MONDAY, 60)
    assert (bar.open, bar.high, bar.close) == (Decimal(190), Decimal(300), Decimal(191))
