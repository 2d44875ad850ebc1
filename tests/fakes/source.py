"""The API server as a runner's API sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from openbell.domain.errors import ClusterError
from openbell.resources.load import Manifest, parse_manifest


@dataclass
class FakeSource:
    """The API server: merges patches, counts generations, and tells the runner unless `is_silent`."""

    tell: Callable[[int, Mapping[str, Any]], object]
    spec: dict[str, Any] = field(default_factory=lambda: {"enabled": True, "paused": False})
    generation: int = 1
    failing: ClusterError | None = None
    is_silent: bool = False
    patches: list[Mapping[str, Any]] = field(default_factory=list)
    created: list[Mapping[str, Any]] = field(default_factory=list)
    while_patching: Callable[[], object] = lambda: None

    async def patch_scheduler(self, spec: Mapping[str, Any]) -> int:
        self.while_patching()
        if self.failing is not None:
            raise self.failing
        self.patches.append(spec)
        changed = {**self.spec, **spec}
        if changed != self.spec:
            self.spec, self.generation = changed, self.generation + 1
        if not self.is_silent:
            self.tell(self.generation, self.spec)
        return self.generation

    async def create_strategy(self, document: Mapping[str, Any]) -> Manifest:
        self.created.append(document)
        return parse_manifest({**document, "metadata": {**document["metadata"], "namespace": "default"}})
