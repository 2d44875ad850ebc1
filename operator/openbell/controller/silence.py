"""Which runners renew their leases: seen by this process itself, on its own clock, through a watch that is alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from openbell.kube.client import KubeClient
from openbell.kube.lease import LEASE_DURATION_SECONDS, Observer, boot_time, record_of
from openbell.kube.resources import LEASES, Object
from openbell.kube.watch import WatchType, watch

Name = tuple[str, str]
SWEEP_SECONDS = 1.0


class Verdict(StrEnum):
    """Fresh: seen renewing. Unsure: not watched for long enough. Silent: seen unchanged for a lease duration."""

    FRESH = "Fresh"
    UNSURE = "Unsure"
    SILENT = "Silent"


@dataclass(slots=True)
class _Seen:
    observer: Observer
    changed_at: float | None = None  # when it was seen to change, as opposed to first seen
    told: Verdict = Verdict.UNSURE


class LeaseWatch:
    """Watches the runners' Leases. A renewal wakes nobody; a verdict that turns is told once."""

    def __init__(
        self,
        on_object: Callable[[Object, bool], None],
        on_verdict: Callable[[Name], None],
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self._on_object, self._on_verdict, self._clock = on_object, on_verdict, clock
        self._seen: dict[Name, _Seen] = {}
        self._alive_since: float | None = None
        self.synced = asyncio.Event()

    def observe(self, lease: Object) -> None:
        """A Lease as the watch gave it; called for renewals too, so it does little."""
        name = (lease["metadata"].get("namespace", ""), lease["metadata"]["name"])
        now = self._clock()
        seen = self._seen.get(name)
        if seen is None:
            self._seen[name] = _Seen(Observer().observe(record_of(lease), now))
            return
        before = seen.observer
        seen.observer = before.observe(record_of(lease), now)
        if seen.observer is not before:
            seen.changed_at = now
            self._tell(name, seen)

    def forget(self, name: Name) -> None:
        self._seen.pop(name, None)

    def alive(self, alive: bool) -> None:
        """The watch came up or was lost. What was not watched cannot be called silent."""
        self._alive_since = self._clock() if alive else None

    def verdict(self, name: Name) -> Verdict:
        seen = self._seen.get(name)
        now = self._clock()
        if seen is None or self._alive_since is None:
            return Verdict.UNSURE
        if seen.changed_at is not None and now - seen.changed_at < LEASE_DURATION_SECONDS:
            return Verdict.FRESH
        watched = min(seen.observer.unchanged_seconds(now), now - self._alive_since)
        return Verdict.SILENT if watched >= LEASE_DURATION_SECONDS else Verdict.UNSURE

    def sweep(self) -> None:
        """Tell the verdicts that time alone has turned."""
        for name, seen in list(self._seen.items()):
            self._tell(name, seen)

    def _tell(self, name: Name, seen: _Seen) -> None:
        verdict = self.verdict(name)
        if verdict is not seen.told:
            seen.told = verdict
            self._on_verdict(name)

    async def run(self, client: KubeClient, namespaces: tuple[str, ...], labels: str) -> None:
        """Watch for ever, in all namespaces or in some."""
        left = set(namespaces or ("",))
        async with asyncio.TaskGroup() as group:
            for namespace in tuple(left):
                group.create_task(self._watch(client, namespace, labels, left))
            group.create_task(self._sweep())

    async def _watch(self, client: KubeClient, namespace: str, labels: str, left: set[str]) -> None:
        async for event in watch(client, LEASES, namespace or None, labels=labels):
            match event.type:
                case WatchType.SYNCED:
                    left.discard(namespace)
                    if not left:
                        self.alive(True)
                        self.synced.set()
                case WatchType.LOST:
                    self.alive(False)
                    left.add(namespace)
                case WatchType.DELETED:
                    metadata = event.object["metadata"]
                    self.forget((metadata.get("namespace", ""), metadata["name"]))
                    self._on_object(event.object, False)
                case _:
                    self.observe(event.object)
                    self._on_object(event.object, True)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()
