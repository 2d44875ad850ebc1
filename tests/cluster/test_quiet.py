"""Nothing changed, so nothing is written: counted at the API server."""

from __future__ import annotations

import os
import time

import pytest
from lab import OPERATOR, SYSTEM, Api, Object, Place, is_available

pytestmark = [pytest.mark.alone, pytest.mark.timeout(1000, func_only=True)]

# Ten minutes by the goal; a suite run looks at one, which every periodic writer would still be caught in.
IDLE_SECONDS = float(os.environ.get("OPENBELL_IDLE_SECONDS", "60"))
TOUCH_SECONDS = 30.0  # how often the operator touches its canary, which the goal excepts
CANARY = "APPLY tradingschedulers"
OURS = (
    "tradingschedulers", "strategies", "deployments", "services", "serviceaccounts", "roles", "rolebindings",
    "persistentvolumeclaims", "secrets", "configmaps",
)  # fmt: skip


@pytest.fixture
def settled(place: Place) -> Place:
    """Three stopped schedulers with two strategies each, all of them as they are to stay."""
    for n in range(3):
        place.api.apply(place.scheduler(f"desk-{n}", enabled=False))
        for m in range(2):
            place.api.apply(place.strategy(f"strategy-{n}-{m}", f"desk-{n}"))
    for n in range(3):
        place.wait_for("Ready", name=f"desk-{n}", seconds=120)
        place.wait_for("RunnerLeading", name=f"desk-{n}", seconds=120)
    wait_until_nothing_is_written(place.api)
    return place


def wait_until_nothing_is_written(api: Api, quiet_seconds: float = 20, within: float = 150) -> None:
    """What came before (coalesced status writes, pods of other tests on their way out) has ended."""
    ends = time.monotonic() + within
    before = api.mutations(*OURS)
    while time.monotonic() < ends:
        time.sleep(quiet_seconds)
        now = api.mutations(*OURS)
        if now == before:
            return
        before = now
    raise AssertionError(f"the cluster does not become quiet: {before}")


def versions(place: Place) -> dict[str, str]:
    """The resourceVersion of everything in the namespace that somebody of ours might have written.

    Events are looked at here and not counted as requests: the kubelet writes some of its own at any time.
    """
    kinds = ("TradingScheduler", "Strategy", "Deployment", "Service", "ServiceAccount", "Role", "RoleBinding",
             "PersistentVolumeClaim", "Secret", "ConfigMap")  # fmt: skip
    found = [(kind, each) for kind in kinds for each in place.api.list_of(kind, place.namespace)]
    found += [("Event", each) for each in place.api.list_of("Event", place.namespace) if is_ours(each)]
    return {f"{kind}/{each['metadata']['name']}": each["metadata"]["resourceVersion"] for kind, each in found}


def is_ours(event: Object) -> bool:
    return str(event.get("reportingComponent", "")).startswith("openbell")


def grown(before: dict[str, int], after: dict[str, int], seconds: float) -> dict[str, int]:
    """The requests between two counts, without the touches of the operator's own canary in that time."""
    changes = {what: count - before.get(what, 0) for what, count in after.items() if count != before.get(what, 0)}
    touches = changes.pop(CANARY, 0)
    if touches > seconds // TOUCH_SECONDS + 1:
        changes[CANARY] = touches
    return changes


def ours(changes: dict[str, int]) -> set[str]:
    """Without what Kubernetes itself writes: tokens, and the status of a Deployment whose pods come, go or are late."""
    return {what for what in changes if not what.split()[1].startswith(("deployments/status", "serviceaccounts/token"))}


def test_idle_minutes_and_a_restart_of_the_operator_make_no_mutating_request(settled: Place) -> None:
    api = settled.api
    counts, objects, began = api.mutations(*OURS), versions(settled), time.monotonic()

    time.sleep(IDLE_SECONDS)
    idle = grown(counts, api.mutations(*OURS), time.monotonic() - began)

    (old,) = api.list_of("Pod", SYSTEM, "app.kubernetes.io/name=openbell-operator")
    counts, began = api.mutations(*OURS), time.monotonic()
    api.delete("Pod", SYSTEM, old["metadata"]["name"])
    api.wait_gone("Pod", SYSTEM, old["metadata"]["name"])
    api.wait("Deployment", SYSTEM, OPERATOR, is_available, 120)
    time.sleep(20)
    # An operator that starts touches the canary at once, whenever the one before had.
    restarted = grown(counts, api.mutations(*OURS), time.monotonic() - began + TOUCH_SECONDS)

    assert versions(settled) == objects
    assert ours(idle) == set()
    assert ours(restarted) == set()
