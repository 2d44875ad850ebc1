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
from openbell.domain.orders import Side
from openbell.domain.reasons import Reason
from openbell.risk import Allow, Candidate, Deny, RiskLimits, RiskView, WorkingEntry, evaluate_entry, reserve
from openbell.risk.checks import RULES

LIMITS = RiskLimits()
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


# order and shape


def test_the_reason_is_of_the_first_rule_in_the_documented_order() -> None:
    everything_wrong = view(
        positions=(make_position("x", symbol="X"), make_position(), make_position("s", quantity=Decimal(1))),
        equity=Decimal(1),
        buying_power=Decimal(0),
        order_times=(T0,),
    )
    limits = RiskLimits(
        max_concurrent_trades=0,
        strategy_max_trades={"trend": 0},
        max_order_notional=Decimal(1),
        max_orders_per_minute=0,
        max_orders_per_day=0,
    )
    seen = []
    entry, state = candidate(side=Side.SELL), everything_wrong
    repairs = [
        lambda: (replace(entry, side=Side.BUY), state, limits),
        lambda: (entry, replace(state, positions=(make_position("s", quantity=Decimal(-1)),)), limits),
        lambda: (entry, replace(state, positions=()), limits),
        lambda: (entry, replace(state, equity=Decimal(100000)), limits),
        lambda: (entry, state, replace(limits, max_orders_per_day=9)),
        lambda: (entry, state, replace(limits, max_orders_per_minute=9)),
        lambda: (entry, state, replace(limits, max_concurrent_trades=9)),
        lambda: (replace(entry, quantity=Decimal(0)), state, replace(limits, strategy_max_trades={})),
        lambda: (replace(entry, quantity=Decimal(10)), state, limits),
        lambda: (entry, state, replace(limits, max_order_notional=Decimal(9999))),
        lambda: (entry, replace(state, buying_power=Decimal(9999)), limits),
    ]
    for repair in repairs:
        seen.append(reason(entry, state, limits))
        entry, state, limits = repair()
    assert seen == [
        Reason.NOT_HELD,
        Reason.ALREADY_HELD,
        Reason.OPPOSITE_POSITION,
        Reason.DAILY_LOSS,
        Reason.ORDER_RATE_DAY,
        Reason.ORDER_RATE_MINUTE,
        Reason.MAX_CONCURRENT_TRADES,
        Reason.STRATEGY_MAX_TRADES,
        Reason.SIZE_ZERO,
        Reason.MAX_ORDER_NOTIONAL,
        Reason.BUYING_POWER,
    ]
    assert len(seen) == len(RULES)
    assert reason(entry, state, limits) is None


def test_nothing_in_the_risk_room_takes_an_exit() -> None:
    for rule in (*RULES, evaluate_entry):
        assert next(iter(inspect.signature(rule).parameters)) == "candidate"
        assert inspect.get_annotations(rule, eval_str=True)["candidate"] is Candidate
    functions = {name for name in openbell.risk.__all__ if inspect.isfunction(getattr(openbell.risk, name))}
    assert functions == {"evaluate_entry", "reserve"}


def test_a_denial_says_the_numbers() -> None:
    verdict = evaluate_entry(candidate(quantity=Decimal(1000)), view(), LIMITS)
    assert verdict == Deny(Reason.MAX_ORDER_NOTIONAL, "the order is for 100000.00, at most 50000.00")


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
