"""Measures of a backtest, beside empyrical's on random curves, and where there is nothing to measure."""

from __future__ import annotations

import json
import math
import random
from dataclasses import asdict
from decimal import Decimal

import empyrical
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.backtest.metrics import (
    curve_metrics,
    deepest_drawdown,
    exposure,
    returns_of,
    trade_metrics,
    turnover,
)

YEAR = 252


def curve(seed: int, periods: int, volatility: float = 0.01) -> np.ndarray:
    chance = random.Random(seed)
    values = [100_000.0]
    for _ in range(periods):
        values.append(values[-1] * (1 + max(-0.9, chance.gauss(0.0003, volatility))))
    return np.asarray(values)


@pytest.mark.parametrize("periods", [2, 3, 20, 252, 1500])
@pytest.mark.parametrize("volatility", [0.001, 0.01, 0.2])
def test_measures_are_empyricals(periods: int, volatility: float) -> None:
    for seed in range(20):
        equity = curve(seed, periods, volatility)
        returns = returns_of(equity)
        found = curve_metrics(equity, YEAR)
        oracle = {
            "total_return": empyrical.cum_returns_final(returns),
            "annual_return": empyrical.annual_return(returns),
            "volatility": empyrical.annual_volatility(returns),
            "sharpe": empyrical.sharpe_ratio(returns),
            "sortino": empyrical.sortino_ratio(returns),
            "calmar": empyrical.calmar_ratio(returns),
        }
        for name, wanted in oracle.items():
            value = getattr(found, name)
            if math.isfinite(wanted):
                assert value == pytest.approx(wanted, rel=1e-9, abs=1e-12), name
            else:
                assert value is None, name
        assert found.drawdown.depth == pytest.approx(empyrical.max_drawdown(returns), rel=1e-9, abs=1e-12)


EQUITIES = st.lists(st.floats(-1e6, 1e9, allow_nan=False), min_size=1, max_size=40).map(
    lambda values: np.round([abs(values[0]) + 1.0, *values[1:]], 2)  # a curve is in cents
)


@settings(max_examples=300, deadline=None)
@given(EQUITIES)
def test_nothing_is_ever_infinite_or_no_number(equity: np.ndarray) -> None:
    json.dumps(asdict(curve_metrics(equity, YEAR)), allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_the_deepest_drawdown_is_the_one_that_a_look_at_all_pairs_finds(values: list[int]) -> None:
    equity = np.asarray(values, dtype=float)
    found = deepest_drawdown(equity)
    pairs = [(values[b] / values[a] - 1, a, b) for a in range(len(values)) for b in range(a, len(values))]
    assert found.depth == pytest.approx(min(depth for depth, _, _ in pairs), abs=1e-12)
    if found.depth < 0:
        assert found.peak < found.trough
        assert equity[found.trough] / equity[found.peak] - 1 == pytest.approx(found.depth, abs=1e-12)
        assert equity[found.peak] == max(equity[: found.trough + 1])
        end = found.recovered if found.recovered is not None else len(equity) - 1
        assert found.periods == end - found.peak
        between = equity[found.peak + 1 : end + (found.recovered is None)]
        assert (between < equity[found.peak]).all()
        if found.recovered is not None:
            assert equity[found.recovered] >= equity[found.peak]


@pytest.mark.parametrize("equity", [[100.0], [100.0, 100.0], [100.0] * 50])
def test_a_curve_that_never_moves_has_no_ratios(equity: list[float]) -> None:
    found = curve_metrics(np.asarray(equity), YEAR)
    assert (found.sharpe, found.sortino, found.calmar) == (None, None, None)
    assert found.drawdown.depth == 0
    assert found.drawdown.periods == 0
    assert found.volatility in (None, 0.0)


def test_a_curve_that_falls_to_nothing_has_no_compounded_return() -> None:
    found = curve_metrics(np.asarray([100.0, 50.0, -10.0, 20.0]), YEAR)
    assert (found.volatility, found.sharpe) == (None, None)
    assert found.total_return == pytest.approx(-0.8)
    assert found.drawdown.depth == pytest.approx(-1.1)
    assert curve_metrics(np.asarray([100.0, -1.0]), YEAR).annual_return is None


def test_round_trips_are_counted_by_their_profit_after_fees() -> None:
    found = trade_metrics([Decimal("10"), Decimal("-4"), Decimal("0"), Decimal("6"), Decimal("-4")])
    assert (found.trades, found.hit_rate, found.profit_factor) == (5, 0.4, 2.0)
    assert (found.mean_pnl, found.mean_win, found.mean_loss) == (1.6, 8.0, -4.0)
    assert (found.best, found.worst) == (10.0, -4.0)


def test_without_trades_or_without_losses_nothing_is_divided_by_zero() -> None:
    assert set(asdict(trade_metrics([])).values()) == {0, None}
    assert trade_metrics([Decimal(3)]).profit_factor is None


def test_exposure_counts_the_sessions_at_whose_end_something_is_held() -> None:
    assert exposure(np.asarray([0.0, 5.0, 7.0, 0.0])) == 0.5
    assert exposure(np.empty(0)) is None


def test_turnover_is_half_of_what_was_traded_over_mean_equity_a_year() -> None:
    assert turnover([Decimal(100), Decimal(100)], np.asarray([50.0, 150.0]), 2.0) == 0.5
    assert turnover([], np.asarray([0.0]), 1.0) is None
