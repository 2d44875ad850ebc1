"""The event loop's heartbeat: how late it wakes a timer, and whether it still wakes one at all."""

from __future__ import annotations

import asyncio

from openbell.domain.clock import Clock
from openbell.telemetry.metrics import RunnerMetrics

BEAT_SECONDS = 0.5


class Pulse:
    """Beats while the event loop lives; liveness reads the age of the last beat."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beat = clock.monotonic()

    def age_seconds(self) -> float:
        return self._clock.monotonic() - self._beat

    async def run(self, metrics: RunnerMetrics) -> None:
        """Beat until cancelled, and record how late each beat came."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now = self._clock.monotonic()
            metrics.loop_lag_seconds.observe(max(0.0, now - self._beat - BEAT_SECONDS))
            self._beat = now
