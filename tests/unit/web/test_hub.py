"""The hub and the equity line: bounded, whatever clients do."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import runner_view as fake
from openbell.domain.clock import SimulatedClock
from openbell.web.equity import EquityHistory
from openbell.web.hub import Hub
from openbell.web.values import Lagged, Sequenced


def hub(queue_length: int = 4) -> Hub:
    return Hub(clock=SimulatedClock(fake.NOW), queue_length=queue_length)


async def test_a_waiting_client_wakes_when_something_is_published() -> None:
    made = hub()
    client = made.subscribe()
    waiting = asyncio.ensure_future(client.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    made.publish(fake.signal())
    assert await waiting == Sequenced(1, fake.NOW, fake.signal())


async def test_a_slow_client_does_not_cost_a_fast_one_its_events() -> None:
    made = hub(queue_length=2)
    slow, fast = made.subscribe(), made.subscribe()
    got = []
    for _ in range(5):
        made.publish(fake.signal())
        item = await fast.next()
        assert isinstance(item, Sequenced)
        got.append(item.seq)
    assert got == [1, 2, 3, 4, 5]
    assert await slow.next() == Lagged(4, 3)


async def test_a_closed_client_is_queued_nothing_and_may_close_again() -> None:
    made = hub()
    client = made.subscribe()
    client.close()
    client.close()
    made.publish(fake.signal())
    assert made.client_count == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await client.next()


@given(st.lists(st.booleans(), max_size=80), st.integers(1, 5))
def test_what_a_client_gets_and_what_it_is_told_it_missed_make_up_everything(steps: list[bool], length: int) -> None:
    async def run() -> None:
        made = hub(length)
        client = made.subscribe()
        published, expected, pending = 0, 1, 0
        for publish in [*steps, *[False] * (length + 1)]:
            if publish:
                made.publish(fake.signal())
                published += 1
                pending = min(length, pending + 1)
            elif pending:
                item = await client.next()
                if isinstance(item, Lagged):
                    expected += item.dropped
                    assert item.seq == expected
                else:
                    assert item.seq == expected
                    expected += 1
                    pending -= 1
        assert expected == published + 1

    asyncio.run(run())


@given(st.lists(st.integers(0, 3600), min_size=1, max_size=400), st.integers(4, 40))
def test_an_equity_line_is_bounded_ordered_and_keeps_both_ends(steps: list[int], capacity: int) -> None:
    history = EquityHistory(capacity)
    time = fake.NOW
    for index, seconds in enumerate(steps):
        time += timedelta(seconds=seconds)
        history.add(time, Decimal(index))
    points = history.points()
    assert len(points) <= capacity
    assert all(earlier.time < later.time for earlier, later in pairwise(points))
    assert points[0].time == fake.NOW + timedelta(seconds=steps[0])
    assert (points[-1].time, points[-1].equity) == (time, Decimal(len(steps) - 1))


def test_a_long_equity_line_still_spans_everything_evenly() -> None:
    history = EquityHistory(100)
    for minute in range(100_000):
        history.add(fake.NOW + timedelta(minutes=minute), Decimal(minute))
    gaps = [(later.time - earlier.time).total_seconds() for earlier, later in pairwise(history.points())]
    assert len(history.points()) > 25
    assert max(gaps) <= 8 * 100_000 * 60 / 100


def test_an_equity_line_that_could_hold_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 4, not 1"):
        EquityHistory(1)
