"""The operator on a real API server, with the rights of its chart: children, drift, restart, rollout, deletion."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from pathlib import Path
from typing import Any

import pytest
from apiserver import ApiServer
from operating import CHILDREN, JSON_PATCH, World, condition_of, grant, operating, owned_paths, quiet, requests_of
from structlog.testing import capture_logs

from openbell.controller import silence
from openbell.controller.reconcile import Key
from openbell.kube.client import Object
from openbell.kube.lease import boot_time
from openbell.kube.resources import TRADING_SCHEDULERS

REPAIR_SECONDS = 5.0
LIVE = {"mode": "Live", "broker": {"type": "IBKR", "ibkr": {"host": "gw", "account": "U1"}}}


@pytest.fixture
def world(api_server: ApiServer, namespace: str, tmp_path: Path) -> World:
    return World(api_server, namespace, grant(api_server, namespace, tmp_path))


async def scheduler(world: World, name: str = "alpha", **spec: Any) -> Object:
    return await world.create("TradingScheduler", name, spec={"enabled": True} | spec)


async def events(world: World, name: str = "alpha") -> list[tuple[str, str]]:
    """Type and reason of each Event about an object of ours, as soon as there is one."""
    async with asyncio.timeout(5):
        while True:
            listed = (await world.request("GET", "Event")).body["items"]
            if told := sorted((each["type"], each["reason"]) for each in listed if each["regarding"]["name"] == name):
                return told
            await asyncio.sleep(0.05)


async def all_children(world: World) -> dict[str, Object]:
    return {kind: await world.until(kind, name, bool) for kind, name in CHILDREN.items()}


def replicas(obj: Object | None) -> int:
    return -1 if obj is None else int(obj["spec"]["replicas"])


def environment(workload: Object | None) -> dict[str, str]:
    """The variables of the runner's container that have a value."""
    assert workload is not None
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


async def raised(world: World, name: str = "alpha-runner") -> Object:
    return await world.until("Deployment", name, lambda obj: replicas(obj) == 1)


async def pod(world: World, name: str = "a-pod", *, managed: bool = True) -> None:
    labels = {"app.kubernetes.io/name": "openbell-runner", "app.kubernetes.io/instance": "alpha"}
    if managed:
        labels |= {"app.kubernetes.io/managed-by": "openbell-operator", "openbell.dev/scheduler": "alpha"}
    containers = [{"name": "runner", "image": "openbell:test"}]
    await world.create("Pod", name, metadata={"labels": labels}, spec={"containers": containers})


async def test_a_scheduler_gets_all_its_children_and_the_volume_alone_is_nobodys(world: World) -> None:
    async with operating(world):
        made = await scheduler(world)
        await raised(world)
        children = await all_children(world)
        for kind, obj in children.items():
            owners = obj["metadata"].get("ownerReferences", [])
            uids = [each["uid"] for each in owners if each["controller"]]
            assert uids == ([] if kind == "PersistentVolumeClaim" else [made["metadata"]["uid"]]), kind
        secret = await world.get("Secret", "alpha-api-token")
        assert secret is not None
        assert len(secret["data"]["token"]) >= 40
        message = await world.condition("TradingScheduler", "alpha", "Ready", "False", "RunnerStarting")
        assert message == "the runner pod is not ready yet"
        assert await events(world) == [("Normal", "RunnerStarting")]  # nothing that a person must look at
        status = (await world.get("TradingScheduler", "alpha") or {})["status"]
        assert status["observedGeneration"] == 1
        assert status["strategies"]["total"] == 0


async def test_every_field_that_was_applied_is_repaired_after_an_edit(world: World) -> None:
    async with operating(world):
        await scheduler(world, runner={"podTemplate": {"spec": {"nodeSelector": {"disk": "ssd"}}}})
        await raised(world)
        repaired: list[str] = []
        refused: list[str] = []
        for kind, obj in (await all_children(world)).items():
            if kind == "PersistentVolumeClaim":
                continue  # its rules are its own: labels and size
            name = obj["metadata"]["name"]
            for path, value in list(owned_paths(obj)):
                edit = [{"op": "replace", "path": path, "value": edited(path, value)}]
                answer = await world.patch(kind, name, edit, content=JSON_PATCH)
                if answer.status != 200:
                    refused.append(f"{kind}{path}")
                    continue
                try:
                    await world.until(kind, name, lambda now, p=path, v=value: at(now, p) == v, REPAIR_SECONDS)
                except AssertionError as error:
                    raise AssertionError(f"{kind}{path} was not repaired") from error
                repaired.append(f"{kind}{path}")
        assert len(repaired) >= 60, repaired
        unexpected = [each for each in refused if not any(part in each for part in UNCHANGEABLE)]
        assert unexpected == []


