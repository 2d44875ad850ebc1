"""What may be opened: each rule on both sides of its limit, and their order."""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import openbell.risk
from fakes.values import T0, at, make_position
from openbell.domain.limits import AccountKind, LockScope, Regime
from openbell.domain.orders import Side
from openbell.domain.reasons import Reason
from openbell.risk import Allow, Candidate, Deny, RiskLimits, RiskView, WorkingEntry, evaluate_entry, reserve
from openbell.risk.checks import RULES
from openbell.risk.day_trading import DayTradingLimits, DayTradingView
from openbell.risk.intraday_margin import MarginState
from openbell.risk.locks import Lock
from openbell.risk.losses import is_in_drawdown
from openbell.risk.pattern_day_trader import Window
from openbell.risk.settled_cash import SettlementLimits, SettlementView

LIMITS = RiskLimits()
CASH = SettlementLimits(account=AccountKind.CASH)
TODAY = T0.date()
DAY_START = T0 - timedelta(hours=1)


def candidate(**changes: Any) -> Candidate:
    values = {
        "strategy": "trend",
        "symbol": "AAPL",
        "side": Side.BUY,
        "quantity": Decimal(10),
        "price": Decimal(100),
        "position_id": "p-new",
    }
    return Candidate(**(values | changes))


def view(**changes: Any) -> RiskView:
    values = {
        "now": T0,
        "day_start": DAY_START,
        "equity": Decimal(100000),
        "day_start_equity": Decimal(100000),
        "realized_today": Decimal(0),
        "buying_power": Decimal(100000),
    }
    return RiskView(**(values | changes))


def working(name: str, **changes: Any) -> WorkingEntry:
    values = {"position_id": f"p-{name}", "strategy": "trend", "symbol": name, "side": Side.BUY}
    return WorkingEntry(**(values | changes))


def make_lock(**changes: Any) -> Lock:
    values = {
        "lock_id": "l1",
        "scope": LockScope.GLOBAL,
        "subject": "",
        "reason": Reason.STOP_LOSS_GUARD,
        "detail": "3 losing stops",
        "since": T0,
        "until": at(60),
        "made_by": "StopLossGuard#0",
    }
    return Lock(**(values | changes))


def reason(entry: Candidate, state: RiskView, limits: RiskLimits = LIMITS) -> Reason | None:
    verdict = evaluate_entry(entry, state, limits)
    return verdict.reason if isinstance(verdict, Deny) else None


def test_an_ordinary_entry_is_allowed() -> None:
    assert evaluate_entry(candidate(), view(), LIMITS) == Allow()


# ownership


def test_selling_what_is_not_held_needs_permission_to_sell_short() -> None:
    assert reason(candidate(side=Side.SELL), view()) is Reason.NOT_HELD
    assert reason(candidate(side=Side.SELL), view(), RiskLimits(allow_short=True)) is None
    assert reason(candidate(side=Side.BUY), view(), RiskLimits(allow_short=True)) is None


def test_a_strategy_has_one_lot_of_a_symbol() -> None:
    assert reason(candidate(), view(positions=(make_position(),))) is Reason.ALREADY_HELD
    assert reason(candidate(), view(working_entries=(working("AAPL"),))) is Reason.ALREADY_HELD
    assert reason(candidate(), view(positions=(make_position(symbol="MSFT"),))) is None
    assert reason(candidate(), view(positions=(make_position(strategy="other"),))) is None
    assert reason(candidate(), view(positions=(make_position(quantity=Decimal(0)),))) is None


@pytest.mark.parametrize("owner", ["trend", "other"])
def test_an_entry_against_any_lot_of_the_symbol_is_denied(owner: str) -> None:
    short = make_position(strategy=owner, quantity=Decimal(-1))
    assert reason(candidate(), view(positions=(short,))) is Reason.OPPOSITE_POSITION
    selling = working("AAPL", strategy=owner, side=Side.SELL)
    assert reason(candidate(), view(working_entries=(selling,))) is Reason.OPPOSITE_POSITION
    long = make_position(strategy=owner)
    shorts = RiskLimits(allow_short=True)
    assert reason(candidate(side=Side.SELL), view(positions=(long,)), shorts) is Reason.OPPOSITE_POSITION
    elsewhere = make_position(strategy=owner, quantity=Decimal(-1), symbol="MSFT")
    assert reason(candidate(), view(positions=(elsewhere,))) is None


# day trading


