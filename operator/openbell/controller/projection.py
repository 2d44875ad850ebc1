"""What of an object a reconcile looks at; everything else is dropped before it is kept or compared.

A field that is left out here can change a thousand times without waking a reconcile: statistics above all.
"""

from __future__ import annotations

from typing import Any

from openbell.controller.handover import borrowed
from openbell.kube.resources import (
    DEPLOYMENTS,
    LEASES,
    PODS,
    STRATEGIES,
    TRADING_SCHEDULERS,
    VOLUME_CLAIMS,
    Object,
    Resource,
)

_METADATA = (
    "name",
    "namespace",
    "uid",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
)
_NOISE = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})
_SCHEDULER_STATUS = ("conditions", "observedGeneration", "state", "strategies", "runner")
_STRATEGY_STATUS = ("conditions", "observedGeneration", "state", "symbols", "parametersSchema")
_DEPLOYMENT_STATUS = ("observedGeneration", "replicas", "readyReplicas", "availableReplicas", "updatedReplicas")


def project(resource: Resource, obj: Object) -> Object:
    """The part of `obj` that matters, in the order in which the API server gave it."""
    kept: Object = {"metadata": _metadata(obj["metadata"])}
    if resource == PODS:
        kept["status"] = _pod_status(obj)
        return kept
    if resource == LEASES:
        # The spec is the runner's: a renewal every few seconds must not wake anybody. RunnerWatch looks at it.
        return kept
    for key in ("spec", "rules", "roleRef", "subjects"):
        if key in obj:
            kept[key] = obj[key]
    status = obj.get("status") or {}
    if resource == TRADING_SCHEDULERS:
        kept["status"] = _picked(status, _SCHEDULER_STATUS)
        kept["status"]["openPositions"] = (status.get("positions") or {}).get("open")
        kept |= {"borrowed": found} if (found := borrowed(obj)) else {}
    elif resource == STRATEGIES:
        kept["status"] = _picked(status, _STRATEGY_STATUS)
    elif resource == DEPLOYMENTS:
        kept["status"] = _picked(status, _DEPLOYMENT_STATUS)
    elif resource == VOLUME_CLAIMS:
        kept["status"] = _picked(status, ("phase",))
    return kept


def _picked(values: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: values[key] for key in keys if key in values}


def _metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    kept = _picked(metadata, _METADATA)
    if "annotations" in kept:
        kept["annotations"] = {key: value for key, value in kept["annotations"].items() if key not in _NOISE}
    return kept


def _pod_status(pod: Object) -> dict[str, Any]:
    status = pod.get("status") or {}
    conditions: list[Object] = status.get("conditions") or []
    ready: Object = next((each for each in conditions if each.get("type") == "Ready"), {})
    scheduled: Object = next((each for each in conditions if each.get("type") == "PodScheduled"), {})
    waiting: dict[str, Any] = {}
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or waiting
    kept = {
        "phase": status.get("phase"),
        "ready": ready.get("status") == "True",
        "node": (pod.get("spec") or {}).get("nodeName"),
        "waiting": waiting.get("reason"),
        "message": waiting.get("message"),
    }
    if scheduled.get("status") == "False":
        kept["waiting"], kept["message"] = scheduled.get("reason"), scheduled.get("message")
    return kept