UNCHANGEABLE = (
    "Deployment/spec/selector",
    "Deployment/spec/strategy/type",  # with Recreate there is no other value beside it
    "/metadata/ownerReferences",
    "RoleBinding/roleRef",
    "RoleBinding/subjects",
    "Role/rules",
    "Service/spec/type",
    "Service/spec/ports",
    "Deployment/spec/template/metadata/labels/app.kubernetes.io~1",  # the selector must match
    "Deployment/spec/template/spec/securityContext/fsGroupChangePolicy",
    "Deployment/spec/template/spec/securityContext/seccompProfile",
    "Deployment/spec/template/spec/volumes",
    "Deployment/spec/template/spec/containers/0/volumeMounts",
    "Deployment/spec/template/spec/containers/0/name",
    "Deployment/spec/template/spec/containers/0/ports",
    "Deployment/spec/template/spec/containers/0/resources",
    "Deployment/spec/template/spec/containers/0/env",
)
"""Fields in which the API server itself refuses the edit that this test makes."""


def edited(path: str, value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if path.endswith(("/rules", "/subjects")):
        return value[:-1] if len(value) > 1 else []
    return value[:-1] if isinstance(value, list) else {}


def at(obj: Object | None, path: str) -> Any:
    value: Any = obj
    for part in path.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        try:
            value = value[int(name)] if isinstance(value, list) else value[name]
        except (KeyError, IndexError, TypeError):
            return None
    return value


@pytest.mark.parametrize("kind", [kind for kind in CHILDREN if kind != "PersistentVolumeClaim"])
async def test_a_child_that_was_deleted_comes_back(world: World, kind: str) -> None:
    async with operating(world):
        await scheduler(world)
        await raised(world)
        before = await world.until(kind, CHILDREN[kind], bool)
        await world.delete(kind, CHILDREN[kind])
        again = await world.until(
            kind,
            CHILDREN[kind],
            lambda obj: obj and obj["metadata"]["uid"] != before["metadata"]["uid"],
            REPAIR_SECONDS,
        )
        assert again["metadata"]["labels"] == before["metadata"]["labels"]
        await raised(world)


async def test_extra_subjects_and_rules_do_not_stay(world: World) -> None:
    async with operating(world):
        await scheduler(world)
        await raised(world)
        role = await world.until("Role", "alpha-runner", bool)
        rules = role["rules"]
        extra = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
        await world.patch("Role", "alpha-runner", {"rules": [*rules, extra]})
        await world.until("Role", "alpha-runner", lambda obj: obj and obj["rules"] == rules, REPAIR_SECONDS)


async def test_a_port_that_was_moved_comes_back_and_the_other_goes(world: World) -> None:
    async with operating(world):
        await scheduler(world)
        await raised(world)
        moved = [{"op": "replace", "path": "/spec/ports/0/port", "value": 9999}]
        assert (await world.patch("Service", "alpha-api", moved, content=JSON_PATCH)).status == 200
        await world.until(
            "Service",
            "alpha-api",
            lambda obj: obj and [each["port"] for each in obj["spec"]["ports"]] == [8021],
            REPAIR_SECONDS,
        )


async def test_a_restart_with_nothing_changed_writes_nothing(world: World) -> None:
    async with operating(world) as first:
        for name in ("alpha", "beta"):
            await scheduler(world, name)
            await raised(world, f"{name}-runner")
        await scheduler(world, "live", **LIVE)
        await world.create("Strategy", "mom", spec=STRATEGY)
        await world.create("Strategy", "wrong", spec=STRATEGY | {"parameters": {"nonsense": 1}})
        await world.condition("Strategy", "mom", "Accepted", "True", "Accepted")
        await world.condition("TradingScheduler", "live", "Stalled", "True", "LiveNotAllowed")
        await quiet(first, 1.0)
    before = await world.writes()
    async with operating(world) as again:
        await quiet(again, 2.0)
        assert again.metrics.reconcile_seconds._sum.get() > 0  # it has looked at everything
        touches = int(again.metrics.canary_touches._value.get())
        assert await world.writes() - before - touches == 0


async def test_no_runner_is_started_beside_a_pod_that_still_is_there(world: World) -> None:
    await pod(world)
    async with operating(world):
        await scheduler(world)
        message = await world.condition("TradingScheduler", "alpha", "Reconciling", "True", "WaitingForPod")
        assert "a-pod" in message
        assert replicas(await world.get("Deployment", "alpha-runner")) == 0
        await world.delete("Pod", "a-pod")
        await world.until("Deployment", "alpha-runner", lambda obj: replicas(obj) == 1, REPAIR_SECONDS)


async def test_a_pod_that_no_watch_has_told_of_is_found_by_the_live_list(world: World) -> None:
    await pod(world, managed=False)
    async with operating(world) as operator:
        await scheduler(world)
        await world.condition("TradingScheduler", "alpha", "Reconciling", "True", "WaitingForPod")
        await quiet(operator)
        assert replicas(await world.get("Deployment", "alpha-runner")) == 0
        await world.delete("Pod", "a-pod")
        await world.until("Deployment", "alpha-runner", lambda obj: replicas(obj) == 1, 10)


async def test_a_stop_that_scales_to_zero_waits_for_the_runners_word(world: World) -> None:
    async with operating(world):
        await scheduler(world, stopPolicy={"runner": "ScaleToZero"})
        await raised(world)
        leading = {"state": "Running", "runner": {"observedGeneration": 1, "epoch": 1}}
        await world.patch_status("TradingScheduler", "alpha", leading)
        await world.patch("TradingScheduler", "alpha", {"spec": {"enabled": False, "paused": True}})
        await world.condition("TradingScheduler", "alpha", "Reconciling", "True", "Stopping")
        assert replicas(await world.get("Deployment", "alpha-runner")) == 1
        stopped = {"state": "Stopped", "runner": {"observedGeneration": 2, "epoch": 1}}
        await world.patch_status("TradingScheduler", "alpha", stopped)
        await world.until("Deployment", "alpha-runner", lambda obj: replicas(obj) == 0, REPAIR_SECONDS)
        await world.condition("TradingScheduler", "alpha", "Ready", "True", "ScaledToZero")
        paused = await world.condition("TradingScheduler", "alpha", "Paused", "True", "Stopped")
        assert paused == "there is no runner pod"
        await world.patch("TradingScheduler", "alpha", {"spec": {"enabled": True, "paused": False}})
        await raised(world)


async def test_a_runner_that_never_led_is_scaled_to_zero_without_its_word(world: World) -> None:
    async with operating(world):
        await scheduler(world, stopPolicy={"runner": "ScaleToZero"})
        await raised(world)
        await world.patch("TradingScheduler", "alpha", {"spec": {"enabled": False}})
        await world.until("Deployment", "alpha-runner", lambda obj: replicas(obj) == 0, REPAIR_SECONDS)


async def test_an_operator_with_another_image_leaves_a_running_deployment_alone(world: World) -> None:
    def image(obj: Object) -> str:
        return str(obj["spec"]["template"]["spec"]["containers"][0]["image"])

    async with operating(world):
        await scheduler(world)
        before = await raised(world)
        assert image(before) == "openbell:test"
    async with operating(world, runner_image="openbell:newer") as upgraded:
        await quiet(upgraded, 1.0)
        after = await raised(world)
        assert after["metadata"]["generation"] == before["metadata"]["generation"]
        await world.patch("TradingScheduler", "alpha", {"spec": {"runner": {"image": "mine:1"}}})
        await world.until("Deployment", "alpha-runner", lambda obj: obj and image(obj) == "mine:1")
        await world.patch("TradingScheduler", "alpha", {"spec": {"runner": {"image": ""}}})
        await world.until("Deployment", "alpha-runner", lambda obj: obj and image(obj) == "openbell:newer")


STRATEGY = {"schedulerRef": {"name": "alpha"}, "type": "Momentum", "symbols": ["AAPL", "MSFT", "IBM"]}


async def test_a_strategy_is_told_what_is_wrong_and_picked_up_when_its_scheduler_appears(world: World) -> None:
    async with operating(world):
        await world.create("Strategy", "mom", spec=STRATEGY)
        message = await world.condition("Strategy", "mom", "Accepted", "False", "SchedulerNotFound")
        assert message == f"there is no TradingScheduler alpha in {world.namespace}"
        await scheduler(world)
        await world.condition("Strategy", "mom", "Accepted", "True", "Accepted")
        await world.until(
            "TradingScheduler",
            "alpha",
            lambda obj: obj and obj.get("status", {}).get("strategies", {}).get("summary") == "1/1",
        )
        await world.patch("Strategy", "mom", {"spec": {"parameters": {"lookbak": 3}}})
        message = await world.condition("Strategy", "mom", "Accepted", "False", "InvalidParameters")
        assert "spec.parameters.lookbak" in message
        strategy = await world.get("Strategy", "mom")
        assert condition_of(strategy, "Accepted")["observedGeneration"] == 2
        assert (strategy or {})["status"]["symbols"] == "AAPL, MSFT +1"


async def test_a_second_scheduler_on_an_account_waits_until_the_first_is_gone(world: World) -> None:
    broker = {"type": "IBKR", "ibkr": {"host": "gw", "account": "DU1"}}
    async with operating(world):
        await scheduler(world, "first", broker=broker)
        await raised(world, "first-runner")
        await asyncio.sleep(1.1)  # creation times count whole seconds
        await scheduler(world, "second", broker=broker)
        message = await world.condition("TradingScheduler", "second", "Stalled", "True", "AccountInUse")
        assert f"{world.namespace}/first" in message
        assert replicas(await world.until("Deployment", "second-runner", bool)) == 0
        await world.delete("TradingScheduler", "first")
        await raised(world, "second-runner")


async def test_a_lost_volume_is_replaced_only_after_a_person_has_said_so(world: World) -> None:
    async with operating(world):
        await scheduler(world)
        await raised(world)
        await world.patch_status("TradingScheduler", "alpha", {"runner": {"epoch": 5}})
        # Nothing here would end the protection that the API server puts on claims.
        await world.patch("PersistentVolumeClaim", "alpha-journal", {"metadata": {"finalizers": None}})
        await world.delete("PersistentVolumeClaim", "alpha-journal")
        message = await world.condition("TradingScheduler", "alpha", "Stalled", "True", "VolumeMissing")
        assert message.endswith("openbell.dev/confirm-journal-loss=5")
        await world.until("Deployment", "alpha-runner", lambda obj: replicas(obj) == 0)
        assert await world.get("PersistentVolumeClaim", "alpha-journal") is None
        confirmed = {"metadata": {"annotations": {"openbell.dev/confirm-journal-loss": "5"}}}
        await world.patch("TradingScheduler", "alpha", confirmed)
        await world.until("PersistentVolumeClaim", "alpha-journal", bool)
        await raised(world)


async def test_a_volume_grows_and_follows_the_retain_policy(world: World) -> None:
    def size(obj: Object) -> str:
        return str(obj["spec"]["resources"]["requests"]["storage"])

    async with operating(world):
        await scheduler(world, runner={"storage": {"className": "fast"}})
        await raised(world)
        claim = await world.until("PersistentVolumeClaim", "alpha-journal", bool)
        assert claim["spec"]["storageClassName"] == "fast"
        edit = {"runner": {"retain": "Delete", "storage": {"className": "slow"}}}
        await world.patch("TradingScheduler", "alpha", {"spec": edit})
        owned = await world.until(
            "PersistentVolumeClaim", "alpha-journal", lambda obj: obj and obj["metadata"].get("ownerReferences")
        )
        assert owned["spec"]["storageClassName"] == "fast"
        await world.patch("TradingScheduler", "alpha", {"spec": {"runner": {"retain": "Keep"}}})
        kept = await world.until(
            "PersistentVolumeClaim", "alpha-journal", lambda obj: obj and not obj["metadata"].get("ownerReferences")
        )
        assert size(kept) == "1Gi"


async def test_deleting_lets_go_at_once_unless_positions_are_to_be_closed_first(world: World) -> None:
    async with operating(world):
        await scheduler(world, "keep")
        await raised(world, "keep-runner")
        await world.delete("TradingScheduler", "keep")
        await world.until("TradingScheduler", "keep", lambda obj: obj is None, REPAIR_SECONDS)

        await scheduler(world, stopPolicy={"positions": "Flatten"})
        await raised(world)
        await world.until("TradingScheduler", "alpha", lambda obj: obj and obj["metadata"].get("finalizers"))
        await pod(world)
        await world.patch_status("TradingScheduler", "alpha", {"runner": {"epoch": 1, "observedGeneration": 1}})
        await world.delete("TradingScheduler", "alpha")
        ending = await world.until(
            "TradingScheduler", "alpha", lambda obj: obj and obj["metadata"].get("deletionTimestamp")
        )
        generation = ending["metadata"]["generation"]
        await asyncio.sleep(1.0)
        assert await world.get("TradingScheduler", "alpha") is not None
        done = {"state": "Stopped", "runner": {"observedGeneration": generation}, "positions": {"open": 0}}
        await world.patch_status("TradingScheduler", "alpha", done)
        await world.until("TradingScheduler", "alpha", lambda obj: obj is None, REPAIR_SECONDS)


async def test_the_finalizer_goes_when_the_policy_does(world: World) -> None:
    async with operating(world):
        await scheduler(world, stopPolicy={"positions": "Flatten"})
        await world.until("TradingScheduler", "alpha", lambda obj: obj and obj["metadata"].get("finalizers"))
        await world.patch("TradingScheduler", "alpha", {"spec": {"stopPolicy": {"positions": "Keep"}}})
        await world.until("TradingScheduler", "alpha", lambda obj: obj and not obj["metadata"].get("finalizers"))


async def test_a_silent_runner_becomes_unknown_and_speaks_for_itself_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "LEASE_DURATION_SECONDS", 2.0)
    renewals = (f"2026-11-24T00:00:{second:02d}.000000Z" for second in itertools.count())
    async with operating(world):
        await scheduler(world)
        await raised(world)
        await world.until("Lease", "alpha-runner", bool)
        for _ in range(2):
            await world.patch("Lease", "alpha-runner", {"spec": {"holderIdentity": "pod", "renewTime": next(renewals)}})
            await asyncio.sleep(0.3)
        await world.condition("TradingScheduler", "alpha", "Paused", "Unknown", "RunnerUnreachable")
        await world.patch("Lease", "alpha-runner", {"spec": {"renewTime": next(renewals)}})
        await world.until(
            "TradingScheduler",
            "alpha",
            lambda obj: condition_of(obj, "Paused").get("reason") != "RunnerUnreachable",
        )


