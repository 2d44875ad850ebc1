"""No order id is ever used twice, whatever the gateway says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openbell.brokers.ibkr.orderids import LARGEST, OrderIds

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("connected"), st.integers(-5, 500)),
        st.tuples(st.just("seen"), st.integers(-5, 500)),
        st.tuples(st.just("allocate"), st.just(0)),
    )
)


@given(EVENTS, st.integers(0, 100))
def test_an_id_is_new_above_all_seen_and_never_below_what_the_gateway_named(
    events: list[tuple[str, int]], kept: int
) -> None:
    ids, used, named = OrderIds(high_water=kept), {kept}, 1
    for what, value in events:
        if what == "connected":
            ids, named = ids.connected(value), value
        elif what == "seen":
            ids = ids.seen(value)
            used.add(value)
        else:
            chosen, ids = ids.allocate()
            assert chosen > max(used)
            assert chosen >= named
            assert chosen >= 1
            used.add(chosen)


def test_a_counter_that_rolls_back_is_not_followed() -> None:
    """LEAN 242: after a restart the gateway went from 38103 back to 38099."""
    ids = OrderIds().connected(38_103)
    chosen, ids = ids.allocate()
    assert chosen == 38_103
    assert ids.connected(38_099).following == 38_104


def test_manual_orders_and_what_no_order_id_can_be_are_no_ids() -> None:
    assert OrderIds().seen(0).seen(-3).seen(2**40).following == 1


def test_the_end_of_the_numbers_is_said_before_it_is_passed() -> None:
    assert not OrderIds(high_water=LARGEST - 1).is_exhausted
    assert OrderIds(high_water=LARGEST).is_exhausted
