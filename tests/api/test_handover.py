"""Two field managers on one list of conditions: the operator speaks for a runner, and gives it its word back whole.

When the same value is applied by both, both own the field. So what one of them alone has changed in an entry goes when
it stops naming the entry, and the rest, which the other still owns, lacks what the schema requires.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from apiserver import Answer, ApiServer
from operating import World, condition_of, grant, operating, quiet, requests_of

from openbell.controller import silence
from openbell.controller.handover import borrowed_of, kept_whole
from openbell.controller.main import Operator
from openbell.controller.projection import project
from openbell.controller.status import SchedulerFacts, scheduler_status
from openbell.domain.state import TradingState
from openbell.kube.resources import TRADING_SCHEDULERS
from openbell.resources.conditions import RUNNER_CONDITIONS, conditions_of

APPLY = "application/apply-patch+yaml"
OPERATOR, RUNNER = "openbell-operator-status", "openbell-runner"
BEGAN = "2026-11-24T12:00:00Z"
GONE = "there is no runner pod"
REASONS = ("NoRunner", "Stopped", "RunnerUnreachable", "Running")


@pytest.fixture
def world(api_server: ApiServer, namespace: str, tmp_path: Path) -> World:
    return World(api_server, namespace, grant(api_server, namespace, tmp_path))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "LEASE_DURATION_SECONDS", 3.0)


def entry(kind: str, status: str = "False", reason: str = "Running", message: str = "m", at: int = 1) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": at,
        "lastTransitionTime": BEGAN,
    }


async def says(world: World, manager: str, conditions: Iterable[dict[str, Any]], **status: Any) -> Answer:
    """What a field manager applies to the status of alpha, by force, as both of ours do."""
    body = {
        "apiVersion": "openbell.dev/v1alpha1",
        "kind": "TradingScheduler",
        "metadata": {"name": "alpha"},
        "status": {"conditions": list(conditions)} | status,
    }
    path = f"alpha/status?fieldManager={manager}&force=true"
    return await world.request("PATCH", "TradingScheduler", path, body, APPLY)


class Runner:
    """Renews the lease and applies its conditions, as far as a test lets it."""

    def __init__(self, world: World, kinds: Iterable[str] = RUNNER_CONDITIONS) -> None:
        self._world, self.kinds = world, tuple(kinds)
        self._moments: Iterator[str] = (
            f"2026-11-24T00:{at // 60:02d}:{at % 60:02d}.000000Z" for at in itertools.count()
        )

    async def renew(self) -> None:
        await self._world.until("Lease", "alpha-runner", bool)
        spec = {"holderIdentity": "pod", "renewTime": next(self._moments)}
        await self._world.patch("Lease", "alpha-runner", {"spec": spec})

    async def report(self, generation: int = 1, *, state: str = "Running", reason: str = "Running") -> None:
        answer = await says(
            self._world,
            RUNNER,
            [entry(kind, reason=reason, at=generation) for kind in self.kinds],
            state=state,
            runner={"observedGeneration": generation, "epoch": 1},
        )
        assert answer.status == 200, answer.message


async def reasons(world: World) -> dict[str, str]:
    obj = await world.get("TradingScheduler", "alpha")
    return {kind: condition_of(obj, kind).get("reason", "") for kind in RUNNER_CONDITIONS}


async def owned_by_operator(world: World) -> set[str]:
    """The runner's conditions of which the operator has applied anything, by the server's own books."""
    obj = await world.get("TradingScheduler", "alpha") or {}
    (books,) = [each for each in obj["metadata"]["managedFields"] if each["manager"] == OPERATOR]
    keys = books["fieldsV1"]["f:status"]["f:conditions"]
    return {kind for kind in RUNNER_CONDITIONS if f'k:{{"type":"{kind}"}}' in keys}


def refused(operator: Operator) -> float:
    """Writes of the operator that the server has called invalid."""
    return requests_of(operator, "PATCH", "422")


async def test_the_server_refuses_to_tear_an_entry_that_two_managers_share(world: World) -> None:
    await world.create("TradingScheduler", "alpha", spec={})
    assert (await says(world, RUNNER, [entry("Paused", message="stopped")])).status == 200
    assert (await says(world, OPERATOR, [entry("Paused", message="there is no runner pod")])).status == 200
    torn = await says(world, OPERATOR, [])
    assert torn.status == 422
    assert "status.conditions[0].message: Required value" in torn.message
    assert (await says(world, RUNNER, [entry("Paused", message="running")])).status == 200
    assert (await says(world, OPERATOR, [])).status == 200
    assert condition_of(await world.get("TradingScheduler", "alpha"), "Paused")["message"] == "running"


async def silent_after_a_report(world: World, runner: Runner) -> None:
    await world.create("TradingScheduler", "alpha", spec={"enabled": True})
    await world.until("Deployment", "alpha-runner", lambda obj: obj and obj["spec"]["replicas"] == 1)
    await runner.report()
    for _ in range(2):
        await runner.renew()
        await asyncio.sleep(0.3)
    await world.condition("TradingScheduler", "alpha", "RunnerLeading", "Unknown", "RunnerUnreachable")


@pytest.mark.usefixtures("impatient")
async def test_a_runner_that_renews_before_it_reports_finds_its_entries_whole(world: World) -> None:
    runner = Runner(world)
    async with operating(world) as operator:
        await silent_after_a_report(world, runner)
        await runner.renew()
        await world.until(
            "TradingScheduler", "alpha", lambda obj: condition_of(obj, "Available").get("reason") != "RunnerUnreachable"
        )
        await quiet(operator)
        assert set((await reasons(world)).values()) == {"RunnerUnreachable"}  # nobody else has said anything yet
        assert refused(operator) == 0
        await runner.report()
        await runner.renew()
        await quiet(operator)
        assert set((await reasons(world)).values()) == {"Running"}
        assert await owned_by_operator(world) == set()
        assert refused(operator) == 0


@pytest.mark.usefixtures("impatient")
async def test_a_runner_that_never_comes_back_is_scaled_to_zero_without_a_refusal(world: World) -> None:
    runner = Runner(world)
    async with operating(world) as operator:
        await silent_after_a_report(world, runner)
        stop = {"enabled": False, "stopPolicy": {"runner": "ScaleToZero"}}
        await world.patch("TradingScheduler", "alpha", {"spec": stop})
        await world.condition("TradingScheduler", "alpha", "Reconciling", "True", "Stopping")
        assert set((await reasons(world)).values()) == {"RunnerUnreachable"}
        # A person sees to it that the pod is gone, the runner's last word on the stop with it.
        acknowledged = {"state": "Stopped", "runner": {"observedGeneration": 2, "epoch": 1}}
        await world.patch_status("TradingScheduler", "alpha", acknowledged)
        await world.condition("TradingScheduler", "alpha", "Ready", "True", "ScaledToZero")
        assert await reasons(world) == dict.fromkeys(RUNNER_CONDITIONS, "NoRunner") | {"Paused": "Stopped"}
        await quiet(operator)
        assert refused(operator) == 0


@pytest.mark.usefixtures("impatient")
async def test_what_a_runner_has_never_said_is_not_kept_for_it(world: World) -> None:
    runner = Runner(world, ("Paused", "RunnerLeading"))
    async with operating(world) as operator:
        await silent_after_a_report(world, runner)
        await runner.renew()
        spoken = {kind: "RunnerUnreachable" if kind in runner.kinds else "" for kind in RUNNER_CONDITIONS}
        await world.until(
            "TradingScheduler",
            "alpha",
            lambda obj: {kind: condition_of(obj, kind).get("reason", "") for kind in RUNNER_CONDITIONS} == spoken,
        )
        await runner.report()
        await runner.renew()
        await quiet(operator)
        assert await owned_by_operator(world) == set()
        assert refused(operator) == 0


async def test_a_stop_and_a_start_hand_the_word_over_and_back_without_a_refusal(world: World) -> None:
    runner = Runner(world)
    async with operating(world) as operator:
        await world.create("TradingScheduler", "alpha", spec={"enabled": True, "stopPolicy": {"runner": "ScaleToZero"}})
        await world.until("Deployment", "alpha-runner", lambda obj: obj and obj["spec"]["replicas"] == 1)
        await runner.report()
        await world.patch("TradingScheduler", "alpha", {"spec": {"enabled": False}})
        await runner.report(2, state="Stopped", reason="Stopped")
        await world.condition("TradingScheduler", "alpha", "Ready", "True", "ScaledToZero")
        assert (
            condition_of(await world.get("TradingScheduler", "alpha"), "Paused")["message"] == "there is no runner pod"
        )
        await world.patch("TradingScheduler", "alpha", {"spec": {"enabled": True}})
        await world.condition("TradingScheduler", "alpha", "Ready", "False", "RunnerStarting")
        paused = condition_of(await world.get("TradingScheduler", "alpha"), "Paused")
        assert (paused["observedGeneration"], paused["message"]) == (2, "there is no runner pod")
        assert refused(operator) == 0
        await runner.report(3)
        await quiet(operator)
        assert await owned_by_operator(world) == set()
        assert refused(operator) == 0


@pytest.mark.usefixtures("impatient")
async def test_an_operator_that_restarts_in_the_middle_keeps_the_entries_whole_and_writes_nothing(world: World) -> None:
    runner = Runner(world)
    async with operating(world) as first:
        await silent_after_a_report(world, runner)
        await runner.renew()
        await world.until(
            "TradingScheduler", "alpha", lambda obj: condition_of(obj, "Available").get("reason") == "PodNotReady"
        )
        await quiet(first)
    async with operating(world) as again:
        await quiet(again)
        assert set((await reasons(world)).values()) == {"RunnerUnreachable"}
        await runner.report()
        await runner.renew()
        await world.until(
            "TradingScheduler", "alpha", lambda obj: condition_of(obj, "Available").get("reason") == "PodNotReady"
        )
        await quiet(again)
        assert await owned_by_operator(world) == set()
        assert refused(again) == 0


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_the_two_say_in_whatever_order_no_write_is_refused(world: World, seed: int) -> None:
    """The operator's words by its own functions, the runner's by chance, with few values so that many are shared."""
    chance = random.Random(seed)
    await world.create("TradingScheduler", "alpha", spec={})
    kinds = [kind for kind in RUNNER_CONDITIONS if chance.random() < 0.7]
    generation, moment = 1, datetime(2026, 11, 24, 12, tzinfo=UTC)
    for step in range(40):
        generation += chance.random() < 0.3
        moment += timedelta(seconds=chance.choice((0, 1)))
        live = project(TRADING_SCHEDULERS, await world.get("TradingScheduler", "alpha") or {})
        if chance.random() < 0.4:
            words = [
                entry(
                    kind,
                    status=chance.choice(("False", "Unknown")),
                    reason=chance.choice(REASONS),
                    message=chance.choice(("m", GONE)),
                    at=generation,
                )
                for kind in kinds
            ]
            answer = await says(world, RUNNER, words)
        else:
            facts = SchedulerFacts(
                generation=generation,
                asked=TradingState.STOPPED,
                paused=chance.random() < 0.5,
                live=conditions_of(live),
                pod_ready=False,
                runner_leads=False,
                runner_is_silent=chance.random() < 0.5,
                runner_is_absent=chance.random() < 0.3,
                borrowed=frozenset(kind for kind, is_torn in borrowed_of(live).items() if is_torn),
            )
            answer = await says(world, OPERATOR, kept_whole(scheduler_status(facts, moment)["conditions"], live))
        assert answer.status == 200, (step, answer.message)
    # Once the runner has spoken, the operator can let go of everything.
    assert (await says(world, RUNNER, [entry(kind, message="last") for kind in kinds])).status == 200
    live = project(TRADING_SCHEDULERS, await world.get("TradingScheduler", "alpha") or {})
    assert kept_whole([], live) == []
    assert (await says(world, OPERATOR, [entry("Ready")])).status == 200
    assert await owned_by_operator(world) == set()
    assert {kind for kind, reason in (await reasons(world)).items() if reason} == set(kinds)
