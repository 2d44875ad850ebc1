"""The connection to the broker's gateway, as people see and steer it by REST.

Who disconnects wants the gateway for something else, so that outlives this process: it is kept in one file of the
data folder, and ends by `connect` alone.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from openbell.brokers.ibkr.connection import Connection
from openbell.brokers.ibkr.supervision import Reason
from openbell.runner.desk import Desk
from openbell.runner.gate import Gate
from openbell.runner.ledger import Ledger
from openbell.runner.next_steps import ANSWER_SECONDS
from openbell.web.values import ConnectionResult

log = structlog.get_logger("openbell.connection")

KEPT = "disconnected"
WHY = "disconnected by hand; POST /api/trading/ibkr/connect connects again"


class Steering:
    """What the link says, and what people ask of it. The gate is held before anything awaits."""

    def __init__(self, connection: Connection, gate: Gate, desk: Desk, ledger: Ledger, folder: Path) -> None:
        self._connection = connection
        self._gate = gate
        self._desk = desk
        self._ledger = ledger
        self._kept = folder / KEPT
        self._steering = asyncio.Lock()
        self._changed = asyncio.Event()

    def restore(self) -> None:
        """Stay disconnected where a process before this one was told to be."""
        if self._kept.exists():
            self._gate.broker_released = True
            self._connection.dismiss(WHY)

    def note(self) -> None:
        """The link's state has changed."""
        self._changed.set()

    def standing(self) -> tuple[str, str]:
        """Reason and why of a link that is not up, for a condition."""
        link = self._connection.link
        if link.reason is Reason.CONNECTED:
            return "Connecting", "the connection is being taken up"  # it is, and nobody has heard yet
        return link.reason.value, link.why

    async def disconnect(self) -> ConnectionResult:
        """Let no entry out any more, wait a moment for what is unanswered, and hang up. It may be asked for twice."""
        self._gate.broker_released = True
        async with self._steering:
            self._gate.broker_released = True  # a connect may have come in between
            self._keep()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._desk.wait_quiet()
            except TimeoutError:
                log.warning("connection.in-doubt", orders=self._desk.unanswered())
            finally:
                self._connection.dismiss(WHY)
        log.warning("connection.dismissed", positions=len(self._ledger.positions))
        return self._said(self._without_exits())

    async def connect(self, wait_seconds: float) -> ConnectionResult:
        """Connect again, and wait so long for it."""
        async with self._steering:
            self._kept.unlink(missing_ok=True)
            self._gate.broker_released = False
            self._connection.recall()
        try:
            async with asyncio.timeout(wait_seconds):
                while not self._connection.is_connected:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return self._said(f"Connecting to {self._connection.address}: {self._connection.link.why}.")
        return self._said(f"Connected to {self._connection.address}.")

    def _said(self, message: str) -> ConnectionResult:
        return ConnectionResult(self._connection.is_connected, self._connection.link.reason.value, message)

    def _without_exits(self) -> str:
        """What being disconnected means for what is open, in one sentence."""
        held = self._ledger.open_positions()
        resting = sum(self._desk.is_protected(position.position_id) for position in held)
        if not held:
            return f"Disconnected from {self._connection.address}: nothing is opened until it is connected again."
        return (
            f"Disconnected from {self._connection.address}: nothing is opened, and no exit can go out, until it is "
            f"connected again; of {len(held)} open position(s), {resting} have a stop that rests at the broker."
        )

    def _keep(self) -> None:
        try:
            self._kept.touch()
        except OSError as error:
            # It holds as long as this process does.
            log.error("connection.not-kept", error=str(error))
