"""One history: a venue and a market, the runner's lives on them, and all that can happen to either.

Everything follows from the setting and from the arguments of the steps, so that the same steps make the same history.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

from engine_life import Contender, KilledError, Life, Scripted, arm, new_journal, scheduler, strategy
from engine_line import ACCOUNT, BAR_SECONDS, Line, Market
from engine_time import INSTANT, SimulatedLoop
from engine_watch import Watch

from openbell.brokers.simulated.book import Book
from openbell.brokers.simulated.desk import Desk as VenueDesk
from openbell.brokers.simulated.desk import VenueSettings
from openbell.brokers.simulated.faults import FaultPlan, parse_fault
from openbell.brokers.simulated.ledger import Ledger as VenueLedger
from openbell.brokers.simulated.venue import Happened, OrderRequest, Terms
from openbell.domain.bars import Quote
from openbell.domain.clock import SimulatedClock
from openbell.domain.errors import JournalError, NotLeadingError, OpenbellError, StaleEpochError
from openbell.domain.limits import LockScope
from openbell.domain.money import price
from openbell.domain.orders import Fill, Side
from openbell.domain.signals import Action
from openbell.domain.state import TradingState, safer
from openbell.journal.reading import stored_inputs, stored_runs
from openbell.market.calendar import calendar_for
from openbell.market.recorded import Split
from openbell.resources.load import parse_manifest
from openbell.risk.locks import Lock
from openbell.runner.audit import audit
from openbell.runner.replaying import follow_split
from openbell.runner.source import Observed
from openbell.strategies import loader

MEMORY = Path("/dev/shm")  # noqa: S108 - only its speed is wanted
START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
CALENDAR = calendar_for("XNYS")
SYMBOLS = ("AAPL", "MSFT")
STRATEGIES = ("fade", "trend")
PAIRS = tuple((name, symbol) for name in STRATEGIES for symbol in SYMBOLS)
STARTING_CASH = Decimal(20_000)

Said = Mapping[tuple[str, str], tuple[Action, float]]
Meanwhile = tuple[int, str] | tuple[int, str, str] | None
"""What happens while something else is done, and at which of its awaitings: of all, or of those from the first on that
is for this work of the journal's.
"""


class NotStartedError(Exception):
    """A process that cannot write its journal at its first start ends; the step that needed it is not done."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What does not change in a history."""

    seed: int = 1
    cash: bool = False
    short: bool = False
    partial: bool = False
    trailing: bool = False
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What people ask of the scheduler and its strategies."""

    enabled: bool = True
    paused: bool = False
    killed: bool = False
    flatten: bool = False
    halts_exits: bool = False
    keeps_orders: bool = False
    is_stale: bool = False
    paused_strategies: frozenset[str] = frozenset()

    @property
    def state(self) -> TradingState:
        if not self.enabled:
            return TradingState.STOPPED
        return TradingState.PAUSED if self.paused else TradingState.RUNNING


@dataclass
class History:
    """Steps are done by `do`, which checks everything that must be true afterwards."""

    setting: Setting
    asked: Asked = field(default_factory=Asked)
    generation: int = 1
    held: TradingState = TradingState.RUNNING  # by REST, until the resource says so
    life: Life | None = None
    locks: dict[str, Lock] = field(default_factory=dict)
    locked_before: frozenset[str] = frozenset()
    steps: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    is_recorded: bool = False
    was_killed: bool = False

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="openbell-", dir=MEMORY if MEMORY.is_dir() else None))
        new_journal(self.folder)
        self.clock = SimulatedClock(START)
        self.loop = SimulatedLoop(self.clock)
        self.starting_cash = STARTING_CASH
        self.market = Market(self._passing)
        self.book = Book.in_memory()
        terms = Terms(starting_cash=STARTING_CASH, partial_fills=self.setting.partial)
        settings = VenueSettings(seed=self.setting.seed, terms=terms, hours=CALENDAR)
        self.watch = Watch(self)
        self.venue = VenueDesk(self.book, self.market, self.clock, settings, self._happened)
        self.faults = FaultPlan()
        self.contender = Contender()
        self.line = self._line()
        self.said: dict[tuple[str, str], tuple[Action, float]] = {}
        self.script: dict[tuple[str, str, float, float], tuple[Action, float]] = {}
        self._scripted = mock.patch.object(loader, "_STRATEGIES", {"Momentum": Scripted(self.script)})
        self._scripted.start()
        self.epoch = 0
        self.is_lease_free = True
        self.is_disk_full = False
        self.deciding_at = START
        self._splits = self._trades = 0
        self._meanwhile: list[Any] = []
        for symbol, at in zip(SYMBOLS, (100.0, 250.0), strict=True):
            self._quote(symbol, at)
            self.market.close_bar(symbol, START)

    def close(self) -> None:
        arm("")
        if self.life is not None:
            self.loop.run_until_complete(self._bury())
        self.loop.close()
        self.book.close()
        self._scripted.stop()
        shutil.rmtree(self.folder)

    def do(self, step: str, **arguments: Any) -> None:
        """One step, and everything that follows from it at once."""
        self.steps.append((step, arguments))
        self.loop.run_until_complete(self._do(getattr(self, step), arguments))

    async def _do(self, step: Callable[..., Coroutine[Any, Any, None]], arguments: Mapping[str, Any]) -> None:
        with contextlib.suppress(NotStartedError):  # it is tried again by the next step that needs it
            await step(**arguments)
        self._meanwhile = []
        await asyncio.sleep(INSTANT)
        await self._look_again()
        if self.life is not None:
            for task in self.life.tasks:
                if task.done() and not self.life.ended:
                    task.result()
                    raise AssertionError(f"a task of the runner ended by itself: {task}")
            if self.life.ended:
                self.was_killed |= self.life.ended.startswith("killed")
                await self._bury()
        self.watch.check()

    async def _look_again(self) -> None:
        """As a crew does where the broker has told what is to be followed by a check of exits at once."""
        for _ in range(5):
            life = self.life
            if life is None or life.ended or not life.wants_look:
                return
            life.wants_look = False
            await life.run(self._guarded(life.parts.exits.check()))
            await asyncio.sleep(INSTANT)

    # -- what others look at -----------------------------------------------------------------------------------------

    @property
    def living(self) -> Life:
        assert self.life is not None
        return self.life

    @property
    def state(self) -> TradingState:
        return safer(self.asked.state, self.held)

    @property
    def venue_ledger(self) -> VenueLedger:
        return self.venue._venue.ledger(ACCOUNT)

    def outcome(self) -> Sequence[object]:
        """What a history came to: every message that the venue got, every execution, every round trip."""
        with contextlib.closing(sqlite3.connect(self.folder / "journal.db")) as reading:
            trades = reading.execute("SELECT * FROM trades ORDER BY closed_by").fetchall()
            trades += reading.execute("SELECT document FROM statistics").fetchall()
        return (*self.book.arrivals(), *self.watch.executions, *trades, self.clock.now())

    def audit(self) -> None:
        """Make every decision again from what was recorded, where no life was killed in the middle of one: that one
        is in the journal and not among the inputs.
        """
        if self.life is None or self.was_killed:
            return
        intents = self.loop.run_until_complete(self.life.journal.orders(100_000))
        self.loop.run_until_complete(self._bury())
        report = audit(stored_inputs(self.folder), stored_runs(self.folder), intents)
        for difference in report.differences:
            self.watch.note(difference.sentence())
        self.watch.check()

    # -- the runner's process ----------------------------------------------------------------------------------------

    def _line(self) -> Line:
        watch = self.watch
        return Line(self.venue, self._passing, watch.arrives, watch.changes, self.faults)

    def _happened(self, happened: Happened) -> None:
        if isinstance(happened.event, Fill):
            self.watch.executed(happened.event)
        if happened.account == ACCOUNT:
            self.line.happened(happened.event)

    def _observed(self) -> Observed:
        asked, setting = self.asked, self.setting
        trailing = {"trailing": {"activation": 0.01, "distance": 0.01}} if setting.trailing else {}
        spec = {
            "enabled": asked.enabled,
            "paused": asked.paused,
            "pausePolicy": {
                "exits": "Halt" if asked.halts_exits else "Continue",
                "openOrders": "Keep" if asked.keeps_orders else "CancelEntries",
            },
            "stopPolicy": {"positions": "Flatten" if asked.flatten else "Keep"},
            "sizing": {"minFraction": 0.2, "maxFraction": 0.45, "maxEquityFraction": 0.5},
            "exits": {"stopLoss": 0.02, "takeProfit": 0.04, "brokerSide": setting.protected, **trailing},
            "risk": {
                "killSwitch": asked.killed,
                "allowShort": setting.short,
                "maxOrdersPerMinute": 1000,
                "maxDailyLossFraction": 1.0,
                "maxDrawdownFraction": 1.0,
                "maxSymbolExposure": 5.0,
                "maxGrossExposure": 5.0,
                "settlement": {"account": "Cash" if setting.cash else "Margin"},
            },
        }
        strategies = {
            name: parse_manifest(
                strategy(name, list(SYMBOLS), paused=name in asked.paused_strategies, priority=priority)
            )
            for priority, name in enumerate(STRATEGIES)
        }
        return Observed(parse_manifest(scheduler(spec, self.generation)), strategies, is_stale=asked.is_stale)

    async def _alive(self) -> Life:
        """The running process; a new one where the last is dead."""
        if self.life is None:
            arm("")
            self.line = self._line()
            self.contender = Contender(epoch=self.epoch)
            life = Life(
                self.folder, self.clock, self.market, self.line, self.contender,
                lambda: self.is_disk_full, self._passing, self.is_recorded,
            )  # fmt: skip
            try:
                await life.begin(self._observed())
            except JournalError as error:
                await life.bury()
                raise NotStartedError from error
            self.watch.begins(life.reading)
            self.life = life
            if self.held is not TradingState.RUNNING:
                life.parts.supervisor.hold(self.held)
            if self.is_lease_free:
                self._lead()
            self.line.connect()
            await asyncio.sleep(INSTANT)
        return self.life

    async def _bury(self) -> None:
        life, self.life = self.life, None
        assert life is not None
        life.die("ended")
        self.line.drop()
        arm("")
        await life.bury()

    def _lead(self) -> None:
        self.epoch += 1
        self.contender.take(self.epoch)

    # -- meanwhile ---------------------------------------------------------------------------------------------------

    def _passing(self, doing: str = "") -> None:
        """The runner awaits something: other things may happen."""
        if not self._meanwhile:
            return
        left, what, *since = self._meanwhile
        if since and since[0] != doing:
            return
        self._meanwhile = [left - 1, what]
        if left == 1:
            self._meanwhile = []
            getattr(self, f"_meanwhile_{what}")()

    def _meanwhile_paused(self) -> None:
        self._ask(paused=True)

    def _meanwhile_stopped(self) -> None:
        self._ask(enabled=False)

    def _meanwhile_killed_switch(self) -> None:
        self._ask(killed=True)

    def _meanwhile_held(self) -> None:
        self.held = safer(self.held, TradingState.PAUSED)
        self.living.parts.supervisor.hold(TradingState.PAUSED)

    def _meanwhile_strategy_paused(self) -> None:
        self._ask(paused_strategies=frozenset(STRATEGIES))

    def _meanwhile_lease_lost(self) -> None:
        self.contender.lose()

    def _meanwhile_lease_moved(self) -> None:
        self.contender.lose()
        self._lead()

    def _meanwhile_dropped(self) -> None:
        self.line.drop()

    def _meanwhile_reconnected(self) -> None:
        self.line.drop()
        self.line.connect()

    def _meanwhile_disk_full(self) -> None:
        self.is_disk_full = True

    def _meanwhile_price_fell(self) -> None:
        for symbol in SYMBOLS:
            self._quote(symbol, self.market.quotes[symbol].price * 0.975)

    def _meanwhile_locked(self) -> None:
        task = asyncio.ensure_future(self._lock(LockScope.GLOBAL, "", None))
        self.living.tasks.append(task)
        task.add_done_callback(self.living.tasks.remove)

    def _meanwhile_killed(self) -> None:
        self.living.die("killed")
        raise KilledError

    # -- prices, bars and time ---------------------------------------------------------------------------------------

    def _quote(self, symbol: str, at: float) -> None:
        at = max(1.0, round(at, 4))
        quote = Quote(symbol, self.clock.now(), at, at, at)
        self.market.quotes[symbol] = quote
        self.watch.seen(symbol, price(at))
        self.venue.on_quote(quote)

    async def price_moves(self, symbol: str, bps: int) -> None:
        await asyncio.sleep(1)
        self._quote(symbol, self.market.quotes[symbol].price * (1 + bps / 10_000))

    async def time_passes(self, seconds: int) -> None:
        await asyncio.sleep(seconds)

    async def day_passes(self) -> None:
        """To half an hour after the next session's open, in one step: nothing is asked of anybody in between."""
        session = CALENDAR.next_session(self.clock.now())
        assert session is not None
        self.clock.set(session.open + timedelta(minutes=30))
        await asyncio.sleep(1)

    async def bar_closes(self, said: Said, meanwhile: Meanwhile) -> None:
        """The next bar closes at the last prices; strategies are evaluated on it."""
        await self._alive()
        elapsed = (self.clock.now() - START).total_seconds() % BAR_SECONDS
        await asyncio.sleep(BAR_SECONDS - elapsed)
        end = START + timedelta(seconds=BAR_SECONDS * round((self.clock.now() - START).total_seconds() / BAR_SECONDS))
        for symbol in SYMBOLS:
            self._quote(symbol, self.market.quotes[symbol].price)
            self.market.close_bar(symbol, end)
        self.said = dict(said)
        self._speak()
        await self.evaluates(meanwhile)

    def _speak(self) -> None:
        """What strategies are to say depends on the bars alone, so that it can be asked of them again."""
        for (name, symbol), opinion in self.said.items():
            bar = self.market.bars_of[symbol][-1]
            self.script[name, symbol, bar.end.timestamp(), bar.close] = opinion

    async def bar_is_corrected(self, symbol: str, confidence: float, meanwhile: Meanwhile) -> None:
        """The newest bar comes again with other values, by which its strategies are surer or less sure."""
        self.market.correct_bar(symbol, self.market.bars_of[symbol][-1].close * 1.001)
        for name in STRATEGIES:
            said = self.said.get((name, symbol))
            if said is not None:
                self.said[name, symbol] = (said[0], confidence)
        self._speak()
        await self.evaluates(meanwhile)

    async def splits(self, symbol: str, ratio: int) -> None:
        """A split overnight: what was under way has been told by then."""
        await self.is_quiet()
        self._splits += 1
        day = date(2000, 1, 1) + timedelta(days=self._splits)
        self.venue.split(symbol, day, Decimal(ratio))
        self.watch.split(symbol, Decimal(ratio))
        old = self.market.quotes[symbol].price
        self.market.told.pop(symbol, None)
        await follow_split(
            self.living.parts.situation, self.living.parts.exits, Split(symbol, day, Decimal(ratio)), self.clock.now()
        )
        self._quote(symbol, old / ratio)
        self.market.bars_of[symbol] = [
            replace(bar, open=bar.open / ratio, close=bar.close / ratio) for bar in self.market.bars_of[symbol]
        ]

    # -- the loops ---------------------------------------------------------------------------------------------------

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """As the loops run it: what fails is counted, and the next tick tries anew."""
        try:
            await work
        except (StaleEpochError, NotLeadingError):
            raise
        except OpenbellError:
            self.living.parts.ledger.note_error()

    def _evaluation(self, life: Life) -> Coroutine[Any, Any, None]:
        situation = life.parts.situation
        self.deciding_at = self.clock.now()
        self.locked_before = frozenset(self.locks)
        assert situation.control is not None
        entries = [
            entry
            for entry in situation.control.entries.values()
            if situation.gate.state_of(entry.name) is not TradingState.STOPPED and situation.is_open()
        ]
        return self._guarded(life.parts.evaluation.run(entries, self.clock.now()))

    async def evaluates(self, meanwhile: Meanwhile) -> None:
        life = await self._alive()
        self._meanwhile = list(meanwhile or ())
        await life.run(self._evaluation(life))

    async def exits_are_checked(self, meanwhile: Meanwhile) -> None:
        life = await self._alive()
        self._meanwhile = list(meanwhile or ())
        await life.run(self._guarded(life.parts.exits.check()))

    async def both_loops_run(self, meanwhile: Meanwhile) -> None:
        life = await self._alive()
        self._meanwhile = list(meanwhile or ())
        await life.run(self._evaluation(life), self._guarded(life.parts.exits.check()))

    # -- people ------------------------------------------------------------------------------------------------------

    def _ask(self, **changes: Any) -> None:
        asked = replace(self.asked, **changes)
        if asked == self.asked and self.held is TradingState.RUNNING:
            return
        self.asked, self.held = asked, TradingState.RUNNING
        self.generation += 1
        if self.life is not None:
            self.life.take(self._observed())
            self.life.parts.supervisor.hold_until(self.generation)

    async def people_ask(self, changes: Mapping[str, Any]) -> None:
        self._ask(**changes)

    async def rest_holds(self, state: TradingState) -> None:
        life = await self._alive()
        self.held = safer(self.held, state)
        life.parts.supervisor.hold(state)

    async def _lock(self, scope: LockScope, subject: str, seconds: int | None) -> None:
        try:
            lock = await self.living.parts.locking.add(scope, subject, seconds, "a person", "test")
        except JournalError:
            return
        self.locks[lock.lock_id] = lock

    async def is_locked(self, scope: LockScope, subject: str, seconds: int | None) -> None:
        life = await self._alive()
        await life.run(self._lock(scope, subject, seconds))

    async def is_unlocked(self) -> None:
        life = await self._alive()

        async def lift() -> None:
            for name in sorted(self.locks):
                lifted = await life.parts.locking.lift(name, "test")
                self.locks.pop(lifted.lock_id)

        await life.run(self._guarded(lift()))

    async def someone_trades_by_hand(self, symbol: str) -> None:
        """Somebody closes at the broker what the account holds in a symbol, while nothing of ours works there."""
        held = self.watch.held.get(symbol, Decimal(0))
        works = symbol in self.venue._venue.working_symbols
        if not held or works or not CALENDAR.is_open(self.clock.now()):
            return
        self.watch.by_hand.add(symbol)
        self._trades += 1
        side = Side.SELL if held > 0 else Side.BUY
        self.venue.order(ACCOUNT, OrderRequest(f"by hand {self._trades}", symbol, side, abs(held)), kind="Trade")
        while symbol in self.venue._venue.working_symbols:
            await asyncio.sleep(INSTANT)
            self._quote(symbol, self.market.quotes[symbol].price)

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    async def venue_misbehaves(self, faults: Sequence[str]) -> None:
        self.faults = FaultPlan([parse_fault(fault) for fault in faults], self.setting.seed)
        self.line.faults = self.faults

    async def held_news_arrives(self, order: Sequence[int]) -> None:
        self.line.release(order)

    async def market_is_mute(self, mute: bool) -> None:
        self.market.is_mute = mute

    async def connection_is_lost(self) -> None:
        self.line.drop()

    async def connection_comes_back(self) -> None:
        if self.life is not None:
            self.line.connect()

    async def disk_is_full(self, full: bool) -> None:
        self.is_disk_full = full

    async def lease_is_lost(self) -> None:
        self.is_lease_free = False
        if self.life is not None:
            self.contender.lose()

    async def lease_is_back(self) -> None:
        """Held again after it was lost, which is a leadership of its own."""
        self.is_lease_free = True
        if self.life is not None and not self.contender.held:
            self._lead()

    async def lease_goes_back(self, by: int) -> None:
        """The lease was made anew and counts from a number that was before."""
        if self.life is not None and self.epoch > by:
            self.contender.lose()
            self.contender.take(self.epoch - by)

    async def runner_restarts(self) -> None:
        """SIGKILL between two steps, and a new process."""
        if self.life is not None:
            await self._bury()
        await self._alive()

    async def runner_dies_at(self, point: str) -> None:
        """It will, when it comes to this point; the next step that needs one starts a new process."""
        await self._alive()
        arm(point, self.living.die)

    # -- the end -----------------------------------------------------------------------------------------------------

    async def is_quiet(self) -> None:
        """Everything answers again; after the comparisons both sides must be the same."""
        self.is_disk_full = self.market.is_mute = False
        await self.venue_misbehaves(())
        arm("")
        self.is_lease_free = True
        for _ in range(3):
            await self._alive()
            self.line.release()
            if self.line.is_mute:
                self.line.drop()
            self.line.connect()
            if not self.contender.held or self.contender.epoch < self.epoch:
                self._lead()
            await asyncio.sleep(11)  # by then a comparison takes no order for being still on its way
            self.living.parts.comparison.ask()
            await asyncio.sleep(3)  # what the first comparison takes up the next one knows
            if not self.living.ended:
                break
            self.was_killed |= self.living.ended.startswith("killed")
            await self._bury()
        self.watch.check_quiet()

    async def is_wound_up(self) -> None:
        """Stopped by a person who wants nothing kept: every position has its exit, and every intent its end."""
        await self.is_quiet()
        if not CALENDAR.is_open(self.clock.now() + timedelta(minutes=5)):
            await self.day_passes()
        self._ask(enabled=True, killed=False)
        self._ask(enabled=False, flatten=True)
        for _ in range(12):
            for symbol in SYMBOLS:
                self._quote(symbol, self.market.quotes[symbol].price)
            await self.exits_are_checked(None)
            await asyncio.sleep(1)
            await self._look_again()
        await self.is_quiet()
        self.watch.check_wound_up()


def again(setting: Setting, steps: Sequence[tuple[str, Mapping[str, Any]]]) -> Sequence[object]:
    """The same steps once more, from nothing, with every decision recorded and made again; what they come to."""
    repeated = History(setting, is_recorded=True)
    try:
        for step, arguments in steps:
            repeated.do(step, **arguments)
        repeated.audit()
        return repeated.outcome()
    finally:
        repeated.close()
