"""A strategy runs with its own settings where it has them, else with its scheduler's."""

from __future__ import annotations

import pytest

from openbell.domain.errors import ManifestError
from openbell.domain.positions import TrailingStop
from openbell.domain.state import TradingState
from openbell.resources.effective import effective_settings
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.strategy import StrategySpec


def strategy(**spec: object) -> StrategySpec:
    least = {"schedulerRef": {"name": "desk"}, "type": "Momentum", "symbols": ["AAPL"]}
    return StrategySpec.model_validate(least | spec)


def scheduler(**spec: object) -> SchedulerSpec:
    return SchedulerSpec.model_validate(spec)


def test_what_a_strategy_leaves_out_is_its_schedulers() -> None:
    desk = scheduler(evaluationIntervalSeconds=120, minConfidence=0.7, maxConcurrentTrades=3)
    settings = effective_settings(desk, strategy())
    assert settings.evaluation_interval_seconds == 120
    assert settings.min_confidence == 0.7
    assert settings.max_concurrent_trades == 3
    assert settings.exits == desk.exits.to_policy()
    assert settings.sizing == desk.sizing


def test_zero_is_a_value_and_not_left_out() -> None:
    assert effective_settings(scheduler(minConfidence=0.7), strategy(minConfidence=0)).min_confidence == 0


def test_exits_are_overridden_field_by_field() -> None:
    desk = scheduler(exits={"stopLoss": 0.05, "takeProfit": 0.2, "trailing": {"distance": 0.03}})
    exits = effective_settings(desk, strategy(exits={"stopLoss": 0.01})).exits
    assert (exits.stop_loss, exits.take_profit, exits.trailing) == (0.01, 0.2, TrailingStop(0.0, 0.03))


def test_zero_turns_an_exit_of_the_scheduler_off() -> None:
    desk = scheduler(exits={"trailing": {"distance": 0.03}})
    exits = effective_settings(desk, strategy(exits={"takeProfit": 0, "trailing": {"distance": 0}})).exits
    assert (exits.take_profit, exits.trailing) == (None, None)


def test_sizing_that_does_not_fit_onto_the_schedulers_is_refused() -> None:
    with pytest.raises(ManifestError, match="minFraction above maxFraction"):
        effective_settings(scheduler(), strategy(sizing={"minFraction": 0.2}))


@pytest.mark.parametrize(
    ("desk", "own", "expected"),
    [
        ({"enabled": True}, {}, TradingState.RUNNING),
        ({"enabled": True}, {"paused": True}, TradingState.PAUSED),
        ({"enabled": True}, {"enabled": False}, TradingState.STOPPED),
        ({"enabled": True, "paused": True}, {}, TradingState.PAUSED),
        ({}, {"paused": True}, TradingState.STOPPED),
    ],
)
def test_the_state_is_the_safer_of_both(
    desk: dict[str, object], own: dict[str, object], expected: TradingState
) -> None:
    assert effective_settings(scheduler(**desk), strategy(**own)).state is expected
