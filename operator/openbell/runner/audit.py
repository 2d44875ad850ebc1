"""Every recorded decision against the one that its recorded inputs give: the same, different, or untested.

Recorded decisions are the trail's runs and the journal's intents. A gate, the journal or the broker may have kept an
order that was decided from being sent: the trail names the order then, and the decision is the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from openbell.domain.identity import exit_ref
from openbell.domain.orders import Intent, IntentKind
from openbell.domain.reasons import ExitReason, Reason
from openbell.engine.leaving import decide_leaving
from openbell.engine.recorded import EvaluationRecord, ExitRecord, SplitRecord
from openbell.engine.trail import Note, Run, RunKey, TrailKind, ended_notes, entry_notes, essence
from openbell.journal import IntentRecord
from openbell.journal.inputs import Recorded
from openbell.runner.rederive import Derived, Rederiver, UntestableError

NOT_EVALUATED = frozenset(
    reason.value
    for reason in (
        Reason.MARKET_CLOSED,
        Reason.TICK_SKIPPED,
        Reason.NOT_LEADING,
        Reason.STOPPED,
        Reason.BROKER_DISCONNECTED,
        Reason.STRATEGY_PAUSED,
    )
)
"""Reasons of ticks at which no strategy was asked: nothing was decided, so there is nothing to derive."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One decision that its inputs do not give."""

    time: datetime
    strategy: str
    symbol: str
    recorded: str
    derived: str

    def sentence(self) -> str:
        where = f"{self.time:%Y-%m-%d %H:%M:%S} {self.strategy}/{self.symbol}"
        return f"{where}: recorded {self.recorded}; its inputs give {self.derived}"


@dataclass(slots=True)
class Audit:
    """What came of it. `untested` counts by clause."""

    evaluations: int = 0
    decisions: int = 0
    orders: int = 0
    exits: int = 0
    not_evaluated: int = 0
    differences: list[Difference] = field(default_factory=list)
    untested: Counter[str] = field(default_factory=Counter)

    def differs(self, time: datetime, strategy: str, symbol: str, recorded: str, derived: str) -> None:
        self.differences.append(Difference(time, strategy, symbol, recorded, derived))


def audit(recorded: Iterable[Recorded], runs: Sequence[Run], intents: Sequence[IntentRecord]) -> Audit:
    """Make every recorded decision again. Raises what reading `recorded` raises."""
    return _Auditor(runs, intents).run(recorded)


