"""What the operator says of a scheduler and of a strategy: pure functions from facts to the status it applies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from openbell.domain.state import TradingState, safer
from openbell.resources.conditions import (
    RUNNER_CONDITIONS,
    Condition,
    SchedulerCondition,
    StrategyCondition,
    set_condition,
)
from openbell.resources.strategy import StrategySpec

UNREACHABLE = "RunnerUnreachable"
NO_RUNNER = "NoRunner"
LAST_GOOD = "LastGoodParameters"  # as the runner says it
RUNNER_REFUSALS = frozenset({"SourceNotFound", "InvalidClass", "InvalidParameters"})
_SHOWN_SYMBOLS = 2
_LAST_WORDS = frozenset({SchedulerCondition.UNMONITORED_POSITIONS, SchedulerCondition.DEGRADED})


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something is as it is: one CamelCase word, and one clause for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class SchedulerFacts:
    """All that the operator's conditions follow from.

    `stall` needs a person; `progress` is what is still under way. A runner that is silent or absent is spoken for;
    `borrowed` are the runner's conditions that the operator cannot leave unsaid now (see `handover`).
    """

    generation: int
    asked: TradingState
    paused: bool
    live: tuple[Condition, ...]
    pod_ready: bool
    runner_leads: bool
    runner_is_silent: bool = False
    runner_is_absent: bool = False
    stall: Cause | None = None
    progress: Cause | None = None
    borrowed: frozenset[str] = frozenset()
    strategies: tuple[StrategyFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class StrategyFacts:
    """A strategy as its scheduler counts it."""

    asked: TradingState
    is_accepted: bool
    has_failed: bool


def first_status(generation: int, now: datetime) -> dict[str, Any]:
    """Written at the first visit: a resource without a Ready condition would look finished to kstatus."""
    new = (
        Condition.of("Ready", None, "Progressing", "the operator has just seen this scheduler", generation),
        Condition.of("Available", False, NO_RUNNER, "no runner is up yet", generation),
        Condition.of("Reconciling", True, "Progressing", "its objects are being applied", generation),
        Condition.of("Stalled", False, "Progressing", "nothing needs a person", generation),
    )
    return {"observedGeneration": generation, "conditions": _placed(new, (), now)}


def scheduler_status(facts: SchedulerFacts, now: datetime) -> dict[str, Any]:
    """The whole of what the operator applies to a scheduler's status, transition times kept where nothing turned."""
    new = [_ready(facts), _available(facts), _reconciling(facts), _stalled(facts)]
    status: dict[str, Any] = {"observedGeneration": facts.generation}
    if facts.runner_is_absent:
        status["state"] = TradingState.STOPPED.value
        new.extend(_absent(facts))
    elif facts.runner_is_silent:
        new.extend(_unreachable(facts))
    status["strategies"] = strategy_counts(facts.asked, facts.strategies)
    status["conditions"] = _placed(new, facts.live, now)
    return status


def _ready(facts: SchedulerFacts) -> Condition:
    if facts.stall is not None:
        return _condition(SchedulerCondition.READY, False, facts.stall, facts)
    if facts.progress is not None:
        return _condition(SchedulerCondition.READY, False, facts.progress, facts)
    if facts.runner_is_absent:
        cause = Cause("ScaledToZero", "stopped, without a pod; volume and journal are kept")
    else:
        cause = Cause("RunnerReady", "the runner is up and acts on this generation")
    return _condition(SchedulerCondition.READY, True, cause, facts)


def _available(facts: SchedulerFacts) -> Condition:
    kind = SchedulerCondition.AVAILABLE
    if facts.runner_is_absent:
        return _condition(kind, False, Cause(NO_RUNNER, "there is no runner pod"), facts)
    if facts.runner_is_silent:
        return _condition(kind, False, Cause(UNREACHABLE, "the runner has not renewed its lease"), facts)
    if not facts.pod_ready:
        return _condition(kind, False, Cause("PodNotReady", "the runner pod is not ready"), facts)
    if not facts.runner_leads:
        return _condition(kind, False, Cause("NotLeading", "the runner does not hold its lease"), facts)
    return _condition(kind, True, Cause("RunnerLeading", "the runner is up and holds its lease"), facts)


def _reconciling(facts: SchedulerFacts) -> Condition:
    kind = SchedulerCondition.RECONCILING
    if facts.stall is None and facts.progress is not None:
        return _condition(kind, True, facts.progress, facts)
    reason = "Stalled" if facts.stall is not None else "Reconciled"
    message = "nothing goes on until a person acts" if facts.stall is not None else "every object is as it should be"
    return _condition(kind, False, Cause(reason, message), facts)


