"""A runner that is killed and started again, a broker that survives, and what must be true of both all the while.

The broker is a process of its own: its book records every order that it gets, without deduplicating or refusing. The
journal is read as a file and the book at the broker, so that nothing that the runner says of itself is believed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

HERE = Path(__file__).parent
ACCOUNT = "default/main"
STARTING_CASH = Decimal(100_000)
START_SECONDS = 180.0  # of imports, on a machine under load
POINT_SECONDS = 40.0
DRAIN_SECONDS = 60.0
LOOK_SECONDS = 0.05
LAST_LINES = 40
NOT_REACHED = "the kill point was not reached"


class FoundError(AssertionError):
    """An invariant is broken."""


MANIFEST = """
apiVersion: openbell.dev/v1alpha1
kind: TradingScheduler
metadata: {{name: main}}
spec:
  enabled: true
  paused: {paused}
  evaluationIntervalSeconds: 1
  exitCheckIntervalSeconds: 1
  maxConcurrentTrades: 8
  market: {{calendar: Always}}
  broker: {broker}
  sizing: {{minFraction: 0.01, maxFraction: 0.02}}
  risk: {{maxOrdersPerMinute: 10000, maxOrdersPerDay: 1000000, maxDailyLossFraction: 1.0}}
  exits:
    stopLoss: 0.002
    takeProfit: 0.004
    maxHoldingSeconds: 2
    trailing: {{activation: 0.001, distance: 0.001}}
    scaleOut: [{{profit: 0.0003, fraction: 0.3}}, {{profit: 0.0012, fraction: 0.3}}]
    escalation: {{limitSeconds: 1}}
    brokerSide: {broker_side}
---
apiVersion: openbell.dev/v1alpha1
kind: Strategy
metadata: {{name: fast}}
spec:
  schedulerRef: {{name: main}}
  type: Momentum
  parameters: {{lookback: 1, threshold: 0.000001}}
  symbols: [AAPL, MSFT, NVDA, IBM, GOOGL]
  barSeconds: {bar_seconds}
---
apiVersion: openbell.dev/v1alpha1
kind: Strategy
metadata: {{name: slow}}
spec:
  schedulerRef: {{name: main}}
  type: Crossover
  parameters: {{fast: 2, slow: 3}}
  symbols: [AMZN, META, ORCL, IBM]
  barSeconds: {bar_seconds}
"""


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the broker got it."""

    order_ref: str
    symbol: str
    side: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Execution:
    """A fill as the broker made it."""

    execution_id: str
    order_ref: str
    symbol: str
    signed: Decimal
    price: Decimal
    commission: Decimal


class Broker(Protocol):
    """What a broker has on its side, whatever the runner makes of it."""

    @property
    def spec(self) -> str:
        """The `broker` of the manifest, by which a runner finds it."""
        ...

    def arrivals(self) -> list[Order]:
        """Every order that ever arrived."""
        ...

    def executions(self) -> list[Execution]:
        """Every fill that was ever made."""
        ...

    def cash(self) -> Decimal: ...


class Venue:
    """`openbell venue` with its book, from beginning to end of a test."""

    def __init__(self, folder: Path, seed: int, *options: str) -> None:
        self.book = folder / "venue.db"
        command = [
            sys.executable, "-m", "openbell.cli", "venue", "--listen", "127.0.0.1:0", "--book", str(self.book),
            "--seed", str(seed), "--volatility", "20", "--poll-seconds", "0.05", *options,
        ]  # fmt: skip
        self._log = (folder / "venue.log").open("w")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("venue listening on"), line
        self.port = int(line.rsplit(":", 1)[1])

    @property
    def spec(self) -> str:
        return f'{{type: Simulated, simulated: {{address: "127.0.0.1:{self.port}"}}}}'

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with reading(self.book) as connection:
            return connection.execute(query).fetchall()

    def arrivals(self) -> list[Order]:
        """Every order that ever arrived."""
        rows = self._rows("SELECT order_ref, message FROM arrivals WHERE kind = 'Order' ORDER BY number")
        found = []
        for ref, text in rows:
            message = json.loads(text)
            found.append(Order(ref, message["symbol"], message["side"], Decimal(message["quantity"])))
        return found

    def executions(self) -> list[Execution]:
        """Every fill that was ever made."""
        rows = self._rows(
            "SELECT execution_id, order_ref, symbol, side, quantity, price, commission FROM executions ORDER BY number"
        )
        return [executed(*row) for row in rows]

    def cash(self) -> Decimal:
        rows = self._rows(f"SELECT cash FROM accounts WHERE account = '{ACCOUNT}'")  # noqa: S608 - a constant
        return Decimal(rows[0][0]) if rows else STARTING_CASH