def test_the_rules_of_day_trading_look_at_the_symbol_the_side_and_the_worth_of_the_order() -> None:
    million = Decimal(10**6)
    margin = MarginState(Decimal(1999), million, debit_free=Decimal(1000))
    known = DayTradingView(TODAY, million, Window((TODAY,)), margin, day_trades_remaining=1, opened=("AAPL",))
    limits = RiskLimits(allow_short=True, day_trading=DayTradingLimits(Regime.AUTO))
    assert reason(candidate(), view(day_trading=known), limits) is None
    assert reason(candidate(symbol="MSFT"), view(day_trading=known), limits) is Reason.DAY_TRADE_LIMIT
    assert reason(candidate(quantity=Decimal(11)), view(day_trading=known), limits) is Reason.MARGIN_MINIMUM_EQUITY
    assert reason(candidate(side=Side.SELL), view(day_trading=known), limits) is Reason.MARGIN_MINIMUM_EQUITY
    cash = replace(limits, settlement=CASH, allow_short=False)
    assert reason(candidate(symbol="MSFT"), view(day_trading=known), cash) is None


# losses


@pytest.mark.parametrize(
    ("equity", "realized", "denied"),
    [
        ("95000.01", "0", False),
        ("95000", "0", True),
        ("94000", "0", True),
        ("100000", "-4999.99", False),
        ("100000", "-5000", True),
        ("120000", "-5000", True),
        ("95000", "3000", True),
        ("130000", "5000", False),
    ],
)
def test_the_worse_of_equity_and_realised_loss_counts(equity: str, realized: str, denied: bool) -> None:
    state = view(equity=Decimal(equity), realized_today=Decimal(realized))
    assert reason(candidate(), state) is (Reason.DAILY_LOSS if denied else None)


def test_the_loss_limit_is_of_the_equity_that_the_day_began_with() -> None:
    state = view(equity=Decimal(190000), day_start_equity=Decimal(200000))
    assert reason(candidate(), state) is Reason.DAILY_LOSS
    assert reason(candidate(), state, RiskLimits(max_daily_loss_fraction=0.0501)) is None


def test_a_limit_of_zero_allows_no_loss_but_does_not_forbid_trading() -> None:
    none = RiskLimits(max_daily_loss_fraction=0.0)
    assert reason(candidate(), view(), none) is None
    assert reason(candidate(), view(equity=Decimal("99999.99")), none) is Reason.DAILY_LOSS


# frequency


def test_orders_of_the_last_sixty_seconds_are_counted() -> None:
    limits = RiskLimits(max_orders_per_minute=2)
    recent = at(-59.999)
    assert reason(candidate(), view(order_times=(recent,)), limits) is None
    assert reason(candidate(), view(order_times=(recent, recent)), limits) is Reason.ORDER_RATE_MINUTE
    assert reason(candidate(), view(order_times=(at(-60), recent)), limits) is None
    assert reason(candidate(), view(order_times=(at(30), recent)), limits) is Reason.ORDER_RATE_MINUTE


def test_orders_of_the_trading_day_are_counted() -> None:
    limits = RiskLimits(max_orders_per_day=2)
    before = DAY_START - timedelta(microseconds=1)
    assert reason(candidate(), view(order_times=(DAY_START,)), limits) is None
    assert reason(candidate(), view(order_times=(DAY_START, DAY_START)), limits) is Reason.ORDER_RATE_DAY
    assert reason(candidate(), view(order_times=(before, DAY_START)), limits) is None


# exposure


def test_open_positions_and_working_entries_are_trades() -> None:
    limits = RiskLimits(max_concurrent_trades=2)
    held = make_position("x", symbol="X")
    assert reason(candidate(), view(positions=(held,)), limits) is None
    assert reason(candidate(), view(working_entries=(working("Y"),)), limits) is None
    both = view(positions=(held,), working_entries=(working("Y"),))
    assert reason(candidate(), both, limits) is Reason.MAX_CONCURRENT_TRADES
    closed = make_position("z", symbol="Z", quantity=Decimal(0))
    assert reason(candidate(), view(positions=(held, closed)), limits) is None


def test_a_partly_filled_entry_is_one_trade() -> None:
    limits = RiskLimits(max_concurrent_trades=2)
    state = view(positions=(make_position("X", symbol="X"),), working_entries=(working("X"),))
    assert reason(candidate(), state, limits) is None


