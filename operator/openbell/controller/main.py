"""The operator as a process: elected, fed by Kopf, working from a queue, watched by a canary."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import itertools
import os
import random
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog

from openbell import __version__
from openbell.controller.cache import Cache, Name, scheduler_of
from openbell.controller.canary import Canary
from openbell.controller.desired.owner import MANAGED_SELECTOR
from openbell.controller.election import Elector
from openbell.controller.health import CANARY_SECONDS, LAG_SECONDS, Health, Heartbeat, serve
from openbell.controller.metrics import OperatorMetrics
from openbell.controller.queue import TokenBucket, WorkQueue
from openbell.controller.reconcile import Key, Reconciler
from openbell.controller.recorder import Recorder
from openbell.controller.settings import OperatorSettings
from openbell.controller.silence import LeaseWatch
from openbell.controller.source import CHILDREN, WATCHED, Source
from openbell.domain.errors import ClusterError, NotLeadingError
from openbell.kube.client import KubeClient
from openbell.kube.resources import LEASES, STRATEGIES, TRADING_SCHEDULERS, Object, Resource

EXIT_LOST = 1
LISTING_SECONDS = 2.0
PRUNE_DELAY_SECONDS = 2.0
RESYNC_SPREAD = 0.1
SHUTDOWN_SECONDS = 5.0
TRIM_SECONDS = 30

log = structlog.get_logger("openbell.controller")


def utc_now() -> datetime:
    return datetime.now(UTC)


class Operator:
    """All parts put together. `end_process` is called when leadership is lost: no handler may run on.

    The election has a client of its own, so that a renewal never waits behind the work.
    """

    def __init__(
        self,
        client: KubeClient,
        lease_client: KubeClient,
        settings: OperatorSettings,
        *,
        metrics: OperatorMetrics,
        end_process: Callable[[int], None] = os._exit,
    ) -> None:
        self._client, self._settings, self._end_process = client, settings, end_process
        self.metrics = metrics
        self.cache = Cache()
        self.queue: WorkQueue[Key] = WorkQueue(metrics)
        self.synced = asyncio.Event()
        self.port = 0
        self._stop = asyncio.Event()
        self._relisted: set[Resource] = set()
        self._relist = asyncio.Event()
        self._bucket = TokenBucket(settings.write_rate, settings.write_burst)
        self._heartbeat = Heartbeat(metrics.loop_lag.observe)
        self._source = Source(self._take, client.credentials, settings.namespaces)
        self._leases = LeaseWatch(self._take_lease, self._verdict_turned)
        self._canary = Canary(client, settings.canary_namespace, settings.canary_seconds, metrics.canary_touches.inc)
        self._elector = Elector(lease_client, settings.namespace, settings.identity, utc_now, self._lost)
        self._reconciler = Reconciler(
            client,
            self.cache,
            settings,
            leases=self._leases,
            recorder=Recorder(client, settings.identity, utc_now, metrics.events_lost.inc),
            metrics=metrics,
            now=utc_now,
            on_canary=self._canary.seen,
            enqueue=self.queue.add,
        )

    async def before_write(self) -> None:
        """In front of every write of ours: the shared rate limit, and leadership."""
        await self._bucket.take()
        if self._settings.elect and self._elector.elected.is_set() and not self._elector.leads():
            self._elector.give_up()
            raise NotLeadingError("the operator's lease has passed its deadline, so nothing may be written")

    def stop(self) -> None:
        """End in order: work stops, the lease is given back, then the watches end."""
        self._stop.set()

    # -- events ----------------------------------------------------------------------------------------------------

    def _take(self, resource: Resource, kind: str | None, obj: Object) -> None:
        self.metrics.watched(resource)
        metadata = obj["metadata"]
        name = (metadata.get("namespace", ""), metadata["name"])
        if kind is None and self.synced.is_set():
            # Kopf has listed anew and tells no deletions that happened in between; our own list will.
            self._relisted.add(resource)
            self._relist.set()
        before = self.cache.get(resource, name) if resource == TRADING_SCHEDULERS else None
        belonged_to = self.cache.scheduler_name(resource, name)
        if kind == "DELETED":
            changed = self.cache.forget(resource, name, metadata["uid"])
        else:
            changed = self.cache.observe(resource, obj)
        if not changed:
            return
        if resource == TRADING_SCHEDULERS:
            self._enqueue_scheduler(name, obj, before, deleted=kind == "DELETED")
            return
        if resource == STRATEGIES:
            self.queue.add(Key(STRATEGIES.kind, *name))
        self._enqueue_owners(name[0], {belonged_to, scheduler_of(resource, obj)})

    def _enqueue_scheduler(self, name: Name, obj: Object, before: Object | None, *, deleted: bool) -> None:
        self.queue.add(Key(TRADING_SCHEDULERS.kind, *name))
        generations = {each["metadata"].get("generation") for each in (before, obj) if each is not None}
        if deleted or before is None or len(generations) > 1:
            for strategy in self.cache.of_scheduler(STRATEGIES, name):
                self.queue.add(Key(STRATEGIES.kind, name[0], strategy["metadata"]["name"]))

    def _enqueue_owners(self, namespace: str, schedulers: set[str | None]) -> None:
        """The schedulers that an object belongs to or has belonged to: a label can be edited like any other field."""
        for scheduler in schedulers:
            if scheduler is not None and (TRADING_SCHEDULERS, (namespace, scheduler)) in self.cache:
                self.queue.add(Key(TRADING_SCHEDULERS.kind, namespace, scheduler))

    def _take_lease(self, lease: Object, exists: bool) -> None:
        metadata = lease["metadata"]
        name = (metadata.get("namespace", ""), metadata["name"])
        belonged_to = self.cache.scheduler_name(LEASES, name)
        changed = self.cache.observe(LEASES, lease) if exists else self.cache.forget(LEASES, name, metadata["uid"])
        if changed:
            self._enqueue_owners(name[0], {belonged_to, scheduler_of(LEASES, lease)})

    def _verdict_turned(self, lease: Name) -> None:
        self._enqueue_owners(lease[0], {self.cache.scheduler_name(LEASES, lease)})

    def _lost(self, why: str) -> None:
        log.error("operator.lost_leadership", why=why)
        self._stop.set()
        self._end_process(EXIT_LOST)

    # -- work --------------------------------------------------------------------------------------------------------

    async def _work(self, key: Key) -> float | None:
        try:
            after = await self._reconciler.reconcile(key)
        except NotLeadingError:
            return None  # the process is ending, and has said why
        except ClusterError as error:
            conflict = error.status == 409
            log.log(20 if conflict else 30, "reconcile.failed", **key._asdict(), error=str(error))
            self.metrics.reconciled("error")
            raise
        except Exception:
            log.exception("reconcile.broken", **key._asdict())
            self.metrics.reconciled("error")
            raise
        self.metrics.reconciled("success" if after is None else "requeue_after")
        return after

    async def _listed(self) -> None:
        """Return when everything that exists has been seen: before that, a missing child may be one not told yet."""
        for resource in WATCHED:
            while True:
                listed = await self._uids(resource)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LISTING_SECONDS):
                        while self.cache.missing(resource, listed):
                            await self.cache.wait_for_change()
                if not self.cache.missing(resource, listed):
                    break
        await self._leases.synced.wait()

    async def _uids(self, resource: Resource) -> set[str]:
        labels = MANAGED_SELECTOR if resource in CHILDREN else None
        uids: set[str] = set()
        for namespace in self._settings.namespaces or (None,):
            async for page, _ in self._client.pages(resource, namespace, labels=labels, metadata_only=True):
                uids.update(item["metadata"]["uid"] for item in page)
        return uids

    async def _prune(self, resource: Resource) -> None:
        before = self.cache.uids(resource)
        gone = self.cache.prune(resource, before, await self._uids(resource))
        for name in gone:
            log.warning("cache.pruned", kind=resource.kind, namespace=name[0], name=name[1])
        if resource == TRADING_SCHEDULERS:
            for name in gone:
                self.queue.add(Key(TRADING_SCHEDULERS.kind, *name))
        elif gone:
            for name in self.cache.names(TRADING_SCHEDULERS):
                self.queue.add(Key(TRADING_SCHEDULERS.kind, *name))

    async def _prune_relisted(self) -> None:
        while True:
            await self._relist.wait()
            await asyncio.sleep(PRUNE_DELAY_SECONDS)
            self._relist.clear()
            while self._relisted:
                resource = self._relisted.pop()
                try:
                    await self._prune(resource)
                except ClusterError as error:
                    log.warning("cache.unpruned", kind=resource.kind, error=str(error))

    async def _resync(self) -> None:
        """Look at everything again now and then; what is as it should be costs no write."""
        while True:
            period = self._settings.resync_seconds
            await asyncio.sleep(period * random.uniform(1 - RESYNC_SPREAD, 1 + RESYNC_SPREAD))
            self._relisted.update(WATCHED)
            self._relist.set()
            for resource in (TRADING_SCHEDULERS, STRATEGIES):
                for name in self.cache.names(resource):
                    self.queue.add_after(Key(resource.kind, *name), random.uniform(0, period * RESYNC_SPREAD))

    async def _gauges(self) -> None:
        for second in itertools.count(1):
            if second % TRIM_SECONDS == 0 and self.queue.is_idle:
                _return_memory()
            working = self.queue.working_seconds()
            self.metrics.unfinished.set(sum(working))
            self.metrics.longest.set(max(working, default=0.0))
            self.metrics.schedulers.set(max(0, self.cache.count(TRADING_SCHEDULERS) - 1))  # less the canary
            self.metrics.strategies.set(self.cache.count(STRATEGIES))
            self.metrics.canary_age.set(self._canary.pending_seconds())
            self.metrics.leader.set(self._elector.leads() or not self._settings.elect)
            await asyncio.sleep(1.0)

    # -- life --------------------------------------------------------------------------------------------------------

    def _live(self) -> str | None:
        if self._heartbeat.lag_seconds() > LAG_SECONDS:
            return f"the event loop is {self._heartbeat.lag_seconds():.1f} s late"
        if self._canary.pending_seconds() > CANARY_SECONDS:
            return f"a touch of the canary has not come back for {self._canary.pending_seconds():.0f} s"
        return None

    def _ready(self) -> str | None:
        if self._settings.elect and not self._elector.leads():
            return "another operator holds the lease"
        return None if self.synced.is_set() else "the cluster is still being listed"

    async def run(self) -> None:
        """Until `stop` is called, or a part fails: then the exception of that part is raised."""
        health = Health(self._live, self._ready, self.metrics.exposition)
        server, self.port = await serve(health, self._settings.host, self._settings.port)
        self.metrics.max_workers.set(self._settings.workers)
        log.info("operator.started", version=__version__, port=self.port, namespaces=self._settings.namespaces)
        parts = [asyncio.create_task(self._heartbeat.run()), asyncio.create_task(self._gauges())]
        stopped = asyncio.create_task(self._stop.wait())
        try:
            if self._settings.elect:
                parts.append(asyncio.create_task(self._elector.run()))
                await _first(asyncio.create_task(self._elector.elected.wait()), stopped, *parts)
            if not self._stop.is_set():
                await self._lead(parts, stopped)
        finally:
            for task in (*parts, stopped):
                task.cancel()
            await asyncio.gather(*parts, stopped, return_exceptions=True)
            await self._depart()
            await server.cleanup()

    async def _lead(self, parts: list[asyncio.Task[None]], stopped: asyncio.Task[bool]) -> None:
        source = asyncio.create_task(self._source.run())
        try:
            await self._canary.touch()
            parts.append(
                asyncio.create_task(self._leases.run(self._client, self._settings.namespaces, MANAGED_SELECTOR))
            )
            await _first(asyncio.create_task(self._source.ready.wait()), source, stopped, *parts)
            self.take_signals()  # Kopf has just put its own in place
            await _first(asyncio.create_task(self._listed()), source, stopped, *parts)
            if self._stop.is_set():
                return
            self.synced.set()
            log.info("operator.synced", **{each.plural: self.cache.count(each) for each in (*WATCHED, LEASES)})
            gc.collect()
            gc.freeze()
            _return_memory()
            parts.extend(
                asyncio.create_task(part)
                for part in (
                    self.queue.run(self._settings.workers, self._work),
                    self._canary.run(),
                    self._resync(),
                    self._prune_relisted(),
                )
            )
            await _first(stopped, source, *parts)
        finally:
            for task in parts:
                task.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            with contextlib.suppress(ClusterError):
                await self._elector.release()
            self._source.stop()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHUTDOWN_SECONDS):
                    await asyncio.gather(source, return_exceptions=True)

    async def _depart(self) -> None:
        with contextlib.suppress(ClusterError):
            await self._elector.release()

    def take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(RuntimeError, ValueError):  # not the main thread: a test runs us
                loop.add_signal_handler(each, self.stop)


def _return_memory() -> None:
    """Give what lists and storms of work needed back to the system; glibc keeps it otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def _first(*tasks: asyncio.Task[object]) -> None:
    """Until one of them is done; a failed one raises. The first is cancelled when another was faster."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if tasks[0] not in done:
        tasks[0].cancel()
    for task in done:
        task.result()


async def run_operator(settings_from: Callable[[str], OperatorSettings], kubeconfig: Path | None = None) -> None:
    """Connect and run until SIGTERM."""
    metrics = OperatorMetrics(version=__version__)
    client = await KubeClient.connect(kubeconfig, on_response=metrics.requested)
    lease_client = KubeClient(client.credentials, on_response=metrics.requested, connections=2)
    try:
        operator = Operator(client, lease_client, settings_from(client.namespace), metrics=metrics)
        client.before_write = operator.before_write
        operator.take_signals()
        await operator.run()
    finally:
        await client.close()
        await lease_client.close()
