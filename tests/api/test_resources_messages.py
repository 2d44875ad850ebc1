"""What a person reads who applies a wrong manifest: one clear message, from the API server itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from apiserver import ApiServer
from specs import least, resource

from openbell.resources.crd import KINDS, STRATEGY, TRADING_SCHEDULER, ResourceKind, root_schema
from openbell.resources.load import problems
from openbell.resources.schema import Schema

DATES = {"file": "x.csv", "from": "2001-01-02", "to": "2001-01-03"}
DATE_MESSAGE = "must be a date from 1900 to 2099, like 2026-12-24"
LONG_NAME = "a" * 64


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        (
            TRADING_SCHEDULER,
            {"minConfidence": 1.5},
            'The TradingScheduler "wrong" is invalid: spec.minConfidence: Invalid value: 1.5: '
            "spec.minConfidence in body should be less than or equal to 1",
        ),
        (
            TRADING_SCHEDULER,
            {"evaluationIntervalSeconds": -60},
            'The TradingScheduler "wrong" is invalid: spec.evaluationIntervalSeconds: Invalid value: -60: '
            "spec.evaluationIntervalSeconds in body should be greater than or equal to 1",
        ),
        (
            TRADING_SCHEDULER,
            {"minConfidense": 0.6},
            'Error from server (BadRequest): error when creating "STDIN": TradingScheduler in version "v1alpha1" '
            'cannot be handled as a TradingScheduler: strict decoding error: unknown field "spec.minConfidense"',
        ),
        (
            TRADING_SCHEDULER,
            {"broker": {"ibkr": {"host": "gateway"}}},
            'The TradingScheduler "wrong" is invalid: spec.broker.ibkr: Forbidden: '
            "spec.broker.ibkr is only allowed when spec.broker.type is IBKR",
        ),
        (
            STRATEGY,
            {"type": "Momentun"},
            'The Strategy "wrong" is invalid: spec.type: Invalid value: "string": '
            "must be one of Momentum, MeanReversion, Breakout, Crossover, Custom; it is Momentun",
        ),
        (
            STRATEGY,
            {"minConfidence": -0.1},
            'The Strategy "wrong" is invalid: spec.minConfidence: Invalid value: -0.1: '
            "spec.minConfidence in body should be greater than or equal to 0",
        ),
        (
            STRATEGY,
            {"symbol": "AAPL"},
            'Error from server (BadRequest): error when creating "STDIN": Strategy in version "v1alpha1" '
            'cannot be handled as a Strategy: strict decoding error: unknown field "spec.symbol"',
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_kubectl_apply_of_a_wrong_manifest_prints_one_clear_message(
    api_server: ApiServer, namespace: str, kind: ResourceKind, spec: dict[str, Any], message: str
) -> None:
    manifest = resource(kind, least(kind) | spec, name="wrong")
    done = api_server.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(manifest), check=False)
    assert (done.returncode, done.stdout) == (1, "")
    # kubectl adds the address of the manifest to what the server said of a request that it could not read.
    assert done.stderr.strip().splitlines()[-1] == message
    assert done.stderr.count(message) == 1


# Kind, name, spec; then the field and the message of the one cause that the API server gives.
BROKEN_RULES: list[tuple[ResourceKind, str, dict[str, Any], str, str]] = [
    (
        TRADING_SCHEDULER,
        "a" * 53,
        {},
        "<nil>",
        "metadata.name must be at most 52 lower-case letters, digits and dashes, beginning with a letter",
    ),
    (
        STRATEGY,
        LONG_NAME,
        {},
        "<nil>",
        "metadata.name must be at most 63 lower-case letters, digits and dashes, beginning with a letter",
    ),
    (TRADING_SCHEDULER, "x", {"mode": "Live"}, "spec.mode", "spec.mode Live needs spec.broker.type IBKR"),
    (
        TRADING_SCHEDULER,
        "x",
        {"broker": {"type": "IBKR", "ibkr": {"host": "gateway"}}, "marketData": {"type": "Synthetic"}},
        "spec.marketData.type",
        "spec.marketData.type must be Broker when spec.broker.type is IBKR",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"broker": {"simulated": {"address": "venue:8400"}}, "marketData": {"type": "Replay", "replay": DATES}},
        "spec.broker.simulated.address",
        "spec.broker.simulated.address is not allowed when spec.marketData.type is Replay",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {
            "broker": {"simulated": {"address": "venue:8400"}},
            "marketData": {"type": "IBKR", "ibkr": {"host": "gateway"}},
        },
        "spec.broker.simulated.address",
        "spec.broker.simulated.address is not allowed when spec.marketData.type is IBKR",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"mode": "Live", "broker": {"type": "IBKR", "ibkr": {"host": "gateway", "allowDelayedData": True}}},
        "spec.broker.ibkr.allowDelayedData",
        "spec.broker.ibkr.allowDelayedData must be false when spec.mode is Live",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"marketData": {"ibkr": {"host": "gateway"}}},
        "spec.marketData.ibkr",
        "spec.marketData.ibkr is only allowed when spec.marketData.type is IBKR",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"marketData": {"type": "IBKR"}},
        "spec.marketData.ibkr",
        "spec.marketData.ibkr is required when spec.marketData.type is IBKR",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"broker": {"ibkr": {"host": "gateway"}}},
        "spec.broker.ibkr",
        "spec.broker.ibkr is only allowed when spec.broker.type is IBKR",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"broker": {"type": "IBKR"}},
        "spec.broker.ibkr",
        "spec.broker.ibkr is required when spec.broker.type is IBKR",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"marketData": {"replay": DATES}},
        "spec.marketData.replay",
        "spec.marketData.replay is only allowed when spec.marketData.type is Replay",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"marketData": {"type": "Replay"}},
        "spec.marketData.replay",
        "spec.marketData.replay is required when spec.marketData.type is Replay",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"marketData": {"type": "Replay", "replay": DATES | {"to": "2001-01-01"}}},
        "spec.marketData.replay.from",
        "spec.marketData.replay.from must not be after spec.marketData.replay.to",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"sizing": {"minFraction": 0.2}},
        "spec.sizing.minFraction",
        "spec.sizing.minFraction must not be above spec.sizing.maxFraction",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"adaptive": {"minSeconds": 300}},
        "spec.adaptive.minSeconds",
        "spec.adaptive.minSeconds must not be above spec.adaptive.maxSeconds",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"evaluationIntervalSeconds": 5, "adaptive": {"enabled": True}},
        "spec.evaluationIntervalSeconds",
        "spec.evaluationIntervalSeconds must lie between spec.adaptive.minSeconds and spec.adaptive.maxSeconds "
        "when spec.adaptive.enabled is true",
    ),
    (
        STRATEGY,
        "x",
        {"sizing": {"minFraction": 0.2, "maxFraction": 0.1}},
        "spec.sizing.minFraction",
        "spec.sizing.minFraction must not be above spec.sizing.maxFraction",
    ),
    (
        STRATEGY,
        "x",
        {"type": "Momentun"},
        "spec.type",
        "must be one of Momentum, MeanReversion, Breakout, Crossover, Custom",
    ),
    (STRATEGY, "x", {"type": "Custom"}, "spec.source", "spec.source is required when spec.type is Custom"),
    (
        STRATEGY,
        "x",
        {"source": {"type": "Image", "entryPoint": "a:B"}},
        "spec.source",
        "spec.source is only allowed when spec.type is Custom",
    ),
    (
        STRATEGY,
        "x",
        {"type": "Custom", "source": {"type": "Image", "entryPoint": "a:B", "class": "B"}},
        "spec.source.class",
        "spec.source.class is only allowed when spec.source.type is ConfigMap",
    ),
    (
        STRATEGY,
        "x",
        {"type": "Custom", "source": {"type": "ConfigMap", "configMap": {"name": "code"}}},
        "spec.source.class",
        "spec.source.class is required when spec.source.type is ConfigMap",
    ),
    (
        STRATEGY,
        "x",
        {"type": "Custom", "source": {"type": "File"}},
        "spec.source.type",
        "must be one of ConfigMap, Image",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"broker": {"type": "IB", "ibkr": {"host": "gateway"}}},
        "spec.broker.type",
        "must be one of Simulated, IBKR",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"marketData": {"type": "Reply", "replay": DATES}},
        "spec.marketData.type",
        "must be one of Broker, Synthetic, Replay, IBKR",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"market": {"extraClosures": ["1899-12-31"]}},
        "spec.market.extraClosures[0]",
        DATE_MESSAGE,
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"market": {"earlyCloses": [{"date": "2100-01-01", "time": "13:00"}]}},
        "spec.market.earlyCloses[0].date",
        DATE_MESSAGE,
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"marketData": {"type": "Replay", "replay": DATES | {"from": "1899-12-31"}}},
        "spec.marketData.replay.from",
        DATE_MESSAGE,
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"marketData": {"type": "Replay", "replay": DATES | {"to": "2100-01-01"}}},
        "spec.marketData.replay.to",
        DATE_MESSAGE,
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {
            "marketData": {
                "type": "Replay",
                "replay": DATES | {"splits": [{"symbol": "AAPL", "date": "1899-12-31", "ratio": 2}]},
            }
        },
        "spec.marketData.replay.splits[0].date",
        DATE_MESSAGE,
    ),
    (
        STRATEGY,
        "x",
        {"type": "Custom", "source": {"type": "ConfigMap", "class": "B"}},
        "spec.source.configMap",
        "spec.source.configMap is required when spec.source.type is ConfigMap",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"risk": {"protections": [{"type": "Cooldown", "stopLossGuard": {}}]}},
        "spec.risk.protections[0].stopLossGuard",
        "spec.risk.protections[].stopLossGuard is only allowed when its type is StopLossGuard",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"risk": {"protections": [{"type": "Cooldown", "drawdownGuard": {}}]}},
        "spec.risk.protections[0].drawdownGuard",
        "spec.risk.protections[].drawdownGuard is only allowed when its type is DrawdownGuard",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"risk": {"protections": [{"type": "Cooldown", "lowProfit": {}}]}},
        "spec.risk.protections[0].lowProfit",
        "spec.risk.protections[].lowProfit is only allowed when its type is LowProfit",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"risk": {"protections": [{"type": "LowProfit", "cooldown": {}}]}},
        "spec.risk.protections[0].cooldown",
        "spec.risk.protections[].cooldown is only allowed when its type is Cooldown",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"risk": {"protections": [{"type": "Guard"}]}},
        "spec.risk.protections[0].type",
        "must be one of StopLossGuard, DrawdownGuard, LowProfit, Cooldown",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"risk": {"dayTrading": {"regime": "PDT"}}},
        "spec.risk.dayTrading.regime",
        "must be one of Auto, LegacyPDT, IntradayMargin, None",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"risk": {"settlement": {"account": "IRA"}}},
        "spec.risk.settlement.account",
        "must be one of Cash, Margin",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"risk": {"allowShort": True, "settlement": {"account": "Cash"}}},
        "spec.risk.allowShort",
        "spec.risk.allowShort must be false when spec.risk.settlement.account is Cash",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"risk": {"protections": [{"type": "StopLossGuard", "stopLossGuard": {"scope": "All"}}]}},
        "spec.risk.protections[0].stopLossGuard.scope",
        "must be one of Global, Symbol, Strategy",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"risk": {"protections": [{"type": "LowProfit", "lowProfit": {"scope": "All"}}]}},
        "spec.risk.protections[0].lowProfit.scope",
        "must be one of Global, Symbol, Strategy",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"risk": {"protections": [{"type": "Cooldown", "cooldown": {"scope": "All"}}]}},
        "spec.risk.protections[0].cooldown.scope",
        "must be one of Global, Symbol, Strategy",
    ),
    (
        STRATEGY,
        "x",
        {"type": "Custom", "source": {"type": "Image", "entryPoint": "a:B", "configMap": {"name": "code"}}},
        "spec.source.configMap",
        "spec.source.configMap is only allowed when spec.source.type is ConfigMap",
    ),
    (
        STRATEGY,
        "x",
        {
            "type": "Custom",
            "source": {"type": "ConfigMap", "configMap": {"name": "code"}, "class": "B", "entryPoint": "a:B"},
        },
        "spec.source.entryPoint",
        "spec.source.entryPoint is only allowed when spec.source.type is Image",
    ),
    (
        STRATEGY,
        "x",
        {"type": "Custom", "source": {"type": "Image"}},
        "spec.source.entryPoint",
        "spec.source.entryPoint is required when spec.source.type is Image",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"mode": "Live", "broker": {"type": "IBKR", "ibkr": {"host": "gateway"}}, "exits": {"brokerSide": False}},
        "spec.exits.brokerSide",
        "spec.exits.brokerSide must be true when spec.mode is Live",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"exits": {"scaleOut": [{"profit": 0.02, "fraction": 0.3}, {"profit": 0.01, "fraction": 0.3}]}},
        "spec.exits.scaleOut",
        "spec.exits.scaleOut must have its profits in ascending order",
    ),
    (
        TRADING_SCHEDULER,
        "x",
        {"exits": {"scaleOut": [{"profit": 0.01, "fraction": 0.5}, {"profit": 0.02, "fraction": 0.5}]}},
        "spec.exits.scaleOut",
        "spec.exits.scaleOut must have fractions that come to less than 1",
    ),
    (
        STRATEGY,
        "x",
        {"exits": {"scaleOut": [{"profit": 0.02, "fraction": 0.3}, {"profit": 0.01, "fraction": 0.3}]}},
        "spec.exits.scaleOut",
        "spec.exits.scaleOut must have its profits in ascending order",
    ),
    (
        STRATEGY,
        "x",
        {"exits": {"scaleOut": [{"profit": 0.01, "fraction": 0.5}, {"profit": 0.02, "fraction": 0.5}]}},
        "spec.exits.scaleOut",
        "spec.exits.scaleOut must have fractions that come to less than 1",
    ),
]


@pytest.mark.parametrize(("kind", "name", "spec", "field", "message"), BROKEN_RULES)
def test_a_broken_rule_is_told_by_the_api_server_in_its_own_words(
    api_server: ApiServer, namespace: str, kind: ResourceKind, name: str, spec: dict[str, Any], field: str, message: str
) -> None:
    path = f"/apis/openbell.dev/v1alpha1/namespaces/{namespace}/{kind.plural}?dryRun=All&fieldValidation=Strict"
    body = resource(kind, least(kind) | spec, name=name)
    answer = api_server.request("POST", path, body)
    assert answer.status == 422
    (cause,) = answer.body["details"]["causes"]
    assert cause["field"] == field
    assert f": {message}" in cause["message"]
    # `openbell check` says the same, with the value where it knows it.
    (told,) = problems(body)
    assert message.split(" ", 1)[1] in told


def test_every_rule_of_the_schemas_is_shown_broken_above() -> None:
    def rules(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
        for rule in schema.get("x-kubernetes-validations", ()):
            yield path + rule.get("fieldPath", ""), rule["message"]
        for name, below in schema.get("properties", {}).items():
            yield from rules(below, f"{path}.{name}" if path else name)
        if "items" in schema:
            yield from rules(schema["items"], f"{path}[0]")

    stated = {(kind.kind, path or "<nil>", message) for kind in KINDS for path, message in rules(root_schema(kind), "")}
    shown = {(kind.kind, field, message) for kind, _, _, field, message in BROKEN_RULES}
    assert stated == shown
