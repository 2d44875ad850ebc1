"""One strategy: whether it is accepted, and why not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from openbell.controller.cache import Cache, Name
from openbell.controller.desired.owner import CANARY_LABEL
from openbell.controller.parameters import parameters_schema, validate_parameters
from openbell.controller.saying import StatusWriter
from openbell.controller.status import Cause, StrategyFacts, refused_by_runner, strategy_status
from openbell.domain.errors import ManifestError
from openbell.domain.state import asked_state
from openbell.kube.resources import STRATEGIES, TRADING_SCHEDULERS, Object
from openbell.resources.conditions import conditions_of, find_condition
from openbell.resources.effective import effective_settings
from openbell.resources.load import parse_spec
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.strategy import StrategySpec, StrategyType


class Strategies:
    """Judges strategies by what the cache knows of them and of their schedulers."""

    def __init__(
        self, cache: Cache, statuses: StatusWriter, now: Callable[[], datetime], wake: Callable[[Name], None]
    ) -> None:
        self._cache, self._statuses, self._now, self._wake = cache, statuses, now, wake

    async def reconcile(self, name: Name) -> None:
        """Say how it stands; its scheduler, which counts it, is woken where that has changed."""
        obj = self._cache.get(STRATEGIES, name)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return
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
        written = await self._statuses.write(obj, status)
        if written is not obj:
            # The cache knows our own write before its event comes, so that event will not wake who counts it.
            scheduler = self._cache.scheduler_name(STRATEGIES, name)
            if scheduler is not None:
                self._wake((name[0], scheduler))

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


def strategy_facts(obj: Object) -> StrategyFacts:
    """What its scheduler counts of it."""
    spec = obj.get("spec") or {}
    conditions = conditions_of(obj)
    accepted = find_condition(conditions, "Accepted")
    failed = find_condition(conditions, "Failed")
    return StrategyFacts(
        asked=asked_state(bool(spec.get("enabled", True)), bool(spec.get("paused"))),
        is_accepted=accepted is None or accepted.is_true,
        has_failed=failed is not None and failed.is_true,
    )
