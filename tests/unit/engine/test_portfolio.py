"""Booking at average cost, checked by hand and against the plain sum of cash flows."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fakes.values import at, make_fill, make_intent, make_position
from openbell.domain.orders import Fill, Intent, IntentKind, Side
from openbell.domain.positions import ExitPolicy, Position
from openbell.engine.portfolio import book, held, split

ENTRY = make_intent("a")
EXIT = make_intent("e", kind=IntentKind.EXIT, side=Side.SELL, position_id="p-a", reason="STOP_LOSS")
POLICY = ExitPolicy(stop_loss=0.1)


def bought(quantity: int, price: object, **changes: object) -> Fill:
    return make_fill(quantity=Decimal(quantity), price=Decimal(str(price)), **changes)


def sold(quantity: int, price: object, **changes: object) -> Fill:
    return bought(quantity, price, side=Side.SELL, **changes)


def booked(position: Position | None, intent: Intent, fill: Fill) -> Position:
    return book(position, intent, fill, POLICY).position


def test_the_first_fill_opens_with_the_entrys_policy_and_its_time() -> None:
    position = booked(None, ENTRY, bought(4, 100, time=at(3)))
    assert (position.quantity, position.average_price, position.best_price) == (4, 100, 100)
    assert (position.policy, position.opened_at, position.fees) == (POLICY, at(3), Decimal(1))


def test_further_fills_move_the_average() -> None:
    position = booked(booked(None, ENTRY, bought(4, 100)), ENTRY, bought(6, 110))
    assert (position.quantity, position.average_price) == (10, 106)


def test_a_part_of_an_exit_realises_and_closes_nothing_yet() -> None:
    after = book(make_position(opened_quantity=Decimal(10), opened_notional=Decimal(1000)), EXIT, sold(4, 105), POLICY)
    assert after.closed is None
    assert (after.position.quantity, after.position.realized_pnl) == (6, 20)


def test_the_last_part_closes_the_round_trip_at_its_average_exit() -> None:
    position = booked(None, ENTRY, bought(10, 100))
    position = booked(position, EXIT, sold(4, 105))
    closed = book(position, EXIT, sold(6, 110, time=at(60)), POLICY).closed
    assert closed is not None
    assert (closed.quantity, closed.entry_price, closed.exit_price) == (10, 100, 108)
    assert (closed.pnl, closed.fees, closed.exit_reason, closed.exit_time) == (77, 3, "STOP_LOSS", at(60))


def test_a_short_round_trip_earns_when_the_price_falls() -> None:
    short = make_intent("a", side=Side.SELL)
    cover = replace(EXIT, side=Side.BUY)
    position = booked(None, short, sold(10, 100))
    assert (position.quantity, position.average_price) == (-10, 100)
    closed = book(position, cover, bought(10, 95), POLICY).closed
    assert closed is not None
    assert (closed.quantity, closed.pnl) == (-10, 48)


def test_an_exit_that_fills_beyond_the_lot_shows_the_shares_at_their_own_price() -> None:
    position = booked(None, ENTRY, bought(10, 100))
    beyond = book(position, EXIT, sold(12, 110), POLICY)
    assert beyond.closed is None
    assert (beyond.position.quantity, beyond.position.average_price) == (-2, 110)
    assert beyond.position.realized_pnl == 100


def test_an_exit_that_fills_after_its_lot_was_left_earns_nothing_by_itself() -> None:
    flat = make_position(quantity=Decimal(0), realized_pnl=Decimal(50))
    position = booked(flat, EXIT, sold(10, 90))
    assert (position.quantity, position.average_price, position.realized_pnl) == (-10, 90, 50)


def test_an_entry_that_fills_on_after_its_lot_was_left_begins_anew() -> None:
    flat = make_position(quantity=Decimal(0), realized_pnl=Decimal(50), exit_sequence=3, best_price=Decimal(200))
    position = booked(flat, ENTRY, bought(5, 90, time=at(9)))
    assert (position.quantity, position.average_price, position.best_price) == (5, 90, 90)
    assert (position.realized_pnl, position.exit_sequence, position.opened_at) == (0, 3, at(9))


def test_a_split_leaves_the_value_as_it_was() -> None:
    position = make_position(best_price=Decimal(120), opened_quantity=Decimal(10), opened_notional=Decimal(1000))
    after = split(position, Decimal(2))
    assert (after.quantity, after.average_price, after.best_price) == (20, 50, 60)
    closed = book(after, EXIT, sold(20, 55), POLICY).closed
    assert closed is not None
    assert (closed.quantity, closed.entry_price, closed.exit_price, closed.pnl) == (20, 50, 55, 99)


def test_what_the_broker_ought_to_hold_is_the_sum_over_strategies() -> None:
    lots = (
        make_position("a"),
        make_position("b", strategy="other", quantity=Decimal(5)),
        make_position("c", symbol="MSFT", quantity=Decimal(-3)),
        make_position("d", symbol="IBM", quantity=Decimal(2)),
        make_position("e", symbol="IBM", quantity=Decimal(-2)),
        make_position("f", symbol="ORCL", quantity=Decimal(0)),
    )
    assert held(lots) == {"AAPL": 15, "MSFT": -3}


prices = st.decimals(min_value=1, max_value=1000, places=2)
parts = st.lists(st.tuples(st.integers(1, 50), prices), min_size=1, max_size=5)


@given(
    entries=parts, cuts=st.lists(st.tuples(st.floats(0.01, 1.0), prices), min_size=1, max_size=5), is_long=st.booleans()
)
def test_profit_is_the_cash_that_came_back_less_the_cash_that_went_out(
    entries: list[tuple[int, Decimal]], cuts: list[tuple[float, Decimal]], is_long: bool
) -> None:
    side = Side.BUY if is_long else Side.SELL
    entry, leave = replace(ENTRY, side=side), replace(EXIT, side=side.opposite)
    position: Position | None = None
    cash = Decimal(0)
    for quantity, price in entries:
        fill = make_fill(side=side, quantity=Decimal(quantity), price=price)
        position = booked(position, entry, fill)
        cash -= side.sign * quantity * price + fill.commission
    assert position is not None
    assert abs(position.quantity) == sum(quantity for quantity, _ in entries)
    closed = None
    for share, price in [*cuts, (1.0, Decimal(100))]:
        left = abs(position.quantity)
        quantity = max(Decimal(1), Decimal(int(float(left) * share))) if share < 1 else left
        fill = make_fill(side=side.opposite, quantity=min(quantity, left), price=price)
        after = book(position, leave, fill, POLICY)
        position, closed = after.position, after.closed
        cash += side.sign * fill.quantity * price - fill.commission
        if closed is not None:
            break
    assert closed is not None
    assert abs(closed.pnl - cash) <= Decimal("0.01")
    assert position.quantity == 0


fills_of_a_trade = st.lists(
    st.tuples(st.sampled_from(list(IntentKind)), st.sampled_from(list(Side)), st.integers(1, 50), prices),
    min_size=1,
    max_size=12,
)


@given(fills=fills_of_a_trade, at_price=prices)
def test_whatever_fills_come_the_value_is_the_cash_and_the_shares(
    fills: list[tuple[IntentKind, Side, int, Decimal]], at_price: Decimal
) -> None:
    position: Position | None = None
    cash = Decimal(0)
    for kind, side, quantity, price in fills:
        fill = make_fill(side=side, quantity=Decimal(quantity), price=price)
        if position is not None and not position.is_open and kind is IntentKind.ENTRY:
            return  # a new round trip, which counts from nothing
        position = booked(position, replace(ENTRY, kind=kind, side=side), fill)
        cash -= side.sign * quantity * price + fill.commission
        value = position.realized_pnl - position.fees + position.unrealized_pnl(at_price)
        assert abs(value - (cash + position.quantity * at_price)) < Decimal("0.000001")
