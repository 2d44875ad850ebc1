"""The runner's Deployment. Its pod template holds nothing that the runner reads from its scheduler by itself, and
nothing of the operator's version, so that neither an edit of the spec nor an upgrade restarts a runner needlessly."""

from __future__ import annotations

from typing import Any

from openbell.controller.desired.overlay import merged
from openbell.controller.desired.owner import API_PORT, Owner, child
from openbell.kube.resources import DEPLOYMENTS, Object
from openbell.resources.runner import ApiAuth
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.surroundings import Mode

USER = 10001
DATA = "/data"
TOKEN_FOLDER = "/var/run/secrets/openbell.dev/api"  # noqa: S105 - a path
CONTAINER = "runner"
GRACE_SECONDS = 30
IMAGE_ANNOTATION = "openbell.dev/runner-image"
"""The image that the operator has chosen, not the spec; kept on the Deployment, so that an upgrade finds it."""


def deployment(owner: Owner, spec: SchedulerSpec, *, image: str, replicas: int, allow_live: bool = False) -> Object:
    """0 or 1 replicas; Recreate, because two runners of one scheduler must never run side by side.

    `allow_live`: whoever runs the operator allows live trading, which the runner is told for the account that is named.
    """
    metadata = owner.metadata(owner.runner)
    if not spec.runner.image:
        metadata["annotations"] = {IMAGE_ANNOTATION: image}
    return child(
        DEPLOYMENTS.api_version,
        DEPLOYMENTS.kind,
        metadata,
        spec={
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": owner.selector},
            "template": pod_template(owner, spec, image, allow_live=allow_live),
        },
    )


def pod_template(owner: Owner, spec: SchedulerSpec, image: str, *, allow_live: bool = False) -> Object:
    """The pod, with the person's overlay on it; the labels by which we find the pod always win."""
    template: Object = {
        "metadata": {
            "labels": owner.labels,
            "annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": str(API_PORT),
                "prometheus.io/path": "/metrics",
            },
        },
        "spec": _pod(owner, spec, image, allow_live=allow_live),
    }
    template = merged(template, spec.runner.pod_template)
    template["metadata"]["labels"] = template["metadata"].get("labels", {}) | owner.labels
    return template


def service_account_name(owner: Owner, spec: SchedulerSpec) -> str:
    return spec.runner.service_account_name or owner.runner


def _pod(owner: Owner, spec: SchedulerSpec, image: str, *, allow_live: bool) -> Object:
    volumes: list[Object] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": owner.volume}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if spec.api.auth is ApiAuth.TOKEN:
        volumes.append({"name": "api-token", "secret": {"secretName": owner.token, "defaultMode": 0o440}})
    return {
        "serviceAccountName": service_account_name(owner, spec),
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(owner, spec, image, allow_live=allow_live)],
        "volumes": volumes,
    }


def _container(owner: Owner, spec: SchedulerSpec, image: str, *, allow_live: bool) -> Object:
    env: list[Object] = [
        {"name": "OPENBELL_SCHEDULER", "value": owner.name},
        _field("OPENBELL_NAMESPACE", "metadata.namespace"),
        _field("OPENBELL_POD_NAME", "metadata.name"),
        _field("OPENBELL_POD_UID", "metadata.uid"),
        _field("OPENBELL_NODE", "spec.nodeName"),
        {"name": "OPENBELL_DATA", "value": DATA},
    ]
    mounts: list[Object] = [{"name": "data", "mountPath": DATA}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    if spec.api.auth is ApiAuth.TOKEN:
        env.append({"name": "OPENBELL_TOKEN_FILE", "value": f"{TOKEN_FOLDER}/token"})
        mounts.append({"name": "api-token", "mountPath": TOKEN_FOLDER, "readOnly": True})
    if allow_live and spec.mode is Mode.LIVE and spec.broker.ibkr is not None:
        env.append({"name": "OPENBELL_ALLOW_LIVE", "value": spec.broker.ibkr.account})
    resources = spec.runner.resources
    return {
        "name": CONTAINER,
        "image": image,
        "command": ["openbell"],
        "args": ["runner"],
        "env": env,
        "ports": [{"name": "api", "containerPort": API_PORT, "protocol": "TCP"}],
        "resources": {
            name: dict(values)
            for name, values in (("requests", resources.requests), ("limits", resources.limits))
            if values
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # The journal of a large account may take a while to read; until then liveness has no say.
        "startupProbe": _probe("/livez", period=1, timeout=3, failures=120),
        "livenessProbe": _probe("/livez", period=10, timeout=5, failures=3),
        "readinessProbe": _probe("/readyz", period=2, timeout=3, failures=3),
        "volumeMounts": mounts,
    }


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _probe(path: str, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "api"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }
