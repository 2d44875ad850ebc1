"""What was traded lately, as the rules on pace ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from fakes.known import Memory
from fakes.values import T0, at, make_intent, make_trade
from openbell.domain.money import ZERO
from openbell.domain.orders import Intent, IntentKind, Side
from openbell.risk.recent import entries, last_exits, last_orders, strategy_order_times


@dataclass
class Order:
    """An order under way."""

    intent: Intent
    filled: Decimal = ZERO


def test_the_last_exit_of_each_symbol_counts_whatever_the_order_of_the_trades() -> None:
    trades = (
        make_trade("a", exit_time=at(-20)),
        make_trade("b", exit_time=at(-50)),  # a fill that was missed is booked later
        make_trade("c", exit_time=at(-40), symbol="MSFT"),
        make_trade("d", exit_time=at(-30), symbol="MSFT"),
    )
    assert last_exits(Memory(trades=trades), T0, 60) == {"AAPL": at(-20), "MSFT": at(-30)}


def test_an_exit_counts_for_less_than_so_many_seconds() -> None:
    trades = (make_trade("a", exit_time=at(-60)), make_trade("b", exit_time=at(-59), symbol="MSFT"))
    assert last_exits(Memory(trades=trades), T0, 60) == {"MSFT": at(-59)}


def test_no_exits_are_looked_for_where_no_cooldown_is_set() -> None:
    assert last_exits(Memory(trades=(make_trade(exit_time=at(1)),)), T0, 0) == {}


def test_the_last_order_of_each_symbol_and_side_counts_whatever_their_order() -> None:
    orders = (
        (make_intent("a"), at(-10)),
        (make_intent("b"), at(-20)),
        (make_intent("c", side=Side.SELL), at(-30)),
        (make_intent("d", side=Side.SELL), at(-5)),
        (make_intent("e", symbol="MSFT"), at(-40)),
        (make_intent("f", symbol="MSFT"), at(-60)),  # that long ago
    )
    assert last_orders(Memory(orders=orders), T0, 60) == {
        ("AAPL", Side.BUY): at(-10),
        ("AAPL", Side.SELL): at(-5),
        ("MSFT", Side.BUY): at(-40),
    }


def test_no_orders_are_looked_for_where_sides_need_no_time_between_them() -> None:
    assert last_orders(Memory(orders=((make_intent(), at(1)),)), T0, 0) == {}


def test_each_strategys_orders_of_the_last_minute_are_told_apart() -> None:
    orders = (
        (make_intent("a"), at(-60)),  # a minute ago
        (make_intent("b"), at(-59)),
        (make_intent("c", strategy="other"), at(-20)),
        (make_intent("d", kind=IntentKind.EXIT), at(0)),
    )
    assert strategy_order_times(Memory(orders=orders), T0) == {"trend": (at(-59), at(0)), "other": (at(-20),)}


def test_entries_under_way_come_with_what_may_still_be_filled() -> None:
    entry, partly, overfilled = make_intent("a"), make_intent("b"), make_intent("c")
    orders = [
        Order(entry),
        Order(make_intent("x", kind=IntentKind.EXIT)),
        Order(make_intent("y", kind=IntentKind.PROTECTIVE)),
        Order(partly, Decimal(4)),
        Order(overfilled, Decimal(11)),
    ]
    assert list(entries(orders)) == [(entry, 10), (partly, 6), (overfilled, 0)]
