"""A change of state, carried through: gate at once, acknowledged only when nothing is unanswered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fakes.trading import World, until
from fakes.values import make_intent, make_position, make_update, ref
from openbell.domain.orders import IntentState, OrderUpdate
from openbell.domain.state import TradingState
from openbell.runner.supervisor import Acknowledged, Wanted

RUNNING, PAUSED, STOPPED = TradingState.RUNNING, TradingState.PAUSED, TradingState.STOPPED


def wanted(generation: int, state: TradingState, **changes: bool) -> Wanted:
    values = {"cancel_entries": True, "flatten": False, "halt_exits_while_paused": False}
    return Wanted(generation, state, **(values | changes))


@pytest.fixture
async def supervised(world: World) -> AsyncIterator[World]:
    """A running scheduler whose supervisor works; generation 1 is acknowledged."""
    working = asyncio.create_task(world.supervisor.run())
    world.supervisor.want(wanted(1, RUNNING))
    await until(lambda: world.supervisor.acknowledged == Acknowledged(1, RUNNING))
    yield world
    working.cancel()


async def acknowledged(world: World, generation: int, state: TradingState) -> None:
    await until(lambda: world.supervisor.acknowledged == Acknowledged(generation, state))


async def test_the_gate_closes_in_the_step_that_reads_the_pause(supervised: World) -> None:
    supervised.supervisor.want(wanted(2, PAUSED))
    assert supervised.gate.state is PAUSED


async def test_a_pause_with_nothing_under_way_is_acknowledged(supervised: World) -> None:
    supervised.supervisor.want(wanted(2, PAUSED))
    await acknowledged(supervised, 2, PAUSED)
    assert await supervised.supervisor.wait_acknowledged(2, 5)


async def test_a_pause_drains_until_every_send_is_answered_and_names_what_it_waits_for(supervised: World) -> None:
    await supervised.desk.place([make_intent("a")])
    supervised.supervisor.want(wanted(2, PAUSED, cancel_entries=False))
    assert supervised.supervisor.acknowledged == Acknowledged(1, RUNNING)
    assert supervised.supervisor.draining == f"waiting for the broker's answer on {ref('a')}"
    assert not await supervised.supervisor.wait_acknowledged(2, 0.01)
    await supervised.desk.on_update(make_update(IntentState.WORKING))
    await acknowledged(supervised, 2, PAUSED)


async def test_an_order_in_doubt_keeps_draining(supervised: World) -> None:
    await supervised.desk.place([make_intent("a")])
    supervised.desk.doubt([ref("a")])
    supervised.supervisor.want(wanted(2, PAUSED))
    supervised.supervisor.nudge()
    await asyncio.sleep(0.01)
    assert supervised.supervisor.acknowledged == Acknowledged(1, RUNNING)
    await supervised.desk.on_update(OrderUpdate(ref("a"), IntentState.WITHDRAWN, ""))
    await acknowledged(supervised, 2, PAUSED)


async def test_a_pause_cancels_working_entries_and_waits_for_the_broker_to_say_so(supervised: World) -> None:
    await supervised.desk.place([make_intent("a")])
    await supervised.desk.on_update(make_update(IntentState.WORKING))
    supervised.supervisor.want(wanted(2, PAUSED))
    await until(lambda: supervised.broker.cancelled == [ref("a")])
    assert supervised.supervisor.acknowledged == Acknowledged(1, RUNNING)
    await supervised.desk.on_update(make_update(IntentState.CANCELLED))
    await acknowledged(supervised, 2, PAUSED)


async def test_a_pause_that_keeps_orders_cancels_none(supervised: World) -> None:
    await supervised.desk.place([make_intent("a")])
    await supervised.desk.on_update(make_update(IntentState.WORKING))
    supervised.supervisor.want(wanted(2, PAUSED, cancel_entries=False))
    await acknowledged(supervised, 2, PAUSED)
    assert supervised.broker.cancelled == []


async def test_a_stop_cancels_entries_whatever_the_pause_policy_says(supervised: World) -> None:
    await supervised.desk.place([make_intent("a")])
    await supervised.desk.on_update(make_update(IntentState.WORKING))
    supervised.supervisor.want(wanted(2, STOPPED, cancel_entries=False))
    await until(lambda: supervised.broker.cancelled == [ref("a")])


async def test_an_entry_that_comes_after_all_is_cancelled_although_the_pause_is_acknowledged(supervised: World) -> None:
    await supervised.desk.place([make_intent("a")])
    await supervised.desk.on_update(OrderUpdate(ref("a"), IntentState.WITHDRAWN, ""))
    supervised.supervisor.want(wanted(2, PAUSED))
    await acknowledged(supervised, 2, PAUSED)
    await supervised.desk.on_update(make_update(IntentState.WORKING))
    await until(lambda: supervised.broker.cancelled == [ref("a")])


async def test_a_newer_generation_outruns_one_that_is_settling(supervised: World) -> None:
    await supervised.desk.place([make_intent("a")])
    supervised.supervisor.want(wanted(2, PAUSED))
    supervised.supervisor.want(wanted(3, RUNNING))
    await acknowledged(supervised, 3, RUNNING)
    assert supervised.gate.state is RUNNING
    assert await supervised.supervisor.wait_acknowledged(2, 5), "a superseded generation counts as acknowledged"


@pytest.mark.parametrize("state", [RUNNING, PAUSED, STOPPED])
async def test_every_generation_is_acknowledged_also_one_that_changed_something_else(
    supervised: World, state: TradingState
) -> None:
    for generation in (2, 3, 4):
        supervised.supervisor.want(wanted(generation, state))
        await acknowledged(supervised, generation, state)


async def test_flattening_ends_when_nothing_is_held_and_nothing_is_under_way(supervised: World) -> None:
    await supervised.hold("a")
    supervised.supervisor.want(wanted(2, STOPPED, flatten=True))
    await asyncio.wait_for(supervised.supervisor.flatten_asked.wait(), 5)
    assert supervised.gate.flattening
    assert supervised.supervisor.draining == "flattening 1 position(s)"
    assert supervised.gate.exit_blocked() is None
    supervised.ledger.positions.clear()
    supervised.supervisor.nudge()
    await acknowledged(supervised, 2, STOPPED)
    assert not supervised.gate.flattening


async def test_a_stop_by_rest_flattens_too(supervised: World) -> None:
    await supervised.hold("a")
    supervised.supervisor.hold(STOPPED)
    supervised.supervisor.want(wanted(2, STOPPED, flatten=True))
    supervised.supervisor.hold_until(2)
    assert supervised.gate.flattening


async def test_flattening_that_a_restart_cut_short_goes_on(world: World) -> None:
    world.gate.asked = STOPPED  # as a gate begins
    world.ledger.put_position(make_position("a"))
    world.supervisor.want(wanted(5, STOPPED, flatten=True))
    assert world.gate.flattening
    assert world.supervisor.acknowledged is None


async def test_a_policy_that_changes_while_stopped_sells_nothing(supervised: World) -> None:
    await supervised.hold("a")
    supervised.supervisor.want(wanted(2, STOPPED))
    supervised.supervisor.want(wanted(3, STOPPED, flatten=True))
    assert not supervised.gate.flattening


async def test_starting_again_ends_flattening(supervised: World) -> None:
    await supervised.hold("a")
    supervised.supervisor.want(wanted(2, STOPPED, flatten=True))
    supervised.supervisor.want(wanted(3, RUNNING, flatten=True))
    assert (supervised.gate.flattening, supervised.gate.state) == (False, RUNNING)


# -- holding by REST


async def test_a_hold_closes_the_gate_and_ends_when_the_resource_says_it(supervised: World) -> None:
    supervised.supervisor.hold(PAUSED)
    assert supervised.gate.state is PAUSED
    supervised.supervisor.hold_until(3)
    supervised.supervisor.want(wanted(2, RUNNING))
    assert supervised.gate.state is PAUSED, "generation 2 is from before the pause"
    supervised.supervisor.want(wanted(3, PAUSED))
    assert (supervised.gate.held, supervised.gate.state) == (RUNNING, PAUSED)
    supervised.supervisor.want(wanted(4, RUNNING))
    assert supervised.gate.state is RUNNING


async def test_a_hold_whose_generation_was_seen_first_ends_at_once(supervised: World) -> None:
    supervised.supervisor.hold(PAUSED)
    supervised.supervisor.want(wanted(2, PAUSED))
    supervised.supervisor.hold_until(2)
    assert supervised.gate.held is RUNNING
    assert supervised.gate.state is PAUSED


async def test_a_hold_without_a_generation_stays(supervised: World) -> None:
    supervised.supervisor.hold(STOPPED)
    supervised.supervisor.want(wanted(9, RUNNING))
    assert supervised.gate.state is STOPPED
