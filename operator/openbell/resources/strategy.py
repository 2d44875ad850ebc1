"""Strategy: a rule that gives signals on some symbols, run by the scheduler that it points at."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from openbell.domain.state import TradingState, asked_state
from openbell.resources.common import (
    Bool,
    Confidence,
    Count,
    FreeObject,
    Model,
    Moment,
    ResourceName,
    Symbol,
    Text,
    list_type,
    no_duplicates,
    one_of,
    whole,
)
from openbell.resources.policies import ExitsOverrides, SizingOverrides
from openbell.resources.scheduler import ConcurrentTrades, EvaluationSeconds
from openbell.resources.status import ConditionModel, PnlStatus, State, StatsStatus

KIND = "Strategy"
PLURAL = "strategies"


class StrategyType(StrEnum):
    MOMENTUM = "Momentum"
    CROSSOVER = "Crossover"


class Execution(StrEnum):
    TRADE = "Trade"
    SHADOW = "Shadow"


class SchedulerRef(Model):
    """The scheduler that runs the strategy."""

    name: ResourceName = Field(description="Name of a TradingScheduler in the same namespace.")


class StrategySpec(Model):
    """What a person wants of a strategy. Settings that are left out are the scheduler's."""

    scheduler_ref: SchedulerRef = Field(description="The scheduler that runs the strategy.")
    enabled: Bool = Field(True, description="false = Stopped: the strategy is not evaluated; its exits go on.")
    paused: Bool = Field(False, description="true = Paused: it is evaluated and recorded, but opens nothing.")
    type: Annotated[StrategyType, one_of(StrategyType)] = Field(
        description="Which rule it is: Momentum or Crossover; it decides what parameters may hold."
    )
    parameters: FreeObject = Field(
        default_factory=dict,
        description="Parameters of the type. A wrong one is told by the condition Accepted, and the last good ones "
        "stay in force.",
    )
    symbols: Annotated[tuple[Symbol, ...], no_duplicates(str, "{} is listed twice")] = Field(
        min_length=1,
        max_length=500,
        description="Symbols to trade, like AAPL.",
        json_schema_extra=list_type("set"),
    )
    bar_seconds: Annotated[int, Field(strict=True, ge=1, le=86_400), whole] = Field(
        60, description="Seconds of one bar; 86400 = daily bars."
    )
    evaluation_interval_seconds: EvaluationSeconds | None = Field(
        None, description="Seconds between evaluations; absent = the scheduler's."
    )
    min_confidence: Confidence | None = Field(
        None, description="Least confidence to trade on, from 0 to 1; absent = the scheduler's."
    )
    max_concurrent_trades: ConcurrentTrades | None = Field(
        None, description="Most open positions and working entries of this strategy; absent = the scheduler's limit."
    )
    sizing: SizingOverrides | None = Field(None, description="Own sizing; what is left out is the scheduler's.")
    exits: ExitsOverrides | None = Field(None, description="Own exits; what is left out is the scheduler's.")
    priority: Annotated[int, Field(strict=True, ge=0, le=100), whole] = Field(
        0, description="Signals are ranked by (priority + 1) × confidence, higher first."
    )
    execution: Execution = Field(
        Execution.TRADE, description="Trade: signals become orders. Shadow: everything but orders."
    )

    def asked_state(self) -> TradingState:
        """The state that this spec asks for, before the scheduler's own is weighed in."""
        return asked_state(self.enabled, self.paused)


class LastSignal(Model):
    """The newest signal of the strategy."""

    symbol: Text = Field(description="What it is about.")
    action: Text = Field(description="Buy, Sell or Close.")
    confidence: Confidence = Field(description="From 0 to 1.")
    time: Moment = Field(description="End of the bar on which it was formed.")
    outcome: Text | None = Field(None, description="What became of it: a reason's name.")


class StrategyStatus(Model):
    """What is true of a strategy."""

    observed_generation: Count | None = Field(None, description="Generation that the operator has acted on.")
    state: State | None = Field(
        None, description="Running, Paused or Stopped: the safer of the scheduler's and the strategy's own."
    )
    why: Text | None = Field(None, description="What it is doing or waiting for, in one clause.")
    symbols: Text | None = Field(None, description='Its symbols for people, like "AAPL, MSFT +3"; the column SYMBOLS.')
    stats: StatsStatus | None = Field(None, description="Counters since the first start.")
    last_signal: LastSignal | None = Field(None, description="The newest signal.")
    open_positions: Count | None = Field(None, description="Open positions that it owns; the column POSITIONS.")
    pnl: PnlStatus | None = Field(None, description="Profit and loss after fees.")
    parameters_schema: FreeObject | None = Field(None, description="JSON schema of the type's parameters.")
    conditions: tuple[ConditionModel, ...] | None = Field(
        None,
        max_length=32,
        description="Observations by the operator (Accepted) and by the runner (Running, Paused, Failed).",
        json_schema_extra=list_type("map", "type"),
    )
