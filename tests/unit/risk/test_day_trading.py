"""Day trading: the old rule with its exceptions, and which rule holds on which day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.domain.limits import Regime
from openbell.domain.orders import Side
from openbell.domain.reasons import Reason
from openbell.risk.day_trading import DayTradingLimits, DayTradingView, judge, regimes_on
from openbell.risk.intraday_margin import MarginState
from openbell.risk.pattern_day_trader import (
    Execution,
    Window,
    count_day_trades,
    has_pending,
    is_pattern,
    window_of,
)
from openbell.risk.verdict import Deny

MONDAY = date(2026, 3, 2)
DAYS = tuple(MONDAY + timedelta(days=n) for n in range(5))
NEXT = MONDAY + timedelta(days=7)
POOR, RICH = Decimal("24999.99"), Decimal(25_000)


def executions(text: str, symbol: str = "A", day: date = MONDAY) -> list[Execution]:
    """`+100 -50`: a purchase of 100 and a sale of 50, an order each."""
    return [
        Execution(f"{symbol}{day}{n}", symbol, Side.BUY if word[0] == "+" else Side.SELL, Decimal(word[1:]), day)
        for n, word in enumerate(text.split())
    ]


@pytest.mark.parametrize(
    ("text", "overnight", "expected"),
    [
        ("+100 -100", 0, 1),  # "the purchasing and selling ... of the same security on the same day"
        ("-100 +100", 0, 1),  # "or the selling and purchasing"
        ("+100", 0, 0),
        ("-100", 100, 0),  # "a long security position held overnight and sold ... prior to any new purchase"
        ("-50 -50", 100, 0),
        ("+100", -100, 0),  # "a short security position held overnight and purchased ... prior to any new sale"
        ("-100 +100", 100, 0),  # sold from overnight, then bought and kept
        ("-100 +100 -100", 100, 1),
        ("+50 -50", 100, 1),  # a new purchase came first: the exception is gone
        ("+50 -150", 100, 1),
        ("-50 +50", -100, 1),
        ("+100 -50 -50", 0, 1),  # closed in parts: one
        ("+50 +50 -100", 0, 1),
        ("+100 -100 +100 -100", 0, 2),
        ("+100 -50 +50 -100", 0, 2),
        ("+100 -200 +100", 0, 2),  # through zero: closed and opened the other way
        ("+1 -1", 0, 1),  # a single share is a share
        ("-1 +1", 0, 1),
        ("-1", 1, 0),
        ("+1 -2 +1", 0, 2),
    ],
)
def test_what_is_a_day_trade(text: str, overnight: int, expected: int) -> None:
    assert count_day_trades(executions(text), Decimal(overnight)) == expected


@pytest.mark.parametrize(
    ("text", "overnight", "expected"),
    [
        ("", 0, False),
        ("", 100, False),
        ("+100", 0, True),
        ("+100 -100", 0, False),
        ("+100 -50", 0, False),  # the rest belongs to the day trade that was counted
        ("-50", 100, False),
        ("+50", 100, True),
        ("-100 +100", 100, True),
        ("+1", 0, True),
        ("-100", 0, True),
        ("-1", 0, True),
        ("-1 +1", 0, False),
        ("+30 -20 +100", 0, True),
    ],
)
def test_an_opening_of_today_may_still_become_a_day_trade(text: str, overnight: int, expected: bool) -> None:
    assert has_pending(executions(text), Decimal(overnight)) is expected


def test_the_window_counts_five_days_from_what_is_held_now() -> None:
    trades = [
        *executions("+10 -10", "A", DAYS[0]),
        *executions("+10", "B", DAYS[1]),
        *executions("-10 +5 -5", "B", DAYS[3]),  # held overnight and sold, then a day trade
        *executions("+7", "C", DAYS[4]),
    ]
    window, pending = window_of(trades, DAYS, NEXT, {"C": Decimal(7)})
    assert window == Window(DAYS, (1, 0, 0, 1, 0), 7, NEXT)
    assert window.count == 2
    assert pending == ("C",)


def test_what_was_held_at_the_start_of_each_day_is_worked_back_from_what_is_held_now() -> None:
    trades = [
        *executions("+30", "A", DAYS[0]),
        *executions("+10", "A", DAYS[1]),
        *executions("-20 +20", "A", DAYS[2]),  # from overnight, then bought and kept
        *executions("-50 +10", "A", DAYS[3]),  # the forty of overnight and ten more
        *executions("+7", "A", DAYS[4]),
        *executions("-50", "B", DAYS[4]),  # a hundred were held overnight
        *executions("-10 +10", "C", DAYS[3]),
        *executions("-7", "D", DAYS[4]),  # held no more
    ]
    window, pending = window_of(trades, DAYS, NEXT, {"A": Decimal(7), "B": Decimal(50), "C": Decimal(10)})
    assert window.day_trades == (0, 0, 0, 1, 0)
    assert pending == ("A",)


def test_executions_of_other_days_are_not_in_the_window() -> None:
    before = executions("+10 -10", "A", DAYS[0] - timedelta(days=1))
    window, pending = window_of(before, DAYS, None, {})
    assert (window.day_trades, window.trades, pending) == ((0, 0, 0, 0, 0), 0, ())


def test_executions_of_one_order_are_one_trade() -> None:
    parts = [Execution("o1", "A", Side.BUY, Decimal(5), MONDAY)] * 2
    window, _ = window_of(parts, DAYS, None, {"A": Decimal(10)})
    assert window.trades == 1


def test_four_day_trades_are_a_pattern_unless_they_are_six_percent_or_less() -> None:
    """ "four or more day trades within five business days. However, if the number of day trades is 6% or less of total
    trades for the five business day period, the customer will not be considered a pattern day trader"."""
    assert not is_pattern(3, 6)
    assert is_pattern(4, 8)
    assert is_pattern(4, 66)
    assert not is_pattern(4, 67)
    assert not is_pattern(6, 100)  # 6 % or less


