"""The order desk: persisted before sent, sent once, followed to the end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from fakes.trading import World
from fakes.values import OWNER, at, make_fill, make_intent, make_position, make_trade, make_update, ref
from openbell.brokers.base import NotSentError
from openbell.domain.errors import BrokerError, StaleEpochError
from openbell.domain.orders import Intent, IntentKind, IntentState, OrderUpdate, Side
from openbell.domain.reasons import ExitReason, Reason
from openbell.domain.state import TradingState
from openbell.engine.cycle import exit_intent
from openbell.engine.exits import Exit
from openbell.journal import killpoints

SENT = [ref("a")]


def leave(world: World, position_id: str = "p-a", quantity: int | None = None) -> Intent:
    """The next exit of a position, as both loops would make it."""
    position = world.ledger.positions[position_id]
    found = Exit(ExitReason.STOP_LOSS, Side.SELL, Decimal(quantity or position.quantity), "stop", position.best_price)
    price = Decimal(98)
    return exit_intent(position, found, owner=OWNER, epoch=world.fence.epoch, now=world.clock.now(), price=price)


class KilledError(BaseException):
    """The process is gone."""


def killed_at(monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """From now on the process dies where it comes to this point."""

    def reach(name: str) -> None:
        if name == point:
            raise KilledError

    monkeypatch.setattr(killpoints, "reach", reach)


async def state_in_journal(world: World, name: str) -> IntentState | None:
    record = await world.journal.record(ref(name) if "." not in name else name)
    return record.state if record else None


# -- sending


async def test_an_intent_is_in_the_journal_before_it_is_sent(world: World) -> None:
    sent_when_committed: list[int] = []
    world.journal.before["writing intents"] = lambda: sent_when_committed.append(len(world.broker.sent))
    assert await world.desk.place([make_intent("a")]) == {ref("a"): Reason.ORDERED}
    assert sent_when_committed == [0]
    assert world.broker.refs == SENT
    assert await state_in_journal(world, "a") is IntentState.INTENDED


async def test_the_intents_of_a_tick_are_one_commit(world: World) -> None:
    before = world.journal.calls.count("writing intents")
    await world.desk.place([make_intent(name) for name in "abc"])
    assert world.journal.calls.count("writing intents") == before + 1
    assert world.broker.refs == [ref(name) for name in "abc"]


async def test_nothing_to_place_writes_nothing(world: World) -> None:
    before = len(world.journal.calls)
    assert await world.desk.place([]) == {}
    assert len(world.journal.calls) == before


@pytest.mark.parametrize(
    ("close", "reason"),
    [
        (lambda world: setattr(world.gate, "held", TradingState.PAUSED), Reason.PAUSED),
        (lambda world: setattr(world.gate, "asked", TradingState.STOPPED), Reason.STOPPED),
        (lambda world: setattr(world.fence, "held", False), Reason.NOT_LEADING),
        (lambda world: setattr(world.gate, "in_sync", False), Reason.RECONCILING),
    ],
)
async def test_a_gate_that_closes_between_commit_and_send_withdraws(world: World, close, reason) -> None:  # type: ignore[no-untyped-def]
    world.journal.before["writing intents"] = lambda: close(world)
    assert await world.desk.place([make_intent("a")]) == {ref("a"): reason}
    assert world.broker.sent == []
    assert await state_in_journal(world, "a") is IntentState.WITHDRAWN
    assert world.desk.in_flight == {}


async def test_a_withdrawn_intent_is_never_sent_even_when_the_gate_opens_again(world: World) -> None:
    world.gate.in_sync = False
    await world.desk.place([make_intent("a")])
    world.gate.in_sync = True
    assert await world.desk.place([make_intent("a")]) == {ref("a"): Reason.ALREADY_DECIDED}
    assert world.broker.sent == []


async def test_a_reference_is_sent_once_whatever_else_changed_of_it(world: World) -> None:
    await world.desk.place([make_intent("a")])
    again = make_intent("a", confidence=0.9, quantity=Decimal(7), reason="rising faster")
    assert await world.desk.place([again, make_intent("b")]) == {
        ref("a"): Reason.ALREADY_DECIDED,
        ref("b"): Reason.ORDERED,
    }
    assert world.broker.refs == [ref("a"), ref("b")]


async def test_a_reference_that_stands_twice_in_one_tick_is_sent_once(world: World) -> None:
    await asyncio.gather(world.desk.place([make_intent("a")]), world.desk.place([make_intent("a")]))
    assert world.broker.refs == SENT


async def test_a_broker_that_certainly_did_not_get_it_withdraws(world: World) -> None:
    world.broker.failing = NotSentError("the socket is closed")
    assert await world.desk.place([make_intent("a")]) == {ref("a"): Reason.BROKER_DISCONNECTED}
    assert await state_in_journal(world, "a") is IntentState.WITHDRAWN
    assert world.desk.unanswered() == ()


async def test_any_other_failure_to_send_leaves_the_order_in_doubt(world: World) -> None:
    world.broker.failing = BrokerError("timeout while writing")
    assert await world.desk.place([make_intent("a")]) == {ref("a"): Reason.ORDERED}
    assert world.desk.in_flight[ref("a")].record.state is IntentState.DOUBTFUL
    assert world.desk.unanswered() == (ref("a"),)
    assert len(world.ledger.order_times) == 1, "it may be at the broker, so it counts for the order rates"


async def test_an_intent_of_another_epoch_ends_the_process(world: World) -> None:
    with pytest.raises(StaleEpochError):
        await world.desk.place([make_intent("a", epoch=2)])
    assert world.broker.sent == []


# -- doubt and answers


async def test_an_order_without_an_answer_for_five_seconds_is_overdue(world: World) -> None:
    await world.desk.place([make_intent("a")])
    world.clock.set(at(5))
    assert world.desk.overdue() == ()
    world.clock.set(at(5.001))
    assert world.desk.overdue() == (ref("a"),)
    world.desk.doubt(world.desk.overdue())
    assert world.desk.in_flight[ref("a")].record.state is IntentState.DOUBTFUL
    assert world.broker.refs == SENT, "a timeout is no reason to send again"


async def test_doubt_ends_with_the_brokers_word(world: World) -> None:
    await world.desk.place([make_intent("a")])
    world.desk.doubt([ref("a")])
    await world.desk.on_update(make_update(IntentState.WORKING))
    assert world.desk.unanswered() == ()
    assert world.desk.working_entries()[0].order_ref == ref("a")
    world.desk.doubt([ref("a")])
    assert world.desk.in_flight[ref("a")].record.state is IntentState.WORKING


async def test_waiting_for_quiet_ends_when_all_is_answered(world: World) -> None:
    await world.desk.place([make_intent("a"), make_intent("b")])
    waiting = asyncio.create_task(world.desk.wait_quiet())
    await world.desk.on_update(make_update(IntentState.WORKING, "a"))
    await asyncio.sleep(0)
    assert not waiting.done()
    await world.desk.on_update(make_update(IntentState.REJECTED, "b"))
    await asyncio.wait_for(waiting, 5)


async def test_a_rejection_is_final_and_counted_once(world: World) -> None:
    await world.desk.place([make_intent("a")])
    for _ in range(2):
        await world.desk.on_update(make_update(IntentState.REJECTED, detail="no money"))
    assert world.desk.in_flight == {}
    assert world.ledger.statistics.total.trades_rejected == 1
    assert world.ledger.statistics.of("trend").reasons["BROKER_REJECTED"] == 1


async def test_what_is_not_ours_changes_nothing(world: World) -> None:
    await world.desk.on_update(OrderUpdate("by hand", IntentState.WORKING, "b9"))
    await world.desk.on_fill(replace(make_fill(), order_ref="by hand"))
    assert (world.desk.in_flight, world.ledger.positions, world.ledger.orders) == ({}, {}, {})


async def test_an_order_held_for_withdrawn_that_the_broker_has_is_followed_again(world: World) -> None:
    await world.desk.place([make_intent("a")])
    await world.desk.on_update(OrderUpdate(ref("a"), IntentState.WITHDRAWN, ""))
    assert world.desk.working_entries() == ()
    await world.desk.on_update(make_update(IntentState.WORKING))
    assert [intent.order_ref for intent in world.desk.working_entries()] == [ref("a")]
    world.desk.cancel_entries()
    assert world.broker.cancelled == SENT


# -- cancelling


async def test_only_working_entries_are_cancelled(world: World) -> None:
    await world.hold("a")
    await world.desk.place([leave(world), make_intent("b"), make_intent("c")])
    await world.desk.on_update(make_update(IntentState.WORKING, "b"))
    world.desk.cancel_entries()
    assert world.broker.cancelled == [ref("b")]


async def test_a_cancel_waits_for_its_answer_and_is_asked_once_meanwhile(world: World) -> None:
    await world.desk.place([make_intent("a")])
    await world.desk.on_update(make_update(IntentState.WORKING))
    world.desk.cancel_entries()
    world.desk.cancel_entries()
    assert world.broker.cancelled == SENT
    assert world.desk.unanswered() == (ref("a"),)
    await world.desk.on_update(make_update(IntentState.CANCELLED))
    assert world.desk.unanswered() == ()


async def test_a_cancel_that_was_lost_is_asked_for_again(world: World) -> None:
    await world.desk.place([make_intent("a")])
    await world.desk.on_update(make_update(IntentState.WORKING))
    world.desk.cancel_entries()
    world.clock.set(at(6))
    assert world.desk.overdue() == (ref("a"),)
    world.desk.cancel_entries()
    assert world.broker.cancelled == SENT * 2


async def test_a_cancel_that_cannot_be_sent_leaves_the_order_working(world: World) -> None:
    await world.desk.place([make_intent("a")])
    await world.desk.on_update(make_update(IntentState.WORKING))
    world.broker.is_connected = False
    world.desk.cancel_entries()
    assert world.desk.unanswered() == ()
    assert len(world.desk.working_entries()) == 1


# -- fills


async def test_a_fill_is_booked_once_however_often_it_is_told(world: World) -> None:
    await world.desk.place([make_intent("a")])
    for _ in range(3):
        await world.desk.on_fill(make_fill("x1", "a"))
    assert world.ledger.positions["p-a"].quantity == 10
    assert world.ledger.statistics.total.trades_executed == 1
    assert (await world.journal.load()).positions[0].quantity == 10


async def test_filled_before_its_fills_keeps_the_order_open_until_they_come(world: World) -> None:
    await world.desk.place([make_intent("a")])
    await world.desk.on_update(make_update(IntentState.FILLED, filled_quantity=Decimal(10)))
    assert ref("a") in world.desk.in_flight
    assert world.desk.unanswered() == ()
    await world.desk.on_fill(make_fill("x1", "a", quantity=Decimal(4)))
    await world.desk.on_fill(make_fill("x2", "a", quantity=Decimal(6)))
    assert world.desk.in_flight == {}
    assert world.ledger.positions["p-a"].quantity == 10


async def test_a_fill_that_came_after_the_cancel_is_booked(world: World) -> None:
    await world.desk.place([make_intent("a")])
    await world.desk.on_update(make_update(IntentState.CANCELLED))
    assert world.desk.in_flight == {}
    await world.desk.on_fill(make_fill("x1", "a", quantity=Decimal(3)))
    assert world.ledger.positions["p-a"].quantity == 3


async def test_a_fill_of_an_intent_held_for_withdrawn_is_booked(world: World) -> None:
    await world.desk.place([make_intent("a")])
    await world.desk.on_update(OrderUpdate(ref("a"), IntentState.WITHDRAWN, ""))
    await world.desk.on_fill(make_fill("x1", "a"))
    assert world.ledger.positions["p-a"].quantity == 10
    assert await state_in_journal(world, "a") is IntentState.FILLED


async def test_leaving_a_position_books_the_round_trip(world: World) -> None:
    await world.hold("a")
    intent = leave(world)
    await world.desk.place([intent])
    await world.desk.on_fill(
        replace(make_fill("x2", side=Side.SELL, price=Decimal(104), time=at(9)), order_ref=intent.order_ref)
    )
    assert world.ledger.positions == {}
    (trade,) = world.ledger.trades
    assert (trade.pnl, trade.exit_reason) == (Decimal("38.00"), "STOP_LOSS")
    assert (world.ledger.realized_total(), world.ledger.realized_today) == (Decimal("38.00"), Decimal("38.00"))
    assert world.ledger.statistics.total.exits_executed == 1
    assert await world.journal.trades(9) == (trade,)
    assert (await world.journal.load()).statistics == world.ledger.statistics


async def test_an_entry_that_fills_on_after_its_position_was_left_is_a_round_trip_of_its_own(world: World) -> None:
    await world.desk.place([make_intent("a")])
    await world.desk.on_fill(make_fill("x1", "a", quantity=Decimal(4)))
    first = leave(world)
    await world.desk.place([first])
    sold = make_fill("x2", side=Side.SELL, quantity=Decimal(4), price=Decimal(110))
    await world.desk.on_fill(replace(sold, order_ref=first.order_ref))
    await world.desk.on_fill(make_fill("x3", "a", quantity=Decimal(6), price=Decimal(105)))
    second = leave(world)
    assert second.order_ref != first.order_ref
    assert await world.desk.place([second]) == {second.order_ref: Reason.ORDERED}
    sold = make_fill("x4", side=Side.SELL, quantity=Decimal(6), price=Decimal(106))
    await world.desk.on_fill(replace(sold, order_ref=second.order_ref))
    assert [trade.pnl for trade in world.ledger.trades] == [Decimal(38), Decimal(4)]
    assert await world.journal.realized_pnl(at(-1)) == 42


async def test_a_fill_that_was_missed_does_not_set_the_last_trade_back(world: World) -> None:
    await world.desk.place([make_intent("a")])
    await world.desk.on_fill(make_fill("x2", "a", quantity=Decimal(4), time=at(9)))
    await world.desk.on_fill(make_fill("x1", "a", quantity=Decimal(6), time=at(3)))
    assert world.ledger.statistics.total.last_trade == at(9)
    assert world.ledger.statistics.of("trend").last_trade == at(9)


async def test_counts_made_while_a_fill_is_written_are_kept(world: World) -> None:
    await world.desk.place([make_intent("a")])
    world.journal.before["writing a fill"] = lambda: world.ledger.note_error("trend")
    await world.desk.on_fill(make_fill("x1", "a"))
    counted = world.ledger.statistics.of("trend")
    assert (counted.errors, counted.trades_executed) == (1, 1)


async def test_a_best_price_seen_while_a_fill_is_written_is_kept(world: World) -> None:
    await world.desk.place([make_intent("a")])
    await world.desk.on_fill(make_fill("x1", "a", quantity=Decimal(4)))

    def rise() -> None:
        world.ledger.put_position(replace(world.ledger.positions["p-a"], best_price=Decimal(120)))

    world.journal.before["writing a fill"] = rise
    await world.desk.on_fill(make_fill("x2", "a", quantity=Decimal(6)))
    assert world.ledger.positions["p-a"].best_price == 120
    assert world.ledger.positions["p-a"].quantity == 10


# -- exits


async def test_one_exit_of_a_position_is_in_flight_at_a_time(world: World) -> None:
    await world.hold("a")
    first = leave(world)
    await world.desk.place([first])
    second = leave(world)
    assert world.desk.is_leaving("p-a")
    assert await world.desk.place([second]) == {second.order_ref: Reason.ALREADY_DECIDED}
    assert world.broker.refs == [ref("a"), first.order_ref]


async def test_when_both_loops_decide_at_once_one_exit_is_sent(world: World) -> None:
    await world.hold("a")
    first, second = leave(world), leave(world)
    second = replace(second, order_ref=f"{second.order_ref[:-1]}z")
    await asyncio.gather(world.desk.place([first]), world.desk.place([second]))
    assert world.broker.refs == [ref("a"), first.order_ref]


async def test_the_exit_after_a_refused_one_is_another_one(world: World) -> None:
    await world.hold("a")
    first = leave(world)
    await world.desk.place([first])
    await world.desk.on_update(OrderUpdate(first.order_ref, IntentState.REJECTED, "b2"))
    assert not world.desk.is_leaving("p-a")
    second = leave(world)
    assert second.order_ref != first.order_ref
    assert await world.desk.place([second]) == {second.order_ref: Reason.ORDERED}


async def test_the_number_of_an_exit_survives_a_restart(world: World) -> None:
    await world.hold("a")
    await world.desk.place([leave(world)])
    assert (await world.journal.load()).positions[0].exit_sequence == 1


async def test_the_number_of_an_exit_is_used_up_in_the_commit_that_has_the_exit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.hold("a")
    killed_at(monkeypatch, "desk.committed")
    with pytest.raises(KilledError):
        await world.desk.place([leave(world)])
    (position,) = (await world.journal.load()).positions
    assert position.exit_sequence == 1
    assert len((await world.journal.load()).open_intents) == 1


async def test_the_number_of_an_exit_that_could_not_be_written_is_made_up_for_with_it(world: World) -> None:
    await world.hold("a")
    world.journal.is_failing = True
    await world.desk.place([leave(world)])
    world.journal.is_failing = False
    await world.desk.save_statistics()
    assert (await world.journal.load()).positions[0].exit_sequence == 1


async def test_an_exit_goes_out_while_entries_may_not(world: World) -> None:
    await world.hold("a")
    world.gate.held = TradingState.PAUSED
    world.gate.in_sync = False
    intent = leave(world)
    assert await world.desk.place([intent, make_intent("b")]) == {
        intent.order_ref: Reason.ORDERED,
        ref("b"): Reason.PAUSED,
    }


async def test_letting_go_books_once_and_not_after_a_late_fill(world: World) -> None:
    await world.hold("a")
    position = world.ledger.positions["p-a"]
    await world.desk.let_go(position, make_trade("a", exit_reason="BROKER"))
    await world.desk.let_go(position, make_trade("a", exit_reason="BROKER"))
    assert world.ledger.positions == {}
    assert len(world.ledger.trades) == 1
    assert len(await world.journal.trades(9)) == 1


# -- a journal that fails


async def test_entries_stop_and_exits_go_on_while_the_journal_fails(world: World) -> None:
    await world.hold("a")
    world.journal.is_failing = True
    intent = leave(world)
    assert await world.desk.place([make_intent("b"), intent]) == {
        ref("b"): Reason.JOURNAL_FAILED,
        intent.order_ref: Reason.ORDERED,
    }
    assert world.broker.refs == [ref("a"), intent.order_ref]
    assert not world.gate.journal_open
    assert world.gate.entry_blocked() is Reason.JOURNAL_FAILED
    assert world.gate.exit_blocked() is None


async def test_a_fill_is_booked_once_in_memory_while_the_journal_fails(world: World) -> None:
    await world.desk.place([make_intent("a")])
    world.journal.is_failing = True
    for _ in range(3):
        await world.desk.on_fill(make_fill("x1", "a"))
    assert world.ledger.positions["p-a"].quantity == 10
    assert world.ledger.statistics.total.trades_executed == 1


async def test_the_journal_catches_up_when_it_can_be_written_again(world: World) -> None:
    await world.hold("a")
    world.journal.is_failing = True
    intent = leave(world)
    await world.desk.place([intent])
    await world.desk.on_update(OrderUpdate(intent.order_ref, IntentState.WORKING, "b2"))
    await world.desk.on_fill(replace(make_fill("x2", side=Side.SELL, price=Decimal(104)), order_ref=intent.order_ref))
    assert world.ledger.positions == {}
    world.journal.is_failing = False
    await world.desk.save_statistics()
    assert world.gate.journal_open
    state = await world.journal.load()
    assert (state.positions, state.open_intents) == ((), ())
    assert state.statistics == world.ledger.statistics
    assert await state_in_journal(world, intent.order_ref) is IntentState.FILLED
    assert [trade.pnl for trade in await world.journal.trades(9)] == [Decimal(38)]


async def test_an_entry_whose_intent_was_not_written_is_not_written_later_either(world: World) -> None:
    world.journal.is_failing = True
    await world.desk.place([make_intent("a")])
    world.journal.is_failing = False
    await world.desk.save_statistics()
    assert await state_in_journal(world, "a") is None
    assert await world.desk.place([make_intent("a")]) == {ref("a"): Reason.ORDERED}


async def test_a_fill_whose_order_cannot_be_read_now_is_booked_when_it_is_told_again(world: World) -> None:
    await world.desk.place([make_intent("a")])
    await world.desk.on_update(make_update(IntentState.CANCELLED))
    world.journal.is_failing = True
    await world.desk.on_fill(make_fill("x1", "a"))
    assert world.ledger.positions == {}
    world.journal.is_failing = False
    await world.desk.on_fill(make_fill("x1", "a"))
    assert world.ledger.positions["p-a"].quantity == 10


# -- restarts


async def test_what_was_not_over_is_taken_up_in_doubt_and_not_sent(world: World) -> None:
    await world.journal.commit_intents([make_intent("a"), make_intent("b")])
    await world.journal.record_update(make_update(IntentState.WORKING, "b"))
    world.desk.restore((await world.journal.load()).open_intents)
    assert world.broker.sent == []
    assert world.desk.unanswered() == (ref("a"),)
    assert world.desk.in_flight[ref("a")].record.state is IntentState.DOUBTFUL
    assert world.desk.in_flight[ref("b")].record.state is IntentState.WORKING


async def test_an_exit_under_way_is_still_under_way_after_a_restart(world: World) -> None:
    exit_of_a = make_intent("e", kind=IntentKind.EXIT, side=Side.SELL, position_id="p-a")
    await world.journal.commit_intents([exit_of_a])
    world.ledger.put_position(make_position("a"))
    world.desk.restore((await world.journal.load()).open_intents)
    assert world.desk.is_leaving("p-a")


# -- what was realised today


async def test_a_part_of_an_exit_counts_today_and_what_was_realised_on_earlier_days_does_not(world: World) -> None:
    await world.hold("a")
    way_out = {"kind": IntentKind.EXIT, "side": Side.SELL, "position_id": "p-a", "reason": "STOP_LOSS"}
    await world.desk.place([make_intent("yesterday", **way_out)])
    await world.desk.on_fill(make_fill("x1", "yesterday", side=Side.SELL, quantity=Decimal(4), price=Decimal(90)))
    world.ledger.day_start, world.ledger.realized_today = at(3600), Decimal(0)
    await world.desk.on_update(make_update(IntentState.CANCELLED, "yesterday", filled_quantity=Decimal(4)))
    await world.desk.place([make_intent("today", **way_out)])
    for number, price in enumerate((105, 110)):
        fill = make_fill(
            f"y{number}", "today", side=Side.SELL, quantity=Decimal(3), price=Decimal(price), time=at(3700)
        )
        await world.desk.on_fill(fill)
    assert not world.ledger.positions
    assert world.ledger.realized_today == 3 * 5 + 3 * 10 - 2
    assert world.ledger.realized_today == await world.journal.realized_pnl(at(3600))


async def test_a_late_fill_on_a_full_disk_does_not_bring_back_what_was_sold(world: World) -> None:
    await world.desk.place([make_intent("a", quantity=Decimal(15))])
    await world.desk.on_fill(make_fill("x1", quantity=Decimal(10)))
    await world.desk.place([make_intent("e", kind=IntentKind.EXIT, side=Side.SELL, position_id="p-a", reason="SIGNAL")])
    world.journal.is_failing = True
    await world.desk.on_fill(make_fill("x2", "e", side=Side.SELL, quantity=Decimal(10)))
    assert world.ledger.positions == {}
    world.journal.is_failing = False
    await world.desk.on_fill(make_fill("x3", quantity=Decimal(5)))
    assert world.ledger.positions["p-a"].quantity == 5
    kept = await world.journal.position("p-a")
    assert kept is not None
    assert kept.quantity == 5
