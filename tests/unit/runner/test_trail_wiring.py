"""The runner says why at every tick, also when nobody is asked and nothing is looked at."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from fakes.recorded import FLAT, RISING, Story
from fakes.trading import scheduler_manifest, strategy_manifest
from fakes.values import T0, at
from openbell.domain.state import TradingState
from openbell.engine import queue
from openbell.engine.explain import explain_runs
from openbell.engine.trail import DecisionQuery, Run, TrailKind
from openbell.market.calendar import calendar_for
from openbell.runner.loops import Loops
from openbell.runner.ticker import Tick


async def story(folder: Path, **spec: object) -> Story:
    return await Story(folder).begin(**spec)


async def runs(told: Story, kind: TrailKind = TrailKind.ENTRY) -> list[Run]:
    found = await told.recorder.decisions(DecisionQuery())
    return [run for run in reversed(found) if run.kind is kind]


async def said(told: Story, kind: TrailKind = TrailKind.ENTRY) -> list[tuple[str, int]]:
    return [(run.reason, run.count) for run in await runs(told, kind)]


@pytest.mark.parametrize(
    ("state", "held", "closing", "connected", "reason"),
    [
        (TradingState.STOPPED, True, False, True, "STOPPED"),
        (TradingState.RUNNING, False, False, True, "NOT_LEADING"),
        (TradingState.RUNNING, True, True, True, "NOT_LEADING"),
        (TradingState.RUNNING, True, False, False, "BROKER_DISCONNECTED"),
    ],
)
async def test_an_evaluation_that_does_not_take_place_says_why(
    folder: Path, state: TradingState, held: bool, closing: bool, connected: bool, reason: str
) -> None:
    told = await story(folder)
    gate = told.world.gate
    gate.asked, told.world.fence.held, gate.closing, gate.broker_connected = state, held, closing, connected
    await told.tick(*RISING)
    await told.tick(*RISING)
    assert await said(told) == [(reason, 2)]
    await told.end()


async def test_what_a_strategy_said_and_what_came_of_it_is_one_entry(folder: Path) -> None:
    told = await story(folder, minConfidence=0.99)
    await told.tick(*FLAT)
    await told.tick(*FLAT)
    await told.tick(*RISING)
    await told.tick(100.0, 101.0)
    found = await runs(told)
    assert [(run.reason, run.count, run.detail) for run in found] == [
        ("NO_SIGNAL", 2, ""),
        ("LOW_CONFIDENCE", 1, "Buy with confidence 0.88 (+3.00% over 2 bars)"),
        ("WARMUP", 1, ""),
    ]
    await told.end()


async def test_a_signal_that_waited_says_how_its_wait_ended_and_its_end_follows_from_its_inputs(folder: Path) -> None:
    told = await story(folder)
    told.world.gate.in_sync = False
    await told.tick(*RISING)
    await told.tick(*FLAT)
    await told.tick(*RISING)
    told.world.take(scheduler_manifest(generation=2), strategy_manifest())
    await told.tick(*FLAT)
    assert [(reason, count) for reason, count in await said(told)] == [
        ("RECONCILING", 1),
        ("EXPIRED", 1),
        ("NO_SIGNAL", 1),
        ("RECONCILING", 1),
        ("SUPERSEDED", 1),
        ("NO_SIGNAL", 1),
    ]
    lines = "\n".join(explain_runs(list(reversed(await runs(told)))))
    assert "EXPIRED, the signal's lifetime is over (Buy with confidence 0.88 (+3.00% over 2 bars), it waited" in lines
    assert "a resource or the leadership changed while it waited" in lines
    await told.end()
    report = told.audit()
    assert ([each.sentence() for each in report.differences], dict(report.untested)) == ([], {})


async def test_a_signal_that_finds_no_room_to_wait_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue.keep, "__kwdefaults__", {**queue.keep.__kwdefaults__, "capacity": 0})
    told = await story(folder)
    told.world.gate.in_sync = False
    await told.tick(*RISING)
    assert await said(told) == [("QUEUE_FULL", 1), ("RECONCILING", 1)]
    await told.end()
    assert told.audit().differences == []


async def test_a_position_says_at_each_look_why_it_is_held_or_left(folder: Path) -> None:
    told = await story(folder)
    await told.tick(*RISING)
    await told.fill()
    await told.look(102.5)
    await told.look(103.5)
    told.world.market.prices.clear()
    told.world.clock.set(at(180))
    await told.world.exits.check()
    told.minute = 4
    told.world.gate.broker_connected = False
    await told.look(90.0)
    told.world.gate.broker_connected = True
    told.world.broker.says(IBM=1)
    await told.look(90.0)
    told.world.broker.says(AAPL=77)
    await told.look(90.0)
    await told.look(90.0)
    assert await said(told, TrailKind.EXIT) == [
        ("HOLD", 2),
        ("NO_PRICE", 1),
        ("BROKER_DISCONNECTED", 1),
        ("GONE", 1),
        ("STOP_LOSS", 1),
        ("LEAVING", 1),
    ]
    left = next(run for run in await runs(told, TrailKind.EXIT) if run.reason == "STOP_LOSS")
    assert left.order_ref == told.world.broker.refs[-1]
    await told.end()


async def test_a_position_that_nobody_may_leave_says_so(folder: Path) -> None:
    told = await story(folder)
    await told.tick(*RISING)
    await told.fill()
    told.world.gate.asked = TradingState.STOPPED
    await told.look(90.0)
    told.world.gate.asked = TradingState.RUNNING
    told.world.fence.held = False
    await told.look(90.0)
    told.world.fence.held = True
    told.world.take(scheduler_manifest(market={"calendar": "XNYS"}), strategy_manifest())
    told.world.situation.calendar = calendar_for("XNYS")
    told.world.clock.set(datetime(2026, 3, 7, 12, tzinfo=T0.tzinfo))  # a Saturday
    await told.world.exits.check()
    assert await said(told, TrailKind.EXIT) == [("STOPPED", 1), ("NOT_LEADING", 1), ("MARKET_CLOSED", 1)]
    await told.end()


async def test_a_stop_that_was_asked_for_leaves_by_its_own_reason(folder: Path) -> None:
    told = await story(folder)
    await told.tick(*RISING)
    await told.fill()
    told.world.gate.flattening = True
    await told.look(103.0)
    assert await said(told, TrailKind.EXIT) == [("FLATTEN", 1)]
    await told.end()


# -- the loops


async def evaluate(told: Story, *ticks: Tick) -> Loops:
    """The evaluation loop, whose ticker gives these ticks and no more."""
    world = told.world
    loops = Loops(world.situation, world.evaluation, world.exits, world.clock, world.metrics, told.recording)
    left = list(ticks)

    async def wait() -> Tick:
        if not left:
            raise asyncio.CancelledError
        return left.pop(0)

    loops.evaluation_ticker.wait = wait  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await loops.evaluate()
    return loops


def tick(**changes: object) -> Tick:
    return replace(Tick(T0, 0.0, at(-60)), **changes)  # type: ignore[arg-type]


async def test_a_tick_that_came_too_late_says_so(folder: Path) -> None:
    told = await story(folder)
    late = tick(due=at(-50), lateness_seconds=50.0, since=at(-110))
    await evaluate(told, late, late)
    assert await said(told) == [("TICK_SKIPPED", 2)]
    await told.end()


async def test_a_closed_market_says_so(folder: Path) -> None:
    told = await story(folder, market={"calendar": "XNYS"})
    told.world.situation.calendar = calendar_for("XNYS")
    told.world.clock.set(datetime(2026, 3, 7, 12, tzinfo=T0.tzinfo))  # a Saturday
    await evaluate(told, tick(is_poked=True))
    assert await said(told) == [("MARKET_CLOSED", 1)]
    await told.end()


async def test_strategies_that_are_off_say_so_although_no_tick_asks_them(folder: Path) -> None:
    told = await story(folder)
    loops = await evaluate(told)
    told.world.gate.strategies = {"trend": TradingState.STOPPED}
    loops.note_idle()
    told.world.gate.asked = TradingState.STOPPED
    loops.note_idle()
    told.world.gate.asked = TradingState.RUNNING
    told.world.gate.strategies = {"trend": TradingState.RUNNING}
    loops.note_idle()
    assert await said(told) == [("STRATEGY_PAUSED", 1), ("STOPPED", 1)]
    await told.end()


async def test_a_recorder_that_loses_everything_changes_no_trade(folder: Path) -> None:
    told = await story(folder)
    told.recorder.close()
    await told.tick(*RISING)
    await told.fill()
    await told.look(90.0)
    await told.fill()
    told.recording.split(T0, "AAPL", Decimal(2))
    assert [intent.reason for intent in told.world.broker.sent] == ["+3.00% over 2 bars", "STOP_LOSS"]
    await told.end()
