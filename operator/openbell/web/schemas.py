"""The API's answers: pydantic models made from the view's values. Money is a decimal string, times ISO 8601 UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from openbell.domain.limits import LockScope
from openbell.domain.money import text
from openbell.domain.orders import IntentKind, IntentState, Side
from openbell.domain.reasons import Reason, reason_text
from openbell.domain.signals import Action
from openbell.domain.state import TradingState
from openbell.domain.statistics import Counters, Statistics
from openbell.engine.trail import Run, TrailKind
from openbell.web.view import (
    Execution,
    LogLine,
    LotView,
    MarketDataType,
    Mode,
    PositionView,
    SignalView,
    StatusView,
    StrategyView,
)

Money = Annotated[
    Decimal,
    PlainSerializer(text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}, mode="serialization"),
]
State = Annotated[
    Literal["running", "paused", "stopped"], Field(description="Derived for people from `enabled` and `paused`.")
]


class Body(BaseModel):
    """Base of the API's bodies: made from attributes of a view, never changed afterwards."""

    model_config = ConfigDict(from_attributes=True, frozen=True, ser_json_timedelta="float")


class ErrorBody(Body):
    """What went wrong, in one sentence that names the field, the value and what is allowed."""

    status: Literal["error"] = "error"
    message: str


class Answer(Body):
    """Every good answer says so."""

    status: Literal["success"] = "success"


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
    next_open: datetime | None
    next_close: datetime | None
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


class PositionClosing(Answer):
    """A position that is being closed."""

    position_id: str
    message: str = Field(description="What happens now, in one sentence.")


class Strategy(Body):
    """One strategy as it runs."""

    name: str
    type: str
    state: State
    why: str
    enabled: bool
    paused: bool
    execution: Execution
    symbols: list[str]
    bar_seconds: int
    priority: int
    parameters: dict[str, Any]
    stats: CountersBody
    open_positions: int
    realized_pnl: Money


class Position(Body):
    """One open lot; quantity is signed, prices in the account's currency."""

    position_id: str
    strategy: str
    symbol: str
    quantity: Money
    average_price: Money
    opened_at: datetime
    price: Money | None
    stop: Money | None
    target: Money | None
    unrealized_pnl: Money | None
    is_exiting: bool


class Lot(Body):
    """Shares bought, or sold short where the quantity is negative, at one price and time."""

    quantity: Money
    price: Money
    opened_at: datetime


LOTS_SHOWN = 100


class HeldPosition(Position):
    """An open position and its lots by FIFO."""

    lots: list[Lot] | None = Field(
        description=f"At most {LOTS_SHOWN}, the oldest first; null while the journal does not say."
    )


class MoneyAnswer(Answer):
    """Money now, profit since the first start and since the trading day began, at average cost and by FIFO.

    What was realised is after all fees; what is unrealised is at the last prices. null = not known.
    """

    time: datetime
    currency: str
    equity: Money | None
    cash: Money | None
    buying_power: Money | None
    pnl_day: Money | None = Field(description="Change of the equity since the trading day began.")
    pnl_total: Money = Field(description="Realised and unrealised, the same by either way of counting.")
    fees_total: Money
    realized_today: Money | None
    realized_today_fifo: Money | None
    realized_total: Money
    realized_total_fifo: Money | None
    unrealized: Money
    unrealized_fifo: Money | None


class Portfolio(Body):
    """Money and open lots at one time; null = not known."""

    time: datetime
    currency: str
    equity: Money | None
    cash: Money | None
    buying_power: Money | None
    pnl_day: Money | None
    pnl_total: Money | None
    positions: list[Position]


class Signal(Body):
    """A strategy's opinion and what became of it."""

    strategy: str
    symbol: str
    action: Action
    confidence: float
    bar_time: datetime
    decided_at: datetime
    reason: str = Field(description="What the strategy said.")
    decision: Reason = Field(description="What was done, or why nothing was.")
    decision_text: str = Field(description="The decision in words.")
    detail: str


class Decision(Body):
    """Why something was or was not done, for as many ticks in a row as it stayed the same."""

    strategy: str
    symbol: str
    kind: TrailKind = Field(description="Entry: a strategy was asked. Exit: one of its positions was looked at.")
    reason: str = Field(description="A reason of an entry, of an exit, or HOLD, NO_PRICE, LEAVING, GONE.")
    reason_text: str = Field(description="The reason in words.")
    detail: str = Field(description="The numbers of the newest of these ticks in one clause, empty for none.")
    order_ref: str | None = Field(description="The order that was decided; null for none.")
    since: datetime
    until: datetime
    count: int = Field(description="Ticks in a row.")


