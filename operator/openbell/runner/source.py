"""Where a runner's resources come from, and where its status goes: the API server, or files on a machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import structlog

from openbell.domain.errors import ManifestError
from openbell.kube.client import KubeClient
from openbell.kube.resources import CONFIG_MAPS, STRATEGIES, TRADING_SCHEDULERS, Resource
from openbell.kube.watch import WatchType, watch
from openbell.resources.common import API_VERSION
from openbell.resources.load import Manifest, parse_manifest
from openbell.runner.sources import ConfigMaps, Texts, config_map_texts, named_by

log = structlog.get_logger("openbell.source")

RUNNER_MANAGER = "openbell-runner"
LIFECYCLE_MANAGER = "openbell-api"
# The server ends each stream this soon, so that a loss of the API server is noticed within that time.
WATCH_SECONDS = 30
SOURCE_WATCH_SECONDS = 300  # of ConfigMaps, whose loss changes nothing
UNREACHABLE = "RunnerUnreachable"


@dataclass(frozen=True, slots=True)
class Observed:
    """The resources as last read. `problems` has one sentence for each that could not be understood."""

    scheduler: Manifest | None
    strategies: Mapping[str, Manifest]
    problems: Mapping[str, str] = field(default_factory=dict)
    is_deleting: bool = False
    is_stale: bool = False
    known_epoch: int = 0  # the highest that the status has seen
    reasons: tuple[str, ...] = ()  # of the scheduler's conditions
    config_maps: ConfigMaps = field(default_factory=lambda: ConfigMaps({}))  # with the classes of custom strategies


class Source(Protocol):
    """What the runner asks of the place where its resources live."""

    async def run(self, on_change: Callable[[Observed], None]) -> None:
        """Tell every change until cancelled."""
        ...

    async def patch_scheduler(self, spec: Mapping[str, Any]) -> int:
        """Merge into the scheduler's spec; the generation that says so. Raises ClusterError or ManifestError."""
        ...

    async def create_strategy(self, document: Mapping[str, Any]) -> Manifest:
        """Create a Strategy. Raises ClusterError or ManifestError."""
        ...

    async def write_status(self, kind: str, name: str, status: Mapping[str, Any]) -> None:
        """Apply the runner's part of a status."""
        ...


def _acted_by(obj: Mapping[str, Any]) -> object:
    """What of an object a runner acts by: all but its status, where only an outsider's word on us counts."""
    metadata = obj["metadata"]
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return (
        metadata.get("uid"),
        metadata.get("generation"),
        "deletionTimestamp" in metadata,
        tuple(sorted((metadata.get("annotations") or {}).items())),
        any(condition.get("reason") == UNREACHABLE for condition in conditions),
    )


