"""The event stream's hub: one publisher, many clients, none of whom can slow the publisher down."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from openbell.domain.clock import Clock
from openbell.web.values import Lagged, Sequenced, StreamEvent

QUEUE_LENGTH = 256


class HubSubscription:
    """A client's queue: full → the oldest event goes, and the client is told how many it missed."""

    def __init__(self, hub: Hub, seq: int, length: int) -> None:
        self._hub = hub
        self._seq = seq
        self._length = length
        self._queue: deque[Sequenced] = deque()
        self._dropped = 0
        self._filled = asyncio.Event()

    @property
    def seq(self) -> int:
        return self._seq

    def put(self, event: Sequenced) -> int:
        """Queue an event; the answer is how many were dropped for it (0 or 1)."""
        dropped = 0
        if len(self._queue) >= self._length:
            self._queue.popleft()
            dropped = 1
        self._dropped += dropped
        self._queue.append(event)
        self._filled.set()
        return dropped

    async def next(self) -> Sequenced | Lagged:
        while not self._queue:
            self._filled.clear()
            await self._filled.wait()
        if self._dropped:
            lagged = Lagged(self._queue[0].seq, self._dropped)
            self._dropped = 0
            return lagged
        return self._queue.popleft()

    def close(self) -> None:
        self._hub.forget(self)


class Hub:
    """Numbers events and hands them to every client's queue. For one event loop; `publish` never waits.

    `on_drop(n)` is told of events that slow clients lost, so that they are counted.
    """

    def __init__(
        self, *, clock: Clock, queue_length: int = QUEUE_LENGTH, on_drop: Callable[[int], None] | None = None
    ) -> None:
        self._clock = clock
        self._queue_length = queue_length
        self._on_drop = on_drop
        self._clients: set[HubSubscription] = set()
        self._seq = 0

    @property
    def client_count(self) -> int:
        return len(self._clients)

    def publish(self, event: StreamEvent) -> None:
        """Tell every client."""
        self._seq += 1
        sequenced = Sequenced(self._seq, self._clock.now(), event)
        dropped = sum(client.put(sequenced) for client in self._clients)
        if dropped and self._on_drop is not None:
            self._on_drop(dropped)

    def subscribe(self) -> HubSubscription:
        """A client that gets every event from now on."""
        client = HubSubscription(self, self._seq, self._queue_length)
        self._clients.add(client)
        return client

    def forget(self, client: HubSubscription) -> None:
        """Queue nothing for this client any more."""
        self._clients.discard(client)