def _stalled(facts: SchedulerFacts) -> Condition:
    cause = facts.stall or Cause("Reconciled", "nothing needs a person")
    return _condition(SchedulerCondition.STALLED, facts.stall is not None, cause, facts)


def _absent(facts: SchedulerFacts) -> list[Condition]:
    """Nothing runs, so nothing is sent and nothing is in flight: a pause or stop is acknowledged by saying so."""
    gone = Cause("Stopped" if facts.asked is TradingState.STOPPED else NO_RUNNER, "there is no runner pod")
    # What it said last of unmonitored positions and of itself stays true, unless its silence has put that in doubt.
    known = {SchedulerCondition.PAUSED, SchedulerCondition.RUNNER_LEADING} | (_LAST_WORDS - facts.borrowed)
    unknown = [kind for kind in RUNNER_CONDITIONS if kind not in known]
    return [
        _condition(SchedulerCondition.PAUSED, facts.paused, gone, facts),
        _condition(SchedulerCondition.RUNNER_LEADING, False, Cause(NO_RUNNER, gone.message), facts),
        *(_condition(kind, None, Cause(NO_RUNNER, gone.message), facts) for kind in unknown),
    ]


def _unreachable(facts: SchedulerFacts) -> list[Condition]:
    cause = Cause(UNREACHABLE, "the runner has not renewed its lease for a whole lease duration")
    return [_condition(kind, None, cause, facts) for kind in RUNNER_CONDITIONS]


def strategy_counts(scheduler: TradingState, strategies: Iterable[StrategyFacts]) -> dict[str, Any]:
    """How many strategies are in which effective state; one that failed or was not accepted counts as failed."""
    counts = {"total": 0, "running": 0, "paused": 0, "stopped": 0, "failed": 0}
    for each in strategies:
        counts["total"] += 1
        if each.has_failed or not each.is_accepted:
            counts["failed"] += 1
        else:
            counts[safer(scheduler, each.asked).value.lower()] += 1
    return counts | {"summary": f"{counts['running']}/{counts['total']}"}


def refused_by_runner(live: Iterable[Condition]) -> Cause | None:
    """What the runner has found wrong with the class or the parameters of a custom strategy.

    The operator loads no code of others, so this is all that it can know of it.
    """
    failed = next((each for each in live if each.type == StrategyCondition.FAILED), None)
    if failed is not None and failed.reason == LAST_GOOD:
        return Cause("InvalidParameters", failed.message)
    if failed is None or not failed.is_true or failed.reason not in RUNNER_REFUSALS:
        return None
    return Cause(failed.reason, failed.message)


def strategy_status(
    generation: int,
    accepted: bool,
    cause: Cause,
    spec: StrategySpec | None,
    live: Iterable[Condition],
    now: datetime,
    schema: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The operator's part of a strategy's status: whether it was accepted, its symbols for people, and the schema of
    its type's parameters, which of a custom strategy the runner tells.
    """
    condition = Condition.of(StrategyCondition.ACCEPTED, accepted, cause.reason, cause.message, generation)
    status: dict[str, Any] = {"observedGeneration": generation, "conditions": _placed((condition,), live, now)}
    if spec is not None:
        status["symbols"] = symbols_text(spec.symbols)
    if schema is not None:
        status["parametersSchema"] = schema
    return status


def symbols_text(symbols: tuple[str, ...]) -> str:
    """The first few symbols and how many more there are, for a column."""
    shown = ", ".join(symbols[:_SHOWN_SYMBOLS])
    more = len(symbols) - _SHOWN_SYMBOLS
    return f"{shown} +{more}" if more > 0 else shown


def turned(live: Iterable[Condition], applied: Iterable[dict[str, Any]]) -> list[Condition]:
    """The conditions whose status or reason is another than before: what is worth an Event, once."""
    before = {each.type: (each.status, each.reason) for each in live}
    after = [Condition.from_dict(each) for each in applied]
    return [each for each in after if before.get(each.type) != (each.status, each.reason)]


def _condition(kind: str, status: bool | None, cause: Cause, facts: SchedulerFacts) -> Condition:
    return Condition.of(kind, status, cause.reason, cause.message, facts.generation)


def _placed(new: Iterable[Condition], live: Iterable[Condition], now: datetime) -> list[dict[str, Any]]:
    known = tuple(live)
    placed: list[dict[str, Any]] = []
    for condition in new:
        known = set_condition(known, condition, now)
        placed.append(next(each for each in known if each.type == condition.type).to_dict())
    return placed
