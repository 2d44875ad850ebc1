"""One process of a runner, without a process: its objects on the journal and the venue that outlive it."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from engine_line import BAR_SECONDS, Line, Market
from engine_time import Inline
from sqlalchemy import Connection

from openbell.domain.clock import SimulatedClock
from openbell.domain.errors import JournalError, NotLeadingError, StaleEpochError
from openbell.domain.signals import Action, Signal
from openbell.journal import Journal, killpoints
from openbell.journal.lock import FolderLock
from openbell.journal.recorder import Recorder
from openbell.runner.control import understand, wanted_of
from openbell.runner.custom import Workshop
from openbell.runner.desk import Told
from openbell.runner.leadership import Leadership
from openbell.runner.main import restored_ledger
from openbell.runner.parts import Parts
from openbell.runner.recording import Recording
from openbell.runner.source import Observed
from openbell.strategies.api import Context, DataNeeds, Strategy, StrategyParams
from openbell.telemetry.metrics import RunnerMetrics

T = TypeVar("T")
METRICS = RunnerMetrics(version="test", process=False)
COMPILED: dict[Any, Any] = {}


@cache
def _empty_journal() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        Journal.open(Path(folder), clock=SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC))).close()
        return (Path(folder) / "journal.db").read_bytes()


def new_journal(folder: Path) -> None:
    """A journal in which nothing is written yet; making its tables costs more than a whole history."""
    (folder / "journal.db").write_bytes(_empty_journal())
    (folder / "reserve").touch()
    (folder / "unwritten").write_bytes(b"0")


class KilledError(BaseException):
    """The process is gone at this very place; what it was about to do is not done."""


def arm(point: str, die: Callable[[str], None] = lambda why: None) -> None:
    """The process is to be killed when it reaches a named point (`name:n`); empty: it is not."""

    def kill(*_: object) -> None:
        die(f"killed at {point}")
        raise KilledError

    killpoints._armed = killpoints._parse(point)
    killpoints.os = SimpleNamespace(kill=kill, getpid=lambda: 0)


@dataclass
class Contender:
    """The lease, as this runner holds it or not. `epoch` is the lease's."""

    epoch: int = 0
    held: bool = False
    is_preempted: bool = False
    holder: str = ""
    notice: Callable[[], None] = lambda: None

    def holds(self) -> bool:
        return self.held

    def start(self, on_change: Callable[[], None]) -> None:
        self.notice = on_change
        on_change()

    async def stop(self) -> None:
        self.held = False

    def take(self, epoch: int) -> None:
        self.epoch, self.held = epoch, True
        self.notice()

    def lose(self) -> None:
        self.held = False
        self.notice()


class WatchedJournal(Journal):
    """The journal on one thread, on a disk that can be full: reading goes on, writing does not."""

    passing: Callable[[str], object]
    is_full: Callable[[], bool]
    is_dead = False

    def __init__(self, lock: FolderLock, thread: ThreadPoolExecutor, connection: Connection, *rest: Any) -> None:
        super().__init__(lock, thread, connection, *rest)
        thread.shutdown()
        self._thread = Inline()
        # What SQLAlchemy has compiled is kept by the dialect's identity: it is the same in every life.
        connection.dialect = connection.engine.dialect = COMPILED.setdefault("dialect", connection.dialect)
        connection.execution_options(compiled_cache=COMPILED)

    async def _run(self, doing: str, work: Callable[[Connection], T], committed: str = "") -> T:
        self.passing(doing)
        if self.is_dead:
            raise KilledError
        if self.is_full() and doing.startswith("writing"):
            await asyncio.sleep(0)
            raise JournalError(f"the journal failed while {doing}: the disk is full")
        answer = await super()._run(doing, work, committed)
        self.passing(doing)
        return answer


Script = Mapping[tuple[str, str, float, float], tuple[Action, float]]
"""What is said by strategy and symbol of the bar with this end and this close."""


class Scripted(Strategy[StrategyParams]):
    """Says what the history made it say of the newest bar."""

    name = "Scripted"
    version = "1"
    Params = StrategyParams

    def __init__(self, script: Script) -> None:
        self._script = script

    def data(self, params: StrategyParams, bar_seconds: int) -> DataNeeds:
        return DataNeeds(bar_seconds, 1)

    def evaluate(self, context: Context[StrategyParams]) -> list[Signal]:
        bars = context.bars
        said = self._script.get((context.strategy, context.symbol, float(bars.end[-1]), float(bars.close[-1])))
        return [context.signal(*said, "scripted", valid_bars=2.0)] if said else []


