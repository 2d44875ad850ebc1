"""The journal's appends a second beside bare SQLite, which makes as many commits of as many rows, each on the disk.

    python benchmarks/journal.py [--commits N] [--json FILE]

Both write to one folder in turns, a commit of either after the other, so that what else the disk does meets both alike.
Bare SQLite inserts rows of as many columns into a table without a rule, from the thread that asks; the journal looks at
the epoch, checks every rule of the schema, and does it on the writer's thread while the event loop goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "operator"))

from openbell.domain.clock import SystemClock  # noqa: E402
from openbell.domain.orders import Intent, IntentKind, Side  # noqa: E402
from openbell.journal import Journal, rows  # noqa: E402
from openbell.journal.columns import to_micros  # noqa: E402

SIZES = (1, 10, 100)
T0 = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Result:
    """Intents a second at one number of intents a commit, and a commit's time in milliseconds."""

    intents_a_commit: int
    commits: int
    bare_per_second: float
    journal_per_second: float
    bare_p50_ms: float
    journal_p50_ms: float
    journal_p99_ms: float

    @property
    def ratio(self) -> float:
        return self.journal_per_second / self.bare_per_second

    def line(self) -> str:
        return (
            f"{self.intents_a_commit:4} a commit: {self.journal_per_second:8.0f} intents/s, "
            f"bare {self.bare_per_second:8.0f}, ratio {self.ratio:4.2f}; "
            f"a commit {self.journal_p50_ms:5.2f} ms (p99 {self.journal_p99_ms:5.2f}), bare {self.bare_p50_ms:5.2f} ms"
        )


def intents(name: str, count: int) -> tuple[Intent, ...]:
    """Market orders to buy ten shares."""
    return tuple(
        Intent(
            order_ref=f"{name}.{number}",
            kind=IntentKind.ENTRY,
            strategy="trend",
            symbol="AAPL",
            side=Side.BUY,
            quantity=Decimal(10),
            position_id=f"p.{name}.{number}",
            reason="momentum of 20 bars is +2.4 %",
            bar_time=T0,
            created_at=T0,
            epoch=1,
            reference_price=Decimal("100.25"),
            confidence=0.71,
        )
        for number in range(count)
    )


def plain(intent: Intent) -> tuple[object, ...]:
    """The row of an intent as SQLite takes it."""
    values = rows.intent_row(intent, T0).values()
    return tuple(
        str(value) if isinstance(value, Decimal) else to_micros(value) if isinstance(value, datetime) else value
        for value in values
    )


class Bare:
    """SQLite alone, with the journal's own durability."""

    def __init__(self, path: Path) -> None:
        columns = list(rows.intent_row(intents("columns", 1)[0], T0))
        self._raw = sqlite3.connect(path, isolation_level=None)
        self._raw.execute("PRAGMA journal_mode = WAL")
        self._raw.execute("PRAGMA synchronous = FULL")
        self._raw.execute(f"CREATE TABLE intents ({', '.join(columns)}, PRIMARY KEY (order_ref))")
        self._insert = f"INSERT INTO intents VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - of ours

    def commit(self, found: tuple[Intent, ...]) -> None:
        self._raw.execute("BEGIN IMMEDIATE")
        self._raw.executemany(self._insert, [plain(intent) for intent in found])
        self._raw.execute("COMMIT")

    def close(self) -> None:
        self._raw.close()


async def measure(folder: Path, size: int, commits: int) -> Result:
    journal = await asyncio.to_thread(Journal.open, folder / f"journal-{size}", clock=SystemClock())
    bare = Bare(folder / f"bare-{size}.db")
    await journal.begin_epoch(1)
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(-10, commits):  # the first ten are not counted
        batch = intents(f"{size}.{number}", size)
        began = time.perf_counter()
        bare.commit(batch)
        between = time.perf_counter()
        new = await journal.commit_intents(batch)
        ended = time.perf_counter()
        assert len(new) == size
        if number >= 0:
            theirs.append(between - began)
            ours.append(ended - between)
    journal.close()
    bare.close()
    return Result(
        size,
        commits,
        size * commits / sum(theirs),
        size * commits / sum(ours),
        statistics.median(theirs) * 1000,
        statistics.median(ours) * 1000,
        statistics.quantiles(ours, n=100)[98] * 1000,
    )


def measured(commits: int) -> Iterator[Result]:
    with tempfile.TemporaryDirectory(prefix="openbell-bench-") as made:
        for size in SIZES:
            yield asyncio.run(measure(Path(made), size, commits))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commits", type=int, default=500)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = []
    for result in measured(arguments.commits):
        print(result.line(), flush=True)
        results.append(asdict(result) | {"ratio": result.ratio})
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"appends": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
