"""A runner's parts wired to a broker that a test scripts, with a real journal that can be made to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection

from fakes.values import OWNER, T0, make_fill, make_intent, make_update
from openbell.brokers.base import REMEMBERED, BrokerEvent, NotSentError
from openbell.domain.account import Account
from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value
from openbell.domain.bars import BarSeries, Quote
from openbell.domain.clock import SimulatedClock
from openbell.domain.errors import BrokerError, JournalError
from openbell.domain.orders import Fill, Intent, IntentState, OrderTerms, OrderUpdate
from openbell.domain.positions import BrokerPosition
from openbell.domain.state import TradingState
from openbell.journal import Journal
from openbell.journal.database import journal_errors
from openbell.journal.lock import FolderLock
from openbell.market.calendar import calendar_for
from openbell.resources.load import Manifest, parse_manifest
from openbell.runner.accountbook import AccountBook, Dates
from openbell.runner.assembly import dates_of
from openbell.runner.comparison import Comparison
from openbell.runner.control import Control, understand, wanted_of
from openbell.runner.desk import Desk, Told
from openbell.runner.evaluation import Evaluation
from openbell.runner.exiting import Exits
from openbell.runner.gate import Gate
from openbell.runner.health import DataState, Failures
from openbell.runner.ledger import Ledger, SignalRecord
from openbell.runner.limits import limits_of
from openbell.runner.locking import Locking
from openbell.runner.recording import Recording
from openbell.runner.situation import Situation
from openbell.runner.source import Observed
from openbell.runner.supervisor import Supervisor
from openbell.telemetry.metrics import RunnerMetrics

T = TypeVar("T")


@dataclass
class FakeFence:
    """Leadership that a test gives and takes."""

    epoch: int = 1
    held: bool = True

    def holds(self) -> bool:
        return self.held


class FlakyJournal(Journal):
    """The journal, on a disk that a test fills (`is_failing`). `calls` names what was asked of it."""

    def __init__(self, lock: FolderLock, thread: ThreadPoolExecutor, connection: Connection, *rest: Any) -> None:
        super().__init__(lock, thread, connection, *rest)
        self.is_failing = False
        self.is_inline = False  # no thread: in a test that does thousands of writes its turns would cost the most
        self.calls: list[str] = []
        self.before: dict[str, Callable[[], None]] = {}

    async def _run(self, doing: str, work: Callable[[Connection], T], committed: str = "") -> T:
        self.calls.append(doing)
        if doing in self.before:
            self.before[doing]()
        if self.is_failing:
            raise JournalError(f"the journal failed while {doing}: the disk is full")
        if self.is_inline:
            await asyncio.sleep(0)
            with journal_errors(doing), self._connection.begin():
                return work(self._connection)
        return await super()._run(doing, work, committed)


@dataclass
class ScriptedBroker:
    """Takes what it is sent and says what the test makes it say. `failing` is raised by the next sends."""

    is_connected: bool = True
    failing: BrokerError | None = None
    sent: list[Intent] = field(default_factory=list)
    modified: list[tuple[str, OrderTerms]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    account_answer: Answer[Account] = field(
        default_factory=lambda: Value(Account("T", "USD", Decimal(100_000), Decimal(100_000), Decimal(100_000)))
    )
    orders_answer: Answer[tuple[OrderUpdate, ...]] = field(default_factory=ConfirmedEmpty)
    fills_answer: Answer[tuple[Fill, ...]] = field(default_factory=ConfirmedEmpty)
    positions_answer: Answer[tuple[BrokerPosition, ...]] = field(default_factory=ConfirmedEmpty)
    on_lost: Callable[[], object] = lambda: None
    asked: int = 0
    while_asked: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        self.queue: asyncio.Queue[BrokerEvent] = asyncio.Queue()

    async def run(self) -> None:
        await asyncio.Event().wait()

    def remembers_since(self, now: datetime) -> datetime:
        return now - REMEMBERED

    async def account(self) -> Answer[Account]:
        return self.account_answer

    async def orders(self) -> Answer[tuple[OrderUpdate, ...]]:
        self.asked += 1
        return self.orders_answer

    async def fills(self, since: datetime) -> Answer[tuple[Fill, ...]]:
        return self.fills_answer

    async def positions(self) -> Answer[tuple[BrokerPosition, ...]]:
        answer = self.positions_answer
        awaited = self.while_asked()
        if awaited is not None:
            await awaited  # type: ignore[misc]
        return answer

    def send(self, intent: Intent) -> None:
        if not self.is_connected:
            raise NotSentError("not connected")
        if isinstance(self.failing, NotSentError):
            raise self.failing
        self.sent.append(intent)
        if self.failing is not None:
            raise self.failing

    def modify(self, order_ref: str, terms: OrderTerms) -> None:
        if not self.is_connected:
            raise NotSentError("not connected")
        self.modified.append((order_ref, terms))

    def cancel(self, order_ref: str) -> None:
        if not self.is_connected:
            raise NotSentError("not connected")
        self.cancelled.append(order_ref)

    async def events(self) -> AsyncIterator[BrokerEvent]:
        while True:
            yield await self.queue.get()

    def mute(self, why: str = "no answer") -> None:
        """From now on nothing about the account is known."""
        self.orders_answer = self.fills_answer = self.positions_answer = Unknown(why)

    def says(self, *updates: OrderUpdate, fills: Iterable[Fill] = (), **held: int) -> None:
        """The account as it is: orders, executions and what is held by symbol."""
        self.orders_answer = Value(updates) if updates else ConfirmedEmpty()
        made = tuple(fills)
        self.fills_answer = Value(made) if made else ConfirmedEmpty()
        positions = tuple(BrokerPosition(symbol, Decimal(count), Decimal(100)) for symbol, count in held.items())
        self.positions_answer = Value(positions) if positions else ConfirmedEmpty()

    @property
    def refs(self) -> list[str]:
        return [intent.order_ref for intent in self.sent]


@dataclass
class FakeMarket:
    """Prices and bars that a test writes; what is missing is unknown."""

    prices: dict[str, float] = field(default_factory=dict)
    series: dict[tuple[str, int], BarSeries] = field(default_factory=dict)

    async def quote(self, symbol: str, now: datetime) -> Answer[Quote]:
        price = self.prices.get(symbol)
        return Unknown("no quote") if price is None else Value(Quote(symbol, now, price, price, price))

    async def bars(self, symbol: str, bar_seconds: int, count: int, now: datetime) -> Answer[BarSeries]:
        series = self.series.get((symbol, bar_seconds))
        return Unknown("no bars") if series is None else Value(series)


def scheduler_manifest(*, generation: int = 1, annotations: dict[str, str] | None = None, **spec: object) -> Manifest:
    """An enabled scheduler called `main` on a market that never closes."""
    return parse_manifest(
        {
            "apiVersion": "openbell.dev/v1alpha1",
            "kind": "TradingScheduler",
            "metadata": {
                "name": "main",
                "namespace": "default",
                "uid": "u-1",
                "generation": generation,
                "annotations": annotations or {},
            },
            "spec": {"enabled": True, "market": {"calendar": "Always"}, **spec},
        }
    )


def strategy_manifest(name: str = "trend", *, generation: int = 1, **spec: object) -> Manifest:
    """A momentum strategy on AAPL that warms up in three bars."""
    return parse_manifest(
        {
            "apiVersion": "openbell.dev/v1alpha1",
            "kind": "Strategy",
            "metadata": {"name": name, "namespace": "default", "generation": generation},
            "spec": {
                "schedulerRef": {"name": "main"},
                "type": "Momentum",
                "parameters": {"lookback": 2, "threshold": 0.01},
                "symbols": ["AAPL"],
                **spec,
            },
        }
    )


def control_of(scheduler: Manifest, *strategies: Manifest, is_stale: bool = False) -> Control:
    """What a runner makes of these manifests."""
    understood = understand(Observed(scheduler, {each.name: each for each in strategies}, is_stale=is_stale), {})
    assert understood is not None
    return understood


class World:
    """Everything but sockets and timers. Close it, so that the journal's folder is free again."""

    def __init__(
        self,
        folder: Path,
        *,
        epoch: int = 1,
        clock: SimulatedClock | None = None,
        broker: Any = None,
        market: FakeMarket | None = None,
    ) -> None:
        self.clock = clock or SimulatedClock(T0)
        self.broker: ScriptedBroker = broker or ScriptedBroker()
        self.market = market or FakeMarket({"AAPL": 100.0})
        self.fence = FakeFence(epoch)
        self.metrics = RunnerMetrics(version="test", process=False)
        journal = FlakyJournal.open(folder, clock=self.clock)
        assert isinstance(journal, FlakyJournal)
        self.journal = journal
        self.gate = Gate(
            self.fence,
            asked=TradingState.RUNNING,
            strategies={"trend": TradingState.RUNNING},
            broker_connected=True,
            in_sync=True,
        )
        self.ledger = Ledger()
        self.announced = 0
        self.told: list[Told] = []
        self.signals: list[SignalRecord] = []
        self.desk = Desk(self.broker, self.journal, self.gate, self.ledger, self.clock, self.metrics)
        self.desk.listeners.append(self.told.append)
        self.supervisor = Supervisor(self.gate, self.desk, self.ledger, self.clock, self.metrics, self._announce)
        self.desk.listeners.append(lambda told: self.supervisor.nudge())
        self.comparison = Comparison(
            self.broker, self.journal, self.desk, self.gate, self.ledger, self.clock, self.metrics, self._announce
        )
        self.situation = Situation(
            clock=self.clock,
            gate=self.gate,
            fence=self.fence,
            desk=self.desk,
            ledger=self.ledger,
            supervisor=self.supervisor,
            comparison=self.comparison,
            data=DataState(),
            failures=Failures(),
            calendar=calendar_for("Always"),
        )
        self.locking = Locking(self.ledger, self.journal, self.clock, self.metrics, self._announce)
        self.situation.locks = self.locking.active
        self.account_book = AccountBook(
            self.ledger,
            self.journal,
            self.desk,
            self.gate,
            self.comparison,
            self.clock,
            Dates("Always", self.situation.calendar),
        )
        self.situation.account_book = self.account_book
        self.desk.listeners.append(self.account_book.on_told)
        self.desk.listeners.append(self.locking.on_told)
        self.exits = Exits(self.situation, self.market, self.journal, self.clock, OWNER)
        self.evaluation = Evaluation(
            self.situation,
            self.market,
            self.broker,
            self.journal,
            self.clock,
            self.metrics,
            OWNER,
            self.signals.append,
        )
        self.evaluation.account_listeners += [self.account_book.on_account, self.locking.on_account]

    def _announce(self) -> None:
        self.announced += 1

    async def begin(self) -> World:
        """Lead with the fence's epoch, after a first comparison with the broker."""
        self.comparison.answered.set()
        await self.journal.adopt_owner("u")
        await self.journal.begin_epoch(self.fence.epoch)
        return self

    def take(self, scheduler: Manifest, *strategies: Manifest) -> Control:
        """Carry manifests to the parts, as a crew does."""
        control = control_of(scheduler, *strategies)
        self.situation.control = control
        self.locking.adopt(control.spec.risk)
        self.locking.take(control.scheduler.annotations)
        self.account_book.adopt(limits_of(control), dates_of(control.spec.market))
        self.gate.strategies = control.strategy_states()
        wanted = wanted_of(Observed(scheduler, {}))
        assert wanted is not None
        self.supervisor.want(wanted)
        return control

    def record(self, recording: Recording | None) -> None:
        """Have every decision recorded, or none."""
        self.evaluation.recording = recording
        self.exits.recording = recording

    def close(self) -> None:
        self.evaluation.close()
        self.journal.close()

    async def hold(self, name: str = "a", quantity: int = 10, **changes: object) -> None:
        """Open a position by an entry that was sent and filled."""
        await self.desk.place([make_intent(name, quantity=Decimal(quantity), epoch=self.fence.epoch, **changes)])
        await self.desk.on_update(make_update(IntentState.WORKING, name))
        await self.desk.on_fill(make_fill(f"x-{name}", name, quantity=Decimal(quantity)))


async def until(reached: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return once something is true that no event tells of."""
    async with asyncio.timeout(seconds):
        while not reached():  # noqa: ASYNC110 - the parts under test are not to know that they are watched
            await asyncio.sleep(0.001)
