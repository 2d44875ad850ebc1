"""Journal and broker in agreement: unknown changes nothing, a mismatch is named, entries wait until all is known."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from fakes.trading import World, until
from fakes.values import OWNER, at, make_fill, make_intent, make_position, make_update, ref
from openbell.brokers.base import ConnectionChanged
from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown
from openbell.domain.errors import JournalError
from openbell.domain.identity import exit_ref
from openbell.domain.orders import Fill, IntentKind, IntentState, OrderUpdate, Side
from openbell.domain.positions import BrokerPosition
from openbell.runner import comparison as comparisons

UP, DOWN = ConnectionChanged(True, ""), ConnectionChanged(False, "the cable is out")


async def test_a_new_connection_is_out_of_sync_until_it_was_compared(world: World) -> None:
    world.comparison.on_connection(UP)
    assert not world.gate.in_sync
    await world.comparison.compare()
    assert world.gate.in_sync
    assert world.comparison.reason == "InSync"


async def test_answers_of_the_connection_before_agree_with_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions = world.broker.positions

    async def late() -> Answer[tuple[BrokerPosition, ...]]:
        answer = await positions()
        world.comparison.on_connection(DOWN)
        world.comparison.on_connection(UP)
        return answer

    world.comparison.on_connection(UP)
    with monkeypatch.context() as once:
        once.setattr(world.broker, "positions", late)
        assert not await world.comparison.compare()
    assert not world.gate.in_sync

    assert await world.comparison.compare()
    assert world.gate.in_sync


async def test_fills_of_an_open_order_are_asked_for_however_old_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[datetime] = []

    async def fills(since: datetime) -> Answer[tuple[Fill, ...]]:
        asked.append(since)
        return ConfirmedEmpty()

    monkeypatch.setattr(world.broker, "fills", fills)
    await world.comparison.compare()
    await world.desk.place([make_intent("b")])
    world.clock.set(at(0) + timedelta(days=30))
    await world.comparison.compare()

    assert asked == [at(0) - timedelta(days=7), at(0) - timedelta(days=1)]


async def test_a_lost_connection_says_why_and_changes_nothing_else(world: World) -> None:
    await world.hold("a")
    await world.desk.place([make_intent("b")])
    world.comparison.on_connection(DOWN)
    assert (world.gate.broker_connected, world.gate.in_sync) == (False, False)
    assert (world.comparison.reason, world.comparison.why) == ("Disconnected", "the cable is out")
    assert world.ledger.positions["p-a"].quantity == 10
    assert world.desk.unanswered() == (ref("b"),)


async def test_an_unknown_answer_changes_no_state(world: World) -> None:
    await world.hold("a")
    await world.desk.place([make_intent("b")])
    world.desk.doubt([ref("b")])
    world.clock.set(at(60))
    world.broker.mute()
    before = (dict(world.ledger.positions), dict(world.desk.in_flight))
    await world.comparison.compare()
    assert (world.ledger.positions, world.desk.in_flight) == before
    assert world.gate.in_sync, "what was in agreement stays so until the broker says otherwise"


async def test_unknown_keeps_entries_waiting_after_a_reconnect(world: World) -> None:
    world.comparison.on_connection(UP)
    world.broker.mute("no answer within 5 s")
    await world.comparison.compare()
    assert not world.gate.in_sync
    assert world.comparison.reason == "Unknown"
    assert "no answer within 5 s" in world.comparison.why


async def test_one_unknown_answer_of_several_decides_nothing(world: World) -> None:
    await world.desk.place([make_intent("a")])
    world.clock.set(at(60))
    world.broker.fills_answer = Unknown("pacing")
    await world.comparison.compare()
    assert world.desk.unanswered() == (ref("a"),)


async def test_fills_that_were_missed_are_booked(world: World) -> None:
    await world.desk.place([make_intent("a")])
    world.comparison.on_connection(UP)
    filled = make_update(IntentState.FILLED, filled_quantity=Decimal(10))
    world.broker.says(filled, fills=[make_fill("x1", "a")], AAPL=10)
    await world.comparison.compare()
    assert world.ledger.positions["p-a"].quantity == 10
    assert world.desk.in_flight == {}
    assert world.gate.in_sync
    await world.comparison.compare()
    assert world.ledger.positions["p-a"].quantity == 10


async def test_an_order_that_the_broker_does_not_know_is_withdrawn_once_it_has_settled(world: World) -> None:
    await world.desk.place([make_intent("a")])
    world.clock.set(at(9))
    await world.comparison.compare()
    assert world.desk.unanswered() == (ref("a"),)
    world.clock.set(at(11))
    await world.comparison.compare()
    assert world.desk.in_flight == {}
    record = await world.journal.record(ref("a"))
    assert record is not None
    assert record.state is IntentState.WITHDRAWN
    assert world.broker.refs == [ref("a")]


async def test_an_order_in_doubt_is_named_after_a_reconnect(world: World) -> None:
    world.comparison.on_connection(UP)
    world.gate.in_sync = True
    await world.desk.place([make_intent("a", created_at=at(1))])
    world.gate.in_sync = False
    await world.comparison.compare()
    assert world.comparison.reason == "OrdersInDoubt"
    assert ref("a") in world.comparison.why


async def test_a_position_that_differs_is_named_with_both_quantities(world: World) -> None:
    await world.hold("a")
    world.broker.says(
        make_update(IntentState.FILLED, filled_quantity=Decimal(10)), fills=[make_fill("x-a", "a")], AAPL=7
    )
    await world.comparison.compare()
    assert not world.gate.in_sync
    assert world.comparison.reason == "PositionMismatch"
    assert world.comparison.why == "the broker holds 7 AAPL where we own 10"
    assert world.ledger.positions["p-a"].quantity == 10


async def test_what_the_account_holds_besides_ours_does_not_hold_entries(world: World) -> None:
    world.broker.says(AMZN=100)
    await world.comparison.compare()
    assert world.gate.in_sync


async def test_an_order_of_ours_that_the_journal_does_not_know_holds_entries(world: World) -> None:
    world.broker.says(OrderUpdate(ref("lost"), IntentState.WORKING, "b7"))
    await world.comparison.compare()
    assert (world.gate.in_sync, world.comparison.reason) == (False, "OrphanOrders")


async def test_somebody_elses_order_does_not_hold_entries(world: World) -> None:
    world.broker.says(OrderUpdate("by hand", IntentState.WORKING, "b7"))
    await world.comparison.compare()
    assert world.gate.in_sync


async def test_a_fill_between_two_answers_is_no_mismatch(world: World) -> None:
    await world.desk.place([make_intent("a")])
    await world.desk.on_update(make_update(IntentState.WORKING))
    world.broker.says(make_update(IntentState.WORKING))
    world.broker.while_asked = lambda: world.desk.on_fill(make_fill("x1", "a"))
    await world.comparison.compare()
    assert world.gate.in_sync
    assert world.comparison.why == "not compared yet"


async def test_what_is_under_way_explains_a_difference_for_the_moment(world: World) -> None:
    await world.desk.place([make_intent("a")])
    await world.desk.on_update(make_update(IntentState.WORKING))
    world.broker.says(make_update(IntentState.WORKING), AAPL=4)
    await world.comparison.compare()
    assert world.gate.in_sync


async def test_a_journal_that_cannot_be_read_is_unknown(world: World) -> None:
    world.journal.is_failing = True
    await world.comparison.compare()
    assert (world.gate.in_sync, world.comparison.reason) == (False, "Unknown")


async def test_what_the_broker_holds_is_unknown_or_a_number(world: World) -> None:
    world.broker.says(AAPL=7)
    assert await world.comparison.held_by_broker() == {"AAPL": Decimal(7)}
    world.broker.says()
    assert await world.comparison.held_by_broker() == {}
    world.broker.mute()
    assert isinstance(await world.comparison.held_by_broker(), Unknown)


async def test_events_are_followed_in_the_brokers_order(world: World) -> None:
    await world.desk.place([make_intent("a")])
    following = asyncio.create_task(world.comparison.follow())
    for event in (UP, make_update(IntentState.WORKING), make_fill("x1", "a"), make_fill("x1", "a")):
        world.broker.queue.put_nowait(event)
    await until(lambda: bool(world.ledger.positions))
    following.cancel()
    assert world.ledger.positions["p-a"].quantity == 10


async def test_a_comparison_that_is_due_waits_for_the_connection_without_blocking_the_loop(world: World) -> None:
    world.broker.is_connected = False
    running = asyncio.create_task(world.comparison.run())
    world.comparison.ask()
    beats = 0
    async with asyncio.timeout(5):
        for _ in range(20):
            await asyncio.sleep(0.001)
            beats += 1
    assert (beats, world.broker.asked) == (20, 0)
    world.broker.is_connected = True
    world.comparison.on_connection(UP)
    await until(lambda: world.gate.in_sync)
    running.cancel()
    assert world.broker.asked == 1


async def test_an_order_without_an_answer_is_asked_about_and_never_sent_again(world: World) -> None:
    await world.desk.place([make_intent("a")])
    world.clock.set(at(11))
    running = asyncio.create_task(world.comparison.run())
    await until(lambda: not world.desk.in_flight)
    running.cancel()
    assert world.broker.refs == [ref("a")]


async def test_a_short_lot_counts_with_its_sign(world: World) -> None:
    await world.journal.commit_intents([make_intent("a", side=Side.SELL)])
    lot = make_position("a", quantity=Decimal(-10))
    await world.journal.record_fill(make_fill("x1", "a", side=Side.SELL), lot, None)
    world.broker.says(make_update(IntentState.FILLED), fills=[make_fill("x1", "a", side=Side.SELL)], AAPL=-10)
    await world.comparison.compare()
    assert world.gate.in_sync


# -- exits that were sent and not written down


def sold_unrecorded(world: World) -> str:
    """The broker has filled an exit of p-a that the journal does not know."""
    sent = exit_ref(OWNER, "p-a", 1)
    update = make_update(IntentState.FILLED, order_ref=sent, filled_quantity=Decimal(10))
    world.broker.says(update, fills=[make_fill("x-out", order_ref=sent, side=Side.SELL)])
    return sent


async def test_an_exit_that_was_not_written_down_is_booked_and_then_all_agrees(world: World) -> None:
    await world.hold("a")
    sent = sold_unrecorded(world)
    world.comparison.on_connection(UP)
    await world.comparison.compare()
    assert not world.gate.in_sync
    (trade,) = await world.journal.trades(10)
    assert (trade.position_id, trade.exit_reason) == ("p-a", "UNRECORDED")
    assert not world.ledger.positions
    record = await world.journal.record(sent)
    assert record is not None
    assert record.state is IntentState.FILLED
    await world.comparison.compare()
    assert world.gate.in_sync


async def test_after_a_process_that_could_not_write_a_signals_exit_waits_for_the_brokers_word_too(world: World) -> None:
    await world.hold("a")
    world.broker.says(make_update(IntentState.FILLED, filled_quantity=Decimal(10)), AAPL=10)
    world.journal.unwritten.is_inherited = True
    leaving = make_intent("leave", kind=IntentKind.EXIT, position_id="p-a", side=Side.SELL, reason="SIGNAL")
    await world.desk.place([leaving])
    assert len(world.broker.sent) == 1, "the purchase alone"

    world.journal.unwritten.settle()
    await world.exits.check()
    assert (world.broker.sent[-1].kind, world.broker.sent[-1].reason) == (IntentKind.EXIT, "SIGNAL")


async def test_an_exit_is_taken_up_though_neither_it_nor_its_purchase_can_be_written_down(world: World) -> None:
    await world.desk.place([make_intent("a")])
    await world.desk.on_update(make_update(IntentState.WORKING, "a"))
    for what in ("writing intents", "writing a fill", "writing an order update", "writing statistics"):
        world.journal.before[what] = fail
    sent = exit_ref(OWNER, "p-a", 1)
    world.broker.says(
        make_update(IntentState.FILLED, "a", filled_quantity=Decimal(10)),
        make_update(IntentState.WORKING, order_ref=sent),
        fills=[make_fill("x-a", quantity=Decimal(10))],
        AAPL=10,
    )
    for _ in range(2):
        await world.comparison.compare()
    world.market.prices["AAPL"] = 90.0
    await world.exits.check()

    assert sent in world.desk.in_flight
    assert len(world.broker.sent) == 1, "the purchase alone: its exit is at the broker"


async def test_what_is_told_of_an_order_held_for_withdrawn_counts_also_while_nothing_can_be_written(
    world: World,
) -> None:
    await world.hold("a")
    world.broker.says(make_update(IntentState.FILLED, filled_quantity=Decimal(10)), AAPL=10)
    await world.comparison.compare()
    for what in ("writing intents", "writing a fill", "writing an order update", "writing statistics"):
        world.journal.before[what] = fail
    world.market.prices["AAPL"] = 90.0
    await world.exits.check()
    late = world.broker.sent[-1].order_ref
    world.clock.set(at(60))
    await world.comparison.compare()
    assert late not in world.desk.in_flight

    await world.desk.on_update(make_update(IntentState.WORKING, order_ref=late))
    assert late in world.desk.in_flight, "it came after all"
    await world.desk.on_fill(make_fill("x-late", order_ref=late, side=Side.SELL))
    assert not world.ledger.positions


async def test_what_was_bought_and_sold_while_nothing_was_written_is_booked_in_its_order(world: World) -> None:
    await world.desk.place([make_intent("a")])
    await world.desk.on_update(make_update(IntentState.WORKING, "a"))
    await world.desk.on_fill(make_fill("x-a1", quantity=Decimal(4)))
    sent = exit_ref(OWNER, "p-a", 1)
    world.broker.says(
        make_update(IntentState.FILLED, "a", filled_quantity=Decimal(10)),
        make_update(IntentState.FILLED, order_ref=sent, filled_quantity=Decimal(10)),
        fills=[
            make_fill("x-a1", quantity=Decimal(4)),
            make_fill("x-a2", quantity=Decimal(6), time=at(1)),
            make_fill("w-out", order_ref=sent, side=Side.SELL, time=at(2)),
        ],
    )
    for _ in range(2):
        await world.comparison.compare()
    (trade,) = await world.journal.trades(10)
    assert (trade.quantity, trade.exit_reason) == (10, "UNRECORDED")
    assert not world.ledger.positions
    assert world.gate.in_sync


async def test_while_nothing_can_be_written_an_order_that_was_taken_up_is_not_looked_up_at_once_again(
    world: World,
) -> None:
    await world.hold("a")
    world.journal.before["writing intents"] = world.journal.before["writing a fill"] = fail
    sent = sold_unrecorded(world)
    orphan = make_update(IntentState.FILLED, "nobody's", filled_quantity=Decimal(10))
    told = make_update(IntentState.FILLED, order_ref=sent, filled_quantity=Decimal(10))
    world.broker.says(told, orphan, fills=[make_fill("x-out", order_ref=sent, side=Side.SELL)])
    await world.comparison.compare()
    assert world.comparison._due.is_set(), "a position that is known only now may have sent it"
    world.comparison._due.clear()
    await world.comparison.compare()
    assert not world.comparison._due.is_set()
    assert not world.gate.in_sync


def fail() -> None:
    raise JournalError("the disk is full")


async def test_while_another_process_leads_nothing_is_taken_up(world: World) -> None:
    await world.hold("a")
    sent = sold_unrecorded(world)
    world.fence.held = False
    await world.comparison.compare()
    assert await world.journal.record(sent) is None
    assert "p-a" in world.ledger.positions


async def test_an_exit_that_is_lost_while_the_journal_cannot_be_written_is_made_again(world: World) -> None:
    await world.hold("a")
    world.broker.says(make_update(IntentState.FILLED, filled_quantity=Decimal(10)), AAPL=10)
    await world.comparison.compare()
    world.journal.before["writing intents"] = fail
    world.market.prices["AAPL"] = 90.0
    await world.exits.check()
    lost = world.broker.sent[-1].order_ref
    assert lost in world.desk.in_flight
    world.comparison.on_connection(DOWN)
    world.comparison.on_connection(UP)
    world.clock.set(at(60))

    await world.comparison.compare()
    assert lost not in world.desk.in_flight, "the broker has never had it"
    await world.exits.check()

    assert len(world.broker.sent) == 3, "the entry, the exit that was lost, and the next"
    assert world.broker.sent[-1].order_ref != lost


async def test_exits_wait_for_the_first_comparison_which_may_know_of_one_already_sent(world: World) -> None:
    await world.hold("a")
    sold_unrecorded(world)
    world.comparison.answered.clear()
    world.market.prices["AAPL"] = 90.0
    checking = asyncio.create_task(world.exits.check())
    await world.comparison.compare()
    await checking
    assert len(world.broker.sent) == 1, "the entry alone: its exit is the one that was sent before"


async def test_an_order_that_the_process_before_has_just_sent_may_still_be_on_its_way(world: World) -> None:
    await world.desk.place([make_intent("a")])
    world.desk.in_flight.land(ref("a"))
    world.clock.set(at(5))
    world.desk.restore((await world.journal.load()).open_intents)
    await world.comparison.compare()
    assert ref("a") in world.desk.in_flight
    world.clock.set(at(11))
    await world.comparison.compare()
    assert ref("a") not in world.desk.in_flight


async def test_an_exit_that_has_waited_is_not_missed_in_an_answer_older_than_itself(world: World) -> None:
    await world.hold("a")
    world.broker.says(make_update(IntentState.FILLED, filled_quantity=Decimal(10)), AAPL=10)
    world.comparison.answered.clear()
    world.market.prices["AAPL"] = 90.0
    checking = asyncio.create_task(world.exits.check())
    await asyncio.sleep(0)
    world.clock.set(at(5))
    world.comparison.on_connection(DOWN)
    world.comparison.on_connection(UP)
    await world.comparison.compare()

    async def the_exit_goes_out() -> None:
        if asyncio.current_task() is not checking:
            await checking

    world.broker.while_asked = the_exit_goes_out
    await world.comparison.compare()
    assert world.broker.sent[-1].kind is IntentKind.EXIT
    assert world.broker.sent[-1].order_ref in world.desk.in_flight, "it was sent after the question"
    await world.exits.check()
    assert len(world.broker.sent) == 2


async def test_after_a_process_that_could_not_write_exits_wait_until_its_own_must_have_arrived(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparisons, "MARKED_ANSWER_SECONDS", 0.01)
    monkeypatch.setattr(comparisons, "SETTLING_SECONDS", 0.05)
    await world.hold("a")
    world.journal.unwritten.is_inherited = True
    world.comparison.on_connection(UP)
    world.comparison.answered.clear()
    world.market.prices["AAPL"] = 90.0

    await world.comparison.compare()
    await world.exits.check()
    assert len(world.broker.sent) == 1, "the entry alone"
    assert world.comparison.reason == "Comparing"

    sent = sold_unrecorded(world)
    world.clock.set(at(1))
    await world.comparison.compare()
    await world.exits.check()
    assert len(world.broker.sent) == 1, "its exit is the one that was on its way"
    assert await world.journal.record(sent) is not None


async def test_and_for_as_long_as_the_broker_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "MARKED_ANSWER_SECONDS", 0.01)
    monkeypatch.setattr(comparisons, "SETTLING_SECONDS", 0.01)
    await world.hold("a")
    world.journal.unwritten.is_inherited = True
    world.comparison.answered.clear()
    world.clock.set(at(1))
    world.broker.mute()
    world.market.prices["AAPL"] = 90.0

    await world.comparison.compare()
    await world.exits.check()

    assert len(world.broker.sent) == 1


async def test_exits_do_not_wait_longer_for_a_broker_that_does_not_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparisons, "FIRST_ANSWER_SECONDS", 0.01)
    await world.hold("a")
    world.comparison.answered.clear()
    world.broker.mute()
    world.market.prices["AAPL"] = 90.0
    await world.exits.check()
    assert len(world.broker.sent) == 2
