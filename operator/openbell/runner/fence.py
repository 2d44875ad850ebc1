"""The fence: holds the runner's Lease from a thread of its own, so that a busy event loop cannot lose it.

The order path reads one number, the deadline: start of the last good renewal plus ten seconds, on CLOCK_BOOTTIME,
which also counts the time in which the machine or this process was suspended. When it passes, nothing is sent; when
trading does not confirm in time that it has halted, the process ends itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from openbell.domain.errors import ClusterError
from openbell.kube import lease
from openbell.kube.client import KubeClient

log = structlog.get_logger("openbell.fence")

HALT_SECONDS = (lease.LEASE_DURATION_SECONDS - lease.RENEW_DEADLINE_SECONDS) / 2
RETRY_SECONDS = 1.0
LOOK_SECONDS = 0.2
EXIT_NOT_HALTED = 70
RELEASE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """Whose lease it is, who we are, and what is known of earlier runs."""

    namespace: str
    name: str
    holder: str
    epoch_floor: int  # the highest epoch that the journal or the resource's status has seen
    ever_ran: bool


class LeaseFence:
    """Leadership by a Kubernetes Lease. `holds` and `epoch` may be read from any thread."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[KubeClient]],
        terms: LeaseTerms,
        *,
        boot_time: Callable[[], float] = lease.boot_time,
        end_process: Callable[[int], None] = os._exit,
    ) -> None:
        self._connect = connect
        self._terms = terms
        self._boot_time = boot_time
        self._end_process = end_process
        self._deadline = 0.0
        self._epoch = 0
        self._record: lease.LeaseRecord | None = None
        self._observer = lease.Observer()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._main: asyncio.AbstractEventLoop | None = None
        self._on_change: Callable[[], None] = lambda: None
        self._told: tuple[bool, bool] | None = None
        self.is_preempted = False
        self.holder = ""

    @property
    def epoch(self) -> int:
        return self._epoch

    def holds(self) -> bool:
        return self._boot_time() < self._deadline

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin to contend; `on_change` is called on the running event loop when leadership comes or goes."""
        self._main = asyncio.get_running_loop()
        self._on_change = on_change
        self._thread = threading.Thread(target=self._contend, name="fence", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Give the lease back. Only after everything has been halted: the next runner starts at once."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, RELEASE_SECONDS)
        self._deadline = 0.0

    # -- the thread --------------------------------------------------------------------------------------------

    def _contend(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as error:  # noqa: BLE001 - the boundary of the thread: without it nobody renews, so the process ends
            log.critical("fence.broken", lease=self._terms.name, error=repr(error))
            self._deadline = 0.0
            self._end_process(EXIT_NOT_HALTED)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch())
            await self._hold()
            watching.cancel()

    async def _watch(self) -> None:
        """See the deadline pass also while a request to the API server hangs."""
        while True:
            self._notice()
            await asyncio.sleep(LOOK_SECONDS)

    async def _hold(self) -> None:
        client: KubeClient | None = None
        try:
            while not self._stop.is_set() and not self.is_preempted:
                started = self._boot_time()
                wait = RETRY_SECONDS
                try:
                    client = client or await self._connect()
                    wait = await self._step(client, started)
                except (ClusterError, OSError, TimeoutError) as error:
                    log.warning("lease.unreachable", lease=self._terms.name, error=str(error))
                self._notice()
                await self._pause(wait)
            if client is not None and self._record is not None and self._epoch and not self.is_preempted:
                self._deadline = 0.0
                with contextlib.suppress(ClusterError, OSError, TimeoutError):
                    await lease.release(client, *self._where, self._record, now=datetime.now(UTC))
                    log.info("lease.released", lease=self._terms.name, epoch=self._epoch)
        finally:
            if client is not None:
                await client.close()

    @property
    def _where(self) -> tuple[str, str]:
        return self._terms.namespace, self._terms.name

    async def _step(self, client: KubeClient, started: float) -> float:
        """Read, decide, write once; the answer is for how long to wait."""
        record = await lease.read(client, *self._where)
        self._observer = self._observer.observe(record, self._boot_time())
        self.holder = record.holder if record else ""
        if self._epoch and record is not None and self._is_anothers(record):
            self.is_preempted = True
            self._deadline = 0.0
            log.error("lease.preempted", lease=self._terms.name, holder=record.holder, epoch=record.epoch)
            return 0.0
        decision = lease.decide(
            record,
            self._observer,
            self._terms.holder,
            self._boot_time(),
            self._terms.ever_ran or self._epoch > 0,
        )
        moment = datetime.now(UTC)
        if isinstance(decision, lease.Wait):
            return min(decision.seconds, RETRY_SECONDS)
        if isinstance(decision, lease.Renew) and record is not None:
            self._record = await lease.renew(client, *self._where, record, now=moment)
        else:
            floor = max(self._terms.epoch_floor, self._epoch)
            self._record = await lease.acquire(
                client, *self._where, record, self._terms.holder, now=moment, epoch_floor=floor
            )
            self._epoch = self._record.epoch
            self._observer = self._observer.holding(self._epoch)
            log.info("lease.acquired", lease=self._terms.name, epoch=self._epoch)
        self._observer = self._observer.observe(self._record, self._boot_time())
        self._deadline = lease.deadline_of(started)
        return lease.RENEW_INTERVAL_SECONDS

    def _is_anothers(self, record: lease.LeaseRecord) -> bool:
        # Deleted or emptied by hand is not taken: our deadline still guards us until it is ours again.
        return bool(record.holder) and (record.holder != self._terms.holder or record.epoch != self._epoch)

    async def _pause(self, seconds: float) -> None:
        """Wait, but look at `stop` often enough."""
        until = self._boot_time() + seconds
        while (left := until - self._boot_time()) > 0 and not self._stop.is_set():  # noqa: ASYNC110 - of another thread
            await asyncio.sleep(min(LOOK_SECONDS, left))

    def _notice(self) -> None:
        """Tell the event loop when leadership has come or gone; end the process when it does not answer.

        That another took the lease is told also when it was lost before: this process must end then, and not idle.
        """
        found = self.holds(), self.is_preempted
        if found == self._told or self._main is None:
            return
        lost = self._told is not None and self._told[0] and not found[0]
        self._told = found
        halted = threading.Event()

        def tell() -> None:
            self._on_change()
            halted.set()

        try:
            self._main.call_soon_threadsafe(tell)
        except RuntimeError:  # the event loop is closed: the process is ending by itself
            return
        if lost and not halted.wait(HALT_SECONDS):
            log.critical("fence.not-halted", lease=self._terms.name)
            self._end_process(EXIT_NOT_HALTED)


class FolderFence:
    """Leadership without a cluster: the lock on the journal's folder, which the journal holds until exit."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self.is_preempted = False
        self.holder = "this process"

    @property
    def epoch(self) -> int:
        return self._epoch

    def holds(self) -> bool:
        return True

    def start(self, on_change: Callable[[], None]) -> None:
        on_change()

    async def stop(self) -> None:
        """The lock goes with the journal."""
