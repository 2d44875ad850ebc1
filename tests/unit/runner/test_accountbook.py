"""The account's own rules: settled money and day trades follow the fills, and unknown is not enough."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from fakes.trading import World, scheduler_manifest, strategy_manifest
from fakes.values import make_fill, make_intent, make_update
from openbell.domain.account import Account
from openbell.domain.answers import Value
from openbell.domain.bars import Bar, BarSeries
from openbell.domain.errors import JournalError
from openbell.domain.identity import exit_ref, owner_tag
from openbell.domain.limits import Regime
from openbell.domain.orders import Fill, IntentKind, IntentState, OrderUpdate, Side
from openbell.domain.reasons import Reason
from openbell.market.calendar import calendar_for
from openbell.risk.settlement import ViolationKind
from openbell.runner.accountbook import Dates
from openbell.runner.documents import scheduler_document
from openbell.runner.limits import limits_of

NOON = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)  # a Monday, New York trades
CASH: dict[str, Any] = {"settlement": {"account": "Cash"}}
XNYS: dict[str, Any] = {"market": {"calendar": "XNYS"}}
OWNER_OF_U = owner_tag("u")


def account(cash: str, **changes: Any) -> Account:
    return replace(Account("T", "USD", Decimal(100_000), Decimal(cash), Decimal(100_000)), **changes)


def begin(world: World, cash: str = "10000", *, compared: bool = True, **risk: Any) -> None:
    """A running scheduler in New York at noon, whose broker has told of everything."""
    world.comparison.is_certain = compared
    world.clock.set(NOON)
    world.situation.calendar = calendar_for("XNYS")
    world.broker.account_answer = Value(account(cash))
    world.take(scheduler_manifest(risk=risk, **XNYS), strategy_manifest())


async def refresh(world: World, cash: str | None = None, **changes: Any) -> None:
    """Two readings of the account, as a book needs to trust that nothing is under way."""
    if cash is not None:
        world.broker.account_answer = Value(account(cash, **changes))
    for _ in range(2):
        await world.evaluation.refresh_account(world.clock.now())


async def trade(world: World, name: str, side: Side, price: str, kind: IntentKind = IntentKind.ENTRY) -> None:
    """Ten AAPL at a price; an exit leaves the position of the entry called `a`."""
    now = world.clock.now()
    position = "p-a" if kind is IntentKind.EXIT else f"p-{name}"
    await world.desk.place([make_intent(name, kind=kind, side=side, position_id=position, reason="STOP_LOSS")])
    await world.desk.on_update(make_update(IntentState.WORKING, name))
    await world.desk.on_fill(make_fill(f"x-{name}", name, side=side, price=Decimal(price), time=now))


async def decided(world: World) -> tuple[Reason, str]:
    """What becomes of an opinion to buy AAPL."""
    now = world.clock.now()
    bars = [
        Bar("AAPL", now - timedelta(minutes=back + 1), now - timedelta(minutes=back), close, close, close, close, 9.0)
        for back, close in ((2, 100.0), (1, 101.0), (0, 103.0))
    ]
    world.market.series["AAPL", 60] = BarSeries.from_bars("AAPL", 60, bars)
    control = world.situation.control
    assert control is not None
    await world.evaluation.run(list(control.entries.values()), now)
    return world.signals[-1].reason, world.signals[-1].detail


# settled money


async def test_before_the_book_is_read_a_cash_account_has_nothing_settled(world: World) -> None:
    begin(world, **CASH)
    world.journal.is_failing = True
    view = world.account_book.state.settlement_view(NOON, ())
    assert view is not None
    assert (view.free, view.free_with_unsettled) == (0, 0)
    assert world.account_book.summary(NOON) == "not known yet, so that nothing is bought"


async def test_a_margin_account_is_not_asked_for_settled_money(world: World) -> None:
    begin(world)
    await refresh(world)
    assert world.account_book.state.settlement_view(NOON, ()) is None
    assert "settlement" not in scheduler_document(world.situation, pod="", owner_tag="")


async def test_proceeds_wait_for_their_settlement_and_entries_say_so(world: World) -> None:
    begin(world, "10000", **CASH)
    await refresh(world)
    await trade(world, "a", Side.BUY, "990")
    await trade(world, "b", Side.SELL, "990", IntentKind.EXIT)
    await refresh(world, "9998")
    assert world.account_book.summary(NOON) == (
        "settled 99.00, unsettled 9899.00, 0 good-faith and 0 free-riding violations in 12 months"
    )
    document = scheduler_document(world.situation, pod="", owner_tag="")
    assert document["settlement"] == world.account_book.summary(NOON)
    reason, detail = await decided(world)
    assert reason is Reason.SETTLED_CASH
    assert detail.endswith("99.00 settled is free; not before 2026-03-04 00:00:00 UTC")
    world.clock.set(NOON + timedelta(days=2))
    await refresh(world)
    assert (await decided(world))[0] is Reason.ORDERED


async def test_a_sale_before_its_purchase_was_paid_is_done_and_counted(world: World) -> None:
    begin(world, "10000", settlement={"account": "Cash", "allowUnsettledFunding": True})
    await refresh(world)
    await trade(world, "a", Side.BUY, "990")
    await trade(world, "b", Side.SELL, "990", IntentKind.EXIT)
    await trade(world, "c", Side.BUY, "900")
    await trade(world, "d", Side.SELL, "900", IntentKind.EXIT)
    assert world.ledger.settlement is not None
    assert [each.kind for each in world.ledger.settlement.violations] == [ViolationKind.GOOD_FAITH]
    assert "1 good-faith" in world.account_book.summary(NOON)


async def test_a_restart_makes_the_same_ledger_of_the_journal(world: World) -> None:
    begin(world, "10000", **CASH)
    await refresh(world)
    await trade(world, "a", Side.BUY, "500")
    await trade(world, "b", Side.SELL, "510", IntentKind.EXIT)
    await refresh(world, "10098")
    before = world.ledger.settlement
    world.account_book.adopt(limits_of(world.situation.control), Dates("XNYS", world.situation.calendar))  # type: ignore[arg-type]
    world.ledger.settlement = None
    world.account_book.state.is_read = False
    await refresh(world)
    assert world.ledger.settlement == before


async def test_a_deposit_is_money_and_a_fill_that_was_not_booked_yet_is_none(world: World) -> None:
    begin(world, "10000", **CASH)
    await refresh(world)
    await world.desk.place([make_intent("a", quantity=Decimal(1))])  # under way: the cash may move by it
    await refresh(world, "15000")
    assert world.ledger.settlement is not None
    assert world.ledger.settlement.settled == 10_000
    await world.desk.on_update(make_update(IntentState.CANCELLED, "a"))
    await refresh(world, "15000.004")
    assert world.ledger.settlement.cash == Decimal("15000.004")
    await refresh(world, "15000")  # rounding is no withdrawal
    assert world.ledger.settlement.cash == Decimal("15000.004")
    await refresh(world, "14000")
    assert world.ledger.settlement.settled == Decimal("8999.996")


async def test_what_came_without_a_fill_may_be_a_sale_by_hand_and_settles_as_one(world: World) -> None:
    begin(world, "10000", **CASH)
    await refresh(world)
    await refresh(world, "15000")
    assert world.account_book.summary(NOON).startswith("settled 10000.00, unsettled 5000.00")
    assert settled(world, NOON + timedelta(days=1)) == 10_000  # its settlement date
    assert settled(world, NOON + timedelta(days=2)) == 15_000


async def test_what_came_without_a_fill_is_not_settled_after_a_restart_either(world: World, folder: Path) -> None:
    begin(world, "10000", **CASH)
    await refresh(world)
    await refresh(world, "15000")
    world.close()
    reborn = await World(folder / "journal", epoch=2).begin()
    begin(reborn, "15700", **CASH)  # somebody has sold again meanwhile
    await refresh(reborn)
    assert reborn.account_book.summary(NOON).startswith("settled 10000.00, unsettled 5700.00")
    reborn.close()


async def test_a_cash_movement_that_cannot_be_written_is_found_again_by_the_next_process(
    world: World, folder: Path
) -> None:
    begin(world, "10000", **CASH)
    await refresh(world)
    world.journal.is_failing = True
    await refresh(world, "15000")
    assert world.account_book.summary(NOON).startswith("settled 10000.00, unsettled 5000.00")
    world.close()
    reborn = await World(folder / "journal", epoch=2).begin()
    begin(reborn, "15000", **CASH)
    await refresh(reborn)
    assert reborn.account_book.summary(NOON).startswith("settled 10000.00, unsettled 5000.00")
    reborn.close()


async def test_an_opening_that_cannot_be_written_leaves_the_book_unread(world: World) -> None:
    begin(world, "10000", **CASH)
    await refresh(world)
    world.account_book.state.is_read, world.ledger.settlement = False, None
    await world.journal._run("", lambda connection: connection.exec_driver_sql("DELETE FROM cash_movements"))

    def fail() -> None:
        raise JournalError("the disk is full")

    world.journal.before["writing a cash movement"] = fail
    await refresh(world)
    assert world.ledger.settlement is None
    world.journal.before.clear()
    await refresh(world)
    assert world.ledger.settlement is not None


async def sold_while_the_disk_was_full(
    world: World, folder: Path, *, is_order_written: bool = False
) -> tuple[World, Fill]:
    """Bought for 9900 and sold again, of which the sale's fill is not written; the next process has not compared."""
    begin(world, "10000", **CASH)
    await refresh(world)
    await trade(world, "a", Side.BUY, "990")
    world.journal.is_failing = not is_order_written
    leaving = replace(
        make_intent(kind=IntentKind.EXIT, side=Side.SELL, position_id="p-a", reason="STOP_LOSS"),
        order_ref=exit_ref(OWNER_OF_U, "p-a", 1),
    )
    await world.desk.place([leaving])
    assert world.broker.refs[-1] == leaving.order_ref
    world.journal.is_failing = True
    sale = replace(make_fill("x-b", side=Side.SELL, price=Decimal(990), time=NOON), order_ref=leaving.order_ref)
    await world.desk.on_fill(sale)
    world.close()
    reborn = World(folder / "journal", epoch=2)
    await reborn.journal.begin_epoch(2)
    for position in (await reborn.journal.load()).positions:
        reborn.ledger.put_position(position)
    reborn.desk.restore((await reborn.journal.load()).open_intents)
    begin(reborn, "9998", compared=False, **CASH)
    return reborn, sale


