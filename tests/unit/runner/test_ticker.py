"""Ticks: computed from the wall clock, without drift, coalesced, skipped when too late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from fakes.values import T0, at
from openbell.domain.clock import SimulatedClock
from openbell.runner.ticker import SLICE_SECONDS, Tick, Ticker

SECOND = timedelta(seconds=1)


class Hands:
    """A clock whose wall and monotonic time are moved apart, and that lets a sleeper run."""

    def __init__(self) -> None:
        self.clock = SimulatedClock(T0)

    async def move(self, seconds: float) -> None:
        """Time passes, in steps that a sleeper can see."""
        left = seconds
        while left > 0:
            step = min(left, 0.5)
            self.clock.set(self.clock.now() + timedelta(seconds=step))
            left -= step
            await settle()

    async def jump(self, seconds: float) -> None:
        """The wall clock is set; a slice of real time passes."""
        self.clock._now += timedelta(seconds=seconds)
        self.clock._elapsed += SLICE_SECONDS
        self.clock._moved.set()
        self.clock._moved = asyncio.Event()
        await settle()


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


def every(seconds: int) -> Callable[[datetime], datetime]:
    """Whole multiples of `seconds` after T0."""

    def next_due(after: datetime) -> datetime:
        passed = (after - T0) // timedelta(seconds=seconds)
        return T0 + timedelta(seconds=seconds) * (passed + 1)

    return next_due


async def collect(ticker: Ticker, hands: Hands, seconds: float) -> list[Tick]:
    ticks: list[Tick] = []

    async def work() -> None:
        while True:
            ticks.append(await ticker.wait())

    task = asyncio.create_task(work())
    await settle()
    await hands.move(seconds)
    task.cancel()
    await settle()
    return ticks


async def test_ticks_come_when_they_are_due_and_do_not_drift() -> None:
    hands = Hands()
    ticks = await collect(Ticker(hands.clock, every(2)), hands, 11)
    assert [tick.due for tick in ticks] == [at(2), at(4), at(6), at(8), at(10)]
    assert {tick.lateness_seconds for tick in ticks} == {0.0}


async def test_a_year_of_ticks_has_no_drift() -> None:
    clock = SimulatedClock(T0)
    ticker = Ticker(clock, every(3600))
    for hour in range(1, 365 * 24):
        clock.set(T0 + hour * 3600 * SECOND)
        tick = await ticker.wait()
        assert (tick.due, tick.lateness_seconds) == (clock.now(), 0.0)


async def test_what_was_missed_is_coalesced_into_one_tick() -> None:
    clock = SimulatedClock(T0)
    ticker = Ticker(clock, every(1))
    clock.set(at(7.5))
    tick = await ticker.wait()
    assert (tick.due, tick.since) == (at(1), T0)
    assert tick.lateness_seconds == 6.5
    clock.set(at(8))
    assert (await ticker.wait()).since == at(7.5)


async def test_a_clock_set_forward_makes_one_late_tick_and_then_goes_on() -> None:
    hands = Hands()
    ticker = Ticker(hands.clock, every(10))
    waiting = asyncio.create_task(ticker.wait())
    await settle()
    await hands.jump(3605)
    tick = await waiting
    assert tick.lateness_seconds == 3595
    hands.clock.set(at(3610))
    assert (await ticker.wait()).due == at(3610)


async def test_a_clock_set_back_is_not_waited_out() -> None:
    hands = Hands()
    ticker = Ticker(hands.clock, every(10))
    hands.clock.set(at(3600))
    assert (await ticker.wait()).due == at(10)
    waiting = asyncio.create_task(ticker.wait())
    await settle()
    await hands.jump(-3595)  # it is T0 + 5 s again
    hands.clock.set(at(10))
    tick = await asyncio.wait_for(waiting, 5)
    assert (tick.due, tick.lateness_seconds) == (at(10), 0.0)


async def test_a_small_step_back_does_not_repeat_a_tick() -> None:
    hands = Hands()
    ticker = Ticker(hands.clock, every(10))
    hands.clock.set(at(10))
    assert (await ticker.wait()).due == at(10)
    hands.clock._now -= 3 * SECOND
    waiting = asyncio.create_task(ticker.wait())
    await settle()
    hands.clock.set(at(10.5))
    await settle()
    assert not waiting.done()
    hands.clock.set(at(20))
    assert (await asyncio.wait_for(waiting, 5)).due == at(20)


async def test_a_new_schedule_is_asked_for_at_once() -> None:
    hands = Hands()
    interval = [3600]
    ticker = Ticker(hands.clock, lambda after: every(interval[0])(after))
    waiting = asyncio.create_task(ticker.wait())
    await settle()
    interval[0] = 2
    ticker.reschedule()
    await settle()
    await hands.move(2)
    assert (await asyncio.wait_for(waiting, 5)).due == at(2)


async def test_without_a_schedule_nothing_ticks_until_there_is_one() -> None:
    hands = Hands()
    schedule: list[Callable[[datetime], datetime | None]] = [lambda after: None]
    ticker = Ticker(hands.clock, lambda after: schedule[0](after))
    waiting = asyncio.create_task(ticker.wait())
    await settle()
    await hands.move(60)
    assert not waiting.done()
    schedule[0] = every(5)
    await hands.move(SLICE_SECONDS)
    assert (await asyncio.wait_for(waiting, 5)).due == at(5)


async def test_a_poke_ticks_now_and_leaves_the_schedule_as_it_is() -> None:
    hands = Hands()
    ticker = Ticker(hands.clock, every(60))
    waiting = asyncio.create_task(ticker.wait())
    await settle()
    ticker.poke()
    tick = await asyncio.wait_for(waiting, 5)
    assert (tick.due, tick.since, tick.is_poked) == (T0, T0, True)
    hands.clock.set(at(60))
    assert (await ticker.wait()).due == at(60)


async def test_a_poke_that_came_while_nobody_waited_is_not_lost() -> None:
    ticker = Ticker(SimulatedClock(T0), every(60))
    ticker.poke()
    assert (await asyncio.wait_for(ticker.wait(), 5)).due == T0
