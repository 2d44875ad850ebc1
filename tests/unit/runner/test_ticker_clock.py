"""The ticker on a clock that is stepped, and on a machine that is suspended, over the sessions of real calendars."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.market.calendar import SessionCalendar, calendar_for, next_tick
from openbell.runner.ticker import SLICE_SECONDS, Tick, Ticker

INTERVAL = 60
COUNT = 30
SET_BACK = 2 * SLICE_SECONDS  # a clock set back by more begins the schedule anew
START = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)  # a Tuesday, 10:00 in Tokyo


@dataclass(frozen=True)
class Event:
    """After `gap_seconds` of running, the wall clock jumps; a suspend is a jump forward that no step back undoes."""

    gap_seconds: float
    jump_seconds: float


class Machine:
    """A clock whose time passes only in sleeping and working. Events come in the midst of either."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._wall, self._elapsed, self._events = START, 0.0, list(events)
        self.happened: list[Event] = []
        self.lowest = START  # the wall clock's lowest reading since it was last asked for
        self._due = self._events[0].gap_seconds if events else float("inf")

    def now(self) -> datetime:
        return self._wall

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        self.work(seconds)
        await asyncio.sleep(0)

    def work(self, seconds: float) -> None:
        until = self._elapsed + seconds
        while self._due <= until:
            self._pass(self._due - self._elapsed)
            event = self._events.pop(0)
            self.happened.append(event)
            self._wall += timedelta(seconds=event.jump_seconds)
            self.lowest = min(self.lowest, self._wall)
            self._due = self._elapsed + self._events[0].gap_seconds if self._events else float("inf")
        self._pass(until - self._elapsed)

    def _pass(self, seconds: float) -> None:
        self._wall += timedelta(seconds=seconds)
        self._elapsed += seconds


@dataclass(frozen=True)
class Ticked:
    """One tick as the loop met it: wall clock and running time at its beginning, and what happened while it waited."""

    tick: Tick
    wall: datetime
    elapsed: float
    lowest: datetime
    events: tuple[Event, ...]
    asked: datetime  # the wall clock when the wait began


class TimeUpError(Exception):
    """The machine has run long enough."""


async def run(
    calendar: SessionCalendar, events: Sequence[Event], works: Sequence[float], count: int, hours: float = 1.5
) -> list[Ticked]:
    """`count` ticks, or those of `hours` of running; the work between them takes turns in taking `works` seconds."""
    machine = Machine(events)

    def next_due(after: datetime) -> datetime:
        if machine.monotonic() > hours * 3600:
            raise TimeUpError
        return next_tick(calendar, True, INTERVAL, 0.0, after)

    ticker = Ticker(machine, next_due)
    found: list[Ticked] = []
    for number in range(count):
        machine.lowest, asked, before = machine.now(), machine.now(), len(machine.happened)
        try:
            tick = await ticker.wait()
        except TimeUpError:
            break
        found.append(
            Ticked(tick, machine.now(), machine.monotonic(), machine.lowest, tuple(machine.happened[before:]), asked)
        )
        machine.work(works[number % len(works)])
    return found


gaps = st.floats(0.1, 150)
works = st.lists(st.sampled_from([0.0, 0.004, 0.9, 31.0, 61.0, 200.0]), min_size=1, max_size=5)
suspends = st.floats(1, 6 * 3600)
large = st.builds(Event, gaps, st.one_of(suspends, st.floats(-6 * 3600, -SET_BACK - 1), st.floats(-SET_BACK, 5)))
small = st.builds(Event, gaps, st.one_of(suspends, st.floats(-1.0, 0.0)))
calendars = st.sampled_from([calendar_for("XTKS"), calendar_for("CMES"), calendar_for("Always")])


