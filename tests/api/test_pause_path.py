"""Pause without an operator: a patch, a real API server, and one runner that acknowledges."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from apiserver import ROOT, ApiServer

from openbell.resources.scheduler import SchedulerStatus

START_SECONDS = 60.0
SETTLED_SECONDS = 20.0


@dataclass
class Running:
    """A runner as a process of this machine."""

    process: subprocess.Popen[bytes]
    log: Path
    api: httpx.Client

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it logged under this name."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    def end(self) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@dataclass
class Place:
    """A namespace with one scheduler in it."""

    server: ApiServer
    namespace: str
    folder: Path

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        return self.server.kubectl("-n", self.namespace, *args, stdin=stdin).stdout

    def patch(self, **spec: Any) -> int:
        """`kubectl patch` as a person does it; the generation that it made."""
        self.kubectl("patch", "tsch", "main", "--type", "merge", "-p", json.dumps({"spec": spec}))
        return int(self.scheduler()["metadata"]["generation"])

    def scheduler(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "tsch", "main", "-o", "json", "--show-managed-fields"))
        return found

    def lease(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "lease", "main-runner", "-o", "json"))
        return found

    def wait(self, condition: str) -> None:
        self.kubectl("wait", "tsch/main", f"--for=condition={condition}", f"--timeout={SETTLED_SECONDS:.0f}s")

    def condition(self, name: str) -> dict[str, Any]:
        conditions = self.scheduler().get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == name), {})

    @contextlib.contextmanager
    def running(self, pod: str = "main-runner-0", *, kubeconfig: Path | None = None) -> Iterator[Running]:
        """`openbell runner`, once it leads; ended by SIGTERM where the test has not."""
        log = self.folder / f"{pod}.log"
        command = [sys.executable, "-m", "openbell.cli", "runner", "--scheduler", "main", "--namespace", self.namespace]
        command += ["--pod", pod, "--data", str(self.folder / "data"), "--host", "127.0.0.1", "--port", "0"]
        environment = os.environ | {
            "PYTHONPATH": str(ROOT / "operator"),
            "KUBECONFIG": str(kubeconfig or self.server.kubeconfig),
        }
        with log.open("wb") as output, subprocess.Popen(command, env=environment, stderr=output) as process:
            api = httpx.Client(timeout=20.0)
            running = Running(process, log, api)
            try:
                until(lambda: running.events("leading") or process.poll() is not None, START_SECONDS)
                assert process.poll() is None, log.read_text()
                until(lambda: running.events("api.listening"))
                api.base_url = httpx.URL(f"http://127.0.0.1:{running.events('api.listening')[0]['port']}")
                yield running
            finally:
                api.close()
                if process.poll() is None:
                    running.end()


def until(reached: Callable[[], object], seconds: float = SETTLED_SECONDS) -> None:
    """Return once something of another process is so."""
    late = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < late, "it has not come in time"
        time.sleep(0.02)


@pytest.fixture
def place(api_server: ApiServer, namespace: str, tmp_path: Path) -> Place:
    made = Place(api_server, namespace, tmp_path)
    scheduler = {
        "apiVersion": "openbell.dev/v1alpha1",
        "kind": "TradingScheduler",
        "metadata": {"name": "main"},
        "spec": {"enabled": True, "evaluationIntervalSeconds": 1, "market": {"calendar": "Always"}},
    }
    strategy = {
        "apiVersion": "openbell.dev/v1alpha1",
        "kind": "Strategy",
        "metadata": {"name": "trend"},
        "spec": {"schedulerRef": {"name": "main"}, "type": "Momentum", "symbols": ["AAPL"], "barSeconds": 1},
    }
    for each in (scheduler, strategy):
        made.kubectl("create", "-f", "-", stdin=json.dumps(each))
    return made


def test_a_pause_by_patch_is_acknowledged_for_its_generation_and_so_is_the_resume(place: Place) -> None:
    with place.running():
        place.wait("RunnerLeading")
        generation = place.patch(paused=True)
        place.wait("Paused")
        condition = place.condition("Paused")
        assert (condition["observedGeneration"], condition["reason"]) == (generation, "Paused")
        status = place.scheduler()["status"]
        assert (status["state"], status["why"], status["canRun"]) == ("Paused", "paused, exits go on", False)
        assert status["runner"]["observedGeneration"] == generation
        assert json.loads(place.kubectl("get", "strat", "trend", "-o", "json"))["status"]["state"] == "Paused"
        place.patch(paused=False)
        place.wait("Paused=False")
        until(lambda: place.scheduler()["status"]["canRun"])


def test_every_generation_is_acknowledged_also_one_that_changed_something_else(place: Place) -> None:
    with place.running() as runner:
        place.patch(paused=True)
        for number in range(5):
            generation = place.patch(minConfidence=0.5 + number / 100)
            place.wait("Paused")  # kubectl ignores a condition of an older generation
            assert place.condition("Paused")["observedGeneration"] == generation
        stopped = place.patch(enabled=False)
        until(lambda: place.condition("Paused").get("reason") == "Stopped")
        assert place.condition("Paused")["observedGeneration"] == stopped
        assert [each["generation"] for each in runner.events("state.acknowledged")][-1] == stopped


def test_a_burst_of_patches_ends_in_the_newest(place: Place) -> None:
    with place.running():
        path = f"/apis/openbell.dev/v1alpha1/namespaces/{place.namespace}/tradingschedulers/main"
        for number in range(40):
            body = {"spec": {"paused": number % 2 == 0}}
            answer = place.server.request("PATCH", path, body, content="application/merge-patch+json")
            assert answer.status == 200
        generation = answer.body["metadata"]["generation"]
        until(lambda: place.scheduler()["status"]["runner"].get("observedGeneration") == generation)
        assert (place.condition("Paused")["status"], place.scheduler()["status"]["state"]) == ("False", "Running")


def test_a_pause_by_rest_waits_for_its_acknowledgement_and_patches_the_resource(place: Place) -> None:
    with place.running() as runner:
        answer = runner.api.post("/api/scheduler/pause", params={"wait": 5})
        manifest = place.scheduler()
        assert (answer.status_code, answer.json()) == (
            202,
            {"status": "success", "generation": manifest["metadata"]["generation"], "acknowledged": True},
        )
        assert manifest["spec"]["paused"] is True
        by = {entry["manager"] for entry in manifest["metadata"]["managedFields"] if "subresource" not in entry}
        assert "openbell-api" in by
        place.wait("Paused")
        assert runner.api.post("/api/scheduler/resume", params={"wait": 5}).json()["acknowledged"] is True
        assert place.scheduler()["spec"]["paused"] is False


def test_without_an_operator_the_runner_writes_its_own_part_and_nothing_else(place: Place) -> None:
    with place.running():
        place.wait("BrokerInSync")
        until(lambda: place.scheduler()["status"]["stats"]["evaluationsRun"] > 0, 30)
        manifest = place.scheduler()
        SchedulerStatus.model_validate_json(json.dumps(manifest["status"]))
        writers = {
            entry["manager"] for entry in manifest["metadata"]["managedFields"] if entry.get("subresource") == "status"
        }
        assert writers == {"openbell-runner"}
        kinds = {each["type"] for each in manifest["status"]["conditions"]}
        assert kinds == {
            "Paused",
            "RunnerLeading",
            "BrokerConnected",
            "DataFresh",
            "BrokerInSync",
            "UnmonitoredPositions",
            "Degraded",
        }


def test_the_end_by_sigterm_gives_the_lease_back_and_the_next_runner_leads_at_once(place: Place) -> None:
    with place.running("first") as runner:
        assert place.lease()["spec"]["holderIdentity"] == "first"
        place.patch(paused=True)
        place.wait("Paused")
        assert runner.end() == 0
    lease = place.lease()
    assert lease["spec"].get("holderIdentity", "") == ""
    assert lease["metadata"]["annotations"]["openbell.dev/epoch"] == "1"
    began = time.monotonic()
    with place.running("second"):
        assert place.lease()["spec"]["holderIdentity"] == "second"
        until(lambda: place.scheduler()["status"]["runner"]["epoch"] == 2)
        assert place.scheduler()["status"]["runner"]["pod"] == "second"
        place.wait("Paused")  # what was paused stays paused
        assert time.monotonic() - began < 15, "a lease that was given back is not waited for"


def test_a_lease_that_another_took_ends_the_runner(place: Place) -> None:
    with place.running() as runner:
        taken = {"metadata": {"annotations": {"openbell.dev/epoch": "9"}}, "spec": {"holderIdentity": "other"}}
        place.kubectl("patch", "lease", "main-runner", "--type", "merge", "-p", json.dumps(taken))
        assert runner.process.wait(30) != 0
        assert place.lease()["spec"]["holderIdentity"] == "other", "what is another's is not given back"
        assert "the lease was taken by other" in runner.log.read_text()


def test_a_deleted_scheduler_ends_its_runner_in_order(place: Place) -> None:
    with place.running() as runner:
        place.kubectl("delete", "tsch", "main", "--wait=false")
        assert runner.process.wait(30) == 0
        assert runner.events("runner.halted")
