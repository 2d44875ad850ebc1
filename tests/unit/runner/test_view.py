"""What the API shows of a runner, and the strategies that it adds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fakes.source import FakeSource
from fakes.trading import World, scheduler_manifest, strategy_manifest
from fakes.values import T0, make_intent, make_signal
from openbell.domain.errors import ManifestError
from openbell.domain.orders import IntentState, OrderType, OrderUpdate
from openbell.domain.policies import encode_policy
from openbell.domain.positions import ExitPolicy
from openbell.domain.reasons import Reason
from openbell.domain.state import TradingState
from openbell.market.calendar import calendar_for
from openbell.resources.strategy import StrategyType
from openbell.runner.documents import scheduler_document
from openbell.runner.ledger import SignalRecord
from openbell.runner.lifecycle import Lifecycle
from openbell.runner.pulse import Pulse
from openbell.runner.view import View
from openbell.telemetry.logs import LogTail
from openbell.web.hub import Hub
from openbell.web.values import StrategyRequest


@dataclass
class Desk:
    world: World
    source: FakeSource
    view: View


@pytest.fixture
def desk(world: World, folder: Path) -> Desk:
    """A running scheduler with one strategy."""
    world.take(scheduler_manifest(), strategy_manifest())
    source = FakeSource(
        lambda generation, spec: world.take(scheduler_manifest(generation=generation, **spec), strategy_manifest())
    )
    view = View(
        situation=world.situation,
        source=source,  # type: ignore[arg-type]
        lifecycle=Lifecycle(source, world.supervisor, folder),  # type: ignore[arg-type]
        locking=world.locking,
        journal=world.journal,
        clock=world.clock,
        real_clock=world.clock,
        metrics_registry=world.metrics,
        tail=LogTail(),
        pulse=Pulse(world.clock),
        hub=Hub(clock=world.clock),
    )
    return Desk(world, source, view)


# -- strategies


def request(**changes: Any) -> StrategyRequest:
    values: dict[str, Any] = {"type": "Momentum", "symbols": ("BRK.B", "AAPL"), "parameters": {"lookback": 5}}
    return StrategyRequest(**(values | changes))


async def test_a_strategy_is_added_under_this_scheduler_with_what_was_asked(desk: Desk) -> None:
    shown = await desk.view.add_strategy(request(name="mine", min_confidence=0.7, bar_seconds=300))
    (document,) = desk.source.created
    assert document["metadata"] == {"name": "mine"}
    assert document["spec"] == {
        "schedulerRef": {"name": "main"},
        "enabled": True,
        "type": "Momentum",
        "parameters": {"lookback": 5},
        "symbols": ["BRK.B", "AAPL"],
        "barSeconds": 300,
        "minConfidence": 0.7,
    }
    assert (shown.name, shown.bar_seconds, shown.parameters["lookback"]) == ("mine", 300, 5)


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        ((), "momentum-brk-b"),
        (("momentum-brk-b",), "momentum-brk-b-2"),
        (("momentum-brk-b", "momentum-brk-b-2"), "momentum-brk-b-3"),
    ],
)
async def test_a_name_is_made_up_that_is_not_taken(desk: Desk, taken: tuple[str, ...], name: str) -> None:
    desk.world.take(scheduler_manifest(), *(strategy_manifest(each) for each in taken))
    await desk.view.add_strategy(request())
    assert desk.source.created[0]["metadata"]["name"] == name


async def test_wrong_parameters_are_refused_before_anything_is_made(desk: Desk) -> None:
    with pytest.raises(ManifestError, match=r"spec\.parameters\.lookbak is not a parameter of Momentum"):
        await desk.view.add_strategy(request(parameters={"lookbak": 5}))
    assert desk.source.created == []


async def test_a_custom_strategy_is_added_with_its_source_and_waits_for_a_config_map_that_nobody_named_before(
    desk: Desk,
) -> None:
    source = {"type": "ConfigMap", "configMap": {"name": "streaks", "key": "strategy.py"}, "class": "Streak"}
    shown = await desk.view.add_strategy(request(type="Custom", parameters={"bars": 4}, source=source))
    (document,) = desk.source.created
    assert (document["spec"]["type"], document["spec"]["source"]) == ("Custom", source)
    assert document["metadata"]["name"] == "custom-brk-b"
    assert (shown.type, shown.why) == ("Custom", "the ConfigMap streaks has not been read yet")
    assert set(desk.view.strategy_types()) == {each.value for each in StrategyType}


async def test_before_the_scheduler_is_known_no_strategy_is_added(desk: Desk) -> None:
    desk.world.situation.control = None
    with pytest.raises(ManifestError, match="not been read yet"):
        await desk.view.add_strategy(request())


# -- what is shown


async def test_the_status_shows_what_is_asked_and_what_is_acknowledged(desk: Desk) -> None:
    await desk.world.desk.place([make_intent("a")])
    await desk.view.pause(0)
    shown = desk.view.status()
    assert (shown.state, shown.paused, shown.generation, shown.observed_generation) == (
        TradingState.PAUSED,
        True,
        2,
        1,
    )
    assert shown.why.startswith("waiting for the broker's answer")


async def test_a_signal_whose_confidence_is_none_can_still_be_shown(desk: Desk) -> None:
    record = SignalRecord(make_signal(confidence=float("nan")), T0, Reason.INVALID_SIGNAL, "")
    desk.world.ledger.note_signal(record)
    (shown,) = desk.view.signals(10)
    assert json.dumps(shown.confidence, allow_nan=False) == "0.0"


async def test_signals_come_newest_first_and_no_more_than_asked(desk: Desk) -> None:
    for number in range(5):
        record = SignalRecord(make_signal(reason=str(number)), T0, Reason.PAUSED, "")
        desk.world.ledger.note_signal(record)
    assert [shown.reason for shown in desk.view.signals(2)] == ["4", "3"]
    assert desk.view.signals(0) == []


async def test_the_page_is_ready_while_the_journal_can_be_written(desk: Desk) -> None:
    assert desk.view.readiness().checks[0].ok
    desk.world.gate.journal_open = False
    assert not desk.view.readiness().checks[0].ok


async def test_a_market_without_closing_hours_has_no_next_open_or_close(desk: Desk) -> None:
    def hours() -> tuple[bool, bool, bool]:
        shown = desk.view.status()
        return shown.is_market_hours, shown.next_open is None, shown.next_close is None

    desk.world.situation.calendar = calendar_for("XNYS")
    assert hours() == (True, False, False)
    desk.world.situation.calendar = calendar_for("Always")
    assert hours() == (True, True, True)
    document = scheduler_document(desk.world.situation, pod="p", owner_tag="o")["market"]
    assert document == {"open": True, "summary": "market always open"}


async def test_a_position_is_shown_as_protected_once_the_broker_has_its_stop(desk: Desk) -> None:
    world = desk.world
    world.comparison.is_certain = True
    await world.hold("a", exits=encode_policy(ExitPolicy(broker_side=True)))
    world.broker.says(AAPL=10)

    def shown() -> tuple[bool, bool]:
        (position,) = desk.view.portfolio().positions
        return position.is_protected, position.broker_side

    assert shown() == (False, True)
    await world.exits.check()
    assert shown() == (False, True), "sent, and not acknowledged"
    stop = next(each for each in world.broker.sent if each.order_type is OrderType.STOP)
    await world.desk.on_update(OrderUpdate(stop.order_ref, IntentState.WORKING, "b", terms=stop.terms))
    assert shown() == (True, True)


# -- money


async def test_money_is_told_by_both_ways_and_lots_by_fifo(desk: Desk) -> None:
    world = desk.world
    unknown = await desk.view.money()
    assert (unknown.realized_today, unknown.realized_total_fifo, await desk.view.lots()) == (None, None, {})
    world.ledger.day_start = T0
    await world.hold("a")
    (position,) = world.ledger.open_positions()
    ((lot,),) = (await desk.view.lots()).values()
    assert (lot.quantity, lot.price) == (position.quantity, position.average_price)
    money = await desk.view.money()
    assert money.fees_total == position.fees > 0
    assert money.realized_total == money.realized_total_fifo == money.realized_today == -position.fees
    assert money.pnl_total == money.realized_total + money.unrealized
    assert money.unrealized_fifo == money.unrealized
