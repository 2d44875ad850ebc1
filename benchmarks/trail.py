"""What recording every decision costs an evaluation: the same ticks with a recorder and without, one after the other.

    python benchmarks/trail.py [--rounds N] [--json FILE]

100 strategies of 10 symbols each, 20 of which would buy at every tick: bar closed → last order handed over, and the
whole evaluation. Each round has its own bars and prices; recorded and unrecorded rounds alternate in one process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import structlog

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "operator")]

from fakes.trading import World, scheduler_manifest, strategy_manifest  # noqa: E402
from fakes.values import T0  # noqa: E402
from openbell.domain.bars import BarSeries  # noqa: E402
from openbell.engine.trail import DecisionQuery  # noqa: E402
from openbell.journal.recorder import Recorder  # noqa: E402
from openbell.runner.recording import Recording  # noqa: E402

STRATEGIES, SYMBOLS, BUYERS, BARS = 100, 10, 20, 200


@dataclass(frozen=True, slots=True)
class Result:
    """Milliseconds; KiB of both files for one tick; ticks that the recorder could not take in."""

    orders_p50_ms: float
    orders_p99_ms: float
    orders_recorded_p50_ms: float
    orders_recorded_p99_ms: float
    evaluation_p50_ms: float
    evaluation_recorded_p50_ms: float
    telling_p50_ms: float
    writing_p50_ms: float
    kib_per_tick: float
    lost: int

    def lines(self) -> Iterator[str]:
        yield f"tick → last order, unrecorded, p50 / p99 ms   {self.orders_p50_ms:8.2f} {self.orders_p99_ms:8.2f}"
        recorded = f"{self.orders_recorded_p50_ms:8.2f} {self.orders_recorded_p99_ms:8.2f}"
        yield f"tick → last order, recorded, p50 / p99 ms     {recorded}"
        yield f"whole evaluation, unrecorded, p50 ms          {self.evaluation_p50_ms:8.2f}"
        yield f"whole evaluation, recorded, p50 ms            {self.evaluation_recorded_p50_ms:8.2f}"
        yield f"of it, telling the recorder, p50 ms           {self.telling_p50_ms:8.3f}"
        yield f"writing it down, on its own thread, p50 ms    {self.writing_p50_ms:8.2f}"
        yield f"both files, KiB a tick                        {self.kib_per_tick:8.1f}"
        yield f"ticks lost                                    {self.lost:8d}"


class Timed(Recording):
    """A recording whose calls are timed."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self.seconds: list[float] = []

    def evaluated(self, evaluated: object) -> None:
        began = time.perf_counter()
        super().evaluated(evaluated)  # type: ignore[arg-type]
        self.seconds.append(time.perf_counter() - began)


def strategies() -> list[object]:
    symbols = [f"S{index}" for index in range(SYMBOLS)]
    return [
        strategy_manifest(
            f"s{number}",
            type="Momentum" if number < BUYERS else "Crossover",
            parameters={"lookback": 10, "threshold": 1e-6} if number < BUYERS else {},
            symbols=symbols if number >= BUYERS else [f"S{number % SYMBOLS}"],
        )
        for number in range(STRATEGIES)
    ]


class Bench:
    """A world whose prices rise a little at every tick, so that the buyers buy each new bar."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = World(folder)
        self.lost = 0
        self.recorder = Recorder(folder, on_drop=self._lose, on_error=self._lose)
        self.recording = Timed(self.recorder)
        self.tick = 0
        self.rng = np.random.default_rng(1)
        self.closes = np.cumsum(self.rng.random((SYMBOLS, 20_000)), axis=1) + 100

    def _lose(self) -> None:
        self.lost += 1

    async def evaluate(self, *, recorded: bool) -> tuple[float, float]:
        """Seconds until the last order was handed over, and of the evaluation."""
        world = self.world
        self.tick += 1
        now = T0 + timedelta(minutes=self.tick)
        world.clock.set(now)
        ends = now.timestamp() - 60.0 * np.arange(BARS - 1, -1, -1)
        for index in range(SYMBOLS):
            close = self.closes[index, self.tick : self.tick + BARS]
            world.market.series[f"S{index}", 60] = BarSeries(
                f"S{index}", 60, ends, close, close + 1, close - 1, close, close * 100
            )
            world.market.prices[f"S{index}"] = float(close[-1])
        world.record(self.recording if recorded else None)
        world.ledger.order_times.clear()
        world.desk.in_flight.clear()  # every entry is as good as cancelled: the next bar's is another one
        handed: list[float] = []
        send = world.broker.send
        world.broker.send = lambda intent: (send(intent), handed.append(time.perf_counter()))[0]  # type: ignore[method-assign]
        control = world.situation.control
        assert control is not None
        began = time.perf_counter()
        await world.evaluation.run(list(control.entries.values()), now)
        ended = time.perf_counter()
        world.broker.send = send  # type: ignore[method-assign]
        assert len(handed) == BUYERS, len(handed)
        return max(handed) - began, ended - began


async def measure(folder: Path, rounds: int) -> Result:
    bench = Bench(folder)
    await bench.world.begin()
    bench.world.take(
        scheduler_manifest(
            maxConcurrentTrades=1000,
            minConfidence=0.0,
            risk={"maxOrdersPerMinute": 10_000, "maxOrdersPerDay": 100_000},
            sizing={"minFraction": 0.01, "maxFraction": 0.01},
        ),
        *strategies(),  # type: ignore[arg-type]
    )
    bench.world.gate.strategies = bench.world.situation.control.strategy_states()  # type: ignore[union-attr]
    orders: dict[bool, list[float]] = {True: [], False: []}
    whole: dict[bool, list[float]] = {True: [], False: []}
    writing: list[float] = []
    for number in range(2 * rounds + 10):
        recorded = number % 2 == 0
        until_orders, all_of_it = await bench.evaluate(recorded=recorded)
        began = time.perf_counter()
        while bench.recorder._queue.qsize():  # noqa: ASYNC110 - so that no round pays for the one before
            await asyncio.sleep(0.001)
        await bench.recorder.decisions(DecisionQuery(limit=1))
        if number >= 10:
            orders[recorded].append(until_orders * 1000)
            whole[recorded].append(all_of_it * 1000)
            if recorded:
                writing.append((time.perf_counter() - began) * 1000)
    bench.recorder.close()
    bench.world.close()
    size = sum((folder / name).stat().st_size for name in ("trail.db", "inputs.db")) / 1024
    return Result(
        orders_p50_ms=statistics.median(orders[False]),
        orders_p99_ms=percentile(orders[False], 0.99),
        orders_recorded_p50_ms=statistics.median(orders[True]),
        orders_recorded_p99_ms=percentile(orders[True], 0.99),
        evaluation_p50_ms=statistics.median(whole[False]),
        evaluation_recorded_p50_ms=statistics.median(whole[True]),
        telling_p50_ms=statistics.median(bench.recording.seconds) * 1000,
        writing_p50_ms=statistics.median(writing),
        kib_per_tick=size / (rounds + 5),
        lost=bench.lost,
    )


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory() as name:
        result = asyncio.run(measure(Path(name) / "journal", options.rounds))
    print("\n".join(result.lines()))
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(result), indent=2) + "\n")


if __name__ == "__main__":
    main()
