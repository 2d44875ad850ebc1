"""One scheduler or strategy, from what is to what should be: read, compute, apply the difference, say how it stands."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import structlog

from openbell.controller.accounts import Accounts, account_of
from openbell.controller.cache import Cache, Name
from openbell.controller.children import FIELD_MANAGER, Children
from openbell.controller.deletion import DeletionFacts, decide_deletion
from openbell.controller.desired.access import named_config_maps
from openbell.controller.desired.children import surroundings
from openbell.controller.desired.owner import CANARY_LABEL, FINALIZER, Owner
from openbell.controller.ending import is_expected
from openbell.controller.handover import borrowed_of
from openbell.controller.metrics import OperatorMetrics
from openbell.controller.recorder import Recorder
from openbell.controller.rollout import is_rolled_out, pods_alive, trouble_of
from openbell.controller.saying import StatusWriter
from openbell.controller.settings import OperatorSettings
from openbell.controller.silence import LeaseWatch, Verdict
from openbell.controller.stall import stall_of
from openbell.controller.status import (
    UNREACHABLE,
    Cause,
    SchedulerFacts,
    first_status,
    scheduler_status,
)
from openbell.controller.strategies import Strategies, strategy_facts
from openbell.controller.workloads import Workloads, has_stopped, runner_generation
from openbell.domain.errors import ClusterError, ManifestError
from openbell.domain.state import asked_state
from openbell.kube.client import KubeClient
from openbell.kube.resources import (
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    STRATEGIES,
    TRADING_SCHEDULERS,
    Object,
)
from openbell.resources.conditions import Condition, conditions_of, find_condition
from openbell.resources.load import parse_spec
from openbell.resources.policies import StoppedPositions
from openbell.resources.scheduler import SchedulerSpec

RETRY_REFUSED_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 5.0
RUNNER_PATIENCE_SECONDS = 2.0
"""How long a runner has to act on a new generation before Ready says that it has not."""
REFUSALS = frozenset({400, 403, 422})

log = structlog.get_logger("openbell.controller")


class Key(NamedTuple):
    """What the work queue holds."""

    kind: str
    namespace: str
    name: str


class Reconciler:
    """Knows the cluster by its cache and changes it by its client. Keeps only memories that may be lost."""

    def __init__(
        self,
        client: KubeClient,
        cache: Cache,
        settings: OperatorSettings,
        *,
        leases: LeaseWatch,
        recorder: Recorder,
        metrics: OperatorMetrics,
        now: Callable[[], datetime],
        on_canary: Callable[[Object], None],
        enqueue: Callable[[Key], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._cache, self._settings = client, cache, settings
        self._leases, self._recorder, self._metrics = leases, recorder, metrics
        self._now, self._monotonic, self._on_canary, self._enqueue = now, monotonic, on_canary, enqueue
        self._children = Children(client, cache, metrics)
        self._accounts = Accounts()
        self._workloads = Workloads(
            client, cache, self._children, settings.runner_image, settings.allow_live, monotonic
        )
        self._statuses = StatusWriter(client, cache, recorder, metrics)
        self._strategies = Strategies(cache, self._statuses, now, self._wake)
        self._generations: dict[Name, tuple[int, float]] = {}

    async def reconcile(self, key: Key) -> float | None:
        """In how many seconds to come again, or None. Raises ClusterError, after which the queue backs off.

        What a deletion has overtaken is done: the deletion's own event brings what is left to do.
        """
        try:
            return await self._reconcile(key)
        except ClusterError as error:
            if not is_expected(error):
                raise
            log.debug("reconcile.needless", **key._asdict(), error=str(error))
            return None

    async def _reconcile(self, key: Key) -> float | None:
        name = (key.namespace, key.name)
        if key.kind == STRATEGIES.kind:
            await self._strategies.reconcile(name)
            return None
        obj = self._cache.get(TRADING_SCHEDULERS, name)
        if obj is None:
            self._forget(name)
            return None
        if CANARY_LABEL in obj["metadata"].get("labels", {}):
            self._on_canary(obj)
            return None
        return await self._scheduler(name, obj)

    def _forget(self, name: Name) -> None:
        self._workloads.forget(name)
        self._generations.pop(name, None)
        for other in self._accounts.claim(name, None, "", ""):
            self._wake(other)

    def _wake(self, name: Name) -> None:
        self._enqueue(Key(TRADING_SCHEDULERS.kind, *name))

    # -- scheduler -----------------------------------------------------------------------------------------------

    async def _scheduler(self, name: Name, obj: Object) -> float | None:
        metadata = obj["metadata"]
        owner = Owner(metadata["name"], metadata["namespace"], metadata["uid"])
        if metadata.get("deletionTimestamp"):
            return await self._deleted(name, owner, obj)
        if find_condition(conditions_of(obj), "Ready") is None:
            obj = await self._statuses.write(obj, first_status(metadata["generation"], self._now()), tell=False)
        try:
            spec = parse_spec(TRADING_SCHEDULERS.kind, obj.get("spec") or {}, unknown="ignore")
        except ManifestError as error:
            # The runner goes on with what it last understood, so its objects are left as they are.
            return await self._report(name, owner, obj, Cause("InvalidSpec", str(error)), None)
        assert isinstance(spec, SchedulerSpec)  # noqa: S101 - parse_spec gives the model of the kind
        await self._hold_finalizer(owner, obj, wanted=spec.stop_policy.positions is StoppedPositions.FLATTEN)
        stall = self._stall(name, obj, spec)
        progress: Cause | None = None
        try:
            config_maps = named_config_maps(self._cache.of_scheduler(STRATEGIES, name))
            for child in surroundings(owner, spec, config_maps):
                await self._children.ensure(child)
            await self._workloads.drop_unwanted(owner, spec)
            stall = await self._workloads.volume(owner, spec, obj) or stall
            progress = await self._workloads.run(name, owner, spec, obj, is_stalled=stall is not None)
        except ClusterError as error:
            if error.status not in REFUSALS or is_expected(error):
                raise
            stall = Cause("ApplyRefused", str(error)[:1000])
        await self._workloads.token_again(name, owner, spec)
        return await self._report(name, owner, obj, stall, progress)

    def _stall(self, name: Name, obj: Object, spec: SchedulerSpec) -> Cause | None:
        """What keeps a valid scheduler from having a runner."""
        metadata = obj["metadata"]
        account = account_of(obj.get("spec") or {}, metadata["namespace"])
        for other in self._accounts.claim(name, account, metadata["creationTimestamp"], metadata["uid"]):
            self._wake(other)
        return stall_of(spec, account, self._accounts.holder_before(name), allow_live=self._settings.allow_live)

    async def _hold_finalizer(self, owner: Owner, obj: Object, *, wanted: bool) -> None:
        present = FINALIZER in obj["metadata"].get("finalizers", [])
        if wanted is present:
            return
        metadata: dict[str, Any] = {"name": owner.name, "namespace": owner.namespace, "uid": owner.uid}
        if wanted:
            metadata["finalizers"] = [FINALIZER]
        answer = await self._client.apply(
            {"apiVersion": TRADING_SCHEDULERS.api_version, "kind": TRADING_SCHEDULERS.kind, "metadata": metadata},
            field_manager=FIELD_MANAGER,
        )
        self._cache.observe(TRADING_SCHEDULERS, answer)

    # -- status --------------------------------------------------------------------------------------------------

    async def _report(
        self,
        name: Name,
        owner: Owner,
        obj: Object,
        stall: Cause | None,
        progress: Cause | None,
    ) -> float | None:
        obj = self._cache.get(TRADING_SCHEDULERS, name) or obj
        live = conditions_of(obj)
        workload = self._cache.get(DEPLOYMENTS, (owner.namespace, owner.runner))
        pods = list(self._cache.of_scheduler(PODS, name))
        has_runner = workload is not None and bool(workload["spec"].get("replicas"))
        verdict = self._leases.verdict((owner.namespace, owner.runner))
        leading = find_condition(live, "RunnerLeading")
        was_silent = leading is not None and leading.reason == UNREACHABLE
        is_silent = has_runner and (verdict is Verdict.SILENT or (verdict is Verdict.UNSURE and was_silent))
        is_absent = not has_runner and not pods_alive(pods)
        ready = is_rolled_out(workload)
        waits_for_runner = False
        if stall is None and progress is None and has_runner:
            if not ready:
                progress = trouble_of(pods)
            elif is_silent:
                progress = Cause(UNREACHABLE, "the runner has not renewed its lease for a whole lease duration")
            elif runner_generation(obj) < obj["metadata"]["generation"]:
                progress = Cause("RunnerBehind", "the runner has not acted on this generation yet")
                waits_for_runner = True
        patience = self._patience(name, obj, live) if waits_for_runner else 0.0
        if patience > 0:
            # Most edits are the runner's to act on, within milliseconds: one status write instead of two.
            return patience
        asked = asked_state(bool(obj["spec"].get("enabled")), bool(obj["spec"].get("paused")))
        facts = SchedulerFacts(
            generation=obj["metadata"]["generation"],
            asked=asked,
            paused=bool(obj["spec"].get("paused")),
            live=live,
            pod_ready=ready,
            runner_leads=leading is not None and leading.is_true,
            runner_is_silent=is_silent,
            runner_is_absent=is_absent,
            stall=stall,
            progress=progress,
            borrowed=frozenset(kind for kind, is_torn in borrowed_of(obj).items() if is_torn),
            strategies=tuple(strategy_facts(each) for each in self._cache.of_scheduler(STRATEGIES, name)),
        )
        await self._statuses.write(obj, scheduler_status(facts, self._now()))
        if stall is not None and stall.reason == "ApplyRefused":
            return RETRY_REFUSED_SECONDS
        return LOOK_AGAIN_SECONDS if progress is not None and progress.reason in ("WaitingForPod", "Stopping") else None

    def _patience(self, name: Name, obj: Object, live: tuple[Condition, ...]) -> float:
        generation, now = obj["metadata"]["generation"], self._monotonic()
        seen, since = self._generations.get(name, (0, 0.0))
        if seen != generation:
            self._generations[name] = (generation, now)
            since = now
        ready = find_condition(live, "Ready")
        if ready is None or not ready.is_true:
            return 0.0
        return max(0.0, since + RUNNER_PATIENCE_SECONDS - now)

    # -- deletion ------------------------------------------------------------------------------------------------

    async def _deleted(self, name: Name, owner: Owner, obj: Object) -> float | None:
        """Let the scheduler go, at once or, where positions are to be closed first, within bounded time."""
        metadata = obj["metadata"]
        if FINALIZER not in metadata.get("finalizers", []):
            return None
        namespace = await self._client.get(NAMESPACES, None, owner.namespace)
        policy = (obj.get("spec", {}).get("stopPolicy") or {}).get("positions")
        waited = (self._now() - datetime.fromisoformat(metadata["deletionTimestamp"])).total_seconds()
        decision = decide_deletion(
            DeletionFacts(
                must_flatten=policy == StoppedPositions.FLATTEN.value,
                has_pod=bool(pods_alive(self._cache.of_scheduler(PODS, name))),
                ever_ran=bool(((obj.get("status") or {}).get("runner") or {}).get("epoch")),
                is_flat=has_stopped(obj) and not (obj.get("status") or {}).get("openPositions"),
                namespace_is_ending=namespace is None or namespace["metadata"].get("deletionTimestamp") is not None,
                waited_seconds=waited,
            )
        )
        if decision.seconds_left > 0:
            return min(decision.seconds_left, LOOK_AGAIN_SECONDS)
        log.info("scheduler.released", namespace=owner.namespace, name=owner.name, why=decision.why)
        await self._hold_finalizer(owner, obj, wanted=False)
        return None
