"""Start, stop, pause and resume by REST: a pause or stop closes the gate here first, and then the resource is patched.

Where the API server does not take the patch, the hold stays and the patch is tried until it goes through; both
outlive this process, kept in one file of the data folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from openbell.domain.errors import ClusterError, OpenbellError
from openbell.domain.state import TradingState
from openbell.runner.source import Source
from openbell.runner.supervisor import Supervisor
from openbell.web.values import LifecycleResult

log = structlog.get_logger("openbell.lifecycle")

HELD = "held.json"
PATCH_RETRY_SECONDS = 2.0
PASSING = frozenset({408, 409, 429})  # a refusal that the same patch may not meet again


class Lifecycle:
    """What people ask of the scheduler's state through this runner. Resuming is never local."""

    def __init__(self, source: Source, supervisor: Supervisor, folder: Path) -> None:
        self._source = source
        self._supervisor = supervisor
        self._kept = folder / HELD
        self._patching: asyncio.Task[None] | None = None
        self._unpatched: Mapping[str, Any] = {}

    def restore(self) -> None:
        """Hold again what a process before this one held and could not say to the resource."""
        if not self._kept.exists():
            return
        kept = json.loads(self._kept.read_text(encoding="utf-8"))
        self._supervisor.hold(TradingState(kept["state"]))
        log.warning("lifecycle.held", state=kept["state"], why="kept from before the restart")
        self._start_patching(kept["spec"])

    async def start(self, wait_seconds: float) -> LifecycleResult:
        return await self._patch({"enabled": True}, wait_seconds)

    async def resume(self, wait_seconds: float) -> LifecycleResult:
        return await self._patch({"paused": False}, wait_seconds)

    async def stop(self, wait_seconds: float) -> LifecycleResult:
        return await self._hold_and_patch(TradingState.STOPPED, {"enabled": False}, wait_seconds)

    async def pause(self, wait_seconds: float) -> LifecycleResult:
        return await self._hold_and_patch(TradingState.PAUSED, {"paused": True}, wait_seconds)

    async def _patch(self, spec: Mapping[str, Any], wait_seconds: float) -> LifecycleResult:
        waiting = await self._forget_patching()
        try:
            generation = await self._source.patch_scheduler({**waiting, **spec})
        except OpenbellError:
            # The gate is still held by what was asked before, so the resource must still come to say it.
            self._start_patching(waiting)
            raise
        return await self._said(generation, wait_seconds)

    async def _hold_and_patch(
        self, state: TradingState, spec: Mapping[str, Any], wait_seconds: float
    ) -> LifecycleResult:
        """Where the resource refuses the patch for good, the gate stays closed until the next word that it takes."""
        held = self._supervisor.hold(state)
        waiting = await self._forget_patching()
        try:
            generation = await self._source.patch_scheduler({**waiting, **spec})
        except ClusterError as error:
            if error.status is not None and error.status < 500 and error.status not in PASSING:
                self._start_patching(waiting)
                raise
            log.warning("lifecycle.held", state=state.value, error=str(error))
            self._keep(held, {**waiting, **spec})
            self._start_patching({**waiting, **spec})
            return LifecycleResult(None, acknowledged=False)
        return await self._said(generation, wait_seconds)

    async def _said(self, generation: int, wait_seconds: float) -> LifecycleResult:
        self._resource_says_it(generation)
        acknowledged = await self._supervisor.wait_acknowledged(generation, wait_seconds)
        return LifecycleResult(generation, acknowledged)

    def _resource_says_it(self, generation: int) -> None:
        self._supervisor.hold_until(generation)
        self._kept.unlink(missing_ok=True)

    def _keep(self, state: TradingState, spec: Mapping[str, Any]) -> None:
        partial = self._kept.with_suffix(".partial")
        try:
            partial.write_text(json.dumps({"state": state.value, "spec": dict(spec)}), encoding="utf-8")
            partial.replace(self._kept)
        except OSError as error:
            # It holds as long as this process does.
            log.error("lifecycle.not-kept", error=str(error))

    def _start_patching(self, spec: Mapping[str, Any]) -> None:
        if not spec:
            return
        self._unpatched = spec
        self._patching = asyncio.create_task(self._keep_patching(spec))

    async def _keep_patching(self, spec: Mapping[str, Any]) -> None:
        while True:
            await asyncio.sleep(PATCH_RETRY_SECONDS)
            try:
                generation = await self._source.patch_scheduler(spec)
            except ClusterError:
                continue
            self._resource_says_it(generation)
            return

    async def _forget_patching(self) -> Mapping[str, Any]:
        """What has not reached the API server yet; a newer word on the same field replaces it, else both are said."""
        patching, self._patching = self._patching, None
        if patching is None or patching.done():
            return {}
        patching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await patching
        return self._unpatched

    async def close(self) -> None:
        """End the patching; what it could not say stays in the file."""
        await self._forget_patching()
