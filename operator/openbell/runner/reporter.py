"""Writes the runner's part of the status: at once on a transition, else at most every 15 s, never unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from openbell.domain.clock import Clock
from openbell.domain.errors import OpenbellError
from openbell.kube.resources import TRADING_SCHEDULERS
from openbell.runner.source import Source
from openbell.telemetry.metrics import ErrorKind, RunnerMetrics

log = structlog.get_logger("openbell.reporter")

COALESCE_SECONDS = 15.0
RETRY_SECONDS = 1.0
# A change of one of these is a transition; all else waits for the next coalesced write.
TRANSITIONS = ("state", "canRun", "brokerConnected", "runner")
OF_A_CONDITION = ("type", "status", "reason", "observedGeneration")

Key = tuple[str, str]


@dataclass(slots=True)
class _Written:
    status: Mapping[str, Any]
    at: float


class Reporter:
    """Compares what should stand in the resources with what was written last, and writes the difference."""

    def __init__(
        self, source: Source, build: Callable[[], Mapping[Key, Mapping[str, Any]]], clock: Clock, metrics: RunnerMetrics
    ) -> None:
        self._source = source
        self._build = build
        self._clock = clock
        self._metrics = metrics
        self._wake = asyncio.Event()
        self._written: dict[Key, _Written] = {}

    def announce(self) -> None:
        """Something changed: look whether it is a transition."""
        self._wake.set()

    def forget(self) -> None:
        """Somebody else wrote our part meanwhile: write everything again."""
        self._written.clear()
        self._wake.set()

    async def run(self) -> None:
        """Report until cancelled. A write that fails is tried again; trading does not wait for it."""
        while True:
            try:
                async with asyncio.timeout(COALESCE_SECONDS / 5):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if not await self.write_due():
                await asyncio.sleep(RETRY_SECONDS)
                self._wake.set()

    async def write_due(self, *, everything: bool = False) -> bool:
        """Write each status that has a transition or has waited long enough; whether all writes went through."""
        wanted = self._build()
        for key in [key for key in self._written if key not in wanted]:
            del self._written[key]
        # What a strategy says follows from what its scheduler may do: the two are never told of different moments.
        everything = everything or any(
            kind == TRADING_SCHEDULERS.kind and self._is_transition((kind, name), status)
            for (kind, name), status in wanted.items()
        )
        done = True
        for key, status in wanted.items():
            if self._is_due(key, status, everything=everything):
                done = await self._write(key, status) and done
        return done

    def _is_due(self, key: Key, status: Mapping[str, Any], *, everything: bool) -> bool:
        last = self._written.get(key)
        if last is None:
            return True
        if last.status == status:
            return False
        is_old = self._clock.monotonic() - last.at >= COALESCE_SECONDS
        return everything or is_old or self._is_transition(key, status)

    def _is_transition(self, key: Key, status: Mapping[str, Any]) -> bool:
        last = self._written.get(key)
        return last is None or _transitive(last.status) != _transitive(status)

    async def _write(self, key: Key, status: Mapping[str, Any]) -> bool:
        kind, name = key
        try:
            await self._source.write_status(kind, name, status)
        except OpenbellError as error:
            self._metrics.errors.labels(ErrorKind.CLUSTER.value).inc()
            log.warning("status.not-written", kind=kind, name=name, error=str(error))
            self._written.pop(key, None)  # what stands there now is not known: written again whatever changes
            return False
        self._written[key] = _Written(status, self._clock.monotonic())
        return True


def _transitive(status: Mapping[str, Any]) -> object:
    """What of a status is told at once when it changes; a message that counts seconds is not."""
    conditions = [[condition.get(part) for part in OF_A_CONDITION] for condition in status.get("conditions", ())]
    locks = [lock["id"] for lock in status.get("locks", ())]
    return [status.get(part) for part in TRANSITIONS], conditions, locks
