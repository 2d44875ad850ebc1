"""What a backtest needs: the manifests as a runner understands them, the bars, the range, the terms of the venue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType

from openbell.brokers.simulated.desk import VenueSettings
from openbell.domain.errors import ManifestError
from openbell.market.recorded import RecordedBars
from openbell.resources import scheduler
from openbell.resources.load import Manifest, load_file
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.strategy import StrategySpec
from openbell.runner.assembly import calendar_of, find_dataset, splits_of, venue_settings
from openbell.runner.control import Control, understand
from openbell.runner.source import Observed


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that a backtest depends on. `source` names the bars, for people."""

    control: Control
    recorded: RecordedBars
    venue: VenueSettings
    start: date
    end: date
    source: str = ""

    @property
    def hours_only(self) -> bool:
        """Whether the session's close counts."""
        return self.control.spec.market.hours_only


def prepare(
    files: Sequence[Path],
    *,
    bars: Path | None = None,
    datasets: Sequence[Path] = (),
    start: date | None = None,
    end: date | None = None,
) -> Setup:
    """Read manifests and bars. `bars`, `start` and `end` outweigh what the manifest's replay names.

    Raises ManifestError with one sentence for the first thing that is wrong.
    """
    control = _control(files)
    spec = control.spec
    replay = spec.market_data.replay
    if bars is None and replay is None:
        raise ManifestError(
            f"spec.marketData.type is {spec.market_data.type.value}; name a file of bars with --bars, "
            "or a replay's in the manifest"
        )
    path = bars or find_dataset(spec, datasets)
    calendar = calendar_of(spec.market)
    recorded = RecordedBars.load(path, calendar, splits_of(replay) if replay and bars is None else ())
    if replay is not None and bars is None:
        start = start or date.fromisoformat(str(replay.from_date))
        end = end or date.fromisoformat(str(replay.to_date))
    start, end = start or recorded.first, end or recorded.last
    if start > end:
        raise ManifestError(f"the range is from {start} to {end}; it must not end before it begins")
    if not recorded.first <= start <= end <= recorded.last:
        raise ManifestError(
            f"the range is from {start} to {end}; {path.name} has bars from {recorded.first} to {recorded.last}"
        )
    return assemble(control, recorded, start, end, source=path.name)


def assemble(control: Control, recorded: RecordedBars, start: date, end: date, *, source: str = "") -> Setup:
    """A setup of parts. Raises ManifestError where a strategy asks for bars that the recording does not have."""
    for name, entry in control.entries.items():
        if entry.is_custom:
            raise ManifestError(
                f"Strategy {name}: spec.type is Custom; a backtest runs no class of your own, for it has no process to "
                "keep it apart in; with spec.marketData.type Replay, openbell run replays it"
            )
        needs = entry.strategy.data(entry.parameters, entry.settings.bar_seconds)
        if needs.bar_seconds != recorded.bar_seconds:
            raise ManifestError(
                f"Strategy {name}: spec.barSeconds is {needs.bar_seconds}; "
                f"the recorded bars are of {recorded.bar_seconds} s"
            )
        for symbol in entry.spec.symbols:
            if symbol not in recorded.symbols:
                raise ManifestError(
                    f"Strategy {name}: spec.symbols has {symbol}; the recorded bars have {', '.join(recorded.symbols)}"
                )
    venue = venue_settings(control.spec, recorded.calendar, lambda symbol: symbol in recorded.symbols)
    return Setup(control, recorded, venue, start, end, source)


def _control(files: Sequence[Path]) -> Control:
    found = [manifest for path in files for manifest in load_file(path)]
    schedulers = [manifest for manifest in found if manifest.kind == scheduler.KIND]
    if len(schedulers) != 1:
        names = ", ".join(manifest.name for manifest in schedulers) or "none"
        raise ManifestError(f"the files have {len(schedulers)} schedulers ({names}); a backtest has exactly one")
    return control_of(schedulers[0], [manifest for manifest in found if manifest.kind != scheduler.KIND])


def control_of(main: Manifest, strategies: Sequence[Manifest]) -> Control:
    """Manifests as a runner understands them. Raises ManifestError for the first that is wrong."""
    by_name: dict[str, Manifest] = {}
    for manifest in strategies:
        if not isinstance(manifest.spec, StrategySpec) or manifest.spec.scheduler_ref.name != main.name:
            refers = manifest.spec.scheduler_ref.name if isinstance(manifest.spec, StrategySpec) else "nothing"
            raise ManifestError(
                f"Strategy {manifest.name}: spec.schedulerRef.name is {refers!r}; the scheduler here is {main.name}"
            )
        if manifest.name in by_name:
            raise ManifestError(f"the files have two strategies called {manifest.name!r}; a name is given once")
        by_name[manifest.name] = manifest
    control = understand(Observed(main, MappingProxyType(by_name)), {})
    if control is None or not isinstance(main.spec, SchedulerSpec):
        raise ManifestError(f"{main.kind} {main.name} is no TradingScheduler")
    for name, why in control.refused.items():
        raise ManifestError(f"Strategy {name}: {why}")
    if not control.entries:
        raise ManifestError(f"no strategy points at the scheduler {main.name}")
    return control
