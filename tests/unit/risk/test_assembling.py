"""The view of the rules, put together from what is known; locks that are made; the highest equity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

import pytest

from fakes.known import Memory, Weekdays
from fakes.values import T0, at, make_intent, make_position, make_trade
from openbell.domain.account import Account
from openbell.domain.limits import AccountKind, LockScope, Regime
from openbell.domain.money import ZERO
from openbell.domain.orders import Intent, IntentKind, Side
from openbell.domain.positions import ClosedTrade
from openbell.domain.reasons import Reason
from openbell.risk.account_state import AccountState
from openbell.risk.assembling import is_new_peak, review, view_of
from openbell.risk.day_trading import DayTradingLimits
from openbell.risk.locks import Lock
from openbell.risk.protections import Cooldown, DrawdownGuard, StopLossGuard
from openbell.risk.settled_cash import SettlementLimits
from openbell.risk.settlement import SettlementLedger
from openbell.risk.view import RiskLimits, RiskView, WorkingEntry

ACCOUNT = Account("T", "USD", Decimal(100_000), Decimal(40_000), Decimal(80_000))
LIMITS = RiskLimits()
EVERYTHING = RiskLimits(
    symbol_cooldown_seconds=60, opposite_order_seconds=60, max_round_trips_per_day=3, strategy_orders_per_minute=5
)


@dataclass
class Order:
    """An order under way."""

    intent: Intent
    filled: Decimal = ZERO


def test_where_nothing_is_known_there_is_nothing_to_spend_and_the_day_begins_now() -> None:
    assert view_of(Memory(), (), None, LIMITS, T0) == RiskView(
        now=T0, day_start=T0, equity=ZERO, day_start_equity=ZERO, realized_today=ZERO, buying_power=ZERO
    )


def test_account_day_and_book_are_shown_as_they_are_known() -> None:
    known = Memory(
        account=ACCOUNT,
        day_start=at(-3600),
        day_start_equity=Decimal(99_000),
        realized_today=Decimal(-120),
        peak_equity=Decimal(101_000),
        order_times=(at(-30), at(-10)),
        positions=(make_position("a"), make_position("b", symbol="MSFT")),
        prices={"AAPL": Decimal(105), "IBM": Decimal(7)},
    )
    assert view_of(known, (), None, LIMITS, T0) == RiskView(
        now=T0,
        day_start=at(-3600),
        equity=Decimal(100_000),
        day_start_equity=Decimal(99_000),
        realized_today=Decimal(-120),
        buying_power=Decimal(80_000),
        positions=known.positions,
        order_times=(at(-30), at(-10)),
        prices={"AAPL": Decimal(105)},  # of what is held and has one
        peak_equity=Decimal(101_000),
    )


def test_an_entry_under_way_counts_with_what_may_still_be_filled_and_reserves_all_of_its_worth() -> None:
    orders = [
        Order(make_intent("a"), Decimal(4)),
        Order(make_intent("b", symbol="MSFT", side=Side.SELL, strategy="other", quantity=Decimal(2))),
        Order(make_intent("x", kind=IntentKind.EXIT)),
    ]
    view = view_of(Memory(), orders, None, LIMITS, T0)
    assert view.working_entries == (
        WorkingEntry("p-a", "trend", "AAPL", Side.BUY, Decimal("601.50")),
        WorkingEntry("p-b", "other", "MSFT", Side.SELL, Decimal("200.50")),
    )
    assert view.reserved == Decimal("1203.00")


RECENT = Memory(
    day_start=at(-600),
    trades=tuple(make_trade(str(ago), exit_time=at(-ago)) for ago in (10, 600, 601)),
    orders=((make_intent("d"), at(-20)),),
)


def test_what_was_traded_lately_is_shown_where_a_limit_asks_for_it() -> None:
    view = view_of(RECENT, (), None, EVERYTHING, T0)
    assert view.last_exits == {"AAPL": at(-10)}
    assert view.last_orders == {("AAPL", Side.BUY): at(-20)}
    assert view.strategy_order_times == {"trend": (at(-20),)}
    assert view.round_trips_today == 2


def test_what_was_traded_lately_is_left_out_where_no_limit_asks_for_it() -> None:
    view = view_of(RECENT, (), None, LIMITS, T0)
    assert (view.last_exits, view.last_orders, view.strategy_order_times, view.round_trips_today) == ({}, {}, {}, 0)


@pytest.mark.parametrize(
    ("changes", "cooldown", "opposite"),
    [({"symbol_cooldown_seconds": 10}, False, True), ({"opposite_order_seconds": 20}, True, False)],
)
def test_each_limit_has_its_own_time(changes: dict[str, int], cooldown: bool, opposite: bool) -> None:
    view = view_of(RECENT, (), None, replace(EVERYTHING, **changes), T0)  # type: ignore[arg-type]
    assert (bool(view.last_exits), bool(view.last_orders)) == (cooldown, opposite)


def lock(name: str, until: float | None) -> Lock:
    end = None if until is None else at(until)
    return Lock(name, LockScope.GLOBAL, "", Reason.LOCKED, "news", at(-60), end, "ada")


def test_locks_are_shown_while_they_hold() -> None:
    over, held, endless = lock("over", 0), lock("held", 1), lock("endless", None)
    known = Memory(locks={each.lock_id: each for each in (over, held, endless)})
    assert view_of(known, (), None, LIMITS, T0).locks == (held, endless)


def test_a_cash_account_is_shown_with_its_settled_money_less_what_is_ordered() -> None:
    limits = RiskLimits(settlement=SettlementLimits(AccountKind.CASH, cost_allowance=0.0, fee_allowance=ZERO))
    known = Memory(account=ACCOUNT)
    state = AccountState(known, Weekdays())
    state.adopt(limits, Weekdays())
    known.settlement = SettlementLedger(Decimal(40_000))
    state.is_read = True
    view = view_of(known, [Order(make_intent())], state, limits, T0)
    assert view.settlement is not None
    assert view.settlement.free == Decimal("38997.50")
    assert view.day_trading is None
    assert view_of(known, (), None, limits, T0).settlement is None


def test_a_margin_account_is_shown_with_its_day_trades_and_what_is_ordered() -> None:
    limits = RiskLimits(day_trading=DayTradingLimits(Regime.INTRADAY_MARGIN))
    known = Memory(account=ACCOUNT)
    state = AccountState(known, Weekdays())
    state.adopt(limits, Weekdays())
    view = view_of(known, [Order(make_intent())], state, limits, T0)
    assert view.settlement is None
    assert view.day_trading is not None
    assert view.day_trading.today == T0.date()
    assert view.day_trading.opened == ("AAPL",)
    assert view_of(known, (), None, limits, T0).day_trading is None


# locks that are made


def loss(name: str, seconds: float, pnl: int = -20) -> ClosedTrade:
    return make_trade(name, exit_time=at(seconds), exit_reason="STOP_LOSS", pnl=Decimal(pnl))


GUARD = StopLossGuard(lookback_seconds=60, lock_seconds=600, stops=2)


def test_a_review_makes_the_locks_that_are_due_and_says_them_once() -> None:
    known = Memory(trades=(loss("a", -59), loss("b", -1)))
    (made,) = review(known, (GUARD, Cooldown(1)), T0)
    assert (made.reason, made.until) == (Reason.STOP_LOSS_GUARD, at(599))
    assert known.locks == {made.lock_id: made}
    assert review(known, (GUARD, Cooldown(1)), T0) == ()


def test_a_review_looks_as_far_back_as_any_protection_does() -> None:
    known = Memory(trades=(loss("a", -60), loss("b", -1)))
    assert review(known, (GUARD,), T0) == ()
    assert len(review(known, (GUARD, replace(GUARD, lookback_seconds=61)), T0)) == 1


def test_without_protections_nothing_is_locked() -> None:
    known = Memory(trades=(loss("a", -1),))
    assert review(known, (), T0) == ()


@pytest.mark.parametrize(("account", "made"), [(ACCOUNT, 1), (None, 0)])
def test_a_drawdown_is_reviewed_where_the_equity_is_known(account: Account | None, made: int) -> None:
    known = Memory(account=account, trades=(loss("a", -1, -20_000),))
    assert len(review(known, (DrawdownGuard(60, 600, max_fraction=0.1),), T0)) == made


# the highest equity


@pytest.mark.parametrize(
    ("peak", "equity", "expected"),
    [
        (None, "0.01", True),
        (None, "0", False),  # nothing was lost yet where there was nothing
        (None, "-1", False),
        ("100", "100", False),
        ("100", "100.01", True),
        ("100", "99.99", False),
    ],
)
def test_an_equity_is_the_highest_where_none_that_was_read_came_up_to_it(
    peak: str | None, equity: str, expected: bool
) -> None:
    known = Memory(peak_equity=None if peak is None else Decimal(peak))
    assert is_new_peak(known, Decimal(equity)) is expected
