"""A runner for the web room's tests: everything in memory, everything settable, the real hub."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from types import MappingProxyType

from openbell.domain.clock import SimulatedClock
from openbell.domain.errors import ClusterError, ManifestError, NotAllowedError, OpenbellError
from openbell.domain.limits import LockScope
from openbell.domain.orders import IntentKind, IntentState, Side
from openbell.domain.reasons import Reason
from openbell.domain.signals import Action
from openbell.domain.state import TradingState, asked_state
from openbell.domain.statistics import Counters, Statistics
from openbell.engine.trail import DecisionQuery, Run, TrailKind
from openbell.telemetry.logs import LogEntry
from openbell.telemetry.metrics import RunnerMetrics
from openbell.web.equity import EquityHistory
from openbell.web.errors import NotThereError
from openbell.web.hub import Hub, HubSubscription
from openbell.web.values import (
    Check,
    CloseResult,
    ConditionView,
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
    TradeView,
)

NOW = datetime(2024, 12, 19, 14, 30, tzinfo=UTC)


def counters(**changes: object) -> Counters:
    """Counters of a runner that has worked for a while."""
    values = Counters(
        evaluations_run=142,
        signals_generated=23,
        trades_executed=8,
        trades_rejected=2,
        exits_executed=5,
        errors=0,
        last_evaluation=NOW,
        last_trade=NOW - timedelta(minutes=5),
        reasons=MappingProxyType(
            {"NO_SIGNAL": 119, "ORDERED": 8, "LOW_CONFIDENCE": 9, "ALREADY_HELD": 4, "MAX_CONCURRENT_TRADES": 2}
        ),
    )
    return replace(values, **changes)  # type: ignore[arg-type]


def status(**changes: object) -> StatusView:
    """A running paper scheduler."""
    values = StatusView(
        name="quickstart",
        namespace="default",
        state=TradingState.RUNNING,
        enabled=True,
        paused=False,
        why="",
        mode="Paper",
        market_data="Broker",
        config=ConfigView(60, 30, 0.5, 5, True),
        totals=counters(),
        monitored_positions=3,
        uptime_seconds=8520,
        can_run=True,
        is_market_hours=True,
        broker_connected=True,
        broker_type="Simulated",
        leading=True,
        epoch=4,
        generation=7,
        observed_generation=7,
        version="0.1.0",
        next_close=NOW + timedelta(hours=6, minutes=30),
        data_age_seconds=1.4,
        conditions=(
            ConditionView("RunnerLeading", "True", "LeaseHeld", "holds the lease as epoch 4", NOW - timedelta(hours=2)),
            ConditionView("BrokerConnected", "True", "Connected", "the broker answers", NOW - timedelta(hours=2)),
            ConditionView("Paused", "False", "Running", "entries are allowed", NOW - timedelta(hours=1)),
        ),
    )
    return replace(values, **changes)  # type: ignore[arg-type]


def position(symbol: str = "AAPL", **changes: object) -> PositionView:
    """A long lot with its stop and target."""
    values = PositionView(
        position_id=f"p-{symbol.lower()}",
        strategy="momentum-tech",
        symbol=symbol,
        quantity=Decimal(40),
        average_price=Decimal("247.8100"),
        opened_at=NOW - timedelta(minutes=42),
        price=Decimal("249.3300"),
        stop=Decimal("242.8538"),
        target=Decimal("257.7224"),
        unrealized_pnl=Decimal("60.80"),
        is_protected=True,
    )
    return replace(values, **changes)  # type: ignore[arg-type]


def signal(symbol: str = "AAPL", **changes: object) -> SignalView:
    """A signal that became an order."""
    values = SignalView(
        strategy="momentum-tech",
        symbol=symbol,
        action=Action.BUY,
        confidence=0.71,
        bar_time=NOW,
        decided_at=NOW + timedelta(seconds=1),
        reason="momentum of 20 bars is +2.4 %",
        decision=Reason.ORDERED,
    )
    return replace(values, **changes)  # type: ignore[arg-type]


def trade(symbol: str = "AAPL", **changes: object) -> TradeView:
    """A fill of an entry."""
    values = TradeView(
        execution_id=f"x-{symbol}",
        order_ref="ob1.abcdefgh.aaaaaaaaaaaaaaaaaaa",
        kind=IntentKind.ENTRY,
        strategy="momentum-tech",
        symbol=symbol,
        side=Side.BUY,
        quantity=Decimal(40),
        price=Decimal("247.81"),
        commission=Decimal("1.00"),
        time=NOW,
        reason="momentum of 20 bars is +2.4 %",
    )
    return replace(values, **changes)  # type: ignore[arg-type]


def order(symbol: str = "AAPL", **changes: object) -> OrderView:
    """A filled entry."""
    values = OrderView(
        order_ref=f"ob1.abcdefgh.{symbol.lower():a<19}"[:32],
        kind=IntentKind.ENTRY,
        strategy="momentum-tech",
        symbol=symbol,
        side=Side.BUY,
        quantity=Decimal(40),
        filled_quantity=Decimal(40),
        state=IntentState.FILLED,
        reason="momentum of 20 bars is +2.4 %",
        created_at=NOW - timedelta(minutes=42),
        average_price=Decimal("247.81"),
        broker_order_id="1007",
    )
    return replace(values, **changes)  # type: ignore[arg-type]


def strategy(name: str = "momentum-tech", **changes: object) -> StrategyView:
    """A running strategy."""
    values = StrategyView(
        name=name,
        type="Momentum",
        state=TradingState.RUNNING,
        why="",
        enabled=True,
        paused=False,
        execution="Trade",
        symbols=("AAPL", "MSFT", "GOOG", "TSLA"),
        bar_seconds=60,
        priority=0,
        parameters=MappingProxyType({"lookback": 20}),
        counters=counters(),
        open_positions=2,
        realized_pnl=Decimal("312.45"),
    )
    return replace(values, **changes)  # type: ignore[arg-type]


def lock(lock_id: str = "k2v7wq4mzt3a", **changes: object) -> LockView:
    """A lock that a protection made."""
    values = LockView(
        lock_id=lock_id,
        scope=LockScope.SYMBOL,
        subject="AAPL",
        reason=Reason.STOP_LOSS_GUARD,
        detail="2 losing stops within 3600 s",
        since=NOW - timedelta(minutes=5),
        until=NOW + timedelta(minutes=55),
        made_by="StopLossGuard#0",
    )
    return replace(values, **changes)  # type: ignore[arg-type]


@dataclass
class FakeRunner:
    """Implements RunnerView. `fail` makes the calls that may wait raise; `acknowledges` answers lifecycle calls."""

    view_status: StatusView = field(default_factory=status)
    view_positions: tuple[PositionView, ...] = ()
    view_signals: tuple[SignalView, ...] = ()
    view_orders: tuple[OrderView, ...] = ()
    view_decisions: tuple[Run, ...] = ()
    view_strategies: tuple[StrategyView, ...] = ()
    view_replay: ReplayView | None = None
    view_logs: tuple[LogEntry, ...] = ()
    view_lots: dict[str, tuple[LotView, ...]] = field(default_factory=dict)
    view_fifo: dict[str, Decimal] = field(default_factory=dict)
    view_locks: tuple[LockView, ...] = ()
    equity: Decimal | None = Decimal("101284.55")
    acknowledges: bool = True
    fail: OpenbellError | None = None
    fail_decisions: OpenbellError | None = None
    closed: list[str] = field(default_factory=list)
    live: HealthView = field(default_factory=lambda: HealthView((Check("event loop", True, "lag 1 ms"),)))
    ready: HealthView = field(default_factory=lambda: HealthView((Check("journal", True, "open"),)))
    queue_length: int = 256

    def __post_init__(self) -> None:
        self.clock = SimulatedClock(NOW)
        self.telemetry = RunnerMetrics(version="0.1.0", process=False)
        self.history = EquityHistory()
        self.calls: list[tuple[str, float]] = []
        self.asked: list[DecisionQuery] = []
        self.added: list[StrategyRequest] = []
        self.hub = Hub(
            clock=self.clock, queue_length=self.queue_length, on_drop=lambda n: self.telemetry.stream_dropped.inc(n)
        )

    def now(self) -> datetime:
        return self.clock.now()

    def status(self) -> StatusView:
        return self.view_status

    def statistics(self) -> Statistics:
        return Statistics(
            self.view_status.totals,
            MappingProxyType({each.name: each.counters for each in self.view_strategies}),
            NOW - timedelta(days=3),
        )

    def strategies(self) -> tuple[StrategyView, ...]:
        return self.view_strategies

    def portfolio(self) -> PortfolioView:
        held = sum((each.quantity * each.price for each in self.view_positions if each.price is not None), Decimal(0))
        cash = self.equity - held if self.equity is not None else None
        return PortfolioView(
            time=self.now(),
            currency="USD",
            equity=self.equity,
            cash=cash,
            buying_power=cash,
            pnl_day=self.equity - 101_000 if self.equity is not None else None,
            pnl_total=self.equity - 100_000 if self.equity is not None else None,
            positions=self.view_positions,
        )

    async def money(self) -> MoneyView:
        now = self.portfolio()
        total = now.pnl_total if now.pnl_total is not None else Decimal(0)
        open_profit = sum((each.unrealized_pnl or Decimal(0) for each in self.view_positions), Decimal(0))
        return MoneyView(
            time=now.time,
            currency=now.currency,
            equity=now.equity,
            cash=now.cash,
            buying_power=now.buying_power,
            pnl_day=now.pnl_day,
            pnl_total=total,
            fees_total=Decimal("13.00"),
            realized_total=total - open_profit,
            unrealized=open_profit,
            **self.view_fifo,
        )

    async def lots(self) -> dict[str, tuple[LotView, ...]]:
        return self.view_lots

    def signals(self, limit: int) -> tuple[SignalView, ...]:
        return self.view_signals[:limit]

    async def orders(self, limit: int) -> tuple[OrderView, ...]:
        if self.fail is not None:
            raise self.fail
        return self.view_orders[:limit]

    async def decisions(self, query: DecisionQuery) -> tuple[Run, ...]:
        failed = self.fail or self.fail_decisions
        if failed is not None:
            raise failed
        self.asked.append(query)
        wanted = (("strategy", query.strategy), ("symbol", query.symbol), ("reason", query.reason))
        found = (
            run
            for run in self.view_decisions
            if all(asked is None or getattr(run, name) == asked for name, asked in wanted)
            and query.order_ref in {None, run.order_ref}
            and (query.since is None or run.until >= query.since)
        )
        return tuple(islice(found, query.limit))

    def equity_history(self) -> tuple[EquityPoint, ...]:
        return self.history.points()

    def replay(self) -> ReplayView | None:
        return self.view_replay

    def log_tail(self, lines: int) -> tuple[LogEntry, ...]:
        return self.view_logs[-lines:]

    def strategy_types(self) -> tuple[str, ...]:
        return ("Momentum", "Crossover", "Custom")

    def close_position(self, position_id: str) -> CloseResult | None:
        if all(each.position_id != position_id for each in self.portfolio().positions):
            return None
        if self.view_status.state is TradingState.STOPPED:
            raise NotAllowedError(f"Position {position_id} is not closed now: the scheduler is stopped.")
        self.closed.append(position_id)
        return CloseResult(position_id, "AAPL is being closed at the market.")

    async def start(self, wait_seconds: float) -> LifecycleResult:
        return self._change("start", wait_seconds, enabled=True)

    async def stop(self, wait_seconds: float) -> LifecycleResult:
        return self._change("stop", wait_seconds, enabled=False)

    async def pause(self, wait_seconds: float) -> LifecycleResult:
        return self._change("pause", wait_seconds, paused=True)

    async def resume(self, wait_seconds: float) -> LifecycleResult:
        return self._change("resume", wait_seconds, paused=False)

    async def resolve_order(self, order_ref: str, *, was_sent: bool) -> OrderView:
        if self.fail is not None:
            raise self.fail
        found = next((each for each in self.view_orders if each.order_ref == order_ref), None)
        if found is None:
            raise NotThereError(f"Order {order_ref!r} is not under way.")
        if found.state is not IntentState.DOUBTFUL:
            raise NotAllowedError(f"Order {order_ref} is not in doubt.")
        return replace(found, state=IntentState.CANCELLED if was_sent else IntentState.WITHDRAWN)

    async def connect_broker(self, wait_seconds: float) -> ConnectionResult:
        return self._connection("connect", wait_seconds, connected=True)

    async def disconnect_broker(self) -> ConnectionResult:
        return self._connection("disconnect", 0.0, connected=False)

    def _connection(self, call: str, wait_seconds: float, *, connected: bool) -> ConnectionResult:
        if self.fail is not None:
            raise self.fail
        self.calls.append((call, wait_seconds))
        self.view_status = replace(self.view_status, broker_connected=connected)
        reason = "Connected" if connected else "DisconnectedByHand"
        return ConnectionResult(connected, reason, f"{call}ed.")

    def _change(self, call: str, wait_seconds: float, **wanted: bool) -> LifecycleResult:
        if self.fail is not None:
            raise self.fail
        self.calls.append((call, wait_seconds))
        changed = replace(self.view_status, generation=self.view_status.generation + 1, **wanted)  # type: ignore[arg-type]
        state = asked_state(changed.enabled, changed.paused)
        why = {TradingState.PAUSED: "a person paused it", TradingState.STOPPED: "a person stopped it"}.get(state, "")
        self.view_status = replace(
            changed,
            state=state,
            why=why,
            observed_generation=changed.generation,
            can_run=state is TradingState.RUNNING,
        )
        self.hub.publish(self.view_status)
        return LifecycleResult(changed.generation, self.acknowledges)

    async def add_strategy(self, request: StrategyRequest) -> StrategyView:
        if self.fail is not None:
            raise self.fail
        unknown = sorted(set(request.parameters) - {"lookback", "threshold"})
        if unknown and request.type != "Custom":
            raise ManifestError(f"Field parameters.{unknown[0]} is not one of {request.type}: lookback, threshold.")
        name = request.name or f"{request.type}-{request.symbols[0]}".lower().replace(".", "-")
        if any(each.name == name for each in self.view_strategies):
            raise ClusterError(f"Strategy {name!r} exists already.", 409, "AlreadyExists")
        self.added.append(request)
        made = strategy(
            name, type=request.type, symbols=request.symbols, enabled=request.enabled, parameters=request.parameters
        )
        self.view_strategies = (*self.view_strategies, made)
        return made

    def locks(self) -> tuple[LockView, ...]:
        return self.view_locks

    async def add_lock(self, request: LockRequest) -> LockView:
        if self.fail is not None:
            raise self.fail
        until = None if request.seconds is None else self.now() + timedelta(seconds=request.seconds)
        made = lock(
            f"l{len(self.view_locks)}",
            scope=request.scope,
            subject=request.subject,
            detail=request.detail,
            until=until,
            reason=Reason.LOCKED,
            made_by="REST",
        )
        self.view_locks = (*self.view_locks, made)
        return made

    async def lift_lock(self, lock_id: str) -> LockView:
        if self.fail is not None:
            raise self.fail
        for each in self.view_locks:
            if each.lock_id == lock_id:
                self.view_locks = tuple(other for other in self.view_locks if other is not each)
                return replace(each, lifted_at=self.now(), lifted_by="REST")
        raise NotThereError(f"There is no lock {lock_id!r} here; see /api/locks.")

    def subscribe(self) -> HubSubscription:
        return self.hub.subscribe()

    def liveness(self) -> HealthView:
        return self.live

    def readiness(self) -> HealthView:
        return self.ready

    def metrics(self) -> bytes:
        return self.telemetry.exposition()


def busy_runner(seed: int = 7, anchor: datetime = NOW) -> FakeRunner:
    """A runner in the middle of a day, for the page: the same seed gives the same page.

    Invented prices: an equity line of 400 minutes, three positions, a mix of decisions.
    """
    rng = random.Random(seed)
    runner = FakeRunner()
    runner.clock.set(anchor)
    value = 101_000.0
    for minute in range(400):
        value += rng.gauss(1.1 + 6 * math.sin(minute / 47), 22)
        runner.history.add(anchor - timedelta(minutes=400 - minute), Decimal(repr(round(value, 2))))
    runner.equity = Decimal(repr(round(value, 2)))
    runner.view_positions = (
        position("AAPL", opened_at=anchor - timedelta(minutes=42)),
        position(
            "MSFT",
            quantity=Decimal(22),
            average_price=Decimal("437.3900"),
            price=Decimal("434.1200"),
            stop=Decimal("428.6422"),
            target=Decimal("454.8856"),
            unrealized_pnl=Decimal("-71.94"),
            opened_at=anchor - timedelta(minutes=17),
        ),
        position(
            "IBM",
            strategy="crossover-blue",
            quantity=Decimal(35),
            average_price=Decimal("222.0500"),
            price=Decimal("230.4100"),
            stop=Decimal("227.9000"),
            target=None,
            unrealized_pnl=Decimal("292.60"),
            opened_at=anchor - timedelta(hours=2, minutes=8),
            is_exiting=True,
            is_protected=False,
        ),
    )

    def at(minutes: float) -> datetime:
        return anchor - timedelta(minutes=minutes)

    made: Callable[..., SignalView] = signal
    runner.view_signals = (
        made("MSFT", confidence=0.66, bar_time=at(17), decided_at=at(17)),
        made(
            "GOOG",
            confidence=0.42,
            decision=Reason.LOW_CONFIDENCE,
            detail="0.42 is below 0.50",
            reason="momentum of 20 bars is +0.7 %",
            bar_time=at(18),
            decided_at=at(18),
        ),
        made(
            "NVDA",
            strategy="crossover-blue",
            confidence=0.63,
            decision=Reason.MAX_ORDER_NOTIONAL,
            detail="$61,200 is above $50,000",
            reason="the fast average crossed above the slow one",
            bar_time=at(25),
            decided_at=at(25),
        ),
        made(
            "AAPL",
            action=Action.SELL,
            strategy="crossover-blue",
            confidence=0.58,
            decision=Reason.NOT_HELD,
            reason="the fast average crossed below the slow one",
            bar_time=at(31),
            decided_at=at(31),
        ),
        made("AAPL", bar_time=at(42), decided_at=at(42)),
        made(
            "IBM",
            strategy="crossover-blue",
            confidence=0.77,
            reason="the fast average crossed above the slow one",
            bar_time=at(128),
            decided_at=at(128),
        ),
    )
    runner.view_decisions = (
        Run("momentum-tech", "AAPL", TrailKind.EXIT, "HOLD", "40 held, price 249.33", "", at(42), at(0), 84),
        Run("momentum-tech", "MSFT", TrailKind.EXIT, "HOLD", "22 held, price 434.12", "", at(17), at(0), 34),
        Run("momentum-tech", "GOOG", TrailKind.ENTRY, "LOW_CONFIDENCE", "0.42 is below 0.50", "", at(18), at(0), 18),
        Run("crossover-blue", "KO", TrailKind.ENTRY, "NO_SIGNAL", "", "", at(300), at(0), 300),
        Run(
            "crossover-blue",
            "IBM",
            TrailKind.EXIT,
            "TRAILING_STOP",
            "price 227.80",
            "ob1.abcdefgh.e",
            at(0.2),
            at(0.2),
            1,
        ),
        Run(
            "crossover-blue",
            "NVDA",
            TrailKind.ENTRY,
            "MAX_ORDER_NOTIONAL",
            "$61,200 is above $50,000",
            "",
            at(25),
            at(25),
            1,
        ),
        Run("momentum-tech", "AAPL", TrailKind.ENTRY, "ORDERED", "Buy", "ob1.abcdefgh.a", at(42), at(42), 1),
    )
    runner.view_locks = (
        lock("newsday", subject="TSLA", detail="earnings tonight", reason=Reason.LOCKED, until=None, made_by="REST"),
        lock("k2v7wq4mzt3a", scope=LockScope.STRATEGY, subject="momentum-tech", since=at(5), until=at(-55)),
    )
    runner.view_lots = {
        "p-aapl": (
            LotView(Decimal(25), Decimal("247.1000"), at(42)),
            LotView(Decimal(15), Decimal("248.9933"), at(40)),
        ),
        "p-msft": (LotView(Decimal(22), Decimal("437.3900"), at(17)),),
    }
    runner.view_orders = (
        order(
            "IBM",
            strategy="crossover-blue",
            kind=IntentKind.EXIT,
            side=Side.SELL,
            quantity=Decimal(55),
            filled_quantity=Decimal(20),
            state=IntentState.WORKING,
            reason="TRAILING_STOP",
            average_price=Decimal("230.38"),
            created_at=at(0.2),
        ),
        order(
            "MSFT",
            quantity=Decimal(22),
            filled_quantity=Decimal(22),
            average_price=Decimal("437.39"),
            created_at=at(17),
        ),
        order(
            "TSLA",
            quantity=Decimal(12),
            filled_quantity=Decimal(0),
            state=IntentState.REJECTED,
            average_price=None,
            detail="the symbol is halted",
            created_at=at(22),
        ),
        order("AAPL", created_at=at(42)),
    )
    runner.view_strategies = (
        strategy(),
        strategy(
            "crossover-blue",
            type="Crossover",
            symbols=("IBM", "NVDA", "AAPL", "KO", "PEP", "JNJ"),
            parameters=MappingProxyType({"fast": 10, "slow": 30}),
            counters=counters(evaluations_run=140, signals_generated=9, trades_executed=3, trades_rejected=1, errors=1),
            open_positions=1,
            realized_pnl=Decimal("-48.10"),
        ),
        strategy(
            "momentum-watch",
            state=TradingState.PAUSED,
            why="paused by a person",
            paused=True,
            execution="Shadow",
            symbols=("KO",),
            counters=Counters(),
            open_positions=0,
            realized_pnl=Decimal(0),
        ),
    )
    runner.view_logs = tuple(
        LogEntry(at(minutes), level, "openbell.runner", event, MappingProxyType(fields))
        for minutes, level, event, fields in (
            (42.0, "info", "order.filled", {"symbol": "AAPL", "quantity": 40, "price": "247.81"}),
            (22.0, "warning", "order.rejected", {"symbol": "TSLA", "detail": "the symbol is halted"}),
            (17.0, "info", "order.filled", {"symbol": "MSFT", "quantity": 22, "price": "437.39"}),
            (1.0, "info", "evaluation.done", {"strategies": 2, "signals": 0, "seconds": 0.031}),
            (0.2, "info", "exit.sent", {"symbol": "IBM", "reason": "TRAILING_STOP"}),
        )
    )
    return runner
