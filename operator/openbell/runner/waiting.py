"""Signals that wait from one evaluation to the next, and what is told of each: once while it waits, and its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from openbell.domain.money import ZERO
from openbell.domain.reasons import Reason
from openbell.domain.signals import Signal, SignalKey
from openbell.engine.cycle import Decision
from openbell.engine.queue import SignalQueue, Standing, Waiting, join, keep
from openbell.engine.rank import Lots
from openbell.engine.recorded import WaitedSignal
from openbell.runner.control import Control
from openbell.runner.ledger import Noted, SignalRecord
from openbell.runner.situation import Situation, open_seconds
from openbell.telemetry.metrics import RunnerMetrics


@dataclass(frozen=True, slots=True)
class Rejoined:
    """`signals` are to be decided now; `gone` is what came of those that wait no longer, from `waited`."""

    signals: tuple[Signal, ...]
    gone: tuple[Decision, ...] = ()
    waited: tuple[WaitedSignal, ...] = ()


class WaitingSignals:
    """Holds the queue. It lives and ends with the process: after a restart strategies speak for themselves.

    A replay does not use it: each of its signals is decided at its own bar, as a backtest does.
    """

    def __init__(
        self,
        situation: Situation,
        metrics: RunnerMetrics,
        on_signal: Callable[[SignalRecord], None],
        *,
        is_used: bool = True,
    ) -> None:
        self._situation = situation
        self._metrics = metrics
        self._on_signal = on_signal
        self._is_used = is_used
        self._known: Mapping[SignalKey, Reason] = {}
        self._until: Mapping[SignalKey, datetime] = {}
        self.queue: SignalQueue = ()

    def join(self, control: Control, fresh: tuple[Signal, ...], now: datetime) -> Rejoined:
        """The signals to decide now, the fresh ones and those that wait and still count; and what ended the others."""
        if not self.queue:
            self._known, self._until = {}, {}
            return Rejoined(fresh)
        lots = self._situation.ledger_lots()
        standings, before = self._standings(control), {each.signal.key: each for each in self.queue}
        joined = join(self.queue, fresh, now=now, standings=standings, lots=lots)
        self._tell([_noted(each, now, each.reason, again=True) for each in joined.gone])
        self._known, self._until = joined.known, joined.until
        self.queue = tuple(each for each in self.queue if each.signal.key in joined.known)
        waited = [before[each.signal.key] for each in joined.gone]
        return Rejoined(joined.signals, joined.gone, tuple(_recorded(each, standings, lots) for each in waited))

    def settle(
        self, control: Control, decisions: Iterable[Decision], outcome: Mapping[str, Reason], now: datetime
    ) -> tuple[Decision, ...]:
        """Tell what became of each signal, `outcome` by order; what may wait does so until the next evaluation.

        Those that may wait and find no room.
        """
        decided = tuple(decisions)
        lots = self._situation.ledger_lots()
        may_wait = decided if self._is_used else ()
        self.queue, full = keep(
            may_wait,
            standings=self._standings(control),
            lots=lots,
            until=lambda signal: self._until.get(signal.key) or self._waits_until(signal, now),
        )
        waiting = {each.signal.key: each for each in self.queue}
        dropped = {each.signal.key: each for each in full}
        noted: list[Noted] = []
        for decision in decided:
            key = decision.signal.key
            again = key in self._known
            if decision.intent is not None:
                noted.append(_noted(decision, now, outcome[decision.intent.order_ref], again=again))
            elif key in waiting and waiting[key].reason is decision.reason:
                if self._known.get(key) is not decision.reason:
                    noted.append(_noted(decision, now, decision.reason, again=again, until=waiting[key].until))
            elif key in dropped and decision.reason.is_passing:
                noted.append(_noted(dropped[key], now, Reason.QUEUE_FULL, again=again))
            else:
                noted.append(_noted(decision, now, decision.reason, again=again))
        self._tell(noted)
        self._metrics.signals_waiting.set(len(self.queue))
        return full

    def _waits_until(self, signal: Signal, now: datetime) -> datetime:
        """How old its bar is when it is said is taken off its lifetime, so that it is never ordered on an older one."""
        situation = self._situation
        age = open_seconds(situation.calendar, signal.bar_time, now, hours_only=situation.hours_only)
        return signal.valid_until - timedelta(seconds=age)

    def _standings(self, control: Control) -> dict[str, Standing]:
        epoch = self._situation.fence.epoch
        return {name: (control.generation, entry.generation, epoch) for name, entry in control.entries.items()}

    def _tell(self, noted: list[Noted]) -> None:
        self._situation.ledger.note_signals(noted)
        for reason, times in Counter(each.record.reason for each in noted).items():
            self._metrics.decisions.labels(reason.value).inc(times)
        for each in noted:
            self._on_signal(each.record)


def _recorded(waited: Waiting, standings: Mapping[str, Standing], lots: Lots) -> WaitedSignal:
    signal = waited.signal
    return WaitedSignal(
        signal=signal,
        reason=waited.reason,
        until=waited.until,
        lot=lots.get((signal.strategy, signal.symbol), ZERO),
        standing=waited.standing,
        standing_now=standings.get(signal.strategy),
    )


def _noted(decision: Decision, now: datetime, reason: Reason, *, again: bool, until: datetime | None = None) -> Noted:
    detail = decision.detail
    if decision.until is not None and reason is decision.reason:
        detail += f"; not before {decision.until:%Y-%m-%d %H:%M:%S} UTC"
    if until is not None:
        again_until = f"it is decided again until {until:%H:%M:%S} UTC"
        detail = f"{detail}; {again_until}" if detail else again_until
    ref = decision.intent.order_ref if decision.intent else None
    return Noted(SignalRecord(decision.signal, now, reason, detail, ref), again=again, waits=until is not None)
