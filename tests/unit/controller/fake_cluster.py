"""An API server of objects in memory: compare-and-swap as the real one has it, with refusals and silence on demand."""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Mapping
from typing import Any

from openbell.domain.errors import ClusterError
from openbell.kube.resources import Object, Resource


class FakeCluster:
    """Takes the place of a `KubeClient`. `refusal` is raised by every call; while `hangs`, no call is answered."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.writes: list[Object] = []
        self.refusal: ClusterError | None = None
        self.hangs = False
        self._versions = itertools.count(1)

    async def get(self, _resource: Resource, _namespace: str | None, name: str) -> Object | None:
        await self._answer()
        return copy.deepcopy(self.objects.get(name))

    async def create(self, obj: Object, *, field_manager: str = "") -> Object:
        await self._answer()
        if obj["metadata"]["name"] in self.objects:
            raise ClusterError("it is there already", status=409)
        return self._put(obj["metadata"]["name"], obj)

    async def apply(self, obj: Object, *, field_manager: str, subresource: str | None = None) -> Object:
        await self._answer()
        name = obj["metadata"]["name"]
        live = self.objects.get(name, {})
        if subresource == "status":
            return self._put(name, live | {"status": obj["status"]})
        return self._put(name, obj | {key: live[key] for key in ("status",) if key in live})

    async def merge_patch(
        self, _resource: Resource, _namespace: str, name: str, body: Mapping[str, Any], *, field_manager: str
    ) -> Object:
        await self._answer()
        live = self.objects.get(name)
        if live is None:
            raise ClusterError(f"{field_manager} has patched nothing: {name} is gone", status=404)
        if body["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]:
            raise ClusterError("it has changed", status=409)
        return self.edit(name, body["spec"], body["metadata"].get("annotations") or {})

    def edit(self, name: str, spec: Mapping[str, Any], annotations: Mapping[str, str] | None = None) -> Object:
        """A change by anybody, without asking."""
        live = copy.deepcopy(self.objects[name])
        live["spec"] |= spec
        live["metadata"].setdefault("annotations", {}).update(annotations or {})
        return self._put(name, live)

    def _put(self, name: str, obj: Object) -> Object:
        stored = copy.deepcopy(obj)
        stored["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[name] = stored
        self.writes.append(stored)
        return copy.deepcopy(stored)

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.hangs:
            await asyncio.Event().wait()
        if self.refusal is not None:
            raise self.refusal
