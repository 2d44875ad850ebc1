"""When a position is left."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.values import T0, at, make_position, make_signal
from openbell.domain.bars import Quote
from openbell.domain.identity import Leg
from openbell.domain.orders import Side
from openbell.domain.positions import Escalation, ExitPolicy, Position, ScaleOut, TrailingStop
from openbell.domain.reasons import ExitReason
from openbell.domain.signals import Action, Signal
from openbell.engine.exits import (
    Exit,
    Hold,
    decide_exit,
    exit_quantity,
    is_exit,
    is_urgent,
    levels,
    next_rung,
    protective_prices,
    protective_reason,
    ratchet,
    remainders,
    shares_at_broker,
    stop_reason,
    touch,
)
from openbell.engine.portfolio import split

LONG = make_position()
SHORT = make_position(quantity=Decimal(-10))
OFF = ExitPolicy(stop_loss=None, take_profit=None)
TRAILING = ExitPolicy(stop_loss=None, take_profit=None, trailing=TrailingStop(activation=0.02, distance=0.01))


def reason(position: Position, price: str, **more: object) -> ExitReason | None:
    decision = decide_exit(position, Decimal(price), at(1), **more)  # type: ignore[arg-type]
    return decision.reason if isinstance(decision, Exit) else None


@pytest.mark.parametrize(
    ("position", "price", "expected"),
    [
        (LONG, "98.0001", None),
        (LONG, "98", ExitReason.STOP_LOSS),
        (LONG, "103.9999", None),
        (LONG, "104", ExitReason.TAKE_PROFIT),
        (SHORT, "101.9999", None),
        (SHORT, "102", ExitReason.STOP_LOSS),
        (SHORT, "96.0001", None),
        (SHORT, "96", ExitReason.TAKE_PROFIT),
    ],
)
def test_stop_and_target_are_reached_exactly_at_their_price(
    position: Position, price: str, expected: ExitReason | None
) -> None:
    assert reason(position, price) is expected


def test_an_exit_is_for_the_whole_lot_on_the_other_side() -> None:
    long, short = decide_exit(LONG, Decimal(98), at(1)), decide_exit(SHORT, Decimal(102), at(1))
    assert isinstance(long, Exit)
    assert isinstance(short, Exit)
    assert (long.side, long.quantity) == (Side.SELL, Decimal(10))
    assert (short.side, short.quantity) == (Side.BUY, Decimal(10))
    assert long.detail == "price 98 reached the stop 98"


@pytest.mark.parametrize(
    ("policy", "price", "detail"),
    [
        (ExitPolicy(0.025, None), "97", "price 97 reached the stop 97.5"),
        (replace(TRAILING, trailing=TrailingStop(0, 0.01)), "99", "price 99 reached the trailing stop 99"),
        (ExitPolicy(None, 0.04), "105", "price 105 reached the target 104"),
        (replace(OFF, max_holding_seconds=60), "100", "held for 60 s"),
        (replace(OFF, flat_before_close_seconds=90), "100", "90 s before the session's close"),
        (OFF, "100", "rising"),
    ],
)
def test_an_exit_says_what_it_was_for(policy: ExitPolicy, price: str, detail: str) -> None:
    signal = make_signal(action=Action.CLOSE, valid_until=at(90))
    decision = decide_exit(make_position(policy=policy), Decimal(price), at(60), at(120), signal)
    assert isinstance(decision, Exit)
    assert decision.detail == detail


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("size", ["1", "0.25"])
def test_the_smallest_lot_is_left_as_any_other(size: str, side: int) -> None:
    policy = ExitPolicy(trailing=TrailingStop(0.01, 0.01), escalation=Escalation(20))
    best = Decimal(100 + 3 * side)
    whole = make_position(quantity=side * Decimal(10), policy=policy, best_price=best)
    small = replace(whole, quantity=side * Decimal(size))
    for price in map(Decimal, range(90, 111)):
        taken, other = decide_exit(whole, price, at(1)), decide_exit(small, price, at(1))
        assert taken == (replace(other, quantity=Decimal(10)) if isinstance(other, Exit) else other)
        assert ratchet(whole, price) == ratchet(small, price)
        assert protective_reason(whole, price, Leg.STOP) is protective_reason(small, price, Leg.STOP)
    assert levels(whole) == levels(small)
    assert protective_prices(whole) == protective_prices(small)
    assert touch(whole, quote(99.0, 101.0)) == touch(small, quote(99.0, 101.0))
    assert exit_quantity(small, small.quantity) == Decimal(size)
    assert shares_at_broker([small], {"AAPL": small.quantity}, ()) == {"p-a": small.quantity}


def test_a_share_that_costs_less_than_a_dollar_is_left_as_any_other() -> None:
    penny = make_position(average_price=Decimal("0.50"), best_price=Decimal("0.50"), policy=GENTLE)
    assert reason(penny, "0.4901") is None
    assert reason(penny, "0.49") is ExitReason.STOP_LOSS
    assert isinstance(decide_exit(penny, quote(0.49, 0.49), at(1)), Exit)
    assert protective_prices(penny) == {Leg.STOP: Decimal("0.4900"), Leg.TARGET: Decimal("0.5200")}
    assert touch(penny, quote(0.5, 0.51)) == Decimal("0.4995")


def test_a_rule_that_is_off_never_leaves() -> None:
    for price in ("0.01", "100", "100000"):
        assert reason(make_position(policy=OFF), price) is None


def test_a_trailing_stop_waits_for_its_activation() -> None:
    position = make_position(policy=TRAILING, best_price=Decimal("101.9999"))
    assert reason(position, "100.5") is None
    assert reason(make_position(policy=TRAILING, best_price=Decimal(102)), "100.98") is ExitReason.TRAILING_STOP
    assert reason(make_position(policy=TRAILING, best_price=Decimal(102)), "100.9801") is None


def test_a_trailing_stop_of_a_short_hangs_above_its_lowest_price() -> None:
    position = make_position(quantity=Decimal(-10), policy=TRAILING, best_price=Decimal(98))
    assert reason(position, "98.9799") is None
    assert reason(position, "98.98") is ExitReason.TRAILING_STOP
    waiting = make_position(quantity=Decimal(-10), policy=TRAILING, best_price=Decimal("98.0001"))
    assert reason(waiting, "99.5") is None


def test_the_price_seen_now_already_lifts_the_trailing_stop() -> None:
    decision = decide_exit(make_position(policy=TRAILING), Decimal(103), at(1))
    assert decision == Hold(Decimal(103))
    assert reason(make_position(policy=TRAILING, best_price=decision.best_price), "101.97") is ExitReason.TRAILING_STOP


def test_holding_time_counts_from_the_opening() -> None:
    position = make_position(policy=ExitPolicy(None, None, max_holding_seconds=60))
    assert isinstance(decide_exit(position, Decimal(100), at(59.999)), Hold)
    decision = decide_exit(position, Decimal(100), at(60))
    assert isinstance(decision, Exit)
    assert decision.reason is ExitReason.MAX_HOLDING


def test_a_position_is_flat_before_the_close() -> None:
    position = make_position(policy=ExitPolicy(None, None, flat_before_close_seconds=300))
    close = at(3600)
    assert isinstance(decide_exit(position, Decimal(100), at(3299.999), close), Hold)
    assert isinstance(decide_exit(position, Decimal(100), at(3299.999), None), Hold)
    decision = decide_exit(position, Decimal(100), at(3300), close)
    assert isinstance(decision, Exit)
    assert decision.reason is ExitReason.SESSION_CLOSE
    assert isinstance(decide_exit(make_position(policy=OFF), Decimal(100), close, close), Hold), "the rule is off"
    last = make_position(policy=replace(OFF, flat_before_close_seconds=1))
    assert isinstance(decide_exit(last, Decimal(100), at(3598.999), close), Hold)
    assert isinstance(decide_exit(last, Decimal(100), at(3599), close), Exit)


@pytest.mark.parametrize(
    ("position", "signal", "leaves"),
    [
        (LONG, make_signal(action=Action.SELL), True),
        (LONG, make_signal(action=Action.CLOSE), True),
        (LONG, make_signal(action=Action.BUY), False),
        (SHORT, make_signal(action=Action.BUY), True),
        (SHORT, make_signal(action=Action.CLOSE), True),
        (SHORT, make_signal(action=Action.SELL), False),
        (LONG, make_signal(action=Action.CLOSE, strategy="other"), False),
        (LONG, make_signal(action=Action.CLOSE, symbol="MSFT"), False),
        (LONG, make_signal(action=Action.CLOSE, valid_until=at(1)), False),
        (LONG, make_signal(action=Action.CLOSE, valid_until=at(1.001)), True),
        (LONG, make_signal(action=Action.CLOSE, confidence=0.0), True),
    ],
)
def test_the_strategys_own_living_signal_leaves(position: Position, signal: Signal, leaves: bool) -> None:
    assert reason(position, "100", exit_signal=signal) is (ExitReason.SIGNAL if leaves else None)


def test_the_first_rule_in_the_documented_order_gives_the_reason() -> None:
    policy = ExitPolicy(0.02, 0.04, TrailingStop(0.0, 0.01), max_holding_seconds=1, flat_before_close_seconds=60)
    close, signal = at(10), make_signal(action=Action.CLOSE)
    everything = {"session_close": close, "exit_signal": signal}
    assert reason(make_position(policy=policy), "97", **everything) is ExitReason.STOP_LOSS
    above = make_position(policy=policy, best_price=Decimal(110))
    assert reason(above, "104", **everything) is ExitReason.TRAILING_STOP
    assert reason(make_position(policy=policy), "104", **everything) is ExitReason.TAKE_PROFIT
    assert reason(make_position(policy=policy), "100", **everything) is ExitReason.MAX_HOLDING
    fresh = make_position(policy=policy, opened_at=at(0.5))
    assert reason(fresh, "100", **everything) is ExitReason.SESSION_CLOSE
    assert reason(fresh, "100", exit_signal=signal) is ExitReason.SIGNAL


def quote(bid: float, ask: float) -> Quote:
    return Quote("AAPL", T0, (bid + ask) / 2, bid, ask)


def test_a_quote_counts_with_the_side_that_the_exit_trades_at() -> None:
    assert isinstance(decide_exit(LONG, quote(98.0, 99.0), at(1)), Exit)
    assert isinstance(decide_exit(LONG, quote(98.5, 98.5), at(1)), Hold)
    assert isinstance(decide_exit(SHORT, quote(101.0, 102.0), at(1)), Exit)
    assert isinstance(decide_exit(SHORT, quote(101.5, 101.5), at(1)), Hold)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e15, 1e300])
def test_without_a_usable_price_the_price_rules_wait_and_the_others_go_on(bad: float) -> None:
    assert decide_exit(LONG, quote(bad, bad), at(1)) == Hold(Decimal(100))
    leaving = decide_exit(LONG, quote(bad, bad), at(1), None, make_signal(action=Action.CLOSE))
    assert isinstance(leaving, Exit)
    assert leaving.reason is ExitReason.SIGNAL
    assert leaving.best_price == Decimal(100)


def test_without_any_price_time_still_ends_a_position() -> None:
    position = make_position(policy=ExitPolicy(max_holding_seconds=1))
    assert isinstance(decide_exit(position, None, at(1)), Exit)
    assert decide_exit(position, None, at(0.5)) == Hold(Decimal(100))


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", "0", "-1"])
def test_a_number_that_cannot_be_a_price_moves_nothing(bad: str) -> None:
    assert decide_exit(LONG, Decimal(bad), at(1)) == Hold(Decimal(100))
    assert decide_exit(SHORT, Decimal(bad), at(1)) == Hold(Decimal(100))


def test_a_flat_position_is_not_left_again() -> None:
    signal = make_signal(action=Action.CLOSE)
    flat = make_position(quantity=Decimal(0))
    assert decide_exit(flat, Decimal(1), at(9), at(9), signal) == Hold(Decimal(100))


def test_levels_name_the_nearer_stop_and_the_target() -> None:
    assert levels(LONG) == (Decimal(98), Decimal(104))
    assert levels(SHORT) == (Decimal(102), Decimal(96))
    assert levels(make_position(policy=OFF)) == (None, None)
    both = ExitPolicy(0.02, None, TrailingStop(0.02, 0.01))
    trailed = make_position(policy=both, best_price=Decimal(110))
    assert levels(trailed) == (Decimal("108.90"), None)
    assert stop_reason(trailed) is ExitReason.TRAILING_STOP
    assert stop_reason(make_position(policy=both)) is ExitReason.STOP_LOSS
    short = make_position(quantity=Decimal(-10), policy=both, best_price=Decimal(90))
    assert levels(short).stop == Decimal("90.90")
    assert levels(make_position(policy=ExitPolicy(0.02, None, TrailingStop(0.0, 0.05)))).stop == Decimal(98)


@pytest.mark.parametrize(
    ("quantity", "stop_loss", "tightened", "expected"),
    [
        (10, 0.02, None, 98),
        (10, 0.02, 99, 99),
        (10, 0.02, 97, 98),
        (10, None, 99, 99),
        (-10, 0.02, None, 102),
        (-10, 0.02, 101, 101),
        (-10, 0.02, 103, 102),
        (-10, None, 101, 101),
    ],
)
def test_of_the_policys_stop_and_one_that_was_tightened_the_nearer_holds(
    quantity: int, stop_loss: float | None, tightened: int | None, expected: int
) -> None:
    policy = ExitPolicy(stop_loss, None, stop_price=None if tightened is None else Decimal(tightened))
    position = make_position(quantity=Decimal(quantity), policy=policy)
    assert levels(position).stop == expected
    assert reason(position, str(expected)) is ExitReason.STOP_LOSS
    before = Decimal(expected) + (Decimal("0.0001") if quantity > 0 else Decimal("-0.0001"))
    assert reason(position, str(before)) is None


@pytest.mark.parametrize(
    ("ours", "brokers", "in_flight", "expected"),
    [(10, 10, 0, 10), (10, 4, 0, 4), (4, 10, 0, 4), (10, 0, 0, 0), (10, -5, 0, 0), (10, None, 0, 10), (10, 10, 7, 3),
     (10, 10, 12, 0), (-10, -4, 0, 4), (-10, 5, 0, 0), (-10, -10, 3, 7)],
)  # fmt: skip
def test_an_exit_is_for_no_more_than_both_we_and_the_broker_hold(
    ours: int, brokers: int | None, in_flight: int, expected: int
) -> None:
    position = make_position(quantity=Decimal(ours))
    held = None if brokers is None else Decimal(brokers)
    assert exit_quantity(position, held, Decimal(in_flight)) == expected


def test_only_a_signal_against_the_lot_is_an_exit() -> None:
    assert not is_exit(make_signal(action=Action.CLOSE), Decimal(0))
    assert not is_exit(make_signal(action=Action.SELL), Decimal(0))
    assert is_exit(make_signal(action=Action.SELL), Decimal(1))
    assert not is_exit(make_signal(action=Action.BUY), Decimal(1))
    assert is_exit(make_signal(action=Action.BUY), Decimal(-1))
    assert is_exit(make_signal(action=Action.CLOSE), Decimal(-1))


prices = st.decimals("0.01", "10000", places=4)
ratios = st.one_of(st.none(), st.floats(0.0, 0.99))
policies = st.builds(
    ExitPolicy,
    ratios,
    ratios,
    st.one_of(st.none(), st.builds(TrailingStop, st.floats(0, 0.5), st.floats(0, 0.5))),
    st.integers(0, 100),
    st.integers(0, 100),
)
positions = st.builds(
    make_position,
    quantity=st.integers(-1000, 1000).map(Decimal),
    average_price=prices,
    best_price=prices,
    policy=policies,
)


@given(positions, st.one_of(st.none(), prices), st.floats(0, 200), st.sampled_from([None, *Action]), prices)
def test_an_exit_reduces_and_never_sells_more_than_is_held(
    position: Position, price: Decimal | None, elapsed: float, action: Action | None, brokers: Decimal
) -> None:
    signal = None if action is None else make_signal(action=action, valid_until=at(1000))
    decision = decide_exit(position, price, at(elapsed), at(150), signal)
    if isinstance(decision, Exit):
        after = position.quantity + decision.side.sign * decision.quantity
        assert position.quantity != 0
        assert after == 0
        for held in (brokers, -brokers, None):
            quantity = exit_quantity(position, held)
            assert 0 <= quantity <= abs(position.quantity)
            assert held is None or quantity <= abs(held)


@given(positions.filter(lambda p: p.is_open), st.lists(prices, min_size=1, max_size=20))
def test_the_best_price_only_ever_moves_in_the_positions_favour(position: Position, path: list[Decimal]) -> None:
    is_long = position.quantity > 0
    best = position.best_price
    for price in path:
        lifted = ratchet(make_position(quantity=position.quantity, best_price=best), price)
        assert (lifted >= best) if is_long else (lifted <= best)
        assert (lifted >= price) if is_long else (lifted <= price)
        best = lifted
    assert best in (position.best_price, max(path) if is_long else min(path))


@given(positions.filter(lambda p: p.is_open), prices)
def test_levels_agree_with_the_decision(position: Position, price: Decimal) -> None:
    seen = make_position(
        quantity=position.quantity,
        average_price=position.average_price,
        policy=ExitPolicy(position.policy.stop_loss, position.policy.take_profit, position.policy.trailing),
        best_price=ratchet(position, price),
    )
    stop, target = levels(seen)
    is_long = position.quantity > 0
    stopped = stop is not None and (price <= stop if is_long else price >= stop)
    reached = target is not None and (price >= target if is_long else price <= target)
    decision = decide_exit(seen, price, T0)
    assert isinstance(decision, Exit) == (stopped or reached)
    if isinstance(decision, Exit):
        assert (decision.reason is ExitReason.TAKE_PROFIT) == (not stopped)


# -- parts -----------------------------------------------------------------------------------------------------------

RUNGS = ExitPolicy(stop_loss=0.02, take_profit=0.10, scale_out=(ScaleOut(0.02, 0.25), ScaleOut(0.05, 0.5)))
STEPPED = make_position(policy=RUNGS, opened_quantity=Decimal(10))


def part(position: Position, price: str) -> tuple[ExitReason, Decimal] | None:
    found = decide_exit(position, Decimal(price), at(1))
    return (found.reason, found.quantity) if isinstance(found, Exit) else None


def test_a_part_says_its_price_and_keeps_the_best_one() -> None:
    assert decide_exit(STEPPED, Decimal(103), at(1)) == Exit(
        ExitReason.PARTIAL_TARGET, Side.SELL, Decimal(2), "price 103 reached the partial target 102", Decimal(103)
    )


def test_a_rung_leaves_its_fraction_of_what_was_opened_in_whole_shares() -> None:
    assert remainders(STEPPED) == (8, 3)
    assert part(STEPPED, "101.9999") is None
    assert part(STEPPED, "102") == (ExitReason.PARTIAL_TARGET, 2)
    assert decide_exit(STEPPED, None, at(1)) == Hold(Decimal(100)), "without a price no rung is reached"


@pytest.mark.parametrize("held", [8, 5, 4])
def test_a_rung_that_the_lot_has_had_is_not_left_again(held: int) -> None:
    assert part(replace(STEPPED, quantity=Decimal(held)), "104.9") is None
    assert part(replace(STEPPED, quantity=Decimal(held)), "105") == (ExitReason.PARTIAL_TARGET, held - 3)


def test_a_price_that_leaps_over_a_rung_leaves_both_parts_at_once() -> None:
    assert part(STEPPED, "105") == (ExitReason.PARTIAL_TARGET, 7)


def test_a_rung_that_was_left_in_part_is_completed() -> None:
    assert part(replace(STEPPED, quantity=Decimal(9)), "102") == (ExitReason.PARTIAL_TARGET, 1)


@pytest.mark.parametrize(("price", "expected"), [("98", ExitReason.STOP_LOSS), ("110", ExitReason.TAKE_PROFIT)])
def test_the_whole_lot_comes_before_a_part(price: str, expected: ExitReason) -> None:
    assert part(STEPPED, price) == (expected, 10)
    late = replace(STEPPED, policy=replace(RUNGS, max_holding_seconds=1))
    assert part(late, "102") == (ExitReason.MAX_HOLDING, 10)


def test_a_short_lot_is_left_in_parts_as_the_price_falls() -> None:
    short = replace(STEPPED, quantity=Decimal(-10))
    assert part(short, "98.0001") is None
    found = decide_exit(short, Decimal(98), at(1))
    assert isinstance(found, Exit)
    assert (found.side, found.quantity) == (Side.BUY, 2)


def test_the_next_rung_is_where_a_replay_rests() -> None:
    assert next_rung(STEPPED) == 102
    assert next_rung(replace(STEPPED, quantity=Decimal(8))) == 105
    assert next_rung(replace(STEPPED, quantity=Decimal(3))) is None


def test_after_a_split_a_rung_asks_at_most_for_what_whole_shares_had_left_of_it() -> None:
    had = replace(STEPPED, quantity=Decimal(8))
    assert part(split(had, Decimal(4)), "25.6") == (ExitReason.PARTIAL_TARGET, 2)  # a quarter of 40 is 10, of 10 is 2
    even = replace(STEPPED, quantity=Decimal(15), opened_quantity=Decimal(20))
    assert part(split(even, Decimal(4)), "25.6") is None


rungs = st.lists(st.tuples(st.floats(0.001, 1), st.floats(0.01, 0.19)), max_size=5).map(
    lambda given: tuple(ScaleOut(profit, fraction) for profit, fraction in sorted(given))
)


@given(rungs, st.integers(1, 1000), st.data())
def test_a_part_is_never_the_whole_lot_and_parts_come_to_an_end(
    scale_out: tuple[ScaleOut, ...], opened: int, data: st.DataObject
) -> None:
    policy = ExitPolicy(stop_loss=None, take_profit=None, scale_out=scale_out)
    lot = make_position(quantity=Decimal(opened), opened_quantity=Decimal(opened), policy=policy)
    left = remainders(lot)
    assert list(left) == sorted(left, reverse=True)
    for _ in range(len(scale_out) + 1):
        price = Decimal(data.draw(st.integers(101, 250)))
        found = decide_exit(lot, price, at(1))
        if isinstance(found, Exit):
            assert 0 < found.quantity < lot.quantity
            lot = replace(lot, quantity=lot.quantity - found.quantity)
            again = decide_exit(lot, price, at(1))
            assert isinstance(again, Hold), "the same price leaves nothing more"
    assert lot.quantity >= (left[-1] if left else opened)


# -- how an exit is ordered ------------------------------------------------------------------------------------------

GENTLE = ExitPolicy(escalation=Escalation(limit_seconds=20, limit_offset_bps=10.0))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (ExitReason.TAKE_PROFIT, False),
        (ExitReason.PARTIAL_TARGET, False),
        (ExitReason.MAX_HOLDING, False),
        (ExitReason.SIGNAL, False),
        (ExitReason.SESSION_CLOSE, False),
        (ExitReason.STOP_LOSS, True),
        (ExitReason.TRAILING_STOP, True),
        (ExitReason.FLATTEN, True),
        (ExitReason.MANUAL, True),
    ],
)
def test_what_has_no_haste_goes_at_a_limit_first(given: ExitReason, expected: bool) -> None:
    assert is_urgent(GENTLE, given, at(0), at(3600)) is expected
    assert is_urgent(GENTLE, given, at(0), None) is expected
    assert is_urgent(ExitPolicy(), given, at(0), at(3600)), "without escalation everything goes to the market"


@pytest.mark.parametrize(("seconds_left", "expected"), [(50.001, False), (50, True), (1, True), (-1, True)])
def test_near_the_close_no_exit_waits_at_a_limit(seconds_left: float, expected: bool) -> None:
    close = at(0) + timedelta(seconds=seconds_left)  # 20 s at the limit, and 30 s to sell what is left
    assert is_urgent(GENTLE, ExitReason.SESSION_CLOSE, at(0), close) is expected


@pytest.mark.parametrize(("seconds", "expected"), [(0, True), (1, False)])
def test_an_escalation_of_no_seconds_is_none(seconds: int, expected: bool) -> None:
    policy = ExitPolicy(escalation=Escalation(limit_seconds=seconds))
    assert is_urgent(policy, ExitReason.TAKE_PROFIT, at(0), at(3600)) is expected


def test_the_limit_lies_so_far_through_the_touch() -> None:
    quote = Quote("AAPL", T0, 100.0, 99.98, 100.02)
    gentle = make_position(policy=GENTLE)
    assert touch(gentle, quote) == Decimal("99.8800")
    assert touch(replace(gentle, quantity=Decimal(-10)), quote) == Decimal("100.1201")
    far = make_position(policy=ExitPolicy(escalation=Escalation(20, limit_offset_bps=100.0)))
    assert touch(far, replace(quote, bid=1000.0)) == 990, "a basis point is a ten thousandth"
    assert touch(gentle, None) is None
    assert touch(make_position(), quote) is None


# -- what rests at the broker ------------------------------------------------------------------------------------------


def test_no_limit_is_further_through_the_touch_than_there_is_price() -> None:
    beyond = make_position(policy=ExitPolicy(escalation=Escalation(20, limit_offset_bps=10_000.0)))
    assert touch(beyond, quote(100.0, 100.0)) is None


def test_protective_prices_are_the_levels_as_prices_that_can_be_ordered() -> None:
    odd = make_position(average_price=Decimal("33.33333"))
    assert protective_prices(odd) == {Leg.STOP: Decimal("32.6666"), Leg.TARGET: Decimal("34.6667")}
    short = replace(odd, quantity=Decimal(-10))
    assert protective_prices(short) == {Leg.STOP: Decimal("34.0000"), Leg.TARGET: Decimal("31.9999")}
    assert protective_prices(make_position(policy=OFF)) == {}
    assert set(protective_prices(make_position(policy=TRAILING))) == set()
    trailed = make_position(policy=TRAILING, best_price=Decimal(110))
    assert protective_prices(trailed) == {Leg.STOP: Decimal("108.9000")}


@pytest.mark.parametrize(
    ("policy", "price", "leg", "expected"),
    [
        (ExitPolicy(), "98", Leg.STOP, ExitReason.STOP_LOSS),
        (ExitPolicy(), "98.5", Leg.STOP, ExitReason.STOP_LOSS),
        (ExitPolicy(), "104", Leg.TARGET, ExitReason.TAKE_PROFIT),
        (ExitPolicy(trailing=TrailingStop(0, 0.01)), "98", Leg.STOP, ExitReason.STOP_LOSS),
        (ExitPolicy(trailing=TrailingStop(0, 0.01)), "98.0001", Leg.STOP, ExitReason.TRAILING_STOP),
        (ExitPolicy(trailing=TrailingStop(0, 0.01)), None, Leg.STOP, ExitReason.STOP_LOSS),
        (TRAILING, "98", Leg.STOP, ExitReason.TRAILING_STOP),
    ],
)
def test_a_protective_fill_tells_which_rule_it_stood_for(
    policy: ExitPolicy, price: str | None, leg: Leg, expected: ExitReason
) -> None:
    leg_price = None if price is None else Decimal(price)
    assert protective_reason(make_position(policy=policy), leg_price, leg) is expected


def test_a_trailing_stop_is_told_from_a_stop_by_the_price_that_can_be_ordered() -> None:
    policy = ExitPolicy(trailing=TrailingStop(0, 0.01))
    odd = make_position(average_price=Decimal("33.33333"), policy=policy)  # its stop at 32.66666 is ordered at 32.6666
    assert protective_reason(odd, Decimal("32.6666"), Leg.STOP) is ExitReason.STOP_LOSS
    assert protective_reason(odd, Decimal("32.6667"), Leg.STOP) is ExitReason.TRAILING_STOP


def test_a_short_lots_trailing_stop_lies_below_its_stop() -> None:
    short = make_position(quantity=Decimal(-10), policy=ExitPolicy(trailing=TrailingStop(0, 0.01)))
    assert protective_reason(short, Decimal("101.9"), Leg.STOP) is ExitReason.TRAILING_STOP
    assert protective_reason(short, Decimal(102), Leg.STOP) is ExitReason.STOP_LOSS


def test_lots_of_a_symbol_share_what_the_broker_has_of_it_the_older_first() -> None:
    younger = make_position("a", opened_at=at(1))
    older, other = make_position("b"), make_position("c", symbol="MSFT")
    held = {"AAPL": Decimal(12), "MSFT": Decimal(30)}
    assert shares_at_broker([younger, older, other], held, ()) == {"p-b": 10, "p-c": 10, "p-a": 2}


def test_a_lot_that_is_being_left_keeps_its_shares_before_all_others() -> None:
    lots = [make_position("a", quantity=Decimal(-10)), make_position("b", quantity=Decimal(-10), opened_at=at(1))]
    assert shares_at_broker(lots, {"AAPL": Decimal(-10)}, {"p-b"}) == {"p-a": 0, "p-b": -10}


@pytest.mark.parametrize("held", [{}, {"AAPL": Decimal(-5)}])
def test_a_lot_has_no_share_in_nothing_and_none_in_the_other_direction(held: dict[str, Decimal]) -> None:
    assert shares_at_broker([LONG], held, ()) == {"p-a": 0}


@given(st.lists(st.integers(1, 30), max_size=5), st.integers(-40, 100), st.sets(st.integers(0, 4)))
def test_all_lots_together_never_share_out_more_than_there_is(sizes: list[int], held: int, leaving: set[int]) -> None:
    lots = [make_position(str(number), quantity=Decimal(size)) for number, size in enumerate(sizes)]
    shares = shares_at_broker(lots, {"AAPL": Decimal(held)}, {f"p-{number}" for number in leaving})
    assert sum(shares.values()) == max(0, min(held, sum(sizes)))
    assert all(0 <= shares[lot.position_id] <= lot.quantity for lot in lots)