# the opening


def view(
    count: int, equity: Decimal, *, trades: int = 8, today: date = DAYS[4], opened: tuple[str, ...] = ()
) -> DayTradingView:
    window = Window(DAYS, (count, 0, 0, 0, 0), trades, NEXT)
    million = Decimal(10**6)
    return DayTradingView(today, equity, window, MarginState(million, million, million), None, opened)


LEGACY = DayTradingLimits(Regime.LEGACY_PDT)


def reason(state: DayTradingView, limits: DayTradingLimits = LEGACY, symbol: str = "NEW") -> Reason | None:
    denied = judge(symbol, Decimal(1000), Side.BUY, state, limits)
    return denied.reason if denied else None


def test_the_opening_that_could_become_the_fourth_is_denied_below_25000() -> None:
    assert reason(view(2, POOR)) is None
    assert reason(view(3, POOR)) is Reason.DAY_TRADE_LIMIT
    assert reason(view(3, RICH)) is None  # "minimum equity of $25,000"
    denied = judge("NEW", Decimal(1), Side.BUY, view(3, POOR), LEGACY)
    assert denied is not None
    assert denied.detail == (
        "it could become day trade 4 in 5 business days, and the equity 24999.99 is below 25000.00"
    )
    assert denied.until == datetime(2026, 3, 9, tzinfo=UTC)


def test_a_denial_by_the_brokers_count_says_what_remains_and_until_when() -> None:
    denied = judge("NEW", Decimal(1), Side.BUY, with_remaining(view(0, RICH, opened=("A", "NEW")), 1), AUTO)
    assert denied == Deny(
        Reason.DAY_TRADE_LIMIT,
        "the broker lets 1 more day trades be made, and 2 openings could become some",
        datetime(2026, 3, 9, tzinfo=UTC),
    )
    assert judge("NEW", Decimal(1), Side.BUY, with_remaining(view(0, RICH, opened=("NEW",)), 1), AUTO) is None


def test_openings_of_today_that_are_still_open_are_counted_before_they_close() -> None:
    assert reason(view(2, POOR, opened=("A",))) is Reason.DAY_TRADE_LIMIT
    assert reason(view(2, POOR, opened=("NEW",))) is None
    assert reason(view(2, POOR).after_opening("A", Decimal(1))) is Reason.DAY_TRADE_LIMIT


def test_six_percent_of_many_trades_is_no_pattern() -> None:
    assert reason(view(3, POOR, trades=64)) is Reason.DAY_TRADE_LIMIT  # 4 of 66
    assert reason(view(3, POOR, trades=65)) is None  # 4 of 67


def test_no_regime_is_no_rule() -> None:
    assert reason(view(99, Decimal(1)), DayTradingLimits()) is None


# which rule holds


@pytest.mark.parametrize(
    ("regime", "day", "rules"),
    [
        (Regime.AUTO, date(2001, 9, 17), (Regime.LEGACY_PDT,)),
        (Regime.INTRADAY_MARGIN, date(2026, 6, 3), (Regime.LEGACY_PDT,)),
        (Regime.INTRADAY_MARGIN, date(2026, 6, 4), (Regime.INTRADAY_MARGIN,)),  # effective 2026-06-04
        (Regime.LEGACY_PDT, date(2026, 6, 4), (Regime.LEGACY_PDT,)),
        (Regime.AUTO, date(2026, 6, 4), (Regime.LEGACY_PDT, Regime.INTRADAY_MARGIN)),
        (Regime.LEGACY_PDT, date(2027, 10, 20), (Regime.LEGACY_PDT,)),  # phase-in to 2027-10-20
        (Regime.LEGACY_PDT, date(2027, 10, 21), (Regime.INTRADAY_MARGIN,)),
        (Regime.AUTO, date(2027, 10, 21), (Regime.INTRADAY_MARGIN,)),
        (Regime.NONE, date(2026, 6, 4), ()),
    ],
)
def test_the_rule_follows_the_date_also_a_simulated_one(regime: Regime, day: date, rules: tuple[Regime, ...]) -> None:
    assert regimes_on(regime, day) == rules