@dataclass
class Life:
    """From start to death. `ended` has why the process is no more."""

    folder: Path
    clock: SimulatedClock
    market: Market
    line: Line
    contender: Contender
    is_full: Callable[[], bool]
    passing: Callable[[str], object]
    is_recorded: bool = False
    ended: str = ""
    wants_look: bool = False
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    async def begin(self, observed: Observed) -> None:
        journal = WatchedJournal.open(self.folder, clock=self.clock)
        assert isinstance(journal, WatchedJournal)
        journal.passing, journal.is_full = self.passing, self.is_full
        self.journal = journal
        self.reading = sqlite3.connect(f"file:{self.folder / 'journal.db'}?mode=ro", uri=True, isolation_level=None)
        state = await journal.load(since=self.clock.now() - timedelta(days=1))
        owner = state.owner_tag or await journal.adopt_owner("u-1")
        ledger = await restored_ledger(journal, state, self.clock)
        self.leadership = Leadership(self.contender, METRICS, lambda: None)
        control = understand(observed, {})
        assert control is not None
        self.parts = Parts(
            control, self.line, self.market, self.clock, journal, state, ledger, owner,
            self.leadership, METRICS, lambda: None, lambda record: None, workshop=Workshop(),
        )  # fmt: skip
        self.parts.evaluation.close()
        self.parts.evaluation._asking._thread = Inline()
        self.parts.desk.listeners.append(self._on_told)
        self.recorder = Recorder(self.folder) if self.is_recorded else None
        if self.recorder is not None:
            self.parts.evaluation.recording = self.parts.exits.recording = Recording(self.recorder)
        self.take(observed)
        parts = self.parts
        for work in (
            self.leadership.run(parts.desk.begin_epoch, self._on_lead),
            parts.comparison.follow(),
            parts.comparison.run(),
            parts.supervisor.run(),
            parts.locking.run(),
        ):
            self.tasks.append(asyncio.create_task(self._mortal(work)))

    def _on_told(self, told: Told) -> None:
        self.parts.supervisor.nudge()
        self.wants_look |= self.parts.exits.wants_look(told)

    async def _on_lead(self) -> None:
        self.parts.comparison.ask()

    def take(self, observed: Observed) -> None:
        """As a crew takes a reading of the resources."""
        wanted, control = wanted_of(observed), understand(observed, {})
        assert wanted is not None
        assert control is not None
        self.parts.supervisor.want(wanted)
        self.parts.adopt(control)

    async def _mortal(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Work by which this process may end."""
        try:
            return await work
        except KilledError:
            self.die("killed")
        except (StaleEpochError, NotLeadingError) as error:
            self.die(str(error))
        return None

    async def run(self, *works: Coroutine[Any, Any, T]) -> list[T | None]:
        """Several pieces of work at once, each until it ends or the process does."""
        return list(await asyncio.gather(*(self._mortal(work) for work in works)))

    def die(self, why: str) -> None:
        """From here on nothing of it has an effect."""
        self.ended = self.ended or why
        self.line.is_dead = self.journal.is_dead = True
        self.contender.held = False

    async def bury(self) -> None:
        """Take away what a dead process leaves in memory."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.recorder is not None:
            self.recorder.close()
        self.reading.close()
        self.journal.close()


def scheduler(spec: Mapping[str, Any], generation: int) -> dict[str, Any]:
    """The scheduler's manifest."""
    return {
        "apiVersion": "openbell.dev/v1alpha1",
        "kind": "TradingScheduler",
        "metadata": {"name": "main", "namespace": "default", "uid": "u-1", "generation": generation},
        "spec": dict(spec),
    }


def strategy(name: str, symbols: list[str], *, paused: bool, priority: int) -> dict[str, Any]:
    """A strategy's manifest; what it says is scripted."""
    return {
        "apiVersion": "openbell.dev/v1alpha1",
        "kind": "Strategy",
        "metadata": {"name": name, "namespace": "default", "generation": 1},
        "spec": {
            "schedulerRef": {"name": "main"},
            "type": "Momentum",
            "symbols": symbols,
            "barSeconds": BAR_SECONDS,
            "paused": paused,
            "priority": priority,
        },
    }
