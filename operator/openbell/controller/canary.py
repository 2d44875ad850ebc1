"""A scheduler that nobody trades on: touched through the API and reconciled, it proves that the watches live.

A watch can go deaf without any error; a probe that only asks whether the process answers cannot see that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from openbell.controller.desired.owner import CANARY_LABEL, MANAGED_BY
from openbell.domain.errors import ClusterError
from openbell.domain.state import TradingState
from openbell.kube.client import KubeClient
from openbell.kube.resources import TRADING_SCHEDULERS, Object

NAME = "openbell-canary"
TOUCH_ANNOTATION = "openbell.dev/touched"
FIELD_MANAGER = "openbell-operator-canary"
SAYS = {"state": TradingState.STOPPED.value, "why": "nobody trades here: the operator checks that it hears of changes"}

log = structlog.get_logger("openbell.controller")


@dataclass(slots=True)
class Canary:
    """Makes the canary, touches it every so often, and knows how long a touch has been on its way."""

    client: KubeClient
    namespace: str
    interval_seconds: float
    on_touch: Callable[[], None]
    monotonic: Callable[[], float] = time.monotonic
    _awaited: str = ""
    _touched_at: float = 0.0

    async def touch(self) -> None:
        """Apply the canary with a new mark. Raises ClusterError; a touch that failed is not waited for."""
        mark = f"{self.monotonic():.3f}"
        touched = await self.client.apply(canary(self.namespace, mark), field_manager=FIELD_MANAGER)
        self.on_touch()
        if not self._awaited:
            self._touched_at = self.monotonic()
        self._awaited = mark
        if (touched.get("status") or {}).get("why") != SAYS["why"]:  # once in its life: who lists schedulers sees it
            said = {**_named(self.namespace), "status": SAYS}
            await self.client.apply(said, field_manager=FIELD_MANAGER, subresource="status")

    def seen(self, obj: Object) -> None:
        """The canary came through watch and queue."""
        if obj["metadata"].get("annotations", {}).get(TOUCH_ANNOTATION) == self._awaited:
            self._awaited = ""

    def pending_seconds(self) -> float:
        """For how long a touch has not come back; 0 when none is awaited."""
        return self.monotonic() - self._touched_at if self._awaited else 0.0

    async def run(self) -> None:
        """Touch for ever; an API server that cannot be reached is not the watch's fault."""
        while True:
            await asyncio.sleep(self.interval_seconds)
            try:
                await self.touch()
            except ClusterError as error:
                log.warning("canary.untouched", error=str(error))


def canary(namespace: str, mark: str) -> Object:
    """Disabled, and marked so that nothing is ever made for it."""
    found = _named(namespace)
    found["metadata"]["labels"] = {CANARY_LABEL: "true", "app.kubernetes.io/managed-by": MANAGED_BY}
    found["metadata"]["annotations"] = {TOUCH_ANNOTATION: mark}
    return {**found, "spec": {"enabled": False}}


def _named(namespace: str) -> Object:
    return {
        "apiVersion": TRADING_SCHEDULERS.api_version,
        "kind": TRADING_SCHEDULERS.kind,
        "metadata": {"name": NAME, "namespace": namespace},
    }
