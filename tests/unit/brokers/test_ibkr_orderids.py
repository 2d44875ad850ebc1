"""No order id is ever used twice, whatever the gateway says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openbell.brokers.ibkr.clientid import client_id_of
from openbell.brokers.ibkr.orderids import BLOCK, LARGEST, OrderIds

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


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("connected"), st.integers(-5, 500)),
        st.tuples(st.just("seen"), st.integers(-5, 500)),
        st.tuples(st.just("order"), st.just(0)),
        st.tuples(st.just("write"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
    )
)


@given(STEPS)
def test_a_process_after_this_one_uses_no_number_that_was_used_whenever_this_one_ends(
    steps: list[tuple[str, int]],
) -> None:
    """An order waits where its number is not written down; whatever else happens, a number is used once."""
    ids, on_disk, used = OrderIds.kept(0), 0, set[int]()
    for what, value in steps:
        if what == "connected":
            ids = ids.connected(value)
        elif what == "seen":
            ids = ids.seen(value)
        elif what == "write" and ids.to_write is not None:
            on_disk = max(on_disk, ids.to_write)
            ids = ids.wrote(on_disk)
        elif what == "order" and ids.is_written:
            chosen, ids = ids.allocate()
            assert chosen not in used
            assert chosen <= on_disk
            used.add(chosen)
        elif what == "restart":
            ids = OrderIds.kept(on_disk)


def test_half_a_block_is_left_when_the_next_is_written_down() -> None:
    ids = OrderIds.kept(40).connected(1)
    assert (ids.is_written, ids.to_write) == (False, 40 + BLOCK)
    ids = ids.wrote(40 + BLOCK)
    written = 0
    while ids.to_write is None:
        assert ids.is_written
        _, ids = ids.allocate()
        written += 1
    assert (written, ids.is_written, ids.to_write) == (BLOCK // 2, True, 90 + BLOCK)


def test_a_gateway_that_names_a_higher_number_needs_another_block() -> None:
    ids = OrderIds.kept(40).connected(5_000)
    assert (ids.is_written, ids.to_write) == (False, 5_000 + BLOCK - 1)


def test_the_last_block_ends_with_the_last_number() -> None:
    ids = OrderIds.kept(LARGEST - 3)
    assert ids.to_write == LARGEST
    assert ids.wrote(LARGEST).to_write is None


def test_where_nothing_is_written_down_every_number_is_as_good() -> None:
    ids = OrderIds(high_water=41)
    assert (ids.is_written, ids.to_write) == (True, None)


@given(st.text())
def test_a_client_id_is_none_that_a_person_gives_and_fits_the_protocol(owner: str) -> None:
    assert 10_000 <= client_id_of(owner) <= LARGEST


def test_owners_have_client_ids_of_their_own() -> None:
    assert len({client_id_of(f"owner{number}") for number in range(2000)}) == 2000
