"""A keyed work queue with the guarantees of client-go's: deduplicating, serial for each key, backing off on failure."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

K = TypeVar("K")

FIRST_BACKOFF_SECONDS = 0.005
LAST_BACKOFF_SECONDS = 300.0


class QueueObserver(Protocol):
    """What a queue tells its metrics."""

    def added(self) -> None: ...

    def retried(self) -> None: ...

    def started(self, waited_seconds: float) -> None: ...

    def finished(self, worked_seconds: float) -> None: ...


def backoff_seconds(failures: int, randomness: random.Random) -> float:
    """Delay after the n-th failure in a row (n from 1): doubling from 5 ms to 5 min, less up to a quarter of jitter."""
    exponent = min(failures - 1, 30)  # beyond that the cap holds anyway
    delay: float = min(FIRST_BACKOFF_SECONDS * 2.0**exponent, LAST_BACKOFF_SECONDS)
    return delay * randomness.uniform(0.75, 1.0)


@dataclass(slots=True)
class WorkQueue(Generic[K]):
    """Keys that need work. A key is in work at most once at a time, and once more if it was added meanwhile."""

    observer: QueueObserver
    clock: Callable[[], float] = time.monotonic
    randomness: random.Random = field(default_factory=random.Random)
    _waiting: deque[K] = field(default_factory=deque)
    _since: dict[K, float] = field(default_factory=dict)  # waiting keys, and when they were added
    _working: dict[K, float] = field(default_factory=dict)
    _again: set[K] = field(default_factory=set)
    _failures: dict[K, int] = field(default_factory=dict)
    _timers: dict[K, asyncio.TimerHandle] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, key: K) -> None:
        """Work on `key` as soon as a worker is free; nothing if it is waiting already."""
        if key in self._working:
            self._again.add(key)
            return
        if key in self._since:
            return
        self.observer.added()
        self._since[key] = self.clock()
        self._waiting.append(key)
        self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Add `key` later; of several delays the soonest counts."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    @property
    def depth(self) -> int:
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Nothing waiting and nothing in work; delayed keys do not count."""
        return not self._waiting and not self._working

    def working_seconds(self) -> list[float]:
        """For how long each key in work has been so."""
        now = self.clock()
        return [now - began for began in self._working.values()]

    async def run(self, workers: int, work: Callable[[K], Awaitable[float | None]]) -> None:
        """Run `work` on keys for ever, `workers` at a time. It returns None, or in how many seconds to come again.

        An exception of `work` is the caller's to log; here it means: try again after a backoff.
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._worker(work))

    async def _worker(self, work: Callable[[K], Awaitable[float | None]]) -> None:
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            key = self._waiting.popleft()
            began = self.clock()
            self.observer.started(began - self._since.pop(key))
            self._working[key] = began
            after: float | None = None
            try:
                after = await work(key)
                self._failures.pop(key, None)
            except Exception:  # noqa: BLE001 - the boundary of the queue: `work` has logged and counted it
                failures = self._failures[key] = self._failures.get(key, 0) + 1
                after = backoff_seconds(failures, self.randomness)
                self.observer.retried()
            finally:
                del self._working[key]
                self.observer.finished(self.clock() - began)
            if key in self._again:
                self._again.discard(key)
                # A key that fails must not spin because its own writes come back as events.
                if key in self._failures:
                    self.add_after(key, after or FIRST_BACKOFF_SECONDS)
                else:
                    self.add(key)
                    if after is not None:
                        self.add_after(key, after)
            elif after is not None:
                self.add_after(key, after)

    def forget(self, key: K) -> None:
        """No more timers and failures of a key whose object is gone."""
        self._failures.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()


class TokenBucket:
    """A rate limit for all writes together: `rate` a second in the long run, `burst` at once."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError(f"a token bucket needs a rate above 0 and a burst of at least 1, not {rate} and {burst}")
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens = burst
        self._at = clock()

    def reserve(self) -> float:
        """Take one token, in debt if need be; how many seconds to wait before using it."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        self._tokens -= 1
        return 0.0 if self._tokens >= 0 else -self._tokens / self._rate

    async def take(self) -> None:
        """Wait until one write may be made; first come, first served."""
        delay = self.reserve()
        if delay > 0:
            await asyncio.sleep(delay)
