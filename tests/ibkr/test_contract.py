"""The broker contract suite on the adapter for Interactive Brokers.

What is left out speaks of the simulated venue's own world, and what takes its place here is below.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import test_broker

from fakes.gateways import Worlds
from fakes.venues import Board, intent, value
from openbell.brokers.base import NotSentError
from openbell.domain.answers import ConfirmedEmpty
from openbell.domain.orders import Intent, IntentState, OrderTerms, OrderType, Side
from openbell.gateway.accounts import commission

ELSEWHERE = {
    # Spread, slippage and commission are settings of the venue.
    "test_a_round_trip_leaves_no_position_and_costs_spread_slippage_and_commission",
    "test_a_limit_order_waits_for_its_price_and_never_pays_more",
    "test_the_same_seed_fills_the_same_orders_alike",
    # The venue has a cash account and its own words; a gateway a margin account.
    "test_an_order_is_acknowledged_then_filled_and_every_answer_agrees",
    "test_working_orders_tie_buying_power",
    "test_a_wrong_order_is_rejected_with_its_reason",
    "test_terms_that_cannot_be_leave_the_order_as_it_was",
    # Executions are told to the second.
    "test_a_fill_is_later_than_the_order_and_at_a_price_that_came_after_it",
    # Without its number nothing can be asked of an order, so that is what is said.
    "test_a_change_of_an_order_that_nobody_knows_is_not_answered",
    # For venues that are moved by hand.
    "test_a_price_before_the_order_never_fills_it",
}
SHARED = {name: found for name, found in vars(test_broker).items() if name.startswith("test_")}
assert set(SHARED) >= ELSEWHERE
globals().update({name: found for name, found in SHARED.items() if name not in ELSEWHERE})


async def test_an_order_is_acknowledged_then_filled_and_the_answers_agree(world: Worlds, book: Path) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.send(intent("ob1.a.1", quantity=10))
        filled = await heard.state("ob1.a.1", IntentState.FILLED)
        assert [update.state for update in heard.updates("ob1.a.1")] == [IntentState.WORKING, IntentState.FILLED]
        assert (filled.filled_quantity, filled.average_price) == (10, 100)
        (fill,) = heard.fills("ob1.a.1")
        assert (fill.symbol, fill.side, str(fill.quantity), str(fill.price)) == ("AAPL", Side.BUY, "10", "100.0000")
        assert heard.events.index(fill) < heard.events.index(filled)
        assert value(await heard.broker.fills(test_broker.LONG_AGO)) == (fill,)
        assert value(await heard.broker.orders()) == (filled,)
        (position,) = value(await heard.broker.positions())
        assert (position.symbol, str(position.quantity), str(position.average_price)) == ("AAPL", "10", "100.0000")
        account = value(await heard.broker.account())
        assert (account.cash, account.equity, account.currency) == (99_000, 100_000, "USD")
        assert account.account_id == "DU1000001"


async def test_a_round_trip_costs_its_commissions(world: Worlds, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbell.gateway.exchange.commission", commission)
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.send(intent("ob1.a.1", Side.BUY, 400))
        await heard.state("ob1.a.1", IntentState.FILLED)
        heard.broker.send(intent("ob1.a.2", Side.SELL, 400))
        await heard.state("ob1.a.2", IntentState.FILLED)
        paid = [fill.commission for name in ("ob1.a.1", "ob1.a.2") for fill in heard.fills(name)]
        assert paid == [commission(Decimal(400), Decimal(100))] * 2
        assert all(cost > 0 for cost in paid)
        assert isinstance(await heard.broker.positions(), ConfirmedEmpty)
        assert value(await heard.broker.account()).cash == 100_000 - sum(paid)


async def test_a_limit_order_is_filled_at_its_price_or_better(world: Worlds, book: Path) -> None:
    board = Board(AAPL=100.0)
    async with world(book, board) as heard:
        heard.broker.send(intent("ob1.a.1", order_type=OrderType.LIMIT, limit_price=Decimal(95)))
        await heard.state("ob1.a.1", IntentState.WORKING)
        board.prices["AAPL"] = 94.98
        await heard.state("ob1.a.1", IntentState.FILLED)
        assert heard.fills("ob1.a.1")[0].price <= 95


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (intent("ob1.a.1", quantity=0), "quantity 0"),
        (intent("ob1.a.1", quantity=-5), "quantity -5"),
        (intent("ob1.a.1", symbol="NOPE"), "(IBKR 200)"),
        (intent("ob1.a.1", quantity=100_000), "(IBKR 201)"),
        (intent("ob1.a.1", order_type=OrderType.LIMIT), "a Limit order needs its price"),
        (intent("ob1.a.1", order_type=OrderType.STOP), "a Stop order needs its price"),
    ],
    ids=["none", "negative", "unknown", "too much", "no limit", "no stop"],
)
async def test_a_wrong_order_is_rejected_with_the_reason(world: Worlds, book: Path, wrong: Intent, why: str) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.send(wrong)
        update = await heard.state("ob1.a.1", IntentState.REJECTED)
        assert why in update.detail
        assert [told.state for told in heard.updates("ob1.a.1")] == [IntentState.REJECTED]
        assert value(await heard.broker.account()).cash == 100_000


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        (OrderTerms(Decimal(0), stop_price=Decimal(98)), "the quantity cannot be 0"),
        (OrderTerms(Decimal(10), limit_price=Decimal(98)), "the prices do not fit a Stop order"),
        (OrderTerms(Decimal(10), stop_price=Decimal(0)), "the prices do not fit a Stop order"),
    ],
)
async def test_terms_that_cannot_be_leave_the_order_alone(
    world: Worlds, book: Path, terms: OrderTerms, why: str
) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.send(test_broker.stop("ob1.a.s", 98))
        before = (await heard.state("ob1.a.s", IntentState.WORKING)).terms
        heard.broker.modify("ob1.a.s", terms)
        await heard.until(lambda: len(heard.updates("ob1.a.s")) == 2)
        after = heard.updates("ob1.a.s")[-1]
        assert (after.state, after.terms) == (IntentState.WORKING, before)
        assert why in after.detail


async def test_terms_off_the_tick_are_named_as_they_were_asked_for(world: Worlds, book: Path) -> None:
    board = Board(AAPL=100.0)
    async with world(book, board) as heard:
        heard.broker.send(test_broker.stop("ob1.a.s", 98.0049))
        first = await heard.state("ob1.a.s", IntentState.WORKING)
        assert first.terms == OrderTerms(Decimal(10), stop_price=Decimal("98.0049"))
        asked = OrderTerms(Decimal(10), stop_price=Decimal("98.5049"))
        heard.broker.modify("ob1.a.s", asked)
        await heard.until(lambda: heard.updates("ob1.a.s")[-1].terms == asked)


async def test_nothing_can_be_asked_of_an_order_that_nobody_knows(world: Worlds, book: Path) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        with pytest.raises(NotSentError, match="is not known to this connection"):
            heard.broker.modify("ob1.a.9", OrderTerms(Decimal(1)))
        heard.broker.send(intent("ob1.a.1"))
        await heard.state("ob1.a.1", IntentState.FILLED)
        assert heard.updates("ob1.a.9") == []


async def test_a_fill_is_told_to_the_second(world: Worlds, book: Path) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.send(intent("ob1.a.1"))
        await heard.state("ob1.a.1", IntentState.FILLED)
        (fill,) = heard.fills("ob1.a.1")
        assert fill.time.microsecond == 0
        assert value(await heard.broker.fills(fill.time)) == (fill,)
        assert isinstance(await heard.broker.fills(fill.time + timedelta(seconds=1)), ConfirmedEmpty)
