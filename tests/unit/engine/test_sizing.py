"""How many shares an entry is for."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.engine.sizing import SizingRule, entry_quantity, fraction

RULE = SizingRule()


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [(0.5, "0.02"), (0.75, "0.06"), (1.0, "0.10"), (0.4999, "0"), (1.5, "0.10"), (float("nan"), "0")],
)
def test_the_fraction_is_linear_in_confidence_above_the_minimum(confidence: float, expected: str) -> None:
    assert fraction(confidence, 0.5, RULE) == Decimal(expected)


def test_where_only_certainty_is_accepted_it_gets_the_full_fraction() -> None:
    assert fraction(1.0, 1.0, RULE) == Decimal("0.1")
    assert fraction(0.999, 1.0, RULE) == 0


def test_a_confidence_from_an_array_is_a_number_too() -> None:
    assert fraction(np.float64(0.75), 0.5, RULE) == Decimal("0.06")


@pytest.mark.parametrize(
    ("equity", "price", "rule", "expected"),
    [
        ("100000", "100", RULE, 100),
        ("100000", "100.01", RULE, 99),
        ("100000", "10001", RULE, 0),
        ("1000000", "100", RULE, 250),
        ("100000", "100", SizingRule(max_equity_fraction=0.05), 50),
        ("0", "100", RULE, 0),
        ("-5", "100", RULE, 0),
        ("100000", "0", RULE, 0),
    ],
)
def test_shares_are_whole_rounded_down_and_capped(equity: str, price: str, rule: SizingRule, expected: int) -> None:
    assert entry_quantity(1.0, 0.5, Decimal(equity), Decimal(price), rule) == expected


money = st.decimals("0.01", "10000000", places=2)
rules = st.builds(
    SizingRule, st.floats(0, 0.5), st.floats(0.5, 1), st.decimals("0", "100000", places=2), st.floats(0, 1)
)


@given(st.floats(0, 1), st.floats(0, 1), money, money, rules)
def test_a_size_never_exceeds_any_cap(
    confidence: float, minimum: float, equity: Decimal, price: Decimal, rule: SizingRule
) -> None:
    quantity = entry_quantity(confidence, minimum, equity, price, rule)
    assert quantity >= 0
    assert quantity == int(quantity)
    assert quantity * price <= rule.max_notional
    assert quantity * price <= equity * Decimal(repr(rule.max_equity_fraction))
    assert quantity * price <= equity * Decimal(repr(rule.max_fraction))
    assert confidence >= minimum or quantity == 0


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), money, money, rules)
def test_more_confidence_never_means_fewer_shares(
    one: float, other: float, minimum: float, equity: Decimal, price: Decimal, rule: SizingRule
) -> None:
    low, high = sorted((one, other))
    assert entry_quantity(low, minimum, equity, price, rule) <= entry_quantity(high, minimum, equity, price, rule)
