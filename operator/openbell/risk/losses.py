"""How much may be lost: in a day, and from the highest equity."""

from __future__ import annotations

from decimal import Decimal

from openbell.domain.money import cents
from openbell.domain.reasons import Reason
from openbell.risk.view import Candidate, Deny, RiskLimits, RiskView


def daily_loss(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """Today's loss, open positions included, against a fraction of the equity that the day began with.

    The worse of two measures counts: the fall of equity, and what was realised; money paid in during the day
    would hide a loss from the first, and open losses are not in the second.
    """
    loss = max(view.day_start_equity - view.equity, -view.realized_today)
    allowed = view.day_start_equity * Decimal(repr(limits.max_daily_loss_fraction))
    if loss > 0 and loss >= allowed:
        return Deny(Reason.DAILY_LOSS, f"today's loss {cents(loss)} has reached the limit {cents(allowed)}")
    return None


def drawdown(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """The fall from the highest equity, open positions included, against a fraction of that highest.

    It holds until equity has recovered, or until a person lifts it, from which on the highest is counted anew.
    """
    if is_in_drawdown(view.equity, view.peak_equity, limits.max_drawdown_fraction):
        return Deny(
            Reason.DRAWDOWN,
            f"the equity {cents(view.equity)} has fallen from {cents(view.peak_equity or view.equity)} "
            f"by {limits.max_drawdown_fraction:.2%} or more",
        )
    return None


def is_in_drawdown(equity: Decimal, peak: Decimal | None, limit: float | None) -> bool:
    """Whether equity has fallen from its highest by the limit; not where either is not known."""
    if limit is None or peak is None or peak <= 0:
        return False
    return peak > equity and peak - equity >= peak * Decimal(repr(limit))
