"""Which operator works: a Lease of our own. Losing it ends the process; a loser must not finish what it began."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from openbell.domain.errors import ClusterError
from openbell.kube import lease
from openbell.kube.client import KubeClient

LEASE_NAME = "openbell-operator"
RETRY_SECONDS = 1.0
FIELD_MANAGER = "openbell-operator-election"

log = structlog.get_logger("openbell.controller")


@dataclass(slots=True)
class Elector:
    """Contends for the Lease, then keeps it; `on_lost` is called, once, when it was lost or not renewed in time."""

    client: KubeClient
    namespace: str
    identity: str
    now: Callable[[], datetime]
    on_lost: Callable[[str], None]
    boot_time: Callable[[], float] = lease.boot_time
    name: str = LEASE_NAME
    elected: asyncio.Event = field(default_factory=asyncio.Event)
    _observer: lease.Observer = field(default_factory=lease.Observer)
    _record: lease.LeaseRecord | None = None
    _deadline: float = 0.0
    _has_given_up: bool = False

    def leads(self) -> bool:
        """Whether we may act now: elected, and renewed recently enough."""
        return self.boot_time() < self._deadline

    def give_up(self, why: str = "the lease could not be renewed in time") -> None:
        """Whoever sees first that the deadline has passed says so; a renewal that comes now comes too late."""
        self._deadline = 0.0
        if not self._has_given_up:
            self._has_given_up = True
            self.on_lost(why)

    async def run(self) -> None:
        """Contend, then renew until the lease is lost."""
        while True:
            started = self.boot_time()
            if self.elected.is_set() and not self.leads():
                self.give_up()
                return
            wait = RETRY_SECONDS
            try:
                # A request that is still unanswered at the deadline must not hide it.
                async with asyncio.timeout(self._deadline - started if self.elected.is_set() else None):
                    wait = await self._step(started)
            except ClusterError as error:
                log.warning("election.unreachable", lease=self.name, error=str(error))
            except TimeoutError:
                wait = 0.0
            if self._has_given_up:
                return
            await asyncio.sleep(min(wait, self._deadline - self.boot_time()) if self.elected.is_set() else wait)

    async def _step(self, started: float) -> float:
        record = await lease.read(self.client, self.namespace, self.name)
        self._observer = self._observer.observe(record, self.boot_time())
        if self.elected.is_set() and (record is None or record.holder != self.identity):
            self.give_up(f"the lease was taken by {record.holder or 'nobody yet'}" if record else "the lease is gone")
            return 0.0
        # Nobody trades by this lease, so an absent one is free.
        decision = lease.decide(record, self._observer, self.identity, self.boot_time(), ever_ran=False)
        if isinstance(decision, lease.Wait):
            return min(decision.seconds, RETRY_SECONDS)
        if isinstance(decision, lease.Renew) and record is not None:
            self._record = await lease.renew(
                self.client, self.namespace, self.name, record, now=self.now(), field_manager=FIELD_MANAGER
            )
        else:
            self._record = await lease.acquire(
                self.client,
                self.namespace,
                self.name,
                record,
                self.identity,
                now=self.now(),
                field_manager=FIELD_MANAGER,
            )
            self._observer = self._observer.holding(self._record.epoch)
            log.info("election.won", lease=self.name, holder=self.identity, epoch=self._record.epoch)
        # Counted from before the request: the answer may have been long on its way.
        self._deadline = lease.deadline_of(started)
        self.elected.set()
        return lease.RENEW_INTERVAL_SECONDS

    async def release(self) -> None:
        """Give the lease back, so that the next operator starts at once. Only after all work has stopped."""
        if self._record is None or not self.leads():
            return
        self._deadline, self._has_given_up = 0.0, True  # given back is not lost
        await lease.release(
            self.client, self.namespace, self.name, self._record, now=self.now(), field_manager=FIELD_MANAGER
        )
        log.info("election.released", lease=self.name)
