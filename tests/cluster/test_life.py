"""A scheduler's life: its runners one after another, its end, and what it leaves behind."""

from __future__ import annotations

import re
import threading

import pytest
from lab import HOLDING, Object, Place, condition, epoch, kubectl, positions, says, stats

pytestmark = pytest.mark.timeout(300, func_only=True)


def leading(place: Place, pod: str, more_than: int) -> Object:
    """The scheduler, once this pod leads it and has evaluated more often than all before it."""
    return place.wait(
        lambda it: (
            says(it, "RunnerLeading", "True")
            and it["status"]["runner"]["pod"] == pod
            and stats(it, "evaluationsRun") > more_than
        ),
        seconds=90,
    )


def test_each_runner_has_a_higher_epoch_and_the_counts_go_on(place: Place) -> None:
    place.api.apply(place.scheduler(), place.strategy())
    epochs: list[int] = []
    counts: list[int] = []
    uid = ""

    for _ in range(3):
        pod = place.runner(not_uid=uid)["metadata"]
        uid = pod["uid"]
        led = leading(place, pod["name"], more_than=counts[-1] if counts else 0)
        epochs.append(epoch(led))
        counts.append(stats(led, "evaluationsRun"))
        place.api.delete("Pod", place.namespace, pod["name"])

    assert epochs == sorted(set(epochs))
    assert counts == sorted(set(counts))


def test_a_runner_that_is_still_ending_keeps_the_next_one_from_being_made(place: Place) -> None:
    place.api.apply(place.scheduler())
    place.wait_for("RunnerLeading", seconds=90)
    pod = place.runner()["metadata"]
    # Its node does not report the pod's end while this finalizer holds it, as when a node is lost.
    held = {"metadata": {"finalizers": ["openbell.dev/test-holds-it"]}}
    place.api.patch("Pod", place.namespace, pod["name"], held)
    place.ask(enabled=False, stopPolicy={"runner": "ScaleToZero"})
    place.api.wait("Deployment", place.namespace, "lab-runner", lambda it: it and it["spec"]["replicas"] == 0, 60)
    seen: list[str] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            alive = [
                each["metadata"]["name"]
                for each in place.api.pods(place.namespace, "lab")
                if each["status"]["phase"] not in ("Succeeded", "Failed")
            ]
            seen.append(",".join(sorted(alive)))
            stop.wait(0.2)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        place.ask(enabled=True)
        place.api.patch("Pod", place.namespace, pod["name"], {"metadata": {"finalizers": None}})
        place.runner(not_uid=pod["uid"])
    finally:
        stop.set()
        looker.join()

    assert [names for names in seen if "," in names] == []


def test_deleting_a_scheduler_keeps_the_volume_and_a_new_one_goes_on_with_it(place: Place) -> None:
    place.api.apply(place.scheduler(), place.strategy())
    traded = place.wait(lambda it: stats(it, "tradesExecuted") > 0, seconds=120)
    owner = traded["status"]["runner"]["ownerTag"]
    claim = place.api.get("PersistentVolumeClaim", place.namespace, "lab-journal")
    assert claim is not None

    place.api.delete("TradingScheduler", place.namespace, "lab")
    for kind, name in (("Deployment", "lab-runner"), ("Service", "lab-api"), ("Secret", "lab-api-token")):
        place.api.wait_gone(kind, place.namespace, name, 60)
    for pod in place.api.pods(place.namespace, "lab"):
        place.api.wait_gone("Pod", place.namespace, pod["metadata"]["name"], 60)
    kept = place.api.get("PersistentVolumeClaim", place.namespace, "lab-journal")
    assert kept is not None
    assert kept["metadata"]["uid"] == claim["metadata"]["uid"]
    assert not kept["metadata"].get("deletionTimestamp")

    place.api.apply(place.scheduler())
    again = place.wait(lambda it: says(it, "RunnerLeading", "True"), seconds=90)
    assert again["status"]["runner"]["ownerTag"] == owner
    assert stats(again, "tradesExecuted") >= stats(traded, "tradesExecuted")


def test_a_volume_that_is_not_to_be_kept_goes_with_its_scheduler(place: Place) -> None:
    place.api.apply(place.scheduler(enabled=False, runner={"retain": "Delete"}))
    place.wait_for("Ready", seconds=90)

    place.api.delete("TradingScheduler", place.namespace, "lab")

    place.api.wait_gone("PersistentVolumeClaim", place.namespace, "lab-journal", 60)


def test_deletion_by_a_policy_of_flattening_closes_positions_first(place: Place) -> None:
    venue = place.venue()
    place.api.apply(
        place.scheduler(broker=venue.broker, exits=HOLDING, stopPolicy={"positions": "Flatten"}), place.strategy()
    )
    place.wait(lambda it: positions(it), seconds=120)

    place.api.delete("TradingScheduler", place.namespace, "lab")
    place.api.wait_gone("TradingScheduler", place.namespace, "lab", 120)

    net: dict[str, int] = {}
    for fill in venue.ask("executions"):
        sign = 1 if fill["side"] == "Buy" else -1
        net[fill["symbol"]] = net.get(fill["symbol"], 0) + sign * int(float(fill["quantity"]))
    assert {symbol: quantity for symbol, quantity in net.items() if quantity} == {}


def columns(text: str) -> dict[str, str]:
    """The first row of a table that kubectl prints, by its header's columns."""
    header, row = text.splitlines()[:2]
    starts = [match.start() for match in re.finditer(r"\S+(?: \S+)*", header)]
    names = re.findall(r"\S+(?: \S+)*", header)
    ends = [*starts[1:], None]
    return {name: row[start:end].strip() for name, start, end in zip(names, starts, ends, strict=True)}


def test_kubectl_get_tells_what_a_person_wants_to_know(place: Place) -> None:
    place.api.apply(place.scheduler(exits=HOLDING), place.strategy(symbols=["AAPL", "MSFT", "IBM"]))
    place.wait(lambda it: positions(it) and condition(it, "Ready").get("status") == "True", seconds=120)

    def shown(kind: str) -> dict[str, str]:
        return columns(kubectl("-n", place.namespace, "get", kind, "-o", "wide"))

    scheduler, strategy = shown("tsch"), shown("strat")

    assert scheduler["STATE"] == "Running"
    assert scheduler["MODE"] == "Paper"
    assert scheduler["STRATEGIES"] == "1/1"
    assert int(scheduler["POSITIONS"]) >= 1
    assert re.fullmatch(r"-?\d+\.\d\d", scheduler["P&L"])
    assert scheduler["WHY"] == "evaluating 1 strategy every 1 s"
    assert (scheduler["READY"], scheduler["BROKER"]) == ("True", "Connected")
    assert scheduler["MARKET"] == "market always open"
    assert int(scheduler["TRADES"]) >= 1
    assert scheduler["RUNNER"].startswith("lab-runner-")
    assert strategy["SCHEDULER"] == "lab"
    assert strategy["TYPE"] == "Momentum"
    assert strategy["STATE"] == "Running"
    assert strategy["SYMBOLS"] == "AAPL, MSFT +1"
    assert strategy["WHY"] == "evaluating every 1 s"


def test_everything_runs_under_the_restricted_pod_security_standard(place: Place) -> None:
    place.api.apply(place.scheduler(enabled=False))

    pod = place.runner()

    namespace = place.api.get("Namespace", None, place.namespace)
    assert namespace is not None
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
