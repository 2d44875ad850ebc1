"""The operator's metrics: their names are an interface, and where controller-runtime has one, it is that."""

from __future__ import annotations

import os
from pathlib import Path

from openbell.controller.metrics import OperatorMetrics
from openbell.kube.resources import STRATEGIES

GOLDEN = Path(__file__).parent / "golden" / "operator-metrics.txt"
OF_CONTROLLER_RUNTIME = {
    "controller_runtime_active_workers": {"controller"},
    "controller_runtime_max_concurrent_reconciles": {"controller"},
    "controller_runtime_reconcile_errors_total": {"controller"},
    "controller_runtime_reconcile_time_seconds_bucket": {"controller", "le"},
    "controller_runtime_reconcile_time_seconds_count": {"controller"},
    "controller_runtime_reconcile_time_seconds_sum": {"controller"},
    "controller_runtime_reconcile_total": {"controller", "result"},
    "leader_election_master_status": {"name"},
    "rest_client_requests_total": {"method", "code", "host"},
    "workqueue_adds_total": {"name"},
    "workqueue_depth": {"name"},
    "workqueue_longest_running_processor_seconds": {"name"},
    "workqueue_queue_duration_seconds_bucket": {"name", "le"},
    "workqueue_queue_duration_seconds_count": {"name"},
    "workqueue_queue_duration_seconds_sum": {"name"},
    "workqueue_retries_total": {"name"},
    "workqueue_unfinished_work_seconds": {"name"},
    "workqueue_work_duration_seconds_bucket": {"name", "le"},
    "workqueue_work_duration_seconds_count": {"name"},
    "workqueue_work_duration_seconds_sum": {"name"},
}
"""Names as controller-runtime and client-go publish them, with the labels that dashboards for any operator group by.

client-go also tells the host; this operator talks to one API server only.
"""


def used() -> OperatorMetrics:
    metrics = OperatorMetrics(version="0.1.0", process=False)
    metrics.requested("GET", 200, "10.0.0.1:443")
    metrics.watched(STRATEGIES)
    metrics.applied("Deployment", "unchanged")
    return metrics


def test_names_labels_and_help_are_the_golden_ones() -> None:
    text = "".join(
        f"{family.name} ({family.type}) {sorted({key for s in family.samples for key in s.labels} - {'le'})}: "
        f"{family.documentation}\n"
        for family in sorted(used().registry.collect(), key=lambda each: each.name)
    )
    if os.environ.get("OPENBELL_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), "run with OPENBELL_UPDATE_GOLDEN=1 when this change is meant"


def test_what_controller_runtime_has_a_name_for_has_that_name_and_those_labels() -> None:
    labels: dict[str, set[str]] = {}
    for family in used().registry.collect():
        for sample in family.samples:
            if not sample.name.startswith("openbell_") and not sample.name.endswith("_created"):
                labels.setdefault(sample.name, set()).update(sample.labels)
    assert labels == OF_CONTROLLER_RUNTIME


def test_every_result_of_a_reconcile_is_there_from_the_start() -> None:
    registry = OperatorMetrics(version="0.1.0", process=False).registry
    for result in ("success", "error", "requeue_after"):
        labels = {"controller": "tradingscheduler", "result": result}
        assert registry.get_sample_value("controller_runtime_reconcile_total", labels) == 0


def test_a_request_without_an_answer_is_counted_as_client_go_does() -> None:
    metrics = used()
    metrics.requested("PATCH", 0, "10.0.0.1:443")
    labels = {"method": "PATCH", "code": "<error>", "host": "10.0.0.1:443"}
    assert metrics.registry.get_sample_value("rest_client_requests_total", labels) == 1