class _Auditor:
    def __init__(self, runs: Sequence[Run], intents: Sequence[IntentRecord]) -> None:
        self._report = Audit()
        self._runs = _Runs(runs)
        self._intents = {each.intent.order_ref: each.intent for each in intents}
        self._rederiver = Rederiver()
        self._splits: list[SplitRecord] = []
        self._derived: dict[str, list[Intent]] = {}
        self._accounted: set[str] = set()  # orders that have been told of already
        self._ticks: dict[datetime, set[str]] = {}  # evaluations that were made again, and of which strategies
        self._first: datetime | None = None
        self._last: datetime | None = None

    def run(self, recorded: Iterable[Recorded]) -> Audit:
        for each in recorded:
            record = each.record
            self._first = record.now if self._first is None else min(self._first, record.now)
            self._last = record.now if self._last is None else max(self._last, record.now)
            if isinstance(record, EvaluationRecord):
                self._evaluation(each, record)
            elif isinstance(record, ExitRecord):
                self._exit(record)
            else:
                self._splits.append(record)
        for derived in self._derived.values():
            self._order(derived)
        self._orders_that_nothing_gives()
        self._runs_that_nothing_gives()
        return self._report

    # -- evaluations -------------------------------------------------------------------------------------------

    def _evaluation(self, recorded: Recorded, record: EvaluationRecord) -> None:
        try:
            derived = self._rederiver.evaluation(recorded)
        except UntestableError as error:
            self._report.untested[f"evaluations: {error}"] += 1
            for name in record.asked:
                self._runs.pass_over(name, record.now)
            return
        self._report.evaluations += 1
        for name, why in derived.untested.items():
            self._report.untested[f"evaluations of {name}: {why}"] += 1
        self._ticks.setdefault(record.now, set()).update(name for name in record.asked if name not in record.failed)
        for signal in derived.unexpected:
            run = self._runs.take((signal.strategy, signal.symbol, TrailKind.ENTRY), record.now)
            said = f"{signal.action.value} with confidence {signal.confidence:.2f} ({signal.reason})"
            self._report.differs(record.now, signal.strategy, signal.symbol, _run_text(run), said)
        self._notes(record.now, derived)

    def _notes(self, now: datetime, derived: Derived) -> None:
        by_ref = {intent.order_ref: intent for intent in derived.intents}
        notes = (*ended_notes(now, derived.ended), *entry_notes(now, derived.silences, derived.outcomes))
        for note in notes:
            run = self._runs.take(note.key, now, note)
            intent = by_ref.get(note.order_ref)
            if intent is not None and (run is None or run.reason != Reason.ALREADY_DECIDED.value):
                self._derived.setdefault(intent.order_ref, []).append(intent)
            if run is None:
                self._report.untested[f"decisions of {note.strategy}: the trail does not have them"] += 1
                continue
            self._report.decisions += 1
            if not _is_same(run, note):
                self._report.differs(now, note.strategy, note.symbol, _run_text(run), _note_text(note))
        for name in derived.untested:
            self._runs.pass_over(name, now, {note.key for note in notes})

    # -- exits and orders --------------------------------------------------------------------------------------

    def _exit(self, record: ExitRecord) -> None:
        self._report.exits += 1
        position = record.position
        intent = decide_leaving(record).intent
        run = self._runs.take((position.strategy, position.symbol, TrailKind.EXIT), record.now)
        if intent is not None:
            self._derived.setdefault(intent.order_ref, []).append(intent)
            return
        ref = exit_ref(record.owner, position.position_id, position.exit_sequence + 1)
        known = self._intents.get(ref)
        said = _intent_text(known) if known is not None else _run_text(run)
        self._report.differs(record.now, position.strategy, position.symbol, said, "that the position is held")
        self._accounted.add(ref)

    def _order(self, derived: Sequence[Intent]) -> None:
        known = self._intents.get(derived[0].order_ref)
        if known is None:
            self._report.untested["orders: the journal does not have them, for it could not be written then"] += 1
            return
        if known.reason == ExitReason.UNRECORDED.value:
            self._report.untested["orders: they were taken up from the broker, and what they were for was lost"] += 1
            return
        self._report.orders += 1
        # One that could not be written is decided again with the next tick of the same bar.
        intent = next((each for each in derived if each.created_at == known.created_at), derived[0])
        wrong, split = _differing(known, intent), intent
        for each in self._splits:
            if wrong and each.symbol == intent.symbol and each.now >= intent.created_at:
                # The broker splits the orders that are under way, and the journal has followed.
                split = replace(
                    split, quantity=split.quantity * each.ratio, reference_price=split.reference_price / each.ratio
                )
                wrong = _differing(known, split) and wrong
        if wrong:
            self._report.differs(
                known.created_at, known.strategy, known.symbol, _words(known, wrong), _words(intent, wrong)
            )

    def _orders_that_nothing_gives(self) -> None:
        """Orders of the time that is recorded, and that no input gives."""
        if self._first is None or self._last is None:
            if self._intents:
                self._report.untested["orders: no inputs are recorded"] += len(self._intents)
            return
        for ref, intent in self._intents.items():
            if ref in self._derived or ref in self._accounted:
                continue
            if intent.kind is IntentKind.PROTECTIVE:
                continue  # no decision of a tick: it follows from its lot
            by_strategy = intent.kind is IntentKind.ENTRY or intent.reason == ExitReason.SIGNAL.value
            if by_strategy and intent.strategy in self._ticks.get(intent.created_at, ()):
                self._report.differs(
                    intent.created_at, intent.strategy, intent.symbol, _intent_text(intent), "no such order"
                )
            elif not self._first <= intent.created_at <= self._last:
                self._report.untested["orders: they are of a time whose inputs are not kept"] += 1
            else:
                self._report.untested["orders: the inputs of their tick are not recorded"] += 1

    def _runs_that_nothing_gives(self) -> None:
        for run, ticks in self._runs.left():
            if run.kind is TrailKind.EXIT:
                continue  # a position that was held: what it was held by is not recorded
            if run.reason in NOT_EVALUATED and not run.order_ref:
                self._report.not_evaluated += ticks
            elif self._first is not None and run.until >= self._first:
                self._report.untested[f"decisions of {run.strategy}: the inputs of their ticks are not recorded"] += (
                    ticks
                )
            else:
                self._report.untested["decisions: they are of a time whose inputs are not kept"] += ticks


