"""Rounding to ticks and lots, and which contract a symbol is."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.ibkr import UNSET, contract
from openbell.brokers.ibkr.contracts import UNQUALIFIED, Contracts, Qualified, qualify, round_price, round_terms
from openbell.brokers.ibkr.mapping import symbol_of, to_ibkr
from openbell.domain.answers import ConfirmedEmpty, Unknown, Value
from openbell.domain.orders import OrderTerms, Side

AAPL = Qualified("AAPL", 265598, "NASDAQ", Decimal("0.01"))
PRICES = st.decimals("0.0001", "9999", places=6, allow_nan=False)


def details(**changes: Any) -> Any:
    tick = changes.pop("tick", 0.01)
    increment = changes.pop("increment", 1.0)
    return SimpleNamespace(contract=contract(**changes), minTick=tick, sizeIncrement=increment)


@given(PRICES, st.sampled_from(["0.01", "0.05", "0.0001", "0.25"]), st.booleans())
def test_a_rounded_price_is_on_the_tick_on_its_side_and_within_one_tick(price: Decimal, tick: str, up: bool) -> None:
    step = Decimal(tick)
    rounded = round_price(price, step, up=up)
    assert rounded % step == 0
    assert rounded > 0
    assert abs(rounded - price) < step or rounded == step
    assert rounded >= price if up else (rounded <= price or rounded == step)
    assert round_price(rounded, step, up=up) == rounded


@pytest.mark.parametrize(
    ("side", "limit", "stop"),
    [(Side.BUY, "99.99", "99.99"), (Side.SELL, "100.00", "100.00")],
)
def test_a_buy_rounds_down_and_a_sell_up(side: Side, limit: str, stop: str) -> None:
    terms = OrderTerms(Decimal("10.7"), Decimal("99.9951"), Decimal("99.9951"))
    rounded = round_terms(terms, side, AAPL)
    assert (str(rounded.quantity), str(rounded.limit_price), str(rounded.stop_price)) == ("10", limit, stop)


def test_parts_of_a_penny_are_only_for_shares_below_one_dollar() -> None:
    fine = Qualified("X", 1, "", Decimal("0.0001"))
    below = round_terms(OrderTerms(Decimal(1), Decimal("0.12346")), Side.BUY, fine)
    above = round_terms(OrderTerms(Decimal(1), Decimal("1.23456")), Side.BUY, fine)
    assert (str(below.limit_price), str(above.limit_price)) == ("0.1234", "1.23")
    assert str(round_terms(OrderTerms(Decimal(1), Decimal("101.119")), Side.BUY, UNQUALIFIED).limit_price) == "101.11"


def test_a_share_is_the_one_contract_of_its_name_in_dollars() -> None:
    found = qualify("AAPL", [details(), details(), details(con_id=9, currency="EUR"), details(secType="OPT", con_id=8)])
    assert found == Value(AAPL)


def test_two_shares_of_one_name_are_none() -> None:
    found = qualify("AAPL", [details(), details(con_id=12)])
    assert isinstance(found, Unknown)
    assert "265598" in found.why


def test_nothing_of_that_name_is_a_confirmed_nothing() -> None:
    assert qualify("NOPE", []) == ConfirmedEmpty()


def test_fractions_are_never_ordered_though_the_contract_may_allow_them() -> None:
    """10243: a fraction is refused through the API."""
    found = qualify("AAPL", [details(increment=0.0001)])
    assert isinstance(found, Value)
    assert found.value.lot == 1
    lots = qualify("AAPL", [details(increment=100.0, tick=UNSET)])
    assert isinstance(lots, Value)
    assert (lots.value.lot, lots.value.tick) == (100, Decimal("0.01"))


def test_what_is_not_known_is_asked_for_until_it_is_answered() -> None:
    contracts = Contracts()
    assert contracts.get("AAPL") is UNQUALIFIED
    contracts.put("AAPL", Unknown("no answer"))
    assert contracts.wanted == {"AAPL"}
    contracts.put("AAPL", Value(AAPL))
    assert contracts.get("AAPL") is AAPL
    assert not contracts.wanted


def test_a_class_of_shares_has_our_name_and_the_brokers() -> None:
    assert to_ibkr("BRK.B") == "BRK B"
    assert symbol_of(contract("BRK B")) == "BRK.B"


def test_an_option_or_a_share_in_another_currency_is_never_taken_for_the_share() -> None:
    assert symbol_of(contract(secType="OPT", localSymbol="AAPL  261218C00200000")) != "AAPL"
    assert symbol_of(contract(currency="EUR")) == "AAPL/STK/EUR/265598"


def test_what_is_not_known_is_asked_again_after_a_while_with_its_reason_meanwhile() -> None:
    contracts = Contracts()
    contracts.get("AAPL")
    assert contracts.due(0.0) == ["AAPL"]
    assert contracts.why_not("AAPL") == ""
    contracts.put("AAPL", Unknown("no answer"))
    assert (contracts.due(14.0), contracts.why_not("AAPL")) == ([], "no answer")
    contracts.get("IBM")
    assert contracts.due(14.0) == ["IBM"]
    contracts.put("IBM", ConfirmedEmpty())
    assert contracts.why_not("IBM") == "the broker knows no share IBM in USD"
    assert contracts.due(15.0) == ["AAPL"]
    contracts.put("AAPL", Value(AAPL))
    assert contracts.why_not("AAPL") == ""
    assert contracts.due(100.0) == []
