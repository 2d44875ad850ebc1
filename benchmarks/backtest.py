"""The same crossover over the same bars in Openbell and in other engines; their trades are compared before their times.

    python benchmarks/backtest.py --peers PYTHON [--bars N] [--fast N] [--slow N] [--rounds N] [--json FILE]

PYTHON is an interpreter with `benchmarks/backtest_peers.txt`. A signal at the close of bar N fills at the open of bar
N + 1. Each engine runs in a process of its own, one after the other and round after round; the best round counts, and
of it the processor time of the run alone, since other work may share the machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
# The measuring environment has the packages of the image and not this project: it is taken from this checkout.
sys.path.insert(0, str(ROOT / "operator"))

from openbell.backtest.proof import Proofs  # noqa: E402
from openbell.backtest.run import Backtest  # noqa: E402
from openbell.backtest.setup import Setup, assemble, control_of  # noqa: E402
from openbell.domain.errors import ManifestError  # noqa: E402
from openbell.market.calendar import calendar_for  # noqa: E402
from openbell.market.recorded import RecordedBars  # noqa: E402
from openbell.resources.load import load_text  # noqa: E402

PEERS = ("backtrader", "backtesting", "nautilus")
DAY = 86_400
EPOCH = date(1970, 1, 1)
GOALS = {"nautilus": 2.5, "backtrader": 8.0}
BATCH_GOAL = 1_000_000
SELDOM = (200, 400)  # what the batch form makes of a rule that trades seldom

MANIFESTS = """
apiVersion: openbell.dev/v1alpha1
kind: TradingScheduler
metadata: {name: bench}
spec:
  market: {calendar: Always}
  exits: {stopLoss: 0, takeProfit: 0}
  risk: {maxDailyLossFraction: 1}
  broker: {simulated: {spreadBps: 0, slippageBps: 0, commissionPerShare: "0", minimumCommission: "0"}}
---
apiVersion: openbell.dev/v1alpha1
kind: Strategy
metadata: {name: crossover}
spec:
  schedulerRef: {name: bench}
  type: Crossover
  parameters: {fast: FAST, slow: SLOW, average: SMA, atr: 2}
  symbols: [AAA]
  barSeconds: 86400