class _Runs:
    """The trail's runs by key, and how many of their ticks were looked at."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._by_key: dict[RunKey, list[Run]] = {}
        for run in runs:
            self._by_key.setdefault(run.key, []).append(run)
        for found in self._by_key.values():
            found.sort(key=lambda run: run.since)
        self._entries_of: dict[str, list[RunKey]] = {}
        for key in self._by_key:
            if key[2] is TrailKind.ENTRY:
                self._entries_of.setdefault(key[0], []).append(key)
        self._since = {key: [run.since for run in found] for key, found in self._by_key.items()}
        self._seen: Counter[tuple[RunKey, int]] = Counter()

    def take(self, key: RunKey, now: datetime, note: Note | None = None) -> Run | None:
        """The run that has this key's tick of this moment; of several at one moment the one that says the same."""
        found: list[int] = []
        runs = self._by_key.get(key, [])
        at = bisect_right(self._since.get(key, []), now) - 1
        while at >= 0 and runs[at].until >= now:
            found.append(at)
            at -= 1
        if not found:
            return None
        free = [index for index in found if self._seen[key, index] < runs[index].count] or found
        best = next((index for index in free if note is not None and _is_same(runs[index], note)), free[-1])
        self._seen[key, best] += 1
        return runs[best]

    def pass_over(self, strategy: str, now: datetime, looked_at: Collection[RunKey] = ()) -> None:
        """Count a strategy's ticks of this moment as looked at, but for those that were."""
        for key in self._entries_of.get(strategy, ()):
            if key not in looked_at:
                self.take(key, now)

    def left(self) -> Iterable[tuple[Run, int]]:
        """Runs of which not every tick was looked at, and how many were not."""
        for key, runs in self._by_key.items():
            for index, run in enumerate(runs):
                missing = run.count - self._seen[key, index]
                if missing > 0:
                    yield run, missing


def _is_same(run: Run, note: Note) -> bool:
    """Of a run's details only the newest is known to the digit; of the others what they say."""
    exact = run.until == note.time
    details = (run.detail == note.detail) if exact else (essence(run.detail) == essence(note.detail))
    reasons = run.reason == note.reason or (bool(note.order_ref) and note.reason == Reason.ORDERED.value)
    return reasons and run.order_ref == note.order_ref and details


_COMPARED = (
    "kind",
    "strategy",
    "symbol",
    "side",
    "quantity",
    "position_id",
    "reason",
    "bar_time",
    "created_at",
    "epoch",
    "reference_price",
    "order_type",
    "limit_price",
    "stop_price",
    "time_in_force",
    "exits",
    "confidence",
)


def _differing(known: Intent, derived: Intent) -> tuple[str, ...]:
    return tuple(name for name in _COMPARED if getattr(known, name) != getattr(derived, name))


def _words(intent: Intent, names: Iterable[str]) -> str:
    values = ", ".join(f"{name.replace('_', ' ')} {getattr(intent, name)}" for name in names)
    return f"order {intent.order_ref} with {values}"


def _intent_text(intent: Intent) -> str:
    return f"order {intent.order_ref} ({intent.side.value} {intent.quantity}, {intent.reason})"


def _run_text(run: Run | None) -> str:
    return "nothing" if run is None else _text(run.reason, run.detail, run.order_ref)


def _note_text(note: Note) -> str:
    return _text(note.reason, note.detail, note.order_ref)


def _text(reason: str, detail: str, order_ref: str) -> str:
    return f"{reason}{f' by {order_ref}' if order_ref else ''}{f' ({detail})' if detail else ''}"


def counts(report: Audit) -> Mapping[str, int]:
    """The numbers of a report."""
    return {
        "evaluations": report.evaluations,
        "decisions": report.decisions,
        "orders": report.orders,
        "exits": report.exits,
        "notEvaluated": report.not_evaluated,
        "differences": len(report.differences),
        "untested": sum(report.untested.values()),
    }
