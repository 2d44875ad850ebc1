"""Carries a change of state through: gate first, then entries cancelled, positions flattened, quiet, acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from openbell.domain.clock import Clock
from openbell.domain.state import TradingState, safer
from openbell.runner.desk import Desk
from openbell.runner.gate import Gate
from openbell.runner.ledger import Ledger
from openbell.telemetry.metrics import RunnerMetrics

log = structlog.get_logger("openbell.supervisor")

LOOK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the newest generation of the scheduler asks for."""

    generation: int
    state: TradingState
    cancel_entries: bool
    flatten: bool
    halt_exits_while_paused: bool
    kill: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The newest generation that this runner has fully carried out, and the state it is in since."""

    generation: int
    state: TradingState


class Supervisor:
    """Follows the wanted state; `acknowledged` says how far it is, `draining` what it still waits for."""

    def __init__(
        self, gate: Gate, desk: Desk, ledger: Ledger, clock: Clock, metrics: RunnerMetrics, announce: Callable[[], None]
    ) -> None:
        self._gate = gate
        self._desk = desk
        self._ledger = ledger
        self._clock = clock
        self._metrics = metrics
        self._announce = announce
        self._wake = asyncio.Event()
        self._acknowledged_now = asyncio.Event()
        self._wanted_since = 0.0
        self.wanted: Wanted | None = None
        self.acknowledged: Acknowledged | None = None
        self.flatten_asked = asyncio.Event()
        self._held_until: int | None = None

    def want(self, wanted: Wanted) -> None:
        """Take a new generation in. The gate closes (or opens) here, at once; where nothing is under way, the state is
        acknowledged here too, and the caller announces it. What takes longer follows in `run`.
        """
        self._gate.exits_halted_while_paused = wanted.halt_exits_while_paused
        was, was_asked = self._gate.state, self._gate.asked
        is_first = self.wanted is None
        self._gate.asked = wanted.state
        if self._gate.killed is not wanted.kill:
            self._gate.killed = wanted.kill
            log.warning("kill-switch", on=wanted.kill, generation=wanted.generation)
        if self._held_until is not None and wanted.generation >= self._held_until:
            self._release_hold()  # the resource itself says it now
        self._gate.flattening = (
            wanted.state is TradingState.STOPPED
            and wanted.flatten
            # Not by the state: a stop by REST has closed the gate before. The first word after a start counts as
            # new, because flattening may have been cut short.
            and (self._gate.flattening or is_first or was_asked is not TradingState.STOPPED)
        )
        self.wanted = wanted
        if self._gate.state is not was:
            log.info("state.asked", state=self._gate.state.value, generation=wanted.generation)
        self._wanted_since = self._clock.monotonic()
        self._advance()
        self._wake.set()

    def hold(self, state: TradingState) -> TradingState:
        """Close the gate by REST before the resource says so; the state that is held now. Never opens anything."""
        self._gate.held = safer(self._gate.held, state)  # a stop that the resource does not say yet is no pause
        self._held_until = None
        self._announce()
        return self._gate.held

    def hold_until(self, generation: int) -> None:
        """The resource was told: from `generation` on it speaks for itself, and the local hold ends."""
        self._held_until = generation
        if self.wanted is not None and self.wanted.generation >= generation:
            self._release_hold()

    def _release_hold(self) -> None:
        self._gate.held = TradingState.RUNNING
        self._held_until = None
        self._announce()

    @property
    def draining(self) -> str:
        """What keeps the wanted state from being acknowledged, as one clause; empty when nothing does."""
        unanswered = self._desk.unanswered()
        if unanswered:
            return f"waiting for the broker's answer on {', '.join(unanswered[:3])}" + (
                f" and {len(unanswered) - 3} more" if len(unanswered) > 3 else ""
            )
        if self._gate.flattening and self._ledger.positions:
            return f"flattening {len(self._ledger.positions)} position(s)"
        return ""

    def nudge(self) -> None:
        """Something at the broker changed: look again whether all is quiet."""
        self._wake.set()

    async def wait_acknowledged(self, generation: int, seconds: float) -> bool:
        """Whether `generation` has been acknowledged within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while self.acknowledged is None or self.acknowledged.generation < generation:
                    self._acknowledged_now.clear()
                    await self._acknowledged_now.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Settle every wanted state, newest first, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            before, is_told = self.acknowledged, False
            while not self._advance():
                if not is_told:
                    is_told = True
                    self._announce()
                await self._woken(LOOK_AGAIN_SECONDS)
            if self.acknowledged is not before:
                self._announce()

    async def _woken(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    def _advance(self) -> bool:
        """Carry the wanted state as far as it goes now; whether it is acknowledged."""
        wanted = self.wanted
        if wanted is None:
            return True
        self._cancel_entries(wanted)  # also after: one that was held for withdrawn may have come after all
        self._desk.cancel_again()
        if self.acknowledged is not None and self.acknowledged.generation >= wanted.generation:
            return True
        if self._gate.flattening and self._ledger.positions:
            self.flatten_asked.set()
        is_opening = wanted.state is TradingState.RUNNING and not wanted.kill
        if is_opening or self._is_quiet():
            self._acknowledge(wanted)
            return True
        return False

    def _cancel_entries(self, wanted: Wanted) -> None:
        stopped = wanted.state is TradingState.STOPPED
        if stopped or wanted.kill or (wanted.state is TradingState.PAUSED and wanted.cancel_entries):
            self._desk.cancel_entries()

    def _is_quiet(self) -> bool:
        if self._desk.unanswered():
            return False
        if not self._gate.flattening:
            return True
        if self._ledger.positions or self._desk.in_flight:
            return False
        self._gate.flattening = False
        return True

    def _acknowledge(self, wanted: Wanted) -> None:
        previous = self.acknowledged
        self.acknowledged = Acknowledged(wanted.generation, wanted.state)
        if wanted.state is not TradingState.RUNNING and (previous is None or previous.state is not wanted.state):
            self._metrics.pause_ack_seconds.observe(self._clock.monotonic() - self._wanted_since)
        self._metrics.observed_generation.set(wanted.generation)
        log.info("state.acknowledged", state=wanted.state.value, generation=wanted.generation)
        self._acknowledged_now.set()