async def test_one_event_tells_each_turn(world: World) -> None:
    async with operating(world) as operator:
        await scheduler(world, **LIVE)
        await world.condition("TradingScheduler", "alpha", "Stalled", "True", "LiveNotAllowed")
        await quiet(operator, 1.0)
        await world.patch("TradingScheduler", "alpha", {"metadata": {"annotations": {"x": "y"}}})
        await quiet(operator, 1.0)
        assert await events(world) == [("Warning", "LiveNotAllowed")] * 2  # of Ready and of Stalled


async def test_live_needs_the_charts_word_too_and_its_runner_is_told_the_account(world: World) -> None:
    async with operating(world):
        await scheduler(world, **LIVE)
        message = await world.condition("TradingScheduler", "alpha", "Stalled", "True", "LiveNotAllowed")
        assert "allowLiveTrading, which is false" in message
        assert replicas(await world.until("Deployment", "alpha-runner", bool)) == 0
        assert "OPENBELL_ALLOW_LIVE" not in environment(await world.get("Deployment", "alpha-runner"))
    async with operating(world, allow_live=True):
        await raised(world)
        assert environment(await world.get("Deployment", "alpha-runner"))["OPENBELL_ALLOW_LIVE"] == "U1"


async def test_a_pod_template_that_the_api_refuses_is_told_and_can_be_mended(world: World) -> None:
    async with operating(world):
        wrong = {"spec": {"containers": [{"name": "runner", "imagePullPolicy": "Sometimes"}]}}
        await scheduler(world, runner={"podTemplate": wrong})
        message = await world.condition("TradingScheduler", "alpha", "Stalled", "True", "ApplyRefused")
        assert "imagePullPolicy" in message
        await world.patch("TradingScheduler", "alpha", {"spec": {"runner": {"podTemplate": None}}})
        await raised(world)


