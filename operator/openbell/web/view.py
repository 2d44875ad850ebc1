"""What the web room knows of a runner: one protocol, which the runner implements; nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from openbell.domain.statistics import Statistics
from openbell.engine.trail import DecisionQuery, Run
from openbell.web.values import (
    CloseResult,
    ConnectionResult,
    EquityPoint,
    HealthView,
    Lagged,
    LifecycleResult,
    LockRequest,
    LockView,
    LogLine,
    LotView,
    MoneyView,
    OrderView,
    PortfolioView,
    ReplayView,
    Sequenced,
    SignalView,
    StatusView,
    StrategyRequest,
    StrategyView,
)


class Subscription(Protocol):
    """One client's bounded queue. Events after `seq` follow; a snapshot read after subscribing covers the rest."""

    @property
    def seq(self) -> int:
        """Number of the newest event published before this subscription."""
        ...

    async def next(self) -> Sequenced | Lagged:
        """The next event; waits. One consumer."""
        ...

    def close(self) -> None:
        """Forget this client. May be called twice."""
        ...


class RunnerView(Protocol):
    """Everything the API shows and the few things it may ask for.

    The synchronous methods answer from memory at once. The asynchronous ones may wait for the journal or the API
    server and raise OpenbellError (ManifestError → 422, NotAllowedError → 409, ClusterError → its
    404/403/409 or 503, others → 503).
    """

    def now(self) -> datetime:
        """The trading clock: simulated time in a replay."""
        ...

    def status(self) -> StatusView: ...

    def statistics(self) -> Statistics: ...

    def strategies(self) -> Sequence[StrategyView]: ...

    def portfolio(self) -> PortfolioView: ...

    def signals(self, limit: int) -> Sequence[SignalView]:
        """The newest signals, newest first."""
        ...

    async def orders(self, limit: int) -> Sequence[OrderView]:
        """The newest orders, newest first."""
        ...

    async def resolve_order(self, order_ref: str, *, was_sent: bool) -> OrderView:
        """A person's word on an order in doubt. NotAllowedError where the broker's own word counts, NotThereError."""
        ...

    async def money(self) -> MoneyView:
        """Cash, fees and profit; what only the journal says is None while it cannot be read."""
        ...

    async def lots(self) -> Mapping[str, tuple[LotView, ...]]:
        """FIFO lots by position id, oldest first. A position that is missing: not known."""
        ...

    async def decisions(self, query: DecisionQuery) -> Sequence[Run]:
        """The decision trail's runs, newest first. Raises JournalError where the trail cannot be read."""
        ...

    def equity_history(self) -> Sequence[EquityPoint]:
        """The equity line, oldest first, bounded (see `web.equity.EquityHistory`)."""
        ...

    def replay(self) -> ReplayView | None:
        """None when this is not a replay."""
        ...

    def log_tail(self, lines: int) -> Sequence[LogLine]:
        """The newest log events, oldest first."""
        ...

    def strategy_types(self) -> tuple[str, ...]:
        """The types that can be added, as resources spell them ("Momentum")."""
        ...

    def close_position(self, position_id: str) -> CloseResult | None:
        """Leave a position at the market; None where there is no such open one. Raises NotAllowedError."""
        ...

    async def connect_broker(self, wait_seconds: float) -> ConnectionResult:
        """Connect to the broker's gateway again, waiting so long. NotAllowedError where the broker has none."""
        ...

    async def disconnect_broker(self) -> ConnectionResult:
        """Hang up and stay so. NotAllowedError where the broker has no gateway."""
        ...

    async def start(self, wait_seconds: float) -> LifecycleResult: ...

    async def stop(self, wait_seconds: float) -> LifecycleResult: ...

    async def pause(self, wait_seconds: float) -> LifecycleResult:
        """Close the gate first, then patch; wait up to `wait_seconds` (0 = do not wait) for the acknowledgement."""
        ...

    async def resume(self, wait_seconds: float) -> LifecycleResult: ...

    async def add_strategy(self, request: StrategyRequest) -> StrategyView: ...

    def locks(self) -> Sequence[LockView]:
        """Locks that hold openings back now, oldest first."""
        ...

    async def add_lock(self, request: LockRequest) -> LockView: ...

    async def lift_lock(self, lock_id: str) -> LockView:
        """Lift a lock, once; NotThereError where there is none of this id."""
        ...

    def subscribe(self) -> Subscription:
        """A new client of the event stream (see `web.hub.Hub`, which the runner publishes to)."""
        ...

    def liveness(self) -> HealthView:
        """Whether this process must be restarted: event-loop lag, loops' watchdog."""
        ...

    def readiness(self) -> HealthView:
        """Whether the API can serve: the journal is open. Broker and leadership do not matter."""
        ...

    def metrics(self) -> bytes:
        """The Prometheus text format, version 0.0.4."""
        ...
