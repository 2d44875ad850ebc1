"""Wrong manifests are told in one sentence: the field as YAML spells it, its value, and what is allowed."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from openbell.domain.errors import ManifestError
from openbell.resources.load import documents, is_foreign, load_file, load_text, parse_manifest, parse_spec, problems
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.strategy import StrategySpec

API = "openbell.dev/v1alpha1"


def scheduler(spec: object = None, **metadata: object) -> dict[str, Any]:
    return {"apiVersion": API, "kind": "TradingScheduler", "metadata": {"name": "desk"} | metadata, "spec": spec or {}}


def strategy(**spec: object) -> dict[str, Any]:
    least = {"schedulerRef": {"name": "desk"}, "type": "Momentum", "symbols": ["AAPL"]}
    return {"apiVersion": API, "kind": "Strategy", "metadata": {"name": "m"}, "spec": least | spec}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"minConfidence": 1.5}, "spec.minConfidence is 1.5; it must be a number from 0 to 1"),
        ({"minConfidence": "0.5"}, 'spec.minConfidence is "0.5"; it must be a number from 0 to 1'),
        ({"minConfidense": 0.5}, "spec.minConfidense is not a known field; did you mean minConfidence?"),
        (
            {"evaluationIntervalSeconds": -5},
            "spec.evaluationIntervalSeconds is -5; it must be an integer from 1 to 86400",
        ),
        ({"enabled": "yes"}, 'spec.enabled is "yes"; it must be true or false'),
        ({"broker": {"type": "IB"}}, 'spec.broker.type is "IB"; it must be one of Simulated, IBKR'),
        (
            {"broker": {"ibkr": {"host": "gateway"}}},
            "spec.broker.ibkr is only allowed when spec.broker.type is IBKR",
        ),
        ({"broker": {"type": "IBKR"}}, "spec.broker.ibkr is required when spec.broker.type is IBKR"),
        ({"broker": {"ibkr": {}}}, "spec.broker.ibkr.host is missing; it must be a string of 1 to 253 characters"),
        (
            {"broker": {"simulated": {"startingCash": 5000}}},
            'spec.broker.simulated.startingCash is 5000; it must be a decimal string of one or more, like "25000"',
        ),
        ({"mode": "Live"}, "spec.mode Live needs spec.broker.type IBKR"),
        (
            {"mode": "Live", "broker": {"type": "IBKR", "ibkr": {"host": "gw", "allowDelayedData": True}}},
            "spec.broker.ibkr.allowDelayedData must be false when spec.mode is Live",
        ),
        (
            {"marketData": {"type": "IBKR"}},
            "spec.marketData.ibkr is required when spec.marketData.type is IBKR",
        ),
        (
            {"marketData": {"ibkr": {"host": "gw"}}},
            "spec.marketData.ibkr is only allowed when spec.marketData.type is IBKR",
        ),
        (
            {
                "broker": {"type": "IBKR", "ibkr": {"host": "gw"}},
                "marketData": {"type": "IBKR", "ibkr": {"host": "gw"}},
            },
            "spec.marketData.type must be Broker when spec.broker.type is IBKR",
        ),
        (
            {
                "broker": {"simulated": {"address": "venue:7000"}},
                "marketData": {"type": "IBKR", "ibkr": {"host": "gw"}},
            },
            "spec.broker.simulated.address is not allowed when spec.marketData.type is IBKR",
        ),
        (
            {"adaptive": {"minSeconds": 300}},
            "spec.adaptive.minSeconds must not be above spec.adaptive.maxSeconds",
        ),
        (
            {"evaluationIntervalSeconds": 5, "adaptive": {"enabled": True}},
            "spec.evaluationIntervalSeconds must lie between spec.adaptive.minSeconds and spec.adaptive.maxSeconds "
            "when spec.adaptive.enabled is true",
        ),
        (
            {"market": {"earlyCloses": [{"date": "2026-11-27", "time": "1 pm"}]}},
            'spec.market.earlyCloses[0].time is "1 pm"; it must be a time of day in quotes, like "13:00"',
        ),
        (
            {"market": {"extraClosures": ["2023-02-30"]}},
            'spec.market.extraClosures[0] is "2023-02-30"; it must be a date from 1900 to 2099, like 2026-12-24',
        ),
        (
            {"market": {"extraClosures": ["2026-01-02", "2026-01-02"]}},
            "spec.market.extraClosures: 2026-01-02 is listed twice",
        ),
        (
            {"marketData": {"type": "Replay", "replay": {"file": "../x", "from": "2000-01-01", "to": "2001-01-01"}}},
            'spec.marketData.replay.file is "../x"; it must be a path within the data folder, like stocks.csv.gz',
        ),
        (
            {"sizing": {"minFraction": 0.5, "maxFraction": 0.1}},
            "spec.sizing.minFraction must not be above spec.sizing.maxFraction",
        ),
        (
            {"runner": {"resources": {"limits": {"memory": "much"}}}},
            'spec.runner.resources.limits.memory is "much"; it must be a quantity like 500m or 1Gi',
        ),
        ({"exits": {"trailing": {}}}, "spec.exits.trailing.distance is missing; it must be a number from 0 to 1"),
    ],
)
def test_a_wrong_scheduler_is_told_in_one_sentence(spec: dict[str, Any], sentence: str) -> None:
    assert problems(scheduler(spec)) == (sentence,)
    with pytest.raises(ManifestError) as told:
        parse_manifest(scheduler(spec))
    assert str(told.value) == sentence


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (
            {"type": "Momentun"},
            'spec.type is "Momentun"; it must be one of Momentum, MeanReversion, Breakout, Crossover, Custom',
        ),
        (
            {"symbols": ["aapl"]},
            'spec.symbols[0] is "aapl"; it must be a symbol of 1 to 16 capitals, digits, dots and dashes, '
            "like AAPL or BRK.B",
        ),
        ({"symbols": ["AAPL", "AAPL"]}, "spec.symbols: AAPL is listed twice"),
        ({"symbols": []}, "spec.symbols is []; it must be a list of 1 to 500 items"),
        ({"symbols": None}, "spec.symbols is missing; it must be a list of 1 to 500 items"),
        ({"priority": 101}, "spec.priority is 101; it must be an integer from 0 to 100"),
        ({"schedulerRef": {}}, "spec.schedulerRef.name is missing; it must be "
         "a name of at most 63 lower-case letters, digits and dashes"),
        ({"colour": "red"}, "spec.colour is not a known field; known here: schedulerRef, enabled, paused, type, "
         "source, parameters, symbols, barSeconds, evaluationIntervalSeconds, minConfidence, maxConcurrentTrades, "
         "sizing, exits, priority, execution"),
    ],
)  # fmt: skip
def test_a_wrong_strategy_is_told_in_one_sentence(spec: dict[str, Any], sentence: str) -> None:
    assert problems(strategy(**spec)) == (sentence,)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "the document is []; it must be an object with apiVersion, kind and metadata"),
        (scheduler() | {"apiVersion": "v1"}, 'apiVersion is "v1"; it must be openbell.dev/v1alpha1'),
        (scheduler() | {"kind": "Pod"}, 'kind is "Pod"; it must be one of TradingScheduler, Strategy'),
        (scheduler() | {"sepc": {}}, "sepc is not a known field; did you mean spec?"),
        (scheduler(name=None), "metadata.name is missing"),
        (
            scheduler(name="My_Desk"),
            'metadata.name is "My_Desk"; it must be at most 52 lower-case letters, digits and dashes, '
            "beginning with a letter",
        ),
        (scheduler() | {"spec": [1]}, "spec is [1]; it must be an object"),
    ],
)
def test_a_wrong_envelope_is_told_in_one_sentence(document: object, sentence: str) -> None:
    assert problems(document) == (sentence,)


def test_the_first_of_several_problems_is_told_with_the_number_of_the_others() -> None:
    wrong = scheduler({"minConfidence": 2, "paused": 1})
    assert len(problems(wrong)) == 2
    with pytest.raises(ManifestError, match=r"^spec.paused is 1; .* \(and 1 more\)$"):
        parse_manifest(wrong)


def test_a_scheduler_needs_no_spec_and_gets_the_documented_defaults() -> None:
    document = scheduler()
    del document["spec"]
    spec = parse_manifest(document).spec
    assert isinstance(spec, SchedulerSpec)
    assert (spec.enabled, spec.evaluation_interval_seconds, spec.exit_check_interval_seconds) == (False, 60, 30)
    assert (spec.min_confidence, spec.max_concurrent_trades) == (0.5, 5)
    assert (spec.require_broker_connection, spec.market.hours_only) == (True, True)
    assert spec.sizing.max_notional == Decimal(25000)


def test_an_object_from_a_newer_api_server_is_read_without_the_fields_that_are_not_known_here() -> None:
    newer = {"schedulerRef": {"name": "desk"}, "type": "Momentum", "symbols": ["A"], "new": 1, "exits": {"new": 1}}
    spec = parse_spec("Strategy", newer, unknown="ignore")
    assert isinstance(spec, StrategySpec)
    assert spec.symbols == ("A",)
    with pytest.raises(ManifestError, match="not a known field"):
        parse_spec("Strategy", newer)


def test_metadata_that_the_api_server_gives_is_kept() -> None:
    manifest = parse_manifest(
        scheduler(namespace="trading", uid="u-1", generation=7, annotations={"openbell.dev/confirm-journal-loss": "3"})
    )
    assert (manifest.namespace, manifest.uid, manifest.generation) == ("trading", "u-1", 7)
    assert manifest.annotations == {"openbell.dev/confirm-journal-loss": "3"}


def test_yaml_is_read_as_kubectl_reads_it() -> None:
    (read,) = documents("date: 2026-11-27\ntime: 13:00\nsmall: 1e-3\nwhole: 60\nquoted: '60'\nnothing:\n")
    assert read == {
        "date": "2026-11-27", "time": "13:00", "small": 0.001, "whole": 60, "quoted": "60", "nothing": None
    }  # fmt: skip


def test_dates_and_times_need_no_quotes() -> None:
    (manifest,) = load_text(
        f"apiVersion: {API}\nkind: TradingScheduler\nmetadata: {{name: desk}}\n"
        "spec: {market: {earlyCloses: [{date: 2026-11-27, time: 13:00}]}}\n---\n"
    )
    assert isinstance(manifest.spec, SchedulerSpec)
    assert manifest.spec.market.early_closes[0].date == date(2026, 11, 27)


def test_a_key_that_stands_twice_is_an_error_with_its_line() -> None:
    with pytest.raises(ManifestError, match=r"^x.yaml: line 2: the key kind stands twice$"):
        documents("kind: A\nkind: B\n", source="x.yaml")


def test_a_file_is_named_in_front_of_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "desk.yaml"
    path.write_text(f"apiVersion: {API}\nkind: TradingScheduler\nmetadata: {{name: desk}}\nspec: {{paused: 1}}\n")
    with pytest.raises(ManifestError) as told:
        load_file(path)
    assert str(told.value) == f"{path}: TradingScheduler desk: spec.paused is 1; it must be true or false"
    with pytest.raises(ManifestError, match=r"missing.yaml: cannot be read: No such file or directory$"):
        load_file(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    ("document", "foreign"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}, True),
        ({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}}, True),
        ({"apiVersion": "apps/v1", "kind": "TradingScheduler", "metadata": {"name": "x"}}, False),
        ({"apiVersion": "openbell.dev/v1", "kind": "Strategi", "metadata": {"name": "x"}}, False),
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, False),
        ({"kind": "Deployment", "metadata": {"name": "x"}}, False),
        ([], False),
    ],
)
def test_somebody_elses_object_is_one_whose_group_and_kind_are_not_ours(document: object, foreign: bool) -> None:
    assert is_foreign(document) is foreign
