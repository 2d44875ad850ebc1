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
    """Contends for the Lease, then keeps it; `on_lost` is called when it was lost or could not be renewed in time."""

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

    def leads(self) -> bool:
        """Whether we may act now: elected, and renewed recently enough."""
        return self.boot_time() < self._deadline

    async def run(self) -> None:
        """Contend and renew for ever."""
        while True:
            started = self.boot_time()
            wait = RETRY_SECONDS
            try:
                wait = await self._step(started)
            except ClusterError as error:
                log.warning("election.unreachable", lease=self.name, error=str(error))
            if self.elected.is_set() and not self.leads():
                self.on_lost("the lease could not be renewed in time")
                return
            await asyncio.sleep(wait)

    async def _step(self, started: float) -> float:
        record = await lease.read(self.client, self.namespace, self.name)
        self._observer = self._observer.observe(record, self.boot_time())
        if self.elected.is_set() and (record is None or record.holder != self.identity):
            self._deadline = 0.0
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
        self._deadline = 0.0
        await lease.release(
            self.client, self.namespace, self.name, self._record, now=self.now(), field_manager=FIELD_MANAGER
        )
        log.info("election.released", lease=self.name)
