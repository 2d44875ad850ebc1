"""From the close of a bar to its last order, and from a price that crosses a stop to the exit, while much is evaluated.

    python benchmarks/latency.py [--rounds N] [--json FILE]

Orders: a hundred strategies of ten symbols on bars of a second, through the runner's own ticker, evaluation, desk and
journal; two of them give a signal on each symbol, twenty orders a bar. Beside it, in the same seconds: the same
strategies asked by a bare loop, and two commits of a journal on the same disk.

Exits: a position whose price falls through its stop at any moment of the exit interval of a second, while ten thousand
evaluations follow each other without a pause on the evaluation thread. Beside it: how late another process that does
nothing else wakes at the same ticks, which is what the machine itself was late by.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "operator")]

import numpy as np  # noqa: E402
import structlog  # noqa: E402

from fakes.trading import ScriptedBroker, World, scheduler_manifest, strategy_manifest  # noqa: E402
from fakes.values import make_intent  # noqa: E402
from openbell.cli._process import run_async  # noqa: E402
from openbell.domain.answers import Answer, Value  # noqa: E402
from openbell.domain.bars import BarSeries, Quote  # noqa: E402
from openbell.domain.clock import SystemClock  # noqa: E402
from openbell.domain.money import ZERO  # noqa: E402
from openbell.domain.orders import Fill, Intent, IntentKind, IntentState, OrderUpdate, Side  # noqa: E402
from openbell.domain.policies import encode_policy  # noqa: E402
from openbell.domain.positions import ExitPolicy  # noqa: E402
from openbell.journal import Journal  # noqa: E402
from openbell.resources.load import Manifest  # noqa: E402
from openbell.runner.control import StrategyEntry  # noqa: E402
from openbell.runner.loops import Loops  # noqa: E402
from openbell.strategies.api import Context  # noqa: E402

STRATEGIES, SYMBOLS, EAGER = 100, 10, 2
SIGNALS = SYMBOLS * EAGER
SATURATING_SYMBOLS = 100
EXIT_SECONDS = 1
HELD = "HELD"
BARS = 250


@dataclass(frozen=True, slots=True)
class Result:
    """Milliseconds; goals stand in the design."""

    rounds: int
    bare_p50_ms: float
    bare_p99_ms: float
    order_p50_ms: float
    order_p99_ms: float
    exit_interval_ms: float
    exit_p50_ms: float
    exit_p99_ms: float
    exit_after_tick_p50_ms: float
    exit_after_tick_p99_ms: float
    sleeper_p50_ms: float
    sleeper_p99_ms: float

    def lines(self) -> Iterator[str]:
        p50, p99 = self.order_p50_ms / self.bare_p50_ms, self.order_p99_ms / self.bare_p99_ms
        allowed = self.exit_interval_ms + 30
        sleeper = f"{self.sleeper_p50_ms:7.1f} {self.sleeper_p99_ms:7.1f}"
        orders = f"{self.order_p50_ms:7.1f} {self.order_p99_ms:7.1f}"
        exits = f"{self.exit_p50_ms:7.1f} {self.exit_p99_ms:7.1f}"
        after = f"{self.exit_after_tick_p50_ms:7.1f} {self.exit_after_tick_p99_ms:7.1f}"
        yield f"bare evaluations + two commits, p50 / p99 ms         {self.bare_p50_ms:7.1f} {self.bare_p99_ms:7.1f}"
        yield f"bar closed → last of {SIGNALS} orders, p50 / p99 ms (60)   {orders}"
        yield f"  as a ratio of the bare ones (goal 2)               {p50:7.2f} {p99:7.2f}"
        yield f"stop crossed → exit sent, p50 / p99 ms ({allowed:.0f})       {exits}"
        yield f"  after the exit loop's tick was due (30)            {after}"
        yield f"  a process that only sleeps until these ticks       {sleeper}"


class TimedBroker(ScriptedBroker):
    """Writes down when each order came."""

    def send(self, intent: Intent) -> None:
        super().send(intent)
        self.times[intent.order_ref] = datetime.now(UTC)

    @property
    def times(self) -> dict[str, datetime]:
        return self.__dict__.setdefault("_times", {})


class SecondsMarket:
    """Bars of a second that end at each whole one, from memory; every symbol rises by a little."""

    def __init__(self, symbols: int) -> None:
        self._whole = {f"S{number:03}": _rising(f"S{number:03}", number) for number in range(symbols)}
        self._ends = np.arange(1.0 - BARS, 1.0)
        self.held_price = 100.0

    async def quote(self, symbol: str, now: datetime) -> Answer[Quote]:
        price = self.held_price if symbol == HELD else float(self._whole[symbol].close[-1])
        return Value(Quote(symbol, now, price, price, price))

    async def bars(self, symbol: str, bar_seconds: int, count: int, now: datetime) -> Answer[BarSeries]:
        return Value(replace(self._whole[symbol], end=self._ends + int(now.timestamp())))

    def series(self) -> Mapping[str, BarSeries]:
        return self._whole


def _rising(symbol: str, number: int) -> BarSeries:
    closes = 100.0 * np.exp(np.arange(BARS) * 1e-4 * (1 + number % 7))
    closes.setflags(write=False)
    columns = (closes, closes * 1.001, closes * 0.999, closes, np.full(BARS, 1000.0))
    return BarSeries(symbol, 1, np.arange(1.0 - BARS, 1.0), *columns)


def manifests(symbols: int, eager: int) -> list[Manifest]:
    """Momentum and crossover in turn; the first `eager` take any rise for a reason to buy, the others none."""
    names = [f"S{number:03}" for number in range(symbols)]
    made = []
    for number in range(STRATEGIES):
        rule: dict[str, object] = {"parameters": {"lookback": 10, "threshold": 1e-6 if number < eager else 1.0}}
        if number >= eager and number % 2:
            rule = {"type": "Crossover", "parameters": {}}
        made.append(strategy_manifest(f"s-{number:03}", symbols=names, barSeconds=1, **rule))
    return made


def scheduler() -> Manifest:
    return scheduler_manifest(
        evaluationIntervalSeconds=1,
        exitCheckIntervalSeconds=EXIT_SECONDS,
        maxConcurrentTrades=1000,
        sizing={"minFraction": 0.001, "maxFraction": 0.002},
        risk={"maxOrdersPerMinute": 10_000, "maxOrdersPerDay": 1_000_000},
    )


async def world_of(folder: Path, symbols: int, eager: int) -> tuple[World, TimedBroker, SecondsMarket]:
    """A runner's parts on the real clock, with this broker and market."""
    market = SecondsMarket(symbols)
    broker = TimedBroker()
    world = await World(folder, clock=SystemClock(), broker=broker, market=market).begin()  # type: ignore[arg-type]
    world.take(scheduler(), *manifests(symbols, eager))
    return world, broker, market


