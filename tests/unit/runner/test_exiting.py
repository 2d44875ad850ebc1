"""The exit check: one look, the right quantity, and what the broker no longer holds is let go."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from fakes.trading import World, scheduler_manifest, strategy_manifest
from fakes.values import at, make_fill, make_intent, make_update, ref
from openbell.brokers.base import ConnectionChanged
from openbell.domain.orders import IntentState, OrderUpdate, Side
from openbell.domain.policies import encode_policy
from openbell.domain.positions import ExitPolicy, TrailingStop
from openbell.domain.state import TradingState


@pytest.fixture
async def holding(world: World) -> World:
    """Ten AAPL at 100, which the broker confirms; the stop is at 98, the target at 104."""
    world.take(scheduler_manifest(), strategy_manifest())
    await world.hold("a")
    world.broker.says(AAPL=10)
    world.broker.sent.clear()
    return world


async def test_a_price_at_the_stop_sells_the_lot(holding: World) -> None:
    holding.market.prices["AAPL"] = 97.9
    await holding.exits.check()
    (intent,) = holding.broker.sent
    assert (intent.side, intent.quantity, intent.reason) == (Side.SELL, Decimal(10), "STOP_LOSS")
    assert intent.position_id == "p-a"


async def test_a_price_between_stop_and_target_holds(holding: World) -> None:
    holding.market.prices["AAPL"] = 101.0
    await holding.exits.check()
    assert holding.broker.sent == []


async def test_a_position_is_not_left_twice(holding: World) -> None:
    holding.market.prices["AAPL"] = 97.0
    await holding.exits.check()
    await holding.exits.check()
    assert len(holding.broker.sent) == 1


async def test_after_a_partial_exit_the_rest_is_left_by_another_order(holding: World) -> None:
    holding.market.prices["AAPL"] = 97.0
    await holding.exits.check()
    first = holding.broker.sent[0].order_ref
    sold = make_fill("x2", side=Side.SELL, quantity=Decimal(6))
    await holding.desk.on_fill(replace(sold, order_ref=first))
    await holding.desk.on_update(OrderUpdate(first, IntentState.CANCELLED, "b2", Decimal(6)))
    holding.broker.says(AAPL=4)
    await holding.exits.check()
    assert [(intent.quantity, intent.order_ref != first) for intent in holding.broker.sent] == [
        (Decimal(10), False),
        (Decimal(4), True),
    ]


async def test_never_more_is_sold_than_the_broker_holds(holding: World) -> None:
    holding.broker.says(AAPL=3)
    holding.market.prices["AAPL"] = 97.0
    await holding.exits.check()
    assert holding.broker.sent[0].quantity == 3


async def test_two_lots_of_a_symbol_never_sell_the_same_shares(holding: World) -> None:
    await holding.hold("b", strategy="fade")
    holding.broker.sent.clear()
    holding.broker.says(AAPL=14)  # somebody has sold six by hand
    holding.market.prices["AAPL"] = 97.0
    await holding.exits.check()
    assert sum(intent.quantity for intent in holding.broker.sent) == 14
    await holding.exits.check()
    assert len(holding.broker.sent) == 2


async def test_an_unknown_position_at_the_broker_does_not_stop_an_exit(holding: World) -> None:
    holding.broker.mute()
    holding.market.prices["AAPL"] = 97.0
    await holding.exits.check()
    assert holding.broker.sent[0].quantity == 10


async def test_a_position_that_the_broker_has_twice_shown_flat_leaves_monitoring(holding: World) -> None:
    holding.broker.says()
    holding.market.prices["AAPL"] = 97.0
    await holding.exits.check()
    assert "p-a" in holding.ledger.positions
    await holding.exits.check()
    assert holding.ledger.positions == {}
    assert holding.broker.sent == []
    assert [trade.exit_reason for trade in holding.ledger.trades] == ["BROKER"]
    assert (await holding.journal.load()).positions == ()


async def test_one_look_at_a_flat_account_between_two_others_counts_for_nothing(holding: World) -> None:
    for held in (0, 10, 0):
        holding.broker.says(AAPL=held)
        await holding.exits.check()
    assert "p-a" in holding.ledger.positions


async def test_a_journal_that_fails_keeps_no_exit_from_going_out(holding: World) -> None:
    await holding.hold("b", symbol="MSFT", strategy="other")
    position = holding.ledger.positions["p-b"]
    holding.ledger.put_position(replace(position, symbol="MSFT"))
    holding.broker.sent.clear()
    holding.market.prices["MSFT"] = 97.0
    holding.broker.says(MSFT=10)  # AAPL is gone, MSFT has to be left
    holding.journal.is_failing = True
    await holding.exits.check()
    assert [intent.symbol for intent in holding.broker.sent] == ["MSFT"]
    await holding.exits.check()
    # What is gone is not given up: without the journal, nobody can tell a fill that was missed from a loss.
    assert "p-a" in holding.ledger.positions
    holding.journal.is_failing = False
    await holding.exits.check()
    assert "p-a" not in holding.ledger.positions


@pytest.mark.parametrize(
    "change",
    [
        {"asked": TradingState.PAUSED},
        {"held": TradingState.PAUSED},
        {"in_sync": False},
        {"journal_lost": True},
        {"state_is_stale": True},
        {"strategies": {}},
        {"closing": True},
    ],
)
async def test_what_holds_entries_does_not_hold_exits(holding: World, change: dict[str, object]) -> None:
    for name, value in change.items():
        setattr(holding.gate, name, value)
    holding.market.prices["AAPL"] = 97.0
    await holding.exits.check()
    assert len(holding.broker.sent) == 1


@pytest.mark.parametrize("change", ["stopped", "not leading", "halted"])
async def test_the_three_things_that_hold_exits_are_named_as_a_condition(holding: World, change: str) -> None:
    holding.fence.held = change != "not leading"
    holding.gate.exits_halted_while_paused = change == "halted"
    if change != "not leading":
        holding.gate.asked = TradingState.STOPPED if change == "stopped" else TradingState.PAUSED
    holding.market.prices["AAPL"] = 97.0
    await holding.exits.check()
    assert holding.broker.sent == []
    reason, message = holding.situation.unmonitored() or ("", "")
    assert (
        reason == {"stopped": "StoppedKeepingPositions", "not leading": "NotLeading", "halted": "ExitsHalted"}[change]
    )
    assert message == "1 position(s) without exits: AAPL"


@pytest.mark.parametrize("flattening", [False, True])
async def test_without_a_connection_an_exit_waits_and_nothing_is_written(holding: World, flattening: bool) -> None:
    holding.gate.flattening = flattening
    holding.comparison.on_connection(ConnectionChanged(False, "gone"))
    holding.broker.is_connected = False
    holding.broker.mute()
    holding.market.prices["AAPL"] = 97.0
    orders = await holding.journal.orders(10)
    sequence = holding.ledger.positions["p-a"].exit_sequence
    for _ in range(3):
        await holding.exits.check()
    assert await holding.journal.orders(10) == orders
    assert holding.ledger.positions["p-a"].exit_sequence == sequence
    holding.broker.is_connected = True
    holding.broker.says(AAPL=10)
    poked: list[bool] = []
    holding.comparison.on_connected = lambda: poked.append(holding.gate.broker_connected)
    holding.comparison.on_connection(ConnectionChanged(True, "back"))
    assert poked == [True], "the exit loop is woken when the gate knows of the connection"
    await holding.exits.check()
    assert [intent.reason for intent in holding.broker.sent] == ["STOP_LOSS"]


async def test_without_a_connection_a_trailing_stop_still_follows_the_price(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    policy = encode_policy(ExitPolicy(trailing=TrailingStop(0.01, 0.01), take_profit=None))
    await world.desk.place([make_intent("a", exits=policy)])
    await world.desk.on_fill(make_fill("x1", "a"))
    world.gate.broker_connected = False
    world.market.prices["AAPL"] = 110.0
    await world.exits.check()
    assert (await world.journal.load()).positions[0].best_price == 110


async def test_flattening_leaves_whatever_the_price(holding: World) -> None:
    holding.gate.asked = TradingState.STOPPED
    holding.gate.flattening = True
    await holding.exits.check()
    assert [intent.reason for intent in holding.broker.sent] == ["FLATTEN"]


async def test_without_a_price_the_time_rules_still_leave(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    policy = encode_policy(ExitPolicy(max_holding_seconds=60))
    await world.desk.place([make_intent("a", exits=policy)])
    await world.desk.on_fill(make_fill("x1", "a"))
    world.broker.says(AAPL=10)
    world.market.prices.clear()
    world.clock.set(at(61))
    await world.exits.check()
    assert [intent.reason for intent in world.broker.sent[1:]] == ["MAX_HOLDING"]
    assert world.situation.data.quotes_problem == "no price of AAPL: no quote"


async def test_a_trailing_stop_keeps_its_best_price_over_a_restart(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    policy = encode_policy(ExitPolicy(trailing=TrailingStop(0.01, 0.01), take_profit=None))
    await world.desk.place([make_intent("a", exits=policy)])
    await world.desk.on_update(make_update(IntentState.WORKING))
    await world.desk.on_fill(make_fill("x1", "a"))
    world.broker.says(AAPL=10)
    world.market.prices["AAPL"] = 110.0
    await world.exits.check()
    assert (await world.journal.load()).positions[0].best_price == 110
    world.market.prices["AAPL"] = 108.8
    await world.exits.check()
    assert [intent.reason for intent in world.broker.sent[1:]] == ["TRAILING_STOP"]


async def test_without_positions_nobody_is_asked(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    calls = len(world.journal.calls)
    await world.exits.check()
    assert len(world.journal.calls) == calls
    assert ref("a") not in world.broker.refs


async def test_the_levels_armed_for_a_replay_are_past_the_exact_rule(holding: World) -> None:
    (armed,) = holding.exits.armed()["AAPL"]
    assert (armed.is_long, armed.stop, armed.target) == (True, 98.0, 104.0)
