"""How many shares an entry is for: by confidence, inside caps. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from openbell.domain.money import ZERO, whole_units


@dataclass(frozen=True, slots=True)
class SizingRule:
    """Fractions are ratios of equity; `max_notional` is in account currency."""

    min_fraction: float = 0.02
    max_fraction: float = 0.10
    max_notional: Decimal = Decimal(25000)
    max_equity_fraction: float = 0.25


def fraction(confidence: float, min_confidence: float, rule: SizingRule) -> Decimal:
    """The part of equity for a confidence: `min_fraction` at the minimum, `max_fraction` at 1, linear between.

    Below the minimum, or for a confidence that is no number, it is 0.
    """
    if not math.isfinite(confidence) or confidence < min_confidence:
        return ZERO
    room = 1.0 - min_confidence
    above = min(1.0, (confidence - min_confidence) / room) if room > 0 else 1.0
    low, high = _exact(rule.min_fraction), _exact(rule.max_fraction)
    return low + (high - low) * _exact(above)


def entry_quantity(
    confidence: float, min_confidence: float, equity: Decimal, price: Decimal, rule: SizingRule
) -> Decimal:
    """Whole shares to buy or to sell short, rounded down; 0 where not even one is allowed."""
    if equity <= 0 or price <= 0:
        return ZERO
    notional = min(
        equity * fraction(confidence, min_confidence, rule),
        equity * _exact(rule.max_equity_fraction),
        rule.max_notional,
    )
    return whole_units(max(notional, ZERO) / price)


@lru_cache(maxsize=1024)
def _exact(ratio: float) -> Decimal:
    return Decimal(repr(float(ratio)))
