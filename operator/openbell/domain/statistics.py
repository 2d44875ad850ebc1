"""Counters that survive restarts: what the runner has done since it first started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from openbell.domain.reasons import ExitReason, Reason

_NOTHING: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Counters:
    """Counts and times of one strategy, or of all together."""

    evaluations_run: int = 0
    signals_generated: int = 0
    trades_executed: int = 0
    trades_rejected: int = 0
    exits_executed: int = 0
    errors: int = 0
    last_evaluation: datetime | None = None
    last_trade: datetime | None = None
    reasons: Mapping[str, int] = field(default_factory=lambda: _NOTHING)

    def with_reason(self, reason: Reason | ExitReason, times: int = 1) -> Counters:
        """One more decision that ended with `reason`."""
        return self.with_reasons({reason.value: times})

    def with_reasons(self, times: Mapping[str, int]) -> Counters:
        """More decisions, counted by their reasons' names."""
        counted = dict(self.reasons)
        for name, more in times.items():
            counted[name] = counted.get(name, 0) + more
        return replace(self, reasons=MappingProxyType(counted))


@dataclass(frozen=True, slots=True)
class Statistics:
    """The scheduler's counters and each strategy's. `started_at` is the first start ever, UTC."""

    total: Counters = field(default_factory=Counters)
    strategies: Mapping[str, Counters] = field(default_factory=lambda: MappingProxyType({}))
    started_at: datetime | None = None

    def of(self, strategy: str) -> Counters:
        """One strategy's counters; zeros for one that has done nothing."""
        return self.strategies.get(strategy, Counters())
