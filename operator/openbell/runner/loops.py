"""The two live loops, each on its own ticker: evaluation and exits. Neither waits for the other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog

from openbell.domain.clock import Clock
from openbell.domain.errors import NotLeadingError, OpenbellError, StaleEpochError
from openbell.domain.reasons import Reason
from openbell.domain.state import TradingState
from openbell.market.calendar import next_tick
from openbell.runner.entry import StrategyEntry
from openbell.runner.evaluation import Evaluation
from openbell.runner.exiting import Exits
from openbell.runner.recording import Recording
from openbell.runner.situation import Situation
from openbell.runner.ticker import Tick, Ticker
from openbell.telemetry.metrics import ErrorKind, LoopName, RunnerMetrics

log = structlog.get_logger("openbell.loops")

SETTLE_SECONDS = 0.0  # simulated bars are whole the moment they close
GRACE_OF_INTERVAL = 0.5  # a tick later than half its interval is skipped: the next one is nearer
MIN_GRACE_SECONDS = 1.0


class Loops:
    """Ticks both loops by what the resource says at the moment of each tick."""

    def __init__(
        self,
        situation: Situation,
        evaluation: Evaluation,
        exits: Exits,
        clock: Clock,
        metrics: RunnerMetrics,
        recording: Recording | None = None,
    ) -> None:
        self._situation = situation
        self._evaluation = evaluation
        self._exits = exits
        self._metrics = metrics
        self._clock = clock
        self._recording = recording
        self.evaluation_ticker = Ticker(clock, self._next_evaluation)
        self.exit_ticker = Ticker(clock, self._next_exit)

    def reschedule(self) -> None:
        """Intervals, calendar or strategies changed."""
        self.evaluation_ticker.reschedule()
        self.exit_ticker.reschedule()

    async def evaluate(self) -> None:
        """The evaluation loop, until cancelled. What overruns its interval is coalesced and counted."""
        while True:
            tick = await self.evaluation_ticker.wait()
            self._metrics.tick_lateness_seconds.labels(LoopName.EVALUATION.value).observe(tick.lateness_seconds)
            entries, late = self._due(tick)
            if late:
                self._metrics.evaluations_coalesced.inc()
                log.warning(
                    "evaluation.skipped",
                    due=tick.due.isoformat(),
                    late_seconds=round(tick.lateness_seconds, 3),
                    strategies=len(late),
                )
                self._note(late, Reason.TICK_SKIPPED)
            if not self._situation.is_open():
                self._note(entries, Reason.MARKET_CLOSED)
                continue
            if not entries:
                continue
            try:
                await self._evaluation.run(entries, tick.due)
            except (StaleEpochError, NotLeadingError):
                raise
            except OpenbellError as error:
                # The boundary of one evaluation: counted, and the next tick tries anew.
                log.error("evaluation.failed", error=str(error))
                self._situation.ledger.note_error()
                self._metrics.errors.labels(ErrorKind.INTERNAL.value).inc()

    def note_idle(self) -> None:
        """Have the trail say of strategies that are off why no tick will ask them."""
        control, gate = self._situation.control, self._situation.gate
        entries = control.entries.values() if control is not None else ()
        off = [entry for entry in entries if gate.state_of(entry.name) is TradingState.STOPPED]
        self._note(off, Reason.STOPPED if gate.state is TradingState.STOPPED else Reason.STRATEGY_PAUSED)

    def _note(self, entries: Sequence[StrategyEntry], why: Reason) -> None:
        if self._recording is not None and entries:
            self._recording.not_evaluated(self._clock.now(), entries, why)

    async def exit(self) -> None:
        """The exit loop, until cancelled."""
        while True:
            tick = await self.exit_ticker.wait()
            self._metrics.tick_lateness_seconds.labels(LoopName.EXIT.value).observe(tick.lateness_seconds)
            try:
                await self._exits.check()
            except (StaleEpochError, NotLeadingError):
                raise
            except OpenbellError as error:
                log.error("exit-check.failed", error=str(error))
                self._situation.ledger.note_error()
                self._metrics.errors.labels(ErrorKind.INTERNAL.value).inc()

    async def flatten(self) -> None:
        """Check exits at once whenever the supervisor asks for flat positions."""
        asked = self._situation.supervisor.flatten_asked
        while True:
            await asked.wait()
            asked.clear()
            self.exit_ticker.poke()

    # -- schedules ---------------------------------------------------------------------------------------------

    def _active(self) -> Sequence[StrategyEntry]:
        control = self._situation.control
        if control is None:
            return ()
        return [
            entry
            for entry in control.entries.values()
            if self._situation.gate.state_of(entry.name) is not TradingState.STOPPED
        ]

    def _next_of(self, interval_seconds: int, after: datetime) -> datetime:
        calendar, hours_only = self._situation.calendar, self._situation.hours_only
        return next_tick(calendar, hours_only, interval_seconds, SETTLE_SECONDS, after)

    def _next_evaluation(self, after: datetime) -> datetime | None:
        intervals = {self._situation.interval_of(entry) for entry in self._active()}
        self._metrics.evaluation_interval_seconds.set(min(intervals, default=0))
        return min((self._next_of(interval, after) for interval in intervals), default=None)

    def _due(self, tick: Tick) -> tuple[list[StrategyEntry], list[StrategyEntry]]:
        """The strategies to evaluate at this tick, and those that it comes too late for: their next one is nearer.

        Each is judged by its own interval: what is too late for one of a second is in time for one of an hour.
        """
        now = self._clock.now()
        due: list[StrategyEntry] = []
        late: list[StrategyEntry] = []
        nexts: dict[int, datetime] = {}
        for entry in self._active():
            interval = self._situation.interval_of(entry)
            if interval not in nexts:
                nexts[interval] = self._next_of(interval, tick.since)
            if tick.is_poked:
                due.append(entry)
            elif nexts[interval] <= now:
                lateness = (now - nexts[interval]).total_seconds()
                (late if lateness > grace_seconds(interval) else due).append(entry)
        return due, late

    def _next_exit(self, after: datetime) -> datetime | None:
        spec = self._situation.spec
        if spec is None:
            return None
        regular, extra = self._next_of(spec.exit_check_interval_seconds, after), self._exits.next_look(after)
        return min(regular, extra) if extra is not None else regular


def grace_seconds(interval_seconds: float) -> float:
    """How late an evaluation may begin."""
    return max(MIN_GRACE_SECONDS, GRACE_OF_INTERVAL * interval_seconds)
