"""How much may be lost in a day."""

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
