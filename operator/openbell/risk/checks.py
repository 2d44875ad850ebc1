"""All rules for an entry, in their fixed order; the first that is broken gives the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from openbell.risk import exposure, frequency, losses, ownership
from openbell.risk.view import Allow, Candidate, Deny, RiskLimits, RiskView, Verdict

Rule: TypeAlias = Callable[[Candidate, RiskView, RiskLimits], Deny | None]

# What is wrong with the opinion itself comes first, then what stops every entry, then counts, then this one's size:
# the reason given is the one that would stay true longest.
RULES: tuple[Rule, ...] = (
    ownership.not_held,
    ownership.already_held,
    ownership.opposite_position,
    losses.daily_loss,
    frequency.per_day,
    frequency.per_minute,
    exposure.concurrent_trades,
    exposure.strategy_trades,
    exposure.size,
    exposure.order_notional,
    exposure.buying_power,
)


def evaluate_entry(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Verdict:
    """Allow an entry, or deny it with the first rule's reason.

    Only entries come here: an exit is no `Candidate`, and no function of this package can say no to one.
    """
    for rule in RULES:
        denied = rule(candidate, view, limits)
        if denied is not None:
            return denied
    return Allow()
