"""Protections make locks, locks hold openings back, and a person lifts them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.values import T0, at, make_trade
from openbell.domain.limits import LockScope
from openbell.domain.orders import Side
from openbell.domain.positions import ClosedTrade
from openbell.domain.reasons import ExitReason, Reason
from openbell.risk import Candidate, Deny
from openbell.risk.locks import Lock, lift, lock_id, locked
from openbell.risk.protections import (
    Cooldown,
    DrawdownGuard,
    LowProfit,
    Protection,
    StopLossGuard,
    locks_due,
    longest_lookback,
)

HOUR = 3600


def stop(seconds: float, symbol: str = "AAPL", **changes: object) -> ClosedTrade:
    values = {"symbol": symbol, "exit_time": at(seconds), "exit_reason": "STOP_LOSS", "pnl": Decimal(-20)}
    return make_trade(f"{symbol}{seconds}", **(values | changes))


def candidate(symbol: str = "AAPL", strategy: str = "trend") -> Candidate:
    return Candidate(strategy, symbol, Side.BUY, Decimal(1), Decimal(1), "p")


GUARD = StopLossGuard(lookback_seconds=HOUR, lock_seconds=600, stops=2)


def test_enough_losing_stops_lock_everything_from_the_last_of_them() -> None:
    assert locks_due([stop(-100)], [GUARD], T0, ()) == ()
    (lock,) = locks_due([stop(-100), stop(-40, "MSFT")], [GUARD], T0, ())
    assert (lock.scope, lock.subject, lock.reason) == (LockScope.GLOBAL, "", Reason.STOP_LOSS_GUARD)
    assert (lock.since, lock.until) == (at(-40), at(560))
    denied = locked(candidate("IBM", "other"), [lock], T0)
    assert denied == Deny(
        Reason.STOP_LOSS_GUARD,
        f"lock {lock.lock_id}: 2 losing stops within 3600 s",
        at(560),
    )
    assert locked(candidate(), [lock], at(560)) is None


def test_only_losing_stops_within_the_lookback_count() -> None:
    old, profit = stop(-HOUR), stop(-50, pnl=Decimal(1), exit_reason="TRAILING_STOP")
    target = stop(-50, exit_reason="TAKE_PROFIT")
    assert locks_due([old, profit, target, stop(-10)], [GUARD], T0, ()) == ()
    trailing = stop(-30, exit_reason=ExitReason.TRAILING_STOP.value)
    assert len(locks_due([trailing, stop(-10)], [GUARD], T0, ())) == 1


def test_a_stop_that_lost_nothing_is_no_losing_stop_and_one_that_lost_a_cent_is() -> None:
    even, lost = stop(-50, pnl=Decimal(0)), stop(-50, pnl=Decimal("-0.01"))
    assert locks_due([even, stop(-10)], [GUARD], T0, ()) == ()
    assert len(locks_due([lost, stop(-10)], [GUARD], T0, ())) == 1


def test_a_trade_that_ends_now_counts() -> None:
    assert len(locks_due([stop(-100), stop(0)], [GUARD], T0, ())) == 1


def test_a_lock_that_ends_now_is_not_made() -> None:
    assert locks_due([stop(-700), stop(-600)], [GUARD], T0, ()) == ()
    assert len(locks_due([stop(-700), stop(-599)], [GUARD], T0, ())) == 1


def test_a_subject_whose_lock_is_there_does_not_keep_the_next_from_its_own() -> None:
    (first,) = locks_due([stop(-10)], [Cooldown(60)], T0, ())
    (second,) = locks_due([stop(-10), stop(-5, "MSFT")], [Cooldown(60)], T0, (first,))
    assert (second.subject, second.made_by) == ("MSFT", "Cooldown#0")


def test_the_same_cause_has_the_same_id_and_every_other_cause_another() -> None:
    trade = stop(-10, "trend")  # a symbol that is called as its strategy is
    (one,) = locks_due([trade], [Cooldown(60)], T0, ())
    assert locks_due([trade], [Cooldown(60)], at(5), ()) == (one,)
    others = [
        locks_due([trade], [Cooldown(60, LockScope.STRATEGY)], T0, ()),
        locks_due([trade], [GUARD, Cooldown(60)], T0, ()),
        locks_due([replace(trade, symbol="MSFT")], [Cooldown(60)], T0, ()),
        locks_due([replace(trade, position_id="p-other")], [Cooldown(60)], T0, ()),
        locks_due([replace(trade, exit_time=at(-9))], [Cooldown(60)], T0, ()),
    ]
    assert len({one.lock_id, *(lock.lock_id for locks in others for lock in locks)}) == 6


def test_the_id_of_a_lock_is_the_one_that_journals_have_of_it() -> None:
    assert lock_id("Cooldown#0", "Symbol", "AAPL") == "4q4d5t5r6dpv"


def test_a_lifted_lock_forgives_its_own_protection_scope_and_subject_alone() -> None:
    guard = replace(GUARD, stops=1, scope=LockScope.SYMBOL)
    trades = [stop(-40), stop(-30, "MSFT")]
    locks = locks_due(trades, [guard], T0, ())
    lifted = [lift(lock, by="ada", at=T0) for lock in locks if lock.subject == "AAPL"]
    (left,) = locks_due(trades, [guard], T0, lifted)
    assert left.subject == "MSFT"
    cooldown = Cooldown(60)
    assert {lock.subject for lock in locks_due(trades, [guard, cooldown], T0, lifted) if lock.made_by[0] == "C"} == {
        "AAPL",
        "MSFT",
    }
    by_strategy = replace(guard, scope=LockScope.STRATEGY)
    assert len(locks_due(trades, [by_strategy], T0, lifted)) == 1


def test_a_guard_of_symbols_locks_the_symbol_alone() -> None:
    guard = replace(GUARD, scope=LockScope.SYMBOL)
    trades = [stop(-100), stop(-90, "MSFT"), stop(-80)]
    (lock,) = locks_due(trades, [guard], T0, ())
    assert (lock.scope, lock.subject) == (LockScope.SYMBOL, "AAPL")
    assert locked(candidate("MSFT"), [lock], T0) is None
    assert locked(candidate("AAPL", "other"), [lock], T0) is not None


def test_a_guard_of_strategies_locks_the_strategy_alone() -> None:
    guard = replace(GUARD, scope=LockScope.STRATEGY)
    (lock,) = locks_due([stop(-100), stop(-90, "MSFT"), stop(-80, strategy="b")], [guard], T0, ())
    assert locked(candidate("IBM"), [lock], T0) is not None
    assert locked(candidate("IBM", "b"), [lock], T0) is None


def test_a_gain_after_the_stops_does_not_make_the_lock_longer() -> None:
    trades = [stop(-100), stop(-40)]
    (lock,) = locks_due(trades, [GUARD], T0, ())
    assert locks_due([*trades, make_trade("gain", exit_time=at(-10))], [GUARD], T0, (lock,)) == ()


def test_another_stop_makes_a_longer_lock_beside_the_first() -> None:
    trades = [stop(-100), stop(-40)]
    first = locks_due(trades, [GUARD], T0, ())
    (second,) = locks_due([*trades, stop(-5)], [GUARD], T0, first)
    denied = locked(candidate(), [*first, second], T0)
    assert denied is not None
    assert denied.until == at(595)


def test_a_lifted_lock_is_not_made_again_by_the_same_trades_and_one_more_stop_is_not_enough() -> None:
    trades = [stop(-100), stop(-40)]
    (lock,) = locks_due(trades, [GUARD], T0, ())
    lifted = lift(lock, by="ada", at=T0)
    assert (lifted.lifted_by, lifted.lifted_at) == ("ada", T0)
    assert locked(candidate(), [lifted], T0) is None
    assert lift(lifted, by="bob", at=at(1)) == lifted
    assert locks_due([*trades, stop(10)], [GUARD], at(20), (lifted,)) == ()
    assert len(locks_due([*trades, stop(10), stop(15)], [GUARD], at(20), (lifted,))) == 1


def test_a_drawdown_of_closed_trades_is_measured_from_their_highest_point() -> None:
    guard = DrawdownGuard(HOUR, 600, max_fraction=0.1, least_trades=2)
    trades = [stop(-300, pnl=Decimal(1000)), stop(-200, pnl=Decimal(-1100))]
    # The line: 10000, 11000, 9900: ten percent below its highest.
    (lock,) = locks_due(trades, [guard], T0, (), equity=Decimal(9900))
    assert (lock.reason, lock.detail) == (Reason.DRAWDOWN_GUARD, "closed trades fell 10.0% from their highest point")
    less = [trades[0], replace(trades[1], pnl=Decimal(-1099))]
    assert locks_due(less, [guard], T0, (), equity=Decimal(9901)) == ()
    assert locks_due(trades[1:], [guard], T0, (), equity=Decimal(1)) == ()
    assert locks_due(trades, [guard], T0, ()) == ()


def test_the_lock_of_a_drawdown_begins_with_the_newest_trade() -> None:
    guard = DrawdownGuard(HOUR, 600, max_fraction=0.1)
    (lock,) = locks_due([stop(-300, pnl=Decimal(-900)), stop(-200), stop(-90)], [guard], T0, (), equity=Decimal(1000))
    assert lock.since == at(-90)


def test_a_drawdown_is_measured_of_any_money_and_not_of_none() -> None:
    guard = DrawdownGuard(HOUR, 600, max_fraction=0.5)
    half = [stop(-300, pnl=Decimal("-0.50"))]
    assert len(locks_due(half, [guard], T0, (), equity=Decimal("0.50"))) == 1  # from one
    assert len(locks_due(half, [guard], T0, (), equity=Decimal("0.40"))) == 1  # from less than one
    assert locks_due(half, [guard], T0, (), equity=Decimal("-0.50")) == ()  # from nothing


def test_too_little_profit_locks_the_symbol() -> None:
    guard = LowProfit(HOUR, 600, required=0.01, least_trades=2)
    trades = [stop(-300, pnl=Decimal(10)), stop(-200, pnl=Decimal(9))]  # 19 of 2000: 0.95 %
    (lock,) = locks_due(trades, [guard], T0, ())
    assert (lock.reason, lock.subject, lock.since) == (Reason.LOW_PROFIT, "AAPL", at(-200))
    assert lock.detail == "2 trades brought 19.00, less than 1.00% of cost"
    assert locks_due([trades[0], replace(trades[1], pnl=Decimal(10))], [guard], T0, ()) == ()
    assert locks_due(trades[:1], [guard], T0, ()) == ()


def test_profit_is_measured_of_any_cost_and_not_of_none() -> None:
    guard = LowProfit(HOUR, 600, required=0.01)
    cheap = stop(-300, pnl=Decimal(0), entry_price=Decimal("0.01"))
    assert len(locks_due([cheap], [guard], T0, ())) == 1
    assert locks_due([replace(cheap, entry_price=Decimal(0))], [guard], T0, ()) == ()


def test_a_cooldown_follows_each_exit() -> None:
    cooldown = Cooldown(lock_seconds=60)
    locks = locks_due([stop(-59), stop(-10, "MSFT"), stop(-60, "IBM")], [cooldown], T0, ())
    assert {(lock.subject, lock.until) for lock in locks} == {("AAPL", at(1)), ("MSFT", at(50))}
    assert {(lock.reason, lock.detail) for lock in locks} == {
        (Reason.COOLDOWN, "AAPL was left"),
        (Reason.COOLDOWN, "MSFT was left"),
    }
    (again,) = locks_due([stop(-59), stop(-1)], [cooldown], T0, locks)
    assert again.until == at(59)


def test_a_trade_that_has_not_ended_yet_makes_no_lock() -> None:
    assert locks_due([stop(1)], [Cooldown(60)], T0, ()) == ()


def test_a_lock_without_an_end_holds_longest() -> None:
    person = Lock("a", LockScope.GLOBAL, "", Reason.LOCKED, "news", T0, None, "ada")
    timed = replace(person, lock_id="b", reason=Reason.COOLDOWN, until=at(10**6))
    denied = locked(candidate(), [timed, person], T0)
    assert denied == Deny(Reason.LOCKED, "lock a until it is lifted: news")


def test_the_longest_lookback_says_how_many_trades_are_needed() -> None:
    assert longest_lookback([GUARD, Cooldown(7200)]) == timedelta(hours=2)
    assert longest_lookback([]) == timedelta(0)


protections = st.lists(
    st.one_of(
        st.builds(
            StopLossGuard, st.integers(1, 600), st.integers(1, 600), st.integers(1, 3), st.sampled_from(LockScope)
        ),
        st.builds(LowProfit, st.integers(1, 600), st.integers(1, 600), st.floats(-1, 1), st.integers(1, 3)),
        st.builds(Cooldown, st.integers(1, 600), st.sampled_from(LockScope)),
        st.builds(DrawdownGuard, st.integers(1, 600), st.integers(1, 600), st.floats(0.001, 1), st.integers(1, 3)),
    ),
    max_size=4,
)
closed = st.lists(
    st.builds(
        stop,
        st.integers(-900, 900),
        st.sampled_from(["AAPL", "MSFT"]),
        pnl=st.integers(-900, 900).map(Decimal),
        strategy=st.sampled_from("ab"),
    ),
    max_size=12,
    unique_by=lambda trade: trade.position_id,
)


@given(closed, protections, st.integers(-900, 900))
def test_locks_are_due_once_begin_with_a_trade_and_have_not_ended(
    trades: list[ClosedTrade], rules: list[Protection], seconds: int
) -> None:
    now = at(seconds)
    locks = locks_due(trades, rules, now, (), equity=Decimal(10000))
    assert len({lock.lock_id for lock in locks}) == len(locks)
    assert locks_due(trades, rules, now, locks, equity=Decimal(10000)) == ()
    assert locks_due(reversed(trades), rules, now, (), equity=Decimal(10000)) == locks
    ends: set[datetime] = {trade.exit_time for trade in trades}
    for lock in locks:
        assert lock.since in ends
        assert lock.since <= now < (lock.until or now)
        assert lock.is_active(now)


@pytest.mark.parametrize("scope", LockScope)
def test_every_scope_is_told_apart(scope: LockScope) -> None:
    lock = Lock("a", scope, {"Symbol": "AAPL", "Strategy": "trend"}.get(scope, ""), Reason.LOCKED, "", T0, None, "ada")
    assert lock.concerns("AAPL", "trend")
    assert lock.concerns("IBM", "other") is (scope is LockScope.GLOBAL)
