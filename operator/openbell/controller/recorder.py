"""Events for people: one for each transition, none for repeats, and never a reason for a reconcile to fail."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime

import structlog

from openbell.controller.ending import is_expected
from openbell.domain.errors import ClusterError
from openbell.kube.client import KubeClient
from openbell.kube.lease import micro_time
from openbell.kube.resources import EVENTS, Object
from openbell.resources.conditions import Condition, SchedulerCondition, StrategyCondition
from openbell.resources.status import ConditionStatus

CONTROLLER = "openbell.dev/operator"
NOTE_LENGTH = 1000
ORDINARY = frozenset({"RunnerStarting", "RunnerBehind", "PodTerminating", "WaitingForPod", "Stopping"})
"""What a scheduler that is not Ready goes through by itself; any other reason is for a person to look at."""
_TOLD = frozenset({SchedulerCondition.READY, SchedulerCondition.STALLED, StrategyCondition.ACCEPTED})

log = structlog.get_logger("openbell.controller")


def is_told(condition: Condition) -> bool:
    """Whether the turning of a condition deserves an Event: what a person would want in `kubectl describe`."""
    if condition.type == SchedulerCondition.STALLED:
        return condition.status is ConditionStatus.TRUE  # its end shows in Ready
    if condition.type == SchedulerCondition.READY:
        return condition.status is not ConditionStatus.UNKNOWN
    if condition.type == SchedulerCondition.RUNNER_LEADING:
        return condition.status is ConditionStatus.UNKNOWN  # the operator's own finding
    return condition.type in _TOLD


def is_warning(condition: Condition) -> bool:
    """Whether a person must look at it, as opposed to what comes and goes in ordinary life."""
    if condition.type == SchedulerCondition.STALLED:
        return condition.status is ConditionStatus.TRUE
    return condition.status is not ConditionStatus.TRUE and condition.reason not in ORDINARY


def event(regarding: Object, condition: Condition, *, now: datetime, name: str, instance: str) -> Object:
    """The Event of one turned condition. `name` must be unique in the namespace."""
    metadata = regarding["metadata"]
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": name, "namespace": metadata["namespace"]},
        "eventTime": micro_time(now),
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "action": "Reconcile",
        "reason": condition.reason,
        "note": condition.message[:NOTE_LENGTH],
        "type": "Warning" if is_warning(condition) else "Normal",
        "regarding": {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
    }


class Recorder:
    """Writes Events; one that cannot be written is counted by `on_failure` and left.

    Nobody needs one about what is being deleted, so its refusal does not count.
    """

    def __init__(
        self, client: KubeClient, instance: str, now: Callable[[], datetime], on_failure: Callable[[], None]
    ) -> None:
        self._client, self._instance, self._now, self._on_failure = client, instance, now, on_failure

    async def tell(self, regarding: Object, turned: list[Condition]) -> None:
        """One Event for each turned condition that people want to hear of."""
        for condition in turned:
            if not is_told(condition):
                continue
            name = f"{regarding['metadata']['name'][:200]}.{uuid.uuid4().hex[:16]}"
            try:
                await self._client.create(
                    event(regarding, condition, now=self._now(), name=name, instance=self._instance)
                )
            except ClusterError as error:
                if is_expected(error):
                    log.debug("event.needless", reason=condition.reason, error=str(error))
                    continue
                self._on_failure()
                log.warning("event.lost", reason=condition.reason, error=str(error))