"""


@dataclass(frozen=True, slots=True)
class Seldom:
    """The batch form of slower averages over the same bars, which trade less often."""

    fast: int
    slow: int
    trades: int
    bars_per_second: float


@dataclass(frozen=True, slots=True)
class Result:
    """Bars a second, by engine; None where an engine cannot."""

    bars: int
    fast: int
    slow: int
    trades: int
    bars_per_second: dict[str, float]
    ratios: dict[str, float]
    batch_bars_per_second: float | None
    proof_seconds: float | None
    seldom: Seldom | None

    def lines(self) -> Iterator[str]:
        yield f"{self.bars} bars, SMA {self.fast} over {self.slow}, {self.trades} trades, the same in every engine"
        for name, speed in self.bars_per_second.items():
            yield f"{name:<24}{speed:>12,.0f} bars/s"
        for name, ratio in self.ratios.items():
            goal = f"  (goal {GOALS[name]})" if name in GOALS else ""
            yield f"openbell / {name:<13}{ratio:>12.1f}{goal}"
        if self.batch_bars_per_second is None:
            yield "batch form: the rule has none"
        else:
            yield f"batch form              {self.batch_bars_per_second:>12,.0f} bars/s  (goal {BATCH_GOAL:,})"
            yield f"its proof, once         {self.proof_seconds:>12.1f} s"
        if self.seldom is not None and self.batch_bars_per_second is not None:
            few = self.seldom
            yield f"SMA {few.fast} over {few.slow}, {few.trades} trades{few.bars_per_second:>13,.0f} bars/s"
            often, seldom = self.bars / self.batch_bars_per_second, self.bars / few.bars_per_second
            trip = (often - seldom) / (self.trades - few.trades)
            yield f"so a round trip takes   {trip * 1e6:>12.0f} µs"
            yield f"and a bar beside them   {(often - trip * self.trades) / self.bars * 1e9:>12.0f} ns"


def without_ties(cents: np.ndarray, fast: int, slow: int) -> np.ndarray:
    """The same closes, moved by a cent wherever the averages are equal: there rounding decides, in each engine anew."""
    while True:
        total = np.concatenate(([0], np.cumsum(cents)))
        apart = slow * (total[slow:] - total[slow - fast : -fast]) - fast * (total[slow:] - total[:-slow])
        ties = np.flatnonzero(apart == 0)
        if not len(ties):
            return cents
        cents = cents.copy()
        cents[ties[0] + slow - 1] += 1


def random_bars(count: int, fast: int, slow: int, seed: int = 11) -> dict[str, np.ndarray]:
    """A random walk in cents around 100, each bar opening where the last one closed."""
    chance = np.random.default_rng(seed)
    walk = np.empty(count)
    level = 0.0
    for number, step in enumerate(chance.normal(0, 0.008, count).tolist()):
        level = 0.999 * level + step
        walk[number] = level
    close = without_ties(np.round(10_000 * np.exp(walk)).astype(np.int64), fast, slow) / 100
    opening = np.concatenate(([100.0], close[:-1]))
    upper, lower = np.maximum(opening, close), np.minimum(opening, close)
    start = np.arange(count) * DAY
    return {
        "start": start,
        "end": start + DAY,
        "open": opening,
        "high": np.maximum(upper, np.round(upper * (1 + chance.uniform(0, 0.004, count)), 2)),
        "low": np.minimum(lower, np.round(lower * (1 - chance.uniform(0, 0.004, count)), 2)),
        "close": close,
        "volume": np.full(count, 1e6),
    }


def prepared(bars: dict[str, np.ndarray], fast: int, slow: int) -> Setup:
    main, *strategies = load_text(MANIFESTS.replace("FAST", str(fast)).replace("SLOW", str(slow)))
    columns = [bars[name].tolist() for name in ("open", "high", "low", "close", "volume")]
    rows = [(EPOCH + timedelta(days=day), row) for day, row in enumerate(zip(*columns, strict=True))]
    recorded = RecordedBars({"AAA": rows}, calendar_for("Always"))
    return assemble(control_of(main, strategies), recorded, recorded.first, recorded.last)


def run_openbell(setup: Setup, *, batch: bool) -> tuple[float, list[list[Any]]]:
    run = Backtest(setup)
    began = time.process_time()
    run.run(batch=batch)
    took = time.process_time() - began
    return took, [
        [
            (trade.entry_time.date() - EPOCH).days,
            float(round(trade.entry_price, 2)),
            (trade.exit_time.date() - EPOCH).days,
            float(round(trade.exit_price, 2)),
        ]
        for trade in run.desk.trades
    ]


def run_peer(python: Path, engine: str, bars: Path, fast: int, slow: int) -> tuple[float, list[list[Any]]]:
    script = Path(__file__).with_name("backtest_peers.py")
    command = [str(python), str(script), engine, str(bars), str(fast), str(slow), "1"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    found = json.loads(done.stdout)
    return found["seconds"], found["trades"]


def measure(python: Path, count: int, fast: int, slow: int, rounds: int) -> Result:
    bars = random_bars(count, fast, slow)
    setup = prepared(bars, fast, slow)
    batch, proof_seconds = True, None
    began = time.process_time()
    try:
        Proofs(None).require(Backtest(setup))
        proof_seconds = time.process_time() - began
    except ManifestError:
        batch = False
    slower = prepared(bars, *SELDOM)
    seldom: list[float] = []
    _, few = run_openbell(slower, batch=False)
    seconds: dict[str, list[float]] = {"openbell": [], **{engine: [] for engine in PEERS}, "batch": []}
    wanted: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.npz"
        np.savez(path, **bars)
        for _ in range(rounds):
            runs = {"openbell": run_openbell(setup, batch=False)}
            runs |= {engine: run_peer(python, engine, path, fast, slow) for engine in PEERS}
            if batch:
                runs["batch"] = run_openbell(setup, batch=True)
                took, trades = run_openbell(slower, batch=True)
                if trades != few:
                    raise SystemExit(f"SMA {SELDOM}: the batch form has {len(trades)} trades, bar by bar {len(few)}")
                seldom.append(took)
            for name, (took, trades) in runs.items():
                wanted = wanted or trades
                if trades != wanted:
                    different = next((pair for pair in zip(wanted, trades, strict=False) if pair[0] != pair[1]), None)
                    raise SystemExit(f"{name} has {len(trades)} trades, openbell {len(wanted)}; first: {different}")
                seconds[name].append(took)
    speed = {name: count / min(took) for name, took in seconds.items() if took}
    batch_speed = speed.pop("batch", None)
    ratios = {engine: speed["openbell"] / speed[engine] for engine in PEERS}
    rare = Seldom(*SELDOM, len(few), count / min(seldom)) if seldom else None
    return Result(count, fast, slow, len(wanted), speed, ratios, batch_speed, proof_seconds, rare)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--bars", type=int, default=50_000)
    parser.add_argument("--fast", type=int, default=20)
    parser.add_argument("--slow", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = measure(options.peers, options.bars, options.fast, options.slow, options.rounds)
    print("\n".join(result.lines()))
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(result), indent=2) + "\n")


if __name__ == "__main__":
    main()
