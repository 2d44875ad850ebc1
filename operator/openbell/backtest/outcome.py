"""What comes of a backtest, besides what its desk holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from openbell.domain.reasons import Reason
from openbell.domain.records import quick


@quick
@dataclass(frozen=True, slots=True)
class Mark:
    """Cash and holdings from the end of session number `session` on."""

    session: int
    cash: float
    held: dict[str, float]


@dataclass(slots=True)
class Outcome:
    """Counts and marks of a run. `stepped` sessions were stepped through, `visited` ones were looked at."""

    marks: list[Mark] = field(default_factory=list)
    signals: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    error_texts: dict[str, str] = field(default_factory=dict)
    stepped: int = 0
    visited: int = 0
