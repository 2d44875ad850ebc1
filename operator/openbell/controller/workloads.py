"""What a runner lives in: its volume, its Deployment with the one way up from 0 to 1, and its token."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from openbell.controller.cache import Cache, Name
from openbell.controller.children import FIELD_MANAGER, VOLUME_MANAGER, Children
from openbell.controller.desired.children import sealed
from openbell.controller.desired.network import token_secret
from openbell.controller.desired.owner import CONFIRM_ANNOTATION, Owner
from openbell.controller.desired.storage import volume_claim, volume_upkeep
from openbell.controller.desired.workload import IMAGE_ANNOTATION, deployment
from openbell.controller.diff import larger_quantity
from openbell.controller.rollout import RolloutFacts, decide_rollout, pods_alive
from openbell.controller.status import Cause
from openbell.domain.errors import ClusterError
from openbell.domain.state import TradingState
from openbell.kube.client import KubeClient
from openbell.kube.resources import DEPLOYMENTS, PODS, SERVICE_ACCOUNTS, VOLUME_CLAIMS, Object
from openbell.resources.policies import StoppedPositions, StoppedRunner
from openbell.resources.scheduler import SchedulerSpec


class Workloads:
    """Keeps them as they should be. Its memories may be lost: they only save questions."""

    def __init__(
        self,
        client: KubeClient,
        cache: Cache,
        children: Children,
        runner_image: str,
        allow_live: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._cache, self._children = client, cache, children
        self._runner_image, self._allow_live, self._monotonic = runner_image, allow_live, monotonic
        self._images: dict[Name, str] = {}
        self._stops: dict[Name, float] = {}
        self._tokens_tried: dict[Name, str] = {}

    def forget(self, name: Name) -> None:
        """The scheduler is gone."""
        for memory in (self._images, self._stops, self._tokens_tried):
            memory.pop(name, None)

    async def drop_unwanted(self, owner: Owner, spec: SchedulerSpec) -> None:
        """The service account that we made, when the spec now names another."""
        if not spec.runner.service_account_name:
            return
        account = self._cache.get(SERVICE_ACCOUNTS, (owner.namespace, owner.runner))
        if account is None or account["metadata"].get("deletionTimestamp"):
            return
        if any(each["uid"] == owner.uid for each in account["metadata"].get("ownerReferences", [])):
            await self._client.delete(SERVICE_ACCOUNTS, owner.namespace, owner.runner, uid=account["metadata"]["uid"])

    async def volume(self, owner: Owner, spec: SchedulerSpec, obj: Object) -> Cause | None:
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

    async def run(
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
                stop_acknowledged=has_stopped(obj),
                must_flatten=spec.stop_policy.positions is StoppedPositions.FLATTEN,
                stop_waited_seconds=self._stop_waited(name, spec),
            )
        )
        image = self._image(name, spec, live, current)
        if live is None or (rollout.wants_raise and not current):
            await self._create_token(owner, spec)
        await self._children.ensure(self._deployment(owner, spec, image, rollout.replicas))
        if not rollout.wants_raise:
            return rollout.progress
        # A live list, not the cache: what the cache has not heard of yet may be a pod that still trades.
        pods, _ = await self._client.list(PODS, owner.namespace, labels=owner.pod_selector())
        alive = pods_alive(pods)
        if alive:
            return Cause("WaitingForPod", f"the pod {alive[0]} must have ended before another may start")
        await self._children.ensure(self._deployment(owner, spec, image, 1))
        return None

    def _deployment(self, owner: Owner, spec: SchedulerSpec, image: str, replicas: int) -> Object:
        return sealed(deployment(owner, spec, image=image, replicas=replicas, allow_live=self._allow_live))

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
        self._images[name] = kept or self._runner_image
        return self._images[name]

    async def _create_token(self, owner: Owner, spec: SchedulerSpec) -> None:
        if spec.api.auth.value != "Token":
            return
        try:
            await self._client.create(token_secret(owner, secrets.token_urlsafe(32)), field_manager=FIELD_MANAGER)
        except ClusterError as error:
            if error.status != 409:
                raise

    async def token_again(self, name: Name, owner: Owner, spec: SchedulerSpec) -> None:
        """A pod that is placed but does not start may miss its token Secret, which we may not read: create it, once."""
        for pod in self._cache.of_scheduler(PODS, name):
            status = pod.get("status") or {}
            is_held_up = status.get("phase") == "Pending" and status.get("node") is not None
            if is_held_up and self._tokens_tried.get(name) != pod["metadata"]["uid"]:
                self._tokens_tried[name] = pod["metadata"]["uid"]
                await self._create_token(owner, spec)


def has_stopped(obj: Object) -> bool:
    """Whether the runner says that it has stopped, for this very generation; one that never led has nothing to stop."""
    status = obj.get("status") or {}
    if not (status.get("runner") or {}).get("epoch"):
        return True
    acknowledged = runner_generation(obj) >= obj["metadata"]["generation"]
    return acknowledged and status.get("state") == TradingState.STOPPED.value


def runner_generation(obj: Object) -> int:
    """The generation that the runner says it acts by."""
    return int(((obj.get("status") or {}).get("runner") or {}).get("observedGeneration") or 0)
