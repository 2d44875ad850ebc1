"""The kill switch: reduce-only at once, acknowledged by the condition Paused, and exits go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fakes.trading import World, scheduler_manifest, strategy_manifest, until
from fakes.values import make_intent, make_update, ref
from openbell.domain.orders import IntentKind, IntentState, OrderUpdate
from openbell.domain.reasons import Reason
from openbell.domain.state import TradingState
from openbell.resources.conditions import SchedulerCondition

KILL = {"risk": {"killSwitch": True}}


@pytest.fixture
async def trading(world: World) -> AsyncIterator[World]:
    """Generation 1 trades."""
    working = asyncio.create_task(world.supervisor.run())
    world.take(scheduler_manifest(), strategy_manifest())
    yield world
    working.cancel()


def paused(world: World) -> tuple[str, str]:
    conditions = world.situation.refresh_conditions()
    (found,) = [condition for condition in conditions if condition.type is SchedulerCondition.PAUSED]
    return found.status.value, found.reason


async def test_every_entry_is_refused_at_once_and_every_exit_is_sent(trading: World) -> None:
    await trading.hold("held")
    trading.take(scheduler_manifest(generation=2, **KILL), strategy_manifest())
    assert trading.gate.entry_blocked("trend") is Reason.KILL_SWITCH
    assert trading.gate.exit_blocked() is None
    leaving = make_intent("x", kind=IntentKind.EXIT, position_id="p-held")
    outcome = await trading.desk.place([make_intent("e"), leaving])
    assert outcome == {ref("e"): Reason.KILL_SWITCH, ref("x"): Reason.ORDERED}


async def test_working_entries_are_cancelled_and_then_it_is_acknowledged(trading: World) -> None:
    assert paused(trading) == ("False", "Running")
    await trading.desk.place([make_intent("a")])
    await trading.desk.on_update(make_update(IntentState.WORKING))
    trading.take(scheduler_manifest(generation=2, **KILL), strategy_manifest())
    await until(lambda: trading.broker.cancelled == [ref("a")])
    assert paused(trading) == ("False", "Draining")
    assert trading.situation.why() == f"waiting for the broker's answer on {ref('a')}"
    await trading.desk.on_update(OrderUpdate(ref("a"), IntentState.CANCELLED, "b1"))
    assert await trading.supervisor.wait_acknowledged(2, 5)
    assert paused(trading) == ("True", "KillSwitch")
    assert trading.situation.why() == "the kill switch is on: positions are only reduced, exits go on"
    assert not trading.situation.can_run()


async def test_it_holds_also_where_a_pause_would_keep_working_entries(trading: World) -> None:
    await trading.desk.place([make_intent("a")])
    await trading.desk.on_update(make_update(IntentState.WORKING))
    keeps = {"pausePolicy": {"openOrders": "Keep"}}
    trading.take(scheduler_manifest(generation=2, **KILL, **keeps), strategy_manifest())
    await until(lambda: trading.broker.cancelled == [ref("a")])


async def test_it_is_taken_back_by_the_spec_alone(trading: World) -> None:
    trading.take(scheduler_manifest(generation=2, **KILL), strategy_manifest())
    trading.take(scheduler_manifest(generation=3), strategy_manifest())
    assert trading.gate.entry_blocked("trend") is None
    assert trading.gate.state is TradingState.RUNNING
    assert paused(trading) == ("False", "Running")
