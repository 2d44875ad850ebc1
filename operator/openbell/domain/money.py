"""Money and quantities that are booked: Decimal, rounded in one place.

Prices arrive as float64 from indicators and quotes; `price` is where they become Decimal.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from functools import lru_cache

CENT = Decimal("0.01")
PRICE_STEP = Decimal("0.0001")
ZERO = Decimal(0)


@lru_cache(maxsize=4096, typed=True)
def price(value: float) -> Decimal:
    """A float price as a Decimal of four places (the smallest tick of a US share below one dollar).

    Remembered: one price is looked at several times, by what matches, values and decides.
    """
    return Decimal(repr(value)).quantize(PRICE_STEP, ROUND_HALF_EVEN)


def cents(value: Decimal) -> Decimal:
    """Money rounded half to even at two places."""
    return value.quantize(CENT, ROUND_HALF_EVEN)


def amount(value: Decimal) -> str:
    """Money as people read it, always with two places: 328.40."""
    return f"{cents(value) + ZERO:f}"  # the sum has no negative zero


def whole_units(value: Decimal) -> Decimal:
    """A quantity rounded down to whole shares; rounding up would spend more than was allowed."""
    return value.quantize(Decimal(1), ROUND_DOWN)


def text(value: Decimal) -> str:
    """A Decimal as the plain string that resources and REST carry: no exponent, no trailing zeros."""
    plain = format(value.normalize(), "f")
    return "0" if plain in {"-0", ""} else plain
