"""Which account is traded, and the two statements that live trading needs."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.brokers.ibkr.account import Chosen, Mode, NotAllowed, Row, Wanted, account_of, choose
from openbell.domain.account import Account
from openbell.domain.answers import Unknown, Value


@pytest.mark.parametrize(
    ("managed", "wanted", "chosen"),
    [
        (["DU1"], Wanted(), Chosen("DU1", False)),
        (["DU1", "DU2"], Wanted("DU2"), Chosen("DU2", True)),
        (["DF1", "DU2"], Wanted("DF1"), Chosen("DF1", True)),
        (["U1"], Wanted("U1", Mode.LIVE, "U1"), Chosen("U1", False)),
        (["U1", "U2"], Wanted("U2", Mode.LIVE, "U2"), Chosen("U2", True)),
    ],
)
def test_an_account_that_may_be_traded_is_chosen(managed: list[str], wanted: Wanted, chosen: Chosen) -> None:
    assert choose(managed, wanted) == chosen


@pytest.mark.parametrize(
    ("managed", "wanted", "why"),
    [
        (["DU1", "DU2"], Wanted(), "several accounts (DU1, DU2)"),
        ([], Wanted(), "several accounts (none)"),
        (["DU1"], Wanted("DU9"), "does not manage account DU9; it manages DU1"),
        (["U1"], Wanted(), "Paper, and account U1 is a live one"),
        (["U1"], Wanted("U1"), "Paper, and account U1 is a live one"),
        (["U1"], Wanted("U1", Mode.PAPER, "U1"), "Paper, and account U1 is a live one"),
        (["DU1"], Wanted("DU1", Mode.LIVE, "DU1"), "Live, and account DU1 is a paper one"),
        (["U1"], Wanted("", Mode.LIVE, "U1"), "needs spec.broker.ibkr.account"),
        (["U1"], Wanted("U1", Mode.LIVE), "not allowed for account U1"),
        (["U1"], Wanted("U1", Mode.LIVE, "U2"), "not allowed for account U1"),
    ],
)
def test_any_other_is_refused_with_a_reason(managed: list[str], wanted: Wanted, why: str) -> None:
    found = choose(managed, wanted)
    assert isinstance(found, NotAllowed)
    assert why in found.why


NAMES = st.text("DUF12", min_size=1, max_size=3)


@given(st.lists(NAMES, max_size=3, unique=True), st.builds(Wanted, NAMES | st.just(""), st.sampled_from(Mode), NAMES))
def test_paper_never_trades_a_live_account_and_live_needs_both_statements(managed: list[str], wanted: Wanted) -> None:
    found = choose(managed, wanted)
    if isinstance(found, Chosen):
        assert found.account in managed
        assert found.account.startswith("D") == (wanted.mode is Mode.PAPER)
        if wanted.mode is Mode.LIVE:
            assert wanted.account == wanted.live_account == found.account


def rows(**values: str) -> list[Row]:
    return [Row("DU1", tag, value, "USD") for tag, value in values.items()]


def test_the_account_is_what_the_summary_says_of_it_and_of_no_other() -> None:
    mine = rows(NetLiquidation="100350.25", TotalCashValue="90000", BuyingPower="400000", SettledCash="89000",
                DayTradesRemaining="-1", ExcessLiquidity="95000")  # fmt: skip
    found = account_of("DU1", [*mine, Row("DU2", "NetLiquidation", "5", "USD")])
    money = [Decimal(text) for text in ("100350.25", "90000", "400000", "89000")]
    assert found == Value(Account("DU1", "USD", *money[:3], money[3], -1, Decimal(95000)))


def test_values_that_are_missing_are_none_and_never_zero() -> None:
    found = account_of("DU1", rows(NetLiquidation="1", TotalCashValue="1", BuyingPower="1"))
    assert isinstance(found, Value)
    assert (found.value.settled_cash, found.value.day_trades_remaining, found.value.excess_liquidity) == (None,) * 3


@pytest.mark.parametrize("value", ["", "n/a", "NaN", "1.7976931348623157E308"])
def test_without_equity_the_account_is_unknown(value: str) -> None:
    found = account_of("DU1", rows(NetLiquidation=value, TotalCashValue="1", BuyingPower="1"))
    assert found == Unknown("the summary of account DU1 has no NetLiquidation")


def test_a_summary_of_several_currencies_is_unknown() -> None:
    mixed = [*rows(NetLiquidation="1", TotalCashValue="1"), Row("DU1", "BuyingPower", "1", "EUR")]
    assert isinstance(account_of("DU1", mixed), Unknown)
    assert isinstance(account_of("DU1", []), Unknown)
