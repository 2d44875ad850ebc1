"""How well what the runner depends on is doing: market data, and the strategies themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

FAILURES_IN_A_ROW = 5
"""A strategy that raised so many times without one good evaluation between is Failed."""


@dataclass(slots=True)
class DataState:
    """Freshness of the market data: bars are read by evaluations, quotes by the exit loop. A problem is one clause."""

    newest: datetime | None = None
    bars_problem: str = ""
    quotes_problem: str = ""
    has_read: bool = False

    @property
    def is_fresh(self) -> bool | None:
        """None until something was read."""
        return not (self.bars_problem or self.quotes_problem) if self.has_read else None

    @property
    def reason(self) -> str:
        return {None: "NoDataYet", True: "Fresh", False: "Stale"}[self.is_fresh]

    @property
    def why(self) -> str:
        if not self.has_read:
            return "nothing has been read yet"
        return self.bars_problem or self.quotes_problem or "bars and quotes are as new as they should be"


@dataclass(slots=True)
class Failures:
    """Errors of strategies in a row, and the last one's text."""

    counts: dict[str, int] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def failed(self, strategy: str, text: str) -> None:
        self.counts[strategy] = self.counts.get(strategy, 0) + 1
        self.texts[strategy] = text

    def succeeded(self, strategy: str) -> None:
        self.counts.pop(strategy, None)
        self.texts.pop(strategy, None)

    def is_failed(self, strategy: str) -> bool:
        return self.counts.get(strategy, 0) >= FAILURES_IN_A_ROW

    def all_failed(self) -> tuple[str, ...]:
        return tuple(sorted(name for name in self.counts if self.is_failed(name)))
