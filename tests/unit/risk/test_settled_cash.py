"""Settled and unsettled money: the published examples, and money that is never spent twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.values import T0, make_fill
from openbell.domain.limits import AccountKind
from openbell.domain.orders import Side
from openbell.domain.reasons import Reason
from openbell.risk import Candidate, Deny, RiskLimits, RiskView, evaluate_entry, reserve
from openbell.risk.account_rules import settled_cash
from openbell.risk.settled_cash import SettlementLimits, count_violations, settled_only_until, summary, view_of
from openbell.risk.settlement import (
    CashLot,
    CashMovement,
    SettlementLedger,
    Tranche,
    Violation,
    ViolationKind,
    before,
    booked,
    bought,
    ledger_of,
    paid_in,
    settle,
    sold,
    split,
)

MONDAY = date(2026, 3, 2)
TUESDAY, WEDNESDAY, THURSDAY = (MONDAY + timedelta(days=n) for n in (1, 2, 3))
TEN = Decimal(10_000)
SHARES = Decimal(100)
FREE = SettlementLimits(AccountKind.CASH, allow_unsettled_funding=True, cost_allowance=0.0, fee_allowance=Decimal(0))
STRICT = SettlementLimits(AccountKind.CASH, cost_allowance=0.0, fee_allowance=Decimal(0))


def next_weekday(day: date) -> date:
    """T+1 of a week without holidays."""
    return day + timedelta(days={4: 3, 5: 2}.get(day.weekday(), 1))


def buy(ledger: SettlementLedger, symbol: str, day: date, cost: Decimal = TEN) -> SettlementLedger:
    return bought(ledger, symbol, SHARES, cost, day)


def sell(ledger: SettlementLedger, symbol: str, day: date, proceeds: Decimal = TEN) -> SettlementLedger:
    return sold(ledger, symbol, SHARES, proceeds, day, next_weekday)


def kinds(ledger: SettlementLedger) -> list[ViolationKind]:
    return [violation.kind for violation in ledger.violations]


def test_fed_staff_letter_a_bought_with_settled_funds_may_be_sold_the_same_day() -> None:
    """Letter of 2000-01-07: settled $10,000; buy A, sell A. A was bought with settled funds."""
    ledger = sell(buy(SettlementLedger(TEN), "A", MONDAY), "A", MONDAY)
    assert ledger.violations == ()
    assert ledger.settled == 0
    assert ledger.unsettled == (Tranche(TEN, TUESDAY),)


def test_fed_staff_letter_b_bought_with_the_proceeds_of_a_must_be_held_until_paid() -> None:
    """The same day: buy B, sell B. The cash was set aside for A, so B was bought on good faith."""
    ledger = buy(sell(buy(SettlementLedger(TEN), "A", MONDAY), "A", MONDAY), "B", MONDAY)
    (lot,) = ledger.lots
    assert (lot.settled, lot.unsettled, lot.earliest_free_sale) == (0, (Tranche(TEN, TUESDAY),), WEDNESDAY)
    ledger = sell(ledger, "B", MONDAY)
    assert ledger.violations == (Violation(ViolationKind.GOOD_FAITH, "B", MONDAY, TEN),)


def test_ibkr_example_a() -> None:
    """$10,000 settled; T: buy ABC; T+1: sell ABC, buy XYZ, sell XYZ, which was not paid."""
    ledger = buy(SettlementLedger(TEN), "ABC", MONDAY)
    ledger = buy(sell(ledger, "ABC", TUESDAY), "XYZ", TUESDAY)
    assert ledger.violations == ()
    assert kinds(sell(ledger, "XYZ", TUESDAY)) == [ViolationKind.GOOD_FAITH]


def test_ibkr_example_b() -> None:
    """T: sell ABC (paid long ago), buy XYZ; T+1, on the settlement date itself: sell XYZ."""
    held = SettlementLedger(Decimal(0), lots=(CashLot("ABC", SHARES, MONDAY - timedelta(days=30), TEN),))
    ledger = buy(sell(held, "ABC", MONDAY), "XYZ", MONDAY)
    assert ledger.violations == ()
    assert kinds(sell(ledger, "XYZ", TUESDAY)) == [ViolationKind.GOOD_FAITH]
    assert kinds(sell(ledger, "XYZ", WEDNESDAY)) == []


def test_money_settles_by_the_day_after_its_settlement_date() -> None:
    ledger = sell(buy(SettlementLedger(TEN), "A", MONDAY), "A", MONDAY)
    assert settle(ledger, TUESDAY).settled == 0
    assert settle(ledger, WEDNESDAY) == SettlementLedger(TEN)


def test_settled_money_pays_first_then_what_settles_first() -> None:
    late, soon = Tranche(Decimal(50), THURSDAY), Tranche(Decimal(30), TUESDAY)
    ledger = bought(SettlementLedger(Decimal(100), (late, soon)), "A", SHARES, Decimal(140), MONDAY)
    assert ledger.lots[0].settled == 100
    assert ledger.lots[0].unsettled == (soon, Tranche(Decimal(10), THURSDAY))
    assert (ledger.settled, ledger.unsettled) == (0, (Tranche(Decimal(40), THURSDAY),))
    assert ledger.lots[0].earliest_free_sale == THURSDAY + timedelta(days=1)


def test_selling_what_no_money_covered_is_free_riding() -> None:
    ledger = buy(SettlementLedger(Decimal(4000)), "A", MONDAY)
    assert ledger.settled == -6000
    ledger = sell(ledger, "A", MONDAY)
    assert ledger.violations == (Violation(ViolationKind.FREE_RIDING, "A", MONDAY, Decimal(6000)),)


def test_a_deposit_pays_for_what_was_not_covered() -> None:
    ledger = paid_in(buy(SettlementLedger(Decimal(4000)), "A", MONDAY), Decimal(6000))
    assert ledger.settled == 0
    assert sell(ledger, "A", MONDAY).violations == ()


def test_half_of_a_lot_is_half_of_what_paid_for_it() -> None:
    ledger = buy(SettlementLedger(Decimal(0), (Tranche(TEN, TUESDAY),)), "A", MONDAY)
    ledger = sold(ledger, "A", SHARES / 2, Decimal(5000), MONDAY, next_weekday)
    assert ledger.violations[0].amount == 5000
    assert ledger.lots[0].quantity == 50
    assert ledger.lots[0].unsettled == (Tranche(Decimal(5000), TUESDAY),)
    assert split(ledger, "A", Decimal(2)).lots[0].quantity == 100


def test_a_part_of_a_lot_that_nothing_covered_is_free_riding_for_that_part() -> None:
    ledger = buy(SettlementLedger(Decimal(4000)), "A", MONDAY)
    ledger = sold(ledger, "A", SHARES / 4, Decimal(2500), MONDAY, next_weekday)
    assert ledger.violations == (Violation(ViolationKind.FREE_RIDING, "A", MONDAY, Decimal(1500)),)
    (rest,) = ledger.lots
    assert (rest.quantity, rest.settled, rest.unfunded) == (75, 3000, 4500)


def test_lots_are_sold_first_in_first_out() -> None:
    ledger = buy(SettlementLedger(TEN, (Tranche(TEN, TUESDAY),)), "A", MONDAY)
    ledger = buy(ledger, "A", MONDAY)
    once = sell(ledger, "A", MONDAY)
    assert once.violations == ()
    assert kinds(sell(once, "A", MONDAY)) == [ViolationKind.GOOD_FAITH]


def test_what_was_bought_and_when_is_kept_with_the_lot() -> None:
    (lot,) = buy(SettlementLedger(TEN), "A", TUESDAY).lots
    assert lot == CashLot("A", SHARES, TUESDAY, TEN)
    assert lot.earliest_free_sale is None


def test_a_sale_takes_no_lots_of_other_symbols() -> None:
    ledger = buy(buy(SettlementLedger(TEN * 2), "B", MONDAY), "A", MONDAY)
    assert [lot.symbol for lot in sell(ledger, "A", MONDAY).lots] == ["B"]


def test_one_sale_of_several_lots_violates_by_what_was_missing_of_all() -> None:
    unsettled = (Tranche(Decimal(8000), TUESDAY), Tranche(Decimal(5000), WEDNESDAY))
    ledger = buy(buy(SettlementLedger(Decimal(0), unsettled), "A", MONDAY), "A", MONDAY)  # 10000, then 3000 and 7000
    both = sold(ledger, "A", SHARES * 2, TEN, MONDAY, next_weekday)
    assert both.violations == (
        Violation(ViolationKind.GOOD_FAITH, "A", MONDAY, Decimal(13_000)),
        Violation(ViolationKind.FREE_RIDING, "A", MONDAY, Decimal(7000)),
    )
    nothing = buy(buy(SettlementLedger(Decimal(0)), "A", MONDAY), "A", MONDAY)
    (violation,) = sold(nothing, "A", SHARES * 2, TEN, MONDAY, next_weekday).violations
    assert violation.amount == 20_000


def test_a_single_share_is_sold_from_its_lot() -> None:
    ledger = bought(SettlementLedger(TEN), "A", Decimal(1), Decimal(100), MONDAY)
    assert sold(ledger, "A", Decimal(1), Decimal(100), MONDAY, next_weekday).lots == ()
    two = bought(ledger, "A", Decimal(1), Decimal(90), MONDAY)
    assert [lot.settled for lot in sold(two, "A", Decimal(1), Decimal(100), MONDAY, next_weekday).lots] == [90]


def test_a_split_changes_the_lots_of_its_symbol_alone() -> None:
    ledger = buy(buy(SettlementLedger(TEN * 2), "A", MONDAY), "B", MONDAY)
    assert [lot.quantity for lot in split(ledger, "A", Decimal(4)).lots] == [400, 100]


def test_money_that_comes_pays_for_the_oldest_lots_first_and_no_more_than_there_is() -> None:
    ledger = buy(buy(SettlementLedger(Decimal(4000)), "A", MONDAY), "B", MONDAY)
    paid = paid_in(ledger, Decimal(9000))
    assert [(lot.settled, lot.unfunded) for lot in paid.lots] == [(10_000, 0), (3000, 7000)]
    assert paid.settled == -7000
    taken = paid_in(paid, Decimal(-500))
    assert taken.lots == paid.lots
    assert taken.settled == -7500


def test_violations_count_for_twelve_months() -> None:
    ledger = SettlementLedger(TEN, violations=(Violation(ViolationKind.GOOD_FAITH, "A", MONDAY, TEN),))
    assert count_violations(ledger, ViolationKind.GOOD_FAITH, date(2027, 3, 1)) == 1
    assert count_violations(ledger, ViolationKind.GOOD_FAITH, date(2027, 3, 2)) == 0
    assert count_violations(ledger, ViolationKind.FREE_RIDING, MONDAY) == 0
    assert summary(ledger, MONDAY) == (
        "settled 10000.00, unsettled 0.00, 1 good-faith and 0 free-riding violations in 12 months"
    )


def test_good_faith_stops_one_before_the_brokers_limit() -> None:
    def with_violations(*days: date) -> SettlementLedger:
        return SettlementLedger(TEN, violations=tuple(Violation(ViolationKind.GOOD_FAITH, "A", d, TEN) for d in days))

    assert settled_only_until(with_violations(MONDAY), FREE, TUESDAY) is None
    second = with_violations(MONDAY, TUESDAY)
    assert settled_only_until(second, FREE, TUESDAY) == date(2027, 3, 1)
    assert settled_only_until(second, FREE, date(2027, 3, 1)) == date(2027, 3, 1)
    assert settled_only_until(second, FREE, date(2027, 3, 2)) is None


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_the_first_good_faith_violation_is_the_last_where_the_brokers_limit_is_that_low(limit: int) -> None:
    ledger = SettlementLedger(TEN, violations=(Violation(ViolationKind.GOOD_FAITH, "A", MONDAY, TEN),))
    limits = SettlementLimits(AccountKind.CASH, allow_unsettled_funding=True, good_faith_limit=limit)
    assert settled_only_until(ledger, limits, TUESDAY) == date(2027, 3, 1)


def test_the_twelve_months_of_a_leap_day_end_with_february() -> None:
    leap_day = date(2028, 2, 29)
    before = tuple(Violation(ViolationKind.GOOD_FAITH, "A", date(2027, 2, day), TEN) for day in (28, 28))
    assert count_violations(SettlementLedger(TEN, violations=before), ViolationKind.GOOD_FAITH, leap_day) == 0
    later = tuple(Violation(ViolationKind.GOOD_FAITH, "A", date(2027, 3, day), TEN) for day in (1, 1))
    assert count_violations(SettlementLedger(TEN, violations=later), ViolationKind.GOOD_FAITH, leap_day) == 2
    of_leap_day = tuple(Violation(ViolationKind.GOOD_FAITH, "A", day, TEN) for day in (leap_day, leap_day))
    ledger = SettlementLedger(TEN, violations=of_leap_day)
    assert settled_only_until(ledger, FREE, leap_day) == date(2029, 2, 27)


def test_the_summary_counts_what_has_settled_by_today_and_each_kind() -> None:
    found = tuple(
        Violation(kind, "A", MONDAY, TEN)
        for kind in (ViolationKind.FREE_RIDING, ViolationKind.FREE_RIDING, ViolationKind.GOOD_FAITH)
    )
    ledger = SettlementLedger(Decimal(1), (Tranche(Decimal(2), MONDAY), Tranche(Decimal(4), TUESDAY)), (), found)
    assert summary(ledger, TUESDAY) == (
        "settled 3.00, unsettled 4.00, 1 good-faith and 2 free-riding violations in 12 months"
    )


def test_one_free_riding_means_settled_money_for_ninety_days() -> None:
    """12 CFR 220.8(c): 90 calendar days from the sale."""
    ledger = SettlementLedger(TEN, violations=(Violation(ViolationKind.FREE_RIDING, "A", MONDAY, TEN),))
    end = MONDAY + timedelta(days=90)
    assert settled_only_until(ledger, FREE, end) == end
    assert settled_only_until(ledger, FREE, end + timedelta(days=1)) is None


# the rule


def view(ledger: SettlementLedger, limits: SettlementLimits, **changes: Any) -> RiskView:
    million = Decimal(10**6)
    state = view_of(ledger, limits, MONDAY, **changes)
    return RiskView(T0, T0, million, million, Decimal(0), million, settlement=state)


def candidate(notional: str = "5000", **changes: Any) -> Candidate:
    values = {
        "strategy": "trend",
        "symbol": "B",
        "side": Side.BUY,
        "quantity": Decimal(1),
        "price": Decimal(notional),
        "position_id": f"p-{notional}",
    }
    return Candidate(**(values | changes))


def judge(entry: Candidate, ledger: SettlementLedger, limits: SettlementLimits, **changes: Any) -> Deny | None:
    verdict = evaluate_entry(entry, view(ledger, limits, **changes), RiskLimits(settlement=limits))
    return verdict if isinstance(verdict, Deny) else None


UNSETTLED = SettlementLedger(Decimal(4000), (Tranche(Decimal(6000), TUESDAY),))


def test_without_unsettled_funding_only_settled_money_buys() -> None:
    assert judge(candidate("4000"), UNSETTLED, STRICT) is None
    denied = judge(candidate("4000.01"), UNSETTLED, STRICT)
    assert denied is not None
    assert denied.reason is Reason.SETTLED_CASH
    assert denied.detail == "the order needs 4000.01 with fees, 4000.00 settled is free"
    assert denied.until == datetime(2026, 3, 4, tzinfo=UTC)  # the day after the proceeds settle


def test_with_unsettled_funding_all_money_buys_until_violations_stop_it() -> None:
    assert judge(candidate("10000"), UNSETTLED, FREE) is None
    assert judge(candidate("10000.01"), UNSETTLED, FREE) == Deny(
        Reason.SETTLED_CASH,
        "the order needs 10000.01 with fees, 10000.00 is there with unsettled",
        datetime(2026, 3, 4, tzinfo=UTC),
    )
    stopped = SettlementLedger(
        UNSETTLED.settled, UNSETTLED.unsettled, (), (Violation(ViolationKind.FREE_RIDING, "A", MONDAY, TEN),)
    )
    assert judge(candidate("4000"), stopped, FREE) is None
    assert judge(candidate("4001"), stopped, FREE) == Deny(
        Reason.SETTLED_CASH_ONLY,
        "the order needs 4001.00 with fees, 4000.00 settled is free; settled money alone counts until 2026-05-31",
        datetime(2026, 3, 4, tzinfo=UTC),
    )


def test_fees_slippage_and_open_buys_are_kept_free() -> None:
    limits = SettlementLimits(AccountKind.CASH, cost_allowance=0.01, fee_allowance=Decimal(5))
    assert judge(candidate("1000"), SettlementLedger(Decimal(1015)), limits) is None
    assert judge(candidate("1000"), SettlementLedger(Decimal("1014.99")), limits) is not None
    assert judge(candidate("1000"), SettlementLedger(Decimal(2029)), limits, open_buys=[Decimal(1000)]) is not None
    assert judge(candidate("1000"), SettlementLedger(Decimal(2030)), limits, open_buys=[Decimal(1000)]) is None
    first = candidate("1000")
    after = reserve(view(SettlementLedger(Decimal(2029)), limits), first)
    second = candidate("1000", symbol="C", position_id="p-c")
    assert isinstance(evaluate_entry(second, after, RiskLimits(settlement=limits)), Deny)


def test_unsettled_money_is_kept_for_open_buys_too() -> None:
    assert judge(candidate("8000"), UNSETTLED, FREE, open_buys=[Decimal(2000)]) is None
    assert judge(candidate("8001"), UNSETTLED, FREE, open_buys=[Decimal(2000)]) is not None


def test_an_allowed_buy_uses_up_unsettled_money_too() -> None:
    after = reserve(view(UNSETTLED, FREE), candidate("8000"))
    limits = RiskLimits(settlement=FREE)
    assert not isinstance(evaluate_entry(candidate("2000", symbol="C"), after, limits), Deny)
    assert isinstance(evaluate_entry(candidate("2001", symbol="C"), after, limits), Deny)


def test_the_brokers_own_figure_can_only_tighten() -> None:
    assert judge(candidate("4000"), UNSETTLED, STRICT, settled_at_broker=Decimal(3999)) is not None
    assert judge(candidate("4001"), UNSETTLED, STRICT, settled_at_broker=Decimal(9999)) is not None


def test_a_cash_account_does_not_sell_short() -> None:
    limits = RiskLimits(settlement=STRICT, allow_short=True)
    verdict = evaluate_entry(candidate(side=Side.SELL), view(SettlementLedger(TEN), STRICT), limits)
    assert isinstance(verdict, Deny)
    assert verdict.reason is Reason.CASH_ACCOUNT_SHORT


def test_a_margin_account_is_not_asked() -> None:
    margin = SettlementLimits()
    assert judge(candidate("5000"), SettlementLedger(Decimal(0)), margin) is None


def test_no_rule_of_settlement_denies_a_sale_or_what_is_not_known() -> None:
    limits = RiskLimits(settlement=STRICT, allow_short=True)
    nothing = view(SettlementLedger(Decimal(0)), STRICT)
    assert settled_cash(candidate(side=Side.SELL), nothing, limits) is None
    assert settled_cash(candidate(), replace(nothing, settlement=None), limits) is None


# made from fills


def test_the_ledger_comes_from_the_cash_of_now_and_the_fills_before() -> None:
    fills = [
        (make_fill("1", symbol="A", quantity=SHARES, price=Decimal(100), commission=Decimal(1)), MONDAY),
        (
            make_fill("2", symbol="A", side=Side.SELL, quantity=SHARES, price=Decimal(101), commission=Decimal(1)),
            MONDAY,
        ),
    ]
    opening = CashMovement(T0 - timedelta(days=9), before(Decimal(10098), [fill for fill, _ in fills]))
    ledger = ledger_of([opening], fills, next_weekday)
    assert ledger.settled == -1  # the account had 10000, and A cost 10001 with its commission
    assert ledger.unsettled == (Tranche(Decimal(10099), TUESDAY),)
    assert ledger.cash == 10098
    assert kinds(ledger) == [ViolationKind.FREE_RIDING]


def test_what_came_without_a_fill_waits_for_its_date_and_what_went_is_gone_at_once() -> None:
    came = CashMovement(T0 + timedelta(hours=1), Decimal(500), TUESDAY)
    went = CashMovement(T0 + timedelta(hours=2), Decimal(-300))
    bought_later = make_fill("1", symbol="A", quantity=Decimal(1), price=Decimal(9900), time=T0 + timedelta(hours=3))
    ledger = ledger_of([CashMovement(T0, TEN), came, went], [(bought_later, MONDAY)], next_weekday)
    assert (ledger.settled, ledger.unsettled, ledger.cash) == (0, (Tranche(Decimal(299), TUESDAY),), 299)
    assert ledger.lots[0].unsettled == (Tranche(Decimal(201), TUESDAY),)


steps = st.lists(
    st.tuples(st.sampled_from(["buy", "sell", "day"]), st.sampled_from("AB"), st.integers(1, 6000)), max_size=40
)


def play(actions: list[tuple[str, str, int]], limits: SettlementLimits) -> tuple[SettlementLedger, Decimal, date]:
    """Buys only as the rule allows, sales of whatever is held, days that pass."""
    ledger, cash, day = SettlementLedger(TEN), TEN, MONDAY
    for number, (action, symbol, amount) in enumerate(actions):
        held = sum((lot.quantity for lot in ledger.lots if lot.symbol == symbol), Decimal(0))
        fill = make_fill(str(number), symbol=symbol, quantity=Decimal(1), price=Decimal(amount), commission=Decimal(1))
        if action == "day":
            day = next_weekday(day)
        elif action == "buy":
            state = view_of(ledger, limits, day)
            if limits.cost(fill.price) > state.free:
                continue
            ledger, cash = booked(ledger, fill, day, next_weekday), cash - fill.price - 1
        elif held >= 1:
            sale = make_fill(
                str(number), symbol=symbol, side=Side.SELL, quantity=Decimal(1), price=fill.price, commission=Decimal(1)
            )
            ledger, cash = booked(ledger, sale, day, next_weekday), cash + fill.price - 1
    return ledger, cash, day


@given(steps)
@settings(max_examples=200)
def test_settled_cash_is_never_negative_and_nothing_is_violated_without_unsettled_funding(
    actions: list[tuple[str, str, int]],
) -> None:
    limits = SettlementLimits(AccountKind.CASH, cost_allowance=0.0, fee_allowance=Decimal(1))
    ledger, cash, day = play(actions, limits)
    assert settle(ledger, day).settled >= 0
    assert ledger.violations == ()
    assert ledger.cash == cash
    assert all(not lot.unsettled and not lot.unfunded for lot in ledger.lots)


@pytest.mark.parametrize("quantity", ["1", "3"])
def test_every_part_of_a_cost_is_paid_by_something(quantity: str) -> None:
    ledger = SettlementLedger(Decimal(10), (Tranche(Decimal(7), TUESDAY),))
    ledger = bought(ledger, "A", Decimal(quantity), Decimal(20), MONDAY)
    (lot,) = ledger.lots
    assert (lot.settled, lot.unsettled[0].amount, lot.unfunded) == (10, 7, 3)
    assert (ledger.settled, ledger.cash) == (-3, -3)