AUTO = DayTradingLimits(Regime.AUTO)


def with_remaining(state: DayTradingView, remaining: int | None) -> DayTradingView:
    return DayTradingView(state.today, state.prior_equity, state.window, state.margin, remaining, state.opened)


def test_auto_follows_the_brokers_count_and_minus_one_is_unlimited() -> None:
    assert reason(with_remaining(view(3, POOR), -1), AUTO) is None
    assert reason(with_remaining(view(0, RICH), 0), AUTO) is Reason.DAY_TRADE_LIMIT
    assert reason(with_remaining(view(0, POOR), 1), AUTO) is None
    assert reason(with_remaining(view(0, POOR, opened=("A",)), 1), AUTO) is Reason.DAY_TRADE_LIMIT
    assert reason(with_remaining(view(3, POOR), -1)) is Reason.DAY_TRADE_LIMIT  # LegacyPDT was asked for


def test_auto_without_the_brokers_word_takes_the_stricter_rule() -> None:
    today = date(2026, 7, 1)
    assert reason(view(3, POOR, today=today), AUTO) is Reason.DAY_TRADE_LIMIT
    tight = DayTradingView(today, RICH, Window((today,)), MarginState(RICH, Decimal(1000), RICH))
    assert reason(tight, AUTO) is Reason.INTRADAY_MARGIN
    assert reason(tight, LEGACY) is None


def test_under_every_rule_credit_needs_its_least_equity() -> None:
    thousand = Decimal(1000)
    state = DayTradingView(DAYS[4], RICH, Window(DAYS), MarginState(Decimal("1999.99"), RICH, thousand))

    def judged(notional: Decimal, side: Side, limits: DayTradingLimits = LEGACY) -> Reason | None:
        denied = judge("A", notional, side, state, limits)
        return denied.reason if denied else None

    assert judged(thousand + 1, Side.BUY) is Reason.MARGIN_MINIMUM_EQUITY
    assert judged(thousand, Side.SELL) is Reason.MARGIN_MINIMUM_EQUITY
    assert judged(thousand, Side.BUY) is None  # its cash pays
    assert judged(thousand + 1, Side.BUY, DayTradingLimits()) is None


def test_the_margin_of_a_day_asks_more_of_a_short_sale_and_keeps_the_buffer_that_is_set() -> None:
    today = date(2027, 10, 21)
    state = DayTradingView(today, RICH, Window((today,)), MarginState(RICH, Decimal(1000), RICH))
    limits = DayTradingLimits(Regime.INTRADAY_MARGIN, min_excess_liquidity=Decimal(700))
    verdicts = [judge("A", Decimal(notional), side, state, limits) for notional, side in ALLOWED_AND_DENIED]
    assert [denied and denied.reason for denied in verdicts] == [None, Reason.INTRADAY_MARGIN] * 2


ALLOWED_AND_DENIED = [(1200, Side.BUY), (1201, Side.BUY), (1000, Side.SELL), (1001, Side.SELL)]


def test_an_account_of_a_hundred_thousand_that_pays_in_cash_is_left_alone_by_auto() -> None:
    equity = Decimal(100_000)
    for day in (date(2000, 1, 3), date(2013, 1, 2), date(2026, 11, 25)):
        state = DayTradingView(day, equity, Window((day,), (40,), 80), MarginState(equity, equity, equity))
        assert judge("A", Decimal(10_000), Side.BUY, state, AUTO) is None


sides = st.lists(st.tuples(st.sampled_from("+-"), st.integers(1, 9)), max_size=20)


@given(sides, st.integers(-20, 20))
def test_day_trades_are_never_more_than_half_of_the_executions_and_grow_with_time(
    parts: list[tuple[str, int]], overnight: int
) -> None:
    made = executions(" ".join(f"{sign}{size}" for sign, size in parts))
    counts = [count_day_trades(made[:n], Decimal(overnight)) for n in range(len(made) + 1)]
    assert all(before <= after <= before + 1 for before, after in pairwise(counts))
    assert counts[-1] <= max(0, len(made) - 1)
