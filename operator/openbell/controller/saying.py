"""Writes the operator's part of a status, and tells people in Events what has turned by it."""

from __future__ import annotations

from typing import Any

from openbell.controller.cache import Cache
from openbell.controller.handover import STATUS_MANAGER, borrowed_of, kept_whole
from openbell.controller.metrics import OperatorMetrics
from openbell.controller.recorder import Recorder
from openbell.controller.status import turned
from openbell.kube.client import KubeClient
from openbell.kube.resources import STRATEGIES, TRADING_SCHEDULERS, Object
from openbell.resources.conditions import RUNNER_CONDITIONS, conditions_of


class StatusWriter:
    """Of schedulers and strategies alike."""

    def __init__(self, client: KubeClient, cache: Cache, recorder: Recorder, metrics: OperatorMetrics) -> None:
        self._client, self._cache, self._recorder, self._metrics = client, cache, recorder, metrics

    async def write(self, obj: Object, status: dict[str, Any], *, tell: bool = True) -> Object:
        """Apply our part of the status if it is not there already, and tell people what has turned."""
        live_status = obj.get("status") or {}
        live = conditions_of(obj)
        status = status | {"conditions": kept_whole(status["conditions"], obj)}
        for_runner = {each["type"] for each in status["conditions"]} & set(RUNNER_CONDITIONS)
        if _says(live_status, status) and for_runner == set(borrowed_of(obj)):
            return obj
        metadata = {key: obj["metadata"][key] for key in ("name", "namespace", "uid")}
        resource = STRATEGIES if "schedulerRef" in obj.get("spec", {}) else TRADING_SCHEDULERS
        if resource is TRADING_SCHEDULERS and for_runner:
            # Speaking for the runner: only if it has said nothing since we looked.
            metadata["resourceVersion"] = obj["metadata"]["resourceVersion"]
        answer = await self._client.apply(
            {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "status": status},
            field_manager=STATUS_MANAGER,
            subresource="status",
        )
        self._metrics.status_writes.inc()
        self._cache.observe(resource, answer)
        if tell:
            regarding = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
            await self._recorder.tell(regarding, turned(live, status["conditions"]))
        return self._cache.get(resource, (metadata["namespace"], metadata["name"])) or obj


def _says(live: dict[str, Any], status: dict[str, Any]) -> bool:
    """Whether a status already holds all that we would apply."""
    by_type = {each["type"]: each for each in live.get("conditions") or []}
    if any(by_type.get(each["type"]) != each for each in status["conditions"]):
        return False
    return all(live.get(key) == value for key, value in status.items() if key != "conditions")
