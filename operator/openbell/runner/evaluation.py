"""One evaluation: bars → strategies → decisions → intents → orders, with a reason for everything that is not done."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import structlog

from openbell.brokers.base import Broker
from openbell.domain.answers import Unknown, Value
from openbell.domain.bars import BarSeries
from openbell.domain.clock import Clock
from openbell.domain.errors import JournalError
from openbell.domain.money import ZERO
from openbell.domain.reasons import Reason
from openbell.domain.signals import Action, Signal
from openbell.domain.state import TradingState
from openbell.engine.cycle import Decision, Terms, Tick, decide
from openbell.engine.exits import is_exit
from openbell.engine.sizing import SizingRule
from openbell.journal import Journal
from openbell.market.base import MarketData
from openbell.market.calendar import RESOLUTION
from openbell.resources.policies import SizingSpec
from openbell.risk.view import RiskLimits, RiskView, WorkingEntry
from openbell.runner.control import Control, StrategyEntry
from openbell.runner.ledger import SignalRecord, Tally
from openbell.runner.situation import Situation, open_seconds
from openbell.runner.waiting import WaitingSignals
from openbell.strategies.api import Context
from openbell.telemetry.metrics import ErrorKind, RunnerMetrics

log = structlog.get_logger("openbell.evaluation")

STALE_AFTER_BARS = 2
STALE_GRACE_SECONDS = 5.0

SeriesKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one strategy said of its symbols, or the error that it raised; `silent` has why it said nothing of some."""

    entry: StrategyEntry
    signals: tuple[Signal, ...]
    silent: tuple[Reason, ...] = ()
    error: str = ""


