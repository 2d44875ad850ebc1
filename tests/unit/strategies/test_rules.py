"""What the built-in rules say of bars."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.values import T0, at
from openbell.domain.bars import BarSeries
from openbell.domain.signals import Action, Signal
from openbell.strategies import STRATEGY_TYPES, Context, strategy_for, validate_parameters
from openbell.strategies.api import halving

Numbers = npt.NDArray[np.float64]


def series(closes: list[float] | Numbers, spread: float = 0.0) -> BarSeries:
    """Minute bars that end at T0."""
    close = np.asarray(closes, dtype=np.float64)
    end = T0.timestamp() - 60.0 * np.arange(len(close) - 1, -1, -1)
    columns = [end, close, close + spread, close - spread, close, np.ones_like(close)]
    for column in columns:
        column.setflags(write=False)
    return BarSeries("AAPL", 60, *columns)


def signals(
    type_name: str, bars: BarSeries, held: int = 0, now_seconds: float = 1, **parameters: object
) -> tuple[Signal, ...]:
    params = validate_parameters(type_name, parameters)
    context = Context("AAPL", bars, params, Decimal(held), at(now_seconds), strategy="s", priority=3)
    return tuple(strategy_for(type_name).evaluate(context))


def action(type_name: str, bars: BarSeries, held: int = 0, **parameters: object) -> Action | None:
    said = signals(type_name, bars, held, **parameters)
    return said[0].action if said else None


def walk(seed: int, length: int) -> BarSeries:
    steps = np.random.default_rng(seed).normal(0, 0.004, length)
    return series(100 * np.exp(np.cumsum(steps)), spread=0.1)


def cut(bars: BarSeries, start: int | None, stop: int | None) -> BarSeries:
    names = ("end", "open", "high", "low", "close", "volume")
    return replace(bars, **{name: getattr(bars, name)[start:stop] for name in names})


# momentum


@pytest.mark.parametrize(
    ("closes", "held", "direction", "expected"),
    [
        ([100, 5, 112.5], 0, "Long", Action.BUY),
        ([100, 5, 112.4], 0, "Long", None),
        ([100, 5, 87.5], 0, "Long", None),
        ([100, 5, 87.5], 0, "Both", Action.SELL),
        ([100, 5, 87.6], 0, "Both", None),
        ([100, 5, 110], 7, "Long", None),
        ([100, 5, 100.1], 7, "Long", None),
        ([100, 5, 100], 7, "Long", Action.CLOSE),
        ([100, 5, 90], 7, "Long", Action.CLOSE),
        ([100, 5, 99.9], -7, "Both", None),
        ([100, 5, 100], -7, "Both", Action.CLOSE),
        ([100, 5, 110], -7, "Long", Action.CLOSE),
    ],
)
def test_momentum_follows_the_change_over_the_lookback(
    closes: list[float], held: int, direction: str, expected: Action | None
) -> None:
    found = action("Momentum", series([1, 1, *closes]), held, lookback=2, threshold=0.125, direction=direction)
    assert found is expected


@pytest.mark.parametrize(("last", "expected"), [(87.6, None), (87.5, Action.CLOSE), (87, Action.CLOSE)])
def test_momentum_bears_a_move_against_it_up_to_the_exit_threshold(last: float, expected: Action | None) -> None:
    bars = series([100, last])
    assert action("Momentum", bars, 7, lookback=1, exitThreshold=0.125) is expected


@pytest.mark.parametrize(("last", "confidence"), [(101, 0.5), (102, 0.75), (103, 0.875), (99, None)])
def test_momentums_confidence_halves_what_is_missing_with_each_threshold(last: float, confidence: float | None) -> None:
    said = signals("Momentum", series([100, last]), lookback=1, threshold=0.01)
    assert [s.confidence for s in said] == ([] if confidence is None else [pytest.approx(confidence)])


def test_momentum_is_the_rate_of_change_worked_out_by_hand() -> None:
    said = signals("Momentum", series([40.0, 41.5, 43.0, 42.0]), lookback=3, threshold=0.05)
    assert said[0].reason == "+5.00% over 3 bars"
    assert said[0].confidence == pytest.approx(0.5)


# crossover


def ema(values: list[float], length: int) -> list[float]:
    """The textbook: a simple average first, then weights of 2 / (length + 1)."""
    average = sum(values[:length]) / length
    averages = [average]
    for value in values[length:]:
        average += (value - average) * 2 / (length + 1)
        averages.append(average)
    return averages


def wilder(values: list[float], length: int) -> float:
    average = sum(values[:length]) / length
    for value in values[length:]:
        average = (average * (length - 1) + value) / length
    return average


FLAT = [100.0] * 120
RISE, FALL = [*FLAT, 101.0], [*FLAT, 99.0]


@pytest.mark.parametrize("average", ["EMA", "SMA"])
@pytest.mark.parametrize(
    ("closes", "held", "direction", "expected"),
    [
        (RISE, 0, "Long", Action.BUY),
        (FALL, 0, "Long", None),
        (FALL, 0, "Both", Action.SELL),
        (FLAT, 0, "Both", None),
        ([*RISE, 102.0], 0, "Long", None),
        ([*FALL, 98.0], 0, "Both", None),
        (RISE, 7, "Long", None),
        (FALL, 7, "Long", Action.CLOSE),
        ([*FALL, 98.0], 7, "Long", Action.CLOSE),
        (FLAT, 7, "Long", None),
        (RISE, -7, "Both", Action.CLOSE),
        (FALL, -7, "Both", None),
    ],
)
def test_crossover_opens_on_the_crossing_and_closes_on_the_other_side(
    closes: list[float], held: int, direction: str, average: str, expected: Action | None
) -> None:
    bars = series(closes, spread=0.5)
    assert action("Crossover", bars, held, fast=3, slow=8, average=average, direction=direction) is expected


def test_crossover_is_the_textbooks_averages_over_the_textbooks_range() -> None:
    params = validate_parameters("Crossover", {"fast": 3, "slow": 8, "atr": 5})
    needed = strategy_for("Crossover").data(params, 60).warmup
    closes = [100 + 3 * np.sin((needed - number) / 5) for number in range(needed - 1)]
    closes.append(closes[-1] + 6)
    assert ema(closes, 3)[-2] < ema(closes, 8)[-2]
    apart = ema(closes, 3)[-1] - ema(closes, 8)[-1]
    ranges = [max(now + 0.5, before) - min(now - 0.5, before) for before, now in pairwise(closes)]
    separation = apart / wilder(ranges, 5)
    said = signals("Crossover", series(closes, spread=0.5), fast=3, slow=8, atr=5)
    assert [s.action for s in said] == [Action.BUY]
    assert said[0].confidence == pytest.approx(1 - 0.5 ** (1 + separation / 0.1), rel=1e-9)
    assert said[0].reason == f"EMA3 above EMA8 by {separation:.2f} ATR"


def test_simple_averages_are_the_textbooks_too() -> None:
    closes = [*FLAT, 90.0, 90.0, 90.0, 120.0]
    fast, slow = sum(closes[-2:]) / 2, sum(closes[-4:]) / 4
    ranges = [1.0] * 4 + [10.5, 1.0, 1.0, 30.5]
    separation = (fast - slow) / wilder([*([1.0] * 100), *ranges], 2)
    said = signals("Crossover", series(closes, spread=0.5), fast=2, slow=4, atr=2, average="SMA")
    assert said[0].confidence == pytest.approx(1 - 0.5 ** (1 + separation / 0.1), rel=1e-6)


def test_a_market_that_does_not_move_has_no_range_and_no_signal() -> None:
    assert signals("Crossover", series(FLAT), fast=3, slow=8) == ()


@pytest.mark.parametrize(
    ("parameters", "weight"),
    [({"slow": 26}, 2 / 27), ({"slow": 200}, 2 / 201), ({"atr": 100, "average": "SMA"}, 1 / 100)],
)
def test_the_warm_up_outlasts_the_memory_of_the_averages(parameters: dict[str, object], weight: float) -> None:
    needed = strategy_for("Crossover").data(validate_parameters("Crossover", parameters), 60).warmup
    seed = int(parameters.get("slow", parameters.get("atr", 0))) + 1  # type: ignore[call-overload]
    assert (1 - weight) ** (needed - seed) <= 1e-3
    assert (1 - weight) ** (needed - seed - 1) > 1e-3


def test_simple_averages_need_no_more_than_their_bars() -> None:
    params = validate_parameters("Crossover", {"fast": 5, "slow": 400, "average": "SMA"})
    assert strategy_for("Crossover").data(params, 60).warmup == 401


def test_rounding_is_no_crossing() -> None:
    still = series([100.1] * 400, spread=0.5)
    for average in ("EMA", "SMA"):
        for stop in range(120, 400):
            assert (
                action("Crossover", cut(still, None, stop), fast=3, slow=7, average=average, direction="Both") is None
            )


# mean reversion

DROP, JUMP = [100.0, 100.0, 100.0, 100.0, 90.0], [100.0, 100.0, 100.0, 100.0, 110.0]


@pytest.mark.parametrize(
    ("closes", "held", "parameters", "expected"),
    [
        # One price apart from four equal ones is exactly two standard deviations away.
        (DROP, 0, {"entry": 2.0}, Action.BUY),
        (DROP, 0, {"entry": 2.01}, None),
        (JUMP, 0, {"entry": 2.0}, None),
        (JUMP, 0, {"entry": 2.0, "direction": "Both"}, Action.SELL),
        (DROP, 7, {}, None),
        (JUMP, 7, {}, Action.CLOSE),
        (JUMP, -7, {}, None),
        (DROP, -7, {}, Action.CLOSE),
        # Here the score is -0.5: closed from there on, or only at the average itself.
        ([100.0, 104.0, 96.0, 100.0, 98.0, 96.0, 104.0, 98.0], 7, {"exit": 0.7}, Action.CLOSE),
        ([100.0, 104.0, 96.0, 100.0, 98.0, 96.0, 104.0, 98.0], 7, {"exit": 0.0}, None),
    ],
)
def test_mean_reversion_buys_what_is_far_below_its_average(
    closes: list[float], held: int, parameters: dict[str, object], expected: Action | None
) -> None:
    assert action("MeanReversion", series([50, *closes]), held, lookback=len(closes), **parameters) is expected


def test_mean_reversions_score_is_the_textbooks() -> None:
    closes = [101.0, 99.5, 100.25, 102.0, 98.0, 97.0]
    mean = sum(closes) / 6
    deviation = (sum((close - mean) ** 2 for close in closes) / 6) ** 0.5
    score = (closes[-1] - mean) / deviation
    (said,) = signals("MeanReversion", series(closes), lookback=6, entry=1.0)
    assert said.confidence == pytest.approx(1 - 0.5 ** abs(score), rel=1e-12)
    assert said.reason == f"{score:+.2f} standard deviations from the average of 6 bars"
    (said,) = signals("MeanReversion", series([*closes, 103.0]), 7, lookback=6, entry=1.0)
    window = [*closes[1:], 103.0]
    mean = sum(window) / 6
    score = (103 - mean) / (sum((close - mean) ** 2 for close in window) / 6) ** 0.5
    assert said.confidence == pytest.approx(1 - 0.5 ** (1 + score), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_mean_reversion_does_not_depend_on_the_prices_size(scale: float) -> None:
    closes = [scale * close for close in (101.0, 99.5, 100.25, 102.0, 98.0, 97.0)]
    (said,) = signals("MeanReversion", series(closes), lookback=6, entry=1.0)
    assert said.confidence == pytest.approx(0.655736965255, abs=1e-9)


@pytest.mark.parametrize("closes", [[100.1] * 6, [100.0, 100.0, 100.0, 100.0, 100.00001], [3.0, 2.0, 1.0, 0.0, 0.0]])
@pytest.mark.parametrize("held", [-7, 0, 7])
def test_a_price_that_stands_still_or_is_nothing_has_no_score(closes: list[float], held: int) -> None:
    assert signals("MeanReversion", series(closes), held, lookback=5, direction="Both") == ()


# breakout

CHANNEL = [100.0, 104.0, 96.0, 100.0]


@pytest.mark.parametrize(
    ("last", "held", "direction", "expected"),
    [
        # With half a point of spread the channel of four bars reaches from 95.5 to 104.5, that of two from 95.5 too.
        (104.6, 0, "Long", Action.BUY),
        (104.5, 0, "Long", None),
        (95.4, 0, "Long", None),
        (95.4, 0, "Both", Action.SELL),
        (95.5, 0, "Both", None),
        (104.6, 7, "Both", None),
        (95.4, 7, "Long", Action.CLOSE),
        (95.5, 7, "Long", None),
        (100.6, -7, "Both", Action.CLOSE),
        (100.5, -7, "Both", None),
        (95.4, -7, "Both", None),
    ],
)
def test_breakout_follows_a_close_that_leaves_the_channel_before_it(
    last: float, held: int, direction: str, expected: Action | None
) -> None:
    bars = series([200, 1, *CHANNEL, last], spread=0.5)
    assert action("Breakout", bars, held, channel=4, exitChannel=2, direction=direction) is expected


@pytest.mark.parametrize(("beyond", "confidence"), [(0.9, 0.75), (1.8, 0.875), (2.7, 0.9375)])
def test_breakouts_confidence_grows_with_tenths_of_the_channels_width(beyond: float, confidence: float) -> None:
    (said,) = signals("Breakout", series([*CHANNEL, 104.5 + beyond], spread=0.5), channel=4, exitChannel=2)
    assert said.confidence == pytest.approx(confidence)
    assert said.reason == f"above the highest high of 4 bars by {beyond / 9:.2f} of its width"


def test_a_channel_without_width_is_left_with_the_least_confidence() -> None:
    (said,) = signals("Breakout", series([100, 100, 100, 101]), channel=3, exitChannel=2)
    assert said.confidence == 0.5


# every rule

PARAMETERS: dict[str, dict[str, object]] = {
    "Momentum": {"lookback": 5, "threshold": 0.002, "direction": "Both"},
    "MeanReversion": {"lookback": 8, "entry": 1.5, "exit": 0.25, "direction": "Both"},
    "Breakout": {"channel": 8, "exitChannel": 4, "direction": "Both"},
    "Crossover": {"fast": 3, "slow": 8, "direction": "Both"},
}


@pytest.mark.parametrize("type_name", STRATEGY_TYPES)
def test_the_rules_speak_on_a_random_walk(type_name: str) -> None:
    bars = walk(7, 400)
    needed = strategy_for(type_name).data(validate_parameters(type_name, PARAMETERS[type_name]), 60).warmup
    said = {action(type_name, cut(bars, None, stop), **PARAMETERS[type_name]) for stop in range(needed, 400)}
    assert said == {Action.BUY, Action.SELL, None}


@given(st.sampled_from(STRATEGY_TYPES), st.integers(0, 2**32), st.sampled_from([-5, 0, 5]), st.integers(0, 200))
def test_history_and_future_do_not_change_an_answer(type_name: str, seed: int, held: int, extra: int) -> None:
    parameters = PARAMETERS[type_name]
    needed = strategy_for(type_name).data(validate_parameters(type_name, parameters), 60).warmup
    bars = walk(seed, needed + 200)
    stop = needed + extra
    whole = signals(type_name, cut(bars, None, stop), held, **parameters)
    assert whole == signals(type_name, cut(bars, stop - needed, stop), held, **parameters)
    assert whole == signals(type_name, cut(bars, None, stop), held, **parameters)
    changed = replace(bars, close=np.concatenate([bars.close[:stop], bars.close[stop:] * 9]))
    assert whole == signals(type_name, cut(changed, None, stop), held, **parameters)
    assert len(whole) <= 1
    for signal in whole:
        assert 0.5 <= signal.confidence <= 1 or signal.action is Action.CLOSE
        assert 0 <= signal.confidence <= 1
        assert type(signal.confidence) is float
        assert (signal.action is Action.CLOSE) == (held != 0)


@pytest.mark.parametrize("type_name", STRATEGY_TYPES)
def test_one_bar_short_of_the_warm_up_nothing_is_said(type_name: str) -> None:
    parameters = PARAMETERS[type_name]
    needed = strategy_for(type_name).data(validate_parameters(type_name, parameters), 60).warmup
    jump = np.concatenate([np.full(needed - 1, 100.0), [130.0]])
    assert len(signals(type_name, series(jump, 0.5), **parameters)) == 1
    assert signals(type_name, series(jump[1:], 0.5), **parameters) == ()
    assert signals(type_name, series([]), **parameters) == ()


@pytest.mark.parametrize("type_name", STRATEGY_TYPES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_price_that_is_no_number_says_nothing(type_name: str, bad: float) -> None:
    jump = np.concatenate([np.full(199, 100.0), [bad]])
    assert signals(type_name, series(jump, 0.5), **PARAMETERS[type_name]) == ()


def test_a_signal_is_of_the_newest_bar_and_lives_one_bar_from_now() -> None:
    bars = series([100, 130])
    (said,) = signals("Momentum", bars, lookback=1)
    assert (said.strategy, said.symbol, said.priority) == ("s", "AAPL", 3)
    assert said.bar_time == T0
    assert said.valid_until == at(61)
    (early,) = signals("Momentum", bars, lookback=1, now_seconds=-30)
    assert early.valid_until == at(60)
    with pytest.raises(ValueError, match="at least one bar"):
        Context("AAPL", series([]), validate_parameters("Momentum", {}), Decimal(0), T0).signal(Action.BUY, 1.0, "")


def test_a_signals_life_is_counted_in_bars() -> None:
    context = Context("AAPL", series([1.0]), validate_parameters("Momentum", {}), Decimal(0), T0)
    assert context.signal(Action.BUY, 1.0, "", valid_bars=2.5).valid_until == T0 + timedelta(seconds=150)


@pytest.mark.parametrize(("strength", "confidence"), [(-1, 0), (0, 0), (1, 0.5), (2, 0.75), (1e9, 1)])
def test_strength_becomes_confidence_smoothly(strength: float, confidence: float) -> None:
    assert halving(strength) == confidence
