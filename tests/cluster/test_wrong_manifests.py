"""A wrong manifest gets one clear message: from the API server where it can, from a condition where it cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest
from lab import Object, Place, condition, kubectl, says


def refusal(manifest: Object) -> str:
    """What `kubectl apply` says, in one line."""
    with pytest.raises(AssertionError) as refused:
        kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    return " ".join(str(refused.value).split("\n", 1)[1].split())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"minConfidence": 1.5}, "spec.minConfidence in body should be less than or equal to 1"),
        (
            {"evaluationIntervalSeconds": -5},
            "spec.evaluationIntervalSeconds in body should be greater than or equal to 1",
        ),
        ({"enabeld": True}, 'unknown field "spec.enabeld"'),
        ({"enabled": "yes"}, 'spec.enabled in body must be of type boolean: "string"'),
        ({"broker": {"ibkr": {"host": "gateway"}}}, "spec.broker.ibkr is only allowed when spec.broker.type is IBKR"),
        ({"broker": {"type": "IBKR"}}, "spec.broker.ibkr is required when spec.broker.type is IBKR"),
        ({"broker": {"type": "Other"}}, "must be one of Simulated, IBKR; it is Other"),
        ({"mode": "Live"}, "spec.mode Live needs spec.broker.type IBKR"),
        ({"marketData": {"type": "Replay"}}, "spec.marketData.replay is required when spec.marketData.type is Replay"),
    ],
    ids=lambda each: json.dumps(each) if isinstance(each, dict) else "",
)
def test_a_wrong_scheduler_is_refused_by_the_api_server(place: Place, spec: dict[str, Any], message: str) -> None:
    manifest = place.scheduler() | {"spec": spec}

    said = refusal(manifest)

    assert message in said
    assert place.api.get("TradingScheduler", place.namespace, "lab") is None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"type": "Momntum"}, "must be one of Momentum, MeanReversion, Breakout, Crossover, Custom; it is Momntum"),
        ({"symbols": []}, "spec.symbols in body should have at least 1 items"),
        ({"symbols": ["aapl"]}, "spec.symbols[0] in body should match"),
        ({"symbol": "AAPL"}, 'unknown field "spec.symbol"'),
        ({"priority": 101}, "spec.priority in body should be less than or equal to 100"),
    ],
    ids=lambda each: json.dumps(each) if isinstance(each, dict) else "",
)
def test_a_wrong_strategy_is_refused_by_the_api_server(place: Place, spec: dict[str, Any], message: str) -> None:
    said = refusal(place.strategy(**spec))

    assert message in said
    assert place.api.get("Strategy", place.namespace, "momentum") is None


def accepted(place: Place, status: str, reason: str, name: str = "momentum") -> Object:
    found = place.api.wait(
        "Strategy", place.namespace, name, lambda it: it and says(it, "Accepted", status, reason), 60
    )
    return condition(found, "Accepted")


def test_a_strategy_without_its_scheduler_says_so_until_there_is_one(place: Place) -> None:
    place.api.apply(place.strategy(scheduler="desk"))

    missing = accepted(place, "False", "SchedulerNotFound")
    place.api.apply(place.scheduler("desk", enabled=False))
    found = place.api.wait("Strategy", place.namespace, "momentum", lambda it: says(it, "Accepted", "True"), 60)

    assert "desk" in missing["message"]
    assert condition(found, "Accepted")["status"] == "True"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"lookbak": 5}, ["spec.parameters.lookbak", "did you mean lookback?"]),
        ({"lookback": 0}, ["spec.parameters.lookback is 0", "greater than or equal to 1"]),
        ({"threshold": "much"}, ["spec.parameters.threshold is 'much'", "number"]),
    ],
    ids=json.dumps,
)
def test_a_wrong_parameter_is_told_by_a_condition(place: Place, parameters: dict[str, Any], words: list[str]) -> None:
    place.api.apply(place.scheduler(enabled=False), place.strategy(parameters=parameters))

    found = place.api.wait("Strategy", place.namespace, "momentum", lambda it: says(it, "Accepted", "False"), 60)

    message = condition(found, "Accepted")["message"]
    assert [word for word in words if word not in message] == []


def test_live_without_the_charts_word_stalls_the_scheduler_without_a_pod(place: Place) -> None:
    ibkr = {"host": "gateway", "port": 4002, "account": "U1234567"}
    place.api.apply(place.scheduler(mode="Live", broker={"type": "IBKR", "ibkr": ibkr}))

    place.wait_for("Stalled", "True", "LiveNotAllowed")

    assert place.api.pods(place.namespace, "lab") == []
