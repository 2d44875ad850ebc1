"""One scheduler or strategy, from what is to what should be: read, compute, apply the difference, say how it stands."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import structlog

from openbell.controller.accounts import Accounts, account_of
from openbell.controller.cache import Cache, Name
from openbell.controller.children import FIELD_MANAGER, VOLUME_MANAGER, Children
from openbell.controller.deletion import DeletionFacts, decide_deletion
from openbell.controller.desired.access import named_config_maps
from openbell.controller.desired.children import sealed, surroundings
from openbell.controller.desired.network import token_secret
from openbell.controller.desired.owner import CANARY_LABEL, CONFIRM_ANNOTATION, FINALIZER, Owner
from openbell.controller.desired.storage import volume_claim, volume_upkeep
from openbell.controller.desired.workload import IMAGE_ANNOTATION, deployment
from openbell.controller.diff import larger_quantity
from openbell.controller.ending import is_expected
from openbell.controller.handover import STATUS_MANAGER, borrowed_of, kept_whole
from openbell.controller.metrics import OperatorMetrics
from openbell.controller.parameters import parameters_schema, validate_parameters
from openbell.controller.recorder import Recorder
from openbell.controller.rollout import RolloutFacts, decide_rollout, is_rolled_out, pods_alive, trouble_of
from openbell.controller.settings import OperatorSettings
from openbell.controller.silence import LeaseWatch, Verdict
from openbell.controller.stall import stall_of
from openbell.controller.status import (
    UNREACHABLE,
    Cause,
    SchedulerFacts,
    StrategyFacts,
    first_status,
    refused_by_runner,
    scheduler_status,
    strategy_status,
    turned,
)
from openbell.domain.errors import ClusterError, ManifestError
from openbell.domain.state import TradingState, asked_state
from openbell.kube.client import KubeClient
from openbell.kube.resources import (
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    SERVICE_ACCOUNTS,
    STRATEGIES,
    TRADING_SCHEDULERS,
    VOLUME_CLAIMS,
    Object,
)
from openbell.resources.conditions import RUNNER_CONDITIONS, Condition, conditions_of, find_condition
from openbell.resources.effective import effective_settings
from openbell.resources.load import parse_spec
from openbell.resources.policies import StoppedPositions, StoppedRunner
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.strategy import StrategySpec, StrategyType

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
        self._images: dict[Name, str] = {}
        self._generations: dict[Name, tuple[int, float]] = {}
        self._stops: dict[Name, float] = {}
        self._tokens_tried: dict[Name, str] = {}

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
            return await self._strategy(name)
        obj = self._cache.get(TRADING_SCHEDULERS, name)
        if obj is None:
            self._forget(name)
            return None
        if CANARY_LABEL in obj["metadata"].get("labels", {}):
            self._on_canary(obj)
            return None
        return await self._scheduler(name, obj)

    def _forget(self, name: Name) -> None:
        for memory in (self._images, self._generations, self._stops, self._tokens_tried):
            memory.pop(name, None)
        self._enqueue_others(self._accounts.claim(name, None, "", ""))

    def _enqueue_others(self, names: set[Name]) -> None:
        for namespace, name in names:
            self._enqueue(Key(TRADING_SCHEDULERS.kind, namespace, name))

    # -- scheduler -----------------------------------------------------------------------------------------------

    async def _scheduler(self, name: Name, obj: Object) -> float | None:
        metadata = obj["metadata"]
        owner = Owner(metadata["name"], metadata["namespace"], metadata["uid"])
        if metadata.get("deletionTimestamp"):
            return await self._deleted(name, owner, obj)
        if find_condition(conditions_of(obj), "Ready") is None:
            obj = await self._write_status(obj, first_status(metadata["generation"], self._now()), tell=False)
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
            await self._drop_unwanted(owner, spec)
            stall = await self._volume(owner, spec, obj) or stall
            progress = await self._workload(name, owner, spec, obj, is_stalled=stall is not None)
        except ClusterError as error:
            if error.status not in REFUSALS or is_expected(error):
                raise
            stall = Cause("ApplyRefused", str(error)[:1000])
        await self._token_again(name, owner, spec)
        return await self._report(name, owner, obj, stall, progress)

    def _stall(self, name: Name, obj: Object, spec: SchedulerSpec) -> Cause | None:
        """What keeps a valid scheduler from having a runner."""
        metadata = obj["metadata"]
        account = account_of(obj.get("spec") or {})
        self._enqueue_others(self._accounts.claim(name, account, metadata["creationTimestamp"], metadata["uid"]))
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

    async def _drop_unwanted(self, owner: Owner, spec: SchedulerSpec) -> None:
        """The service account that we made, when the spec now names another."""
        if not spec.runner.service_account_name:
            return
        account = self._cache.get(SERVICE_ACCOUNTS, (owner.namespace, owner.runner))
        if account is None or account["metadata"].get("deletionTimestamp"):
            return
        if any(each["uid"] == owner.uid for each in account["metadata"].get("ownerReferences", [])):
            await self._client.delete(SERVICE_ACCOUNTS, owner.namespace, owner.runner, uid=account["metadata"]["uid"])

    async def _volume(self, owner: Owner, spec: SchedulerSpec, obj: Object) -> Cause | None:
        """Keep the claim; make it once; never silently make it again after a runner has written to it."""
        name = (owner.namespace, owner.volume)
        live = self._cache.get(VOLUME_CLAIMS, name)
        storage, retain = spec.runner.storage, spec.runner.retain
        if live is None:
            found = await self._client.get(VOLUME_CLAIMS, owner.namespace, owner.volume)
            if found is not None:
                self._cache.observe(VOLUME_CLAIMS, found)
                live = found
        if live is None:
            epoch = ((obj.get("status") or {}).get("runner") or {}).get("epoch") or 0
            confirmed = obj["metadata"].get("annotations", {}).get(CONFIRM_ANNOTATION)
            if epoch > 0 and confirmed != str(epoch):
                return Cause(
                    "VolumeMissing",
                    f"the volume claim {owner.volume} with the journal is gone; to go on with an empty one, "
                    f"annotate the scheduler with {CONFIRM_ANNOTATION}={epoch}",
                )
            claim = volume_claim(owner, storage, retain)
            seal = sealed(volume_upkeep(owner, str(storage.size), retain))["metadata"]
            await self._children.ensure(claim | {"metadata": seal}, field_manager=VOLUME_MANAGER)
            return None
        has = ((live.get("spec", {}).get("resources") or {}).get("requests") or {}).get("storage", "0")
        size = larger_quantity(str(storage.size), str(has))  # a claim can grow, never shrink
        await self._children.ensure(sealed(volume_upkeep(owner, size, retain)))
        return None

    async def _workload(
        self, name: Name, owner: Owner, spec: SchedulerSpec, obj: Object, *, is_stalled: bool
    ) -> Cause | None:
        """The Deployment, and the one way up from 0 to 1. What is still under way is the answer."""
        live = self._cache.get(DEPLOYMENTS, (owner.namespace, owner.runner))
        current = None if live is None else int(live["spec"].get("replicas", 0))
        rollout = decide_rollout(
            RolloutFacts(
                is_stalled=is_stalled,
                scale_to_zero=not spec.enabled and spec.stop_policy.runner is StoppedRunner.SCALE_TO_ZERO,
                current=current,
                stop_acknowledged=_has_stopped(obj),
                must_flatten=spec.stop_policy.positions is StoppedPositions.FLATTEN,
                stop_waited_seconds=self._stop_waited(name, spec),
            )
        )
        image = self._image(name, spec, live, current)
        if live is None or (rollout.wants_raise and not current):
            await self._create_token(owner, spec)
        await self._children.ensure(sealed(deployment(owner, spec, image=image, replicas=rollout.replicas)))
        if not rollout.wants_raise:
            return rollout.progress
        # A live list, not the cache: what the cache has not heard of yet may be a pod that still trades.
        pods, _ = await self._client.list(PODS, owner.namespace, labels=owner.pod_selector())
        alive = pods_alive(pods)
        if alive:
            return Cause("WaitingForPod", f"the pod {alive[0]} must have ended before another may start")
        await self._children.ensure(sealed(deployment(owner, spec, image=image, replicas=1)))
        return None

    def _stop_waited(self, name: Name, spec: SchedulerSpec) -> float:
        if spec.enabled:
            self._stops.pop(name, None)
            return 0.0
        return self._monotonic() - self._stops.setdefault(name, self._monotonic())

    def _image(self, name: Name, spec: SchedulerSpec, live: Object | None, current: int | None) -> str:
        """The spec's; else the one that runs, so that an upgrade of the operator restarts nobody; else our own."""
        if spec.runner.image:
            self._images.pop(name, None)
            return spec.runner.image
        kept = ""
        if live is not None and current:
            kept = self._images.get(name) or live["metadata"].get("annotations", {}).get(IMAGE_ANNOTATION, "")
        self._images[name] = kept or self._settings.runner_image
        return self._images[name]

    async def _create_token(self, owner: Owner, spec: SchedulerSpec) -> None:
        if spec.api.auth.value != "Token":
            return
        try:
            await self._client.create(token_secret(owner, secrets.token_urlsafe(32)), field_manager=FIELD_MANAGER)
        except ClusterError as error:
            if error.status != 409:
                raise

    async def _token_again(self, name: Name, owner: Owner, spec: SchedulerSpec) -> None:
        """A pod that is placed but does not start may miss its token Secret, which we may not read: create it, once."""
        for pod in self._cache.of_scheduler(PODS, name):
            status = pod.get("status") or {}
            is_held_up = status.get("phase") == "Pending" and status.get("node") is not None
            if is_held_up and self._tokens_tried.get(name) != pod["metadata"]["uid"]:
                self._tokens_tried[name] = pod["metadata"]["uid"]
                await self._create_token(owner, spec)

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
            elif _runner_generation(obj) < obj["metadata"]["generation"]:
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
            strategies=tuple(_strategy_facts(each) for each in self._cache.of_scheduler(STRATEGIES, name)),
        )
        await self._write_status(obj, scheduler_status(facts, self._now()))
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

    async def _write_status(self, obj: Object, status: dict[str, Any], *, tell: bool = True) -> Object:
        """Apply our part of the status if it is not there already, and tell people what has turned."""
        live_status = obj.get("status") or {}
        live = conditions_of(obj)
        status = status | {"conditions": kept_whole(status["conditions"], obj)}
        for_runner = {each["type"] for each in status["conditions"]} & set(RUNNER_CONDITIONS)
        if _says(live_status, status) and for_runner == set(borrowed_of(obj)):
            return obj
        metadata = {key: obj["metadata"][key] for key in ("name", "namespace", "uid")}
        resource = STRATEGIES if "schedulerRef" in obj.get("spec", {}) else TRADING_SCHEDULERS
        if resource is TRADING_SCHEDULERS and for_runner:
            # Speaking for the runner: only if it has said nothing since we looked.
            metadata["resourceVersion"] = obj["metadata"]["resourceVersion"]
        answer = await self._client.apply(
            {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "status": status},
            field_manager=STATUS_MANAGER,
            subresource="status",
        )
        self._metrics.status_writes.inc()
        self._cache.observe(resource, answer)
        if tell:
            regarding = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
            await self._recorder.tell(regarding, turned(live, status["conditions"]))
        return self._cache.get(resource, (metadata["namespace"], metadata["name"])) or obj

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
                is_flat=_has_stopped(obj) and not (obj.get("status") or {}).get("openPositions"),
                namespace_is_ending=namespace is None or namespace["metadata"].get("deletionTimestamp") is not None,
                waited_seconds=waited,
            )
        )
        if decision.seconds_left > 0:
            return min(decision.seconds_left, LOOK_AGAIN_SECONDS)
        log.info("scheduler.released", namespace=owner.namespace, name=owner.name, why=decision.why)
        await self._hold_finalizer(owner, obj, wanted=False)
        return None

    # -- strategy ------------------------------------------------------------------------------------------------

    async def _strategy(self, name: Name) -> float | None:
        obj = self._cache.get(STRATEGIES, name)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return None
        spec, cause = self._examine(obj)
        status = strategy_status(
            obj["metadata"]["generation"],
            cause.reason == "Accepted",
            cause,
            spec,
            conditions_of(obj),
            self._now(),
            parameters_schema(spec.type.value) if spec is not None and spec.type is not StrategyType.CUSTOM else None,
        )
        written = await self._write_status(obj, status)
        if written is not obj:
            # The cache knows our own write before its event comes, so that event will not wake who counts it.
            scheduler = self._cache.scheduler_name(STRATEGIES, name)
            if scheduler is not None:
                self._enqueue(Key(TRADING_SCHEDULERS.kind, name[0], scheduler))
        return None

    def _examine(self, obj: Object) -> tuple[StrategySpec | None, Cause]:
        """The spec, if it can be read, and why the strategy is accepted or not."""
        try:
            spec = parse_spec(STRATEGIES.kind, obj.get("spec") or {}, unknown="ignore")
        except ManifestError as error:
            return None, Cause("InvalidSpec", str(error))
        assert isinstance(spec, StrategySpec)  # noqa: S101 - parse_spec gives the model of the kind
        if spec.type is StrategyType.CUSTOM:
            refusal = refused_by_runner(conditions_of(obj))
            if refusal is not None:
                return spec, refusal
        else:
            try:
                validate_parameters(spec.type.value, spec.parameters)
            except ManifestError as error:
                return spec, Cause("InvalidParameters", str(error))
        namespace = obj["metadata"]["namespace"]
        scheduler = self._cache.get(TRADING_SCHEDULERS, (namespace, spec.scheduler_ref.name))
        if scheduler is None or CANARY_LABEL in scheduler["metadata"].get("labels", {}):
            return spec, Cause(
                "SchedulerNotFound", f"there is no TradingScheduler {spec.scheduler_ref.name} in {namespace}"
            )
        try:
            base = parse_spec(TRADING_SCHEDULERS.kind, scheduler.get("spec") or {}, unknown="ignore")
        except ManifestError:
            base = None  # the scheduler's own condition says what is wrong with it
        if isinstance(base, SchedulerSpec):
            try:
                effective_settings(base, spec)
            except ManifestError as error:
                return spec, Cause("InvalidSpec", str(error))
        return spec, Cause("Accepted", f"runs on {spec.scheduler_ref.name}")