def test_a_strategy_may_have_a_limit_of_its_own() -> None:
    limits = RiskLimits(strategy_max_trades={"trend": 1})
    own = view(positions=(make_position("x", symbol="X"),))
    assert reason(candidate(), own, limits) is Reason.STRATEGY_MAX_TRADES
    assert reason(candidate(strategy="free"), own, limits) is None
    assert reason(candidate(), view(positions=(make_position("x", symbol="X", strategy="b"),)), limits) is None
    assert reason(candidate(), view(working_entries=(working("X"),)), limits) is Reason.STRATEGY_MAX_TRADES
    assert reason(candidate(), view(working_entries=(working("X", strategy="b"),)), limits) is None


@pytest.mark.parametrize(("quantity", "price"), [("0", "100"), ("-1", "100"), ("1", "0"), ("1", "-1")])
def test_an_order_for_nothing_is_denied(quantity: str, price: str) -> None:
    assert reason(candidate(quantity=Decimal(quantity), price=Decimal(price)), view()) is Reason.SIZE_ZERO


def test_an_orders_notional_may_reach_the_limit_but_not_pass_it() -> None:
    limits = RiskLimits(max_order_notional=Decimal(1000))
    assert reason(candidate(), view(), limits) is None
    assert reason(candidate(price=Decimal("100.001")), view(), limits) is Reason.MAX_ORDER_NOTIONAL
    assert reason(candidate(quantity=Decimal(11)), view(), limits) is Reason.MAX_ORDER_NOTIONAL


def test_an_order_may_need_all_the_buying_power_left_but_not_more() -> None:
    assert reason(candidate(), view(buying_power=Decimal(1000))) is None
    assert reason(candidate(), view(buying_power=Decimal("999.99"))) is Reason.BUYING_POWER
    assert reason(candidate(), view(buying_power=Decimal(1500), reserved=Decimal(500))) is None
    assert reason(candidate(), view(buying_power=Decimal(1500), reserved=Decimal("500.01"))) is Reason.BUYING_POWER


def test_what_all_strategies_hold_and_order_of_a_symbol_is_its_exposure() -> None:
    limits = RiskLimits(max_symbol_exposure=0.02)
    other = make_position(strategy="other", quantity=Decimal(10))
    assert reason(candidate(), view(positions=(other,)), limits) is None
    assert reason(candidate(price=Decimal("100.01")), view(positions=(other,)), limits) is Reason.MAX_SYMBOL_EXPOSURE
    risen = view(positions=(other,), prices={"AAPL": Decimal("100.01")})
    assert reason(candidate(), risen, limits) is Reason.MAX_SYMBOL_EXPOSURE
    ordered = view(working_entries=(working("AAPL", strategy="b", notional=Decimal("1000.01")),))
    assert reason(candidate(), ordered, limits) is Reason.MAX_SYMBOL_EXPOSURE
    elsewhere = view(positions=(make_position("m", symbol="MSFT", quantity=Decimal(500)),))
    assert reason(candidate(), elsewhere, limits) is None


def test_long_and_short_add_up_to_the_gross_exposure() -> None:
    limits = RiskLimits(max_gross_exposure=0.03)
    held = (make_position("m", symbol="M"), make_position("n", symbol="N", quantity=Decimal(-10)))
    assert reason(candidate(), view(positions=held), limits) is None
    assert reason(candidate(quantity=Decimal(11)), view(positions=held), limits) is Reason.MAX_GROSS_EXPOSURE
    ordered = view(positions=held, working_entries=(working("O", notional=Decimal(1)),))
    assert reason(candidate(), ordered, limits) is Reason.MAX_GROSS_EXPOSURE


def test_an_allowed_entry_is_exposure_for_the_next() -> None:
    limits = RiskLimits(max_gross_exposure=0.015, max_symbol_exposure=0.015)
    after = reserve(view(), candidate())
    assert reason(candidate(symbol="MSFT", position_id="p-2"), after, limits) is Reason.MAX_GROSS_EXPOSURE
    assert reason(candidate(strategy="b", position_id="p-2"), after, limits) is Reason.MAX_SYMBOL_EXPOSURE


# losses from the highest