class KubeSource:
    """The scheduler and its strategies, watched at the API server; the operator is not in the path."""

    def __init__(self, client: KubeClient, namespace: str, name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._scheduler: Manifest | None = None
        self._deleting = False
        self._status: Mapping[str, Any] = {}
        self._strategies: dict[str, Manifest] = {}
        self._problems: dict[str, str] = {}
        self._lost: set[str] = set()
        self._seen: dict[str, object] = {}
        self._config_maps: dict[str, Texts] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}  # the watch of each ConfigMap that a strategy names
        self._read: set[str] = set()

    async def run(self, on_change: Callable[[Observed], None]) -> None:
        async with asyncio.TaskGroup() as tasks:

            def changed(_: Observed) -> None:
                self._follow_config_maps(tasks, on_change)
                on_change(self.observed())

            tasks.create_task(self._watch(TRADING_SCHEDULERS, changed, name=self._name))
            tasks.create_task(self._watch(STRATEGIES, changed, fields=f"spec.schedulerRef.name={self._name}"))

    async def _watch(
        self,
        resource: Resource,
        on_change: Callable[[Observed], None],
        *,
        name: str | None = None,
        fields: str | None = None,
    ) -> None:
        synced = False
        events = watch(
            self._client, resource, self._namespace, name=name, fields=fields, server_timeout_seconds=WATCH_SECONDS
        )
        async for event in events:
            if event.type is WatchType.LOST:
                self._lost.add(resource.plural)
                log.warning("watch.lost", resource=resource.plural)
            elif event.type is WatchType.SYNCED:
                self._lost.discard(resource.plural)
                synced = True
            elif not self._take(resource, event.object, is_deleted=event.type is WatchType.DELETED):
                continue  # mostly our own status, come back
            if synced:
                on_change(self.observed())

    def observed(self) -> Observed:
        """All that is known now."""
        return Observed(
            self._scheduler,
            MappingProxyType(dict(self._strategies)),
            MappingProxyType(dict(self._problems)),
            self._deleting,
            bool(self._lost),
            int((self._status.get("runner") or {}).get("epoch") or 0),
            tuple(condition.get("reason", "") for condition in self._status.get("conditions") or ()),
            ConfigMaps(MappingProxyType(dict(self._config_maps)), frozenset(set(self._reading) - self._read)),
        )

    def _follow_config_maps(self, tasks: asyncio.TaskGroup, on_change: Callable[[Observed], None]) -> None:
        """Watch exactly the ConfigMaps that strategies name; the operator gives the right to read each of them."""
        wanted = {name for manifest in self._strategies.values() if (name := named_by(manifest)) is not None}
        for name in set(self._reading) - wanted:
            self._reading.pop(name).cancel()
            self._config_maps.pop(name, None)
            self._read.discard(name)
        for name in sorted(wanted - set(self._reading)):
            self._reading[name] = tasks.create_task(self._watch_config_map(name, on_change))

    async def _watch_config_map(self, name: str, on_change: Callable[[Observed], None]) -> None:
        """Tell every change of one ConfigMap. What was read last stays in force while it cannot be read."""
        events = watch(
            self._client, CONFIG_MAPS, self._namespace, name=name, server_timeout_seconds=SOURCE_WATCH_SECONDS
        )
        async for event in events:
            before = (self._config_maps.get(name), name in self._read)
            if event.type is WatchType.LOST:
                log.warning("watch.lost", resource=f"configmaps/{name}")
            elif event.type is WatchType.SYNCED:
                self._read.add(name)
            elif event.type is WatchType.DELETED:
                self._config_maps.pop(name, None)
            else:
                self._take_config_map(name, event.object)
            if name in self._read and (self._config_maps.get(name), True) != before:
                on_change(self.observed())

    def _take_config_map(self, name: str, obj: Mapping[str, Any]) -> None:
        try:
            self._config_maps[name] = config_map_texts({**obj, "apiVersion": "v1"})[1]
        except ManifestError as error:
            log.warning("manifest.refused", resource=f"ConfigMap/{name}", error=str(error))

    def _take(self, resource: Resource, obj: Mapping[str, Any], *, is_deleted: bool) -> bool:
        """Take an object in; whether anything changed that a runner acts by."""
        name = obj["metadata"]["name"]
        key = f"{resource.kind}/{name}"
        seen = None if is_deleted else _acted_by(obj)
        if seen is not None and self._seen.get(key) == seen:
            return False
        self._seen[key] = seen
        if is_deleted:
            self._problems.pop(key, None)
            self._strategies.pop(name, None)
            if resource is TRADING_SCHEDULERS:
                self._scheduler, self._deleting = None, True
            return True
        try:
            manifest = parse_manifest(obj, unknown="ignore")
        except ManifestError as error:
            # What was understood last stays in force; the operator tells the person.
            self._problems[key] = str(error)
            log.warning("manifest.refused", resource=key, error=str(error))
            return True
        self._problems.pop(key, None)
        if resource is TRADING_SCHEDULERS:
            self._scheduler = manifest
            self._status = obj.get("status") or {}
            self._deleting = "deletionTimestamp" in obj["metadata"]
        else:
            self._strategies[name] = manifest
        return True

    async def patch_scheduler(self, spec: Mapping[str, Any]) -> int:
        patched = await self._client.merge_patch(
            TRADING_SCHEDULERS, self._namespace, self._name, {"spec": dict(spec)}, field_manager=LIFECYCLE_MANAGER
        )
        return int(patched["metadata"]["generation"])

    async def create_strategy(self, document: Mapping[str, Any]) -> Manifest:
        metadata = {**document["metadata"], "namespace": self._namespace}
        created = await self._client.create({**document, "metadata": metadata}, field_manager=LIFECYCLE_MANAGER)
        return parse_manifest(created, unknown="ignore")

    async def write_status(self, kind: str, name: str, status: Mapping[str, Any]) -> None:
        await self._client.apply(
            {
                "apiVersion": API_VERSION,
                "kind": kind,
                "metadata": {"name": name, "namespace": self._namespace},
                "status": dict(status),
            },
            field_manager=RUNNER_MANAGER,
            subresource="status",
        )
