"""What updates and fills make of an intent, in any order."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.values import T0, at, make_fill, make_intent, make_update
from openbell.domain.orders import Fill, IntentKind, IntentState, OrderTerms, OrderType, OrderUpdate
from openbell.journal.lifecycle import after_fill, after_split, after_update
from openbell.journal.values import IntentRecord

N, D, W, F, C, R, X = (
    IntentState.INTENDED,
    IntentState.DOUBTFUL,
    IntentState.WORKING,
    IntentState.FILLED,
    IntentState.CANCELLED,
    IntentState.REJECTED,
    IntentState.WITHDRAWN,
)
ZERO = Decimal(0)


def record(state: IntentState = N, **changes: object) -> IntentRecord:
    fresh = IntentRecord(make_intent(), state, ZERO, ZERO, ZERO, "", "", T0)
    return replace(fresh, **changes)  # type: ignore[arg-type]


# from \ told:       N  D  W  F  C  R  X
AFTER = {
    N: {N: N, D: D, W: W, F: F, C: C, R: R, X: X},
    D: {N: D, D: D, W: W, F: F, C: C, R: R, X: X},
    W: {N: W, D: W, W: W, F: F, C: C, R: R, X: W},
    F: {N: F, D: F, W: F, F: F, C: F, R: F, X: F},
    C: {N: C, D: C, W: C, F: C, C: C, R: C, X: C},
    R: {N: R, D: R, W: R, F: R, C: R, R: R, X: R},
    X: {N: X, D: X, W: W, F: F, C: C, R: R, X: X},
}


@pytest.mark.parametrize(("known", "told"), [(known, told) for known in AFTER for told in AFTER[known]])
def test_only_the_brokers_word_moves_an_intent_and_never_back(known: IntentState, told: IntentState) -> None:
    assert after_update(record(known), make_update(told), at(1)).state is AFTER[known][told]


def resting(state: IntentState, **changes: object) -> IntentRecord:
    stop = make_intent(kind=IntentKind.PROTECTIVE, order_type=OrderType.STOP, stop_price=Decimal(98))
    return replace(record(state, **changes), intent=stop)


def terms(quantity: int) -> OrderTerms:
    return OrderTerms(Decimal(quantity), stop_price=Decimal(98))


@pytest.mark.parametrize(("told", "expected"), [(terms(12), W), (terms(10), F), (None, F)])
def test_a_protective_order_that_works_for_more_at_the_broker_is_not_over(
    told: OrderTerms | None, expected: IntentState
) -> None:
    filled = resting(F, filled=Decimal(10), reported=Decimal(10))
    after = after_update(filled, make_update(W, terms=told, filled_quantity=Decimal(10)), at(1))
    assert after.state is expected
    assert after.intent.quantity == (12 if expected is W else 10)
    plain = record(F, filled=Decimal(10))
    assert after_update(plain, make_update(W, terms=terms(12)), at(1)).state is F


def test_terms_are_taken_of_protective_orders_alone_and_only_where_they_fit() -> None:
    assert after_update(resting(W), make_update(W, terms=terms(4)), at(1)).intent.terms == terms(4)
    assert after_update(record(W), make_update(W, terms=OrderTerms(Decimal(4))), at(1)).intent.quantity == 10
    for odd in (OrderTerms(Decimal(4)), OrderTerms(Decimal(4), Decimal(98)), OrderTerms(ZERO, stop_price=Decimal(98))):
        assert after_update(resting(W), make_update(W, terms=odd), at(1)).intent.quantity == 10
    for over in (C, R):
        assert after_update(resting(over), make_update(W, terms=terms(4)), at(1)).intent.quantity == 10


def test_both_prices_of_a_protective_order_follow_the_broker_down_to_a_single_share() -> None:
    target = make_intent(kind=IntentKind.PROTECTIVE, order_type=OrderType.LIMIT, limit_price=Decimal(110))
    moved = OrderTerms(Decimal(1), limit_price=Decimal(111))
    assert after_update(replace(record(W), intent=target), make_update(W, terms=moved), at(1)).intent.terms == moved
    raised = OrderTerms(Decimal(1), stop_price=Decimal(99))
    assert after_update(resting(W), make_update(W, terms=raised), at(1)).intent.terms == raised


def test_a_split_changes_quantities_and_every_price_the_other_way() -> None:
    resting_both = make_intent(
        kind=IntentKind.PROTECTIVE,
        order_type=OrderType.STOP,
        stop_price=Decimal(98),
        limit_price=Decimal(90),
    )
    known = replace(record(W, filled=Decimal(4), reported=Decimal(6), average_price=Decimal(100)), intent=resting_both)
    after = after_split(known, Decimal(2), at(5))
    assert after.intent == replace(
        resting_both,
        quantity=Decimal(20),
        reference_price=Decimal("50.125"),
        stop_price=Decimal(49),
        limit_price=Decimal(45),
    )
    assert (after.filled, after.reported, after.average_price, after.updated_at) == (8, 12, 50, at(5))
    market = after_split(record(W), Decimal(2), at(5)).intent
    assert (market.limit_price, market.stop_price) == (None, None)


def test_the_last_word_on_an_order_brings_its_last_terms() -> None:
    after = after_update(
        resting(W, filled=Decimal(4)), make_update(F, terms=terms(4), filled_quantity=Decimal(4)), at(1)
    )
    assert (after.state, after.intent.quantity, after.is_open) == (F, 4, False)


@pytest.mark.parametrize("known", [{"filled": Decimal(1)}, {"reported": Decimal(1)}])
def test_what_has_traded_cannot_be_withdrawn(known: dict[str, object]) -> None:
    assert after_update(record(D, **known), make_update(X), at(1)).state is D


def test_a_repeated_update_changes_nothing_not_even_the_time() -> None:
    once = after_update(record(), make_update(W, filled_quantity=Decimal(3), detail="accepted"), at(1))
    assert once.updated_at == at(1)
    assert after_update(once, make_update(W, filled_quantity=Decimal(3), detail="accepted"), at(2)) is once


def test_the_cumulative_quantity_only_grows_also_after_the_end() -> None:
    working = after_update(record(), make_update(W, filled_quantity=Decimal(4)), at(1))
    assert after_update(working, make_update(W, filled_quantity=Decimal(3)), at(2)).reported == 4
    cancelled = after_update(working, make_update(C, filled_quantity=Decimal(4)), at(2))
    late = after_update(cancelled, make_update(W, filled_quantity=Decimal(5), detail="late"), at(3))
    assert (late.state, late.reported, late.detail) == (C, Decimal(5), "")


def test_the_detail_belongs_to_the_state_that_holds() -> None:
    rejected = after_update(record(), make_update(R, detail="no permission"), at(1))
    assert rejected.detail == "no permission"
    assert after_update(rejected, make_update(W, detail="accepted"), at(2)).detail == "no permission"
    assert after_update(rejected, make_update(R, detail=""), at(2)).detail == "no permission"


@pytest.mark.parametrize(
    ("known", "quantity", "expected"),
    [(N, 10, F), (N, 9, W), (D, 9, W), (W, 9, W), (W, 10, F), (W, 11, F), (C, 10, C), (R, 10, R), (F, 10, F),
     (X, 9, W), (X, 10, F)],
)  # fmt: skip
def test_a_fill_always_books_and_moves_only_what_is_open(
    known: IntentState, quantity: int, expected: IntentState
) -> None:
    after = after_fill(record(known), make_fill(quantity=Decimal(quantity)), at(1))
    assert (after.state, after.filled, after.reported) == (expected, quantity, quantity)
    assert after.updated_at == at(1)


def test_a_fill_that_was_already_reported_does_not_add_to_the_report() -> None:
    after = after_fill(record(W, reported=Decimal(7)), make_fill(quantity=Decimal(5)), at(1))
    assert (after.filled, after.reported) == (5, 7)
    assert after.expects_fills


def test_the_average_price_is_weighted_by_quantity() -> None:
    first = after_fill(record(W), make_fill(quantity=Decimal(4), price=Decimal(100)), at(1))
    second = after_fill(first, make_fill(quantity=Decimal(6), price=Decimal(105)), at(2))
    assert (first.average_price, second.average_price) == (Decimal(100), Decimal(103))


def test_the_brokers_id_is_kept_until_it_gives_another() -> None:
    known = after_update(record(), make_update(W, broker_order_id="7"), at(1))
    assert after_update(known, make_update(W, broker_order_id=""), at(2)).broker_order_id == "7"
    assert after_update(known, make_update(W, broker_order_id="8"), at(2)).broker_order_id == "8"


@pytest.mark.parametrize(
    ("state", "filled", "reported", "is_open"),
    [(N, 0, 0, True), (D, 0, 0, True), (W, 10, 10, True), (F, 9, 9, True), (F, 10, 10, False), (F, 10, 0, False),
     (C, 0, 0, False), (C, 3, 3, False), (C, 3, 4, True), (C, 4, 3, False), (R, 0, 0, False), (X, 0, 0, False)],
)  # fmt: skip
def test_an_intent_is_open_until_it_is_final_and_its_fills_are_booked(
    state: IntentState, filled: int, reported: int, is_open: bool
) -> None:
    assert record(state, filled=Decimal(filled), reported=Decimal(reported)).is_open is is_open


events = st.lists(
    st.one_of(
        st.builds(
            make_update,
            st.sampled_from([D, W, F, C, R]),
            filled_quantity=st.integers(0, 10).map(Decimal),
        ),
        st.builds(make_fill, st.sampled_from("xyz"), quantity=st.integers(1, 4).map(Decimal)),
    ),
    max_size=10,
)


@given(events)
def test_whatever_the_order_quantities_never_shrink_and_final_stays_final(
    stream: list[OrderUpdate | Fill],
) -> None:
    known = record()
    for event in stream:
        after = after_fill(known, event, T0) if isinstance(event, Fill) else after_update(known, event, T0)
        assert after.filled >= known.filled
        assert after.reported >= known.reported
        assert not known.state.is_final or after.state is known.state
        known = after
    assert known.filled == sum((event.quantity for event in stream if isinstance(event, Fill)), ZERO)
