"""The operator's small HTTP server: /livez, /readyz and /metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

LAG_SECONDS = 5.0
CANARY_SECONDS = 60.0
_BEAT_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Health:
    """Two verdicts: None is well, a sentence says what is not."""

    live: Callable[[], str | None]
    ready: Callable[[], str | None]
    metrics: Callable[[], bytes]


async def serve(health: Health, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Serve until `cleanup` of the runner is awaited; the port is the one that was bound (0 asks for a free one)."""

    def answer(verdict: Callable[[], str | None]) -> Callable[[web.Request], object]:
        async def handle(_request: web.Request) -> web.Response:
            problem = verdict()
            return web.Response(text=(problem or "ok") + "\n", status=503 if problem else 200)

        return handle

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=health.metrics(), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.router.add_get("/livez", answer(health.live))  # type: ignore[arg-type]
    app.router.add_get("/readyz", answer(health.ready))  # type: ignore[arg-type]
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    bound: int = runner.addresses[0][1]
    return runner, bound


class Heartbeat:
    """Measures how late the event loop wakes a timer."""

    def __init__(self, observe: Callable[[float], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._observe, self._monotonic = observe, monotonic
        self._due = monotonic()

    def lag_seconds(self) -> float:
        """How late the heartbeat is now."""
        return max(0.0, self._monotonic() - self._due)

    async def run(self) -> None:
        while True:
            self._due = self._monotonic() + _BEAT_SECONDS
            await asyncio.sleep(_BEAT_SECONDS)
            self._observe(self.lag_seconds())
