"""All rules for an entry, in their fixed order; the first that is broken gives the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from openbell.risk import account_rules, exposure, frequency, freshness, locks, losses, ownership
from openbell.risk.view import Allow, Candidate, Deny, RiskLimits, RiskView, Verdict

Rule: TypeAlias = Callable[[Candidate, RiskView, RiskLimits], Deny | None]


def lock(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """A lock that a protection or a person made."""
    return locks.locked(candidate, view.locks, view.now)


# What is wrong with the opinion itself comes first, then what stops every entry, then counts, then this one's size:
# the reason given is the one that would stay true longest.
RULES: tuple[Rule, ...] = (
    ownership.not_held,
    account_rules.cash_account_short,
    ownership.already_held,
    ownership.opposite_position,
    freshness.data_age,
    losses.drawdown,
    losses.daily_loss,
    lock,
    frequency.per_day,
    frequency.round_trips,
    frequency.per_minute,
    frequency.strategy_per_minute,
    frequency.symbol_cooldown,
    frequency.opposite_order,
    exposure.concurrent_trades,
    exposure.strategy_trades,
    exposure.size,
    exposure.order_notional,
    exposure.symbol_exposure,
    exposure.gross_exposure,
    exposure.buying_power,
    account_rules.settled_cash,
    account_rules.day_trades,
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
