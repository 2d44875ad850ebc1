"""What the API shows of this runner, and the few things that it may ask for: `web.view.RunnerView`, implemented."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from openbell import __version__
from openbell.domain.clock import Clock
from openbell.domain.errors import JournalError, ManifestError, NotAllowedError
from openbell.domain.money import cents
from openbell.domain.positions import Position
from openbell.domain.statistics import Statistics
from openbell.engine.exits import levels
from openbell.engine.trail import DecisionQuery, Run
from openbell.journal import Journal
from openbell.journal.recorder import Recorder
from openbell.market.calendar import next_times
from openbell.resources.strategy import StrategyType
from openbell.runner.accounting import Accounts
from openbell.runner.adding import strategy_manifest
from openbell.runner.desk import Told
from openbell.runner.entry import StrategyEntry
from openbell.runner.ledger import SignalRecord
from openbell.runner.lifecycle import Lifecycle
from openbell.runner.locking import Locking, LockNotFoundError
from openbell.runner.shown import condition_view, lock_view, order_view, signal_view, trade_view
from openbell.runner.situation import Situation
from openbell.runner.source import Source
from openbell.runner.steering import Steering
from openbell.strategies.loader import STRATEGY_TYPES
from openbell.telemetry.logs import LogTail
from openbell.telemetry.metrics import RunnerMetrics
from openbell.web.equity import EquityHistory
from openbell.web.errors import NotThereError
from openbell.web.hub import Hub, HubSubscription
from openbell.web.values import (
    Check,
    CloseResult,
    ConfigView,
    ConnectionResult,
    EquityPoint,
    HealthView,
    LifecycleResult,
    LockRequest,
    LockView,
    LotView,
    MoneyView,
    OrderView,
    PortfolioView,
    PositionView,
    ReplayView,
    SignalView,
    StatusView,
    StrategyRequest,
    StrategyView,
)

LAG_LIMIT_SECONDS = 5.0
CURRENCY = "USD"
BY_REST = "REST"


class Pulse(Protocol):
    """The event loop's own heartbeat, for liveness."""

    def age_seconds(self) -> float: ...


