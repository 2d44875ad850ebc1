"""The runner's metrics: their names are an interface (dashboards, alerts), so they are held by a golden file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from openbell.domain.orders import IntentKind
from openbell.domain.reasons import ExitReason, Reason
from openbell.domain.state import TradingState
from openbell.telemetry.metrics import LoopName, RunnerMetrics

GOLDEN = Path(__file__).parent / "golden_runner_metrics.txt"


def runner_metrics() -> RunnerMetrics:
    return RunnerMetrics(version="0.1.0", process=False)


def test_names_labels_and_help_are_the_golden_ones() -> None:
    text = "".join(
        f"{family.name} ({family.type}) {sorted({key for s in family.samples for key in s.labels} - {'le'})}: "
        f"{family.documentation}\n"
        for family in sorted(runner_metrics().registry.collect(), key=lambda each: each.name)
    )
    if os.environ.get("OPENBELL_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), "run with OPENBELL_UPDATE_GOLDEN=1 when this change is meant"


def test_every_name_starts_with_openbell_and_every_metric_says_what_it_is() -> None:
    for family in runner_metrics().registry.collect():
        assert re.fullmatch(r"openbell_[a-z_]+", family.name)
        assert family.documentation.endswith(".")


def test_every_label_value_is_there_from_the_start() -> None:
    text = runner_metrics().exposition().decode()
    for reason in Reason:
        assert f'openbell_decisions_total{{reason="{reason.value}"}} 0.0' in text
    for why in ExitReason:
        assert f'openbell_exits_total{{reason="{why.value}"}} 0.0' in text


def test_two_runners_in_one_process_do_not_share_counts() -> None:
    one, other = runner_metrics(), runner_metrics()
    one.orders_sent.labels(IntentKind.ENTRY).inc()
    assert b'openbell_orders_sent_total{kind="Entry"} 1.0' in one.exposition()
    assert b'openbell_orders_sent_total{kind="Entry"} 0.0' in other.exposition()


def test_one_state_is_one_and_the_others_zero() -> None:
    metrics = runner_metrics()
    metrics.set_state(TradingState.RUNNING)
    metrics.set_state(TradingState.PAUSED)
    values = {
        state: metrics.registry.get_sample_value("openbell_state", {"state": state.value}) for state in TradingState
    }
    assert values == {TradingState.RUNNING: 0, TradingState.PAUSED: 1, TradingState.STOPPED: 0}


def test_sample_names_are_what_a_query_may_name() -> None:
    names = runner_metrics().names()
    assert {"openbell_evaluations_total", "openbell_order_latency_seconds_bucket", "openbell_equity"} <= set(names)


def test_the_lateness_that_is_promised_is_an_edge_of_its_histogram() -> None:
    metrics = runner_metrics()
    for lateness in (0.0019, 0.0021):
        metrics.tick_lateness_seconds.labels(LoopName.EVALUATION.value).observe(lateness)
    labels = {"loop": "evaluation", "le": "0.002"}
    assert metrics.registry.get_sample_value("openbell_tick_lateness_seconds_bucket", labels) == 1


def test_the_process_is_measured_too() -> None:
    assert "process_resident_memory_bytes" in RunnerMetrics(version="0.1.0").names()
