"""The work queue: deduplicating, serial for each key, backing off."""

from __future__ import annotations

import asyncio
import random

import pytest

from openbell.controller.queue import LAST_BACKOFF_SECONDS, TokenBucket, WorkQueue, backoff_seconds


class Counts:
    def __init__(self) -> None:
        self.adds = self.retries = self.starts = self.ends = 0

    def added(self) -> None:
        self.adds += 1

    def retried(self) -> None:
        self.retries += 1

    def started(self, waited_seconds: float) -> None:
        assert waited_seconds >= 0
        self.starts += 1

    def finished(self, worked_seconds: float) -> None:
        assert worked_seconds >= 0
        self.ends += 1


async def test_a_key_added_twice_is_worked_on_once() -> None:
    counts = Counts()
    queue: WorkQueue[str] = WorkQueue(counts)
    done = asyncio.Event()
    seen: list[str] = []

    async def work(key: str) -> None:
        seen.append(key)
        if key == "last":
            done.set()

    for key in ("a", "a", "a", "last"):
        queue.add(key)
    assert queue.depth == 2
    worker = asyncio.create_task(queue.run(1, work))
    await asyncio.wait_for(done.wait(), 5)
    worker.cancel()
    assert seen == ["a", "last"]
    assert counts.adds == 2


async def test_a_key_is_never_in_work_twice_and_comes_again_when_added_meanwhile() -> None:
    queue: WorkQueue[str] = WorkQueue(Counts())
    inside = 0
    runs = 0
    entered, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(_key: str) -> None:
        nonlocal inside, runs
        inside += 1
        assert inside == 1
        runs += 1
        entered.set()
        await go_on.wait()
        inside -= 1
        if runs == 2:
            done.set()

    queue.add("a")
    workers = asyncio.create_task(queue.run(4, work))
    await asyncio.wait_for(entered.wait(), 5)
    queue.add("a")
    queue.add("a")
    go_on.set()
    await asyncio.wait_for(done.wait(), 5)
    await asyncio.sleep(0)
    assert queue.is_idle
    workers.cancel()
    assert runs == 2


async def test_a_failure_is_tried_again_later_and_a_success_forgets_it() -> None:
    counts = Counts()
    queue: WorkQueue[str] = WorkQueue(counts, randomness=random.Random(1))
    attempts = 0
    done = asyncio.Event()

    async def work(_key: str) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise RuntimeError("not yet")
        done.set()

    queue.add("a")
    workers = asyncio.create_task(queue.run(2, work))
    await asyncio.wait_for(done.wait(), 5)
    await asyncio.sleep(0)
    workers.cancel()
    assert (attempts, counts.retries) == (4, 3)
    assert queue._failures == {}


async def test_the_soonest_of_several_delays_counts() -> None:
    queue: WorkQueue[str] = WorkQueue(Counts())
    queue.add_after("a", 60)
    queue.add_after("a", 0.01)
    queue.add_after("a", 60)
    came = asyncio.Event()

    async def work(_key: str) -> float:
        came.set()
        return 60.0

    workers = asyncio.create_task(queue.run(1, work))
    await asyncio.wait_for(came.wait(), 5)
    workers.cancel()
    queue.forget("a")


def test_the_backoff_doubles_from_5_ms_and_has_an_end() -> None:
    source = random.Random(7)
    assert 0.00375 <= backoff_seconds(1, source) <= 0.005
    assert 0.0075 <= backoff_seconds(2, source) <= 0.01
    assert backoff_seconds(10_000, source) <= LAST_BACKOFF_SECONDS


def test_the_token_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    now = [0.0]
    bucket = TokenBucket(10.0, 2.0, clock=lambda: now[0])
    assert [bucket.reserve() for _ in range(4)] == pytest.approx([0.0, 0.0, 0.1, 0.2])
    now[0] = 10.0
    assert [bucket.reserve() for _ in range(3)] == pytest.approx([0.0, 0.0, 0.1])
