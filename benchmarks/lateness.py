"""How late ticks are: the runner's ticker on the real clock, against a bare thread that sleeps until its own ticks.

    python benchmarks/lateness.py [--ticks N] [--json FILE]

Both wait for the same moments, ten a second, in one process: whatever the machine does at such a moment meets both. The
runner's ticks run on its own event loop with its switch interval.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "operator")]

from openbell.cli._process import run_async  # noqa: E402
from openbell.domain.clock import SystemClock  # noqa: E402
from openbell.runner.ticker import Ticker  # noqa: E402

INTERVAL = timedelta(milliseconds=100)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
GOAL_MS = 2.0


@dataclass(frozen=True, slots=True)
class Result:
    """Milliseconds."""

    ticks: int
    bare_p50_ms: float
    bare_p99_ms: float
    bare_max_ms: float
    ticker_p50_ms: float
    ticker_p99_ms: float
    ticker_max_ms: float

    @property
    def above_ms(self) -> float:
        return self.ticker_p99_ms - self.bare_p99_ms

    def lines(self) -> Iterator[str]:
        bare = f"{self.bare_p50_ms:7.2f} {self.bare_p99_ms:7.2f} {self.bare_max_ms:7.2f}"
        ticker = f"{self.ticker_p50_ms:7.2f} {self.ticker_p99_ms:7.2f} {self.ticker_max_ms:7.2f}"
        yield f"a bare sleeping thread, p50 / p99 / max ms           {bare}"
        yield f"the runner's ticker, p50 / p99 / max ms              {ticker}"
        yield f"  p99 above the bare one's, ms (goal {GOAL_MS:g})                {self.above_ms:7.2f}"


def next_due(after: datetime) -> datetime:
    return EPOCH + ((after - EPOCH) // INTERVAL + 1) * INTERVAL


def sleep_bare(count: int, found: list[float]) -> None:
    """Sleep until each of the moments, again and again."""
    last = datetime.now(UTC)
    for _ in range(count):
        due = next_due(last)
        while (now := datetime.now(UTC)) < due:
            time.sleep((due - now).total_seconds())
        found.append((now - due).total_seconds())
        last = now


async def measure(count: int) -> Result:
    bare: list[float] = []
    thread = threading.Thread(target=sleep_bare, args=(count, bare))
    thread.start()
    ticker = Ticker(SystemClock(), next_due)
    ticks = [(await ticker.wait()).lateness_seconds for _ in range(count)]
    await asyncio.to_thread(thread.join)
    return Result(
        count,
        *(percentile(bare, share) * 1000 for share in (0.5, 0.99, 1.0)),
        *(percentile(ticks, share) * 1000 for share in (0.5, 0.99, 1.0)),
    )


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=600)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = run_async(measure(options.ticks))
    print("\n".join(result.lines()))
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(result), indent=2) + "\n")


if __name__ == "__main__":
    main()
