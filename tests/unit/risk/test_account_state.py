"""The account's own rules follow its fills: settled money, day trades, margin deficits, and what is not known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fakes.known import Memory, Weekdays
from fakes.values import T0, make_fill, make_intent, make_position
from openbell.domain.account import Account
from openbell.domain.errors import CalendarError
from openbell.domain.limits import AccountKind, Regime
from openbell.domain.orders import Fill, IntentKind, Side
from openbell.risk.account_state import AccountState
from openbell.risk.day_trading import DayTradingLimits
from openbell.risk.intraday_margin import Deficit, MarginState
from openbell.risk.settled_cash import SettlementLimits, SettlementView
from openbell.risk.settlement import CashMovement, SettlementLedger, Tranche, ViolationKind
from openbell.risk.view import RiskLimits, WorkingEntry

MONDAY, TUESDAY = T0.date(), T0.date() + timedelta(days=1)
DAY = timedelta(days=1)
FEELESS = SettlementLimits(AccountKind.CASH, cost_allowance=0.0, fee_allowance=Decimal(0))
CASH = RiskLimits(settlement=FEELESS)
MARGIN = RiskLimits(day_trading=DayTradingLimits(Regime.INTRADAY_MARGIN))
NO_RULES = RiskLimits()


def account(cash: str = "10000", **changes: Any) -> Account:
    return replace(Account("T", "USD", Decimal(100_000), Decimal(cash), Decimal(100_000)), **changes)


def fill(name: str, side: Side, worth: int, time: datetime = T0, symbol: str = "AAPL") -> Fill:
    """Ten shares that come to `worth`, without a commission."""
    return make_fill(
        f"x-{name}", name, symbol=symbol, side=side, price=Decimal(worth) / 10, commission=Decimal(0), time=time
    )


def working(symbol: str, notional: int, side: Side = Side.BUY) -> WorkingEntry:
    return WorkingEntry(f"p-{symbol}", "trend", symbol, side, Decimal(notional))


class Subject:
    """A state with its memory and its dates, and what it told of that it could not know."""

    def __init__(self, limits: RiskLimits, **known: Any) -> None:
        self.known = Memory(**known)
        self.dates = Weekdays()
        self.told: list[Exception] = []
        self.state = AccountState(self.known, self.dates, self.told.append)
        self.state.adopt(limits, self.dates)

    def begin(
        self,
        cash: str = "10000",
        fills: Iterable[Fill] = (),
        deficits: Iterable[Deficit] = (),
        now: datetime = T0,
    ) -> None:
        known = tuple(fills)
        self.state.begin([self.state.opening(account(cash), known, now)], known, deficits, now)

    def take_in(self, cash: str, now: datetime = T0) -> CashMovement | None:
        return self.state.take_in(account(cash), now)

    @property
    def ledger(self) -> SettlementLedger:
        assert self.known.settlement is not None
        return self.known.settlement


# whether any rule asks


@pytest.mark.parametrize(
    ("limits", "is_cash", "is_needed", "history"),
    [
        (NO_RULES, False, False, timedelta(days=14)),
        (MARGIN, False, True, timedelta(days=14)),
        (CASH, True, True, timedelta(days=372)),
    ],
)
def test_an_account_is_followed_where_a_rule_asks_and_as_far_back_as_it_asks(
    limits: RiskLimits, is_cash: bool, is_needed: bool, history: timedelta
) -> None:
    state = Subject(limits).state
    assert (state.is_cash, state.is_needed, state.history()) == (is_cash, is_needed, history)


def test_before_limits_are_adopted_no_rule_asks_and_nothing_is_known() -> None:
    state = AccountState(Memory(), Weekdays())
    assert (state.is_read, state.is_cash, state.is_needed) == (False, False, False)
    assert state.is_quiet(0, is_trading=False)  # nobody has booked anything


def test_limits_of_the_same_kind_of_account_keep_what_is_known() -> None:
    subject = Subject(CASH)
    subject.begin()
    before = subject.ledger
    elsewhere = Weekdays()
    subject.state.adopt(replace(CASH, max_concurrent_trades=9), elsewhere)
    assert subject.state.is_read
    assert subject.known.settlement == before
    assert subject.state.dates is elsewhere


@pytest.mark.parametrize(("before", "after"), [(CASH, MARGIN), (MARGIN, CASH), (CASH, NO_RULES), (MARGIN, NO_RULES)])
def test_another_kind_of_account_or_none_that_is_followed_begins_anew(before: RiskLimits, after: RiskLimits) -> None:
    subject = Subject(before)
    subject.begin()
    subject.state.adopt(after, subject.dates)
    subject.state.adopt(after, subject.dates)  # where nothing is followed, what was read is not kept
    assert not subject.state.is_read
    assert subject.known.settlement is None


# settled money


def test_a_cash_account_begins_with_its_cash_and_the_fills_behind_it() -> None:
    subject = Subject(CASH)
    subject.begin("10000", [fill("a", Side.BUY, 1000), fill("b", Side.SELL, 1200)])
    assert subject.state.is_read
    assert subject.ledger.settled == 8800
    assert subject.ledger.unsettled == (Tranche(Decimal(1200), TUESDAY),)


def test_a_margin_account_has_no_ledger_of_settlement() -> None:
    subject = Subject(MARGIN)
    subject.begin()
    assert subject.state.is_read
    assert subject.known.settlement is None


def test_a_fill_is_booked_on_its_trade_date_and_says_what_it_violated() -> None:
    subject = Subject(CASH)
    subject.begin("1000")
    entry, leaving = make_intent(), make_intent(kind=IntentKind.EXIT)
    assert subject.state.book(entry, fill("a", Side.BUY, 1000)) == ()
    assert subject.state.book(leaving, fill("b", Side.SELL, 1000)) == ()
    assert subject.ledger.unsettled == (Tranche(Decimal(1000), TUESDAY),)
    assert subject.state.book(entry, fill("c", Side.BUY, 900)) == ()  # with proceeds that have not settled
    (violation,) = subject.state.book(leaving, fill("d", Side.SELL, 900))
    assert (violation.kind, violation.day, violation.amount) == (ViolationKind.GOOD_FAITH, MONDAY, 900)
    assert subject.state.book(entry, fill("e", Side.BUY, 100)) == ()  # a violation is said once


def test_a_fill_before_the_account_is_read_is_left_to_the_reading() -> None:
    subject = Subject(CASH)
    assert subject.state.book(make_intent(), fill("a", Side.BUY, 1000)) == ()
    assert subject.known.settlement is None
    assert subject.told == []


def test_an_account_opens_with_what_its_fills_do_not_explain_of_its_cash() -> None:
    fills = [fill("a", Side.BUY, 1000), fill("b", Side.SELL, 1200)]
    for limits, days in ((CASH, 372), (MARGIN, 14)):
        opening = Subject(limits).state.opening(account("10000"), fills, T0)
        assert opening == CashMovement(T0 - days * DAY, Decimal(9800))


def test_all_that_has_moved_the_cash_is_in_the_ledger_from_its_beginning() -> None:
    subject = Subject(CASH)
    came = CashMovement(T0, Decimal(500), TUESDAY)
    subject.state.begin([CashMovement(T0 - 9 * DAY, Decimal(10_000)), came], [fill("a", Side.BUY, 100)], (), T0)
    assert (subject.ledger.settled, subject.ledger.unsettled) == (9900, (Tranche(Decimal(500), TUESDAY),))


def test_money_that_came_settles_as_a_sale_of_now_does() -> None:
    subject = Subject(CASH)
    subject.begin("10000")
    assert subject.take_in("10500", T0 + DAY) == CashMovement(T0 + DAY, Decimal(500), TUESDAY + DAY)
    assert (subject.ledger.settled, subject.ledger.unsettled) == (10_000, (Tranche(Decimal(500), TUESDAY + DAY),))
    assert subject.take_in("10500", T0 + DAY) is None


def test_money_that_went_has_gone_from_what_had_settled() -> None:
    subject = Subject(CASH)
    subject.begin("10000")
    assert subject.take_in("9000") == CashMovement(T0, Decimal(-1000), None)
    assert (subject.ledger.settled, subject.ledger.unsettled) == (9000, ())


@pytest.mark.parametrize(
    ("cash", "moved"),
    [("10000.01", "0.01"), ("10000.009", "0"), ("9999.99", "-0.01"), ("9999.991", "0")],
)
def test_cash_that_differs_by_a_cent_or_more_has_moved(cash: str, moved: str) -> None:
    subject = Subject(CASH)
    subject.begin("10000")
    movement = subject.take_in(cash)
    assert (movement.amount if movement else 0) == Decimal(moved)
    assert (movement.settles_on if movement else None) == (TUESDAY if Decimal(moved) > 0 else None)
    assert subject.ledger.cash == 10_000 + Decimal(moved)


def test_nothing_is_taken_in_before_the_account_is_read() -> None:
    subject = Subject(CASH)
    assert subject.take_in("5000") is None
    assert subject.known.settlement is None


def test_money_that_came_on_a_day_that_is_not_known_makes_the_account_unknown_and_money_that_went_does_not() -> None:
    subject = Subject(CASH)
    subject.begin("10000")
    subject.dates.unknown_from = MONDAY
    assert subject.take_in("9000") is not None
    assert subject.state.is_read
    assert subject.take_in("9500") is None
    assert not subject.state.is_read
    assert subject.known.settlement is None
    assert [type(error) for error in subject.told] == [CalendarError]


def test_a_cash_account_is_free_to_buy_with_what_no_open_buy_needs() -> None:
    subject = Subject(CASH, account=account())
    subject.begin("10000", [fill("b", Side.SELL, 1200)])
    waiting = (working("MSFT", 3000), working("IBM", 500), working("KO", 700, Side.SELL))
    assert subject.state.settlement_view(T0, waiting) == SettlementView(
        FEELESS, Decimal(5300), Decimal(6500), None, T0.date() + 2 * DAY
    )
    assert subject.state.settlement_view(T0 + 2 * DAY, ()) == SettlementView(FEELESS, Decimal(10_000), Decimal(10_000))


def test_the_brokers_own_figure_of_settled_cash_tightens_ours() -> None:
    subject = Subject(CASH, account=account(settled_cash=Decimal(40)))
    subject.begin("10000")
    view = subject.state.settlement_view(T0, ())
    assert view is not None
    assert view.free == 40


@pytest.mark.parametrize("missing", ["ledger", "account", "calendar"])
def test_a_cash_account_of_which_something_is_not_known_has_nothing_to_buy_with(missing: str) -> None:
    subject = Subject(CASH, account=None if missing == "account" else account())
    if missing != "ledger":
        subject.begin("10000")
    if missing == "calendar":
        subject.dates.unknown_from = MONDAY
    assert subject.state.settlement_view(T0, ()) == SettlementView(FEELESS, Decimal(0), Decimal(0))
    assert [str(error) for error in subject.told] == (
        ["the calendar ends before 2026-03-02"] if missing == "calendar" else []
    )


def test_a_margin_account_has_no_view_of_settlement() -> None:
    subject = Subject(MARGIN, account=account())
    subject.begin()
    assert subject.state.settlement_view(T0, ()) is None


# what cannot be known


def test_a_fill_whose_dates_are_not_known_makes_the_account_unknown() -> None:
    subject = Subject(CASH)
    subject.begin("10000")
    subject.dates.unknown_from = MONDAY
    assert subject.state.book(make_intent(), fill("a", Side.BUY, 1000)) == ()
    assert not subject.state.is_read
    assert subject.known.settlement is None
    assert [type(error) for error in subject.told] == [CalendarError]


def test_an_account_does_not_begin_with_fills_whose_dates_are_not_known() -> None:
    subject = Subject(CASH)
    subject.begin("10000")
    subject.dates.unknown_from = TUESDAY  # a sale of Monday settles on a day that is not known
    subject.begin("10000", [fill("a", Side.SELL, 1000)])
    assert not subject.state.is_read
    assert subject.known.settlement is None
    assert [str(error) for error in subject.told] == ["the calendar ends before 2026-03-03"]


def test_whoever_does_not_listen_is_not_told() -> None:
    dates = Weekdays()
    state = AccountState(Memory(), dates)
    state.adopt(MARGIN, dates)
    state.begin((), (), (), T0)
    dates.unknown_from = MONDAY
    assert state.book(make_intent(), fill("a", Side.BUY, 1000)) == ()
    assert not state.is_read


# quiet readings


def test_a_reading_is_quiet_while_nothing_is_under_way_and_nothing_was_booked_since_the_last() -> None:
    state = Subject(CASH).state
    assert not state.is_quiet(3, is_trading=False)
    assert state.is_quiet(3, is_trading=False)
    assert not state.is_quiet(3, is_trading=True)
    assert not state.is_quiet(4, is_trading=False)
    assert state.is_quiet(4, is_trading=False)
    assert not state.is_quiet(5, is_trading=True)
    assert state.is_quiet(5, is_trading=False)  # what was booked was seen by the reading before


# day trades


def test_a_margin_account_shows_its_day_trades_and_what_may_become_one() -> None:
    held = (make_position("m", symbol="MSFT"), make_position("n", symbol="MSFT", quantity=Decimal(5)))
    subject = Subject(MARGIN, account=account(day_trades_remaining=2, excess_liquidity=Decimal(50_000)), positions=held)
    before = [fill("a", Side.BUY, 100, T0 - 3 * DAY), fill("b", Side.SELL, 100, T0 - 3 * DAY)]
    subject.begin("9000", before)
    for name in "mn":
        subject.state.book(make_intent(), fill(name, Side.BUY, 100, symbol="MSFT"))
    view = subject.state.day_trading_view(T0, (working("IBM", 1000), working("KO", 500, Side.SELL)))
    assert view is not None
    assert view.today == MONDAY
    assert view.window.days == (*(date(2026, 2, day) for day in (24, 25, 26, 27)), MONDAY)
    assert (view.window.day_trades, view.window.trades, view.window.next_day) == ((0, 0, 0, 1, 0), 4, TUESDAY)
    assert view.opened == ("MSFT", "IBM", "KO")
    assert view.day_trades_remaining == 2
    assert view.margin == MarginState(Decimal(100_000), Decimal(50_000) - 450, Decimal(8500))


def test_shares_that_were_held_overnight_and_sold_are_no_day_trade() -> None:
    held = (make_position(quantity=Decimal(10)),)
    subject = Subject(MARGIN, account=account(), positions=held)
    subject.begin("10000", [fill("a", Side.SELL, 100)])  # twenty were held at the start of the day
    view = subject.state.day_trading_view(T0, ())
    assert view is not None
    assert (view.window.count, view.opened) == (0, ())


@pytest.mark.parametrize(("first", "prior"), [(None, 100_000), (Decimal(90_000), 90_000)])
def test_the_equity_before_today_is_the_days_first_where_it_is_known(first: Decimal | None, prior: int) -> None:
    subject = Subject(MARGIN, account=account(), day_start_equity=first)
    view = subject.state.day_trading_view(T0, ())
    assert view is not None
    assert view.prior_equity == prior


@pytest.mark.parametrize(("limits", "cash"), [(CASH, account()), (NO_RULES, account()), (MARGIN, None)])
def test_without_a_rule_or_a_word_of_the_account_there_is_no_view_of_day_trading(
    limits: RiskLimits, cash: Account | None
) -> None:
    assert Subject(limits, account=cash).state.day_trading_view(T0, ()) is None


def test_without_dates_there_is_no_view_of_day_trading() -> None:
    subject = Subject(MARGIN, account=account())
    subject.dates.unknown_from = MONDAY
    assert subject.state.day_trading_view(T0, ()) is None
    assert [type(error) for error in subject.told] == [CalendarError]


def fills_of_a_day_trade(time: datetime, name: str = "") -> list[Fill]:
    return [fill(f"{name}{time}buy", Side.BUY, 100, time), fill(f"{name}{time}sell", Side.SELL, 100, time)]


@pytest.mark.parametrize(("age", "counted"), [(0, 1), (1, 1), (6, 1), (7, 0)])
def test_a_day_trade_counts_for_five_business_days(age: int, counted: int) -> None:
    tuesday = T0 + DAY  # the first of the five is Wednesday of last week
    subject = Subject(MARGIN, account=account())
    subject.begin("10000", fills_of_a_day_trade(tuesday - age * DAY), now=tuesday)
    view = subject.state.day_trading_view(tuesday, ())
    assert view is not None
    assert view.window.count == counted


class WithHolidays(Weekdays):
    """No business days but these."""

    def __init__(self, days: Iterable[date]) -> None:
        super().__init__()
        self.days = tuple(days)

    def business_days(self, today: date) -> tuple[date, ...]:
        return self.days


@pytest.mark.parametrize("is_booked", [False, True])
@pytest.mark.parametrize(("age", "counted"), [(14, 1), (15, 0)])
def test_fills_are_kept_for_a_fortnight(age: int, counted: int, is_booked: bool) -> None:
    old = T0 - age * DAY
    subject = Subject(MARGIN, account=account())
    if is_booked:
        subject.begin("10000", now=old)
        for each in (*fills_of_a_day_trade(old), fill("now", Side.BUY, 100, symbol="MSFT")):
            subject.state.book(make_intent(), each)
    else:
        subject.begin("10000", fills_of_a_day_trade(old))
    subject.state.adopt(MARGIN, WithHolidays([old.date(), MONDAY]))
    view = subject.state.day_trading_view(T0, ())
    assert view is not None
    assert view.window.count == counted


# margin


@pytest.mark.parametrize(
    ("quantity", "price", "excess"),
    [
        (10, None, "99750"),  # 25 % of what a long position cost
        (10, Decimal(200), "99500"),  # of what it is worth
        (1, None, "99975"),
        (-10, None, "99700"),  # 30 % of a short one
        (-10, Decimal(200), "99400"),
    ],
)
def test_excess_liquidity_that_the_broker_does_not_tell_is_equity_less_maintenance(
    quantity: int, price: Decimal | None, excess: str
) -> None:
    subject = Subject(
        MARGIN,
        account=account("9000"),
        positions=(make_position(quantity=Decimal(quantity)), make_position("b", symbol="KO", quantity=Decimal(0))),
        prices={} if price is None else {"AAPL": price},
    )
    view = subject.state.day_trading_view(T0, ())
    assert view is not None
    assert view.margin == MarginState(Decimal(100_000), Decimal(excess), Decimal(9000))


def test_the_maintenance_of_all_positions_adds_up() -> None:
    lots = (make_position("a"), make_position("b", symbol="MSFT", quantity=Decimal(-10)))
    view = Subject(MARGIN, account=account(), positions=lots).state.day_trading_view(T0, ())
    assert view is not None
    assert view.margin.excess_liquidity == 100_000 - 250 - 300


def margin_account(excess: int | None, equity: int = 10_000) -> Account:
    return account(equity=Decimal(equity), excess_liquidity=None if excess is None else Decimal(excess))


def test_a_shortfall_right_after_an_entry_is_the_days_deficit_and_the_highest_counts() -> None:
    subject = Subject(MARGIN, day_start=T0)
    subject.begin()

    def call_after_a_fill(excess: int, kind: IntentKind = IntentKind.ENTRY) -> tuple[Deficit, ...]:
        subject.state.book(make_intent(kind=kind), fill(f"x{excess}", Side.BUY, 100))
        return subject.state.margin_calls(margin_account(excess))

    assert subject.state.margin_calls(margin_account(-5000)) == ()  # prices fell: no transaction did that
    assert call_after_a_fill(-4000, IntentKind.EXIT) == ()
    assert call_after_a_fill(-2000) == (Deficit(MONDAY, Decimal(2000), Decimal(10_000)),)
    assert subject.state.margin_calls(margin_account(-9000)) == ()  # the entry has been looked at
    assert call_after_a_fill(-2000) == ()
    assert call_after_a_fill(-1999) == ()
    assert call_after_a_fill(-2001) == (Deficit(MONDAY, Decimal(2001), Decimal(10_000)),)


def test_an_exit_after_an_entry_does_not_hide_the_entry() -> None:
    subject = Subject(MARGIN, day_start=T0)
    subject.begin()
    subject.state.book(make_intent(), fill("a", Side.BUY, 100))
    subject.state.book(make_intent(kind=IntentKind.EXIT), fill("b", Side.SELL, 100))
    assert subject.state.margin_calls(margin_account(-1)) == (Deficit(MONDAY, Decimal(1), Decimal(10_000)),)


def test_deficits_are_satisfied_once_nothing_is_missing_and_are_said_once() -> None:
    old = Deficit(MONDAY - 3 * DAY, Decimal(3000), Decimal(10_000))
    settled = Deficit(MONDAY - 4 * DAY, Decimal(2000), Decimal(10_000), satisfied_on=MONDAY - 3 * DAY)
    subject = Subject(MARGIN, day_start=T0)
    subject.begin(deficits=[settled, old])
    assert subject.state.margin_calls(margin_account(-1)) == ()
    assert subject.state.margin_calls(margin_account(0)) == (replace(old, satisfied_on=MONDAY),)
    assert subject.state.margin_calls(margin_account(0)) == ()


def test_a_deficit_that_was_satisfied_today_is_had_again_by_a_higher_shortfall_alone() -> None:
    today = Deficit(MONDAY, Decimal(3000), Decimal(10_000), satisfied_on=MONDAY)
    subject = Subject(MARGIN, day_start=T0)
    subject.begin(deficits=[today])
    subject.state.book(make_intent(), fill("a", Side.BUY, 100))
    assert subject.state.margin_calls(margin_account(-3000)) == ()
    subject.state.book(make_intent(), fill("b", Side.BUY, 100))
    assert subject.state.margin_calls(margin_account(-3001)) == (Deficit(MONDAY, Decimal(3001), Decimal(10_000)),)


@pytest.mark.parametrize("missing", ["excess", "margin", "day"])
def test_there_is_no_margin_call_where_the_broker_tells_no_excess_in_a_cash_account_or_before_the_first_day(
    missing: str,
) -> None:
    subject = Subject(CASH if missing == "margin" else MARGIN, day_start=None if missing == "day" else T0)
    subject.begin()
    subject.state.book(make_intent(), fill("a", Side.BUY, 100))
    assert subject.state.margin_calls(margin_account(None if missing == "excess" else -3000)) == ()


def test_an_entry_before_a_reading_without_excess_is_not_blamed_for_a_later_shortfall() -> None:
    subject = Subject(MARGIN, day_start=T0)
    subject.begin()
    subject.state.book(make_intent(), fill("a", Side.BUY, 100))
    assert subject.state.margin_calls(margin_account(None)) == ()
    assert subject.state.margin_calls(margin_account(-3000)) == ()


def test_a_margin_call_needs_the_calendar_and_says_so() -> None:
    subject = Subject(MARGIN, day_start=T0)
    subject.begin()
    subject.dates.unknown_from = MONDAY
    with pytest.raises(CalendarError):
        subject.state.margin_calls(margin_account(-1))


@pytest.mark.parametrize(("day", "restricted"), [(5, None), (6, MONDAY + timedelta(days=7 + 90))])
def test_a_deficit_that_is_left_restricts_the_account_after_five_business_days(
    day: int, restricted: date | None
) -> None:
    left = Deficit(MONDAY, Decimal(3000), Decimal(10_000))
    subject = Subject(MARGIN, account=account())
    subject.begin(deficits=[left])
    now = datetime.combine(subject.dates.business_day_after(MONDAY, day), T0.timetz())
    view = subject.state.day_trading_view(now, ())
    assert view is not None
    assert view.margin.restricted_until == restricted
