"""Joins the fence with the journal: this process leads once the lease is ours and the journal knows the epoch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from openbell.domain.errors import NotLeadingError, StaleEpochError
from openbell.runner.gate import Fence
from openbell.telemetry.metrics import RunnerMetrics

log = structlog.get_logger("openbell.leadership")


class Contender(Fence, Protocol):
    """A fence that can be started and stopped."""

    is_preempted: bool
    holder: str

    def start(self, on_change: Callable[[], None]) -> None: ...

    async def stop(self) -> None: ...


class Leadership:
    """What the gate reads. An epoch counts only after the journal has it, so that an older writer is refused."""

    def __init__(self, contender: Contender, metrics: RunnerMetrics, on_change: Callable[[], None]) -> None:
        self._contender = contender
        self._metrics = metrics
        self._on_change = on_change
        self._changed = asyncio.Event()
        self._begun = 0
        self._stopped = False
        self.led = asyncio.Event()

    @property
    def epoch(self) -> int:
        return self._begun

    def holds(self) -> bool:
        return (
            not self._stopped and self._begun > 0 and self._begun == self._contender.epoch and self._contender.holds()
        )

    def holder(self) -> str:
        """Who holds the lease, as last read."""
        return self._contender.holder

    async def stop(self) -> None:
        """Give the lease back. Only after everything has been halted."""
        self._stopped = True
        await self._contender.stop()

    async def run(self, begin_epoch: Callable[[int], Awaitable[None]], on_lead: Callable[[], Awaitable[None]]) -> None:
        """Contend until cancelled. Each new epoch is told to the journal by `begin_epoch`, then `on_lead` is awaited.

        Raises NotLeadingError when another process took the lease, StaleEpochError when the lease counts from a number
        that was before: this process must end.
        """
        self._contender.start(self._notice)
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._contender.is_preempted:
                raise NotLeadingError(f"the lease was taken by {self._contender.holder}; this process ends")
            if self._contender.holds() and self._contender.epoch != self._begun:
                self._refuse_older()
                await begin_epoch(self._contender.epoch)
                self._begun = self._contender.epoch
                self._metrics.epoch.set(self._begun)
                log.info("leading", epoch=self._begun)
                await on_lead()
                self.led.set()
            self._metrics.leading.set(self.holds())
            self._on_change()

    def _refuse_older(self) -> None:
        """What the journal would say, could the newer epoch be written down."""
        epoch, begun = self._contender.epoch, self._begun
        if epoch < begun:
            raise StaleEpochError(f"the lease counts from epoch {epoch}; this process has led in {begun}")

    def _notice(self) -> None:
        self._changed.set()
