"""What every broker adapter must do, run on each of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fakes.venues import Board, World, in_process, intent, remote, value, with_terms
from openbell.brokers.base import NotSentError
from openbell.domain.answers import ConfirmedEmpty
from openbell.domain.bars import Quote
from openbell.domain.orders import Intent, IntentState, OrderTerms, OrderType, Side, TimeInForce

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(params=[in_process, remote], ids=["in-process", "remote"])
def world(request: pytest.FixtureRequest) -> World:
    opened: World = request.param
    return opened


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "book.db"


async def test_an_order_is_acknowledged_then_filled_and_every_answer_agrees(world: World, book: Path) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.send(intent("ob1.a.1", quantity=10))
        filled = await heard.state("ob1.a.1", IntentState.FILLED)
        assert [update.state for update in heard.updates("ob1.a.1")] == [IntentState.WORKING, IntentState.FILLED]
        assert filled.filled_quantity == 10
        assert filled.average_price == 100
        (fill,) = heard.fills("ob1.a.1")
        assert (fill.symbol, fill.side, str(fill.quantity), str(fill.price)) == ("AAPL", Side.BUY, "10", "100.0000")
        assert heard.events.index(fill) < heard.events.index(filled)
        assert value(await heard.broker.fills(LONG_AGO)) == (fill,)
        assert value(await heard.broker.orders()) == (filled,)
        (position,) = value(await heard.broker.positions())
        assert (position.symbol, str(position.quantity), str(position.average_price)) == ("AAPL", "10", "100.0000")
        account = value(await heard.broker.account())
        assert account.cash == account.buying_power == 99_000
        assert account.equity == 100_000


async def test_nothing_is_a_confirmed_nothing(world: World, book: Path) -> None:
    async with world(book, Board()) as heard:
        assert isinstance(await heard.broker.positions(), ConfirmedEmpty)
        assert isinstance(await heard.broker.orders(), ConfirmedEmpty)
        assert isinstance(await heard.broker.fills(LONG_AGO), ConfirmedEmpty)
        assert value(await heard.broker.account()).cash == 100_000


async def test_equity_follows_the_price(world: World, book: Path) -> None:
    board = Board(AAPL=100.0)
    async with world(book, board) as heard:
        heard.broker.send(intent("ob1.a.1", quantity=100))
        await heard.state("ob1.a.1", IntentState.FILLED)
        board.prices["AAPL"] = 103.5
        account = value(await heard.broker.account())
        assert account.cash == 90_000
        assert account.equity == 100_350


async def test_a_round_trip_leaves_no_position_and_costs_spread_slippage_and_commission(
    world: World, book: Path
) -> None:
    terms = with_terms(spread_bps=4.0, slippage_bps=1.0, commission_per_share=Decimal("0.005"),
                       minimum_commission=Decimal("1.00"))  # fmt: skip
    async with world(book, Board(AAPL=100.0), terms) as heard:
        heard.broker.send(intent("ob1.a.1", Side.BUY, 400))
        await heard.state("ob1.a.1", IntentState.FILLED)
        heard.broker.send(intent("ob1.a.2", Side.SELL, 400))
        await heard.state("ob1.a.2", IntentState.FILLED)
        bought, sold = heard.fills("ob1.a.1")[0], heard.fills("ob1.a.2")[0]
        # Half the spread is 0.02; slippage is 0.01 on average, so each fill's lies between none and 0.02.
        assert Decimal("100.02") <= bought.price < Decimal("100.0401")
        assert Decimal("99.9599") < sold.price <= Decimal("99.98")
        assert bought.commission == sold.commission == Decimal("2.00")
        assert isinstance(await heard.broker.positions(), ConfirmedEmpty)
        cost = 400 * (bought.price - sold.price) + 4
        assert value(await heard.broker.account()).cash == Decimal(100_000) - cost


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (intent("ob1.a.1", quantity=0), "quantity 0"),
        (intent("ob1.a.1", quantity=-5), "quantity -5"),
        (intent("ob1.a.1", symbol="NOPE"), "symbol NOPE is not traded"),
        (intent("ob1.a.1", quantity=1001), "insufficient buying power: 100100 needed, 100000 free"),
        (intent("ob1.a.1", Side.SELL, 1001), "insufficient buying power"),
        (intent("ob1.a.1", order_type=OrderType.LIMIT), "a Limit order needs its price"),
        (intent("ob1.a.1", order_type=OrderType.STOP), "a Stop order needs its price"),
    ],
    ids=lambda case: "" if isinstance(case, str) else "case",
)
async def test_a_wrong_order_is_rejected_with_its_reason(world: World, book: Path, wrong: object, why: str) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.send(wrong)  # type: ignore[arg-type]
        update = await heard.state("ob1.a.1", IntentState.REJECTED)
        assert why in update.detail
        assert len(heard.updates("ob1.a.1")) == 1
        assert value(await heard.broker.account()).cash == 100_000


async def test_working_orders_tie_buying_power(world: World, book: Path) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        limit = {"order_type": OrderType.LIMIT, "limit_price": Decimal(90)}
        heard.broker.send(intent("ob1.a.1", quantity=1000, **limit))  # type: ignore[arg-type]
        await heard.state("ob1.a.1", IntentState.WORKING)
        assert value(await heard.broker.account()).buying_power == 10_000
        heard.broker.send(intent("ob1.a.2", quantity=101))
        await heard.state("ob1.a.2", IntentState.REJECTED)


async def test_an_order_to_leave_a_position_needs_no_buying_power(world: World, book: Path) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.send(intent("ob1.a.1", quantity=1000))
        await heard.state("ob1.a.1", IntentState.FILLED)
        heard.broker.send(intent("ob1.a.2", Side.SELL, 1000))
        await heard.state("ob1.a.2", IntentState.FILLED)


async def test_a_limit_order_waits_for_its_price_and_never_pays_more(world: World, book: Path) -> None:
    board = Board(AAPL=100.0)
    async with world(book, board, with_terms(spread_bps=4.0, slippage_bps=5.0)) as heard:
        heard.broker.send(intent("ob1.a.1", order_type=OrderType.LIMIT, limit_price=Decimal(95)))
        await heard.state("ob1.a.1", IntentState.WORKING)
        board.prices["AAPL"] = 94.98  # asked at 94.999, slipped by up to 0.095
        await heard.state("ob1.a.1", IntentState.FILLED)
        assert Decimal("94.998") < heard.fills("ob1.a.1")[0].price <= 95


async def test_a_stop_order_triggers_and_fills_at_a_later_price(world: World, book: Path) -> None:
    board = Board(AAPL=100.0)
    async with world(book, board) as heard:
        heard.broker.send(intent("ob1.a.1"))
        await heard.state("ob1.a.1", IntentState.FILLED)
        heard.broker.send(intent("ob1.a.2", Side.SELL, order_type=OrderType.STOP, stop_price=Decimal(98)))
        await heard.state("ob1.a.2", IntentState.WORKING)
        board.prices["AAPL"] = 97.0
        await heard.state("ob1.a.2", IntentState.FILLED)
        assert heard.fills("ob1.a.2")[0].price == 97


async def test_an_immediate_order_that_finds_no_price_is_cancelled(world: World, book: Path) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.send(
            intent("ob1.a.1", order_type=OrderType.LIMIT, limit_price=Decimal(90), time_in_force=TimeInForce.IOC)
        )
        update = await heard.state("ob1.a.1", IntentState.CANCELLED)
        assert update.filled_quantity == 0


async def test_a_cancel_that_comes_first_is_confirmed(world: World, book: Path) -> None:
    board = Board()
    async with world(book, board) as heard:
        heard.broker.send(intent("ob1.a.1"))
        await heard.state("ob1.a.1", IntentState.WORKING)
        heard.broker.cancel("ob1.a.1")
        await heard.state("ob1.a.1", IntentState.CANCELLED)
        board.prices["AAPL"] = 100.0
        heard.broker.send(intent("ob1.a.2"))
        await heard.state("ob1.a.2", IntentState.FILLED)
        assert heard.fills("ob1.a.1") == []


async def test_a_cancel_that_comes_too_late_hears_that_the_order_is_filled(world: World, book: Path) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.send(intent("ob1.a.1"))
        filled = await heard.state("ob1.a.1", IntentState.FILLED)
        told = len(heard.updates("ob1.a.1"))
        heard.broker.cancel("ob1.a.1")
        await heard.until(lambda: len(heard.updates("ob1.a.1")) > told)
        assert heard.updates("ob1.a.1")[-1] == filled


async def test_partial_fills_add_up_and_each_has_an_identity(world: World, book: Path) -> None:
    async with world(book, Board(AAPL=100.0), with_terms(partial_fills=True)) as heard:
        heard.broker.send(intent("ob1.a.1", quantity=97))
        filled = await heard.state("ob1.a.1", IntentState.FILLED)
        fills = heard.fills("ob1.a.1")
        assert len(fills) > 1
        assert sum(fill.quantity for fill in fills) == filled.filled_quantity == 97
        assert len({fill.execution_id for fill in fills}) == len(fills)
        cumulative = [update.filled_quantity for update in heard.updates("ob1.a.1")]
        assert cumulative == sorted(cumulative)


async def test_a_cancel_after_a_partial_fill_keeps_what_was_filled(world: World, book: Path) -> None:
    board = Board(AAPL=100.0)
    async with world(book, board, with_terms(partial_fills=True)) as heard:
        heard.broker.send(intent("ob1.a.1", quantity=900))
        await heard.until(lambda: bool(heard.fills("ob1.a.1")))
        heard.broker.cancel("ob1.a.1")
        await heard.until(lambda: heard.updates("ob1.a.1")[-1].state.is_final)
        last = heard.updates("ob1.a.1")[-1]
        assert last.filled_quantity == sum(fill.quantity for fill in heard.fills("ob1.a.1"))
        (position,) = value(await heard.broker.positions())
        assert position.quantity == last.filled_quantity


async def test_everything_outlives_the_process(world: World, book: Path) -> None:
    board = Board(AAPL=100.0)
    async with world(book, board) as heard:
        heard.broker.send(intent("ob1.a.1", quantity=10))
        await heard.state("ob1.a.1", IntentState.FILLED)
        heard.broker.send(intent("ob1.a.2", symbol="IBM", quantity=5))
        await heard.state("ob1.a.2", IntentState.WORKING)
        before = [await heard.broker.fills(LONG_AGO), await heard.broker.orders(), await heard.broker.positions()]
    async with world(book, board) as heard:
        after = [await heard.broker.fills(LONG_AGO), await heard.broker.orders(), await heard.broker.positions()]
        assert after == before
        board.prices["IBM"] = 50.0
        await heard.state("ob1.a.2", IntentState.FILLED)
        heard.broker.send(intent("ob1.a.3"))
        await heard.state("ob1.a.3", IntentState.FILLED)
        orders = value(await heard.broker.orders())
        assert len({order.broker_order_id for order in orders}) == 3
        assert value(await heard.broker.account()).cash == 100_000 - 1000 - 250 - 1000


async def test_fills_are_told_from_a_time_on(world: World, book: Path) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.send(intent("ob1.a.1"))
        await heard.state("ob1.a.1", IntentState.FILLED)
        (fill,) = heard.fills("ob1.a.1")
        assert value(await heard.broker.fills(fill.time)) == (fill,)
        assert isinstance(await heard.broker.fills(fill.time + timedelta(microseconds=1)), ConfirmedEmpty)


async def test_a_fill_is_later_than_the_order_and_at_a_price_that_came_after_it(world: World, book: Path) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        before = datetime.now(UTC)
        heard.broker.send(intent("ob1.a.1"))
        await heard.state("ob1.a.1", IntentState.FILLED)
        assert heard.fills("ob1.a.1")[0].time > before


async def test_every_arrival_becomes_an_order_also_one_that_was_sent_twice(world: World, book: Path) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.send(intent("ob1.a.1"))
        heard.broker.send(intent("ob1.a.1"))
        await heard.until(lambda: len(heard.fills("ob1.a.1")) == 2)
        (position,) = value(await heard.broker.positions())
        assert position.quantity == 20


async def test_the_same_seed_fills_the_same_orders_alike(world: World, tmp_path: Path) -> None:
    seen = []
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        settings = with_terms(partial_fills=True)
        settings = type(settings)(seed, settings.terms, settings.hours, settings.trades, settings.poll_seconds)
        async with world(tmp_path / name, Board(AAPL=100.0), settings) as heard:
            for number in range(4):
                heard.broker.send(intent(f"ob1.a.{number}", quantity=50 + number))
            await heard.state("ob1.a.3", IntentState.FILLED)
            await heard.until(lambda h=heard: sum(fill.quantity for n in range(4) for fill in h.fills(f"ob1.a.{n}"))
                              == 206)  # type: ignore[misc]  # fmt: skip
            seen.append([[(fill.quantity, fill.price) for fill in heard.fills(f"ob1.a.{n}")] for n in range(4)])
    assert seen[0] == seen[1] != seen[2]


async def test_nothing_can_be_handed_over_before_the_connection_is_up(world: World, book: Path) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        broker = heard.broker
        assert broker.is_connected
    assert not broker.is_connected
    with pytest.raises(NotSentError, match=r"order ob1\.a\.1 was not sent"):
        broker.send(intent("ob1.a.1"))
    with pytest.raises(NotSentError, match=r"cancel of ob1\.a\.1 was not sent"):
        broker.cancel("ob1.a.1")
    with pytest.raises(NotSentError, match=r"change of ob1\.a\.1 was not sent"):
        broker.modify("ob1.a.1", OrderTerms(Decimal(1)))


async def test_a_price_before_the_order_never_fills_it(book: Path) -> None:
    async with in_process(book, Board()) as heard:
        heard.broker.send(intent("ob1.a.1"))
        early = datetime.now(UTC) - timedelta(seconds=1)
        heard.simulated.on_quote(Quote("AAPL", early, 90.0, 90.0, 90.0))
        later = datetime.now(UTC) + timedelta(milliseconds=1)
        heard.simulated.on_quote(Quote("AAPL", later, 101.0, 101.0, 101.0))
        await heard.state("ob1.a.1", IntentState.FILLED)
        assert heard.fills("ob1.a.1")[0].price == 101


def stop(name: str, at: float, quantity: int = 10, group: str = "") -> Intent:
    price = Decimal(str(at))
    kind = OrderType.STOP
    return intent(
        name, Side.SELL, quantity, order_type=kind, stop_price=price, time_in_force=TimeInForce.GTC, oca_group=group
    )


def target(name: str, at: float, quantity: int = 10, group: str = "") -> Intent:
    price = Decimal(str(at))
    kind = OrderType.LIMIT
    return intent(
        name, Side.SELL, quantity, order_type=kind, limit_price=price, time_in_force=TimeInForce.GTC, oca_group=group
    )


async def test_of_an_oca_group_one_is_filled_and_the_others_are_cancelled(world: World, book: Path) -> None:
    board = Board(AAPL=100.0)
    async with world(book, board) as heard:
        heard.broker.send(intent("ob1.a.1", quantity=10))
        await heard.state("ob1.a.1", IntentState.FILLED)
        heard.broker.send(stop("ob1.a.s", 98, group="g"))
        heard.broker.send(target("ob1.a.t", 104, group="g"))
        heard.broker.send(stop("ob1.a.u", 90, 1, group="another"))
        await heard.state("ob1.a.u", IntentState.WORKING)
        board.prices["AAPL"] = 105.0
        await heard.state("ob1.a.t", IntentState.FILLED)
        await heard.state("ob1.a.s", IntentState.CANCELLED)
        board.prices["AAPL"] = 95.0
        assert heard.fills("ob1.a.s") == []
        assert heard.updates("ob1.a.u")[-1].state is IntentState.WORKING
        assert isinstance(await heard.broker.positions(), ConfirmedEmpty)


async def test_an_exit_that_joins_an_oca_group_ends_what_protected_the_lot(world: World, book: Path) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.send(intent("ob1.a.1", quantity=10))
        await heard.state("ob1.a.1", IntentState.FILLED)
        heard.broker.send(stop("ob1.a.s", 98, group="g"))
        heard.broker.send(target("ob1.a.t", 104, group="g"))
        heard.broker.send(intent("ob1.a.x", Side.SELL, 10, oca_group="g"))
        await heard.state("ob1.a.x", IntentState.FILLED)
        await heard.state("ob1.a.s", IntentState.CANCELLED)
        await heard.state("ob1.a.t", IntentState.CANCELLED)
        assert isinstance(await heard.broker.positions(), ConfirmedEmpty)


async def test_a_part_that_is_filled_wins_its_oca_group(world: World, book: Path) -> None:
    async with world(book, Board(AAPL=100.0), with_terms(partial_fills=True)) as heard:
        heard.broker.send(intent("ob1.a.1", quantity=100))
        await heard.state("ob1.a.1", IntentState.FILLED)
        heard.broker.send(stop("ob1.a.s", 98, 100, group="g"))
        heard.broker.send(intent("ob1.a.x", Side.SELL, 100, oca_group="g"))
        await heard.until(lambda: bool(heard.fills("ob1.a.x")))
        await heard.state("ob1.a.s", IntentState.CANCELLED)
        assert heard.fills("ob1.a.x")[0].quantity < 100
        await heard.state("ob1.a.x", IntentState.FILLED)


async def test_no_order_joins_an_oca_group_that_has_had_its_fill(world: World, book: Path) -> None:
    board = Board(AAPL=100.0)
    async with world(book, board) as heard:
        heard.broker.send(intent("ob1.a.1", quantity=10))
        await heard.state("ob1.a.1", IntentState.FILLED)
        heard.broker.send(stop("ob1.a.s", 98, group="g"))
        board.prices["AAPL"] = 97.0
        await heard.state("ob1.a.s", IntentState.FILLED)
        heard.broker.send(intent("ob1.a.x", Side.SELL, 10, oca_group="g"))  # decided before it was told of the fill
        refused = await heard.state("ob1.a.x", IntentState.REJECTED)
        assert "OCA group" in refused.detail
        assert isinstance(await heard.broker.positions(), ConfirmedEmpty)


async def test_a_group_keeps_its_fill_in_mind_when_the_broker_starts_anew(world: World, book: Path) -> None:
    board = Board(AAPL=100.0)
    async with world(book, board) as heard:
        heard.broker.send(intent("ob1.a.1", quantity=10))
        await heard.state("ob1.a.1", IntentState.FILLED)
        heard.broker.send(intent("ob1.a.x", Side.SELL, 10, oca_group="g"))
        await heard.state("ob1.a.x", IntentState.FILLED)
    async with world(book, board) as heard:
        heard.broker.send(stop("ob1.a.s", 98, group="g"))
        await heard.state("ob1.a.s", IntentState.REJECTED)


async def test_every_word_on_an_order_names_its_terms_and_its_group(world: World, book: Path) -> None:
    async with world(book, Board()) as heard:
        heard.broker.send(stop("ob1.a.s", 98, 7, group="g"))
        update = await heard.state("ob1.a.s", IntentState.WORKING)
        assert (update.terms, update.oca_group) == (OrderTerms(Decimal(7), None, Decimal(98)), "g")
        assert value(await heard.broker.orders()) == (update,)


async def test_new_terms_are_in_force_once_they_are_named(world: World, book: Path) -> None:
    board = Board(AAPL=100.0)
    async with world(book, board) as heard:
        heard.broker.send(intent("ob1.a.1", quantity=10))
        await heard.state("ob1.a.1", IntentState.FILLED)
        heard.broker.send(stop("ob1.a.s", 98))
        terms = OrderTerms(Decimal(4), stop_price=Decimal("99.5"))
        heard.broker.modify("ob1.a.s", terms)
        await heard.until(lambda: bool(heard.updates("ob1.a.s")) and heard.updates("ob1.a.s")[-1].terms == terms)
        heard.broker.modify("ob1.a.s", terms)  # once more changes nothing
        board.prices["AAPL"] = 99.0
        await heard.state("ob1.a.s", IntentState.FILLED)
        assert [fill.quantity for fill in heard.fills("ob1.a.s")] == [4]


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        (OrderTerms(Decimal(0), stop_price=Decimal(98)), "the quantity cannot be 0"),
        (OrderTerms(Decimal(10), limit_price=Decimal(98)), "the prices do not fit a Stop order"),
        (OrderTerms(Decimal(10), stop_price=Decimal(0)), "the prices do not fit a Stop order"),
        (OrderTerms(Decimal(5000), stop_price=Decimal(98)), "insufficient buying power"),
    ],
)
async def test_terms_that_cannot_be_leave_the_order_as_it_was(
    world: World, book: Path, terms: OrderTerms, why: str
) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.send(stop("ob1.a.s", 98))
        before = (await heard.state("ob1.a.s", IntentState.WORKING)).terms
        heard.broker.modify("ob1.a.s", terms)
        await heard.until(lambda: len(heard.updates("ob1.a.s")) == 2)
        after = heard.updates("ob1.a.s")[-1]
        assert (after.state, after.terms) == (IntentState.WORKING, before)
        assert why in after.detail


async def test_a_change_that_comes_after_the_fill_hears_that_it_came_too_late(world: World, book: Path) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.send(intent("ob1.a.1"))
        filled = await heard.state("ob1.a.1", IntentState.FILLED)
        told = len(heard.updates("ob1.a.1"))
        heard.broker.modify("ob1.a.1", OrderTerms(Decimal(20)))
        await heard.until(lambda: len(heard.updates("ob1.a.1")) > told)
        assert heard.updates("ob1.a.1")[-1] == filled


async def test_a_change_never_takes_back_what_was_filled(world: World, book: Path) -> None:
    async with world(book, Board(AAPL=100.0), with_terms(partial_fills=True)) as heard:
        heard.broker.send(intent("ob1.a.1", quantity=900))
        await heard.until(lambda: bool(heard.fills("ob1.a.1")))
        heard.broker.modify("ob1.a.1", OrderTerms(Decimal(1)))
        await heard.until(lambda: any(update.detail for update in heard.updates("ob1.a.1")))
        (refused,) = (update for update in heard.updates("ob1.a.1") if "are filled" in update.detail)
        assert refused.terms == OrderTerms(Decimal(900))


async def test_a_change_of_an_order_that_nobody_knows_is_not_answered(world: World, book: Path) -> None:
    async with world(book, Board(AAPL=100.0)) as heard:
        heard.broker.modify("ob1.a.9", OrderTerms(Decimal(1)))
        heard.broker.send(intent("ob1.a.1"))
        await heard.state("ob1.a.1", IntentState.FILLED)
        assert heard.updates("ob1.a.9") == []
