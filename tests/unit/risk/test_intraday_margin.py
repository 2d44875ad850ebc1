"""Margin within the day: Regulatory Notice 26-10, rule by rule."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.domain.orders import Side
from openbell.domain.reasons import Reason
from openbell.risk.intraday_margin import (
    Deficit,
    MarginState,
    Moment,
    de_minimis,
    deficit_of,
    intraday_level,
    is_outstanding,
    judge,
    minimum_equity,
    restricted_until,
)
from openbell.risk.verdict import Deny

MONDAY = date(2026, 7, 6)


def business_day_after(day: date, count: int) -> date:
    """Weeks without holidays."""
    while count:
        day += timedelta(days=1)
        count -= day.weekday() < 5
    return day


FIFTH, FIFTEENTH = date(2026, 7, 13), date(2026, 7, 27)
BIG = Deficit(MONDAY, Decimal(1001), Decimal(50_000))


def test_iml_is_what_could_be_withdrawn_while_maintenance_is_met() -> None:
    assert intraday_level(Decimal(30_000), Decimal(12_000)) == 18_000


def test_the_deficit_is_the_highest_shortfall_right_after_a_reducing_transaction() -> None:
    moments = [
        Moment(Decimal(10_000), Decimal(9_000), True),
        Moment(Decimal(9_500), Decimal(10_000), True),
        Moment(Decimal(9_000), Decimal(10_500), True),
        Moment(Decimal(8_000), Decimal(12_000), False),  # a sale that covers lowers nothing: no measure
        Moment(Decimal(9_900), Decimal(10_000), True),
    ]
    assert deficit_of(MONDAY, moments) == Deficit(MONDAY, Decimal(1500), Decimal(9_000))
    assert deficit_of(MONDAY, moments[:1]) is None
    assert deficit_of(MONDAY, moments[3:4]) is None


def test_a_deficit_is_outstanding_until_satisfied_or_the_close_of_the_15th_business_day() -> None:
    assert business_day_after(MONDAY, 15) == FIFTEENTH
    assert is_outstanding(BIG, FIFTEENTH, business_day_after)
    assert not is_outstanding(BIG, FIFTEENTH + timedelta(days=1), business_day_after)
    satisfied = replace(BIG, satisfied_on=date(2026, 7, 8))
    assert is_outstanding(satisfied, date(2026, 7, 7), business_day_after)
    assert not is_outstanding(satisfied, date(2026, 7, 8), business_day_after)


@pytest.mark.parametrize(
    ("amount", "equity", "small"),
    [("1000", "50000", True), ("1000.01", "50000", False), ("500", "10000", True), ("500.01", "10000", False)],
)
def test_the_lesser_of_five_percent_of_equity_and_1000_does_not_count(amount: str, equity: str, small: bool) -> None:
    assert Deficit(MONDAY, Decimal(amount), Decimal(equity)).is_de_minimis is small


def test_one_unsatisfied_at_the_close_of_the_5th_business_day_restricts_for_90_calendar_days() -> None:
    end = FIFTH + timedelta(days=90)
    assert restricted_until([BIG], FIFTH, business_day_after) is None
    assert restricted_until([BIG], FIFTH + timedelta(days=1), business_day_after) == end
    assert restricted_until([BIG], end, business_day_after) == end
    assert restricted_until([BIG], end + timedelta(days=1), business_day_after) is None


def test_satisfying_in_time_restricts_nothing_and_satisfying_late_ends_the_restriction() -> None:
    in_time, late = replace(BIG, satisfied_on=FIFTH), replace(BIG, satisfied_on=date(2026, 7, 20))
    assert restricted_until([in_time], date(2026, 7, 14), business_day_after) is None
    assert restricted_until([late], date(2026, 7, 17), business_day_after) is not None
    assert restricted_until([late], date(2026, 7, 20), business_day_after) is None


def test_small_deficits_make_no_practice() -> None:
    small = Deficit(MONDAY, Decimal(900), Decimal(50_000))
    assert restricted_until([small] * 9, date(2026, 7, 20), business_day_after) is None


# before the trade

STATE = MarginState(equity=Decimal(50_000), excess_liquidity=Decimal(5_000), debit_free=Decimal(0))


def reason(
    notional: str, side: Side = Side.BUY, state: MarginState = STATE, buffer: str | None = None
) -> Reason | None:
    denied = judge(Decimal(notional), side, state, buffer and Decimal(buffer))
    return denied.reason if denied else None


def test_what_is_left_after_the_maintenance_of_the_order_stays_above_the_buffer() -> None:
    """Rule 4210(c): 25 % of a long position, 30 % of a short one. Kept: the greater of 5 % of equity and $1,000."""
    assert reason("10000") is None  # 5000 - 2500 = 2500, which is 5 % of 50000
    assert reason("10001") is Reason.INTRADAY_MARGIN
    assert reason("8333", Side.SELL) is None
    assert reason("8334", Side.SELL) is Reason.INTRADAY_MARGIN
    small = MarginState(Decimal(3_000), Decimal(2_000), Decimal(0))
    assert reason("4000", state=small) is None
    assert reason("4001", state=small) is Reason.INTRADAY_MARGIN


def test_the_buffer_can_be_set() -> None:
    assert reason("20000", buffer="0") is None
    assert reason("20001", buffer="0") is Reason.INTRADAY_MARGIN
    assert reason("10000", buffer="2500.01") is Reason.INTRADAY_MARGIN


def test_each_opening_of_a_tick_uses_up_some_of_what_is_free() -> None:
    after = STATE.after_opening(Decimal(8_000))
    assert (after.excess_liquidity, after.debit_free) == (2_600, -8_000)
    assert reason("400", state=after) is None
    assert reason("401", state=after) is Reason.INTRADAY_MARGIN


def test_a_restricted_account_opens_only_what_its_cash_pays() -> None:
    state = MarginState(Decimal(50_000), Decimal(50_000), Decimal(1_000), restricted_until=MONDAY)
    assert reason("1000", state=state) is None
    assert reason("1001", state=state) is Reason.INTRADAY_RESTRICTED
    assert reason("1", Side.SELL, state) is Reason.INTRADAY_RESTRICTED
    denied = judge(Decimal(1001), Side.BUY, state, None)
    assert denied is not None
    assert denied.until == datetime(2026, 7, 7, tzinfo=UTC)


def test_credit_needs_an_equity_of_2000() -> None:
    """Rule 4210(b)."""
    poor = MarginState(Decimal("1999.99"), Decimal("1999.99"), Decimal(1_000))
    assert minimum_equity(Decimal(1_000), Side.BUY, poor) is None
    assert minimum_equity(Decimal(1_001), Side.BUY, poor) is not None
    assert minimum_equity(Decimal(1), Side.SELL, poor) is not None
    assert minimum_equity(Decimal(3_000), Side.BUY, replace(poor, equity=Decimal(2_000))) is None


def test_a_denial_by_margin_says_the_numbers() -> None:
    poor = MarginState(Decimal("1999.99"), Decimal("1999.99"), Decimal(1_000))
    assert minimum_equity(Decimal(1_001), Side.BUY, poor) == Deny(
        Reason.MARGIN_MINIMUM_EQUITY, "the equity 1999.99 is below 2000.00, and the order would need credit"
    )
    restricted = replace(poor, restricted_until=MONDAY)
    assert judge(Decimal(1_001), Side.BUY, restricted, None) == Deny(
        Reason.INTRADAY_RESTRICTED,
        "no new debit or short until 2026-07-06: a margin deficit was left unsatisfied",
        datetime(2026, 7, 7, tzinfo=UTC),
    )
    assert judge(Decimal(10_001), Side.BUY, STATE, None) == Deny(
        Reason.INTRADAY_MARGIN, "2499.75 excess liquidity would be left, at least 2500.00 is to be"
    )


money = st.integers(0, 100_000).map(Decimal)


@given(st.lists(st.builds(Moment, money, money, st.booleans()), max_size=12))
def test_the_deficit_is_at_least_every_shortfall_that_a_reduction_left(moments: list[Moment]) -> None:
    found = deficit_of(MONDAY, moments)
    amount = found.amount if found else Decimal(0)
    assert all(moment.maintenance - moment.equity <= amount for moment in moments if moment.reduces)
    assert found is None or found.amount > 0


@given(money)
def test_what_does_not_count_is_never_more_than_1000(equity: Decimal) -> None:
    assert 0 <= de_minimis(equity) <= 1000
