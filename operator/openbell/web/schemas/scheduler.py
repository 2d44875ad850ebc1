"""The scheduler: its status, its counters, and what start, stop, pause and resume came to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import Field

from openbell.domain.reasons import reason_text
from openbell.domain.statistics import Counters, Statistics
from openbell.web.schemas.base import Answer, Body, State, state_text
from openbell.web.values import (
    MarketDataType,
    Mode,
    StatusView,
)


class Config(Body):
    """The settings in force; intervals in seconds."""

    evaluation_interval: int
    exit_check_interval: int
    min_confidence: float
    max_concurrent_trades: int
    market_hours_only: bool


class Stats(Body):
    """Counters since the first start ever, uptime of this process."""

    evaluations_run: int
    signals_generated: int
    trades_executed: int
    trades_rejected: int
    exits_executed: int
    errors: int
    monitored_positions: int
    last_evaluation: datetime | None
    last_trade: datetime | None
    uptime_seconds: int


class Condition(Body):
    """One condition of the resource's status."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str
    last_transition_time: datetime


class SchedulerStatus(Answer):
    """The scheduler now."""

    name: str
    namespace: str
    state: State
    enabled: bool
    paused: bool
    why: str = Field(description="One clause for people; empty when there is nothing to explain.")
    mode: Mode
    broker_type: str
    market_data: MarketDataType
    config: Config
    stats: Stats
    can_run: bool
    is_market_hours: bool
    next_open: datetime | None = Field(
        description="When trading next begins; null where that is not known, and where the market is always open."
    )
    next_close: datetime | None = Field(
        description="When the current or next session closes; null with `is_market_hours`: the market is always open."
    )
    ibkr_connected: bool = Field(description="Whether the broker is connected, whichever it is.")
    broker_connected: bool
    data_age_seconds: float | None
    leading: bool
    epoch: int
    generation: int
    observed_generation: int
    version: str
    conditions: list[Condition]


class CountersBody(Body):
    """Counters of one strategy, or of all together."""

    evaluations_run: int
    signals_generated: int
    trades_executed: int
    trades_rejected: int
    exits_executed: int
    errors: int
    last_evaluation: datetime | None
    last_trade: datetime | None
    reasons: dict[str, int] = Field(description="Decisions by reason.")


class ReasonCount(Body):
    """How often a decision ended so."""

    reason: str
    text: str
    count: int


class SchedulerStats(Answer):
    """Counters in total, per reason and per strategy."""

    stats: Stats
    reasons: list[ReasonCount]
    strategies: dict[str, CountersBody]
    started_at: datetime | None = Field(description="The first start ever.")


class Lifecycle(Answer):
    """What a start, stop, pause or resume came to."""

    generation: int | None = Field(
        description="Generation of the resource that asks for it; null while the API server cannot be told."
    )
    acknowledged: bool = Field(description="Whether the runner has acted on it.")


def _stats(status: StatusView) -> Stats:
    totals = status.totals
    return Stats(
        evaluations_run=totals.evaluations_run,
        signals_generated=totals.signals_generated,
        trades_executed=totals.trades_executed,
        trades_rejected=totals.trades_rejected,
        exits_executed=totals.exits_executed,
        errors=totals.errors,
        monitored_positions=status.monitored_positions,
        last_evaluation=totals.last_evaluation,
        last_trade=totals.last_trade,
        uptime_seconds=status.uptime_seconds,
    )


def scheduler_status(view: StatusView) -> SchedulerStatus:
    """The status answer, also the `state` event's data."""
    return SchedulerStatus(
        name=view.name,
        namespace=view.namespace,
        state=state_text(view.state),
        enabled=view.enabled,
        paused=view.paused,
        why=view.why,
        mode=view.mode,
        broker_type=view.broker_type,
        market_data=view.market_data,
        config=Config.model_validate(view.config),
        stats=_stats(view),
        can_run=view.can_run,
        is_market_hours=view.is_market_hours,
        next_open=view.next_open,
        next_close=view.next_close,
        ibkr_connected=view.broker_connected,
        broker_connected=view.broker_connected,
        data_age_seconds=view.data_age_seconds,
        leading=view.leading,
        epoch=view.epoch,
        generation=view.generation,
        observed_generation=view.observed_generation,
        version=view.version,
        conditions=[Condition.model_validate(each) for each in view.conditions],
    )


def counters_body(counters: Counters) -> CountersBody:
    """Counters of one strategy or of all."""
    return CountersBody.model_validate(counters)


def scheduler_stats(status: StatusView, statistics: Statistics) -> SchedulerStats:
    """The statistics answer; the most frequent reason first."""
    reasons: Mapping[str, int] = statistics.total.reasons
    return SchedulerStats(
        stats=_stats(status),
        reasons=[
            ReasonCount(reason=reason, text=reason_text(reason), count=count)
            for reason, count in sorted(reasons.items(), key=lambda each: (-each[1], each[0]))
        ],
        strategies={name: counters_body(counters) for name, counters in sorted(statistics.strategies.items())},
        started_at=statistics.started_at,
    )
