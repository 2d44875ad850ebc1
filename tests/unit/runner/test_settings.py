"""The SCHEDULER_* variables: read, laid over a manifest, and refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from openbell.domain.errors import ManifestError
from openbell.runner.settings import PREFIX, SchedulerVariables, read_variables

NAMES = tuple(name.upper() for name in SchedulerVariables.model_fields)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(PREFIX + name, raising=False)


def test_the_seven_variables_are_these() -> None:
    assert NAMES == (
        "ENABLED",
        "EVALUATION_INTERVAL",
        "EXIT_CHECK_INTERVAL",
        "MIN_CONFIDENCE",
        "MAX_CONCURRENT_TRADES",
        "REQUIRE_IBKR_CONNECTION",
        "MARKET_HOURS_ONLY",
    )


@pytest.mark.parametrize(
    ("name", "value", "spec"),
    [
        ("ENABLED", "true", {"enabled": True}),
        ("ENABLED", "0", {"enabled": False}),
        ("EVALUATION_INTERVAL", "7", {"evaluationIntervalSeconds": 7}),
        ("EXIT_CHECK_INTERVAL", "8", {"exitCheckIntervalSeconds": 8}),
        ("MIN_CONFIDENCE", "0.9", {"minConfidence": 0.9}),
        ("MAX_CONCURRENT_TRADES", "3", {"maxConcurrentTrades": 3}),
        ("REQUIRE_IBKR_CONNECTION", "false", {"requireBrokerConnection": False}),
        ("MARKET_HOURS_ONLY", "false", {"market": {"hoursOnly": False}}),
    ],
)
def test_a_variable_takes_its_place_in_the_spec(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, spec: dict[str, Any]
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    assert read_variables().over({}) == spec


def test_what_is_not_set_stays_as_the_manifest_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULER_ENABLED", "")
    spec = {"enabled": True, "market": {"calendar": "Always"}}
    assert read_variables().over(spec) == spec


def test_the_rest_of_a_block_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULER_MARKET_HOURS_ONLY", "false")
    spec = {"market": {"calendar": "XNYS", "hoursOnly": True}, "mode": "Paper"}
    assert read_variables().over(spec) == {"market": {"calendar": "XNYS", "hoursOnly": False}, "mode": "Paper"}
    assert spec["market"] == {"calendar": "XNYS", "hoursOnly": True}


def test_a_block_that_is_written_and_empty_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULER_MARKET_HOURS_ONLY", "true")
    assert read_variables().over({"market": None}) == {"market": {"hoursOnly": True}}


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("ENABLED", "maybe", "true or false"),
        ("EVALUATION_INTERVAL", "often", "a whole number"),
        ("MAX_CONCURRENT_TRADES", "2.5", "a whole number"),
        ("MIN_CONFIDENCE", "high", "a number"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, wanted: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(ManifestError, match=f"^SCHEDULER_{name} is '{value}'; it must be {wanted}$"):
        read_variables()