class Evaluation:
    """Runs evaluations, one at a time; a live loop and a replay call the same `run`."""

    def __init__(
        self,
        situation: Situation,
        market: MarketData,
        broker: Broker,
        journal: Journal,
        clock: Clock,
        metrics: RunnerMetrics,
        owner: str,
        on_signal: Callable[[SignalRecord], None],
        *,
        checks_freshness: bool = True,
    ) -> None:
        self._situation = situation
        self._market = market
        self._broker = broker
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._owner = owner
        self._waiting = WaitingSignals(situation, metrics, on_signal)
        self._checks_freshness = checks_freshness
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="evaluation")

    def close(self) -> None:
        """Let the evaluation thread go."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def run(self, entries: Sequence[StrategyEntry], due: datetime) -> None:
        """Evaluate these strategies now and carry out what is decided."""
        situation, control = self._situation, self._situation.control
        gate = situation.gate
        if control is None or gate.closing or not situation.fence.holds() or gate.state is TradingState.STOPPED:
            return
        started = self._clock.monotonic()
        now = self._clock.now()
        await self.refresh_account(now)
        bars = await self._read_bars(entries, now)
        if situation.gate.broker_required and not situation.gate.broker_connected:
            self._count_skipped(entries, Reason.BROKER_DISCONNECTED)
            return
        opinions = await asyncio.get_running_loop().run_in_executor(
            self._thread, self._ask_all, entries, bars, now, situation.ledger_lots()
        )
        signals = self._waiting.join(control, self._take(opinions), now)
        decisions = await self._decide(control, signals, now)
        await self._carry_out(control, decisions, now, due)
        await self._count(entries, now)
        self._metrics.evaluation_seconds.observe(self._clock.monotonic() - started)

    # -- reading -----------------------------------------------------------------------------------------------

    async def refresh_account(self, now: datetime) -> None:
        """Read the account, and keep the equity that the day began with."""
        ledger = self._situation.ledger
        answer = await self._broker.account()
        if not isinstance(answer, Value):
            return
        ledger.account = answer.value
        day_start = self._situation.day_start(now - RESOLUTION)  # at its close a session is still today
        if ledger.day_start != day_start:
            try:
                equity = await self._journal.remember_day_start(day_start.date(), answer.value.equity)
                realized = await self._journal.realized_pnl(day_start)
            except JournalError as error:
                # Yesterday's measures stay until the journal answers; the write that failed has closed the gate.
                self._situation.gate.journal_open = False
                self._metrics.errors.labels(ErrorKind.JOURNAL.value).inc()
                log.error("day-start.not-kept", error=str(error))
                return
            ledger.day_start_equity, ledger.realized_today, ledger.day_start = equity, realized, day_start

    async def _read_bars(self, entries: Iterable[StrategyEntry], now: datetime) -> dict[SeriesKey, BarSeries]:
        needs: dict[SeriesKey, int] = {}
        keys: dict[str, list[SeriesKey]] = {}
        for entry in entries:
            try:
                data = entry.strategy.data(entry.parameters, entry.settings.bar_seconds)
            except Exception:  # noqa: BLE001, S112 - foreign code: `_ask` meets the same error, and tells it
                continue
            count = max(data.warmup, self._situation.bars_for_pace(entry))
            keys[entry.name] = [(symbol, data.bar_seconds) for symbol in entry.spec.symbols]
            for key in keys[entry.name]:
                needs[key] = max(needs.get(key, 0), count)
        read: dict[SeriesKey, BarSeries] = {}
        problems: list[str] = []
        for (symbol, bar_seconds), count in needs.items():
            answer = await self._market.bars(symbol, bar_seconds, count, now)
            if isinstance(answer, Value):
                problem = self._staleness(answer.value, now)
                if problem:
                    problems.append(problem)
                else:
                    read[symbol, bar_seconds] = answer.value
            elif isinstance(answer, Unknown):
                problems.append(f"no bars of {symbol}: {answer.why}")
                self._metrics.errors.labels(ErrorKind.DATA.value).inc()
                self._situation.ledger.note_error()
        self._situation.note_bars(problems, read.values())
        self._situation.follow_pace(keys, read)
        return read

    def _staleness(self, series: BarSeries, now: datetime) -> str:
        """One clause where the newest bar is older than it should be, counted in time of open market."""
        end = series.last_end
        if end is None or not self._checks_freshness:
            return ""
        age = open_seconds(self._situation.calendar, end, now, hours_only=self._situation.hours_only)
        allowed = STALE_AFTER_BARS * series.bar_seconds + STALE_GRACE_SECONDS
        return f"the newest bar of {series.symbol} is {age:.0f} s old" if age > allowed else ""

    # -- asking strategies (on the evaluation thread) --------------------------------------------------------------

    def _ask_all(
        self,
        entries: Sequence[StrategyEntry],
        bars: dict[SeriesKey, BarSeries],
        now: datetime,
        lots: dict[tuple[str, str], Decimal],
    ) -> list[Opinion]:
        return [self._ask(entry, bars, now, lots) for entry in entries]

    def _ask(
        self,
        entry: StrategyEntry,
        bars: dict[SeriesKey, BarSeries],
        now: datetime,
        lots: dict[tuple[str, str], Decimal],
    ) -> Opinion:
        signals: list[Signal] = []
        silent: list[Reason] = []
        try:
            needs = entry.strategy.data(entry.parameters, entry.settings.bar_seconds)
            for symbol in entry.spec.symbols:
                series = bars.get((symbol, needs.bar_seconds))
                if series is None or len(series) < needs.warmup:
                    silent.append(Reason.STALE_DATA if series is None else Reason.WARMUP)
                    continue
                context = Context(
                    symbol=symbol,
                    bars=series,
                    params=entry.parameters,
                    position_quantity=lots.get((entry.name, symbol), ZERO),
                    now=now,
                    strategy=entry.name,
                    priority=entry.settings.priority,
                    version=entry.strategy.version,
                    parameters_hash=entry.parameters_hash,
                )
                said = tuple(checked(each, context) for each in entry.strategy.evaluate(context))
                signals.extend(said)
                if not said:
                    silent.append(Reason.NO_SIGNAL)
        except Exception as error:  # noqa: BLE001 - the boundary of foreign code: contained, counted, told in `Failed`
            return Opinion(entry, (), error=f"{type(error).__name__}: {error}")
        return Opinion(entry, tuple(signals), tuple(silent))

    def _take(self, opinions: Iterable[Opinion]) -> tuple[Signal, ...]:
        signals: list[Signal] = []
        silent: dict[str, Tally] = {}
        for opinion in opinions:
            name = opinion.entry.name
            if opinion.error:
                log.error("strategy.failed", strategy=name, error=opinion.error)
                self._situation.failures.failed(name, opinion.error)
                self._situation.ledger.note_error(name)
                self._metrics.errors.labels(ErrorKind.STRATEGY.value).inc()
            else:
                self._situation.failures.succeeded(name)
                signals.extend(opinion.signals)
                silent[name] = Tally(reasons=Counter(reason.value for reason in opinion.silent))
        self._situation.ledger.count_reasons(silent)
        for value, times in sum((tally.reasons for tally in silent.values()), Counter()).items():
            self._metrics.decisions.labels(value).inc(times)
        for action, times in Counter(signal.action for signal in signals).items():
            self._metrics.signals.labels(action.value).inc(times)
        return tuple(signals)

    # -- deciding ----------------------------------------------------------------------------------------------

    async def _decide(self, control: Control, signals: tuple[Signal, ...], now: datetime) -> tuple[Decision, ...]:
        if not signals:
            return ()
        situation = self._situation
        lots = situation.ledger_lots()
        held: dict[str, Decimal] | None = None
        if any(is_exit(signal, lots.get((signal.strategy, signal.symbol), ZERO)) for signal in signals):
            answer = await situation.comparison.held_by_broker()
            held = None if isinstance(answer, Unknown) else answer
        await situation.read_quotes(self._market, {signal.symbol for signal in signals}, now)
        tick = Tick(
            now=now,
            owner=self._owner,
            epoch=situation.fence.epoch,
            signals=signals,
            terms={name: terms_of(entry) for name, entry in control.entries.items()},
            prices={
                symbol: at_price
                for symbol in {signal.symbol for signal in signals}
                if (at_price := situation.ledger.price_of(symbol)) is not None
            },
            risk=self._risk_view(now),
            limits=limits_of(control),
            entry_blocked={
                name: blocked for name in control.entries if (blocked := situation.gate.entry_blocked(name)) is not None
            },
            leaving=frozenset(
                position.position_id
                for position in situation.ledger.open_positions()
                if situation.desk.is_leaving(position.position_id)
            ),
            held_by_broker=held,
        )
        return decide(tick)

    def _risk_view(self, now: datetime) -> RiskView:
        ledger = self._situation.ledger
        account = ledger.account
        return RiskView(
            now=now,
            day_start=ledger.day_start or now,
            equity=account.equity if account else ZERO,
            day_start_equity=ledger.day_start_equity or ZERO,
            realized_today=ledger.realized_today,
            buying_power=account.buying_power if account else ZERO,
            positions=ledger.open_positions(),
            working_entries=tuple(
                WorkingEntry(intent.position_id, intent.strategy, intent.symbol, intent.side)
                for intent in self._situation.desk.working_entries()
            ),
            order_times=tuple(ledger.order_times),
            reserved=sum(
                (intent.quantity * intent.reference_price for intent in self._situation.desk.working_entries()), ZERO
            ),
        )

    async def _carry_out(self, control: Control, decisions: Iterable[Decision], now: datetime, due: datetime) -> None:
        decided = tuple(decisions)
        if not self._situation.gate.broker_connected:
            # An intent would only be written and withdrawn; the bar's signal can still be ordered by the next tick.
            decided = tuple(
                Decision(each.signal, Reason.BROKER_DISCONNECTED) if each.intent is not None else each
                for each in decided
            )
        intents = [decision.intent for decision in decided if decision.intent is not None]
        outcome = await self._situation.desk.place(intents)
        if intents:
            self._metrics.order_latency_seconds.observe(max(0.0, (self._clock.now() - due).total_seconds()))
        self._waiting.settle(control, decided, outcome, now)

    # -- counting ----------------------------------------------------------------------------------------------

    def _count_skipped(self, entries: Iterable[StrategyEntry], reason: Reason) -> None:
        for entry in entries:
            self._metrics.decisions.labels(reason.value).inc()
            self._situation.ledger.count(entry.name, lambda counters: counters.with_reason(reason))

    async def _count(self, entries: Iterable[StrategyEntry], now: datetime) -> None:
        ledger = self._situation.ledger
        ledger.count(None, lambda c: replace(c, evaluations_run=c.evaluations_run + 1, last_evaluation=now))
        ledger.count_evaluated([entry.name for entry in entries], now)
        self._metrics.evaluations.inc()
        await self._situation.desk.save_statistics()


def checked(said: object, context: Context[Any]) -> Signal:
    """What a strategy said, if it is a signal that can be decided. Raises TypeError or ValueError where it is not."""
    if not isinstance(said, Signal):
        raise TypeError(f"evaluate gave {said!r}, which is a {type(said).__name__}; it must give signals")
    if (said.strategy, said.symbol) != (context.strategy, context.symbol):
        raise ValueError(
            f"evaluate gave a signal of {said.strategy} on {said.symbol} when {context.strategy} was asked of "
            f"{context.symbol}"
        )
    for name, kinds in _FIELD_TYPES.items():
        value = getattr(said, name)
        if not isinstance(value, kinds):
            raise TypeError(f"the signal's {name} is {value!r}, which is a {type(value).__name__}")
    return said


_FIELD_TYPES: Mapping[str, tuple[type, ...]] = {
    "action": (Action,),
    "confidence": (int, float),
    "priority": (int,),
    "bar_time": (datetime,),
    "valid_until": (datetime,),
    "reason": (str,),
}


def terms_of(entry: StrategyEntry) -> Terms:
    """By what a strategy's signals are traded."""
    return Terms(
        min_confidence=entry.settings.min_confidence,
        sizing=sizing_rule(entry.settings.sizing),
        exits=entry.settings.exits,
        is_shadow=entry.settings.is_shadow,
    )


def sizing_rule(spec: SizingSpec) -> SizingRule:
    """The engine's sizing rule from the resource's."""
    return SizingRule(
        min_fraction=spec.min_fraction,
        max_fraction=spec.max_fraction,
        max_notional=Decimal(spec.max_notional),
        max_equity_fraction=spec.max_equity_fraction,
    )


def limits_of(control: Control) -> RiskLimits:
    """The engine's risk limits from the resources'."""
    risk = control.spec.risk
    return RiskLimits(
        allow_short=risk.allow_short,
        max_concurrent_trades=control.spec.max_concurrent_trades,
        strategy_max_trades={
            name: entry.spec.max_concurrent_trades
            for name, entry in control.entries.items()
            if entry.spec.max_concurrent_trades is not None
        },
        max_order_notional=Decimal(risk.max_order_notional),
        max_daily_loss_fraction=risk.max_daily_loss_fraction,
        max_orders_per_minute=risk.max_orders_per_minute,
        max_orders_per_day=risk.max_orders_per_day,
    )
