"""FIFO lots by hand, and beside average cost for any history."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fakes.values import T0, at, make_fill, make_intent
from openbell.domain.orders import Fill, IntentKind, Side
from openbell.domain.positions import ExitPolicy, Position
from openbell.engine.lots import Gone, Lot, LotEvent, Lots, ShareSplit, after, lots_of
from openbell.engine.portfolio import book, split

D = Decimal
TINY = D("1e-15")  # a division may not come out even; 28 digits are kept


def fill(number: int, quantity: int, price: object) -> Fill:
    """The `number`-th fill, of so many shares bought (< 0: sold), with a fee of 1."""
    side = Side.BUY if quantity > 0 else Side.SELL
    return make_fill(f"x{number:03}", side=side, quantity=D(abs(quantity)), price=D(str(price)), time=at(number))


def test_what_was_bought_first_is_sold_first() -> None:
    lots = lots_of([fill(1, 10, 100), fill(2, 10, 110), fill(3, -15, 120)])
    assert lots.held == (Lot(D(5), D(110), at(2)),)
    assert (lots.realized_fifo, lots.realized) == (D(10 * 20 + 5 * 10), D(15 * 15))
    assert (lots.average_price, lots.fees, lots.shift) == (D(105), D(3), D(25))
    assert lots.unrealized_fifo(D(120)) == D(50)


def test_what_was_sold_short_first_is_covered_first() -> None:
    lots = lots_of([fill(1, -10, 100), fill(2, -10, 90), fill(3, 12, 80)])
    assert lots.held == (Lot(D(-8), D(90), at(2)),)
    assert (lots.realized_fifo, lots.realized) == (D(10 * 20 + 2 * 10), D(12 * 15))


def test_a_fill_beyond_what_is_held_opens_the_other_way_at_its_own_price() -> None:
    lots = lots_of([fill(1, 10, 100), fill(2, -12, 110)])
    assert lots.held == (Lot(D(-2), D(110), at(2)),)
    assert (lots.realized_fifo, lots.realized, lots.average_price) == (D(100), D(100), D(110))


def test_a_split_keeps_what_each_lot_cost_and_when_it_was_bought() -> None:
    lots = lots_of([fill(1, 10, 100), fill(2, 10, 110), ShareSplit(at(3), D(2)), fill(4, -20, 60)])
    assert lots.held == (Lot(D(20), D(55), at(2)),)
    assert (lots.realized_fifo, lots.realized) == (D(200), D(150))


def test_a_split_comes_before_the_fills_of_its_moment() -> None:
    first = [fill(1, 10, 100), ShareSplit(at(2), D(2)), fill(2, -20, 60)]
    assert lots_of(first) == lots_of(reversed(first))
    assert lots_of(first).realized_fifo == D(200)


def test_what_left_without_a_fill_makes_both_ways_of_counting_agree() -> None:
    lots = lots_of([fill(1, 10, 100), fill(2, 10, 110), fill(3, -10, 120), Gone(at(4), D(0))])
    assert (lots.held, lots.average_price) == ((), D(0))
    assert lots.realized_fifo == lots.realized == D(150)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.integers(-50, 50).filter(bool), st.decimals(1, 500, places=2)),
        st.sampled_from([D(2), D(3), D("0.5")]),
        st.just(None),
    ),
    max_size=25,
)


def made(history: list[object]) -> list[LotEvent]:
    events: list[LotEvent] = []
    for number, each in enumerate(history):
        if isinstance(each, tuple):
            events.append(fill(number, *each))
        else:
            events.append(Gone(at(number), D(7)) if each is None else ShareSplit(at(number), D(str(each))))
    return events


@given(EVENTS, st.decimals(1, 500, places=2), st.randoms(use_true_random=False))
def test_both_ways_tell_the_same_total_and_only_time_orders_events(
    history: list[object], price: Decimal, shuffler: random.Random
) -> None:
    events = made(history)
    lots = lots_of(events)
    at_average = (price - lots.average_price) * lots.quantity
    assert abs(lots.realized + at_average - lots.realized_fifo - lots.unrealized_fifo(price)) < TINY
    if not lots.held:
        assert abs(lots.shift) < TINY
    assert len({lot.quantity > 0 for lot in lots.held}) <= 1, "nothing is long and short at once"
    assert all(lot.quantity for lot in lots.held)
    assert [lot.opened_at for lot in lots.held] == sorted(lot.opened_at for lot in lots.held)
    mixed = list(events)
    shuffler.shuffle(mixed)
    assert lots_of(mixed) == lots


@given(EVENTS)
def test_without_a_gone_one_the_money_is_what_was_paid_and_received(history: list[object]) -> None:
    lots = Lots()
    cash = quantity = D(0)
    for event in made([each for each in history if each is not None]):
        lots = after(lots, event)
        if isinstance(event, Fill):
            quantity += event.quantity * event.side.sign
            cash -= event.quantity * event.side.sign * event.price + event.commission
        elif isinstance(event, ShareSplit):
            quantity *= event.ratio
        assert lots.quantity == quantity
        cost = sum((lot.quantity * lot.price for lot in lots.held), D(0))
        assert abs(cash - (lots.realized_fifo - cost - lots.fees)) < TINY


@given(
    st.lists(st.tuples(st.integers(1, 50), st.decimals(1, 500, places=2)), min_size=1, max_size=5),
    st.lists(st.tuples(st.floats(0.1, 0.9), st.decimals(1, 500, places=2)), max_size=5),
    st.sampled_from(Side),
    st.sampled_from([None, D(2), D(10)]),
)
def test_average_cost_here_is_what_the_portfolio_books(
    entries: list[tuple[int, Decimal]], exits: list[tuple[float, Decimal]], side: Side, ratio: Decimal | None
) -> None:
    entry = make_intent("a", side=side)
    leave = make_intent("e", kind=IntentKind.EXIT, side=side.opposite, position_id="p-a", reason="STOP_LOSS")
    position: Position | None = None
    lots = Lots()
    moment = T0
    for quantity, price in entries:
        moment += timedelta(seconds=1)
        bought = make_fill(side=side, quantity=D(quantity), price=price, time=moment)
        position, lots = book(position, entry, bought, ExitPolicy()).position, after(lots, bought)
    assert position is not None
    if ratio is not None:
        position, lots = split(position, ratio), after(lots, ShareSplit(moment, ratio))
    for share, price in [*exits, (1.0, D(100))]:
        moment += timedelta(seconds=1)
        left = abs(position.quantity)
        quantity = max(D(1), D(int(float(left) * share))) if share < 1 else left
        sold = make_fill(side=side.opposite, quantity=min(quantity, left), price=price, time=moment)
        position, lots = book(position, leave, sold, ExitPolicy()).position, after(lots, sold)
        assert (lots.quantity, lots.fees) == (position.quantity, position.fees)
        assert abs(lots.realized - position.realized_pnl) < TINY
        if not position.is_open:
            break
        assert abs(lots.average_price - position.average_price) < TINY
    assert abs(lots.realized_fifo - position.realized_pnl) < TINY
