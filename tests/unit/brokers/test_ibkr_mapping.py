"""Intents as orders, and the gateway's words as ours."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.ibkr import UNSET, execution, order
from fakes.venues import intent
from openbell.brokers.ibkr.mapping import (
    changed_fields,
    contract_fields,
    execution_id,
    execution_side,
    number,
    order_fields,
    plain,
    quantity,
    state_of,
    terms_of,
    wrong,
    wrong_terms,
)
from openbell.domain.orders import IntentKind, IntentState, OrderTerms, OrderType, Side, TimeInForce

STOP = intent("ob1.a.s", Side.SELL, 10, order_type=OrderType.STOP, stop_price=Decimal(98), oca_group="g")


def test_an_order_always_names_its_time_in_force_account_and_reference() -> None:
    for tif in TimeInForce:
        for account in ("DU1", "DU2"):
            fields = order_fields(intent("ob1.a.1", time_in_force=tif), OrderTerms(Decimal(10)), account)
            assert fields["tif"] == {"Day": "DAY", "GTC": "GTC", "IOC": "IOC"}[tif.value]
            assert (fields["account"], fields["orderRef"], fields["transmit"]) == (account, "ob1.a.1", True)


def test_a_protective_order_rests_until_it_is_cancelled_whatever_its_intent_says() -> None:
    fields = order_fields(replace(STOP, kind=IntentKind.PROTECTIVE), STOP.terms, "DU1")
    assert (fields["tif"], fields["orderType"], fields["auxPrice"]) == ("GTC", "STP", Decimal(98))
    assert (fields["ocaGroup"], fields["ocaType"]) == ("g", 1)
    assert "lmtPrice" not in fields


def test_an_order_without_a_group_is_in_none() -> None:
    fields = order_fields(intent("ob1.a.1"), OrderTerms(Decimal(10)), "DU1")
    assert "ocaGroup" not in fields
    assert "ocaType" not in fields


@given(st.decimals("0.0001", "1E9", places=4, allow_nan=False), st.integers(1, 10**9))
def test_prices_and_quantities_go_out_exactly_and_without_an_exponent(price: Decimal, shares: int) -> None:
    asked = OrderTerms(Decimal(shares).normalize(), price.normalize())
    fields = order_fields(intent("ob1.a.1", order_type=OrderType.LIMIT, limit_price=price), asked, "DU1")
    for name, value in (("totalQuantity", Decimal(shares)), ("lmtPrice", price)):
        assert fields[name] == value
        assert "E" not in str(fields[name]).upper()


def test_a_contract_is_named_by_its_id_where_that_is_known() -> None:
    assert contract_fields("BRK.B") == {"secType": "STK", "symbol": "BRK B", "exchange": "SMART", "currency": "USD"}
    assert contract_fields("AAPL", 265598, "NASDAQ")["conId"] == 265598


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (intent("x", quantity=0), "quantity 0"),
        (intent("x", quantity=-5), "quantity -5"),
        (intent("x", order_type=OrderType.LIMIT), "a Limit order needs its price"),
        (intent("x", order_type=OrderType.LIMIT, limit_price=Decimal(0)), "a Limit order needs its price"),
        (intent("x", order_type=OrderType.STOP), "a Stop order needs its price"),
        (intent("x"), ""),
        (STOP, ""),
    ],
)
def test_what_cannot_be_an_order_says_why(bad: object, why: str) -> None:
    assert (why in wrong(bad)) if why else wrong(bad) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "terms", "why"),
    [
        ("STP", OrderTerms(Decimal(0), stop_price=Decimal(98)), "the quantity cannot be 0"),
        ("STP", OrderTerms(Decimal(10), limit_price=Decimal(98)), "the prices do not fit a Stop order"),
        ("STP", OrderTerms(Decimal(10), stop_price=Decimal(0)), "the prices do not fit a Stop order"),
        ("LMT", OrderTerms(Decimal(10)), "the prices do not fit a Limit order"),
        ("MKT", OrderTerms(Decimal(10), limit_price=Decimal(1)), "the prices do not fit a Market order"),
        ("TRAIL", OrderTerms(Decimal(10)), "not ours to change"),
        ("STP", OrderTerms(Decimal(10), stop_price=Decimal(98)), ""),
        ("LMT", OrderTerms(Decimal(10), Decimal(98)), ""),
        ("MKT", OrderTerms(Decimal(10)), ""),
    ],
)
def test_terms_that_do_not_fit_an_order_say_why(kind: str, terms: OrderTerms, why: str) -> None:
    assert (why in wrong_terms(kind, terms)) if why else wrong_terms(kind, terms) == ""


def test_a_change_repeats_the_order_with_our_group_type_and_not_the_echos() -> None:
    """The gateway echoes ocaType 3 for an order of type 1."""
    echo = order("ob1.a.s", orderType="STP", auxPrice=98.0, action="SELL", tif="GTC", ocaGroup="g", ocaType=3)
    fields = changed_fields(echo, OrderTerms(Decimal(4), stop_price=Decimal("99.5")))
    assert fields == {
        "action": "SELL",
        "totalQuantity": Decimal(4),
        "orderType": "STP",
        "tif": "GTC",
        "account": "DU1",
        "orderRef": "ob1.a.s",
        "transmit": True,
        "outsideRth": False,
        "auxPrice": Decimal("99.5"),
        "ocaGroup": "g",
        "ocaType": 1,
    }


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("PendingSubmit", IntentState.WORKING),
        ("PreSubmitted", IntentState.WORKING),
        ("Submitted", IntentState.WORKING),
        ("PendingCancel", IntentState.WORKING),
        ("Filled", IntentState.FILLED),
        ("Cancelled", IntentState.CANCELLED),
        ("ApiCancelled", IntentState.CANCELLED),
        ("Inactive", None),
        ("ValidationError", None),
        ("", None),
    ],
)
def test_only_a_definite_status_ends_an_order(status: str, state: IntentState | None) -> None:
    assert state_of(status) is state


@pytest.mark.parametrize(
    ("echo", "terms"),
    [
        (order(), OrderTerms(Decimal(10))),
        (order(orderType="LMT", lmtPrice=99.5), OrderTerms(Decimal(10), Decimal("99.5"))),
        (order(orderType="STP", auxPrice=98.0, lmtPrice=0.0), OrderTerms(Decimal(10), None, Decimal(98))),
        (order(orderType="MKT", lmtPrice=UNSET, auxPrice=UNSET), OrderTerms(Decimal(10))),
        (order(totalQuantity=0.0, filledQuantity=7.0), OrderTerms(Decimal(7))),
        (order(totalQuantity=0.0), None),
    ],
)
def test_an_echo_names_its_terms(echo: object, terms: OrderTerms | None) -> None:
    assert terms_of(echo) == terms  # type: ignore[arg-type]


def test_numbers_that_are_not_set_are_none_and_others_exact() -> None:
    assert [number(value) for value in (None, "", UNSET, float("nan"), float("inf"))] == [None] * 5
    assert number(0.1) == Decimal("0.1")
    assert str(quantity(100.0)) == "100"
    assert str(quantity(0.5)) == "0.5"
    assert str(plain(Decimal("1E+2"))) == "100"


@pytest.mark.parametrize(
    ("text", "base", "revision"),
    [
        ("0000e0d5.65f1a2b3.01.01", "0000e0d5.65f1a2b3.01", 1),
        ("0000e0d5.65f1a2b3.01.02", "0000e0d5.65f1a2b3.01", 2),
        ("F-1", "F-1", 1),
        ("abc.12", "abc.12", 1),
    ],
)
def test_a_correction_has_the_name_of_what_it_corrects(text: str, base: str, revision: int) -> None:
    found = execution_id(text)
    assert (found.base, found.revision) == (base, revision)


def test_a_side_that_nobody_knows_is_an_error_and_no_guess() -> None:
    assert execution_side(execution(side="SLD")) is Side.SELL
    with pytest.raises(KeyError):
        execution_side(execution(side="?"))
