"""Signals that wait from one evaluation to the next, and what is told of each: once while it waits, and its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import datetime

from openbell.domain.reasons import Reason
from openbell.domain.signals import Signal, SignalKey
from openbell.engine.cycle import Decision
from openbell.engine.queue import SignalQueue, join, keep
from openbell.runner.control import Control
from openbell.runner.ledger import Noted, SignalRecord
from openbell.runner.situation import Situation
from openbell.telemetry.metrics import RunnerMetrics


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
        self.queue: SignalQueue = ()

    def join(self, control: Control, fresh: tuple[Signal, ...], now: datetime) -> tuple[Signal, ...]:
        """The signals to decide now: the fresh ones, and those that wait and still count."""
        if not self.queue:
            self._known = {}
            return fresh
        lots = self._situation.ledger_lots()
        joined = join(self.queue, fresh, now=now, standings=self._standings(control), lots=lots)
        self._tell([_noted(each, now, each.reason, again=True) for each in joined.gone])
        self._known = joined.known
        self.queue = tuple(each for each in self.queue if each.signal.key in joined.known)
        return joined.signals

    def settle(
        self, control: Control, decisions: Iterable[Decision], outcome: Mapping[str, Reason], now: datetime
    ) -> None:
        """Tell what became of each signal, `outcome` by order; what may wait does so until the next evaluation."""
        decided = tuple(decisions)
        lots = self._situation.ledger_lots()
        may_wait = decided if self._is_used else ()
        self.queue, full = keep(may_wait, standings=self._standings(control), lots=lots)
        waiting = {each.signal.key: each.reason for each in self.queue}
        dropped = {each.signal.key: each for each in full}
        noted: list[Noted] = []
        for decision in decided:
            key = decision.signal.key
            again = key in self._known
            if decision.intent is not None:
                noted.append(_noted(decision, now, outcome[decision.intent.order_ref], again=again))
            elif waiting.get(key) is decision.reason:
                if self._known.get(key) is not decision.reason:
                    noted.append(_noted(decision, now, decision.reason, again=again, waits=True))
            elif key in dropped and decision.reason.is_passing:
                noted.append(_noted(dropped[key], now, Reason.QUEUE_FULL, again=again))
            else:
                noted.append(_noted(decision, now, decision.reason, again=again))
        self._tell(noted)
        self._metrics.signals_waiting.set(len(self.queue))

    def _standings(self, control: Control) -> dict[str, Hashable]:
        epoch = self._situation.fence.epoch
        return {name: (control.generation, entry.generation, epoch) for name, entry in control.entries.items()}

    def _tell(self, noted: list[Noted]) -> None:
        self._situation.ledger.note_signals(noted)
        for reason, times in Counter(each.record.reason for each in noted).items():
            self._metrics.decisions.labels(reason.value).inc(times)
        for each in noted:
            self._on_signal(each.record)


def _noted(decision: Decision, now: datetime, reason: Reason, *, again: bool, waits: bool = False) -> Noted:
    detail = decision.detail
    if decision.until is not None and reason is decision.reason:
        detail += f"; not before {decision.until:%Y-%m-%d %H:%M:%S} UTC"
    if waits:
        until = f"it is decided again until {decision.signal.valid_until:%H:%M:%S} UTC"
        detail = f"{detail}; {until}" if detail else until
    ref = decision.intent.order_ref if decision.intent else None
    return Noted(SignalRecord(decision.signal, now, reason, detail, ref), again=again, waits=waits)
