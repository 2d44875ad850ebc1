"""What the API shows of this runner, and the few things that it may ask for: `web.view.RunnerView`, implemented."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from openbell import __version__
from openbell.domain.clock import Clock
from openbell.domain.errors import JournalError, ManifestError
from openbell.domain.money import cents
from openbell.domain.positions import Position
from openbell.domain.signals import Signal
from openbell.domain.statistics import Statistics
from openbell.engine.exits import levels
from openbell.engine.trail import DecisionQuery, Run
from openbell.journal import IntentRecord, Journal
from openbell.journal.recorder import Recorder
from openbell.resources import strategy as strategy_kind
from openbell.resources.common import API_VERSION
from openbell.risk.locks import Lock
from openbell.runner.accounting import Accounts
from openbell.runner.desk import Told
from openbell.runner.entry import StrategyEntry
from openbell.runner.ledger import SignalRecord
from openbell.runner.lifecycle import Lifecycle
from openbell.runner.locking import Locking, LockNotFoundError
from openbell.runner.situation import Situation
from openbell.runner.source import Source
from openbell.strategies.loader import STRATEGY_TYPES, validate_parameters
from openbell.telemetry.logs import LogTail
from openbell.telemetry.metrics import RunnerMetrics
from openbell.web.equity import EquityHistory
from openbell.web.errors import NotThereError
from openbell.web.hub import Hub, HubSubscription
from openbell.web.view import (
    Check,
    CloseResult,
    ConditionView,
    ConfigView,
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
    TradeView,
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
            next_open=situation.calendar.next_open(now),
            next_close=situation.calendar.next_close(now),
            data_age_seconds=max(0.0, (now - newest).total_seconds()) if newest else None,
            conditions=tuple(
                ConditionView(
                    type=str(condition.type),
                    status=condition.status.value,
                    reason=condition.reason,
                    message=condition.message,
                    last_transition_time=condition.last_transition_time or now,
                )
                for condition in situation.refresh_conditions()
            ),
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
        )

    def signals(self, limit: int) -> Sequence[SignalView]:
        newest = list(self.situation.ledger.signals)[-limit:] if limit > 0 else []
        return [signal_view(record) for record in reversed(newest)]

    async def orders(self, limit: int) -> Sequence[OrderView]:
        return [order_view(record) for record in await self.journal.orders(limit)]

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
        return STRATEGY_TYPES

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
        intent, fill = told.record.intent, told.fill
        self.hub.publish(
            TradeView(
                execution_id=fill.execution_id,
                order_ref=fill.order_ref,
                kind=intent.kind,
                strategy=intent.strategy,
                symbol=fill.symbol,
                side=fill.side,
                quantity=fill.quantity,
                price=fill.price,
                commission=fill.commission,
                time=fill.time,
                reason=intent.reason,
                pnl=told.closed.pnl if told.closed else None,
            )
        )
        self.hub.publish(self.portfolio())

    def tell_status(self) -> None:
        """Publish the scheduler's state."""
        self.hub.publish(self.status())

    # -- asking ------------------------------------------------------------------------------------------------

    def close_position(self, position_id: str) -> CloseResult | None:
        if position_id not in self.situation.ledger.positions:
            return None
        return CloseResult(position_id, self.close(position_id))

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
        validate_parameters(request.type, request.parameters)
        optional = {
            "barSeconds": request.bar_seconds,
            "evaluationIntervalSeconds": request.evaluation_interval,
            "minConfidence": request.min_confidence,
            "maxConcurrentTrades": request.max_concurrent_trades,
        }
        name = request.name or _made_up_name(request, taken=set(control.entries) | set(control.refused))
        manifest = await self.source.create_strategy(
            {
                "apiVersion": API_VERSION,
                "kind": strategy_kind.KIND,
                "metadata": {"name": name},
                "spec": {
                    "schedulerRef": {"name": control.scheduler.name},
                    "enabled": request.enabled,
                    "type": request.type,
                    "parameters": dict(request.parameters),
                    "symbols": list(request.symbols),
                    **{key: value for key, value in optional.items() if value is not None},
                },
            }
        )
        entry = control.entry_of(manifest)
        return self._strategy(entry)


def signal_view(record: SignalRecord) -> SignalView:
    """A decided signal as it is shown."""
    signal: Signal = record.signal
    return SignalView(
        strategy=signal.strategy,
        symbol=signal.symbol,
        action=signal.action,
        confidence=record.shown_confidence,
        bar_time=signal.bar_time,
        decided_at=record.time,
        reason=signal.reason,
        decision=record.reason,
        detail=record.detail,
    )


def lock_view(lock: Lock) -> LockView:
    """A lock as it is shown."""
    return LockView(
        lock_id=lock.lock_id,
        scope=lock.scope,
        subject=lock.subject,
        reason=lock.reason,
        detail=lock.detail,
        since=lock.since,
        until=lock.until,
        made_by=lock.made_by,
        lifted_at=lock.lifted_at,
        lifted_by=lock.lifted_by,
    )


def order_view(record: IntentRecord) -> OrderView:
    """An intent and its order as they are shown."""
    intent = record.intent
    return OrderView(
        order_ref=intent.order_ref,
        kind=intent.kind,
        strategy=intent.strategy,
        symbol=intent.symbol,
        side=intent.side,
        quantity=intent.quantity,
        filled_quantity=record.filled,
        state=record.state,
        reason=intent.reason,
        created_at=intent.created_at,
        average_price=record.average_price if record.filled else None,
        broker_order_id=record.broker_order_id,
        detail=record.detail,
    )


def _made_up_name(request: StrategyRequest, taken: set[str]) -> str:
    """`momentum-aapl`, or with a number where that is taken."""
    plain = re.sub(r"[^a-z0-9]+", "-", f"{request.type}-{request.symbols[0]}".lower()).strip("-")[:50]
    names = (plain if number == 1 else f"{plain}-{number}" for number in range(1, len(taken) + 3))
    return next(name for name in names if name not in taken)
