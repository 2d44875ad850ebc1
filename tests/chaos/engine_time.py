"""An event loop on simulated time: where it would wait, it moves the clock instead. Nothing is real in it."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

from openbell.domain.clock import SimulatedClock

P = ParamSpec("P")
T = TypeVar("T")

INSTANT = 1e-6
"""Sleeping for so long lets everything happen that can happen now."""
ROUNDS = 20_000


class _Selector(selectors.SelectSelector):
    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self._clock = clock
        self._rounds = 0  # since time went on

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everything waits, and nothing is going to happen any more")
        self._rounds += 1
        if self._rounds > ROUNDS:
            raise AssertionError("the runner goes round in circles, and time does not go on")
        if timeout > 0:
            self._rounds = 0
            self._clock.set(self._clock.now() + timedelta(microseconds=math.ceil(timeout * 1e6)))
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Its time is the clock's monotonic reading."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._simulated = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._simulated.monotonic()

    def _write_to_self(self) -> None:
        """Nobody has to be woken: there is one thread."""


class Inline(Executor):
    """Does the work where it is asked for, so that no thread decides an order of things."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - a process that is killed in it dies of it in the caller
            future.set_exception(error)
        return future