async def test_an_account_is_not_read_beside_fills_that_only_the_broker_has(world: World, folder: Path) -> None:
    reborn, sale = await sold_while_the_disk_was_full(world, folder)
    await refresh(reborn)
    assert reborn.ledger.settlement is None  # its cash has the sale, the journal has not
    reborn.broker.says(
        OrderUpdate(sale.order_ref, IntentState.FILLED, "b2", filled_quantity=sale.quantity), fills=[sale]
    )
    for _ in range(2):
        await reborn.comparison.compare()
    assert not reborn.ledger.positions
    await reborn.evaluation.refresh_account(NOON)  # the first decision after the comparison
    assert settled(reborn, NOON) <= 99
    await refresh(reborn)
    assert reborn.account_book.summary(NOON).startswith("settled 99.00, unsettled 9899.00")
    reborn.close()


async def test_an_account_is_not_read_beside_fills_that_are_not_written_yet(world: World, folder: Path) -> None:
    reborn, sale = await sold_while_the_disk_was_full(world, folder, is_order_written=True)
    reborn.journal.before["writing a fill"] = reborn.journal.before["writing an order update"] = full = FullDisk()
    reborn.broker.says(
        OrderUpdate(sale.order_ref, IntentState.FILLED, "b2", filled_quantity=sale.quantity), fills=[sale]
    )
    await reborn.comparison.compare()
    assert reborn.comparison.is_certain
    assert not reborn.ledger.positions
    assert not reborn.desk.in_flight
    await refresh(reborn)
    assert settled(reborn, NOON) == 0
    full.is_full = False
    await reborn.desk.save_statistics()
    await refresh(reborn)
    assert reborn.account_book.summary(NOON).startswith("settled 99.00, unsettled 9899.00")
    reborn.close()


