"""The interval follows the volatility: monotone, within its bounds, on nested grids, and without thrashing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.domain.bars import Bar, BarSeries
from openbell.engine.pacing import LEVEL_LOOKBACKS, Pace, choose, ladder, next_interval, variance_ratio
from openbell.market.calendar import calendar_for, next_tick

LOOKBACK = 5
PACE = Pace(60, 15, 240, LOOKBACK)
OPEN = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


def moves(*returns: float, bar_seconds: int = 60, holes: frozenset[int] = frozenset()) -> BarSeries:
    """Bars with these log returns of their closes; an hour lies before each return that `holes` names."""
    closes = 100.0 * np.exp(np.concatenate([[0.0], np.cumsum(returns)]))
    ends, end = [], OPEN
    for index in range(len(closes)):
        end += timedelta(seconds=bar_seconds) + timedelta(hours=index - 1 in holes)
        ends.append(end)
    bars = [Bar("AAPL", e - timedelta(seconds=bar_seconds), e, c, c, c, c, 1.0) for e, c in zip(ends, closes)]  # noqa: B905
    return BarSeries.from_bars("AAPL", bar_seconds, bars)


def interval(pace: Pace, current: int, series: Sequence[BarSeries]) -> int:
    return next_interval(pace, current, [variance_ratio(each, pace.lookback) for each in series])


def steady(size: float, count: int) -> list[float]:
    return [size * (-1) ** index for index in range(count)]


def excited(times: float) -> BarSeries:
    """Usual moves of 0.1 %, and `times` as large ones over the newest lookback."""
    return moves(*steady(0.001, LEVEL_LOOKBACKS * LOOKBACK), *steady(0.001 * times, LOOKBACK))


def test_the_variance_ratio_is_the_square_of_the_volatilities_ratio() -> None:
    for times in (0.5, 1.0, 2.0, 3.0):
        assert variance_ratio(excited(times), LOOKBACK) == pytest.approx(times**2)


@pytest.mark.parametrize(("times", "seconds"), [(0.4, 240), (0.71, 120), (1.0, 60), (1.42, 30), (2.0, 15), (9.0, 15)])
def test_twice_the_volatility_is_a_quarter_of_the_interval(times: float, seconds: int) -> None:
    assert interval(PACE, 60, [excited(times)]) == seconds


def test_over_several_symbols_the_mean_counts() -> None:
    quiet, usual, wild = excited(0.5), excited(1.0), excited(2.0)
    assert interval(PACE, 60, [*[usual] * 4, wild]) == 60  # a variance of 1.6 does not yet halve it
    assert interval(PACE, 60, [usual, wild, wild]) == 15
    assert interval(PACE, 60, [quiet, quiet, quiet, quiet, usual]) == 120


def test_without_bars_enough_the_interval_is_the_resources_own() -> None:
    assert variance_ratio(moves(*steady(0.001, 2 * LOOKBACK - 1)), LOOKBACK) is None
    assert interval(PACE, 15, []) == 60
    assert interval(PACE, 15, [moves(0.001)]) == 60


def test_the_night_is_no_volatility_of_the_morning() -> None:
    returns = [*steady(0.001, LEVEL_LOOKBACKS * LOOKBACK), *steady(0.001, LOOKBACK)]
    at = len(returns) - 2
    returns[at] = 0.05
    assert variance_ratio(moves(*returns, holes=frozenset({at})), LOOKBACK) == pytest.approx(1.0)
    jumped = variance_ratio(moves(*returns), LOOKBACK)
    assert jumped is not None
    assert jumped > 100


def test_daily_bars_have_a_night_between_each_two() -> None:
    returns = [*steady(0.01, LEVEL_LOOKBACKS * LOOKBACK), *steady(0.02, LOOKBACK)]
    weekends = frozenset(range(0, len(returns), 5))
    assert variance_ratio(moves(*returns, bar_seconds=86_400, holes=weekends), LOOKBACK) == pytest.approx(4.0)


def test_a_price_that_stood_still_and_moves_is_looked_at_as_often_as_may_be() -> None:
    still = [0.0] * (LEVEL_LOOKBACKS * LOOKBACK)
    assert interval(PACE, 60, [moves(*still, *steady(0.001, LOOKBACK))]) == 15
    assert interval(PACE, 60, [moves(*still, *[0.0] * LOOKBACK)]) == 60
    assert interval(PACE, 60, [moves(*steady(0.001, LEVEL_LOOKBACKS * LOOKBACK), *[0.0] * LOOKBACK)]) == 240


def test_a_price_that_is_none_says_nothing() -> None:
    series = excited(1.0)
    broken = series.close.copy()
    broken[-3] = float("nan")
    with_hole = BarSeries("A", 60, series.end, broken, broken, broken, broken, broken)
    assert variance_ratio(with_hole, LOOKBACK) is None


def test_a_base_outside_of_the_bounds_is_kept() -> None:
    hourly = Pace(3600, 15, 240, LOOKBACK)
    assert not hourly.is_adaptive
    assert interval(hourly, 3600, [excited(9.0)]) == 3600


@pytest.mark.parametrize(
    ("base", "shortest", "longest", "rungs"),
    [
        (60, 15, 240, (15, 30, 60, 120, 240)),
        (60, 1, 60, (1, 5, 15, 30, 60)),
        (45, 10, 100, (15, 45, 90)),
        (7, 2, 30, (7, 14, 28)),
        (1, 1, 1, (1,)),
    ],
)
def test_the_ladder(base: int, shortest: int, longest: int, rungs: tuple[int, ...]) -> None:
    assert ladder(Pace(base, shortest, longest, LOOKBACK)) == rungs


def test_noise_at_the_border_of_two_rungs_moves_nothing() -> None:
    border = math.sqrt(2)  # the variance from which on 30 s is nearer than 60
    for noise in (0.85, 1.0, 1.18):
        assert choose(PACE, 60, border * noise) == 60
        assert choose(PACE, 30, border * noise) == 30


paces = st.builds(
    lambda low, factors, lookback: Pace(low * factors[0], low, low * factors[0] * factors[1], lookback),
    st.integers(1, 120),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.integers(5, 50),
)
ratios = st.floats(0, 1e6) | st.just(math.inf)


@given(paces, st.integers(1, 90_000), ratios)
def test_the_interval_lies_within_the_bounds_whatever_it_was(pace: Pace, current: int, ratio: float) -> None:
    assert pace.min_seconds <= choose(pace, current, ratio) <= pace.max_seconds


@given(paces, st.data(), ratios, ratios)
def test_more_volatile_is_never_less_often(pace: Pace, data: st.DataObject, one: float, other: float) -> None:
    current = data.draw(st.sampled_from(ladder(pace)))
    calm, wild = sorted((one, other))
    assert choose(pace, current, wild) <= choose(pace, current, calm)


@given(paces, st.data(), ratios)
def test_the_same_volatility_twice_changes_nothing_more(pace: Pace, data: st.DataObject, ratio: float) -> None:
    once = choose(pace, data.draw(st.sampled_from(ladder(pace))), ratio)
    assert choose(pace, once, ratio) == once


@given(paces, st.integers(0, 23_000))
def test_every_tick_of_a_longer_rung_is_one_of_the_shorter(pace: Pace, seconds: int) -> None:
    calendar = calendar_for("XNYS")
    after = OPEN + timedelta(seconds=seconds)
    for shorter, longer in pairwise(ladder(pace)):
        assert longer % shorter == 0
        tick = next_tick(calendar, True, longer, 0.0, after)
        assert next_tick(calendar, True, shorter, 0.0, tick - timedelta(microseconds=1)) == tick
