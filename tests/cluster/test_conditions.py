"""Every condition, True and False, each by a real cause."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime

import pytest
from lab import (
    HOLDING,
    Object,
    Place,
    condition,
    epoch,
    freeze_container,
    kill_container,
    kubectl,
    positions,
    says,
    stats,
)

pytestmark = pytest.mark.timeout(300, func_only=True)

CONFIRM = "openbell.dev/confirm-journal-loss"


def statuses_seen(place: Place, kind: str, until: str, seconds: float = 90) -> list[str]:
    """The statuses that a condition went through, up to and with `until`."""
    seen: list[str] = []
    with contextlib.closing(place.api.versions("TradingScheduler", place.namespace, "lab", seconds)) as versions:
        for version in versions:
            status = condition(version, kind).get("status", "")
            if status and seen[-1:] != [status]:
                seen.append(status)
            if status == until:
                return seen
    raise AssertionError(f"{kind} went through {seen}, not to {until}")


# the operator's


def test_ready_and_available_come_with_the_runner_and_reconciling_goes(place: Place) -> None:
    place.api.apply(place.scheduler(enabled=False))

    ready = statuses_seen(place, "Ready", "True")
    settled = place.wait(lambda it: says(it, "Available", "True", "RunnerLeading"))

    assert ready[-2:] == ["False", "True"]
    assert says(settled, "Reconciling", "False")
    assert says(settled, "Stalled", "False")


def test_an_image_that_cannot_be_had_shows_in_ready_available_and_reconciling(place: Place) -> None:
    place.api.apply(place.scheduler(enabled=False, runner={"image": "openbell.invalid/nothing:none"}))

    broken = place.wait(
        lambda it: condition(it, "Ready").get("reason") in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"),
        seconds=90,
    )

    assert says(broken, "Ready", "False")
    assert says(broken, "Available", "False")
    assert says(broken, "Reconciling", "True")
    assert "openbell.invalid/nothing:none" in condition(broken, "Ready")["message"]


def test_a_lost_volume_stalls_the_scheduler_until_a_person_confirms(place: Place) -> None:
    place.api.apply(place.scheduler(enabled=False, stopPolicy={"runner": "ScaleToZero"}))
    place.wait_for("Ready")
    place.ask(enabled=True)
    place.wait_for("RunnerLeading", seconds=90)
    place.ask(enabled=False)
    place.wait_for("Available", "False", "NoRunner", seconds=90)

    place.api.delete("PersistentVolumeClaim", place.namespace, "lab-journal")
    place.api.wait_gone("PersistentVolumeClaim", place.namespace, "lab-journal")
    stalled = place.wait_for("Stalled", "True", "VolumeMissing")
    last = epoch(place.get())
    assert last > 0
    assert f"{CONFIRM}={last}" in stalled["message"]
    place.api.patch("TradingScheduler", place.namespace, "lab", {"metadata": {"annotations": {CONFIRM: str(last)}}})

    place.wait_for("Stalled", "False")
    place.ask(enabled=True)
    place.wait_for("RunnerLeading", seconds=90)
    assert condition(place.get(), "Degraded")["status"] == "False"


def test_a_frozen_runner_becomes_unknown_and_comes_back_by_itself(place: Place) -> None:
    place.api.apply(place.scheduler())
    place.wait_for("RunnerLeading", seconds=90)
    pod = place.runner()

    freeze_container(pod, frozen=True)
    try:
        silent = place.wait(lambda it: says(it, "RunnerLeading", "Unknown", "RunnerUnreachable"), seconds=60)
    finally:
        freeze_container(pod, frozen=False)

    assert says(silent, "BrokerConnected", "Unknown", "RunnerUnreachable")
    assert says(silent, "Available", "False")
    place.wait_for("RunnerLeading", seconds=120)
    place.wait_for("Available", seconds=60)


# the runner's


def test_pausing_and_resuming_are_acknowledged_for_their_generation(place: Place) -> None:
    place.api.apply(place.scheduler(), place.strategy())
    place.wait_for("Paused", "False", "Running", seconds=90)

    for paused in (True, False):
        kubectl("-n", place.namespace, "patch", "tsch", "lab", "--type=merge", "-p", f'{{"spec":{{"paused":{str(paused).lower()}}}}}')  # fmt: skip  # noqa: E501
        kubectl("-n", place.namespace, "wait", "tsch/lab", f"--for=condition=Paused={paused}", "--timeout=30s")
        assert place.get()["status"]["state"] == ("Paused" if paused else "Running")

    place.ask(enabled=False, paused=True)
    place.wait_for("Paused", "True", "Stopped")


def test_where_there_is_no_pod_the_operator_acknowledges_a_pause(place: Place) -> None:
    place.api.apply(place.scheduler(enabled=False, paused=True, stopPolicy={"runner": "ScaleToZero"}))

    place.wait_for("Paused", "True", "Stopped")

    assert place.api.pods(place.namespace, "lab") == []


def test_a_stolen_lease_is_noticed_and_taken_back_only_after_its_time(place: Place) -> None:
    place.api.apply(place.scheduler())
    place.wait_for("RunnerLeading", seconds=90)
    before = epoch(place.get())
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

    theft = {"holderIdentity": "thief", "renewTime": now, "acquireTime": now}
    place.api.patch("Lease", place.namespace, "lab-runner", {"spec": theft})

    place.wait(
        lambda it: (
            says(it, "RunnerLeading", "False", "NotLeading") and "thief" in condition(it, "RunnerLeading")["message"]
        )
    )
    place.wait_for("RunnerLeading", seconds=90)
    assert epoch(place.get()) > before


def test_without_its_broker_a_scheduler_says_so_and_catches_up_afterwards(place: Place) -> None:
    venue = place.venue()
    place.api.apply(place.scheduler(broker=venue.broker), place.strategy())
    place.wait_for("BrokerInSync", "True", "InSync", seconds=90)
    place.wait_for("DataFresh", "True")

    venue.scale(0)
    place.wait_for("BrokerConnected", "False", "Disconnected")
    place.wait_for("BrokerInSync", "False")
    stale = place.wait_for("DataFresh", "False", seconds=90)
    assert stale["message"]
    assert place.get()["status"]["canRun"] is False

    venue.scale(1)
    place.wait_for("BrokerConnected", "True", "Connected")
    place.wait_for("BrokerInSync", "True", "InSync")
    place.wait_for("DataFresh", "True")


def held(place: Place, seconds: float = 90) -> Object:
    """The first position that a scheduler holds."""
    return positions(place.wait(lambda it: positions(it), seconds=seconds))[0]


def test_an_order_of_ours_that_the_journal_does_not_know_holds_entries(place: Place) -> None:
    venue = place.venue()
    place.api.apply(place.scheduler(broker=venue.broker))
    place.wait_for("BrokerInSync", "True", seconds=90)
    (account,) = venue.ask("sessions")
    owner = place.get()["status"]["runner"]["ownerTag"]

    venue.ask("trade", account=account, symbol="AAPL", side="Buy", quantity="3", order_ref=f"ob1.{owner}.nobodyknows")

    place.wait_for("BrokerInSync", "False", "OrphanOrders", seconds=120)
    assert place.get()["status"]["canRun"] is False


def test_a_position_that_was_sold_by_hand_is_not_sold_again(place: Place) -> None:
    venue = place.venue()
    place.api.apply(
        place.scheduler(broker=venue.broker, exits=HOLDING, maxConcurrentTrades=1), place.strategy(symbols=["AAPL"])
    )
    position = held(place)
    place.ask(paused=True)
    place.wait_for("Paused")
    (account,) = venue.ask("sessions")
    sent = venue.orders()

    by_hand = {"account": account, "symbol": position["symbol"], "quantity": position["quantity"]}
    venue.ask("trade", side="Sell", **by_hand)

    place.wait(lambda it: not positions(it))
    assert venue.orders() == sent


def test_stopping_while_positions_are_kept_says_that_nobody_watches_them(place: Place) -> None:
    place.api.apply(place.scheduler(exits=HOLDING), place.strategy())
    symbol = held(place)["symbol"]
    place.wait_for("UnmonitoredPositions", "False")

    place.ask(enabled=False)
    told = place.wait_for("UnmonitoredPositions", "True", "StoppedKeepingPositions")
    assert symbol in told["message"]

    place.ask(enabled=True)
    place.wait_for("UnmonitoredPositions", "False", "Monitored")


def test_pausing_with_exits_halted_says_that_nobody_watches_positions(place: Place) -> None:
    place.api.apply(place.scheduler(exits=HOLDING, pausePolicy={"exits": "Halt"}), place.strategy())
    held(place)

    place.ask(paused=True)

    place.wait_for("UnmonitoredPositions", "True", "ExitsHalted")


def test_a_journal_that_was_lost_holds_entries_until_a_person_confirms(place: Place) -> None:
    place.api.apply(place.scheduler(), place.strategy())
    place.wait_for("Degraded", "False", "AsExpected", seconds=90)
    pod = place.runner()
    name = pod["metadata"]["name"]

    kubectl("-n", place.namespace, "exec", name, "--", "sh", "-c", "rm /data/journal/journal.db*")
    kill_container(pod)
    lost = place.wait_for("Degraded", "True", "JournalLost", seconds=90)
    trades = stats(place.get(), "tradesExecuted")
    assert epoch(place.get()) > 0
    (asked,) = re.findall(rf"{CONFIRM}=(\d+)", lost["message"])

    place.api.patch("TradingScheduler", place.namespace, "lab", {"metadata": {"annotations": {CONFIRM: asked}}})
    place.wait_for("Degraded", "False", "AsExpected", seconds=60)
    assert trades == 0
    place.wait(lambda it: stats(it, "tradesExecuted") > 0)


# a strategy's


def strategy(place: Place, kind: str, status: str, reason: str | None = None, seconds: float = 60) -> Object:
    found = place.api.wait(
        "Strategy", place.namespace, "momentum", lambda it: it and says(it, kind, status, reason), seconds
    )
    return condition(found, kind)


def test_a_strategy_says_whether_it_runs_is_paused_or_stopped(place: Place) -> None:
    place.api.apply(place.scheduler(), place.strategy())
    strategy(place, "Running", "True", seconds=90)
    strategy(place, "Paused", "False")
    strategy(place, "Failed", "False")
    strategy(place, "Accepted", "True")

    place.api.patch("Strategy", place.namespace, "momentum", {"spec": {"paused": True}})
    strategy(place, "Paused", "True")
    strategy(place, "Running", "False")

    place.api.patch("Strategy", place.namespace, "momentum", {"spec": {"paused": False, "enabled": False}})
    strategy(place, "Running", "False", "Stopped")
    strategy(place, "Paused", "False")


BROKEN_RULE = """
from openbell.strategies import momentum
whole = momentum.Momentum.evaluate
def evaluate(self, context):
    if context.symbol == "BAD":
        raise ArithmeticError("this rule cannot count")
    return whole(self, context)