@settings(max_examples=60)
@given(calendars, st.lists(small, max_size=int(SET_BACK)), works)
def test_no_tick_runs_twice_and_none_is_queued_up(
    calendar: SessionCalendar, events: list[Event], works: list[float]
) -> None:
    """Through suspends, steps forward and small steps back; ten seconds back in all at the most."""
    ticked = asyncio.run(run(calendar, events, works, COUNT))
    dues = [each.tick.due for each in ticked]
    assert dues == sorted(set(dues))
    for before, after in pairwise(ticked):
        assert after.tick.due > before.wall  # what fell due meanwhile, suspended or at work, is one tick
        assert after.tick.since == before.wall


@settings(max_examples=60)
@given(calendars, st.lists(large, max_size=12), works)
def test_every_tick_is_on_the_grid_and_none_comes_early_or_out_of_hours(
    calendar: SessionCalendar, events: list[Event], works: list[float]
) -> None:
    for each in asyncio.run(run(calendar, events, works, COUNT)):
        tick = each.tick
        session = calendar.session_at(tick.due)
        assert session is not None
        assert calendar.is_open(tick.due)
        assert (tick.due - session.open) % timedelta(seconds=INTERVAL) == timedelta(0)
        assert each.wall == tick.due + timedelta(seconds=tick.lateness_seconds)
        assert tick.lateness_seconds >= 0
        if not each.events and each.asked < tick.due:
            assert each.wall == tick.due  # nothing disturbed the wait: back on the grid, without drift


@settings(max_examples=60)
@given(st.lists(large, max_size=12), works)
def test_a_clock_set_back_repeats_no_past_and_is_not_waited_out(events: list[Event], works: list[float]) -> None:
    """On a market that is always open, where a tick is never more than an interval away."""
    ticked = asyncio.run(run(calendar_for("Always"), events, works, COUNT))
    for before, after in pairwise(ticked):
        lowest = min(before.wall, after.asked, after.lowest)
        assert after.tick.due > lowest
        if lowest >= before.wall - timedelta(seconds=SET_BACK):
            assert after.tick.due > before.tick.due
        waited = after.elapsed - before.elapsed
        assert waited <= (1 + len(after.events)) * (INTERVAL + SET_BACK + SLICE_SECONDS) + max(works)


@pytest.mark.parametrize("hours", [0.5, 3, 30])
async def test_after_a_suspend_one_tick_comes_late_and_the_next_is_the_grids(hours: float) -> None:
    events = [Event(90.0, hours * 3600)]
    first, late, next_one = await run(calendar_for("Always"), events, [0.0], 3)
    assert first.tick.lateness_seconds == 0
    assert late.tick.due == first.tick.due + timedelta(seconds=INTERVAL)
    assert late.tick.lateness_seconds >= hours * 3600 - INTERVAL
    assert late.elapsed <= 90 + SLICE_SECONDS  # it is noticed within a slice, not when the old wait would have ended
    assert next_one.tick.lateness_seconds == 0
    assert next_one.tick.due - late.wall <= timedelta(seconds=INTERVAL)


async def test_a_suspend_over_the_close_wakes_to_one_late_tick_and_then_the_next_session() -> None:
    calendar = calendar_for("XTKS")
    *_, late, next_one = await run(calendar, [Event(90.0, 6 * 3600)], [0.0], 3, 24)  # 10:01:30 to 16:01:30
    assert late.tick.lateness_seconds > 5 * 3600
    following = calendar.next_session(START)
    assert following is not None
    assert (next_one.tick.due, next_one.wall) == (following.open, following.open)


async def test_a_suspend_over_lunch_wakes_to_one_late_tick_of_the_morning() -> None:
    calendar = calendar_for("XTKS")
    *_, late, next_one = await run(calendar, [Event(90.0, 2 * 3600)], [0.0], 3)  # 10:01:30 to 12:01:30
    assert late.tick.due == START + timedelta(minutes=2)
    assert next_one.tick.due == START.replace(hour=3, minute=30)  # 12:30 in Tokyo
    assert next_one.tick.lateness_seconds == 0