def executed(identity: str, ref: str, symbol: str, side: str, quantity: str, price: str, commission: str) -> Execution:
    """A fill from a row of a book or of a journal."""
    signed = Decimal(quantity) * (1 if side == "Buy" else -1)
    return Execution(identity, ref, symbol, signed, Decimal(price), Decimal(commission))


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        yield connection
    finally:
        connection.close()


@dataclass
class Launcher:
    """The process that forks runners, one after the other. What is planted in them is found in `folders` too."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, *folders: Path) -> Launcher:
        command = [sys.executable, str(HERE / "launcher.py"), *map(str, folders)]
        return cls(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))

    def order(self, message: dict[str, Any]) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        answer = self.hear(START_SECONDS)
        assert answer is not None, "the launcher did not fork"
        return answer["pid"]

    def hear(self, seconds: float) -> dict[str, int] | None:
        """The next message, or None where there is none in time."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not ready:
            return None
        answer: dict[str, int] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@dataclass
class Lives:
    """One scheduler's runner through all its lives."""

    folder: Path
    broker: Broker
    launcher: Launcher
    planted: Sequence[str] = ()
    broker_side: bool = True
    bar_seconds: int = 1
    patience: float = DRAIN_SECONDS
    count: int = 0
    _pid: int = 0
    _statistics: dict[str, Any] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.manifest = self.folder / "main.yaml"
        self.write(paused=False)

    @property
    def journal(self) -> Path:
        return self.folder / "data" / "journal" / "journal.db"

    def write(self, *, paused: bool) -> None:
        """The manifests, with new entries or without."""
        text = MANIFEST.format(
            paused=str(paused).lower(),
            broker_side=str(self.broker_side).lower(),
            broker=self.broker.spec,
            bar_seconds=self.bar_seconds,
        )
        partial = self.manifest.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(self.manifest)

    # -- lives -----------------------------------------------------------------------------------------------------

    def start(self, kill_point: str = "") -> None:
        self.count += 1
        argv = ["run", str(self.manifest), "--data", str(self.folder / "data"), "--port", "0", "--json-logs"]
        log = str(self.folder / "runner.log")
        self._pid = self.launcher.order(
            {"argv": argv, "kill_point": kill_point, "log": log, "planted": list(self.planted)}
        )

    def _ended(self, seconds: float) -> int | None:
        answer = self.launcher.hear(seconds)
        if answer is None:
            return None
        self._pid = 0
        return answer["status"]

    def killed_at(self, point: str) -> None:
        """A life that ends by itself at a kill point."""
        self.start(point)
        status = self._ended(POINT_SECONDS)
        if status is None:
            self.kill()
            raise AssertionError(f"{point}: {NOT_REACHED}")
        if status != -signal.SIGKILL:
            raise FoundError(f"the runner ended with {status} before {point}{self._last_words()}")
        self.check()

    def killed_after(
        self, seconds: float, point: str = "", begun: Callable[[], bool] = lambda: True, within: float = 0.0
    ) -> bool:
        """A life that is ended from outside, or by itself at a kill point where it comes there before; whether it did.

        The seconds count from when it has `begun`, for which it has the time `within`.
        """
        self.start(point)
        status, deadline = None, time.monotonic() + within
        while status is None and not begun() and time.monotonic() < deadline:
            status = self._ended(LOOK_SECONDS)
        status = self._ended(seconds) if status is None else status
        if status is None:
            self.kill()
        elif not point or status != -signal.SIGKILL:
            raise FoundError(f"the runner ended by itself with {status}{self._last_words()}")
        self.check()
        return status is not None

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        assert self._ended(20) is not None

    def kill_if_alive(self) -> None:
        """After a failure: the launcher is to be free for others."""
        if self._pid:
            self.kill()

    def drain(self) -> None:
        """A last life without entries, until every position has had its exit; then an orderly end and all checks."""
        self.write(paused=True)
        before = self.epoch()
        self.start()
        # Before it leads it may not have heard that SIGTERM is to end it in order.
        self._await(lambda: self.epoch() > before and not any(self.open_things()), "positions or intents stayed open")
        self.end()
        self.check()
        self.check_end()
        self.write(paused=False)

    def _last_words(self) -> str:
        """The end of the runner's log, for a reader who has nothing but the failure."""
        log = self.folder / "runner.log"
        return "; its log ends:\n" + "\n".join(log.read_text(encoding="utf-8").splitlines()[-LAST_LINES:])

    def end(self) -> None:
        """An orderly end."""
        os.kill(self._pid, signal.SIGTERM)
        status = self._ended(30)
        if status != 0:
            raise FoundError(f"the runner ended with {status} after SIGTERM{self._last_words()}")

    def run_until(self, reached: Callable[[], bool], what: str) -> None:
        """Let the life go on until something is true."""
        self._await(reached, what)

    def _await(self, reached: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.patience
        while not reached():
            status = self._ended(LOOK_SECONDS)
            if status is not None:
                raise FoundError(f"the runner ended by itself with {status}{self._last_words()}")
            if time.monotonic() > deadline:
                self.kill()
                raise FoundError(f"{what} for {self.patience:g} s: {self.open_things()}")

    # -- what the journal says -------------------------------------------------------------------------------------

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        if not self.journal.exists():
            return []
        try:
            with reading(self.journal) as connection:
                return connection.execute(query).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise

    def open_things(self) -> tuple[list[str], list[str]]:
        """Open intents and open positions."""
        intents = self._rows("SELECT order_ref FROM intents WHERE is_open = 1")
        positions = self._rows("SELECT position_id FROM positions WHERE is_open = 1")
        return [row[0] for row in intents], [row[0] for row in positions]

    def epoch(self) -> int:
        """The newest leadership that the journal knows."""
        return max((int(row[0]) for row in self._rows("SELECT epoch FROM journal")), default=0)

    def trades(self) -> int:
        """Round trips so far."""
        return len(self._rows("SELECT 1 FROM trades"))

    # -- invariants ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """What must be true at any moment; the runner is dead."""
        intents = {
            ref: (kind, position, int(epoch))
            for ref, kind, position, epoch in self._rows("SELECT order_ref, kind, position_id, epoch FROM intents")
        }
        self._check_arrivals(set(intents))
        self._check_exits({ref: (kind, position) for ref, (kind, position, _) in intents.items()})
        self._check_epochs({ref: epoch for ref, (_, _, epoch) in intents.items()})
        self._check_fills()
        self._check_statistics()

    def _check_arrivals(self, known: set[str]) -> None:
        arrived = Counter(order.order_ref for order in self.broker.arrivals())
        twice = [ref for ref, times in arrived.items() if times > 1]
        if twice:
            raise FoundError(f"orders were sent more than once: {twice}")
        unknown = set(arrived) - known
        if unknown:
            raise FoundError(f"the broker has orders that the journal does not know: {sorted(unknown)}")

    def _check_exits(self, intents: dict[str, tuple[str, str]]) -> None:
        held: Counter[str] = Counter()
        for execution in self.broker.executions():
            _, position = intents[execution.order_ref]
            held[position] += execution.signed  # type: ignore[assignment]
            if held[position] < 0:
                raise FoundError(f"exits sold more of {position} than was held")

    def _check_epochs(self, epochs: dict[str, int]) -> None:
        fresh = {epoch for ref, epoch in epochs.items() if ref not in self._seen}
        if len(fresh) > 1 or (fresh and min(fresh) <= max(self._seen.values(), default=0)):
            raise FoundError(
                f"the epochs {sorted(fresh)} of a life do not follow {max(self._seen.values(), default=0)}"
            )
        self._seen = epochs

    def fills(self) -> list[Execution]:
        """Every fill that is booked."""
        rows = self._rows("SELECT execution_id, order_ref, symbol, side, quantity, price, commission FROM fills")
        return [executed(*row) for row in rows]

    def _check_fills(self) -> None:
        """What is booked was made, and each position is what its fills come to."""
        made = {execution.execution_id: execution for execution in self.broker.executions()}
        for fill in self.fills():
            true = made.get(fill.execution_id)
            if true is None or replace(true, commission=fill.commission) != fill:
                raise FoundError(f"{fill} is booked; the broker made {true}")
        booked: dict[str, Decimal] = {}
        for position, side, quantity in self._rows("SELECT position_id, side, quantity FROM fills"):
            signed = Decimal(quantity) * (1 if side == "Buy" else -1)
            booked[position] = booked.get(position, Decimal(0)) + signed
        for position, quantity in self._rows("SELECT position_id, quantity FROM positions"):
            if booked.get(position, Decimal(0)) != Decimal(quantity):
                raise FoundError(f"{position} is {quantity}, and its fills come to {booked.get(position, 0)}")

    def _check_statistics(self) -> None:
        rows = self._rows("SELECT document FROM statistics")
        now: dict[str, Any] = json.loads(rows[0][0]) if rows else {}
        for path, before in counts_of(self._statistics).items():
            if counts_of(now).get(path, 0) < before:
                raise FoundError(f"the counter {path} went back from {before} to {counts_of(now).get(path, 0)}")
        self._statistics = now
        executed = self._rows("SELECT count(*) FROM intents WHERE kind = 'Entry' AND CAST(filled AS REAL) > 0")
        self._compare_count("trades_executed", executed)
        self._compare_count("exits_executed", self._rows("SELECT count(*) FROM trades"))

    def _compare_count(self, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
        expected = int(rows[0][0]) if rows else 0
        counted = int(self._statistics.get("total", {}).get(name, 0))
        if counted != expected:
            raise FoundError(f"{name} says {counted}, but the journal has {expected}")

    def check_end(self) -> None:
        """What must be true when everything has been left and the runner has ended."""
        made = {execution.execution_id: execution for execution in self.broker.executions()}
        booked = {row[0] for row in self._rows("SELECT execution_id FROM fills")}
        if booked != set(made):
            raise FoundError(f"fills booked and fills made differ: {sorted(booked ^ set(made))}")
        held: Counter[str] = Counter()
        for execution in made.values():
            held[execution.symbol] += execution.signed  # type: ignore[assignment]
        left = {symbol: quantity for symbol, quantity in held.items() if quantity}
        if left:
            raise FoundError(f"the broker still holds {left}, though every position of ours is closed")
        profits = [Decimal(row[0]) for row in self._rows("SELECT pnl FROM trades")]
        earned, told = self.broker.cash() - STARTING_CASH, sum(profits, Decimal(0))
        if abs(earned - told) > Decimal("0.01") * (len(profits) + 1):
            raise FoundError(f"the broker says that {earned} was earned, the round trips say {told}")


def counts_of(document: dict[str, Any], path: str = "") -> dict[str, int]:
    """Every whole number in a document by its path."""
    found: dict[str, int] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            found |= counts_of(value, f"{path}{name}.")
        elif isinstance(value, int) and not isinstance(value, bool):
            found[f"{path}{name}"] = value
    return found