@pytest.mark.parametrize(
    ("equity", "peak", "denied"),
    [("90000.01", "100000", False), ("90000", "100000", True), ("90000", None, False), ("110000", "100000", False)],
)
def test_a_drawdown_denies_until_equity_has_recovered(equity: str, peak: str | None, denied: bool) -> None:
    state = view(equity=Decimal(equity), day_start_equity=Decimal(equity), peak_equity=peak and Decimal(peak))
    limits = RiskLimits(max_drawdown_fraction=0.1)
    assert reason(candidate(), state, limits) is (Reason.DRAWDOWN if denied else None)
    assert reason(candidate(), state) is None


# frequency of symbols and strategies


def test_a_symbol_rests_after_its_last_exit_and_says_until_when() -> None:
    limits = RiskLimits(symbol_cooldown_seconds=60)
    verdict = evaluate_entry(candidate(), view(last_exits={"AAPL": at(-59)}), limits)
    assert verdict == Deny(Reason.SYMBOL_COOLDOWN, "AAPL was left 59 s ago, 60 s are set", at(1))
    assert reason(candidate(), view(last_exits={"AAPL": at(-60)}), limits) is None
    assert reason(candidate(), view(last_exits={"MSFT": T0}), limits) is None
    assert reason(candidate(), view(last_exits={"AAPL": T0})) is None


def test_an_order_waits_after_one_to_the_other_side() -> None:
    limits = RiskLimits(opposite_order_seconds=30)
    verdict = evaluate_entry(candidate(), view(last_orders={("AAPL", Side.SELL): at(-29)}), limits)
    assert verdict == Deny(Reason.OPPOSITE_ORDER, "the last Sell of AAPL is 29 s old, 30 s are set", at(1))
    assert reason(candidate(), view(last_orders={("AAPL", Side.SELL): at(-30)}), limits) is None
    assert reason(candidate(), view(last_orders={("AAPL", Side.BUY): T0}), limits) is None
    assert reason(candidate(), view(last_orders={("AAPL", Side.SELL): T0})) is None


def test_round_trips_that_were_begun_today_count_with_those_completed() -> None:
    limits = RiskLimits(max_round_trips_per_day=2)
    assert reason(candidate(), view(round_trips_today=1), limits) is None
    assert reason(candidate(), view(round_trips_today=2), limits) is Reason.MAX_ROUND_TRIPS
    begun = make_position("x", symbol="X", opened_at=DAY_START)
    assert reason(candidate(), view(round_trips_today=1, positions=(begun,)), limits) is Reason.MAX_ROUND_TRIPS
    overnight = replace(begun, opened_at=DAY_START - timedelta(seconds=1))
    assert reason(candidate(), view(round_trips_today=1, positions=(overnight,)), limits) is None
    partly = view(positions=(begun,), working_entries=(working("x"),))
    assert reason(candidate(), partly, limits) is None
    assert reason(candidate(), view(round_trips_today=99)) is None


def test_a_strategy_has_an_order_rate_of_its_own() -> None:
    limits = RiskLimits(strategy_orders_per_minute=2)
    busy = view(strategy_order_times={"trend": (at(-40), at(-20))})
    verdict = evaluate_entry(candidate(), busy, limits)
    assert verdict == Deny(Reason.STRATEGY_ORDER_RATE, "trend sent 2 orders in the last minute, at most 2", at(20))
    assert reason(candidate(strategy="other"), busy, limits) is None
    assert reason(candidate(), view(strategy_order_times={"trend": (at(-60), at(-20))}), limits) is None
    assert reason(candidate(symbol="M"), reserve(view(), candidate()), RiskLimits(strategy_orders_per_minute=1)) is (
        Reason.STRATEGY_ORDER_RATE
    )


def test_the_order_rate_says_when_there_is_room_again() -> None:
    limits = RiskLimits(max_orders_per_minute=2)
    verdict = evaluate_entry(candidate(), view(order_times=(at(-10), at(-50), at(-30))), limits)
    assert verdict == Deny(Reason.ORDER_RATE_MINUTE, "3 orders in the last minute, at most 2", at(30))


def test_a_price_may_be_as_old_as_the_limit_but_no_older() -> None:
    limits = RiskLimits(max_data_age_seconds=10)
    assert reason(candidate(data_age_seconds=10.0), view(), limits) is None
    assert reason(candidate(data_age_seconds=10.1), view(), limits) is Reason.DATA_AGE
    assert reason(candidate(), view(), limits) is None
    assert reason(candidate(data_age_seconds=1e9), view()) is None


# one tick