momentum.Momentum.evaluate = evaluate
"""


def test_a_rule_that_raises_fails_alone_and_recovers(place: Place) -> None:
    name = "broken-rule"
    place.api.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": place.namespace},
            "data": {"sitecustomize.py": BROKEN_RULE},
        }
    )
    overlay = {
        "spec": {
            "volumes": [{"name": name, "configMap": {"name": name}}],
            "containers": [
                {
                    "name": "runner",
                    "env": [{"name": "PYTHONPATH", "value": "/broken"}],
                    "volumeMounts": [{"name": name, "mountPath": "/broken"}],
                }
            ],
        }
    }
    place.api.apply(
        place.scheduler(runner={"podTemplate": overlay}),
        place.strategy(symbols=["BAD"]),
        place.strategy("sound", symbols=["AAPL"]),
    )

    failed = strategy(place, "Failed", "True", seconds=120)
    assert "this rule cannot count" in failed["message"]
    strategy(place, "Running", "False", "Failed")
    assert place.wait_for("Degraded", "True", "StrategiesFailed")["message"] == "failed: momentum"
    place.api.wait("Strategy", place.namespace, "sound", lambda it: says(it, "Running", "True"), 30)

    place.api.patch("Strategy", place.namespace, "momentum", {"spec": {"symbols": ["MSFT"]}})
    strategy(place, "Failed", "False")
    strategy(place, "Running", "True")
    place.wait_for("Degraded", "False", "AsExpected")
