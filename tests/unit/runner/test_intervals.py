"""Several strategies of different intervals on one ticker, intervals that follow the volatility, and overruns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from fakes.trading import World, scheduler_manifest, strategy_manifest
from fakes.values import T0, at
from openbell.domain.bars import Bar, BarSeries
from openbell.market.calendar import calendar_for
from openbell.runner.entry import StrategyEntry
from openbell.runner.loops import Loops

STEP = 0.5


@dataclass
class Recorder:
    """Stands where the evaluation stands: writes down who was evaluated when, and takes as long as a test says."""

    world: World
    takes: list[float] = field(default_factory=list)
    ran: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)

    async def run(self, entries: Sequence[StrategyEntry], due: datetime) -> None:
        clock = self.world.clock
        self.ran.append(((clock.now() - T0).total_seconds(), tuple(entry.name for entry in entries)))
        if self.takes:
            await clock.sleep(self.takes.pop(0))

    def times(self, name: str) -> list[float]:
        return [moment for moment, names in self.ran if name in names]


@asynccontextmanager
async def looping(world: World, *takes: float) -> AsyncIterator[tuple[Loops, Recorder]]:
    recorder = Recorder(world, list(takes))
    loops = Loops(world.situation, recorder, world.exits, world.clock, world.metrics)  # type: ignore[arg-type]
    task = asyncio.create_task(loops.evaluate())
    await settle()
    try:
        yield loops, recorder
    finally:
        task.cancel()


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def move(world: World, seconds: float) -> None:
    """Time passes, in steps that a sleeper can see."""
    for _ in range(round(seconds / STEP)):
        world.clock.set(world.clock.now() + timedelta(seconds=STEP))
        await settle()


def take(world: World, *strategies: tuple[str, int], **spec: Any) -> None:
    made = [strategy_manifest(name, evaluationIntervalSeconds=seconds) for name, seconds in strategies]
    world.take(scheduler_manifest(**spec), *made)


def coalesced(world: World) -> float:
    return world.metrics.evaluations_coalesced._value.get()


async def test_each_strategy_is_evaluated_at_its_own_interval(world: World) -> None:
    take(world, ("fast", 10), ("slow", 15), ("hourly", 3600))
    async with looping(world) as (_, recorder):
        await move(world, 60)
    assert recorder.times("fast") == [10, 20, 30, 40, 50, 60]
    assert recorder.times("slow") == [15, 30, 45, 60]
    assert recorder.times("hourly") == []
    assert (30, ("fast", "slow")) in recorder.ran, "where ticks meet there is one evaluation"
    assert len(recorder.ran) == len({moment for moment, _ in recorder.ran})
    assert coalesced(world) == 0


async def test_ticks_lie_on_the_grid_of_the_session_whenever_the_runner_began(world: World) -> None:
    opening = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
    world.clock.set(opening + timedelta(seconds=7))
    world.situation.calendar = calendar_for("XNYS")
    take(world, ("fast", 10), ("slow", 45), market={"calendar": "XNYS"})
    async with looping(world) as (_, recorder):
        await move(world, 90)
    since = (T0 - opening).total_seconds()
    assert [moment + since for moment in recorder.times("slow")] == [45, 90]
    assert [moment + since for moment in recorder.times("fast")] == [10, 20, 30, 40, 50, 60, 70, 80, 90]


async def test_an_overrun_is_made_up_by_one_evaluation_and_not_by_all_that_were_missed(world: World) -> None:
    take(world, ("fast", 10))
    async with looping(world, 14.0) as (_, recorder):
        await move(world, 60)
    assert recorder.times("fast") == [10, 24, 30, 40, 50, 60]
    assert coalesced(world) == 0, "four seconds late is within half an interval"


async def test_an_overrun_by_more_than_half_an_interval_is_skipped_and_counted(world: World) -> None:
    take(world, ("fast", 10))
    async with looping(world, 36.0) as (_, recorder):
        await move(world, 70)
    assert recorder.times("fast") == [10, 50, 60, 70]
    assert coalesced(world) == 1


async def test_what_is_too_late_for_one_strategy_is_in_time_for_another(world: World) -> None:
    """The fast one's overrun covers the slow one's tick at 60 s, which is not lost for it."""
    take(world, ("fast", 2), ("slow", 60))
    async with looping(world, *[0.0] * 28, 5.0) as (_, recorder):
        await move(world, 70)
    assert recorder.times("slow") == [63]
    assert 63 not in recorder.times("fast")
    assert recorder.times("fast")[-3:] == [66, 68, 70]
    assert coalesced(world) == 1


async def test_a_change_of_an_interval_counts_from_the_next_tick_on(world: World) -> None:
    take(world, ("fast", 60))
    async with looping(world) as (loops, recorder):
        await move(world, 5)
        take(world, ("fast", 10))
        loops.reschedule()
        await settle()
        await move(world, 25)
    assert recorder.times("fast") == [10, 20, 30]


async def test_the_shortest_interval_is_a_metric(world: World) -> None:
    take(world, ("fast", 10), ("slow", 60))
    async with looping(world):
        await move(world, 10)
    assert world.metrics.evaluation_interval_seconds._value.get() == 10


# -- adaptive

ADAPTIVE = {"enabled": True, "lookbackBars": 5}


def bars(now: datetime, volatility: float) -> BarSeries:
    """Thirty minute bars whose newest five move `volatility` times as much as those before."""
    sizes = np.concatenate([np.full(24, 0.001), np.full(5, 0.001 * volatility)]) * (-1.0) ** np.arange(29)
    closes = 100 * np.exp(np.concatenate([[0.0], np.cumsum(sizes)]))
    made = []
    for index, close in enumerate(closes):
        end = now - timedelta(minutes=len(closes) - 1 - index)
        made.append(Bar("AAPL", end - timedelta(minutes=1), end, close, close, close, close, 1.0))
    return BarSeries.from_bars("AAPL", 60, made)


async def evaluate(world: World, volatility: float) -> None:
    world.market.series["AAPL", 60] = bars(world.clock.now(), volatility)
    control = world.situation.control
    assert control is not None
    await world.evaluation.run(list(control.entries.values()), world.clock.now())


def entry(world: World) -> StrategyEntry:
    control = world.situation.control
    assert control is not None
    return control.entries["trend"]


@pytest.mark.parametrize(("volatility", "seconds"), [(2.0, 15), (1.0, 60), (0.5, 240)])
async def test_the_interval_follows_the_volatility_of_the_bars(world: World, volatility: float, seconds: int) -> None:
    world.take(scheduler_manifest(adaptive=ADAPTIVE), strategy_manifest())
    assert world.situation.interval_of(entry(world)) == 60
    await evaluate(world, volatility)
    assert world.situation.interval_of(entry(world)) == seconds
    assert world.situation.strategy_why(entry(world)) == f"evaluating every {seconds} s, adaptive"
    assert world.situation.why() == f"evaluating 1 strategy every {seconds} s, adaptive"


async def test_without_adaptive_nothing_changes(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    await evaluate(world, 2.0)
    assert world.situation.strategy_why(entry(world)) == "evaluating every 60 s"


async def test_a_strategy_whose_own_interval_is_out_of_bounds_keeps_it(world: World) -> None:
    world.take(scheduler_manifest(adaptive=ADAPTIVE), strategy_manifest(evaluationIntervalSeconds=3600))
    await evaluate(world, 2.0)
    assert world.situation.strategy_why(entry(world)) == "evaluating every 3600 s"


async def test_a_changed_interval_or_bound_begins_anew(world: World) -> None:
    world.take(scheduler_manifest(adaptive=ADAPTIVE), strategy_manifest())
    await evaluate(world, 2.0)
    world.take(scheduler_manifest(adaptive=ADAPTIVE | {"minSeconds": 10}), strategy_manifest())
    assert world.situation.interval_of(entry(world)) == 60
    world.take(scheduler_manifest(), strategy_manifest())
    assert world.situation.interval_of(entry(world)) == 60


async def test_a_replay_does_not_use_it(world: World) -> None:
    world.situation.pacer.is_used = False
    world.take(scheduler_manifest(adaptive=ADAPTIVE), strategy_manifest())
    await evaluate(world, 2.0)
    assert world.situation.strategy_why(entry(world)) == "evaluating every 60 s"


async def test_a_shorter_interval_takes_the_next_tick_of_its_own_grid(world: World) -> None:
    world.take(scheduler_manifest(adaptive=ADAPTIVE), strategy_manifest())
    async with looping(world) as (_, recorder):
        await move(world, 60)
        await evaluate(world, 2.0)
        await move(world, 40)
        assert recorder.times("trend") == [60, 75, 90]
    assert world.clock.now() == at(100)
