"""What a strategy really runs with: its own settings over its scheduler's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import ValidationError

from openbell.domain.errors import ManifestError
from openbell.domain.positions import ExitPolicy
from openbell.domain.state import TradingState, safer
from openbell.resources.policies import ExitsOverrides, SizingOverrides, SizingSpec
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.strategy import Execution, StrategySpec
from openbell.resources.surroundings import MarketDataType, Mode

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

    Raises ManifestError where the strategy's sizing or exits do not fit onto the scheduler's.
    """
    try:
        sizing = (strategy.sizing or SizingOverrides()).over(scheduler.sizing)
    except ValidationError as error:
        raise ManifestError(
            "spec.sizing over the scheduler's gives minFraction above maxFraction; set both in the strategy"
        ) from error
    exits = (strategy.exits or ExitsOverrides()).over(scheduler.exits)
    if scheduler.mode is Mode.LIVE and not exits.broker_side:
        raise ManifestError("spec.exits.brokerSide must not be false where the scheduler's spec.mode is Live")
    return StrategySettings(
        state=safer(scheduler.asked_state(), strategy.asked_state()),
        bar_seconds=strategy.bar_seconds,
        evaluation_interval_seconds=_or(strategy.evaluation_interval_seconds, scheduler.evaluation_interval_seconds),
        min_confidence=_or(strategy.min_confidence, scheduler.min_confidence),
        max_concurrent_trades=_or(strategy.max_concurrent_trades, scheduler.max_concurrent_trades),
        priority=strategy.priority,
        execution=strategy.execution,
        sizing=sizing,
        exits=_replayed(exits.to_policy())
        if scheduler.market_data.type is MarketDataType.REPLAY
        else exits.to_policy(),
    )


def _replayed(policy: ExitPolicy) -> ExitPolicy:
    """Nothing rests at a broker in a replay, and nothing waits at a limit: its trades are those of a backtest.

    Its process cannot be missed by its broker, and its own exits fill at the prices of the levels already; an order at
    the venue would be filled in another sequence, with another slippage.
    """
    return replace(policy, broker_side=False, escalation=None)


def _or(own: T | None, inherited: T) -> T:
    return inherited if own is None else own
