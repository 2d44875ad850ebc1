"""What the web room shows of a runner, and what it asks for, as frozen values.

Times are aware UTC, money is Decimal in the account's currency, `None` means "not known", never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol, TypeAlias

from openbell.domain.limits import LockScope
from openbell.domain.orders import IntentKind, IntentState, Side
from openbell.domain.reasons import Reason
from openbell.domain.signals import Action
from openbell.domain.state import TradingState
from openbell.domain.statistics import Counters

Mode: TypeAlias = Literal["Paper", "Live"]


MarketDataType: TypeAlias = Literal["Broker", "Synthetic", "Replay", "IBKR"]


Execution: TypeAlias = Literal["Trade", "Shadow"]


ConditionStatus: TypeAlias = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class ConfigView:
    """The scheduler's settings in force, by the names of the REST answer. Intervals in seconds."""

    evaluation_interval: int
    exit_check_interval: int
    min_confidence: float
    max_concurrent_trades: int
    market_hours_only: bool


@dataclass(frozen=True, slots=True)
class ConditionView:
    """One condition of the scheduler's status."""

    type: str
    status: ConditionStatus
    reason: str
    message: str
    last_transition_time: datetime


@dataclass(frozen=True, slots=True)
class StatusView:
    """The scheduler now; also the `state` event of the stream, sent on each transition.

    `why` is one clause for people ("market closed until 09:30 ET"), "" when there is nothing to explain;
    `generation` is the newest seen of the resource, `observed_generation` the one that this runner acts by;
    `next_open` and `next_close` are None too where the market never closes;
    `uptime_seconds` counts this process on a monotonic clock; `data_age_seconds` is the age of the newest bar or
    quote.
    """

    name: str
    namespace: str
    state: TradingState
    enabled: bool
    paused: bool
    why: str
    mode: Mode
    market_data: MarketDataType
    config: ConfigView
    totals: Counters
    monitored_positions: int
    uptime_seconds: int
    can_run: bool
    is_market_hours: bool
    broker_connected: bool
    broker_type: str
    leading: bool
    epoch: int
    generation: int
    observed_generation: int
    version: str
    next_open: datetime | None = None
    next_close: datetime | None = None
    data_age_seconds: float | None = None
    conditions: tuple[ConditionView, ...] = ()


@dataclass(frozen=True, slots=True)
class StrategyView:
    """One strategy as it runs. `state` is the effective one, the safer of scheduler and strategy."""

    name: str
    type: str
    state: TradingState
    why: str
    enabled: bool
    paused: bool
    execution: Execution
    symbols: tuple[str, ...]
    bar_seconds: int
    priority: int
    parameters: Mapping[str, object]
    counters: Counters
    open_positions: int
    realized_pnl: Decimal


@dataclass(frozen=True, slots=True)
class PositionView:
    """One open lot. `quantity` is signed; `stop` is the tighter of stop loss and active trailing stop.

    `is_protected`: the broker has acknowledged a stop for it, which works without us. `broker_side`: it is to have one.
    """

    position_id: str
    strategy: str
    symbol: str
    quantity: Decimal
    average_price: Decimal
    opened_at: datetime
    price: Decimal | None = None
    stop: Decimal | None = None
    target: Decimal | None = None
    unrealized_pnl: Decimal | None = None
    is_exiting: bool = False
    is_protected: bool = False
    broker_side: bool = True


@dataclass(frozen=True, slots=True)
class SignalView:
    """A strategy's opinion and what became of it. Known by (strategy, symbol, bar time, action).

    `reason` is what the strategy said, `decision` what was done or why not, `detail` the numbers behind that in
    one clause ("0.42 is below 0.5"), "" where the decision says it all.
    """

    strategy: str
    symbol: str
    action: Action
    confidence: float
    bar_time: datetime
    decided_at: datetime
    reason: str
    decision: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class OrderView:
    """An intent and what the broker made of it. `reason` is the intent's own."""

    order_ref: str
    kind: IntentKind
    strategy: str
    symbol: str
    side: Side
    quantity: Decimal
    filled_quantity: Decimal
    state: IntentState
    reason: str
    created_at: datetime
    average_price: Decimal | None = None
    broker_order_id: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TradeView:
    """One fill; the `trade` event. `pnl` is set (after fees) when it closed the position."""

    execution_id: str
    order_ref: str
    kind: IntentKind
    strategy: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    commission: Decimal
    time: datetime
    reason: str
    pnl: Decimal | None = None


