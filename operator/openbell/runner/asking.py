"""Asking strategies for their signals: built-in ones on a thread, each custom one in its worker, all at once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from openbell.domain.bars import BarSeries
from openbell.domain.money import ZERO
from openbell.domain.reasons import Reason
from openbell.domain.signals import Action, Signal
from openbell.engine.tightening import Holdings, Tightening
from openbell.engine.trail import Silence
from openbell.runner.custom import Loaded, Workshop
from openbell.runner.entry import StrategyEntry
from openbell.runner.worker import WorkerError
from openbell.strategies.api import Context, DataNeeds, ExitSignal, Strategy, has_exit

SHORTEST_DEADLINE_SECONDS = 1.0
"""The least time that a worker gets for an evaluation, however little of the interval is left."""
PATIENCE_SECONDS = 0.1
"""How long the decisions of a tick wait for workers after the built-in strategies have spoken. What a worker says
later is decided by itself, so that a slow one holds nobody up."""

SeriesKey = tuple[str, int]
Bars = Mapping[SeriesKey, BarSeries]
Lots = Mapping[tuple[str, str], Decimal]
NOTHING_HELD: Holdings = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one strategy said of its symbols, or the error that it raised; `silent` has the symbols of which it said
    nothing, each with why."""

    entry: StrategyEntry
    signals: tuple[Signal, ...] = ()
    silent: tuple[tuple[str, Reason], ...] = ()
    error: str = ""
    tightenings: tuple[Tightening, ...] = ()


def silences_of(opinion: Opinion) -> tuple[Silence, ...]:
    """Why a strategy gave no signal, symbol by symbol."""
    name = opinion.entry.name
    if opinion.error:
        symbols = opinion.entry.spec.symbols
        return tuple(Silence(name, symbol, Reason.STRATEGY_FAILED, opinion.error) for symbol in symbols)
    return tuple(Silence(name, symbol, reason) for symbol, reason in opinion.silent)


@dataclass(slots=True)
class Answers:
    """The opinions of one tick: those of the built-in strategies and of quick workers, and the others to wait for."""

    soon: list[Opinion]
    late: set[asyncio.Task[Opinion]] = field(default_factory=set)

    async def rest(self) -> list[Opinion]:
        """What the slower workers say in the end, their deadlines at the latest."""
        return list(await asyncio.gather(*self.late))


