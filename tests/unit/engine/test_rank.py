"""Which signals of a tick compete, and in what order."""

from __future__ import annotations

import random
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.values import T0, at, make_signal
from openbell.domain.reasons import Reason
from openbell.domain.signals import Action, Signal
from openbell.engine.exits import is_exit
from openbell.engine.rank import Ranked, rank_signals


def rank(*signals: Signal, **more: object) -> Ranked:
    return rank_signals(signals, **({"now": T0, "min_confidence": 0.5} | more))  # type: ignore[arg-type]


def test_an_expired_signal_is_dropped() -> None:
    signal = make_signal(valid_until=at(60))
    assert rank(signal, now=at(59.999)).survivors == (signal,)
    assert rank(signal, now=at(60)).dropped == ((signal, Reason.EXPIRED),)


def test_confidence_is_enough_at_the_minimum() -> None:
    enough, short = make_signal(confidence=0.5), make_signal(confidence=0.4999, symbol="MSFT")
    ranked = rank(enough, short)
    assert ranked.survivors == (enough,)
    assert ranked.dropped == ((short, Reason.LOW_CONFIDENCE),)


def test_a_strategys_own_minimum_replaces_the_schedulers() -> None:
    careful, bold = make_signal(strategy="careful", confidence=0.6), make_signal(strategy="bold", confidence=0.4)
    ranked = rank(careful, bold, minima={"careful": 0.7, "bold": 0.3})
    assert ranked.survivors == (bold,)
    assert ranked.dropped == ((careful, Reason.LOW_CONFIDENCE),)


@pytest.mark.parametrize("confidence", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_confidence_that_is_none_makes_the_signal_invalid(confidence: float) -> None:
    signal = make_signal(confidence=confidence)
    assert rank(signal, min_confidence=0.0).dropped == ((signal, Reason.INVALID_SIGNAL),)


def test_a_time_without_a_zone_makes_the_signal_invalid() -> None:
    signal = make_signal(bar_time=datetime(2026, 3, 2, 15, 0))  # noqa: DTZ001 - the point of the test
    assert rank(signal).dropped == ((signal, Reason.INVALID_SIGNAL),)


def test_the_lower_ranked_of_two_opposite_signals_conflicts() -> None:
    buy = make_signal(confidence=0.7)
    sell = make_signal(strategy="fade", action=Action.SELL, confidence=0.6)
    assert rank(buy, sell) == Ranked((buy,), ((sell, Reason.CONFLICT),))
    first = make_signal(strategy="fade", action=Action.SELL, confidence=0.6, priority=1)
    assert rank(buy, first) == Ranked((first,), ((buy, Reason.CONFLICT),))


def test_opposite_signals_on_different_symbols_do_not_meet() -> None:
    buy, sell = make_signal(), make_signal(strategy="fade", action=Action.SELL, symbol="MSFT", confidence=0.6)
    assert rank(buy, sell).survivors == (buy, sell)


def test_agreeing_strategies_all_survive_in_order_of_rank() -> None:
    low, high = make_signal(strategy="a", confidence=0.6), make_signal(strategy="b", confidence=0.9)
    assert rank(low, high).survivors == (high, low)


def test_a_strategy_speaks_once_on_a_symbol() -> None:
    strong, weak = make_signal(confidence=0.9), make_signal(confidence=0.6)
    assert rank(weak, strong) == Ranked((strong,), ((weak, Reason.CONFLICT),))


def test_an_exit_needs_no_confidence_and_loses_to_nobody() -> None:
    exits = make_signal(action=Action.SELL, confidence=0.1)
    opens = make_signal(strategy="other", confidence=1.0, priority=100)
    ranked = rank(opens, exits, lots={("trend", "AAPL"): Decimal(5)})
    assert ranked == Ranked((exits,), ((opens, Reason.CONFLICT),))


def test_a_close_conflicts_with_nobody_where_nothing_is_held() -> None:
    close, buy = make_signal(action=Action.CLOSE), make_signal(strategy="other")
    assert set(rank(close, buy).survivors) == {close, buy}


def test_closing_a_short_opposes_an_opening_sell() -> None:
    close = make_signal(action=Action.CLOSE)
    sell, buy = make_signal(strategy="s", action=Action.SELL), make_signal(strategy="b")
    ranked = rank(sell, close, lots={("trend", "AAPL"): Decimal(-5)})
    assert ranked == Ranked((close,), ((sell, Reason.CONFLICT),))
    assert rank(buy, close, lots={("trend", "AAPL"): Decimal(-5)}).survivors == (close, buy)


def test_two_exits_on_one_symbol_both_go() -> None:
    long, short = make_signal(strategy="a", action=Action.CLOSE), make_signal(strategy="b", action=Action.CLOSE)
    lots = {("a", "AAPL"): Decimal(5), ("b", "AAPL"): Decimal(-5)}
    assert rank(long, short, lots=lots).survivors == (long, short)


signals = st.lists(
    st.builds(
        make_signal,
        strategy=st.sampled_from("abc"),
        symbol=st.sampled_from(["AAPL", "MSFT"]),
        action=st.sampled_from(Action),
        confidence=st.one_of(st.floats(0, 1), st.sampled_from([0.5, 0.8])),
        priority=st.integers(0, 3),
        valid_until=st.sampled_from([at(-1), at(60)]),
    ),
    max_size=8,
)
lots = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["AAPL", "MSFT"])), st.integers(-3, 3).map(Decimal)
)


@given(signals, lots, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(
    given_signals: list[Signal], held: dict[tuple[str, str], Decimal], shuffle: random.Random
) -> None:
    shuffled = list(given_signals)
    shuffle.shuffle(shuffled)
    assert rank(*given_signals, lots=held) == rank(*shuffled, lots=held)


@given(signals, lots)
def test_every_signal_comes_out_once_and_no_two_openings_oppose(
    given_signals: list[Signal], held: dict[tuple[str, str], Decimal]
) -> None:
    ranked = rank(*given_signals, lots=held)
    out = [*ranked.survivors, *(signal for signal, _ in ranked.dropped)]
    assert sorted(map(repr, out)) == sorted(map(repr, given_signals))
    leaving = [is_exit(s, held.get((s.strategy, s.symbol), Decimal(0))) for s in ranked.survivors]
    assert leaving == sorted(leaving, reverse=True)
    openings = [s for s, leaves in zip(ranked.survivors, leaving, strict=True) if not leaves]
    for symbol in ("AAPL", "MSFT"):
        assert {Action.BUY, Action.SELL} - {s.action for s in openings if s.symbol == symbol}
    assert [s.rank for s in openings] == sorted((s.rank for s in openings), reverse=True)
    living_exits = {
        (s.strategy, s.symbol)
        for s in given_signals
        if s.valid_until > T0 and is_exit(s, held.get((s.strategy, s.symbol), Decimal(0)))
    }
    assert living_exits <= {(s.strategy, s.symbol) for s in ranked.survivors}