def loops_of(world: World) -> Loops:
    return Loops(world.situation, world.evaluation, world.exits, world.clock, world.metrics)


def ask_bare(entries: list[StrategyEntry], series: Mapping[str, BarSeries], now: datetime) -> None:
    for entry in entries:
        for symbol in entry.spec.symbols:
            context = Context(symbol, series[symbol], entry.parameters, ZERO, now, entry.name)
            tuple(entry.strategy.evaluate(context))


async def whole_bar(broker: TimedBroker) -> list[Intent]:
    """All orders of the next bar that has all of them; one that the machine was too late for has fewer."""
    async with asyncio.timeout(30):
        while True:
            for end in {intent.bar_time for intent in broker.sent}:
                of_bar = [intent for intent in broker.sent if intent.bar_time == end]
                if len(of_bar) == SIGNALS:
                    return of_bar
            await asyncio.sleep(0.005)


async def measure_orders(folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of the bare work, and of the runner from a bar's end to its last order, round by round."""
    world, broker, market = await world_of(folder / "orders", SYMBOLS, EAGER)
    control = world.situation.control
    assert control is not None
    entries = list(control.entries.values())
    other = Journal.open(folder / "other", clock=world.clock)
    await other.adopt_owner("u")
    await other.begin_epoch(1)
    task = asyncio.create_task(loops_of(world).evaluate())
    bare: list[float] = []
    found: list[float] = []
    while len(found) < rounds + 1:
        sent = await whole_bar(broker)
        ends = sent[0].bar_time
        found.append((max(broker.times[intent.order_ref] for intent in sent) - ends).total_seconds())
        for intent in list(broker.sent):
            await world.desk.on_update(OrderUpdate(intent.order_ref, IntentState.CANCELLED, "b"))
        broker.sent.clear()
        broker.times.clear()
        began = time.perf_counter()
        await asyncio.to_thread(ask_bare, entries, market.series(), ends)
        await other.commit_intents(sent)
        await other.save_statistics(world.ledger.statistics)
        bare.append(time.perf_counter() - began)
    task.cancel()
    other.close()
    world.close()
    return bare[1:], found[1:]


SLEEPER = """
import sys, time
while True:
    due = int(time.time()) + 1
    while time.time() < due:
        time.sleep(due - time.time())
    sys.stdout.write(f"{due} {time.time() - due}\\n")
    sys.stdout.flush()
"""


async def measure_exits(folder: Path, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds from the crossing of a stop to its exit, from the first tick due after it, and of the sleeper there."""
    world, broker, market = await world_of(folder / "exits", SATURATING_SYMBOLS, 0)
    control = world.situation.control
    assert control is not None
    entries = list(control.entries.values())

    async def saturate() -> None:
        while True:
            await world.evaluation.run(entries, datetime.now(UTC))

    sleeper = await asyncio.create_subprocess_exec(sys.executable, "-c", SLEEPER, stdout=asyncio.subprocess.PIPE)
    tasks = [asyncio.create_task(saturate()), asyncio.create_task(loops_of(world).exit())]
    at_random = random.Random(1)
    policy = encode_policy(ExitPolicy(stop_loss=0.02))
    crossed: list[float] = []
    ticked: list[float] = []
    dues: list[int] = []
    for number in range(rounds + 1):
        market.held_price = 100.0
        entry = make_intent(f"e{number}", symbol=HELD, strategy="s-000", exits=policy, epoch=1)
        await world.desk.place([entry])
        await fill(world, entry, 100.0)
        broker.says(**{HELD: 10})
        await asyncio.sleep(at_random.uniform(0.05, 1.05))
        market.held_price, since = 97.0, datetime.now(UTC)
        exit_order = await until_exit(broker)
        moment = broker.times[exit_order.order_ref]
        due = since.replace(microsecond=0) + timedelta(seconds=EXIT_SECONDS)
        crossed.append((moment - since).total_seconds())
        ticked.append((moment - due).total_seconds())
        dues.append(int(due.timestamp()))
        await fill(world, exit_order, 97.0)
        broker.says()
        broker.sent.clear()
    for task in tasks:
        task.cancel()
    world.close()
    sleeper.terminate()
    said, _ = await sleeper.communicate()
    late = dict(line.split() for line in said.decode().splitlines())
    return crossed[1:], ticked[1:], [float(late[str(due)]) for due in dues[1:]]


async def fill(world: World, intent: Intent, price: float) -> None:
    now = datetime.now(UTC)
    quantity, commission = intent.quantity, Decimal(1)
    await world.desk.on_fill(
        Fill(f"x-{intent.order_ref}", intent.order_ref, HELD, intent.side, quantity, Decimal(price), commission, now)
    )


async def until_exit(broker: TimedBroker) -> Intent:
    async with asyncio.timeout(30):
        while True:
            for intent in broker.sent:
                if intent.kind is IntentKind.EXIT:
                    assert intent.side is Side.SELL
                    return intent
            await asyncio.sleep(0.002)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def measure(folder: Path, rounds: int) -> Result:
    bare, orders = await measure_orders(folder, rounds)
    crossed, ticked, sleeper = await measure_exits(folder, rounds)
    return Result(
        rounds=rounds,
        bare_p50_ms=statistics.median(bare) * 1000,
        bare_p99_ms=percentile(bare, 0.99) * 1000,
        order_p50_ms=statistics.median(orders) * 1000,
        order_p99_ms=percentile(orders, 0.99) * 1000,
        exit_interval_ms=EXIT_SECONDS * 1000.0,
        exit_p50_ms=statistics.median(crossed) * 1000,
        exit_p99_ms=percentile(crossed, 0.99) * 1000,
        exit_after_tick_p50_ms=statistics.median(ticked) * 1000,
        exit_after_tick_p99_ms=percentile(ticked, 0.99) * 1000,
        sleeper_p50_ms=statistics.median(sleeper) * 1000,
        sleeper_p99_ms=percentile(sleeper, 0.99) * 1000,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as name:
        result = run_async(measure(Path(name), options.rounds))
    print("\n".join(result.lines()))
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(result), indent=2) + "\n")


if __name__ == "__main__":
    main()