class Asking:
    """Holds the thread of the built-in strategies, and knows the workers of the others."""

    def __init__(self, workshop: Workshop, *, patience_seconds: float | None = PATIENCE_SECONDS) -> None:
        """`patience_seconds` None: workers are waited for until they have spoken."""
        self._workshop = workshop
        self._patience_seconds = patience_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="evaluation")

    def close(self) -> None:
        """Let the evaluation thread go."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def prepare(self, entries: Iterable[StrategyEntry]) -> None:
        """Wait a little for classes that are just being loaded: without them nobody knows which bars they need.

        What could not be loaded before is tried again, but nobody waits for it a second time.
        """
        benches = [bench for entry in entries if (bench := self._workshop.bench(entry.name)) is not None]
        unloaded = [bench for bench in benches if bench.loaded is None]
        seconds = [0.0 if bench.was_tried and self._patience_seconds else self._patience_seconds for bench in unloaded]
        await asyncio.gather(*(bench.ready(each) for bench, each in zip(unloaded, seconds, strict=True)))

    def needs(self, entry: StrategyEntry) -> DataNeeds | None:
        """The bars that a strategy reads; None where it does not say (`ask` meets the same error, and tells it)."""
        if entry.is_custom:
            loaded = self._workshop.loaded(entry.name)
            return loaded.needs if loaded is not None else None
        try:
            return entry.strategy.data(entry.parameters, entry.settings.bar_seconds)
        except Exception:  # noqa: BLE001 - the boundary of foreign code
            return None

    async def ask(
        self,
        entries: Sequence[StrategyEntry],
        bars: Bars,
        lots: Lots,
        now: datetime,
        due: datetime,
        held: Holdings = NOTHING_HELD,
    ) -> Answers:
        """Ask all of them. Returns when the built-in ones have spoken and the workers were waited for a little."""
        workers = {
            asyncio.create_task(self._ask_worker(entry, bars, lots, now, deadline(entry, entries, now, due), held))
            for entry in entries
            if entry.is_custom
        }
        built_in = [entry for entry in entries if not entry.is_custom]
        try:
            soon = await asyncio.get_running_loop().run_in_executor(
                self._thread, lambda: [ask(entry, bars, lots, now, held) for entry in built_in]
            )
            if workers:
                await asyncio.wait(workers, timeout=self._patience_seconds)
        except asyncio.CancelledError:
            for task in workers:
                task.cancel()
            raise
        done = {task for task in workers if task.done()}
        return Answers([*soon, *(task.result() for task in done)], workers - done)

    async def _ask_worker(
        self, entry: StrategyEntry, bars: Bars, lots: Lots, now: datetime, seconds: float, held: Holdings
    ) -> Opinion:
        bench = self._workshop.bench(entry.name)
        if bench is None or bench.refusal is not None:
            return Opinion(entry, silent=_not_loaded(entry))
        loaded = bench.loaded
        if loaded is None:
            return Opinion(entry, error=bench.error, silent=_not_loaded(entry))
        contexts, silent = contexts_of(entry, loaded.needs, bars, lots, now, loaded)
        try:
            if await bench.ready(seconds) is None:
                return Opinion(entry, error=bench.error, silent=_not_loaded(entry))
            positions = [held.get((entry.name, context.symbol)) for context in contexts]
            said, exits = await bench.evaluate(contexts, seconds, positions)
            leaves, tightenings = taken(zip(contexts, exits, strict=True))
        except (WorkerError, TypeError, ValueError) as error:
            return Opinion(entry, error=str(error))
        nothing = [(context.symbol, Reason.NO_SIGNAL) for context, each in zip(contexts, said, strict=True) if not each]
        signals = (*(signal for each in said for signal in each), *leaves)
        return Opinion(entry, signals, (*silent, *nothing), tightenings=tightenings)


def _not_loaded(entry: StrategyEntry) -> tuple[tuple[str, Reason], ...]:
    return tuple((symbol, Reason.NOT_LOADED) for symbol in entry.spec.symbols)


def deadline(entry: StrategyEntry, entries: Iterable[StrategyEntry], now: datetime, due: datetime) -> float:
    """Seconds that a worker gets: until the next evaluation of any of these strategies, and at least the shortest.

    So the next tick is not missed for a strategy that hangs, nor does it get longer than its own interval.
    """
    interval = min(
        [each.settings.evaluation_interval_seconds for each in entries],
        default=entry.settings.evaluation_interval_seconds,
    )
    left = interval - (now - due).total_seconds()
    return max(SHORTEST_DEADLINE_SECONDS, min(left, entry.settings.evaluation_interval_seconds))


def ask(entry: StrategyEntry, bars: Bars, lots: Lots, now: datetime, held: Holdings = NOTHING_HELD) -> Opinion:
    """What a built-in strategy says of each of its symbols, and of the positions that it holds."""
    signals: list[Signal] = []
    tightenings: tuple[Tightening, ...] = ()
    try:
        needs = entry.strategy.data(entry.parameters, entry.settings.bar_seconds)
        contexts, silent = contexts_of(entry, needs, bars, lots, now)
        for context in contexts:
            said = tuple(checked(each, context) for each in entry.strategy.evaluate(context))
            signals.extend(said)
            if not said:
                silent.append((context.symbol, Reason.NO_SIGNAL))
        if has_exit(entry.strategy):
            leaves, tightenings = asked_to_exit(entry.strategy, contexts, held)
            signals += leaves
    except Exception as error:  # noqa: BLE001 - the boundary of foreign code: contained, counted, told in `Failed`
        return Opinion(entry, error=f"{type(error).__name__}: {error}")
    return Opinion(entry, tuple(signals), tuple(silent), tightenings=tightenings)


def asked_to_exit(
    strategy: Strategy[Any], contexts: Iterable[Context[Any]], held: Holdings
) -> tuple[list[Signal], tuple[Tightening, ...]]:
    """What a strategy says of its open positions: signals that leave one, and stops to tighten."""
    found = ((context, held.get((context.strategy, context.symbol))) for context in contexts)
    return taken((context, strategy.exit(context, position)) for context, position in found if position is not None)


def taken(said: Iterable[tuple[Context[Any], object]]) -> tuple[list[Signal], tuple[Tightening, ...]]:
    """Words on exits, apart by what they ask for. Raises TypeError or ValueError for what is none."""
    leaves: list[Signal] = []
    tightenings: list[Tightening] = []
    for context, each in said:
        if each is None:
            continue
        if not isinstance(each, ExitSignal):
            raise TypeError(f"exit gave {each!r}, which is a {type(each).__name__}; it must give an ExitSignal or None")
        if each.stop is None:
            leaves.append(context.signal(Action.CLOSE, 1.0, str(each.reason)))
            continue
        if not isinstance(each.stop, int | float) or not 0 < each.stop < math.inf:
            raise ValueError(f"exit gave the stop {each.stop!r}; it must be a price above 0")
        tightenings.append(Tightening(context.strategy, context.symbol, float(each.stop), str(each.reason)))
    return leaves, tuple(tightenings)


def contexts_of(
    entry: StrategyEntry, needs: DataNeeds, bars: Bars, lots: Lots, now: datetime, loaded: Loaded | None = None
) -> tuple[list[Context[Any]], list[tuple[str, Reason]]]:
    """What to ask of each symbol whose bars are there, and why nothing is asked of the others."""
    contexts: list[Context[Any]] = []
    silent: list[tuple[str, Reason]] = []
    for symbol in entry.spec.symbols:
        series = bars.get((symbol, needs.bar_seconds))
        if series is None or len(series) < needs.warmup:
            silent.append((symbol, Reason.STALE_DATA if series is None else Reason.WARMUP))
            continue
        contexts.append(
            Context(
                symbol=symbol,
                bars=series.newest(needs.warmup) if loaded else series,  # what is sent is what is read
                params=entry.parameters,
                position_quantity=lots.get((entry.name, symbol), ZERO),
                now=now,
                strategy=entry.name,
                priority=entry.settings.priority,
                version=loaded.version if loaded else entry.strategy.version,
                parameters_hash=loaded.parameters_hash if loaded else entry.parameters_hash,
            )
        )
    return contexts, silent


def checked(said: object, context: Context[Any]) -> Signal:
    """What a strategy said, if it is a signal that can be decided. Raises TypeError or ValueError where it is not."""
    if not isinstance(said, Signal):
        raise TypeError(f"evaluate gave {said!r}, which is a {type(said).__name__}; it must give signals")
    if (said.strategy, said.symbol) != (context.strategy, context.symbol):
        raise ValueError(
            f"evaluate gave a signal of {said.strategy} on {said.symbol} when {context.strategy} was asked of "
            f"{context.symbol}"
        )
    for name, kinds in _FIELD_TYPES.items():
        value = getattr(said, name)
        if not isinstance(value, kinds):
            raise TypeError(f"the signal's {name} is {value!r}, which is a {type(value).__name__}")
    return said


_FIELD_TYPES: Mapping[str, tuple[type, ...]] = {
    "action": (Action,),
    "confidence": (int, float),
    "priority": (int,),
    "bar_time": (datetime,),
    "valid_until": (datetime,),
    "reason": (str,),
}
