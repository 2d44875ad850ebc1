"""What the runner tells its recorder: each tick's reasons, and the inputs that its decisions were made from.

Everything here is called after the orders of a tick were handed over, and only gathers references to values that no
longer change: words are found and documents are written on the recorder's thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from openbell.domain.bars import BarSeries
from openbell.domain.positions import Position
from openbell.domain.reasons import HoldReason, Reason
from openbell.domain.signals import Signal
from openbell.engine.cycle import Tick
from openbell.engine.exits import Hold
from openbell.engine.leaving import Leaving
from openbell.engine.recorded import EvaluationRecord, ExitRecord, Roster, SplitRecord, WaitedSignal
from openbell.engine.trail import (
    Note,
    Outcome,
    Silence,
    ended_notes,
    entry_notes,
    exit_note,
    held_or_left,
    same_for_all,
)
from openbell.journal.inputs import InputsFile
from openbell.journal.recorder import Recorder, Told
from openbell.resources.common import API_VERSION
from openbell.resources.strategy import KIND
from openbell.risk.view import RiskLimits, RiskView
from openbell.runner.control import Control
from openbell.runner.entry import StrategyEntry

T = TypeVar("T", Tick, RiskView)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One evaluation as it went; `silences` is called on the recorder's thread.

    `ended` is what came of signals that wait no longer, or find no room to wait. `given`, `failed`, `tick`, `waiting`,
    `waited` and `connected`: see `EvaluationRecord`.
    """

    control: Control
    now: datetime
    owner: str
    epoch: int
    asked: tuple[str, ...]
    bars: Mapping[tuple[str, int], BarSeries]
    lots: Mapping[tuple[str, str], Decimal]
    silences: Callable[[], Iterable[Silence]]
    outcomes: tuple[Outcome, ...]
    given: Mapping[str, tuple[Signal, ...]]
    failed: Mapping[str, str]
    connected: bool = True
    tick: Tick | None = None
    waiting: tuple[Signal, ...] = ()
    waited: tuple[WaitedSignal, ...] = ()
    ended: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a position: why it is held, or the exit that was decided and what the exit was decided from."""

    position: Position
    price: Decimal | None
    reason: str
    order_ref: str = ""
    decided: ExitRecord | None = None


class Recording:
    """Keeps no state but the specs' documents, which are made once for each reading of the resources."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._roster: tuple[Control, Roster] | None = None  # of the recorder's thread

    @property
    def is_behind(self) -> bool:
        """See `Recorder.is_behind`: a replay waits then, a live runner never does."""
        return self._recorder.is_behind

    def evaluated(self, evaluated: Evaluated) -> None:
        """An evaluation is over."""
        tick = evaluated.tick
        kept = evaluated if tick is None else replace(evaluated, tick=_own(replace(tick, risk=_own(tick.risk))))
        self._recorder.tell(
            Told(
                lambda: (*ended_notes(kept.now, kept.ended), *entry_notes(kept.now, kept.silences(), kept.outcomes)),
                lambda file: self._write(file, kept),
            )
        )

    def not_evaluated(self, now: datetime, entries: Iterable[StrategyEntry], reason: Reason) -> None:
        """A tick at which nobody was asked."""
        asked = [(entry.name, entry.spec.symbols) for entry in entries]
        self._recorder.tell(Told(lambda: same_for_all(now, asked, reason)))

    def looked(self, now: datetime, looks: Sequence[Look]) -> None:
        """The monitored positions were looked at."""
        decided = [look.decided for look in looks if look.decided is not None]

        def write(file: InputsFile) -> None:
            for record in decided:
                file.exit(record)

        if looks:
            self._recorder.tell(Told(lambda: [_note(look, now) for look in looks], write if decided else None))

    def split(self, now: datetime, symbol: str, ratio: Decimal) -> None:
        """A stock was split."""
        self._recorder.tell(Told(list, lambda file: file.split(SplitRecord(now, symbol, ratio))))

    def _write(self, file: InputsFile, evaluated: Evaluated) -> None:
        if self._roster is None or self._roster[0] is not evaluated.control:
            self._roster = (evaluated.control, roster_of(evaluated.control))
        file.evaluation(record_of(evaluated), self._roster[1], evaluated.bars)


def _own(value: T) -> T:
    """The value with dicts of its own: what the runner goes on to change must not change what is recorded."""
    found = {field.name: getattr(value, field.name) for field in fields(value)}
    copies: dict[str, Any] = {name: dict(each) for name, each in found.items() if type(each) is dict}
    return replace(value, **copies)


def record_of(evaluated: Evaluated) -> EvaluationRecord:
    """What is kept of an evaluation beside bars and specs."""
    tick = evaluated.tick
    return EvaluationRecord(
        now=evaluated.now,
        owner=evaluated.owner,
        epoch=evaluated.epoch,
        roster="",
        asked=evaluated.asked,
        bars=(),
        lots=evaluated.lots,
        connected=evaluated.connected,
        # Signals, terms and limits follow from bars and specs: they are no inputs.
        tick=None if tick is None else replace(tick, signals=(), terms={}, limits=RiskLimits()),
        given=evaluated.given,
        failed=evaluated.failed,
        waiting=evaluated.waiting,
        waited=evaluated.waited,
    )


def _note(look: Look, now: datetime) -> Note:
    if look.reason in {HoldReason.HOLD, HoldReason.LEAVING}:
        leaving = look.reason is HoldReason.LEAVING
        return held_or_left(look.position, now, look.price, leaving=leaving)
    return exit_note(look.position, now, look.reason, price=look.price, order_ref=look.order_ref)


def look_of(record: ExitRecord, leaving: Leaving, outcome: Mapping[str, Reason], price: Decimal | None) -> Look:
    """What a look at a position came to; `outcome` is what was answered to each order that was handed over."""
    if isinstance(leaving.found, Hold):
        return Look(record.position, price, HoldReason.HOLD)
    if leaving.intent is None:
        return Look(record.position, price, HoldReason.GONE)
    ref = leaving.intent.order_ref
    answered = outcome.get(ref, Reason.BROKER_DISCONNECTED)
    if answered is Reason.ALREADY_DECIDED:
        return Look(record.position, price, HoldReason.LEAVING)
    reason = leaving.found.reason if answered is Reason.ORDERED else answered
    return Look(record.position, price, reason, ref, record if ref in outcome else None)


def roster_of(control: Control) -> Roster:
    """The specs in force, as documents from which `control_of` makes the same again."""
    scheduler = control.scheduler
    return Roster(
        _canonical(
            {
                "apiVersion": API_VERSION,
                "kind": scheduler.kind,
                "metadata": {
                    "name": scheduler.name,
                    "namespace": scheduler.namespace,
                    "uid": scheduler.uid,
                    "generation": scheduler.generation,
                },
                "spec": control.spec.model_dump(mode="json", by_alias=True),
            }
        ),
        {name: _canonical(_strategy(entry, scheduler.namespace)) for name, entry in control.entries.items()},
    )


def _strategy(entry: StrategyEntry, namespace: str) -> dict[str, Any]:
    return {
        "manifest": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": entry.name, "namespace": namespace, "generation": entry.generation},
            "spec": entry.spec.model_dump(mode="json", by_alias=True),
        },
        "parameters": entry.parameters.model_dump(mode="json", by_alias=True),
    }


def _canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
