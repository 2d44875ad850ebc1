"""How many replicas a runner's Deployment may have now. One rule above all: never a second runner beside a first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from openbell.controller.status import Cause
from openbell.kube.resources import Object

STOP_PATIENCE_SECONDS = 120.0
"""How long a stop waits for a runner that does not acknowledge it, where no position is to be closed."""


@dataclass(frozen=True, slots=True)
class RolloutFacts:
    """`current` is the Deployment's replicas, None without one; the wait counts from when the stop was first seen."""

    is_stalled: bool
    scale_to_zero: bool
    current: int | None
    stop_acknowledged: bool
    must_flatten: bool
    stop_waited_seconds: float


@dataclass(frozen=True, slots=True)
class Rollout:
    """Replicas to apply at once; `wants_raise`: they are to become 1 as soon as a live list shows no pod."""

    replicas: int
    wants_raise: bool = False
    progress: Cause | None = None


def decide_rollout(facts: RolloutFacts) -> Rollout:
    """Down at once when stalled, down after an acknowledged stop, up only by way of a live look at the pods."""
    if facts.is_stalled:
        return Rollout(0)
    running = bool(facts.current)
    if not facts.scale_to_zero:
        return Rollout(1) if running else Rollout(0, wants_raise=True)
    if not running or facts.stop_acknowledged:
        return Rollout(0)
    if not facts.must_flatten and facts.stop_waited_seconds >= STOP_PATIENCE_SECONDS:
        return Rollout(0)
    waits_for = "has closed its positions and stopped" if facts.must_flatten else "has stopped"
    return Rollout(1, progress=Cause("Stopping", f"the pod goes when the runner {waits_for}"))


def pods_alive(pods: Iterable[Object]) -> list[str]:
    """Names of pods whose containers may still run, terminating ones included.

    A terminal phase is reported only after every container has ended, so an evicted pod's remains do not count.
    """
    return [
        pod["metadata"]["name"] for pod in pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    ]


def is_rolled_out(deployment: Object | None) -> bool:
    """Whether the newest pod template is the one that runs and is ready."""
    if deployment is None:
        return False
    status = deployment.get("status") or {}
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
        and status.get("updatedReplicas", 0) >= 1
        and status.get("availableReplicas", 0) >= 1
    )


def trouble_of(pods: Iterable[Object]) -> Cause:
    """Why a pod that should be ready is not, in the words of the kubelet or the scheduler where they have said it."""
    for pod in pods:
        status = pod.get("status") or {}
        if pod["metadata"].get("deletionTimestamp"):
            return Cause("PodTerminating", "the runner pod is ending")
        if status.get("waiting") not in (None, "ContainerCreating", "PodInitializing"):
            message = str(status.get("message") or "no message")
            return Cause(str(status["waiting"]), f"the runner pod waits: {message}"[:500])
    return Cause("RunnerStarting", "the runner pod is not ready yet")
