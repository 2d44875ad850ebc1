"""A strategy of a person's own, from its ConfigMap: the example that newcomers copy, on the cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from lab import Object, Place, condition, kubectl, says, stats

pytestmark = pytest.mark.timeout(400, func_only=True)
EXAMPLE = Path(__file__).parents[2] / "examples" / "custom-strategy.yaml"


def test_the_example_trades_tells_its_parameters_and_says_what_is_wrong_with_it(place: Place) -> None:
    def streak(until: Callable[[Object | None], object], seconds: float) -> Object:
        return place.api.wait("Strategy", place.namespace, "streak", until, seconds)

    def ask(bars: int) -> None:
        place.api.patch("Strategy", place.namespace, "streak", {"spec": {"parameters": {"bars": bars}}})

    kubectl("-n", place.namespace, "apply", "-f", str(EXAMPLE))

    described = streak(lambda it: it and "parametersSchema" in it.get("status", {}), 120)
    assert described["status"]["parametersSchema"]["properties"]["bars"]["maximum"] == 50
    streak(lambda it: says(it, "Accepted", "True"), 30)
    place.wait(lambda it: stats(it, "tradesExecuted") >= 1, name="custom", seconds=120)

    ask(bars=99)
    refused = streak(lambda it: says(it, "Accepted", "False", "InvalidParameters"), 30)
    assert "bars" in condition(refused, "Accepted")["message"]
    assert says(refused, "Running", "True"), "it goes on with the parameters that were good"
    ask(bars=2)
    streak(lambda it: says(it, "Accepted", "True"), 30)

    place.api.delete("ConfigMap", place.namespace, "streaks")
    gone = streak(lambda it: says(it, "Accepted", "False", "SourceNotFound"), 60)
    assert "streaks" in condition(gone, "Accepted")["message"]

    source = next(each for each in yaml.safe_load_all(EXAMPLE.read_text()) if each["kind"] == "ConfigMap")
    place.api.apply(source | {"metadata": {"name": "streaks", "namespace": place.namespace}})
    streak(lambda it: says(it, "Accepted", "True"), 60)
