"""What is generated in the chart agrees with its sources."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from openbell.controller.metrics import OperatorMetrics
from openbell.telemetry.metrics import RunnerMetrics

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "openbell"


def generator(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "hack" / script), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("script", ["chart.py", "grafana.py"])
def test_generated_files_agree_with_their_sources(script: str) -> None:
    checked = generator(script)

    assert checked.returncode == 0, checked.stderr


def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    return loaded


def test_the_schema_is_draft_07_and_takes_the_default_values() -> None:
    jsonschema.Draft7Validator.check_schema(schema())
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))

    jsonschema.Draft7Validator(schema()).validate(values)


@pytest.mark.parametrize(
    "values",
    [
        {"watchNamespace": ["a"]},
        {"watchNamespaces": ["Not-A-Name"]},
        {"watchNamespaces": "default"},
        {"allowLiveTrading": "true"},
        {"image": {"pullPolicy": "Sometimes"}},
        {"image": {"digest": "sha256:short"}},
        {"crds": {"keeep": True}},
        {"metrics": {"port": 0}},
        {"resources": {"limits": {"memory": "lots"}}},
    ],
    ids=str,
)
def test_the_schema_refuses_wrong_values(values: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema()).validate(values)


def test_every_object_of_the_schema_allows_named_fields_only() -> None:
    definitions = schema()["definitions"]

    assert {name for name, each in definitions.items() if each.get("additionalProperties") is not False} == set()
    assert schema()["additionalProperties"] is False


def queries() -> list[str]:
    board = json.loads((CHART / "dashboards" / "openbell.json").read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    variables = [each["query"] for each in board["templating"]["list"] if each["type"] == "query"]
    return expressions + variables


def metric_names(query: str) -> set[str]:
    """The metrics of a query: what is left without label matchers, groupings, functions, numbers and durations."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"|\b(?:by|without)\s*\([^)]*\)", " ", query)
    if bare.startswith("label_values("):
        bare = bare.removeprefix("label_values(").split(",")[0]
    words = re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\w*\s*\()", bare)
    functions = set(re.findall(r"([a-z_]+)\s*\(", bare)) | {"sum"}
    return {word for word in words if word not in functions}


def known_names() -> set[str]:
    return set(RunnerMetrics(version="0").names()) | set(OperatorMetrics(version="0").names())


def test_every_metric_of_the_dashboard_exists() -> None:
    wanted = set().union(*(metric_names(query) for query in queries()))

    assert len(wanted) > 15
    assert wanted - known_names() == set()


def test_every_metric_of_a_runner_is_on_the_dashboard() -> None:
    def family(name: str) -> str:
        return re.sub(r"_(bucket|sum|count|created|total)$", "", name)

    shown = {family(name) for query in queries() for name in metric_names(query)}
    of_runners = {family(name) for name in RunnerMetrics(version="0", process=False).names()}

    assert of_runners - shown == set()


def test_a_metric_that_does_not_exist_would_be_found() -> None:
    assert metric_names('60 * sum by (reason) (rate(openbell_nothing_total{pod=~"$runner"}[5m]))') == {
        "openbell_nothing_total"
    }
    assert metric_names("label_values(openbell_none, pod)") == {"openbell_none"}
    assert "openbell_nothing_total" not in known_names()
