"""A price that is a pure function of seed, symbol and time, and bars that agree with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.domain.answers import ConfirmedEmpty, Unknown, Value
from openbell.domain.bars import BarSeries
from openbell.market.synthetic import YEAR_SECONDS, SyntheticMarket, microseconds

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
COLUMNS = ("end", "open", "high", "low", "close", "volume")


def equal(one: BarSeries, other: BarSeries) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in COLUMNS)


@given(moments, st.integers(0, 2**40), st.sampled_from(["AAPL", "Z", "BRK.B"]))
def test_the_same_question_has_the_same_answer_in_any_process_and_order(now: datetime, seed: int, symbol: str) -> None:
    one, other = SyntheticMarket(seed), SyntheticMarket(seed)
    other.price(symbol, now + timedelta(days=400))
    other.series(symbol, 60, 5, now)
    assert one.price(symbol, now) == other.price(symbol, now) > 0


@given(moments, st.sampled_from([1, 5, 60, 3600, 86400]))
def test_a_bar_opens_where_the_last_closed_and_spans_its_prices(now: datetime, bar_seconds: int) -> None:
    market = SyntheticMarket(7)
    bars = market.series("AAPL", bar_seconds, 20, now)
    assert np.array_equal(bars.open[1:], bars.close[:-1])
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.volume > 0).all()
    for end, close in zip(bars.end, bars.close, strict=True):
        assert market.price("AAPL", datetime.fromtimestamp(float(end), UTC)) == close
    assert now - timedelta(seconds=bar_seconds) < datetime.fromtimestamp(float(bars.end[-1]), UTC) <= now


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(1, 60)), min_size=1, max_size=12))
def test_closed_bars_are_the_same_however_often_and_in_which_order_they_are_asked(asks: list[tuple[int, int]]) -> None:
    kept = SyntheticMarket(3)
    for seconds, count in asks:
        now = NOON + timedelta(seconds=seconds)
        assert equal(kept.series("IBM", 5, count, now), SyntheticMarket(3).series("IBM", 5, count, now))


def test_two_strategies_with_different_needs_share_one_series() -> None:
    market = SyntheticMarket(3)
    market.series("IBM", 5, 300, NOON)
    short = market.series("IBM", 5, 10, NOON + timedelta(seconds=5))
    long = market.series("IBM", 5, 300, NOON + timedelta(seconds=5))
    assert len(short) == 10
    assert equal(long, SyntheticMarket(3).series("IBM", 5, 300, NOON + timedelta(seconds=5)))


def test_seeds_and_symbols_give_different_prices() -> None:
    prices = {SyntheticMarket(seed).price(symbol, NOON) for seed in range(20) for symbol in ("AAPL", "IBM")}
    assert len(prices) == 40


def test_the_price_is_continuous() -> None:
    market = SyntheticMarket(1, volatility=2.0)
    prices = [market.price("AAPL", NOON + timedelta(milliseconds=10 * step)) for step in range(3000)]
    moves = np.abs(np.diff(prices)) / prices[0]
    assert moves.max() < 0.0002
    assert np.ptp(prices) > 0


def test_volatility_is_what_was_asked_for_at_every_scale() -> None:
    for volatility, scales in ((0.8, (1, 60, 3600)), (20.0, (1, 60))):
        market = SyntheticMarket(11, volatility)
        _measure(market, volatility, scales)


def _measure(market: SyntheticMarket, volatility: float, scales: tuple[int, ...]) -> None:
    for seconds in scales:
        moves = np.concatenate(
            [np.diff(np.log(market.series(f"S{number}", seconds, 400, NOON).close)) for number in range(40)]
        )
        assert moves.std() * np.sqrt(YEAR_SECONDS / seconds) == pytest.approx(volatility, rel=0.25)


@pytest.mark.parametrize("volatility", [0.5, 20.0])
def test_the_price_stays_in_the_neighbourhood_of_its_start_for_decades(volatility: float) -> None:
    market = SyntheticMarket(5, volatility, start_price=100.0)
    prices = [market.price("AAPL", datetime(1990, 1, 1, tzinfo=UTC) + timedelta(days=50 * step)) for step in range(400)]
    assert 10 < min(prices) < 100 < max(prices) < 1000


def test_at_a_lively_volatility_stops_and_targets_of_a_fifth_of_a_percent_are_both_hit_within_a_minute() -> None:
    market, hits = SyntheticMarket(3, volatility=3.0), {"stop": 0, "target": 0, "neither": 0}
    for number in range(200):
        start = NOON + timedelta(hours=number)
        times = microseconds(start) + np.arange(61, dtype=np.int64) * 1_000_000
        prices = market.function("AAPL").many(times)
        outcome = next(
            ("stop" if move < 0 else "target" for move in prices / prices[0] - 1 if abs(move) >= 0.002), "neither"
        )
        hits[outcome] += 1
    assert hits["neither"] < 30
    assert min(hits["stop"], hits["target"]) > 50


async def test_answers_are_values_and_unknown_symbols_are_unknown() -> None:
    market = SyntheticMarket(1, symbols=["AAPL"])
    quote = await market.quote("AAPL", NOON)
    assert isinstance(quote, Value)
    assert (quote.value.symbol, quote.value.time) == ("AAPL", NOON)
    assert quote.value.bid == quote.value.ask == quote.value.price == market.price("AAPL", NOON)
    bars = await market.bars("AAPL", 60, 300, NOON)
    assert isinstance(bars, Value)
    assert len(bars.value) == 300
    assert not bars.value.close.flags.writeable
    assert isinstance(await market.bars("AAPL", 60, 0, NOON), ConfirmedEmpty)
    assert isinstance(await market.quote("MSFT", NOON), Unknown)
    assert isinstance(await market.bars("MSFT", 60, 5, NOON), Unknown)
