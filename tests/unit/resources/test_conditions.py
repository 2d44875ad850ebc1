"""Conditions keep the time of their last transition, and only that of a transition."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from openbell.resources.conditions import (
    OPERATOR_CONDITIONS,
    RUNNER_CONDITIONS,
    Condition,
    SchedulerCondition,
    conditions_of,
    find_condition,
    set_condition,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)


def ready(status: bool | None, *, reason: str = "Reconciled", generation: int = 1) -> Condition:
    return Condition.of(SchedulerCondition.READY, status, reason, "children are in place", generation)


def test_a_new_condition_gets_the_time_at_which_it_was_set() -> None:
    (placed,) = set_condition((), ready(True), NOON)
    assert placed.last_transition_time == NOON


def test_the_transition_time_stays_while_the_status_stays() -> None:
    first = set_condition((), ready(True), NOON)
    (placed,) = set_condition(first, ready(True, reason="Applied", generation=2), LATER)
    assert (placed.last_transition_time, placed.reason, placed.observed_generation) == (NOON, "Applied", 2)


def test_the_transition_time_moves_with_the_status() -> None:
    first = set_condition((), ready(True), NOON)
    (placed,) = set_condition(first, ready(None), LATER)
    assert (placed.last_transition_time, placed.status.value) == (LATER, "Unknown")


def test_other_conditions_keep_their_place() -> None:
    other = Condition.of("Paused", False, "Running", "", 1)
    both = set_condition(set_condition((), ready(True), NOON), other, NOON)
    changed = set_condition(both, ready(False), LATER)
    assert [condition.type for condition in changed] == ["Ready", "Paused"]
    assert find_condition(changed, "Paused") == find_condition(both, "Paused")
    assert find_condition(changed, "Degraded") is None


def test_a_condition_survives_being_written_to_a_status() -> None:
    (placed,) = set_condition((), ready(True), NOON)
    assert placed.to_dict() == {
        "type": "Ready",
        "status": "True",
        "reason": "Reconciled",
        "message": "children are in place",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-03-02T12:00:00Z",
    }
    assert conditions_of({"status": {"conditions": [placed.to_dict()]}}) == (placed,)
    assert conditions_of({}) == ()


def test_every_condition_has_one_writer() -> None:
    assert set(OPERATOR_CONDITIONS) | set(RUNNER_CONDITIONS) == set(SchedulerCondition)
    assert not set(OPERATOR_CONDITIONS) & set(RUNNER_CONDITIONS)
