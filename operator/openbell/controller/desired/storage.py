"""What outlives a runner pod: the journal's volume, and the Lease whose spec is the runner's alone."""

from __future__ import annotations

from typing import Any

from openbell.controller.desired.owner import Owner, child
from openbell.kube.resources import LEASES, VOLUME_CLAIMS, Object
from openbell.resources.runner import Retain, StorageSpec


def lease(owner: Owner) -> Object:
    """Metadata only: holder, times and epoch are written by the runner."""
    return child(LEASES.api_version, LEASES.kind, owner.metadata(owner.runner))


def volume_claim(owner: Owner, storage: StorageSpec, retain: Retain) -> Object:
    """The claim as it is made once: class and access mode can never change afterwards."""
    claim = volume_upkeep(owner, str(storage.size), retain)
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": claim["spec"]["resources"]}
    if storage.class_name:
        spec["storageClassName"] = storage.class_name
    return claim | {"spec": spec}


def volume_upkeep(owner: Owner, size: str, retain: Retain) -> Object:
    """What is kept true of an existing claim: labels, size, and an owner only where it is to go with the scheduler."""
    return child(
        VOLUME_CLAIMS.api_version,
        VOLUME_CLAIMS.kind,
        owner.metadata(owner.volume, owned=retain is Retain.DELETE),
        spec={"resources": {"requests": {"storage": size}}},
    )