class FullDisk:
    """Fails what is written while it is full."""

    is_full = True

    def __call__(self) -> None:
        if self.is_full:
            raise JournalError("the disk is full")


def settled(world: World, now: datetime) -> Decimal:
    """What a purchase may take."""
    view = world.account_book.state.settlement_view(now, ())
    assert view is not None
    return view.free


async def test_the_brokers_figure_tightens_ours(world: World) -> None:
    begin(world, "10000", **CASH)
    await refresh(world, "10000", settled_cash=Decimal(40))
    view = world.account_book.state.settlement_view(NOON, ())
    assert view is not None
    assert view.free == 40


# day trading


async def test_the_simulated_broker_knows_no_rule_of_day_trading_under_auto(world: World) -> None:
    begin(world)
    control = world.situation.control
    assert control is not None
    assert limits_of(control).day_trading.regime is Regime.NONE
    assert world.account_book.state.day_trading_view(NOON, ()) is None


async def test_the_opening_that_could_be_the_fourth_day_trade_is_denied(world: World) -> None:
    begin(world, dayTrading={"regime": "LegacyPDT"})
    poor = Account("T", "USD", Decimal(20_000), Decimal(20_000), Decimal(20_000))
    world.broker.account_answer = Value(poor)
    await refresh(world)
    for number in range(3):
        world.clock.set(NOON + timedelta(minutes=number))
        name = "a" if number == 0 else f"a{number}"
        await trade(world, name, Side.BUY, "100")
        now = world.clock.now()
        exit_name = f"b{number}"
        leaving = make_intent(exit_name, kind=IntentKind.EXIT, side=Side.SELL, position_id=f"p-{name}", reason="SIGNAL")
        await world.desk.place([leaving])
        await world.desk.on_fill(make_fill(f"x-{exit_name}", exit_name, side=Side.SELL, time=now))
    view = world.account_book.state.day_trading_view(world.clock.now(), ())
    assert view is not None
    assert view.window.days == (
        date(2026, 2, 24),
        date(2026, 2, 25),
        date(2026, 2, 26),
        date(2026, 2, 27),
        date(2026, 3, 2),
    )
    assert (view.window.day_trades, view.window.trades, view.window.next_day) == ((0, 0, 0, 0, 3), 6, date(2026, 3, 3))
    reason, detail = await decided(world)
    assert reason is Reason.DAY_TRADE_LIMIT
    assert detail.startswith("it could become day trade 4 in 5 business days, and the equity 20000.00")


async def test_what_the_broker_does_not_say_of_margin_is_estimated_from_what_is_held(world: World) -> None:
    begin(world, dayTrading={"regime": "IntradayMargin"})
    await refresh(world)
    await trade(world, "a", Side.BUY, "100")
    world.ledger.account = account("99000")
    view = world.account_book.state.day_trading_view(NOON, ())
    assert view is not None
    assert view.margin.excess_liquidity == 100_000 - 10 * 100 * Decimal("0.25")
    assert view.opened == ("AAPL",)
    world.ledger.account = account("99000", excess_liquidity=Decimal(1), day_trades_remaining=-1)
    view = world.account_book.state.day_trading_view(NOON, ())
    assert view is not None
    assert (view.margin.excess_liquidity, view.margin.debit_free, view.day_trades_remaining) == (1, 99_000, -1)


async def test_a_deficit_that_is_left_restricts_after_five_business_days_also_after_a_restart(world: World) -> None:
    begin(world, dayTrading={"regime": "IntradayMargin"})
    monday = datetime(2026, 7, 6, 17, 0, tzinfo=UTC)
    world.clock.set(monday)
    await refresh(world)
    await refresh(world, "0", excess_liquidity=Decimal(-4000))  # a fall of prices: no transaction reduced anything
    await trade(world, "a", Side.BUY, "100")
    await refresh(world, "0", excess_liquidity=Decimal(-2000))
    await refresh(world, "0", excess_liquidity=Decimal(-9000))
    (deficit,) = await world.journal.deficits(date(2026, 1, 1))
    assert (deficit.day, deficit.amount, deficit.satisfied_on) == (date(2026, 7, 6), 2000, None)
    fifth, after = monday + timedelta(days=7), monday + timedelta(days=8)
    for moment, restricted in ((fifth, None), (after, date(2026, 10, 11))):
        view = world.account_book.state.day_trading_view(moment, ())
        assert view is not None
        assert view.margin.restricted_until == restricted
    world.account_book.state.is_read = False
    world.clock.set(after)
    await refresh(world, "0", excess_liquidity=Decimal(-9000))
    await trade(world, "b", Side.SELL, "100", IntentKind.EXIT)
    assert (await decided(world))[0] is Reason.INTRADAY_RESTRICTED
    await refresh(world, "0", excess_liquidity=Decimal(0))
    (deficit,) = await world.journal.deficits(date(2026, 1, 1))
    assert deficit.satisfied_on == date(2026, 7, 14)
    view = world.account_book.state.day_trading_view(after, ())
    assert view is not None
    assert view.margin.restricted_until is None