def _has_stopped(obj: Object) -> bool:
    """Whether the runner says that it has stopped, for this very generation; one that never led has nothing to stop."""
    status = obj.get("status") or {}
    if not (status.get("runner") or {}).get("epoch"):
        return True
    acknowledged = _runner_generation(obj) >= obj["metadata"]["generation"]
    return acknowledged and status.get("state") == TradingState.STOPPED.value


def _runner_generation(obj: Object) -> int:
    return int(((obj.get("status") or {}).get("runner") or {}).get("observedGeneration") or 0)


def _strategy_facts(obj: Object) -> StrategyFacts:
    spec = obj.get("spec") or {}
    conditions = conditions_of(obj)
    accepted = find_condition(conditions, "Accepted")
    failed = find_condition(conditions, "Failed")
    return StrategyFacts(
        asked=asked_state(bool(spec.get("enabled", True)), bool(spec.get("paused"))),
        is_accepted=accepted is None or accepted.is_true,
        has_failed=failed is not None and failed.is_true,
    )


def _says(live: dict[str, Any], status: dict[str, Any]) -> bool:
    """Whether a status already holds all that we would apply."""
    by_type = {each["type"]: each for each in live.get("conditions") or []}
    if any(by_type.get(each["type"]) != each for each in status["conditions"]):
        return False
    return all(live.get(key) == value for key, value in status.items() if key != "conditions")
