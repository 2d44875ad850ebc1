"""One evaluation: bars → strategies → decisions → intents → orders, with a reason for everything that is not done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import structlog

from openbell.brokers.base import Broker
from openbell.domain.account import Account
from openbell.domain.answers import Unknown, Value
from openbell.domain.bars import BarSeries
from openbell.domain.clock import Clock
from openbell.domain.errors import JournalError
from openbell.domain.money import ZERO
from openbell.domain.reasons import Reason
from openbell.domain.signals import Signal
from openbell.domain.state import TradingState
from openbell.engine.cycle import Decision, Terms, Tick, decide, without_broker
from openbell.engine.exits import is_exit
from openbell.engine.sizing import SizingRule
from openbell.engine.tightening import holdings, tightened
from openbell.engine.trail import Outcome, outcome_of
from openbell.journal import Journal
from openbell.market.base import MarketData
from openbell.market.calendar import RESOLUTION
from openbell.resources.policies import SizingSpec
from openbell.runner.asking import Asking, Opinion, SeriesKey, silences_of
from openbell.runner.control import Control
from openbell.runner.custom import Workshop
from openbell.runner.entry import StrategyEntry
from openbell.runner.ledger import SignalRecord, Tally
from openbell.runner.limits import limits_of
from openbell.runner.next_steps import was_in_vain
from openbell.runner.recording import Evaluated, Recording
from openbell.runner.riskview import price_ages, risk_view
from openbell.runner.situation import Situation, open_seconds
from openbell.runner.waiting import WaitingSignals
from openbell.strategies.api import has_exit
from openbell.telemetry.metrics import ErrorKind, RunnerMetrics

log = structlog.get_logger("openbell.evaluation")

STALE_AFTER_BARS = 2
STALE_GRACE_SECONDS = 5.0


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
        asking: Asking | None = None,
    ) -> None:
        self._situation = situation
        self._market = market
        self._broker = broker
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._owner = owner
        self._waiting = WaitingSignals(situation, metrics, on_signal, is_used=checks_freshness)
        self._checks_freshness = checks_freshness
        self._asking = asking or Asking(Workshop())
        self.account_listeners: list[Callable[[Account], Awaitable[None]]] = []
        self.recording: Recording | None = None

    def close(self) -> None:
        """Let the evaluation thread go."""
        self._asking.close()

    async def run(self, entries: Sequence[StrategyEntry], due: datetime) -> None:
        """Evaluate these strategies now and carry out what is decided."""
        situation, control = self._situation, self._situation.control
        gate = situation.gate
        if control is None or gate.closing or not situation.fence.holds() or gate.state is TradingState.STOPPED:
            leads = situation.fence.holds() and not gate.closing
            self._note_skipped(entries, Reason.STOPPED if leads else Reason.NOT_LEADING)
            return
        started = self._clock.monotonic()
        now = self._clock.now()
        await self.refresh_account(now)
        await self._asking.prepare(entries)
        bars = await self._read_bars(entries, now)
        if situation.gate.broker_required and not situation.gate.broker_connected:
            self._count_skipped(entries, Reason.BROKER_DISCONNECTED)
            return
        lots = situation.ledger_lots()
        held = holdings(situation.ledger.open_positions())
        answers = await self._asking.ask(entries, bars, lots, now, due, held)
        await self._act_on(control, answers.soon, bars, lots, now, due)
        if answers.late:
            opinions = await answers.rest()
            await self._act_on(situation.control or control, opinions, bars, lots, self._clock.now(), due)
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
        for listener in self.account_listeners:
            await listener(answer.value)

    async def _read_bars(self, entries: Iterable[StrategyEntry], now: datetime) -> dict[SeriesKey, BarSeries]:
        needs: dict[SeriesKey, int] = {}
        keys: dict[str, list[SeriesKey]] = {}
        for entry in entries:
            data = self._asking.needs(entry)
            if data is None:
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

    # -- taking in what was said -----------------------------------------------------------------------------------

    async def _act_on(
        self,
        control: Control,
        opinions: Sequence[Opinion],
        bars: Mapping[SeriesKey, BarSeries],
        lots: Mapping[tuple[str, str], Decimal],
        now: datetime,
        due: datetime,
    ) -> None:
        fresh = self._take(opinions)
        await self._tighten(opinions)
        joined = self._waiting.join(control, fresh, now)
        signals = joined.signals
        tick = await self._tick(control, signals, now)
        decisions = decide(tick) if tick is not None else ()
        outcomes, full, connected = await self._carry_out(control, decisions, now, due)
        self._count_said(opinions)  # after the orders, which are not to wait for it
        if self.recording is not None:
            self.recording.evaluated(
                Evaluated(
                    control=control,
                    now=now,
                    owner=self._owner,
                    epoch=self._situation.fence.epoch,
                    asked=tuple(opinion.entry.name for opinion in opinions),
                    bars=bars,
                    lots=lots,
                    silences=lambda: (each for opinion in opinions for each in silences_of(opinion)),
                    outcomes=outcomes,
                    given={opinion.entry.name: opinion.signals for opinion in opinions if _is_given(opinion.entry)},
                    failed={opinion.entry.name: opinion.error for opinion in opinions if opinion.error},
                    connected=connected,
                    tick=tick,
                    waiting=signals[len(fresh) :],
                    waited=joined.waited,
                    ended=tuple(outcome_of(each) for each in (*joined.gone, *full)),
                )
            )

    async def _tighten(self, opinions: Iterable[Opinion]) -> None:
        """Tighten the stops that strategies ask for, before anything is decided."""
        asked = [each for opinion in opinions if not opinion.error for each in opinion.tightenings]
        ledger = self._situation.ledger
        moved = tuple(tightened(ledger.open_positions(), asked)) if asked else ()
        for position in moved:
            ledger.put_position(position)
            log.info("stop.tightened", position=position.position_id, stop=str(position.policy.stop_price))
        if moved:
            await self._situation.desk.save_positions(moved)

    def _take(self, opinions: Iterable[Opinion]) -> tuple[Signal, ...]:
        """The signals; a strategy that failed is told, and held against it."""
        signals: list[Signal] = []
        for opinion in opinions:
            name = opinion.entry.name
            if opinion.error:
                log.error("strategy.failed", strategy=name, error=opinion.error)
                self._situation.failures.failed(name, opinion.error)
                self._situation.ledger.note_error(name)
                self._metrics.errors.labels(ErrorKind.STRATEGY.value).inc()
            else:
                if all(reason is not Reason.NOT_LOADED for _, reason in opinion.silent):
                    self._situation.failures.succeeded(name)
                signals.extend(opinion.signals)
        return tuple(signals)

    def _count_said(self, opinions: Iterable[Opinion]) -> None:
        """Count signals, and why strategies gave none."""
        spoken = [opinion for opinion in opinions if not opinion.error]
        silent = {
            opinion.entry.name: Tally(reasons=Counter(reason.value for _, reason in opinion.silent))
            for opinion in spoken
        }
        self._situation.ledger.count_reasons(silent)
        for value, times in Counter(reason.value for opinion in spoken for _, reason in opinion.silent).items():
            self._metrics.decisions.labels(value).inc(times)
        for action, times in Counter(signal.action for opinion in spoken for signal in opinion.signals).items():
            self._metrics.signals.labels(action.value).inc(times)

    # -- deciding ----------------------------------------------------------------------------------------------

    async def _tick(self, control: Control, signals: tuple[Signal, ...], now: datetime) -> Tick | None:
        if not signals:
            return None
        situation = self._situation
        lots = situation.ledger_lots()
        speaking = {signal.strategy for signal in signals}
        held: dict[str, Decimal] | None = None
        if any(is_exit(signal, lots.get((signal.strategy, signal.symbol), ZERO)) for signal in signals):
            answer = await situation.comparison.held_by_broker()
            held = None if isinstance(answer, Unknown) else answer
        await situation.read_quotes(self._market, {signal.symbol for signal in signals}, now)
        limits = limits_of(control)
        return Tick(
            now=now,
            owner=self._owner,
            epoch=situation.fence.epoch,
            signals=signals,
            terms={name: terms_of(entry) for name, entry in control.entries.items() if name in speaking},
            prices={
                symbol: at_price
                for symbol in {signal.symbol for signal in signals}
                if (at_price := situation.ledger.price_of(symbol)) is not None
            },
            risk=risk_view(situation, limits, now),
            limits=limits,
            entry_blocked={
                name: blocked for name in speaking if (blocked := situation.gate.entry_blocked(name)) is not None
            },
            leaving=frozenset(
                position.position_id
                for position in situation.ledger.open_positions()
                if situation.desk.has_exit(position.position_id)
            ),
            held_by_broker=held,
            ages=price_ages(situation, {signal.symbol for signal in signals}, now) if self._checks_freshness else {},
            quotes={
                symbol: quote
                for symbol in sorted({signal.symbol for signal in signals})
                if (quote := situation.ledger.quotes.get(symbol)) is not None
            },
            session_close=situation.session_close(now),
            escalated=frozenset(
                position.position_id
                for position in situation.ledger.open_positions()
                if was_in_vain(situation.desk.standing(position.position_id).last)
            ),
        )

    async def _carry_out(
        self, control: Control, decisions: Iterable[Decision], now: datetime, due: datetime
    ) -> tuple[tuple[Outcome, ...], tuple[Decision, ...], bool]:
        decided = tuple(decisions)
        connected = self._situation.gate.broker_connected
        if not connected:
            decided = without_broker(decided)
        intents = [decision.intent for decision in decided if decision.intent is not None]
        outcome = await self._situation.desk.place(intents)
        if intents:
            self._metrics.order_latency_seconds.observe(max(0.0, (self._clock.now() - due).total_seconds()))
        full = self._waiting.settle(control, decided, outcome, now)
        outcomes = (outcome_of(each, outcome[each.intent.order_ref] if each.intent else None) for each in decided)
        return tuple(outcomes), full, connected

    # -- counting ----------------------------------------------------------------------------------------------

    def _count_skipped(self, entries: Iterable[StrategyEntry], reason: Reason) -> None:
        skipped = tuple(entries)
        for entry in skipped:
            self._metrics.decisions.labels(reason.value).inc()
            self._situation.ledger.count(entry.name, lambda counters: counters.with_reason(reason))
        self._note_skipped(skipped, reason)

    def _note_skipped(self, entries: Iterable[StrategyEntry], reason: Reason) -> None:
        if self.recording is not None:
            self.recording.not_evaluated(self._clock.now(), entries, reason)

    async def _count(self, entries: Iterable[StrategyEntry], now: datetime) -> None:
        ledger = self._situation.ledger
        ledger.count(None, lambda c: replace(c, evaluations_run=c.evaluations_run + 1, last_evaluation=now))
        ledger.count_evaluated([entry.name for entry in entries], now)
        self._metrics.evaluations.inc()
        await self._situation.desk.save_statistics()


def _is_given(entry: StrategyEntry) -> bool:
    """Whether bars and lots alone do not tell what a strategy says: words on exits depend on positions too."""
    return entry.is_custom or has_exit(entry.strategy)


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