@dataclass(slots=True)
class View:
    """Reads the situation; what people ask for goes to the lifecycle or to the source."""

    situation: Situation
    source: Source
    lifecycle: Lifecycle
    locking: Locking
    journal: Journal
    clock: Clock
    real_clock: Clock
    metrics_registry: RunnerMetrics
    tail: LogTail
    pulse: Pulse
    hub: Hub
    equity: EquityHistory = field(default_factory=EquityHistory)
    replay_view: Callable[[], ReplayView | None] = lambda: None
    recorder: Recorder | None = None
    close: Callable[[str], str] = lambda _: ""
    steering: Steering | None = None
    _started: float = 0.0
    _accounts: Accounts = field(init=False)

    def __post_init__(self) -> None:
        self._accounts = Accounts(self.journal, self.situation.ledger)
        self._started = self.real_clock.monotonic()

    # -- reading -----------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        return self.clock.now()

    def status(self) -> StatusView:
        situation, now = self.situation, self.clock.now()
        control = situation.control
        spec = control.spec if control else None
        acknowledged = situation.supervisor.acknowledged
        newest = situation.data.newest
        next_open, next_close = next_times(situation.calendar, now)
        return StatusView(
            name=control.scheduler.name if control else "",
            namespace=control.scheduler.namespace if control else "",
            state=situation.gate.state,
            enabled=bool(spec and spec.enabled),
            paused=bool(spec and spec.paused),
            why=situation.why(),
            mode=spec.mode.value if spec else "Paper",
            market_data=spec.market_data.type.value if spec else "Broker",
            config=ConfigView(
                evaluation_interval=spec.evaluation_interval_seconds if spec else 0,
                exit_check_interval=spec.exit_check_interval_seconds if spec else 0,
                min_confidence=spec.min_confidence if spec else 0.0,
                max_concurrent_trades=spec.max_concurrent_trades if spec else 0,
                market_hours_only=situation.hours_only,
            ),
            totals=situation.ledger.statistics.total,
            monitored_positions=0 if situation.gate.exit_blocked() else len(situation.ledger.positions),
            uptime_seconds=int(self.real_clock.monotonic() - self._started),
            can_run=situation.can_run(),
            is_market_hours=situation.calendar.is_open(now),
            broker_connected=situation.gate.broker_connected,
            broker_type=spec.broker.type.value if spec else "Simulated",
            leading=situation.fence.holds(),
            epoch=situation.fence.epoch,
            generation=control.generation if control else 0,
            observed_generation=acknowledged.generation if acknowledged else 0,
            version=__version__,
            next_open=next_open,
            next_close=next_close,
            data_age_seconds=max(0.0, (now - newest).total_seconds()) if newest else None,
            conditions=tuple(condition_view(each, now) for each in situation.refresh_conditions()),
        )

    def statistics(self) -> Statistics:
        return self.situation.ledger.statistics

    def strategies(self) -> Sequence[StrategyView]:
        control = self.situation.control
        return [self._strategy(entry) for entry in control.entries.values()] if control else []

    def _strategy(self, entry: StrategyEntry) -> StrategyView:
        situation = self.situation
        return StrategyView(
            name=entry.name,
            type=entry.spec.type.value,
            state=situation.gate.state_of(entry.name),
            why=situation.strategy_why(entry),
            enabled=entry.spec.enabled,
            paused=entry.spec.paused,
            execution=entry.spec.execution.value,
            symbols=tuple(entry.spec.symbols),
            bar_seconds=entry.settings.bar_seconds,
            priority=entry.settings.priority,
            parameters=entry.parameters.model_dump(mode="json", by_alias=True),
            counters=situation.ledger.statistics.of(entry.name),
            open_positions=len(situation.positions_of(entry.name)),
            realized_pnl=cents(situation.ledger.realized(entry.name)),
        )

    def portfolio(self) -> PortfolioView:
        situation = self.situation
        account = situation.ledger.account
        return PortfolioView(
            time=self.clock.now(),
            currency=account.currency if account else CURRENCY,
            equity=cents(account.equity) if account else None,
            cash=cents(account.cash) if account else None,
            buying_power=cents(account.buying_power) if account else None,
            pnl_day=situation.pnl_day(),
            pnl_total=situation.pnl_total(),
            positions=tuple(self._position(position) for position in situation.ledger.open_positions()),
        )

    async def money(self) -> MoneyView:
        accounting = await self._accounts.read()
        situation, now = self.situation, self.portfolio()
        realized, unrealized = situation.ledger.realized_total(), situation.ledger.unrealized()
        known = MoneyView(
            time=now.time,
            currency=now.currency,
            equity=now.equity,
            cash=now.cash,
            buying_power=now.buying_power,
            pnl_day=now.pnl_day,
            pnl_total=situation.pnl_total(),
            fees_total=cents(situation.ledger.fees_total()),
            realized_total=cents(realized),
            unrealized=cents(unrealized),
        )
        if accounting is None:
            return known
        return replace(
            known,
            realized_today=cents(accounting.realized_today),
            realized_today_fifo=cents(accounting.realized_today_fifo),
            realized_total_fifo=cents(realized + accounting.open_shift),
            unrealized_fifo=cents(unrealized - accounting.open_shift),
        )

    async def lots(self) -> Mapping[str, tuple[LotView, ...]]:
        accounting = await self._accounts.read()
        if accounting is None:
            return {}
        return {
            position_id: tuple(LotView(lot.quantity, lot.price, lot.opened_at) for lot in lots)
            for position_id, lots in accounting.lots.items()
        }

    def _position(self, position: Position) -> PositionView:
        stop, target = levels(position)
        at_price = self.situation.ledger.price_of(position.symbol)
        return PositionView(
            position_id=position.position_id,
            strategy=position.strategy,
            symbol=position.symbol,
            quantity=position.quantity,
            average_price=position.average_price,
            opened_at=position.opened_at,
            price=at_price,
            stop=stop,
            target=target,
            unrealized_pnl=cents(position.unrealized_pnl(at_price)) if at_price is not None else None,
            is_exiting=self.situation.desk.is_leaving(position.position_id),
            is_protected=self.situation.desk.is_protected(position.position_id),
            broker_side=position.policy.broker_side,
        )

    def signals(self, limit: int) -> Sequence[SignalView]:
        newest = list(self.situation.ledger.signals)[-limit:] if limit > 0 else []
        return [signal_view(record) for record in reversed(newest)]

    async def orders(self, limit: int) -> Sequence[OrderView]:
        return [order_view(record) for record in await self.journal.orders(limit)]

    async def resolve_order(self, order_ref: str, *, was_sent: bool) -> OrderView:
        comparison = self.situation.comparison
        if order_ref not in self.situation.desk.in_flight:
            raise NotThereError(f"Order {order_ref!r} is not under way; GET /api/orders lists the newest.")
        if order_ref not in comparison.doubtful:
            raise NotAllowedError(f"Order {order_ref} is not in doubt: the broker's own word on it counts.")
        record = await self.situation.desk.resolve(order_ref, was_sent=was_sent, by=BY_REST)
        comparison.ask()
        return order_view(record)

    async def decisions(self, query: DecisionQuery) -> Sequence[Run]:
        if self.recorder is None:
            raise JournalError("this runner keeps no decision trail")
        return await self.recorder.decisions(query)

    def equity_history(self) -> Sequence[EquityPoint]:
        return self.equity.points()

    def replay(self) -> ReplayView | None:
        return self.replay_view()

    def log_tail(self, lines: int) -> Sequence[Any]:
        return self.tail.last(lines)

    def strategy_types(self) -> tuple[str, ...]:
        return (*STRATEGY_TYPES, StrategyType.CUSTOM.value)

    def locks(self) -> Sequence[LockView]:
        return [lock_view(lock) for lock in self.locking.active()]

    async def add_lock(self, request: LockRequest) -> LockView:
        made = await self.locking.add(request.scope, request.subject, request.seconds, request.detail, by=BY_REST)
        return lock_view(made)

    async def lift_lock(self, lock_id: str) -> LockView:
        try:
            return lock_view(await self.locking.lift(lock_id, by=BY_REST))
        except LockNotFoundError as error:
            raise NotThereError(f"There is no lock {lock_id!r} here; see /api/locks.") from error

    def subscribe(self) -> HubSubscription:
        return self.hub.subscribe()

    def liveness(self) -> HealthView:
        age = self.pulse.age_seconds()
        return HealthView((Check("event-loop", age < LAG_LIMIT_SECONDS, f"last beat {age:.1f} s ago"),))

    def readiness(self) -> HealthView:
        is_open = self.situation.gate.journal_open
        return HealthView((Check("journal", is_open, "" if is_open else "the journal cannot be written"),))

    def metrics(self) -> bytes:
        return self.metrics_registry.exposition()

    # -- telling the stream ------------------------------------------------------------------------------------

    def tell_signal(self, record: SignalRecord) -> None:
        """Publish a decided signal."""
        self.hub.publish(signal_view(record))

    def tell_order(self, told: Told) -> None:
        """Publish a fill, and the portfolio after it."""
        if told.fill is None:
            return
        self.hub.publish(trade_view(told, told.fill))
        self.hub.publish(self.portfolio())

    def tell_status(self) -> None:
        """Publish the scheduler's state."""
        self.hub.publish(self.status())

    # -- asking ------------------------------------------------------------------------------------------------

    def close_position(self, position_id: str) -> CloseResult | None:
        if position_id not in self.situation.ledger.positions:
            return None
        return CloseResult(position_id, self.close(position_id))

    async def connect_broker(self, wait_seconds: float) -> ConnectionResult:
        return await self._gateway().connect(wait_seconds)

    async def disconnect_broker(self) -> ConnectionResult:
        return await self._gateway().disconnect()

    def _gateway(self) -> Steering:
        if self.steering is None:
            kind = self.status().broker_type
            raise NotAllowedError(f"spec.broker.type is {kind}; there is no gateway to connect to or disconnect from")
        return self.steering

    async def start(self, wait_seconds: float) -> LifecycleResult:
        return await self.lifecycle.start(wait_seconds)

    async def resume(self, wait_seconds: float) -> LifecycleResult:
        return await self.lifecycle.resume(wait_seconds)

    async def stop(self, wait_seconds: float) -> LifecycleResult:
        return await self.lifecycle.stop(wait_seconds)

    async def pause(self, wait_seconds: float) -> LifecycleResult:
        return await self.lifecycle.pause(wait_seconds)

    async def add_strategy(self, request: StrategyRequest) -> StrategyView:
        control = self.situation.control
        if control is None:
            raise ManifestError("the scheduler has not been read yet")
        taken = set(control.entries) | set(control.refused)
        manifest = await self.source.create_strategy(strategy_manifest(request, control.scheduler.name, taken))
        entry = control.entry_of_new(manifest)
        return self._strategy(entry)
