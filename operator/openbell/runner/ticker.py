"""Ticks without drift: each is computed from the exchange's wall clock, and slept for in bounded slices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from openbell.domain.clock import Clock

SLICE_SECONDS = 5.0  # a suspended machine or a stepped clock is noticed within this time


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick: when it was due, and how late it came. Whether that is too late is for whoever acts on it."""

    due: datetime
    lateness_seconds: float
    since: datetime  # the tick before it: whatever fell due after that is due now
    is_poked: bool = False  # it was asked for, not due


class Ticker:
    """Waits for the next moment that `next_due(after)` names; asks anew when the schedule changes.

    `next_due` returns the first due moment strictly after its argument, or None for never. Ticks that were missed are
    coalesced into one, that of the first of them; they are never queued up.
    """

    def __init__(self, clock: Clock, next_due: Callable[[datetime], datetime | None]) -> None:
        self._clock = clock
        self._next_due = next_due
        self._changed = asyncio.Event()
        self._last = clock.now()
        self._poked = False

    def poke(self) -> None:
        """The wait that is going on returns at once."""
        self._poked = True
        self._changed.set()

    def reschedule(self) -> None:
        """The schedule changed: the wait that is going on asks `next_due` again."""
        self._changed.set()

    async def wait(self) -> Tick:
        """Return at the next due moment."""
        while True:
            self._changed.clear()
            now = self._clock.now()
            # A clock that was set back must not make ticks of the past come again, nor make us wait it out.
            if self._last > now + timedelta(seconds=2 * SLICE_SECONDS):
                self._last = now
            if self._poked:
                self._poked = False
                return Tick(now, 0.0, self._last, is_poked=True)
            due = self._next_due(self._last)
            if due is not None and due <= now:
                return self._tick(due, now)
            remaining = SLICE_SECONDS if due is None else min((due - now).total_seconds(), SLICE_SECONDS)
            await self._sleep(remaining)

    def _tick(self, due: datetime, now: datetime) -> Tick:
        lateness = (now - due).total_seconds()
        since, self._last = self._last, now
        return Tick(due, lateness, since)

    async def _sleep(self, seconds: float) -> None:
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({sleeping, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            changed.cancel()
