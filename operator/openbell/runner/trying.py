"""Trying a strategy before it trades: the checks of `strategies.checks` on bars, in a worker where the class is one's
own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

from openbell.domain.answers import Value
from openbell.domain.bars import BarSeries
from openbell.domain.errors import ManifestError
from openbell.market.recorded import DAY_SECONDS, RecordedBars, ReplayMarket, Split
from openbell.market.synthetic import SyntheticMarket
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.surroundings import MarketDataType
from openbell.runner.assembly import calendar_of, find_dataset
from openbell.runner.custom import Bench, job_of
from openbell.runner.entry import StrategyEntry
from openbell.runner.worker import Worker, WorkerError
from openbell.strategies.checks import check_strategy

BARS_AFTER_WARM_UP = 200
CHECK_SECONDS = 120.0
SYNTHETIC_NOW = datetime(2026, 1, 2, 20, tzinfo=UTC)
"""The synthetic bars end here, so that every check is of the same ones."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial has come to: sentences about what does not hold, and about what could not be tried."""

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


async def try_strategy(entry: StrategyEntry, scheduler: SchedulerSpec, datasets: Sequence[Path]) -> Trial:
    """Check one strategy on synthetic bars, and on the recorded ones where its scheduler replays some."""
    if entry.refusal is not None:
        return Trial((entry.refusal.sentence,))
    if not entry.is_custom:
        needs = entry.strategy.data(entry.parameters, entry.settings.bar_seconds)
        trials, notes = await _bars_to_try(entry, scheduler, datasets, needs.warmup, needs.bar_seconds)
        found = [check_strategy(type(entry.strategy), entry.parameters, bars) for bars in trials]
        return Trial(_once(str(finding) for findings in found for finding in findings), notes)
    job = job_of(entry)
    if job is None:
        return Trial((entry.problem,))
    bench = Bench(job, entry, Worker(entry.name), lambda: None)
    try:
        loaded = await bench.ready(None)
        if loaded is None:
            return Trial((bench.why(),))
        trials, notes = await _bars_to_try(entry, scheduler, datasets, loaded.needs.warmup, loaded.needs.bar_seconds)
        told = [pair for bars in trials for pair in await bench.check(bars, CHECK_SECONDS)]
        return Trial(_once(f"{name}: {sentence}" for name, sentence in told), notes)
    except WorkerError as error:
        return Trial((f"its checks: {error}",))
    finally:
        await bench.close()


def _once(sentences: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sentences))


async def _bars_to_try(
    entry: StrategyEntry, scheduler: SchedulerSpec, datasets: Sequence[Path], warmup: int, bar_seconds: int
) -> tuple[list[BarSeries], tuple[str, ...]]:
    count = warmup + BARS_AFTER_WARM_UP
    symbol = entry.spec.symbols[0]
    synthetic = scheduler.market_data.synthetic
    market = SyntheticMarket(synthetic.seed, synthetic.volatility)
    trials = [market.series(symbol, bar_seconds, count, SYNTHETIC_NOW)]
    replay = scheduler.market_data.replay
    if scheduler.market_data.type is not MarketDataType.REPLAY or replay is None or bar_seconds != DAY_SECONDS:
        return trials, ()
    splits = [
        Split(each.symbol, date.fromisoformat(str(each.date)), Decimal(str(each.ratio))) for each in replay.splits
    ]
    try:
        file = find_dataset(scheduler, datasets)
        recorded = ReplayMarket(RecordedBars.load(file, calendar_of(scheduler.market), splits))
    except ManifestError as error:
        return trials, (f"not tried on recorded bars: {error}",)
    after = datetime.combine(date.fromisoformat(str(replay.to_date)) + timedelta(days=1), time(), UTC)
    answer = await recorded.bars(symbol, bar_seconds, count, after)
    if isinstance(answer, Value) and len(answer.value) > warmup:
        trials.append(answer.value)
    return trials, ()
