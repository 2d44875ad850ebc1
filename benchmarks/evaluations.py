"""Ten thousand strategy-symbol evaluations in a tick: through the runner's evaluation, and by a bare loop.

    python benchmarks/evaluations.py [--rounds N] [--json FILE]

A hundred strategies, momentum and crossover in turn, of a hundred symbols with warm bars. The bare loop builds a
context and calls the strategy, and nothing else; the runner's evaluation reads account and bars, asks the same
strategies on its thread, counts every answer, decides the signals and writes the statistics down. Entries are held by
a rate limit of one order a day, so that each round decides the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "operator")]

import numpy as np  # noqa: E402
import structlog  # noqa: E402

from fakes.trading import World, scheduler_manifest, strategy_manifest  # noqa: E402
from fakes.values import T0  # noqa: E402
from openbell.cli._process import run_async  # noqa: E402
from openbell.domain.bars import Bar, BarSeries  # noqa: E402
from openbell.domain.money import ZERO  # noqa: E402
from openbell.runner.control import StrategyEntry  # noqa: E402
from openbell.strategies.api import Context  # noqa: E402

STRATEGIES, SYMBOLS, BARS = 100, 100, 250


@dataclass(frozen=True, slots=True)
class Result:
    """Milliseconds for all evaluations of one tick; medians of the rounds, which take turns."""

    evaluations: int
    signals: int
    bare_ms: float
    runner_ms: float

    def lines(self) -> Iterator[str]:
        per = self.runner_ms * 1000 / self.evaluations
        yield f"{self.evaluations:,} evaluations, {self.signals:,} signals, bare loop, ms    {self.bare_ms:7.0f}"
        yield f"the same through the runner's evaluation, ms         {self.runner_ms:7.0f}  ({per:.0f} µs each)"
        yield f"  as a ratio                                         {self.runner_ms / self.bare_ms:7.2f}"


def series(symbol: str, number: int) -> BarSeries:
    """A random walk of minute bars that ends at T0."""
    random = np.random.default_rng(number)
    closes = 100 * np.exp(np.cumsum(random.normal(0, 0.001, BARS)))
    made = []
    for index, close in enumerate(closes):
        end = T0 - timedelta(minutes=BARS - 1 - index)
        price = float(close)
        made.append(Bar(symbol, end - timedelta(minutes=1), end, price, price * 1.001, price * 0.999, price, 1000.0))
    return BarSeries.from_bars(symbol, 60, made)


def prepare(world: World, strategies: int, symbols: int) -> list[StrategyEntry]:
    names = [f"S{number:03}" for number in range(symbols)]
    made = []
    for number in range(strategies):
        of_type = {"type": "Crossover", "parameters": {}} if number % 2 else {"parameters": {"lookback": 10}}
        made.append(strategy_manifest(f"s-{number:03}", symbols=names, **of_type))
    control = world.take(scheduler_manifest(risk={"maxOrdersPerDay": 1}), *made)
    world.ledger.note_order(T0)
    for number, name in enumerate(names):
        world.market.series[name, 60] = series(name, number)
        world.market.prices[name] = float(world.market.series[name, 60].close[-1])
    return list(control.entries.values())


def bare(world: World, entries: list[StrategyEntry]) -> int:
    """Every strategy asked of every symbol; how many signals there were."""
    signals = 0
    for entry in entries:
        for symbol in entry.spec.symbols:
            context = Context(
                symbol=symbol,
                bars=world.market.series[symbol, 60],
                params=entry.parameters,
                position_quantity=ZERO,
                now=T0,
                strategy=entry.name,
            )
            signals += len(tuple(entry.strategy.evaluate(context)))
    return signals


async def measure(folder: Path, rounds: int) -> Result:
    world = await World(folder).begin()
    entries = prepare(world, STRATEGIES, SYMBOLS)
    bare_times: list[float] = []
    runner_times: list[float] = []
    signals = 0
    for _ in range(rounds + 1):  # the first one warms up
        began = time.perf_counter()
        signals = await asyncio.to_thread(bare, world, entries)
        bare_times.append(time.perf_counter() - began)
        began = time.perf_counter()
        await world.evaluation.run(entries, T0)
        runner_times.append(time.perf_counter() - began)
    counted = world.ledger.statistics.total
    assert counted.evaluations_run == rounds + 1
    assert sum(counted.reasons.values()) == STRATEGIES * SYMBOLS * (rounds + 1)
    world.close()
    return Result(
        evaluations=STRATEGIES * SYMBOLS,
        signals=signals,
        bare_ms=statistics.median(bare_times[1:]) * 1000,
        runner_ms=statistics.median(runner_times[1:]) * 1000,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as name:
        result = run_async(measure(Path(name) / "journal", options.rounds))
    print("\n".join(result.lines()))
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(result), indent=2) + "\n")


if __name__ == "__main__":
    main()