async def test_two_operators_do_not_work_at_once_and_the_second_takes_over_at_once(world: World) -> None:
    async with operating(world, identity="one"):
        other = asyncio.create_task(_second(world))
        await asyncio.sleep(2.0)
        assert not other.done()
        lease = await world.until("Lease", "openbell-operator", bool)
        assert lease["spec"]["holderIdentity"] == "one"
    assert await asyncio.wait_for(other, 10) == "two"


async def test_a_lease_that_is_taken_ends_the_process_with_one_line(world: World) -> None:
    with capture_logs() as logs:
        async with operating(world):
            thief = {"spec": {"holderIdentity": "thief"}}
            assert (await world.patch("Lease", "openbell-operator", thief)).status == 200
            async with asyncio.timeout(10):
                while not world.ended:  # noqa: ASYNC110 - a process that ends tells nobody
                    await asyncio.sleep(0.05)
    assert world.ended == [1]
    told = [each for each in logs if each["log_level"] in ("warning", "error", "critical")]
    assert [each["event"] for each in told] == ["operator.lost_leadership"]
    assert told[0]["why"] == "the lease was taken by thief"


async def test_the_first_write_after_the_deadline_ends_the_process_and_no_other_follows(world: World) -> None:
    for name in ("alpha", "beta", "gamma"):
        await scheduler(world, name)
    with capture_logs() as logs:
        async with operating(world) as operator:
            await raised(world, "gamma-runner")
            await quiet(operator)
            before = await world.writes()
            operator._elector.boot_time = lambda: boot_time() + 60  # as after a minute without a turn
            for name in ("alpha", "beta", "gamma"):
                await world.delete("Role", f"{name}-runner")
            async with asyncio.timeout(10):
                while not world.ended:  # noqa: ASYNC110 - a process that ends tells nobody
                    await asyncio.sleep(0.01)
            assert await world.writes() - before == 3  # the deletions above
    assert world.ended == [1]
    told = [each for each in logs if each["log_level"] in ("warning", "error", "critical")]
    assert [each["event"] for each in told] == ["operator.lost_leadership"]


