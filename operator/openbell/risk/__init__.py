"""What may be opened. There is nothing here that an exit goes through."""

from openbell.risk.checks import evaluate_entry
from openbell.risk.view import Allow, Candidate, Deny, RiskLimits, RiskView, WorkingEntry, reserve

__all__ = ["Allow", "Candidate", "Deny", "RiskLimits", "RiskView", "WorkingEntry", "evaluate_entry", "reserve"]
