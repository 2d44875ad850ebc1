"""Which conditions the operator has borrowed from a runner, and which it may give back without tearing them apart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openbell.controller.cache import Cache
from openbell.controller.handover import REQUIRED, STATUS_MANAGER, borrowed, kept_whole
from openbell.kube.resources import TRADING_SCHEDULERS
from openbell.resources.status import ConditionModel

WHOLE = (*REQUIRED, "observedGeneration")


def books(manager: str, operation: str = "Apply", **fields: tuple[str, ...]) -> dict[str, Any]:
    conditions: dict[str, Any] = {
        f"k:{json.dumps({'type': kind}, separators=(',', ':'))}": {".": {}} | {f"f:{each}": {} for each in owned}
        for kind, owned in fields.items()
    }
    return {
        "manager": manager,
        "operation": operation,
        "subresource": "status",
        "fieldsV1": {"f:status": {"f:conditions": conditions, "f:state": {}}},
    }


def scheduler(*managers: dict[str, Any], conditions: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    metadata = {"name": "alpha", "namespace": "n", "uid": "u", "resourceVersion": "1", "managedFields": list(managers)}
    return {"metadata": metadata, "spec": {}, "status": {"conditions": list(conditions)}}


def test_nothing_is_borrowed_while_the_operator_names_its_own_conditions_alone() -> None:
    assert borrowed(scheduler(books(STATUS_MANAGER, Ready=WHOLE), books("openbell-runner", Paused=WHOLE))) == {}
    assert borrowed({"metadata": {}}) == {}


@pytest.mark.parametrize(
    ("runner", "is_torn"),
    [
        ({}, False),
        ({"Paused": WHOLE}, False),
        ({"Paused": tuple(REQUIRED)}, False),
        ({"Paused": ()}, True),
        ({"Paused": ("type", "observedGeneration")}, True),
        ({"Paused": tuple(REQUIRED - {"message"})}, True),
        ({"Degraded": ("type",)}, False),
    ],
)
def test_an_entry_may_be_left_unsaid_when_the_rest_is_whole_or_nothing(
    runner: dict[str, tuple[str, ...]], is_torn: bool
) -> None:
    obj = scheduler(books(STATUS_MANAGER, Paused=WHOLE), books("openbell-runner", **runner))
    assert borrowed(obj) == {"Paused": is_torn}


def test_what_several_others_own_together_counts() -> None:
    by_hand = books("kubectl-edit", "Update", Paused=("message",))
    runner = books("openbell-runner", Paused=tuple(REQUIRED - {"message"}))
    assert borrowed(scheduler(books(STATUS_MANAGER, Paused=WHOLE), by_hand, runner)) == {"Paused": False}


def test_a_torn_entry_goes_on_being_named_as_it_stands() -> None:
    live = {"type": "Paused", "status": "Unknown", "reason": "RunnerUnreachable", "message": "m"}
    other = live | {"type": "Degraded"}
    managers = (books(STATUS_MANAGER, Paused=WHOLE, Degraded=WHOLE), books("openbell-runner", Paused=("type",)))
    cache = Cache()
    cache.observe(TRADING_SCHEDULERS, scheduler(*managers, conditions=(live, other)))
    obj = cache.get(TRADING_SCHEDULERS, ("n", "alpha"))
    assert obj is not None
    ready = {"type": "Ready", "status": "True"}
    said = {"type": "Paused", "status": "False"}
    assert kept_whole([ready], obj) == [ready, live]
    assert kept_whole([ready, said], obj) == [ready, said]


def test_a_runner_that_takes_its_entries_back_wakes_a_reconcile() -> None:
    cache = Cache()
    before = scheduler(books(STATUS_MANAGER, Paused=WHOLE), books("openbell-runner", Paused=("type",)))
    after = scheduler(books(STATUS_MANAGER, Paused=("type",)), books("openbell-runner", Paused=WHOLE))
    assert cache.observe(TRADING_SCHEDULERS, before)
    after["metadata"]["resourceVersion"] = "2"
    assert cache.observe(TRADING_SCHEDULERS, after)


def test_the_required_fields_are_those_of_the_schema() -> None:
    assert {field.alias for field in ConditionModel.model_fields.values() if field.is_required()} == REQUIRED