@dataclass(frozen=True, slots=True)
class PortfolioView:
    """Money and open lots at one time; the `portfolio` event."""

    time: datetime
    currency: str
    equity: Decimal | None
    cash: Decimal | None
    buying_power: Decimal | None
    pnl_day: Decimal | None
    pnl_total: Decimal | None
    positions: tuple[PositionView, ...] = ()


@dataclass(frozen=True, slots=True)
class LotView:
    """Shares bought (or sold short, quantity < 0) at one price and time."""

    quantity: Decimal
    price: Decimal
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class MoneyView:
    """What there is, and the profit at average cost and by FIFO.

    What was realised is after fees, also those of what is still open; `realized_total + unrealized` is `pnl_total`
    by either way of counting. "Today" is since the trading day began.
    """

    time: datetime
    currency: str
    equity: Decimal | None
    cash: Decimal | None
    buying_power: Decimal | None
    pnl_day: Decimal | None
    pnl_total: Decimal
    fees_total: Decimal
    realized_total: Decimal
    unrealized: Decimal
    realized_today: Decimal | None = None
    realized_today_fifo: Decimal | None = None
    realized_total_fifo: Decimal | None = None
    unrealized_fifo: Decimal | None = None


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """One point of the equity line."""

    time: datetime
    equity: Decimal


@dataclass(frozen=True, slots=True)
class ReplayView:
    """How far a replay is. `digest` is over the trades so far and final once `finished`."""

    finished: bool
    trades: int
    digest: str


@dataclass(frozen=True, slots=True)
class LockView:
    """Openings that are held back. `subject` is the symbol or strategy, "" for the scope Global; `until` None: until
    it is lifted. `reason` is what a denied opening says, `detail` why the lock was made, `made_by` by whom."""

    lock_id: str
    scope: LockScope
    subject: str
    reason: Reason
    detail: str
    since: datetime
    until: datetime | None
    made_by: str
    lifted_at: datetime | None = None
    lifted_by: str = ""


@dataclass(frozen=True, slots=True)
class LockRequest:
    """A lock that a person asks for; `seconds` None: until it is lifted."""

    scope: LockScope
    subject: str
    detail: str
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class LifecycleResult:
    """The generation that asks for the new state (None: the API server could not be told yet, it will be), and
    whether the runner has acknowledged it."""

    generation: int | None
    acknowledged: bool


@dataclass(frozen=True, slots=True)
class ConnectionResult:
    """What a connect or disconnect of the broker's gateway came to: the link's reason, and one sentence."""

    connected: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class CloseResult:
    """A position that a person wants closed: what will happen, in one sentence."""

    position_id: str
    message: str


@dataclass(frozen=True, slots=True)
class StrategyRequest:
    """A strategy to create. `type` is one of `strategy_types()`; None = the scheduler's own, or a name made up.

    `source` is the resource's `spec.source`, where the class of a Custom one is; None for any other.
    """

    type: str
    symbols: tuple[str, ...]
    parameters: Mapping[str, object]
    enabled: bool = True
    name: str | None = None
    bar_seconds: int | None = None
    evaluation_interval: int | None = None
    min_confidence: float | None = None
    max_concurrent_trades: int | None = None
    source: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a probe looked at; `detail` is one clause."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class HealthView:
    """A probe's answer: good when every check is."""

    checks: tuple[Check, ...] = field(default=())

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


class LogLine(Protocol):
    """One logged event."""

    @property
    def time(self) -> datetime: ...

    @property
    def level(self) -> str: ...

    @property
    def logger(self) -> str: ...

    @property
    def event(self) -> str: ...

    @property
    def fields(self) -> Mapping[str, object]: ...


StreamEvent: TypeAlias = SignalView | TradeView | PortfolioView | StatusView


@dataclass(frozen=True, slots=True)
class Sequenced:
    """A published event and its number; numbers grow by one for each event that is published."""

    seq: int
    time: datetime
    event: StreamEvent


@dataclass(frozen=True, slots=True)
class Lagged:
    """The client was too slow: `dropped` events before `seq` (the next one it gets) were left out."""

    seq: int
    dropped: int