async def test_a_namespace_that_is_ending_is_left_in_peace(world: World) -> None:
    with capture_logs() as logs:
        async with operating(world) as operator:
            await scheduler(world)
            await world.create("Strategy", "mom", spec=STRATEGY)
            await world.condition("Strategy", "mom", "Accepted", "True", "Accepted")
            await raised(world)
            await quiet(operator)
            retries = operator.metrics.retries._value.get()
            path = f"/api/v1/namespaces/{world.namespace}"
            assert (await asyncio.to_thread(world.server.request, "DELETE", path)).status == 200
            await world.delete("Service", "alpha-api")
            await world.patch("Strategy", "mom", {"spec": {"parameters": {"nonsense": 1}}})
            await world.condition("Strategy", "mom", "Accepted", "False", "InvalidParameters")
            await quiet(operator, 2.0)
            refusals = requests_of(operator, "PATCH", "403")
            assert refusals >= 1  # of a new service, at each event in the namespace
            assert operator.metrics.retries._value.get() == retries
            await quiet(operator, 1.0)
            assert requests_of(operator, "PATCH", "403") == refusals  # and not again by itself
            assert requests_of(operator, "POST", "403") == 1  # the Event of the strategy
            assert operator.metrics.events_lost._value.get() == 0
            stalled = condition_of(await world.get("TradingScheduler", "alpha"), "Stalled")
            assert stalled["status"] == "False"
    assert [each for each in logs if each["log_level"] not in ("debug", "info")] == []


async def test_an_object_that_has_gone_meanwhile_is_not_tried_again(world: World) -> None:
    with capture_logs() as logs:
        async with operating(world) as operator:
            made = await scheduler(world)
            await raised(world)
            metadata = made["metadata"] | {"name": "ghost", "uid": str(uuid.uuid4())}
            operator.cache.observe(TRADING_SCHEDULERS, made | {"metadata": metadata, "status": {}})
            operator.queue.add(Key("TradingScheduler", world.namespace, "ghost"))
            await quiet(operator, 2.0)
            assert requests_of(operator, "PATCH", "404") == 1
            assert operator.metrics.retries._value.get() == 0
    assert [each for each in logs if each["log_level"] not in ("debug", "info")] == []


async def _second(world: World) -> str:
    async with operating(world, identity="two"):
        lease = await world.until("Lease", "openbell-operator", bool)
        return str(lease["spec"]["holderIdentity"])
