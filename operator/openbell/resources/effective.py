"""What a strategy really runs with: its own settings over its scheduler's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from openbell.domain.errors import ManifestError
from openbell.domain.positions import ExitPolicy
from openbell.domain.state import TradingState, safer
from openbell.resources.policies import ExitsOverrides, SizingOverrides, SizingSpec
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.strategy import Execution, StrategySpec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StrategySettings:
    """A strategy's settings with every default filled in. Durations in seconds, fractions as ratios."""

    state: TradingState
    bar_seconds: int
    evaluation_interval_seconds: int
    min_confidence: float
    max_concurrent_trades: int
    priority: int
    execution: Execution
    sizing: SizingSpec
    exits: ExitPolicy

    @property
    def is_shadow(self) -> bool:
        """Whether signals are decided and recorded, but never ordered."""
        return self.execution is Execution.SHADOW


def effective_settings(scheduler: SchedulerSpec, strategy: StrategySpec) -> StrategySettings:
    """The strategy's own settings where it has them, else the scheduler's; the state is the safer of both.

    Raises ManifestError where the strategy's sizing does not fit onto the scheduler's.
    """
    try:
        sizing = (strategy.sizing or SizingOverrides()).over(scheduler.sizing)
    except ValidationError as error:
        raise ManifestError(
            "spec.sizing over the scheduler's gives minFraction above maxFraction; set both in the strategy"
        ) from error
    exits = (strategy.exits or ExitsOverrides()).over(scheduler.exits)
    return StrategySettings(
        state=safer(scheduler.asked_state(), strategy.asked_state()),
        bar_seconds=strategy.bar_seconds,
        evaluation_interval_seconds=_or(strategy.evaluation_interval_seconds, scheduler.evaluation_interval_seconds),
        min_confidence=_or(strategy.min_confidence, scheduler.min_confidence),
        max_concurrent_trades=_or(strategy.max_concurrent_trades, scheduler.max_concurrent_trades),
        priority=strategy.priority,
        execution=strategy.execution,
        sizing=sizing,
        exits=exits.to_policy(),
    )


def _or(own: T | None, inherited: T) -> T:
    return inherited if own is None else own
