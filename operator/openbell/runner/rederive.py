"""Decisions made again from recorded inputs alone, by the code that made them. Pure but for reading specs anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from openbell.domain.bars import BarSeries
from openbell.domain.errors import ManifestError
from openbell.domain.orders import Intent
from openbell.domain.signals import Signal
from openbell.engine.cycle import Decision, decide, without_broker
from openbell.engine.queue import Waiting, join, keep
from openbell.engine.recorded import EvaluationRecord, Roster
from openbell.engine.trail import Outcome, Silence, outcome_of
from openbell.journal import StoredParameters
from openbell.journal.inputs import Recorded
from openbell.resources.load import parse_manifest
from openbell.runner.asking import ask, silences_of
from openbell.runner.control import Control, understand
from openbell.runner.evaluation import terms_of
from openbell.runner.limits import limits_of
from openbell.runner.source import Observed
from openbell.strategies.loader import STRATEGY_TYPES


@dataclass(frozen=True, slots=True)
class Derived:
    """What an evaluation comes to.

    `ended` is what came of signals that wait no longer, or find no room to wait. `unexpected` are signals where none
    was given when it was recorded: nothing that they would need is recorded then. `untested` has one clause for each
    strategy that could not be asked again.
    """

    silences: tuple[Silence, ...]
    outcomes: tuple[Outcome, ...]
    ended: tuple[Outcome, ...]
    intents: tuple[Intent, ...]
    unexpected: tuple[Signal, ...]
    untested: Mapping[str, str]


class UntestableError(Exception):
    """Inputs that are not all there, or not for this program to understand. One clause."""


def control_of(roster: Roster) -> Control:
    """The specs in force as the runner understood them. Raises ManifestError where they are no longer understood."""
    strategies = {name: json.loads(text) for name, text in roster.strategies.items()}
    scheduler = parse_manifest(json.loads(roster.scheduler), unknown="ignore")
    manifests, stored = {}, {}
    for name, document in strategies.items():
        manifests[name] = parse_manifest(document["manifest"], unknown="ignore")
        stored[name] = StoredParameters(document["manifest"]["spec"]["type"], document["parameters"])
    control = understand(Observed(scheduler, manifests), stored)
    if control is None:
        raise ManifestError("the recorded roster has no scheduler")
    return control


class Rederiver:
    """Makes evaluations again; specs are understood once for each roster."""

    def __init__(self) -> None:
        self._controls: dict[str, Control] = {}

    def evaluation(self, recorded: Recorded) -> Derived:
        """The evaluation's decisions from its inputs. Raises UntestableError."""
        record = recorded.record
        assert isinstance(record, EvaluationRecord)  # noqa: S101 - the caller has looked
        control = self._control(record, recorded.roster)
        bars: dict[tuple[str, int], BarSeries] = {}
        for ref, series in recorded.bars:
            if series is None:
                raise UntestableError(f"the bars of {ref.symbol} are not all recorded")
            bars[ref.symbol, ref.bar_seconds] = series
        signals: list[Signal] = []
        silences: list[Silence] = []
        untested: dict[str, str] = {}
        for name in record.asked:
            entry = control.entries.get(name)
            if name in record.failed:
                untested[name] = f"it failed ({record.failed[name]}), which is no input"
                continue
            if name in record.given:
                untested[name] = "it is not part of this program; what it said is taken as given"
                signals.extend(record.given[name])
                continue
            if entry is None or entry.spec.type.value not in STRATEGY_TYPES:
                raise UntestableError(f"{name}: {control.refused.get(name, 'its spec is not recorded')}")
            opinion = ask(entry, bars, record.lots, record.now)
            if opinion.error:
                raise UntestableError(f"{name} raises {opinion.error}, and did not when it was recorded")
            signals.extend(opinion.signals)
            silences.extend(silences_of(opinion))
        ended = _ended(record, tuple(signals))
        signals.extend(record.waiting)
        decisions = self._decide(record, control, tuple(signals))
        if not record.connected:
            decisions = without_broker(decisions)
        return Derived(
            tuple(silences),
            tuple(outcome_of(each) for each in decisions),
            tuple(outcome_of(each) for each in (*ended, *_without_room(record, decisions))),
            tuple(each.intent for each in decisions if each.intent is not None),
            tuple(signals) if record.tick is None else (),
            untested,
        )

    def _control(self, record: EvaluationRecord, roster: Roster | None) -> Control:
        if roster is None:
            raise UntestableError("the specs in force are not recorded")
        control = self._controls.get(record.roster)
        if control is None:
            try:
                control = control_of(roster)
            except (ManifestError, ValueError, KeyError) as error:
                raise UntestableError(f"the specs in force are not understood: {error}") from error
            self._controls[record.roster] = control
        return control

    def _decide(self, record: EvaluationRecord, control: Control, signals: tuple[Signal, ...]) -> tuple[Decision, ...]:
        if not signals or record.tick is None:
            return ()
        terms = {name: terms_of(entry) for name, entry in control.entries.items()}
        return decide(replace(record.tick, signals=signals, terms=terms, limits=limits_of(control)))


def _ended(record: EvaluationRecord, fresh: tuple[Signal, ...]) -> tuple[Decision, ...]:
    waited = record.waited
    standings = {each.signal.strategy: each.standing_now for each in waited if each.standing_now is not None}
    lots = {(each.signal.strategy, each.signal.symbol): each.lot for each in waited}
    queue = tuple(Waiting(each.signal, each.reason, each.standing, each.until) for each in waited)
    return join(queue, fresh, now=record.now, standings=standings, lots=lots).gone


def _without_room(record: EvaluationRecord, decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
    positions = record.tick.risk.positions if record.tick is not None else ()
    lots = {(each.strategy, each.symbol): each.quantity for each in positions}
    return keep(decisions, standings={}, lots=lots)[1]
