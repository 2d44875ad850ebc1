"""How old the price of an entry may be."""

from __future__ import annotations

from openbell.domain.reasons import Reason
from openbell.risk.view import Candidate, Deny, RiskLimits, RiskView


def data_age(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """Seconds of open market since the symbol's price was made; 0 = no limit."""
    age, limit = candidate.data_age_seconds, limits.max_data_age_seconds
    if not limit or age is None or age <= limit:
        return None
    return Deny(Reason.DATA_AGE, f"the price of {candidate.symbol} is {age:.0f} s old, at most {limit} s are allowed")
