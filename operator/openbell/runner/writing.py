"""Writes to the journal that may fail: entries stop then, exits go on, and what was missed is made up for in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from openbell.domain.errors import JournalError, StaleEpochError
from openbell.journal.unwritten import Unwritten
from openbell.runner.gate import Gate
from openbell.telemetry.metrics import ErrorKind, RunnerMetrics

log = structlog.get_logger("openbell.writing")

T = TypeVar("T")


class Writing:
    """Closes the gate for entries while the journal cannot be written, and opens it when it can be again."""

    def __init__(self, gate: Gate, metrics: RunnerMetrics, unwritten: Unwritten) -> None:
        self._gate = gate
        self._unwritten = unwritten
        self._metrics = metrics
        self._missed: deque[Callable[[], Awaitable[object]]] = deque()
        self._catching_up = asyncio.Lock()

    async def write(
        self,
        write: Callable[[], Awaitable[T]],
        otherwise: T,
        *,
        later: Callable[[], Awaitable[object]] | None = None,
    ) -> T:
        """What the write answers, or `otherwise` where it failed.

        `later` is what makes up for it, done before the next write that succeeds; None: a newer one will do.
        Raises StaleEpochError: this process no longer leads.
        """
        try:
            await self._catch_up()
            answer = await write()
        except StaleEpochError:
            raise
        except JournalError as error:
            if later is not None:
                self._missed.append(later)
            self._failed(error)
            return otherwise
        if not self._gate.journal_open and not self._missed:
            self._gate.journal_open = True
            self._unwritten.clear()
            log.info("journal.written-again")
        return answer

    async def read(self, reading: Awaitable[T | None]) -> T | None:
        """What the journal says, or nothing where it cannot be read."""
        try:
            return await reading
        except JournalError as error:
            self._failed(error)
            return None

    async def _catch_up(self) -> None:
        async with self._catching_up:
            while self._missed:
                await self._missed[0]()
                self._missed.popleft()

    def _failed(self, error: JournalError) -> None:
        self._gate.journal_open = False
        self._unwritten.set()
        self._metrics.errors.labels(ErrorKind.JOURNAL.value).inc()
        log.error("journal.failed", error=str(error))
