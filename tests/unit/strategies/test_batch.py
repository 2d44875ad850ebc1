"""The batch form of every built-in rule says at every bar what an evaluation says there."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.domain.bars import BarSeries
from openbell.strategies import STRATEGY_TYPES, SignalColumns, strategy_for, validate_parameters
from openbell.strategies.api import halving, halvings
from openbell.strategies.checks import check_strategy, window
from openbell.strategies.rolling import BLOCK

PARAMETERS: dict[str, st.SearchStrategy[dict[str, object]]] = {
    "Momentum": st.fixed_dictionaries(
        {
            "lookback": st.integers(1, 12),
            "threshold": st.sampled_from([0.001, 0.01, 0.1]),
            "exitThreshold": st.sampled_from([0.0, 0.01]),
            "direction": st.sampled_from(["Long", "Both"]),
        }
    ),
    "MeanReversion": st.fixed_dictionaries(
        {
            "lookback": st.integers(3, 12),
            "entry": st.sampled_from([1.0, 1.5, 2.0]),
            "exit": st.sampled_from([0.0, 0.5]),
            "direction": st.sampled_from(["Long", "Both"]),
        }
    ),
    "Breakout": st.fixed_dictionaries(
        {
            "channel": st.integers(5, 12),
            "exitChannel": st.integers(2, 5),
            "direction": st.sampled_from(["Long", "Both"]),
        }
    ),
    "Crossover": st.fixed_dictionaries(
        {
            "fast": st.integers(2, 5),
            "slow": st.integers(6, 12),
            "atr": st.integers(2, 5),
            "average": st.sampled_from(["EMA", "SMA"]),
            "direction": st.sampled_from(["Long", "Both"]),
        }
    ),
}
KINDS = ("walk", "ticks", "still", "gaps")


def history(kind: str, seed: int, length: int) -> BarSeries:
    """Minute bars: a random walk, prices on a coarse grid (ties everywhere), hardly a move, or some no numbers."""
    random = np.random.default_rng(seed)
    if kind == "walk":
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.004, length)))
    else:
        steps = random.integers(-1, 2, length) * (random.random(length) < (0.1 if kind == "still" else 0.6))
        close = 20.1 + 0.1 * np.cumsum(steps)
    spread = random.random(length) * 0.05
    high, low = close + spread, close - spread
    if kind == "gaps":
        for column in (close, high, low):
            column[random.random(length) < 0.01] = np.nan
    end = 1_700_000_000.0 + 60.0 * np.arange(length)
    columns = [end, close, high, low, close, np.ones(length)]
    for column in columns:
        column.setflags(write=False)
    return BarSeries("AAPL", 60, *columns)


@pytest.mark.parametrize("type_name", STRATEGY_TYPES)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_batch_form_says_what_evaluations_say_whatever_the_position(
    type_name: str, kind: str, data: st.DataObject
) -> None:
    params = validate_parameters(type_name, data.draw(PARAMETERS[type_name]))
    strategy = strategy_for(type_name)
    needed = strategy.data(params, 60).warmup
    bars = history(kind, data.draw(st.integers(0, 2**32)), needed + 40)
    assert check_strategy(lambda: strategy, params, bars) == ()


@pytest.mark.parametrize("type_name", STRATEGY_TYPES)
def test_columns_are_whole_plain_and_silent_before_the_warm_up(type_name: str) -> None:
    strategy, params = strategy_for(type_name), validate_parameters(type_name, {"direction": "Both"})
    needed = strategy.data(params, 60).warmup
    bars = history("walk", 3, 2 * BLOCK + 500)
    columns = strategy.signals(bars, params)
    assert columns is not None
    for field in fields(SignalColumns):
        column = getattr(columns, field.name)
        assert column.shape == (len(bars),)
        assert column.dtype == (np.float64 if field.name.endswith("confidence") else np.int8)
        assert not column[: needed - 1].any()
    assert set(np.unique(columns.open)) == {-1, 0, 1}
    for flags, confidence in (
        (columns.open, columns.open_confidence),
        (columns.close_long, columns.close_long_confidence),
        (columns.close_short, columns.close_short_confidence),
    ):
        assert (confidence[flags == 0] == 0).all()
        assert ((confidence >= 0) & (confidence <= 1)).all()
        assert flags.any()


@pytest.mark.parametrize("type_name", STRATEGY_TYPES)
@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_too_short_a_history_says_nothing(type_name: str, length: int) -> None:
    strategy, params = strategy_for(type_name), validate_parameters(type_name, {})
    columns = strategy.signals(window(history("walk", 1, 200), 0, length), params)
    assert columns is not None
    assert len(columns) == length
    assert not columns.open.any()


@pytest.mark.parametrize("type_name", STRATEGY_TYPES)
def test_blocks_leave_no_seam(type_name: str) -> None:
    strategy, params = strategy_for(type_name), validate_parameters(type_name, {"direction": "Both"})
    bars = history("walk", 5, 2 * BLOCK + 700)
    whole = strategy.signals(bars, params)
    tail = strategy.signals(window(bars, BLOCK // 2, len(bars)), params)
    assert whole is not None
    assert tail is not None
    settled = 300
    for field in fields(SignalColumns):
        left = getattr(whole, field.name)[BLOCK // 2 + settled :]
        right = getattr(tail, field.name)[settled:]
        assert np.allclose(left, right, rtol=0, atol=1e-12)


def test_halvings_are_halving() -> None:
    strength: npt.NDArray[np.float64] = np.array([-1.0, 0.0, 0.3, 1.0, 7.5, 2000.0])
    assert halvings(strength) == pytest.approx([halving(each) for each in strength], abs=1e-15)
