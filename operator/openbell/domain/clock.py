"""Time as an argument: the same code runs live, in a backtest and in a replay."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the loops may know of time."""

    def now(self) -> datetime:
        """Wall-clock time, aware, in UTC. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once `seconds` of this clock's time have passed."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class SimulatedClock:
    """A clock that is moved by hand; sleeping on it yields and returns when it has been moved far enough."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("a simulated clock needs an aware start time")
        self._now = start.astimezone(UTC)
        self._elapsed = 0.0
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed

    def set(self, moment: datetime) -> None:
        """Move to `moment`; the monotonic reading only ever grows."""
        step = (moment - self._now).total_seconds()
        self._now = moment.astimezone(UTC)
        self._elapsed += max(0.0, step)
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        until = self._elapsed + seconds
        while self._elapsed < until:
            await self._moved.wait()
