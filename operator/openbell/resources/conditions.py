"""Conditions of a resource: values, and pure helpers that keep their transition times right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from openbell.resources.status import ConditionStatus


class SchedulerCondition(StrEnum):
    """Types of a TradingScheduler's conditions: the first four are the operator's, the others the runner's."""

    READY = "Ready"
    AVAILABLE = "Available"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    PAUSED = "Paused"
    RUNNER_LEADING = "RunnerLeading"
    BROKER_CONNECTED = "BrokerConnected"
    DATA_FRESH = "DataFresh"
    BROKER_IN_SYNC = "BrokerInSync"
    UNMONITORED_POSITIONS = "UnmonitoredPositions"
    DEGRADED = "Degraded"


OPERATOR_CONDITIONS = (
    SchedulerCondition.READY,
    SchedulerCondition.AVAILABLE,
    SchedulerCondition.RECONCILING,
    SchedulerCondition.STALLED,
)
RUNNER_CONDITIONS = tuple(kind for kind in SchedulerCondition if kind not in OPERATOR_CONDITIONS)


class StrategyCondition(StrEnum):
    """Types of a Strategy's conditions: Accepted is the operator's, the others the runner's."""

    ACCEPTED = "Accepted"
    RUNNING = "Running"
    PAUSED = "Paused"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Condition:
    """One observation. `reason` is one CamelCase word, `message` one clause for people.

    `last_transition_time` is None until `set_condition` has placed the condition among the others.
    """

    type: str
    status: ConditionStatus
    reason: str
    message: str
    observed_generation: int
    last_transition_time: datetime | None = None

    @classmethod
    def of(cls, kind: str, status: bool | None, reason: str, message: str, generation: int) -> Condition:
        """A condition from a plain truth value; None stands for Unknown."""
        word = ConditionStatus.UNKNOWN if status is None else ConditionStatus(str(status))
        return cls(kind, word, reason, message, generation)

    @property
    def is_true(self) -> bool:
        return self.status is ConditionStatus.TRUE

    def to_dict(self) -> dict[str, Any]:
        """As it is written in a status; the transition time to the second, in UTC."""
        moment = self.last_transition_time or datetime.fromtimestamp(0, UTC)
        return {
            "type": str(self.type),
            "status": self.status.value,
            "reason": self.reason,
            "message": self.message,
            "observedGeneration": self.observed_generation,
            "lastTransitionTime": moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Condition:
        """A condition as it stands in a status."""
        moment = value.get("lastTransitionTime")
        return cls(
            type=value["type"],
            status=ConditionStatus(value["status"]),
            reason=value.get("reason", ""),
            message=value.get("message", ""),
            observed_generation=value.get("observedGeneration", 0),
            last_transition_time=datetime.fromisoformat(moment) if moment else None,
        )


def conditions_of(resource: Mapping[str, Any]) -> tuple[Condition, ...]:
    """All conditions in the status of a resource as the API server gives it."""
    return tuple(Condition.from_dict(item) for item in resource.get("status", {}).get("conditions", ()))


def find_condition(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of that type, or None where it was never set."""
    return next((condition for condition in conditions if condition.type == kind), None)


def set_condition(conditions: Iterable[Condition], new: Condition, now: datetime) -> tuple[Condition, ...]:
    """The conditions with `new` in its place, or at the end; the transition time moves only with the status."""
    before = tuple(conditions)
    old = find_condition(before, new.type)
    unchanged = old is not None and old.status is new.status and old.last_transition_time is not None
    placed = replace(new, last_transition_time=old.last_transition_time if old and unchanged else now)
    if old is None:
        return (*before, placed)
    return tuple(placed if condition.type == new.type else condition for condition in before)
