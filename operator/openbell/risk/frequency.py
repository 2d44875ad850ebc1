"""How many orders may be sent in a minute and in a day; exits count, but are never held back."""

from __future__ import annotations

from datetime import timedelta

from openbell.domain.reasons import Reason
from openbell.risk.view import Candidate, Deny, RiskLimits, RiskView

MINUTE = timedelta(minutes=1)


def per_minute(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """Orders of the last 60 s. A time after `now` (the clock was set back) counts too."""
    sent = sum(1 for time in view.order_times if time > view.now - MINUTE)
    if sent >= limits.max_orders_per_minute:
        return Deny(
            Reason.ORDER_RATE_MINUTE, f"{sent} orders in the last minute, at most {limits.max_orders_per_minute}"
        )
    return None


def per_day(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """Orders since the trading day began."""
    sent = sum(1 for time in view.order_times if time >= view.day_start)
    if sent >= limits.max_orders_per_day:
        return Deny(Reason.ORDER_RATE_DAY, f"{sent} orders today, at most {limits.max_orders_per_day}")
    return None
