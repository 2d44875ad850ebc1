"""What the broker's answers mean for the journal after a start or a lost connection."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.values import OWNER, T0, at, make_fill, make_intent, make_position, make_update, ref
from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value
from openbell.domain.clock import SimulatedClock
from openbell.domain.identity import Leg, exit_ref, protective_ref
from openbell.domain.orders import Fill, IntentKind, IntentState, OrderTerms, OrderType, OrderUpdate, Side
from openbell.domain.positions import BrokerPosition, Position
from openbell.journal import IntentRecord, Journal
from openbell.journal.recovery import (
    UNRECORDED_AT_MOST,
    Facts,
    Memory,
    MissingFill,
    PositionDifference,
    Recovery,
    UnrecordedOrder,
    recover,
)

NONE = ConfirmedEmpty()
SILENT = Unknown("timed out")
ZERO = Decimal(0)
INTENDED, DOUBTFUL, WORKING = IntentState.INTENDED, IntentState.DOUBTFUL, IntentState.WORKING
CANCELLED, FILLED, WITHDRAWN = IntentState.CANCELLED, IntentState.FILLED, IntentState.WITHDRAWN


def record(state: IntentState = INTENDED, name: str = "a", **changes: object) -> IntentRecord:
    filled = changes.pop("filled", ZERO)
    reported = changes.pop("reported", filled)
    intent = make_intent(name, **changes)
    return IntentRecord(intent, state, filled, reported, ZERO, "", "", T0)  # type: ignore[arg-type]


def facts(*records: IntentRecord, positions: tuple[Position, ...] = (), booked: tuple[str, ...] = ()) -> Facts:
    return Facts(OWNER, {r.intent.order_ref: r for r in records}, positions, frozenset(booked))


def orders(*updates: OrderUpdate) -> Answer[tuple[OrderUpdate, ...]]:
    return Value(updates)


def fills(*made: Fill) -> Answer[tuple[Fill, ...]]:
    return Value(made)


def holds(**symbols: int) -> Answer[tuple[BrokerPosition, ...]]:
    return Value(tuple(BrokerPosition(name, Decimal(held), Decimal(100)) for name, held in symbols.items()))


def states(found: Recovery) -> dict[str, IntentState]:
    return {update.order_ref.rsplit(".")[-1]: update.state for update in found.updates}


# what the broker names


@pytest.mark.parametrize("told", [WORKING, CANCELLED, IntentState.REJECTED, FILLED])
@pytest.mark.parametrize("known", [INTENDED, DOUBTFUL])
def test_the_word_of_the_broker_is_recorded(known: IntentState, told: IntentState) -> None:
    found = recover(facts(record(known)), orders(make_update(told)), NONE, NONE)
    assert states(found) == {"a": told}
    assert found.doubtful == ()


def test_an_order_that_the_broker_itself_is_unsure_of_stays_in_doubt() -> None:
    found = recover(facts(record()), orders(make_update(DOUBTFUL)), NONE, NONE)
    assert states(found) == {"a": DOUBTFUL}
    assert found.doubtful == (ref("a"),)
    assert not found.is_in_sync


def test_an_order_that_works_as_known_needs_no_update() -> None:
    known = replace(record(WORKING), broker_order_id="b1")
    found = recover(facts(known), orders(make_update(WORKING)), NONE, NONE)
    assert found == Recovery((), (), (), (), (), (), (), (), ())
    assert found.is_in_sync


def test_a_final_intent_is_not_reopened_but_a_withdrawn_one_that_arrived_after_all_is() -> None:
    done, back = record(CANCELLED, "done"), record(WITHDRAWN, "back")
    told = orders(make_update(WORKING, "done", broker_order_id=""), make_update(WORKING, "back"))
    assert states(recover(facts(done, back), told, NONE, NONE)) == {"back": WORKING}


# what the broker does not name


@pytest.mark.parametrize("empty", [NONE, orders(), orders(make_update(WORKING, "other"))])
@pytest.mark.parametrize("known", [INTENDED, DOUBTFUL])
def test_an_intent_that_a_complete_answer_leaves_out_is_withdrawn(
    known: IntentState, empty: Answer[tuple[OrderUpdate, ...]]
) -> None:
    found = recover(facts(record(known)), empty, NONE, NONE)
    assert states(found) == {"a": WITHDRAWN}
    assert found.doubtful == ()


@pytest.mark.parametrize(("told", "made"), [(SILENT, NONE), (NONE, SILENT), (SILENT, SILENT)])
@pytest.mark.parametrize("known", [INTENDED, DOUBTFUL, WORKING])
def test_unknown_decides_nothing(
    known: IntentState, told: Answer[tuple[OrderUpdate, ...]], made: Answer[tuple[Fill, ...]]
) -> None:
    found = recover(facts(record(known)), told, made, NONE)
    assert found.updates == ()
    assert found.doubtful == (ref("a"),)
    assert not found.is_in_sync


def test_what_is_unknown_is_named() -> None:
    found = recover(facts(), SILENT, Unknown("refused"), SILENT)
    assert found.unknown == ("orders: timed out", "executions: refused", "positions: timed out")
    assert not found.is_in_sync
    assert recover(facts(), NONE, NONE, SILENT).unknown == ("positions: timed out",)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (INTENDED, OrderUpdate(ref("a"), WITHDRAWN, "b7", detail="the broker does not know the order")),
        (WORKING, OrderUpdate(ref("a"), CANCELLED, "b7", detail="the broker no longer has the order")),
    ],
)
def test_what_became_of_an_order_that_is_gone_is_said_and_its_number_kept(
    known: IntentState, expected: OrderUpdate
) -> None:
    found = recover(facts(replace(record(known), broker_order_id="b7")), NONE, NONE, NONE)
    assert found.updates == (expected,)


def test_an_acknowledged_order_that_is_gone_is_cancelled_with_what_it_filled() -> None:
    held = make_position(quantity=Decimal(3))
    found = recover(facts(record(WORKING, filled=Decimal(3)), positions=(held,)), NONE, NONE, holds(AAPL=3))
    assert states(found) == {"a": CANCELLED}
    assert found.updates[0].filled_quantity == 3
    assert found.is_in_sync


@pytest.mark.parametrize("known", [INTENDED, DOUBTFUL, WORKING])
def test_an_order_that_is_gone_but_filled_in_part_is_cancelled_and_its_fill_booked(known: IntentState) -> None:
    fill = make_fill(quantity=Decimal(4))
    found = recover(facts(record(known)), NONE, fills(fill), holds(AAPL=4))
    assert states(found) == {"a": CANCELLED}
    assert found.updates[0].filled_quantity == 4
    assert found.missing_fills == (MissingFill(fill, make_intent()),)
    assert found.is_in_sync


def test_an_order_that_was_reported_to_have_filled_is_not_withdrawn() -> None:
    found = recover(facts(record(DOUBTFUL, reported=Decimal(2))), NONE, NONE, NONE)
    assert states(found) == {"a": CANCELLED}
    assert found.awaiting_fills == (ref("a"),)
    assert not found.is_in_sync


@pytest.mark.parametrize("told", [NONE, SILENT])
def test_fills_that_cover_an_intent_decide_it(told: Answer[tuple[OrderUpdate, ...]]) -> None:
    found = recover(facts(record(DOUBTFUL)), told, fills(make_fill()), holds(AAPL=10))
    assert found.updates == ()
    assert len(found.missing_fills) == 1
    assert found.doubtful == ()


def test_an_intent_that_may_still_be_on_its_way_stays_in_doubt() -> None:
    found = recover(facts(record(name="new"), record(name="old")), NONE, NONE, NONE, settled={ref("old")})
    assert states(found) == {"old": WITHDRAWN}
    assert found.doubtful == (ref("new"),)


@pytest.mark.parametrize(
    ("created", "positions", "expected"),
    [
        (0, SILENT, {"a": WITHDRAWN}),
        (-0.001, SILENT, {}),
        (-0.001, holds(AAPL=10), {}),
        (-0.001, holds(MSFT=10), {"a": WITHDRAWN}),
        (-0.001, NONE, {"a": WITHDRAWN}),
    ],
)
def test_an_intent_older_than_the_brokers_memory_needs_agreeing_positions(
    created: float, positions: Answer[tuple[BrokerPosition, ...]], expected: dict[str, IntentState]
) -> None:
    found = recover(facts(record(created_at=at(created))), NONE, NONE, positions, remembered_since=T0)
    assert states(found) == expected
    assert found.doubtful == (() if expected else (ref("a"),))


# fills


def test_fills_that_are_missing_come_oldest_first_and_once() -> None:
    late, early = make_fill("x1", time=at(2), quantity=Decimal(5)), make_fill("x2", time=at(1), quantity=Decimal(5))
    answer = fills(late, early, late, make_fill("x0"))
    found = recover(facts(record(WORKING), booked=("x0",)), NONE, answer, NONE)
    assert [item.fill for item in found.missing_fills] == [early, late]


def test_a_late_fill_of_a_final_intent_is_missing_too() -> None:
    fill = make_fill(quantity=Decimal(1))
    found = recover(facts(record(CANCELLED)), NONE, fills(fill), holds(AAPL=1))
    assert [item.fill for item in found.missing_fills] == [fill]
    assert found.updates == ()
    assert found.is_in_sync


def test_a_filled_order_without_its_fills_keeps_waiting_for_them() -> None:
    told = orders(make_update(FILLED, filled_quantity=Decimal(10)))
    found = recover(facts(record(WORKING)), told, fills(make_fill(quantity=Decimal(9))), holds(AAPL=9))
    assert found.awaiting_fills == (ref("a"),)
    assert not found.is_in_sync
    whole = recover(facts(record(WORKING)), told, fills(make_fill()), holds(AAPL=10))
    assert whole.awaiting_fills == ()
    assert whole.is_in_sync


# what is not in the journal


def test_orders_and_fills_with_our_tag_but_no_intent_are_orphans() -> None:
    lost = make_update(WORKING, "lost")
    fill = make_fill(name="lost")
    found = recover(facts(), orders(lost), fills(fill), holds(AAPL=10))
    assert (found.orphan_orders, found.orphan_fills) == ((lost,), (fill,))
    assert found.foreign_orders == ()
    assert found.missing_fills == ()
    assert not found.is_in_sync
    assert not recover(facts(), orders(lost), NONE, NONE).is_in_sync
    assert not recover(facts(), NONE, fills(fill), holds(AAPL=10)).is_in_sync


@pytest.mark.parametrize("sequence", [4, 5, 300])
def test_an_exit_of_a_position_we_hold_that_was_not_written_down_is_taken_up(sequence: int) -> None:
    held = make_position("a", exit_sequence=3)
    sent = exit_ref(OWNER, "p-a", sequence)
    told = make_update(FILLED, order_ref=sent, filled_quantity=Decimal(10))
    fill = make_fill(order_ref=sent, side=Side.SELL)
    found = recover(facts(positions=(held,)), orders(told), fills(fill), NONE)
    assert found.unrecorded == (UnrecordedOrder(sent, "p-a", sequence, told, (fill,)),)
    assert (found.orphan_orders, found.orphan_fills) == ((), ())
    assert not found.is_in_sync, "until it is written"


@pytest.mark.parametrize(("sequence", "is_ours"), [(UNRECORDED_AT_MOST, True), (UNRECORDED_AT_MOST + 1, False)])
def test_no_more_exits_are_looked_for_than_could_have_been_tried(sequence: int, is_ours: bool) -> None:
    sent = make_update(WORKING, order_ref=exit_ref(OWNER, "p-a", sequence))
    found = recover(facts(positions=(make_position(),)), orders(sent), NONE, holds(AAPL=10))
    assert (len(found.unrecorded), len(found.orphan_orders)) == ((1, 0) if is_ours else (0, 1))


@pytest.mark.parametrize(("leg", "order_type"), [(Leg.STOP, OrderType.STOP), (Leg.TARGET, OrderType.LIMIT)])
@pytest.mark.parametrize("revision", [8, 9, 400])
def test_a_protective_order_that_was_not_written_down_is_taken_up(
    leg: Leg, order_type: OrderType, revision: int
) -> None:
    held = make_position("a", exit_sequence=3, protection_revision=7)
    sent = protective_ref(OWNER, "p-a", leg, revision)
    told = make_update(WORKING, order_ref=sent)
    found = recover(facts(positions=(held,)), orders(told), NONE, holds(AAPL=10))
    taken = UnrecordedOrder(sent, "p-a", revision, told, (), IntentKind.PROTECTIVE, order_type)
    assert found.unrecorded == (taken,)
    assert found.orphan_orders == ()


def test_terms_that_the_broker_names_decide_what_is_still_to_come() -> None:
    resting = {"kind": IntentKind.PROTECTIVE, "order_type": OrderType.STOP, "stop_price": Decimal(98)}
    terms = OrderTerms(Decimal(4), stop_price=Decimal(98))
    filled = make_update(FILLED, filled_quantity=Decimal(4), terms=terms)
    sold = make_fill(side=Side.SELL, quantity=Decimal(4))
    found = recover(facts(record(WORKING, **resting)), orders(filled), fills(sold), holds(AAPL=-4))
    assert found.awaiting_fills == ()
    assert [update.terms for update in found.updates] == [terms]


@pytest.mark.parametrize(
    "other",
    [exit_ref(OWNER, "p-a", 3), exit_ref(OWNER, "p-b", 4), exit_ref("another", "p-a", 4)],
    ids=["an exit of before", "another position", "another owner"],
)
def test_no_other_order_is_taken_for_an_exit_that_was_not_written_down(other: str) -> None:
    held = make_position("a", exit_sequence=3)
    found = recover(facts(positions=(held,)), orders(make_update(WORKING, order_ref=other)), NONE, holds(AAPL=10))
    assert found.unrecorded == ()
    assert len(found.orphan_orders) + len(found.foreign_orders) == 1


def test_orders_and_fills_of_others_are_foreign_and_change_nothing() -> None:
    theirs = make_update(WORKING, order_ref="ob1.someones.a")
    by_hand = make_update(FILLED, order_ref="")
    found = recover(facts(), orders(theirs, by_hand), fills(make_fill(order_ref="ob1.someones.a")), holds(AAPL=10))
    assert found.foreign_orders == (theirs, by_hand)
    assert (found.orphan_orders, found.orphan_fills, found.missing_fills) == ((), (), ())
    assert found.differences == (PositionDifference("AAPL", ZERO, Decimal(10), is_foreign=True),)
    assert found.is_in_sync


def test_without_an_owner_nothing_unknown_is_ours() -> None:
    nobody = replace(facts(), owner_tag=None)
    found = recover(nobody, orders(make_update(WORKING)), NONE, NONE)
    assert len(found.foreign_orders) == 1


# positions


def test_lots_of_a_symbol_are_compared_together_with_their_missing_fills() -> None:
    lots = (make_position("a"), make_position("b", strategy="other", quantity=Decimal(5)))
    sold = make_fill(side=Side.SELL, quantity=Decimal(2))
    known = facts(record(WORKING), positions=lots)
    assert recover(known, NONE, fills(sold), holds(AAPL=13)).differences == ()
    found = recover(known, NONE, fills(sold), holds(AAPL=15))
    assert found.differences == (PositionDifference("AAPL", Decimal(13), Decimal(15), is_foreign=False),)
    assert not found.is_in_sync


def test_what_the_broker_holds_of_a_symbol_in_parts_is_one_position() -> None:
    parts = Value(tuple(BrokerPosition("AAPL", Decimal(held), Decimal(100)) for held in (4, 6)))
    assert recover(facts(positions=(make_position(),)), NONE, NONE, parts).differences == ()


def test_nothing_held_is_the_same_as_not_held() -> None:
    flat = make_position(quantity=ZERO)
    assert recover(facts(positions=(flat,)), NONE, NONE, NONE).differences == ()
    assert recover(facts(), NONE, NONE, holds(MSFT=0)).differences == ()


def test_a_position_that_the_broker_does_not_hold_differs() -> None:
    found = recover(facts(positions=(make_position(),)), NONE, NONE, NONE)
    assert found.differences == (PositionDifference("AAPL", Decimal(10), ZERO, is_foreign=False),)


def test_a_difference_where_an_order_of_ours_is_open_is_not_foreign() -> None:
    found = recover(facts(record(WORKING)), orders(make_update(WORKING)), NONE, holds(AAPL=10))
    assert [difference.is_foreign for difference in found.differences] == [False]
    closed = recover(facts(record(CANCELLED)), NONE, NONE, holds(AAPL=10))
    assert [difference.is_foreign for difference in closed.differences] == [True]


@pytest.mark.parametrize(("made", "held"), [(SILENT, NONE), (NONE, SILENT)])
def test_positions_are_not_compared_with_half_an_answer(
    made: Answer[tuple[Fill, ...]], held: Answer[tuple[BrokerPosition, ...]]
) -> None:
    assert recover(facts(positions=(make_position(),)), NONE, made, held).differences == ()


# properties


state_values = st.sampled_from(IntentState)
names = st.sampled_from("abc")
records = st.builds(
    record, state_values, names, filled=st.integers(0, 10).map(Decimal), created_at=st.sampled_from([at(-9), T0, at(9)])
)
updates = st.builds(
    make_update,
    state_values.filter(lambda s: s is not WITHDRAWN),
    names,
    filled_quantity=st.integers(0, 10).map(Decimal),
)
made_fills = st.builds(make_fill, st.sampled_from("uvwxyz"), names, quantity=st.integers(1, 5).map(Decimal))


def answers(items: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(st.just(NONE), st.just(SILENT), st.lists(items, max_size=4).map(lambda found: Value(tuple(found))))


@given(
    st.lists(records, max_size=3),
    answers(updates),
    answers(made_fills),
    st.sampled_from([NONE, SILENT, holds(AAPL=5)]),
    st.sampled_from([None, T0]),
    st.one_of(st.none(), st.sets(names.map(ref))),
)
def test_every_open_intent_is_decided_named_or_working(known, told, made, held, since, settled) -> None:  # type: ignore[no-untyped-def]
    before_comparing = facts(*known)
    found = recover(before_comparing, told, made, held, remembered_since=since, settled=settled)
    named = {update.order_ref for update in told.value} if isinstance(told, Value) else set()
    missing = {item.fill.order_ref for item in found.missing_fills}
    decided = {update.order_ref: update for update in found.updates}
    for order_ref, item in before_comparing.records.items():
        if item.state.is_final or order_ref in found.doubtful:
            continue
        assert order_ref in decided or order_ref in named or order_ref in missing or item.filled >= 10
    for order_ref, update in decided.items():
        if update.state is WITHDRAWN:
            assert not isinstance(told, Unknown)
            assert not isinstance(made, Unknown)
            assert order_ref not in named
            assert order_ref not in missing
            assert before_comparing.records[order_ref].filled == 0
            assert settled is None or order_ref in settled
    if isinstance(told, Unknown):
        assert found.updates == ()


# through the journal


async def test_the_journal_knows_the_intents_and_fills_that_the_answers_name(
    journal: Journal, clock: SimulatedClock
) -> None:
    await journal.adopt_owner("u")
    await journal.begin_epoch(1)
    await journal.commit_intents([make_intent("open"), make_intent("done"), make_intent("sent", symbol="MSFT")])
    await journal.record_fill(make_fill("x1", "done"), make_position("done"), None)
    told = orders(make_update(FILLED, "done"), make_update(WORKING, "open"), make_update(WORKING, "lost"))
    made = fills(make_fill("x1", "done"), make_fill("x2", "open", quantity=Decimal(3)))
    found = await journal.compare(told, made, holds(AAPL=13))
    assert states(found) == {"done": FILLED, "open": WORKING, "sent": WITHDRAWN}
    assert [item.fill.execution_id for item in found.missing_fills] == ["x2"]
    assert [update.order_ref for update in found.orphan_orders] == [ref("lost")]
    assert found.differences == ()
    assert (await journal.compare(SILENT, SILENT, SILENT)).doubtful == (ref("open"), ref("sent"))


async def test_what_may_still_be_on_its_way_or_be_forgotten_is_asked_of_the_journal_too(journal: Journal) -> None:
    await journal.begin_epoch(1)
    await journal.commit_intents([make_intent("a")])
    assert states(await journal.compare(NONE, NONE, SILENT)) == {"a": WITHDRAWN}
    assert (await journal.compare(NONE, NONE, SILENT, settled=())).doubtful == (ref("a"),)
    assert (await journal.compare(NONE, NONE, SILENT, remembered_since=at(1))).doubtful == (ref("a"),)


async def test_intents_that_are_over_are_known_where_the_broker_names_them_by_an_order_or_by_a_fill_alone(
    journal: Journal,
) -> None:
    await journal.adopt_owner("u")
    await journal.begin_epoch(1)
    await journal.commit_intents([make_intent("named"), make_intent("late")])
    for name in ("named", "late"):
        await journal.record_update(make_update(CANCELLED, name))
    late = make_fill("x1", "late", quantity=Decimal(1))
    found = await journal.compare(orders(make_update(WORKING, "named")), fills(late), SILENT)
    assert found.missing_fills == (MissingFill(late, make_intent("late")),)
    assert (found.updates, found.orphan_orders, found.orphan_fills) == ((), (), ())


async def test_what_could_not_be_written_down_is_compared_as_memory_has_it(journal: Journal) -> None:
    await journal.adopt_owner("u")
    await journal.begin_epoch(1)
    await journal.commit_intents([make_intent("known"), make_intent("left")])
    memory = Memory(
        {
            ref("known"): record(FILLED, "known", filled=Decimal(10), reported=Decimal(10)),
            ref("new"): record(WORKING, "new"),
        },
        (make_position("known"),),
        frozenset({"x1"}),
    )
    made = fills(make_fill("x1", "known"), make_fill("x2", "new", quantity=Decimal(3)))
    found = await journal.compare(NONE, made, holds(AAPL=13), memory=memory)
    assert [item.fill.execution_id for item in found.missing_fills] == ["x2"]
    assert states(found) == {"new": CANCELLED, "left": WITHDRAWN}
    assert found.orphan_fills == ()
    assert found.awaiting_fills == ()
    assert found.differences == ()
