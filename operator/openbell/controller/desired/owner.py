"""Whose children these are: names, labels and the owner reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openbell.kube.resources import TRADING_SCHEDULERS, Object

MANAGED_BY = "openbell-operator"
MANAGED_SELECTOR = f"app.kubernetes.io/managed-by={MANAGED_BY}"
SCHEDULER_LABEL = "openbell.dev/scheduler"
RUNNER_NAME = "openbell-runner"
CANARY_LABEL = "openbell.dev/canary"
CONFIRM_ANNOTATION = "openbell.dev/confirm-journal-loss"
FINALIZER = "openbell.dev/flatten"
API_PORT = 8021


@dataclass(frozen=True, slots=True)
class Owner:
    """A scheduler as its children know it."""

    name: str
    namespace: str
    uid: str

    @property
    def runner(self) -> str:
        """Name of Deployment, Lease, ServiceAccount, Role and RoleBinding."""
        return f"{self.name}-runner"

    @property
    def service(self) -> str:
        return f"{self.name}-api"

    @property
    def volume(self) -> str:
        return f"{self.name}-journal"

    @property
    def token(self) -> str:
        return f"{self.name}-api-token"

    @property
    def selector(self) -> dict[str, str]:
        """What picks out the runner's pods; a Deployment's selector can never change, so this is all of it."""
        return {"app.kubernetes.io/name": RUNNER_NAME, "app.kubernetes.io/instance": self.name}

    @property
    def labels(self) -> dict[str, str]:
        return self.selector | {
            "app.kubernetes.io/part-of": "openbell",
            "app.kubernetes.io/managed-by": MANAGED_BY,
            SCHEDULER_LABEL: self.name,
        }

    @property
    def reference(self) -> dict[str, Any]:
        """The controller reference by which the garbage collector finds the children."""
        return {
            "apiVersion": TRADING_SCHEDULERS.api_version,
            "kind": TRADING_SCHEDULERS.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }

    def metadata(self, name: str, *, owned: bool = True) -> dict[str, Any]:
        """Metadata of a child; one that is not owned outlives the scheduler."""
        metadata: dict[str, Any] = {"name": name, "namespace": self.namespace, "labels": self.labels}
        if owned:
            metadata["ownerReferences"] = [self.reference]
        return metadata

    def pod_selector(self) -> str:
        """The label selector of this scheduler's runner pods."""
        return ",".join(f"{key}={value}" for key, value in sorted(self.selector.items()))


def child(api_version: str, kind: str, metadata: dict[str, Any], **content: Any) -> Object:
    """One object in the order that people read."""
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}