def test_an_allowed_entry_is_in_the_way_of_the_next_of_the_same_tick() -> None:
    first = candidate()
    after = reserve(view(buying_power=Decimal(1500)), first)
    assert reason(candidate(symbol="MSFT", position_id="p-2"), after) is Reason.BUYING_POWER
    assert reason(candidate(), after) is Reason.ALREADY_HELD
    selling = candidate(strategy="b", side=Side.SELL, position_id="p-2")
    assert reason(selling, after, RiskLimits(allow_short=True)) is Reason.OPPOSITE_POSITION
    cheap = candidate(symbol="MSFT", quantity=Decimal(1), position_id="p-2")
    assert reason(cheap, after, RiskLimits(max_concurrent_trades=1)) is Reason.MAX_CONCURRENT_TRADES
    assert reason(cheap, after, RiskLimits(max_orders_per_minute=1)) is Reason.ORDER_RATE_MINUTE
    assert reason(cheap, after, RiskLimits(max_orders_per_day=1)) is Reason.ORDER_RATE_DAY
    assert reason(cheap, after) is None


def test_an_allowed_entry_is_reserved_for_with_all_that_the_rules_ask() -> None:
    before = view(
        strategy_order_times={"trend": (at(-20),), "other": (at(-10),)},
        last_orders={("MSFT", Side.SELL): at(-5)},
        day_trading=DayTradingView(
            TODAY, Decimal(1), Window((TODAY,)), MarginState(*(Decimal(5000),) * 3), 2, ("IBM",)
        ),
    )
    after = reserve(before, candidate())
    assert after.working_entries == (WorkingEntry("p-new", "trend", "AAPL", Side.BUY, Decimal(1000)),)
    assert after.strategy_order_times == {"trend": (at(-20), T0), "other": (at(-10),)}
    assert after.last_orders == {("MSFT", Side.SELL): at(-5), ("AAPL", Side.BUY): T0}
    assert after.day_trading is not None
    assert after.day_trading.opened == ("IBM", "AAPL")
    assert after.day_trading.margin == MarginState(Decimal(5000), Decimal(4700), Decimal(4000))
    twice = reserve(after, candidate(symbol="KO", position_id="p-2"))
    assert [entry.position_id for entry in twice.working_entries] == ["p-new", "p-2"]
    assert twice.reserved == 2000


# order and shape


def everything_wrong() -> tuple[Candidate, RiskView, RiskLimits]:
    """A candidate that every rule would deny, if it came to it."""
    state = view(
        positions=(make_position("x", symbol="X"), make_position(), make_position("s", quantity=Decimal(1))),
        equity=Decimal(1),
        buying_power=Decimal(0),
        order_times=(T0,),
        peak_equity=Decimal(200000),
        strategy_order_times={"trend": (T0,)},
        last_exits={"AAPL": T0},
        last_orders={("AAPL", Side.SELL): T0, ("AAPL", Side.BUY): T0},
        round_trips_today=1,
        locks=(make_lock(),),
        settlement=SettlementView(CASH, free=Decimal(0), free_with_unsettled=Decimal(0)),
        day_trading=DayTradingView(TODAY, Decimal(1), Window((TODAY,), (3,)), MarginState(*(Decimal(1),) * 3)),
    )
    limits = RiskLimits(
        max_concurrent_trades=0,
        strategy_max_trades={"trend": 0},
        max_order_notional=Decimal(1),
        max_orders_per_minute=0,
        max_orders_per_day=0,
        max_symbol_exposure=0.1,
        max_gross_exposure=0.1,
        max_drawdown_fraction=0.1,
        max_data_age_seconds=10,
        symbol_cooldown_seconds=60,
        opposite_order_seconds=60,
        max_round_trips_per_day=1,
        strategy_orders_per_minute=1,
        settlement=CASH,
        day_trading=DayTradingLimits(Regime.LEGACY_PDT),
    )
    return candidate(side=Side.SELL, quantity=Decimal(0), data_age_seconds=11), state, limits


def test_the_reason_is_of_the_first_rule_in_the_documented_order() -> None:
    entry, state, limits = everything_wrong()
    repairs: list[tuple[Reason, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
        (Reason.NOT_HELD, {}, {}, {"allow_short": True}),
        (Reason.CASH_ACCOUNT_SHORT, {"side": Side.BUY}, {}, {}),
        (Reason.ALREADY_HELD, {}, {"positions": (make_position("s", quantity=Decimal(-1)),)}, {}),
        (Reason.OPPOSITE_POSITION, {}, {"positions": ()}, {}),
        (Reason.DATA_AGE, {"data_age_seconds": 10}, {}, {}),
        (Reason.DRAWDOWN, {}, {"peak_equity": None}, {}),
        (Reason.DAILY_LOSS, {}, {"day_start_equity": Decimal(1)}, {}),
        (Reason.STOP_LOSS_GUARD, {}, {"locks": ()}, {}),
        (Reason.ORDER_RATE_DAY, {}, {}, {"max_orders_per_day": 9}),
        (Reason.MAX_ROUND_TRIPS, {}, {"round_trips_today": 0}, {}),
        (Reason.ORDER_RATE_MINUTE, {}, {}, {"max_orders_per_minute": 9}),
        (Reason.STRATEGY_ORDER_RATE, {}, {}, {"strategy_orders_per_minute": 9}),
        (Reason.SYMBOL_COOLDOWN, {}, {"last_exits": {}}, {}),
        (Reason.OPPOSITE_ORDER, {}, {"last_orders": {}}, {}),
        (Reason.MAX_CONCURRENT_TRADES, {}, {}, {"max_concurrent_trades": 9}),
        (Reason.STRATEGY_MAX_TRADES, {}, {}, {"strategy_max_trades": {}}),
        (Reason.SIZE_ZERO, {"quantity": Decimal(10)}, {}, {}),
        (Reason.MAX_ORDER_NOTIONAL, {}, {}, {"max_order_notional": Decimal(9999)}),
        (Reason.MAX_SYMBOL_EXPOSURE, {}, {}, {"max_symbol_exposure": 1000.0}),
        (Reason.MAX_GROSS_EXPOSURE, {}, {}, {"max_gross_exposure": 1000.0}),
        (Reason.BUYING_POWER, {}, {"buying_power": Decimal(9999)}, {}),
        (Reason.SETTLED_CASH, {}, {}, {"settlement": SettlementLimits()}),
        (Reason.DAY_TRADE_LIMIT, {}, {"day_trading": None}, {}),
    ]
    for expected, to_entry, to_state, to_limits in repairs:
        assert reason(entry, state, limits) is expected
        entry, state, limits = replace(entry, **to_entry), replace(state, **to_state), replace(limits, **to_limits)
    assert len(repairs) == len(RULES)
    assert reason(entry, state, limits) is None


def test_nothing_in_the_risk_room_takes_an_exit() -> None:
    for rule in (*RULES, evaluate_entry):
        assert next(iter(inspect.signature(rule).parameters)) == "candidate"
        assert inspect.get_annotations(rule, eval_str=True)["candidate"] is Candidate
    functions = {name for name in openbell.risk.__all__ if inspect.isfunction(getattr(openbell.risk, name))}
    assert functions == {"evaluate_entry", "reserve"}


@pytest.mark.parametrize(
    ("entry", "state", "limits", "expected"),
    [
        ({"side": Side.SELL}, {}, {}, Deny(Reason.NOT_HELD, "trend holds no AAPL to sell")),
        (
            {"side": Side.SELL},
            {},
            {"allow_short": True, "settlement": CASH},
            Deny(Reason.CASH_ACCOUNT_SHORT, "AAPL would be sold short in a cash account"),
        ),
        (
            {},
            {"positions": (make_position(quantity=Decimal(1)),)},
            {},
            Deny(Reason.ALREADY_HELD, "trend has AAPL open or on its way"),
        ),
        (
            {},
            {"positions": (make_position(strategy="other", quantity=Decimal(-1)),)},
            {},
            Deny(Reason.OPPOSITE_POSITION, "other is on the other side of AAPL"),
        ),
        (
            {"data_age_seconds": 10.6},
            {},
            {"max_data_age_seconds": 10},
            Deny(Reason.DATA_AGE, "the price of AAPL is 11 s old, at most 10 s are allowed"),
        ),
        (
            {},
            {"peak_equity": Decimal(200_000)},
            {"max_drawdown_fraction": 0.125},
            Deny(Reason.DRAWDOWN, "the equity 100000.00 has fallen from 200000.00 by 12.50% or more"),
        ),
        (
            {},
            {"equity": Decimal(94_000)},
            {},
            Deny(Reason.DAILY_LOSS, "today's loss 6000.00 has reached the limit 5000.00"),
        ),
        (
            {},
            {"order_times": (T0, T0)},
            {"max_orders_per_day": 1},
            Deny(Reason.ORDER_RATE_DAY, "2 orders today, at most 1"),
        ),
        (
            {},
            {"round_trips_today": 1, "working_entries": (working("X"),)},
            {"max_round_trips_per_day": 2},
            Deny(Reason.MAX_ROUND_TRIPS, "2 round trips were made or begun today, at most 2"),
        ),
        (
            {},
            {"working_entries": (working("X"),)},
            {"max_concurrent_trades": 1},
            Deny(Reason.MAX_CONCURRENT_TRADES, "1 trades are open, at most 1"),
        ),
        (
            {},
            {"working_entries": (working("X"),)},
            {"strategy_max_trades": {"trend": 1}},
            Deny(Reason.STRATEGY_MAX_TRADES, "trend has 1 trades open, at most 1"),
        ),
        ({"quantity": Decimal(0)}, {}, {}, Deny(Reason.SIZE_ZERO, "quantity 0 at price 100")),
        (
            {"quantity": Decimal(1000)},
            {},
            {},
            Deny(Reason.MAX_ORDER_NOTIONAL, "the order is for 100000.00, at most 50000.00"),
        ),
        (
            {},
            {"working_entries": (working("AAPL", strategy="b", notional=Decimal(500)),)},
            {"max_symbol_exposure": 0.014},
            Deny(Reason.MAX_SYMBOL_EXPOSURE, "AAPL would come to 1500.00, at most 1400.00"),
        ),
        (
            {},
            {"working_entries": (working("X", notional=Decimal(500)),)},
            {"max_gross_exposure": 0.014},
            Deny(Reason.MAX_GROSS_EXPOSURE, "all positions would come to 1500.00, at most 1400.00"),
        ),
        (
            {},
            {"buying_power": Decimal(1500), "reserved": Decimal(501)},
            {},
            Deny(Reason.BUYING_POWER, "the order needs 1000.00, 999.00 is left"),
        ),
    ],
)
def test_a_denial_says_the_numbers(
    entry: dict[str, Any], state: dict[str, Any], limits: dict[str, Any], expected: Deny
) -> None:
    assert evaluate_entry(candidate(**entry), view(**state), replace(LIMITS, **limits)) == expected


def test_a_price_below_one_is_a_price() -> None:
    assert reason(candidate(price=Decimal("0.01")), view()) is None


@pytest.mark.parametrize(("peak", "limit"), [("0", 0.0), ("0.5", 1.0), ("100000", 0.0)])
def test_a_fall_is_none_where_the_highest_is_nothing_or_still_held(peak: str, limit: float) -> None:
    fallen = is_in_drawdown(Decimal(-1), Decimal(peak), limit)
    assert fallen is (Decimal(peak) > 0)
    assert is_in_drawdown(Decimal(peak), Decimal(peak), limit) is False


amounts = st.decimals("0", "1000000", places=2)
entries = st.lists(
    st.builds(
        candidate,
        strategy=st.sampled_from("abc"),
        symbol=st.sampled_from(["X", "Y", "Z"]),
        side=st.sampled_from(Side),
        quantity=st.integers(1, 100).map(Decimal),
        price=st.decimals("0.01", "1000", places=2),
    ),
    max_size=12,
)


@given(entries, amounts, st.integers(0, 6), st.integers(0, 6), st.booleans())
def test_a_tick_of_allowed_entries_keeps_every_limit(
    wanted: list[Candidate], power: Decimal, trades: int, orders: int, allow_short: bool
) -> None:
    limits = RiskLimits(allow_short, trades, {"a": 1}, Decimal(20000), max_orders_per_minute=orders)
    state, allowed = view(buying_power=power), list[Candidate]()
    for number, entry in enumerate(wanted):
        entry = replace(entry, position_id=f"p-{number}")
        if evaluate_entry(entry, state, limits) == Allow():
            allowed.append(entry)
            state = reserve(state, entry)
    assert len(allowed) <= min(trades, orders)
    assert sum(entry.notional for entry in allowed) <= power
    assert all(entry.notional <= 20000 for entry in allowed)
    assert sum(entry.strategy == "a" for entry in allowed) <= 1
    assert allow_short or all(entry.side is Side.BUY for entry in allowed)
    assert len({(entry.strategy, entry.symbol) for entry in allowed}) == len(allowed)
    for symbol in ("X", "Y", "Z"):
        assert len({entry.side for entry in allowed if entry.symbol == symbol}) <= 1
