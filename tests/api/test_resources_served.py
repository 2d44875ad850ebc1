"""What the API server makes of the definitions: explained, listed, selected, printed, and reported to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from apiserver import APPLY_PATCH, ROOT, ApiServer
from specs import least, resource

from openbell.domain.limits import LockScope
from openbell.resources.conditions import Condition
from openbell.resources.crd import KINDS, STRATEGY, TRADING_SCHEDULER, ResourceKind, root_schema
from openbell.resources.reference import fields
from openbell.resources.scheduler import (
    MarketStatus,
    PositionsStatus,
    RunnerStatus,
    SchedulerStatus,
    StrategiesStatus,
)
from openbell.resources.status import (
    ConditionModel,
    ConditionStatus,
    LockStatus,
    PnlStatus,
    PositionStatus,
    State,
    StatsStatus,
)
from openbell.resources.strategy import LastSignal, StrategyStatus

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
NOW = datetime(2026, 3, 2, 15, 30, tzinfo=UTC)
GROUP = "/apis/openbell.dev/v1alpha1"

STATS = StatsStatus(
    evaluations_run=142,
    signals_generated=23,
    trades_executed=8,
    trades_rejected=2,
    exits_executed=5,
    errors=0,
    monitored_positions=3,
    last_evaluation=NOW,
    last_trade=NOW,
    started_at=NOW,
)
SCHEDULER_STATUS = SchedulerStatus(
    observed_generation=1,
    state=State.RUNNING,
    can_run=True,
    why="evaluating",
    market=MarketStatus(open=True, next_open=NOW, next_close=NOW, summary="open until 16:00 ET"),
    broker_connected=True,
    equity="100120.5",
    pnl=PnlStatus(day="20.5", total="120.5"),
    stats=STATS,
    strategies=StrategiesStatus(total=3, running=2, paused=1, stopped=0, failed=0, summary="2/3"),
    positions=PositionsStatus(
        open=1,
        summary="AAPL 12",
        items=(
            PositionStatus(strategy="m", symbol="AAPL", quantity="12", average_price="180", pnl="3", opened_at=NOW),
        ),
    ),
    locks=(
        LockStatus(
            id="0a1b2c3d",
            scope=LockScope.SYMBOL,
            subject="AAPL",
            reason="LOCKED",
            since=NOW,
            until=NOW,
            why="4 losing stops",
            made_by="StopLossGuard[0]",
        ),
    ),
    settlement="1 good-faith violation of 3 in 12 months",
    runner=RunnerStatus(pod="desk-runner-1", epoch=4, owner_tag="abcdefgh", observed_generation=1, version="0.1.0"),
    conditions=(
        ConditionModel(
            type="Ready",
            status=ConditionStatus.TRUE,
            observed_generation=1,
            last_transition_time=NOW,
            reason="Reconciled",
            message="children are in place",
        ),
        ConditionModel(
            type="BrokerConnected",
            status=ConditionStatus.TRUE,
            observed_generation=1,
            last_transition_time=NOW,
            reason="Connected",
            message="the simulated broker answers",
        ),
    ),
)
STRATEGY_STATUS = StrategyStatus(
    observed_generation=1,
    state=State.PAUSED,
    why="paused by the scheduler",
    symbols="AAPL, MSFT +3",
    stats=STATS,
    last_signal=LastSignal(symbol="AAPL", action="Buy", confidence=0.75, time=NOW, outcome="ORDERED"),
    open_positions=2,
    pnl=PnlStatus(day="-1", total="7"),
    parameters_schema={"type": "object", "properties": {"lookback": {"type": "integer"}}},
    conditions=(),
)


def create(server: ApiServer, namespace: str, kind: ResourceKind, name: str, spec: dict[str, Any]) -> None:
    answer = server.request(
        "POST", f"{GROUP}/namespaces/{namespace}/{kind.plural}", resource(kind, least(kind) | spec, name=name)
    )
    assert answer.status == 201, answer.message


def apply_status(
    server: ApiServer, namespace: str, kind: ResourceKind, name: str, status: dict[str, Any], manager: str
) -> dict[str, Any]:
    body = {
        "apiVersion": "openbell.dev/v1alpha1",
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": namespace},
        "status": status,
    }
    path = f"{GROUP}/namespaces/{namespace}/{kind.plural}/{name}/status"
    query = f"?fieldManager={manager}&force=true&fieldValidation=Strict"
    answer = server.request("PATCH", path + query, body, content=APPLY_PATCH)
    assert answer.status == 200, answer.message
    return dict(answer.body["status"])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_applies(api_server: ApiServer, namespace: str, path: Path) -> None:
    applied = api_server.kubectl("apply", "-n", namespace, "-f", str(path)).stdout.splitlines()
    assert len(applied) >= 2
    assert all(line.endswith(" created") for line in applied)


def test_the_examples_are_those_that_people_were_promised() -> None:
    names = {path.stem for path in EXAMPLES}
    assert names >= {"quickstart", "paper-first-steps", "conservative", "aggressive", "replay"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_is_explained(api_server: ApiServer, kind: ResourceKind) -> None:
    # `kubectl explain` prints this document; one call of it below shows that it does.
    served = api_server.request("GET", "/openapi/v3" + GROUP).body["components"]["schemas"]
    schema = served[f"dev.openbell.v1alpha1.{kind.kind}"]
    explained = {
        path: field.get("description", "")
        for part in ("spec", "status")
        for path, field, _ in fields(schema["properties"][part], part)
    }
    stated = [path for part in ("spec", "status") for path, _, _ in fields(root_schema(kind)["properties"][part], part)]
    assert [path for path in stated if not explained.get(path)] == []


def test_kubectl_explains_a_field(api_server: ApiServer) -> None:
    said = api_server.kubectl("explain", "tsch.spec.pausePolicy.openOrders").stdout
    assert "working entry orders are cancelled" in said
    assert "CancelEntries" in said
    assert "ENUM:" in said


def test_short_names_and_the_category_list_both_kinds(api_server: ApiServer, namespace: str) -> None:
    create(api_server, namespace, TRADING_SCHEDULER, "desk", {})
    create(api_server, namespace, STRATEGY, "m", {})
    listed = api_server.kubectl("get", "openbell", "-n", namespace, "-o", "name").stdout.split()
    assert set(listed) == {"tradingscheduler.openbell.dev/desk", "strategy.openbell.dev/m"}
    listed = api_server.kubectl("get", "tsch,strat", "-n", namespace, "-o", "name").stdout.split()
    assert len(listed) == 2


def test_strategies_are_selected_by_their_scheduler(api_server: ApiServer, namespace: str) -> None:
    create(api_server, namespace, STRATEGY, "mine", {"schedulerRef": {"name": "desk"}})
    create(api_server, namespace, STRATEGY, "other", {"schedulerRef": {"name": "elsewhere"}})
    path = f"{GROUP}/namespaces/{namespace}/strategies?fieldSelector=spec.schedulerRef.name%3Ddesk"
    listed = api_server.request("GET", path).body["items"]
    assert [item["metadata"]["name"] for item in listed] == ["mine"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [(TRADING_SCHEDULER, SCHEDULER_STATUS), (STRATEGY, STRATEGY_STATUS)],
    ids=["TradingScheduler", "Strategy"],
)
def test_a_full_status_is_kept_as_it_was_written(
    api_server: ApiServer, namespace: str, kind: ResourceKind, status: SchedulerStatus | StrategyStatus
) -> None:
    every = {path for path, _, _ in fields(root_schema(kind)["properties"]["status"], "status")}
    written = status.to_manifest()
    # No field is forgotten here when the schema grows.
    assert every - set(_paths(written, "status")) <= {
        f"status.conditions[].{name}"
        for name in ("type", "status", "observedGeneration", "lastTransitionTime", "reason", "message")
    }
    create(api_server, namespace, kind, "desk", {})
    assert apply_status(api_server, namespace, kind, "desk", written, "openbell-runner") == written


def test_the_operators_and_the_runners_conditions_stand_side_by_side(api_server: ApiServer, namespace: str) -> None:
    create(api_server, namespace, TRADING_SCHEDULER, "desk", {})

    def report(kind: str, manager: str) -> list[str]:
        condition = Condition.of(kind, True, "Tested", "", 1).to_dict()
        status = apply_status(api_server, namespace, TRADING_SCHEDULER, "desk", {"conditions": [condition]}, manager)
        return sorted(item["type"] for item in status["conditions"])

    assert report("Ready", "openbell-operator-status") == ["Ready"]
    assert report("Paused", "openbell-runner") == ["Paused", "Ready"]
    assert report("Ready", "openbell-operator-status") == ["Paused", "Ready"]


def test_kubectl_get_shows_state_and_reason(api_server: ApiServer, namespace: str) -> None:
    create(api_server, namespace, TRADING_SCHEDULER, "desk", {})
    create(api_server, namespace, STRATEGY, "m", {})
    apply_status(api_server, namespace, TRADING_SCHEDULER, "desk", SCHEDULER_STATUS.to_manifest(), "openbell-runner")
    apply_status(api_server, namespace, STRATEGY, "m", STRATEGY_STATUS.to_manifest(), "openbell-runner")
    shown = _table(api_server.kubectl("get", "tsch", "-n", namespace, "-o", "wide").stdout)
    age, evaluated = shown.pop("AGE"), shown.pop("LAST-EVALUATION")
    assert age
    assert evaluated
    assert shown == {
        "NAME": "desk",
        "STATE": "Running",
        "MODE": "Paper",
        "STRATEGIES": "2/3",
        "POSITIONS": "1",
        "P&L": "120.5",
        "WHY": "evaluating",
        "READY": "True",
        "BROKER": "Connected",
        "MARKET": "open until 16:00 ET",
        "TRADES": "8",
        "RUNNER": "desk-runner-1",
    }
    shown = _table(api_server.kubectl("get", "strat", "-n", namespace).stdout)
    del shown["AGE"]
    assert shown == {
        "NAME": "m",
        "SCHEDULER": "desk",
        "TYPE": "Momentum",
        "STATE": "Paused",
        "SYMBOLS": "AAPL, MSFT +3",
        "POSITIONS": "2",
        "P&L": "7",
        "WHY": "paused by the scheduler",
    }


def test_the_status_does_not_move_the_generation_and_the_spec_does(api_server: ApiServer, namespace: str) -> None:
    create(api_server, namespace, TRADING_SCHEDULER, "desk", {})
    apply_status(api_server, namespace, TRADING_SCHEDULER, "desk", {"state": "Stopped"}, "openbell-runner")
    generation = ("get", "tsch/desk", "-n", namespace, "-o", "jsonpath={.metadata.generation}")
    assert api_server.kubectl(*generation).stdout == "1"
    api_server.kubectl(
        "patch", "tsch/desk", "-n", namespace, "--type=merge", "-p", json.dumps({"spec": {"paused": True}})
    )
    assert api_server.kubectl(*generation).stdout == "2"


def _paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield f"{path}.{name}"
            yield from _paths(item, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item, f"{path}[]")


def _table(text: str) -> dict[str, str]:
    """The one row of a table of kubectl, cut where the header's columns begin."""
    header, row = text.splitlines()
    names = header.split()
    starts = [header.index(name) for name in names]
    ends = [*starts[1:], len(row)]
    return {name: row[start:end].strip() for name, start, end in zip(names, starts, ends, strict=True)}
