"""Blocks of the scheduler's spec that say how its runner is run: journal, pod, volume, API."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field

from openbell.resources.common import FreeObject, Model, OptionalName, Quantity, without_nulls

ResourceList = Annotated[dict[str, Quantity], Field(max_length=16), BeforeValidator(without_nulls)]


class JournalType(StrEnum):
    SQLITE = "SQLite"


class Retain(StrEnum):
    KEEP = "Keep"
    DELETE = "Delete"


class ApiAuth(StrEnum):
    TOKEN = "Token"  # noqa: S105 - the name of a way to authenticate
    NONE = "None"


class JournalSpec(Model):
    """Where intents, fills and statistics are kept."""

    type: JournalType = Field(JournalType.SQLITE, description="SQLite: a file on the runner's volume.")


class ResourcesSpec(Model):
    """Compute resources of the runner's container."""

    requests: ResourceList = Field(
        default_factory=lambda: {"cpu": "100m", "memory": "128Mi"},
        description="What the container is guaranteed, by resource name.",
    )
    limits: ResourceList = Field(
        default_factory=lambda: {"memory": "512Mi"},
        description="What the container may use at most, by resource name.",
    )


class StorageSpec(Model):
    """The volume of the journal."""

    size: Quantity = Field("1Gi", description="Size of the volume.")
    class_name: OptionalName = Field("", description="Storage class; empty = the cluster's default.")


class RunnerSpec(Model):
    """The pod that trades."""

    image: Annotated[str, Field(strict=True, max_length=512)] = Field(
        "", description="Container image; empty = the operator's own."
    )
    resources: ResourcesSpec = Field(
        default_factory=ResourcesSpec, description="Compute resources of the runner's container."
    )
    pod_template: FreeObject = Field(
        default_factory=dict,
        description="A pod template (metadata, spec) that is merged over the operator's own: node selectors, "
        "tolerations, labels, further volumes and environment.",
    )
    service_account_name: OptionalName = Field(
        "", description="Service account of the pod; empty = one that the operator makes."
    )
    storage: StorageSpec = Field(default_factory=StorageSpec, description="The volume of the journal.")
    retain: Retain = Field(
        Retain.KEEP,
        description="Keep: the volume outlives the scheduler. Delete: it is deleted with the scheduler.",
    )


class ApiSpec(Model):
    """The runner's REST and WebSocket API on port 8021."""

    auth: ApiAuth = Field(
        ApiAuth.TOKEN,
        description="Token: routes that change something need the token of the Secret <name>-api-token. "
        "None: they need nothing.",
    )
