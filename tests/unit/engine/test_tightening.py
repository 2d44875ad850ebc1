"""A strategy may tighten the stop of its own position, and never loosen it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fakes.values import at, make_position
from openbell.domain.positions import ExitPolicy, TrailingStop
from openbell.domain.reasons import ExitReason
from openbell.engine.exits import Exit, decide_exit, levels
from openbell.engine.portfolio import split
from openbell.engine.tightening import Tightening, holdings, renewed, tightened

prices = st.floats(0.01, 500)
quantities = st.sampled_from([Decimal(10), Decimal(-10)])
policies = st.builds(
    ExitPolicy,
    stop_loss=st.none() | st.sampled_from([0.0, 0.02, 0.5]),
    take_profit=st.none(),
    trailing=st.none() | st.builds(TrailingStop, st.just(0.0), st.sampled_from([0.01, 0.2])),
)


@given(quantities, policies, st.lists(prices, max_size=6))
def test_no_order_of_words_ever_loosens_a_stop(quantity: Decimal, policy: ExitPolicy, stops: list[float]) -> None:
    position = make_position(quantity=quantity, policy=policy)
    for stop in stops:
        before = levels(position).stop
        asked = [Tightening(position.strategy, position.symbol, stop)]
        position = next(tightened([position], asked), position)
        after = levels(position).stop
        assert after is not None
        if before is not None:
            assert after >= before if quantity > 0 else after <= before
        wanted = Decimal(repr(stop)).quantize(Decimal("0.0001"))
        assert after >= wanted if quantity > 0 else after <= wanted


def test_a_tightened_stop_is_reached_as_a_stop_loss() -> None:
    position = make_position()
    (moved,) = tightened([position], [Tightening(position.strategy, position.symbol, 99.5)])
    assert holdings([moved])[position.strategy, position.symbol].stop == 99.5
    found = decide_exit(moved, Decimal("99.5"), at(1))
    assert isinstance(found, Exit)
    assert found.reason is ExitReason.STOP_LOSS
    assert list(tightened([moved], [Tightening(position.strategy, position.symbol, 99)])) == [], "it would be looser"
    assert list(tightened([moved], [Tightening("another", position.symbol, 99.9)])) == [], "it is not its position"


def test_a_tightened_stop_follows_splits_and_outlives_a_changed_policy() -> None:
    position = make_position(policy=ExitPolicy(stop_price=Decimal(99)))
    assert levels(split(position, Decimal(2))).stop == Decimal("49.5")
    policy = renewed(position, ExitPolicy(stop_loss=0.3))
    assert levels(replace(position, policy=policy)).stop == Decimal(99)
