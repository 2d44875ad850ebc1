"""Applying one child: only when it is not already as it should be."""

from __future__ import annotations

import structlog

from openbell.controller.cache import Cache
from openbell.controller.diff import differences
from openbell.controller.metrics import OperatorMetrics
from openbell.domain.errors import ClusterError
from openbell.kube.client import KubeClient
from openbell.kube.resources import DEPLOYMENTS, Object, Resource, resource_of

FIELD_MANAGER = "openbell-operator"
VOLUME_MANAGER = "openbell-operator-volume"
"""Makes a volume claim and never touches it again: fields that can never change are no other manager's to remove."""

log = structlog.get_logger("openbell.controller")


class Children:
    """Compares with the cache, applies what differs, and remembers the answer before its event arrives."""

    def __init__(self, client: KubeClient, cache: Cache, metrics: OperatorMetrics) -> None:
        self._client, self._cache, self._metrics = client, cache, metrics

    async def ensure(self, desired: Object, *, field_manager: str = FIELD_MANAGER) -> bool:
        """Make it so; whether anything had to be written. Raises ClusterError."""
        resource = resource_of(desired)
        metadata = desired["metadata"]
        live = self._cache.get(resource, (metadata["namespace"], metadata["name"]))
        content = {key: value for key, value in desired.items() if key not in ("apiVersion", "kind")}
        paths = differences(content, live) if live is not None else ["everything"]
        if not paths:
            self._metrics.applied(resource.kind, "unchanged")
            return False
        try:
            answer = await self._client.apply(desired, field_manager=field_manager)
        except ClusterError as error:
            if error.status != 422 or live is None:
                raise
            # Applying leaves what others have added to a list, which may contradict ours (a port of the same name):
            # a merge patch replaces lists as a whole.
            await self._client.merge_patch(
                resource,
                metadata["namespace"],
                metadata["name"],
                replacing(resource, content),
                field_manager=field_manager,
            )
            answer = await self._client.apply(desired, field_manager=field_manager)
        self._cache.observe(resource, answer)
        result = "created" if live is None else "configured"
        self._metrics.applied(resource.kind, result)
        log.info(
            f"child.{result}",
            kind=resource.kind,
            namespace=metadata["namespace"],
            name=metadata["name"],
            differing=paths[:10],
        )
        return True


def replacing(resource: Resource, content: Object) -> Object:
    """The merge patch that makes room for `content`: what the API server has added to another choice goes.

    A Deployment whose strategy was turned to RollingUpdate has that choice's block by default, beside which Recreate
    is refused; leaving the block out of an apply does not remove it, because nobody owns it.
    """
    if resource != DEPLOYMENTS:
        return content
    spec = content["spec"]
    return content | {"spec": spec | {"strategy": spec["strategy"] | {"rollingUpdate": None}}}
