"""An order that nobody is certain of holds entries until the broker or a person says what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes.source import FakeSource
from fakes.trading import World, scheduler_manifest, strategy_manifest
from fakes.values import at, make_fill, make_intent, make_update, ref
from openbell.domain.errors import NotAllowedError
from openbell.domain.orders import IntentState
from openbell.runner.lifecycle import Lifecycle
from openbell.runner.pulse import Pulse
from openbell.runner.view import View
from openbell.telemetry.logs import LogTail
from openbell.web.errors import NotThereError
from openbell.web.hub import Hub

WEEKS = 3 * 7 * 86_400.0


def view_of(world: World, folder: Path) -> View:
    source: Any = FakeSource(lambda generation, spec: None)
    return View(
        situation=world.situation,
        source=source,
        lifecycle=Lifecycle(source, world.supervisor, folder),
        locking=world.locking,
        journal=world.journal,
        clock=world.clock,
        real_clock=world.clock,
        metrics_registry=world.metrics,
        tail=LogTail(),
        pulse=Pulse(world.clock),
        hub=Hub(clock=world.clock),
    )


async def in_doubt(world: World, *, was_acknowledged: bool = False) -> None:
    """An order whose fate the broker has forgotten, while the account holds what it may have bought."""
    world.take(scheduler_manifest(), strategy_manifest())
    await world.desk.place([make_intent("a")])
    if was_acknowledged:
        await world.desk.on_update(make_update(IntentState.WORKING))
    world.clock.set(at(WEEKS))
    world.broker.says(AAPL=10)
    world.gate.in_sync = False
    await world.comparison.compare()
    assert world.comparison.reason == "OrdersInDoubt"


def counted(world: World) -> float:
    return float(world.metrics.orders_in_doubt._value.get())


async def test_it_is_named_and_counted_and_a_person_is_told_what_to_do(world: World) -> None:
    await in_doubt(world)
    assert not world.gate.in_sync
    differs = "the broker holds 10 AAPL where we own 0"
    said = f"no final word of the broker on {ref('a')}, and {differs}; a person can settle it by openbell resolve"
    assert world.comparison.why == said
    assert counted(world) == 1


@pytest.mark.parametrize(
    ("was_sent", "state", "said"),
    [
        (True, IntentState.CANCELLED, "REST says that it was sent and is over"),
        (False, IntentState.WITHDRAWN, "REST says that it was never sent"),
    ],
)
async def test_a_persons_word_ends_it_and_is_written_down(
    world: World, folder: Path, was_sent: bool, state: IntentState, said: str
) -> None:
    await in_doubt(world)
    shown = await view_of(world, folder).resolve_order(ref("a"), was_sent=was_sent)
    assert (shown.state, shown.detail) == (state, said)
    record = await world.journal.record(ref("a"))
    assert record is not None
    assert (record.state, record.detail) == (state, said)
    assert world.desk.in_flight == {}
    world.broker.says()
    await world.comparison.compare()
    assert (world.gate.in_sync, counted(world)) == (True, 0)


async def test_what_the_broker_says_later_counts_all_the_same(world: World, folder: Path) -> None:
    await in_doubt(world)
    await view_of(world, folder).resolve_order(ref("a"), was_sent=True)
    fill = make_fill("x1", "a")
    world.broker.says(make_update(IntentState.FILLED, filled_quantity=fill.quantity), fills=[fill], AAPL=10)
    await world.comparison.compare()
    assert world.ledger.positions["p-a"].quantity == 10


async def test_what_the_broker_has_acknowledged_was_sent(world: World, folder: Path) -> None:
    await in_doubt(world, was_acknowledged=True)
    view = view_of(world, folder)
    with pytest.raises(NotAllowedError, match="has acknowledged order"):
        await view.resolve_order(ref("a"), was_sent=False)
    assert (await view.resolve_order(ref("a"), was_sent=True)).state is IntentState.CANCELLED


async def test_an_order_that_may_still_be_on_its_way_is_not_for_a_person_to_settle(world: World, folder: Path) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    await world.desk.place([make_intent("a")])
    world.clock.set(at(5))
    await world.comparison.compare()
    assert counted(world) == 0
    with pytest.raises(NotAllowedError, match="is not in doubt"):
        await view_of(world, folder).resolve_order(ref("a"), was_sent=False)


async def test_while_the_broker_does_not_answer_nobody_knows_what_is_in_doubt(world: World, folder: Path) -> None:
    await in_doubt(world)
    world.broker.mute()
    await world.comparison.compare()
    with pytest.raises(NotAllowedError, match="is not in doubt"):
        await view_of(world, folder).resolve_order(ref("a"), was_sent=False)


async def test_an_order_that_is_over_is_not_there(world: World, folder: Path) -> None:
    with pytest.raises(NotThereError, match="is not under way"):
        await view_of(world, folder).resolve_order(ref("z"), was_sent=True)
