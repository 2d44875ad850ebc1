"""What the operator says of a strategy: accepted or not, and the schema of its parameters, written once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import jsonschema
import pytest

from openbell.controller.cache import Cache
from openbell.controller.desired.access import named_config_maps, runner_rules
from openbell.controller.metrics import OperatorMetrics
from openbell.controller.reconcile import Key, Reconciler
from openbell.controller.settings import OperatorSettings
from openbell.controller.status import Cause, refused_by_runner
from openbell.kube.resources import STRATEGIES, TRADING_SCHEDULERS, Object
from openbell.resources.conditions import Condition, StrategyCondition
from openbell.resources.strategy import StrategyStatus
from openbell.strategies import STRATEGY_TYPES

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
CUSTOM = {"type": "Custom", "source": {"type": "ConfigMap", "configMap": {"name": "code"}, "class": "Own"}}


class Server:
    """Keeps one strategy: applies statuses as the API server does, and counts them."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.writes: list[Object] = []

    async def apply(self, obj: Object, *, field_manager: str, subresource: str) -> Object:
        assert (field_manager, subresource) == ("openbell-operator-status", "status")
        self.writes.append(copy.deepcopy(obj))
        live = self.cache.get(STRATEGIES, ("default", obj["metadata"]["name"]))
        assert live is not None
        kept = [
            each
            for each in (live.get("status") or {}).get("conditions") or []
            if each["type"] not in {condition["type"] for condition in obj["status"]["conditions"]}
        ]
        status = {**obj["status"], "conditions": [*obj["status"]["conditions"], *kept]}
        return strategy(live["spec"], status, version=100 + len(self.writes))

    async def tell(self, *_: object) -> None:
        """Events are not looked at here."""


def strategy(spec: Mapping[str, Any], status: Mapping[str, Any] | None = None, version: int = 1) -> Object:
    least = {"schedulerRef": {"name": "main"}, "symbols": ["AAPL"]}
    metadata = {"name": "s", "namespace": "default", "uid": "u", "generation": 1, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {**least, **spec}, "status": dict(status or {})}


def world(obj: Object) -> tuple[Reconciler, Server]:
    cache = Cache()
    cache.observe(
        TRADING_SCHEDULERS,
        {
            "metadata": {"name": "main", "namespace": "default", "uid": "m", "generation": 1, "resourceVersion": "1"},
            "spec": {},
        },
    )
    cache.observe(STRATEGIES, obj)
    server = Server(cache)
    reconciler = Reconciler(
        cast(Any, server),
        cache,
        OperatorSettings(),
        leases=cast(Any, None),
        recorder=cast(Any, server),
        metrics=OperatorMetrics(version="test", process=False),
        now=lambda: NOW,
        on_canary=lambda _: None,
        enqueue=lambda _: None,
    )
    return reconciler, server


async def reconcile(reconciler: Reconciler) -> None:
    await reconciler.reconcile(Key("Strategy", "default", "s"))


def accepted(status: Mapping[str, Any]) -> tuple[str, str, str]:
    (found,) = [each for each in status["conditions"] if each["type"] == "Accepted"]
    return found["status"], found["reason"], found["message"]


@pytest.mark.parametrize("type_name", STRATEGY_TYPES)
async def test_the_schema_of_a_built_in_types_parameters_is_published_once(type_name: str) -> None:
    reconciler, server = world(strategy({"type": type_name}))
    await reconcile(reconciler)
    (written,) = server.writes
    schema = written["status"]["parametersSchema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "title" not in str(schema)
    assert schema["properties"]["direction"]["enum"] == ["Long", "Both"]
    StrategyStatus.model_validate(written["status"])
    await reconcile(reconciler)
    await reconcile(reconciler)
    assert len(server.writes) == 1, "nothing changed, so nothing is written"


async def test_a_custom_strategys_schema_is_the_runners_to_tell() -> None:
    reconciler, server = world(strategy(CUSTOM))
    await reconcile(reconciler)
    assert "parametersSchema" not in server.writes[0]["status"]
    assert accepted(server.writes[0]["status"]) == ("True", "Accepted", "runs on main")


@pytest.mark.parametrize("reason", ["SourceNotFound", "InvalidClass", "InvalidParameters"])
async def test_what_the_runner_refuses_of_a_custom_strategy_is_not_accepted(reason: str) -> None:
    failed = {
        "type": "Failed",
        "status": "True",
        "reason": reason,
        "message": "there is no strategy class Own in ConfigMap code, key strategy.py; it has Other",
        "lastTransitionTime": "2026-11-24T11:00:00Z",
        "observedGeneration": 1,
    }
    reconciler, server = world(strategy(CUSTOM, {"conditions": [failed]}))
    await reconcile(reconciler)
    assert accepted(server.writes[0]["status"]) == ("False", reason, failed["message"])
    await reconcile(reconciler)
    assert len(server.writes) == 1
    healed = strategy(
        CUSTOM, {"conditions": [{**failed, "status": "False", "reason": "AsExpected", "message": "works"}]}, version=900
    )
    server.cache.observe(STRATEGIES, healed)
    await reconcile(reconciler)
    assert accepted(server.writes[-1]["status"])[0] == "True"


def test_errors_while_it_runs_do_not_make_a_strategy_unaccepted() -> None:
    def failed(status: bool, reason: str) -> list[Condition]:
        return [Condition.of(StrategyCondition.FAILED, status, reason, "why", 1)]

    assert refused_by_runner(failed(True, "Errors")) is None
    assert refused_by_runner(failed(False, "InvalidClass")) is None
    assert refused_by_runner([]) is None


def test_older_parameters_in_force_are_not_accepted_either() -> None:
    said = Condition.of(StrategyCondition.FAILED, False, "LastGoodParameters", "the last good ones stay in force", 1)
    assert refused_by_runner([said]) == Cause("InvalidParameters", "the last good ones stay in force")


def test_a_runner_may_read_exactly_the_config_maps_that_its_strategies_name() -> None:
    other = {**CUSTOM, "source": {"type": "ConfigMap", "configMap": {"name": "b-code"}, "class": "Own"}}
    image = {"type": "Custom", "source": {"type": "Image", "entryPoint": "a:B"}}
    named = named_config_maps([strategy(each) for each in (CUSTOM, other, CUSTOM, image, {"type": "Momentum"})])
    assert named == ("b-code", "code")
    (rule,) = [each for each in runner_rules("main", "main-runner", named) if each["resources"] == ["configmaps"]]
    assert rule == {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": ["b-code", "code"],
        "verbs": ["get", "list", "watch"],
    }
    assert not [each for each in runner_rules("main", "main-runner") if "configmaps" in each["resources"]]
