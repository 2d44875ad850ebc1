"""What the operator says of a scheduler: conditions from facts, transition times, and who speaks for the runner."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.controller.recorder import event, is_told
from openbell.controller.status import (
    Cause,
    SchedulerFacts,
    StrategyFacts,
    first_status,
    scheduler_status,
    strategy_counts,
    symbols_text,
    turned,
)
from openbell.domain.state import TradingState
from openbell.resources.conditions import OPERATOR_CONDITIONS, RUNNER_CONDITIONS, Condition

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
RUNNING = SchedulerFacts(
    generation=3, asked=TradingState.RUNNING, paused=False, live=(), pod_ready=True, runner_leads=True
)


def said(facts: SchedulerFacts, now: datetime = NOW) -> dict[str, dict[str, Any]]:
    return {each["type"]: each for each in scheduler_status(facts, now)["conditions"]}


def words(facts: SchedulerFacts) -> dict[str, tuple[str, str]]:
    return {kind: (each["status"], each["reason"]) for kind, each in said(facts).items()}


def test_the_first_visit_leaves_a_scheduler_that_does_not_look_finished() -> None:
    status = first_status(1, NOW)
    by_type = {each["type"]: each["status"] for each in status["conditions"]}
    assert by_type == {"Ready": "Unknown", "Available": "False", "Reconciling": "True", "Stalled": "False"}
    assert status["observedGeneration"] == 1


def test_a_runner_that_is_up_and_leads_makes_all_well() -> None:
    assert words(RUNNING) == {
        "Ready": ("True", "RunnerReady"),
        "Available": ("True", "RunnerLeading"),
        "Reconciling": ("False", "Reconciled"),
        "Stalled": ("False", "Reconciled"),
    }


def test_what_is_under_way_is_told_by_ready_and_reconciling() -> None:
    facts = replace(RUNNING, pod_ready=False, progress=Cause("RunnerStarting", "not ready yet"))
    assert words(facts) == {
        "Ready": ("False", "RunnerStarting"),
        "Available": ("False", "PodNotReady"),
        "Reconciling": ("True", "RunnerStarting"),
        "Stalled": ("False", "Reconciled"),
    }


def test_what_needs_a_person_is_stalled_and_not_reconciling() -> None:
    facts = replace(RUNNING, stall=Cause("AccountInUse", "the account belongs to n/old"), runner_is_absent=True)
    spoken = words(facts)
    assert spoken["Stalled"] == ("True", "AccountInUse")
    assert spoken["Reconciling"] == ("False", "Stalled")
    assert spoken["Ready"] == ("False", "AccountInUse")


def test_where_there_is_no_pod_the_operator_acknowledges_pause_and_stop_for_the_runner() -> None:
    facts = replace(RUNNING, asked=TradingState.STOPPED, paused=True, runner_is_absent=True, pod_ready=False)
    assert words(facts)["Paused"] == ("True", "Stopped")
    assert words(facts)["RunnerLeading"] == ("False", "NoRunner")
    assert words(facts)["Ready"] == ("True", "ScaledToZero")
    assert scheduler_status(facts, NOW)["state"] == "Stopped"
    assert words(replace(facts, paused=False))["Paused"] == ("False", "Stopped")


def test_a_silent_runners_conditions_are_unknown_and_nothing_of_them_is_said_otherwise() -> None:
    silent = words(replace(RUNNING, runner_is_silent=True))
    assert {silent[kind] for kind in RUNNER_CONDITIONS} == {("Unknown", "RunnerUnreachable")}
    assert set(words(RUNNING)) == set(OPERATOR_CONDITIONS)
    assert "state" not in scheduler_status(RUNNING, NOW)


def test_a_transition_time_moves_only_when_the_status_turns() -> None:
    live = tuple(Condition.from_dict(each) for each in scheduler_status(RUNNING, NOW)["conditions"])
    later = NOW + timedelta(hours=1)
    again = said(replace(RUNNING, live=live, generation=4), later)
    assert {each["lastTransitionTime"] for each in again.values()} == {"2026-11-24T12:00:00Z"}
    down = said(replace(RUNNING, live=live, pod_ready=False, progress=Cause("RunnerStarting", "x")), later)
    assert down["Ready"]["lastTransitionTime"] == "2026-11-24T13:00:00Z"
    assert down["Stalled"]["lastTransitionTime"] == "2026-11-24T12:00:00Z"


@given(
    facts=st.builds(
        SchedulerFacts,
        generation=st.integers(1, 9),
        asked=st.sampled_from(TradingState),
        paused=st.booleans(),
        live=st.just(()),
        pod_ready=st.booleans(),
        runner_leads=st.booleans(),
        runner_is_silent=st.booleans(),
        runner_is_absent=st.booleans(),
        stall=st.none() | st.just(Cause("VolumeMissing", "gone")),
        progress=st.none() | st.just(Cause("RunnerStarting", "not ready")),
    )
)
def test_conditions_never_contradict_each_other_and_a_second_look_changes_nothing(facts: SchedulerFacts) -> None:
    spoken = words(facts)
    assert (spoken["Ready"][0] == "True") == (facts.stall is None and facts.progress is None)
    assert not (spoken["Stalled"][0] == "True" and spoken["Reconciling"][0] == "True")
    first = scheduler_status(facts, NOW)
    assert all(each["observedGeneration"] == facts.generation for each in first["conditions"])
    live = tuple(Condition.from_dict(each) for each in first["conditions"])
    assert scheduler_status(replace(facts, live=live), NOW + timedelta(days=1)) == first


def test_strategies_are_counted_by_the_safer_state_and_failures_apart() -> None:
    running = StrategyFacts(TradingState.RUNNING, is_accepted=True, has_failed=False)
    each = [
        running,
        replace(running, asked=TradingState.PAUSED),
        replace(running, is_accepted=False),
        replace(running, has_failed=True),
        replace(running, asked=TradingState.STOPPED),
    ]
    counts = {"total": 5, "running": 1, "paused": 1, "stopped": 1, "failed": 2, "summary": "1/5"}
    assert strategy_counts(TradingState.RUNNING, each) == counts
    assert strategy_counts(TradingState.STOPPED, each)["stopped"] == 3


def test_symbols_are_shortened_for_a_column() -> None:
    assert symbols_text(("AAPL",)) == "AAPL"
    assert symbols_text(("AAPL", "MSFT")) == "AAPL, MSFT"
    assert symbols_text(("AAPL", "MSFT", "IBM", "GOOG")) == "AAPL, MSFT +2"


def test_an_event_comes_once_for_a_turn_and_never_for_a_repeat() -> None:
    first = scheduler_status(RUNNING, NOW)["conditions"]
    live = tuple(Condition.from_dict(each) for each in first)
    assert [each.type for each in turned((), first) if is_told(each)] == ["Ready"]
    assert turned(live, first) == []
    stalled = scheduler_status(replace(RUNNING, live=live, stall=Cause("AccountInUse", "x")), NOW)["conditions"]
    assert [each.type for each in turned(live, stalled) if is_told(each)] == ["Ready", "Stalled"]


@pytest.mark.parametrize(
    ("condition", "kind"),
    [
        (Condition.of("Ready", True, "RunnerReady", "m", 1), "Normal"),
        (Condition.of("Ready", False, "RunnerStarting", "m", 1), "Normal"),
        (Condition.of("Ready", False, "WaitingForPod", "m", 1), "Normal"),
        (Condition.of("Ready", False, "ImagePullBackOff", "m", 1), "Warning"),
        (Condition.of("Ready", False, "RunnerUnreachable", "m", 1), "Warning"),
        (Condition.of("RunnerLeading", None, "RunnerUnreachable", "m", 1), "Warning"),
        (Condition.of("Accepted", False, "InvalidParameters", "m", 1), "Warning"),
        (Condition.of("Accepted", True, "Accepted", "m", 1), "Normal"),
        (Condition.of("Stalled", True, "AccountInUse", "m", 1), "Warning"),
    ],
)
def test_an_event_has_all_that_the_api_wants(condition: Condition, kind: str) -> None:
    scheduler = {
        "apiVersion": "openbell.dev/v1alpha1",
        "kind": "TradingScheduler",
        "metadata": {"name": "alpha", "namespace": "n", "uid": "u"},
    }
    made = event(scheduler, condition, now=NOW, name="alpha.1", instance="operator-0")
    assert made["type"] == kind
    assert made["eventTime"] == "2026-11-24T12:00:00.000000Z"
    assert made["regarding"] | {"uid": "u"} == made["regarding"]
    assert all(made[field] for field in ("action", "reason", "note", "reportingController", "reportingInstance"))
