"""What the resources ask of this runner, understood: each strategy with its settings, parameters and problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from openbell.domain.errors import ManifestError
from openbell.domain.state import TradingState
from openbell.journal import StoredParameters
from openbell.resources.effective import StrategySettings, effective_settings
from openbell.resources.load import Manifest
from openbell.resources.policies import PausedExits, PausedOrders, StoppedPositions
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.strategy import StrategySpec, StrategyType
from openbell.runner.custom import CustomParams, CustomStrategy
from openbell.runner.entry import Code, Refusal, StrategyEntry
from openbell.runner.source import Observed
from openbell.runner.sources import ConfigMaps, SourceMissingError, SourceUnreadError, code_of, named_by
from openbell.runner.supervisor import Wanted
from openbell.strategies.loader import parameters_hash, strategy_for, validate_parameters


@dataclass(frozen=True, slots=True)
class Control:
    """Everything that the newest resources ask for. `refused` has one sentence for each strategy that cannot run."""

    scheduler: Manifest
    spec: SchedulerSpec
    entries: Mapping[str, StrategyEntry]
    refused: Mapping[str, str]
    is_deleting: bool = False
    is_stale: bool = False
    config_maps: ConfigMaps = field(default_factory=lambda: ConfigMaps({}))

    @property
    def generation(self) -> int:
        return self.scheduler.generation

    def strategy_states(self) -> dict[str, TradingState]:
        """What each strategy asks for by itself."""
        return {name: entry.spec.asked_state() for name, entry in self.entries.items()}

    def entry_of(self, manifest: Manifest) -> StrategyEntry:
        """A strategy under this scheduler. Raises ManifestError where it cannot run."""
        return _entry(manifest, self.spec, None, self.config_maps)

    def entry_of_new(self, manifest: Manifest) -> StrategyEntry:
        """The same for one that was just made: its ConfigMap, where nothing has named it before, is not known yet."""
        name, known = named_by(manifest), self.config_maps
        if name is not None and name not in known.texts:
            known = replace(known, unread=known.unread | {name})
        return _entry(manifest, self.spec, None, known)


def wanted_of(observed: Observed) -> Wanted | None:
    """What the supervisor is to carry out, from the scheduler alone: the gate does not wait for its strategies.

    A scheduler that is being deleted is stopped.
    """
    if observed.scheduler is None or not isinstance(observed.scheduler.spec, SchedulerSpec):
        return None
    spec = observed.scheduler.spec
    return Wanted(
        generation=observed.scheduler.generation,
        state=TradingState.STOPPED if observed.is_deleting else spec.asked_state(),
        cancel_entries=spec.pause_policy.open_orders is PausedOrders.CANCEL_ENTRIES,
        flatten=spec.stop_policy.positions is StoppedPositions.FLATTEN,
        halt_exits_while_paused=spec.pause_policy.exits is PausedExits.HALT,
        kill=spec.risk.kill_switch,
    )


def understand(observed: Observed, last_good: Mapping[str, StoredParameters]) -> Control | None:
    """Resolve what was read; None while there is no scheduler.

    A strategy whose parameters are wrong goes on with the last good ones of the same type, and says so.
    """
    if observed.scheduler is None or not isinstance(observed.scheduler.spec, SchedulerSpec):
        return None
    spec = observed.scheduler.spec
    entries: dict[str, StrategyEntry] = {}
    refused: dict[str, str] = {}
    for name, manifest in sorted(observed.strategies.items()):
        try:
            entries[name] = _entry(manifest, spec, last_good.get(name), observed.config_maps)
        except ManifestError as error:
            refused[name] = str(error)
    return Control(
        scheduler=observed.scheduler,
        spec=spec,
        entries=MappingProxyType(entries),
        refused=MappingProxyType(refused),
        is_deleting=observed.is_deleting,
        is_stale=observed.is_stale,
        config_maps=observed.config_maps,
    )


def _entry(
    manifest: Manifest, scheduler: SchedulerSpec, stored: StoredParameters | None, config_maps: ConfigMaps
) -> StrategyEntry:
    spec = manifest.spec
    if not isinstance(spec, StrategySpec):
        raise ManifestError(f"{manifest.kind} {manifest.name} is no Strategy")
    if spec.type is StrategyType.CUSTOM:
        return _custom(manifest, spec, effective_settings(scheduler, spec), stored, config_maps)
    problem = ""
    try:
        parameters = validate_parameters(spec.type.value, spec.parameters)
    except ManifestError as error:
        if stored is None or stored.type != spec.type.value:
            raise
        parameters = validate_parameters(stored.type, stored.parameters)
        problem = f"the last good parameters stay in force: {error}"
    return StrategyEntry(
        name=manifest.name,
        generation=manifest.generation,
        spec=spec,
        settings=effective_settings(scheduler, spec),
        strategy=strategy_for(spec.type.value),
        parameters=parameters,
        parameters_hash=parameters_hash(parameters),
        problem=problem,
    )


def _custom(
    manifest: Manifest,
    spec: StrategySpec,
    settings: StrategySettings,
    stored: StoredParameters | None,
    config_maps: ConfigMaps,
) -> StrategyEntry:
    """A custom strategy as far as it is known without loading its class: the parameters are checked by that."""
    code: Code | None = None
    refusal: Refusal | None = None
    problem = ""
    try:
        code = code_of(spec, manifest.namespace, config_maps)
    except SourceUnreadError as error:
        problem = str(error)
    except SourceMissingError as error:
        refusal = Refusal("SourceNotFound", str(error))
    parameters = CustomParams.model_validate(spec.parameters)
    return StrategyEntry(
        name=manifest.name,
        generation=manifest.generation,
        spec=spec,
        settings=settings,
        strategy=CustomStrategy(),
        parameters=parameters,
        parameters_hash=parameters_hash(parameters),
        problem=problem,
        code=code,
        refusal=refusal,
        fallback=stored.parameters if stored is not None and stored.type == StrategyType.CUSTOM.value else None,
    )
