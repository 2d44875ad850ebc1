"""The evaluation interval of each strategy: its resource's, or what its symbols' volatility makes of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from openbell.domain.bars import BarSeries
from openbell.engine.pacing import Pace, next_interval, variance_ratio
from openbell.resources.scheduler import SchedulerSpec
from openbell.runner.control import Control
from openbell.runner.entry import StrategyEntry

SeriesKey: TypeAlias = tuple[str, int]
"""Symbol and seconds of a bar."""


@dataclass(slots=True)
class Pacer:
    """Remembers each strategy's interval, which the next one depends on. A restart begins at the resource's own.

    A replay does not use it: it evaluates each bar.
    """

    is_used: bool = True
    _chosen: dict[str, tuple[Pace, int]] = field(default_factory=dict)

    def interval_of(self, spec: SchedulerSpec, entry: StrategyEntry) -> int:
        """Seconds between evaluations of a strategy now. Where its pace was changed it begins at its base again."""
        pace = self._pace_of(spec, entry)
        chosen = self._chosen.get(entry.name)
        if pace is None or chosen is None or chosen[0] != pace:
            return entry.settings.evaluation_interval_seconds
        return chosen[1]

    def is_adaptive(self, spec: SchedulerSpec, entry: StrategyEntry) -> bool:
        """Whether the interval follows the volatility."""
        return self._pace_of(spec, entry) is not None

    def bars_needed(self, spec: SchedulerSpec, entry: StrategyEntry) -> int:
        """Bars that the interval is chosen by; 0 where it does not change."""
        pace = self._pace_of(spec, entry)
        return 0 if pace is None else pace.bars_needed

    def follow(
        self, control: Control, keys: Mapping[str, Iterable[SeriesKey]], read: Mapping[SeriesKey, BarSeries]
    ) -> None:
        """Choose the intervals of these strategies anew by their bars; those that are gone are forgotten."""
        self._chosen = {name: chosen for name, chosen in self._chosen.items() if name in control.entries}
        ratios: dict[SeriesKey, float | None] = {}  # strategies share their symbols
        for name, of_strategy in keys.items():
            entry = control.entries.get(name)
            pace = None if entry is None else self._pace_of(control.spec, entry)
            if entry is None or pace is None:
                continue
            known = [key for key in of_strategy if key in read]
            for key in known:
                if key not in ratios:
                    ratios[key] = variance_ratio(read[key], pace.lookback)
            interval = next_interval(pace, self.interval_of(control.spec, entry), [ratios[key] for key in known])
            self._chosen[name] = pace, interval

    def _pace_of(self, spec: SchedulerSpec, entry: StrategyEntry) -> Pace | None:
        adaptive = spec.adaptive
        if not adaptive.enabled or not self.is_used:
            return None
        base = entry.settings.evaluation_interval_seconds
        pace = Pace(base, adaptive.min_seconds, adaptive.max_seconds, adaptive.lookback_bars)
        return pace if pace.is_adaptive else None
