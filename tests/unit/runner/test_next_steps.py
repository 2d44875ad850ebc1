"""What is done next about one lot, for every state that its orders can be in."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from fakes.values import T0, make_intent, make_position
from openbell.domain.identity import Leg
from openbell.domain.orders import IntentKind, IntentState, OrderTerms, OrderType, Side
from openbell.domain.policies import encode_policy
from openbell.domain.positions import Escalation, ExitPolicy, ScaleOut, TrailingStop
from openbell.domain.reasons import ExitReason
from openbell.engine.exits import Exit
from openbell.journal import IntentRecord
from openbell.runner.inflight import InFlight, Standing, could_fill
from openbell.runner.next_steps import Cancel, Leave, Look, Modify, Protect, carried_on, next_steps

POLICY = ExitPolicy(broker_side=True, escalation=Escalation(5), scale_out=(ScaleOut(0.01, 0.3),))
LOT = make_position(policy=POLICY, opened_quantity=Decimal(10))
WHOLE = Exit(ExitReason.STOP_LOSS, Side.SELL, Decimal(10), "", Decimal(100))
PART = Exit(ExitReason.PARTIAL_TARGET, Side.SELL, Decimal(3), "", Decimal(100))


def record(name: str, state: IntentState = IntentState.WORKING, **changes: Any) -> IntentRecord:
    told = {key: Decimal(changes.pop(key, 0)) for key in ("filled", "reported")}
    values = {"side": Side.SELL, "position_id": "p-a", "oca_group": "g"} | changes
    intent = make_intent(name, **values)
    return IntentRecord(intent, state, told["filled"], told["reported"], Decimal(0), "b", "", T0)


def leg(kind: Leg, state: IntentState = IntentState.WORKING, **changes: Any) -> InFlight:
    flying = {
        key: changes.pop(key) for key in ("asked", "asked_at", "times_asked", "cancel_asked_at") if key in changes
    }
    price = Decimal(changes.pop("price", 98 if kind is Leg.STOP else 104))
    is_stop = kind is Leg.STOP
    values = {
        "kind": IntentKind.PROTECTIVE,
        "order_type": OrderType.STOP if is_stop else OrderType.LIMIT,
        "stop_price": price if is_stop else None,
        "limit_price": None if is_stop else price,
        "exits": encode_policy(POLICY),
        "reference_price": LOT.average_price,
    }
    return InFlight(record(kind.value, state, **(values | changes)), **flying)


def leaving(
    order_type: OrderType = OrderType.MARKET, state: IntentState = IntentState.WORKING, **changes: Any
) -> InFlight:
    flying = {key: changes.pop(key) for key in ("cancel_asked_at",) if key in changes}
    limit = Decimal(100) if order_type is OrderType.LIMIT else None
    values = {"kind": IntentKind.EXIT, "order_type": order_type, "limit_price": limit, "reason": "TAKE_PROFIT"}
    return InFlight(record("x", state, **(values | changes)), **flying)


STOP, TARGET = leg(Leg.STOP), leg(Leg.TARGET)
CANCELS = (Cancel(STOP.intent.order_ref), Cancel(TARGET.intent.order_ref))


def look(**changes: Any) -> Look:
    values: dict[str, Any] = {
        "position": LOT,
        "due": None,
        "is_urgent": False,
        "is_overdue": False,
        "cap": Decimal(10),
        "now": 100.0,
    }
    return Look(**(values | changes))


def standing(*legs: InFlight, **changes: Any) -> Standing:
    return Standing(**({"exit": None, "legs": legs} | changes))


# -- protecting ------------------------------------------------------------------------------------------------------


def test_a_lot_without_protection_gets_a_stop_and_a_target_of_one_group() -> None:
    assert next_steps(look(), standing()) == (
        Protect(Leg.STOP, Decimal(10), Decimal("98.0000"), None),
        Protect(Leg.TARGET, Decimal(10), Decimal("104.0000"), None),
    )


def test_a_protected_lot_is_left_in_peace() -> None:
    assert next_steps(look(), standing(STOP, TARGET)) == ()


def test_a_leg_that_is_missing_joins_the_other_ones_group() -> None:
    (placed,) = next_steps(look(), standing(STOP))
    assert placed == Protect(Leg.TARGET, Decimal(10), Decimal("104.0000"), "g")


@pytest.mark.parametrize(
    "change",
    [{"cap": None}, {"position": replace(LOT, policy=replace(POLICY, broker_side=False))}],
    ids=["the broker's word is not certain", "nobody wants it"],
)
def test_nothing_is_placed_where(change: dict[str, Any]) -> None:
    assert next_steps(look(**change), standing()) == ()


def test_what_the_broker_refused_a_moment_ago_is_not_placed_again() -> None:
    assert next_steps(look(), standing(is_refused=True)) == ()


def test_protection_that_nobody_wants_any_more_is_ended() -> None:
    plain = replace(LOT, policy=replace(POLICY, broker_side=False))
    assert next_steps(look(position=plain), standing(STOP, TARGET)) == CANCELS


def test_a_leg_that_is_being_cancelled_is_replaced_only_when_it_is_gone() -> None:
    going = leg(Leg.STOP, cancel_asked_at=99.0)
    assert next_steps(look(), standing(going, TARGET)) == (Cancel(going.intent.order_ref),)
    assert next_steps(look(), standing(TARGET)) == (Protect(Leg.STOP, Decimal(10), Decimal("98.0000"), "g"),)


def test_a_second_leg_of_a_kind_is_ended() -> None:
    double = leg(Leg.STOP, order_ref="ob1.rqxfrjxf.z")
    assert next_steps(look(), standing(STOP, TARGET, double)) == (Cancel("ob1.rqxfrjxf.z"),)


def test_a_lot_that_grew_has_its_legs_follow() -> None:
    small = leg(Leg.STOP, quantity=Decimal(4)), leg(Leg.TARGET, quantity=Decimal(4))
    assert next_steps(look(), standing(*small)) == (
        Modify(STOP.intent.order_ref, OrderTerms(Decimal(10), stop_price=Decimal("98.0000"))),
        Modify(TARGET.intent.order_ref, OrderTerms(Decimal(10), limit_price=Decimal("104.0000"))),
    )


@pytest.mark.parametrize("state", [IntentState.INTENDED, IntentState.DOUBTFUL])
def test_a_leg_that_the_broker_has_not_acknowledged_is_not_changed(state: IntentState) -> None:
    small = leg(Leg.STOP, state, quantity=Decimal(4))
    assert next_steps(look(), standing(small, TARGET)) == ()


TRAILED = replace(
    LOT, policy=replace(POLICY, trailing=TrailingStop(0.01, 0.01)), best_price=Decimal(110)
)  # the trailing stop hangs at 108.9


def trailed(**changes: Any) -> InFlight:
    return leg(Leg.STOP, exits=encode_policy(TRAILED.policy), **changes)


def test_a_stop_follows_the_best_price_up() -> None:
    (change,) = next_steps(look(position=TRAILED), standing(trailed(), TARGET))
    assert change == Modify(STOP.intent.order_ref, OrderTerms(Decimal(10), stop_price=Decimal("108.9000")))


def test_a_stop_follows_the_price_no_more_often_than_every_five_seconds() -> None:
    assert next_steps(look(position=TRAILED, now=104.9), standing(trailed(asked_at=100.0), TARGET)) == ()
    assert len(next_steps(look(position=TRAILED, now=105.0), standing(trailed(asked_at=100.0), TARGET))) == 1


def test_a_stop_never_goes_back_under_the_same_rule() -> None:
    assert next_steps(look(position=TRAILED), standing(trailed(price="109.5"), TARGET)) == ()


def test_a_stop_goes_back_where_a_person_changed_the_rule() -> None:
    wider = replace(LOT, policy=replace(POLICY, stop_loss=0.05))
    (change,) = next_steps(look(position=wider), standing(STOP, TARGET))
    assert change == Modify(STOP.intent.order_ref, OrderTerms(Decimal(10), stop_price=Decimal("95.0000")))


def test_while_a_change_has_no_answer_the_same_one_alone_is_asked_for_again_and_in_the_end_the_order_is_replaced() -> (
    None
):
    asked = OrderTerms(Decimal(7), stop_price=Decimal(98))

    def steps(now: float, times: int) -> object:
        changing = leg(Leg.STOP, asked=asked, asked_at=100.0, times_asked=times)
        return next_steps(look(now=now), standing(changing, TARGET))

    assert steps(104.9, 1) == ()
    assert steps(105.0, 1) == (Modify(STOP.intent.order_ref, asked),)
    assert steps(105.0, 3) == (Cancel(STOP.intent.order_ref),)


# -- leaving ---------------------------------------------------------------------------------------------------------


def test_an_exit_of_the_whole_lot_goes_at_once_beside_its_protection() -> None:
    assert next_steps(look(due=WHOLE), standing(STOP, TARGET)) == (Leave(WHOLE),)
    assert standing(STOP, TARGET).joinable == "g"
    assert standing().joinable == ""


@pytest.mark.parametrize(
    ("legs", "rest"),
    [
        ((STOP, TARGET), {"won": frozenset({"g"})}),
        ((STOP, leg(Leg.TARGET, oca_group="other")), {}),
        ((leg(Leg.STOP, oca_group=""),), {}),
        ((STOP, TARGET), {"last": record("x", IntentState.REJECTED)}),
    ],
    ids=["the group had its fill", "two groups", "no group", "the broker refused an exit"],
)
def test_where_there_is_no_group_to_join_the_protection_goes_first(
    legs: tuple[InFlight, ...], rest: dict[str, Any]
) -> None:
    found = standing(*legs, **rest)
    assert found.joinable is None
    steps = next_steps(look(due=WHOLE), found)
    assert {step.order_ref for step in steps if isinstance(step, Cancel)} == {each.intent.order_ref for each in legs}
    assert not any(isinstance(step, Leave) for step in steps)


def test_a_part_is_left_only_when_the_protection_is_confirmed_to_be_for_the_rest() -> None:
    shrink = next_steps(look(due=PART), standing(STOP, TARGET))
    assert [(step.terms.quantity if isinstance(step, Modify) else step) for step in shrink] == [7, 7]
    asked = OrderTerms(Decimal(7), stop_price=Decimal("98.0000"))
    half = leg(Leg.STOP, asked=asked, asked_at=99.0, times_asked=1), leg(Leg.TARGET, quantity=Decimal(7))
    assert next_steps(look(due=PART), standing(*half)) == ()
    both = leg(Leg.STOP, quantity=Decimal(7)), leg(Leg.TARGET, quantity=Decimal(7))
    assert next_steps(look(due=PART), standing(*both)) == (Leave(PART),)


def test_while_a_part_is_leaving_the_rest_stays_protected() -> None:
    part = leaving(quantity=Decimal(3), reason="PARTIAL_TARGET", oca_group="")
    both = leg(Leg.STOP, quantity=Decimal(7)), leg(Leg.TARGET, quantity=Decimal(7))
    assert next_steps(look(), standing(*both, exit=part)) == ()
    assert [type(step) for step in next_steps(look(), standing(exit=part))] == [Protect, Protect]


def test_while_the_whole_lot_is_leaving_nothing_else_is_done() -> None:
    for due in (None, WHOLE, PART):
        assert next_steps(look(due=due, is_urgent=due is WHOLE), standing(STOP, exit=leaving())) == ()


@pytest.mark.parametrize("change", [{"is_overdue": True}, {"due": WHOLE, "is_urgent": True}], ids=["late", "urgent"])
def test_a_limit_order_is_told_to_go_and_nothing_is_sold_before_it_has_gone(change: dict[str, Any]) -> None:
    waiting = leaving(OrderType.LIMIT)
    assert next_steps(look(**change), standing(STOP, TARGET, exit=waiting)) == (Cancel(waiting.intent.order_ref),)
    going = leaving(OrderType.LIMIT, cancel_asked_at=1.0)
    assert next_steps(look(**change, now=1e6), standing(STOP, TARGET, exit=going)) == ()
    doubtful = leaving(OrderType.LIMIT, IntentState.DOUBTFUL)
    assert next_steps(look(**change, now=1e6), standing(STOP, TARGET, exit=doubtful)) == ()


def test_a_limit_order_in_time_waits() -> None:
    due = replace(WHOLE, reason=ExitReason.TAKE_PROFIT)
    assert next_steps(look(due=due), standing(STOP, TARGET, exit=leaving(OrderType.LIMIT))) == ()


def test_a_stop_that_is_being_filled_is_the_exit() -> None:
    winner = leg(Leg.STOP, filled=4)
    assert next_steps(look(due=WHOLE, is_urgent=True), standing(winner)) == ()
    assert next_steps(look(), standing(winner, TARGET, won=frozenset({"g"}))) == (Cancel(TARGET.intent.order_ref),)


def test_a_target_that_is_filled_in_part_gives_way_when_an_exit_is_due() -> None:
    winner = leg(Leg.TARGET, reported=4)
    assert next_steps(look(), standing(winner)) == ()
    assert next_steps(look(due=WHOLE), standing(winner)) == (Cancel(winner.intent.order_ref),)


# -- going on after a limit order --------------------------------------------------------------------------------------


def last(
    state: IntentState = IntentState.CANCELLED, order_type: OrderType = OrderType.LIMIT, **changes: Any
) -> IntentRecord:
    return leaving(order_type, state, **changes).record


def test_a_limit_order_that_ended_in_vain_is_followed_by_a_market_order_with_its_reason() -> None:
    assert carried_on(LOT, last()) == (ExitReason.TAKE_PROFIT, Decimal(10))
    assert carried_on(replace(LOT, quantity=Decimal(6)), last(filled=4)) == (ExitReason.TAKE_PROFIT, Decimal(6))
    assert carried_on(LOT, last(IntentState.REJECTED)) == (ExitReason.TAKE_PROFIT, Decimal(10))


def test_of_a_part_what_is_left_of_the_part_follows_and_never_more_than_the_last_rung() -> None:
    part = {"quantity": Decimal(3), "reason": "PARTIAL_TARGET"}
    assert carried_on(replace(LOT, quantity=Decimal(9)), last(filled=1, **part)) == (
        ExitReason.PARTIAL_TARGET,
        Decimal(2),
    )
    assert carried_on(replace(LOT, quantity=Decimal(8)), last(**part)) == (ExitReason.PARTIAL_TARGET, Decimal(1))
    assert carried_on(replace(LOT, quantity=Decimal(7)), last(**part)) is None


@pytest.mark.parametrize(
    "ended",
    [
        None,
        last(IntentState.FILLED, filled=10),
        last(IntentState.WITHDRAWN),
        last(order_type=OrderType.MARKET),
        last(IntentState.CANCELLED, filled=10),
    ],
    ids=["none", "filled", "never there", "a market order", "cancelled too late"],
)
def test_nothing_is_carried_on_after(ended: IntentRecord | None) -> None:
    assert carried_on(LOT, ended) is None


# -- in every state ----------------------------------------------------------------------------------------------------

T = TypeVar("T")


class Picked:
    """A state made of bytes: one of them makes each choice. Drawing the choices one by one took most of the time."""

    def __init__(self, content: bytes) -> None:
        self._content = iter(content)

    def one(self, *options: T) -> T:
        return options[next(self._content) % len(options)]

    def leg(self, kind: Leg) -> InFlight | None:
        there = leg(
            kind,
            self.one(*IntentState),
            quantity=self.one(Decimal(10), Decimal(7)),
            asked=self.one(None, OrderTerms(Decimal(7)), OrderTerms(Decimal(10))),
            asked_at=self.one(0.0, 99.0),
            times_asked=self.one(0, 1, 2, 3),
            cancel_asked_at=self.one(None, 99.0),
            oca_group=self.one("g", "g", "h"),
            filled=self.one(0, 0, 0, 2),
        )
        return self.one(there, None)


CHOICES = 2 * 9 + 8


@settings(max_examples=1000, deadline=None)
@given(st.binary(min_size=CHOICES, max_size=CHOICES))
def test_in_no_state_could_the_steps_fill_more_than_the_lot(content: bytes) -> None:
    picked = Picked(content)
    there = tuple(each for each in (picked.leg(Leg.STOP), picked.leg(Leg.TARGET)) if each is not None)
    limit, exit_state = picked.one(None, OrderType.LIMIT, OrderType.MARKET), picked.one(*IntentState)
    due = picked.one(None, WHOLE, PART)
    urgent, overdue = picked.one(False, True), picked.one(False, True)
    won = {group for group in ("g", "h") if picked.one(False, True)}
    cap = picked.one(None, Decimal(10), Decimal(4))
    under_way = None if limit is None else leaving(limit, exit_state)
    note(f"{there} {under_way} {due} urgent={urgent} overdue={overdue} won={won} cap={cap}")
    groups = {each.intent.oca_group for each in there}
    before = could_fill((*there, under_way) if under_way else there)
    steps = next_steps(
        look(due=due, is_urgent=urgent, is_overdue=overdue, cap=cap),
        Standing(under_way, there, won=frozenset(won)),
    )
    leaves = [step for step in steps if isinstance(step, Leave)]
    assert len(leaves) <= 1
    if leaves:
        assert under_way is None
        assert not any(each.has_filled for each in there)
        assert all(isinstance(step, Leave | Cancel) for step in steps)
        if leaves[0].exit.reason is ExitReason.PARTIAL_TARGET:
            assert before + leaves[0].exit.quantity <= 10
        else:
            assert not groups or (len(groups) == 1 and not groups & won)
    for step in steps:
        if isinstance(step, Protect):
            assert under_way is None or under_way.intent.reason == "PARTIAL_TARGET"
            assert step.quantity <= min(Decimal(10), cap or Decimal(0))
            assert step.group is None or step.group in groups
            assert step.group is not None or not there, "a second group beside one that may fill"
        if isinstance(step, Modify):
            changed = next(each for each in there if each.intent.order_ref == step.order_ref)
            assert changed.record.state is IntentState.WORKING
            assert changed.asked in {None, step.terms}