class Order(Body):
    """An intent and what the broker made of it."""

    order_ref: str
    kind: IntentKind
    strategy: str
    symbol: str
    side: Side
    quantity: Money
    filled_quantity: Money
    average_price: Money | None
    state: IntentState
    reason: str
    created_at: datetime
    broker_order_id: str
    detail: str


class Lock(Body):
    """Openings that are held back; exits never are."""

    lock_id: str
    scope: LockScope
    subject: str
    reason: Reason
    detail: str
    since: datetime
    until: datetime | None
    made_by: str
    lifted_at: datetime | None
    lifted_by: str


class LockList(Answer):
    """Locks that hold openings back now, oldest first."""

    locks: list[Lock]


class LockAnswer(Answer):
    """One lock as it is now."""

    lock: Lock


class Trade(Body):
    """One fill; `pnl` is set, after fees, when it closed the position."""

    execution_id: str
    order_ref: str
    kind: IntentKind
    strategy: str
    symbol: str
    side: Side
    quantity: Money
    price: Money
    commission: Money
    time: datetime
    reason: str
    pnl: Money | None


class EquityPointBody(Body):
    """One point of the equity line."""

    time: datetime
    equity: Money


class Replay(Body):
    """How far a replay is."""

    finished: bool
    trades: int
    digest: str


class LogEntry(Body):
    """One logged event."""

    time: datetime
    level: str
    logger: str
    event: str
    fields: dict[str, Any]


class CheckBody(Body):
    """One thing that a probe looked at."""

    name: str
    ok: bool
    detail: str


class Health(Body):
    """A probe's answer."""

    status: Literal["success", "error"]
    message: str
    checks: list[CheckBody]


class StrategyList(Answer):
    strategies: list[Strategy]


class StrategyAdded(Answer):
    name: str
    strategy: Strategy


class PositionList(Answer):
    positions: list[HeldPosition]


class SignalList(Answer):
    signals: list[Signal]


class DecisionList(Answer):
    decisions: list[Decision]


class OrderList(Answer):
    orders: list[Order]


class LogList(Answer):
    logs: list[LogEntry]


class ReplayAnswer(Replay):
    status: Literal["success"] = "success"


def state_text(state: TradingState) -> State:
    """The state as REST spells it."""
    texts: dict[TradingState, State] = {
        TradingState.RUNNING: "running",
        TradingState.PAUSED: "paused",
        TradingState.STOPPED: "stopped",
    }
    return texts[state]


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


def strategy_body(view: StrategyView) -> Strategy:
    """One strategy."""
    return Strategy(
        name=view.name,
        type=view.type,
        state=state_text(view.state),
        why=view.why,
        enabled=view.enabled,
        paused=view.paused,
        execution=view.execution,
        symbols=list(view.symbols),
        bar_seconds=view.bar_seconds,
        priority=view.priority,
        parameters=dict(view.parameters),
        stats=counters_body(view.counters),
        open_positions=view.open_positions,
        realized_pnl=view.realized_pnl,
    )


def held_position(view: PositionView, lots: Sequence[LotView] | None) -> HeldPosition:
    """One position with its lots, where they are known."""
    shown = None if lots is None else [Lot.model_validate(lot) for lot in lots[:LOTS_SHOWN]]
    return HeldPosition(**Position.model_validate(view).model_dump(), lots=shown)


def signal_body(view: SignalView) -> Signal:
    """One signal, with its decision in words."""
    return Signal(
        strategy=view.strategy,
        symbol=view.symbol,
        action=view.action,
        confidence=view.confidence,
        bar_time=view.bar_time,
        decided_at=view.decided_at,
        reason=view.reason,
        decision=view.decision,
        decision_text=view.decision.text,
        detail=view.detail,
    )


def decision_body(run: Run) -> Decision:
    """One run of the trail, with its reason in words."""
    return Decision(
        strategy=run.strategy,
        symbol=run.symbol,
        kind=run.kind,
        reason=run.reason,
        reason_text=reason_text(run.reason),
        detail=run.detail,
        order_ref=run.order_ref or None,
        since=run.since,
        until=run.until,
        count=run.count,
    )


def log_entry(line: LogLine) -> LogEntry:
    """One logged event."""
    return LogEntry(time=line.time, level=line.level, logger=line.logger, event=line.event, fields=dict(line.fields))
