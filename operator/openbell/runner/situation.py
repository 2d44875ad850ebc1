"""How things stand, derived from the runner's parts: one place for `why`, `canRun` and every condition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from openbell.domain.answers import Unknown, Value
from openbell.domain.bars import BarSeries
from openbell.domain.clock import Clock
from openbell.domain.limits import LockScope
from openbell.domain.money import cents
from openbell.domain.positions import Position
from openbell.domain.reasons import Reason
from openbell.domain.state import TradingState
from openbell.market.base import MarketData
from openbell.market.calendar import SessionCalendar
from openbell.resources.conditions import Condition, SchedulerCondition, StrategyCondition, set_condition
from openbell.resources.scheduler import SchedulerSpec
from openbell.risk.locks import Lock
from openbell.runner.accountbook import AccountBook
from openbell.runner.comparison import Comparison
from openbell.runner.control import Control
from openbell.runner.custom import Workshop
from openbell.runner.desk import Desk
from openbell.runner.entry import Refusal, StrategyEntry
from openbell.runner.gate import Fence, Gate
from openbell.runner.health import DataState, Failures
from openbell.runner.ledger import Ledger
from openbell.runner.loss import CONFIRM_ANNOTATION
from openbell.runner.pacer import Pacer
from openbell.runner.supervisor import Supervisor

DAY_SECONDS = 86_400
LAST_GOOD = "LastGoodParameters"
"""The reason of `Failed` (false) while a custom strategy goes on with older parameters: the operator accepts it not."""


def every(intervals: Set[int], *, adaptive: bool = False) -> str:
    """Intervals in seconds as people read them: `every 30/60 s`, `every day`, `every 15 s, adaptive`."""
    if adaptive:
        return f"{every(intervals)}, adaptive"
    if intervals == {DAY_SECONDS}:
        return "every day"
    return f"every {'/'.join(str(seconds) for seconds in sorted(intervals))} s"


@dataclass(slots=True)
class Situation:
    """Reads the parts, changes none of them. `control` and `calendar` are exchanged when the resource changes."""

    clock: Clock
    gate: Gate
    fence: Fence
    desk: Desk
    ledger: Ledger
    supervisor: Supervisor
    comparison: Comparison
    data: DataState
    failures: Failures
    calendar: SessionCalendar
    workshop: Workshop = field(default_factory=Workshop)
    control: Control | None = None
    lease_holder: Callable[[], str] = lambda: ""
    account_book: AccountBook | None = None
    locks: Callable[[], tuple[Lock, ...]] = lambda: ()  # those that hold openings back now
    link: Callable[[], tuple[str, str]] = lambda: ("Disconnected", "")  # the reason and why of the broker's connection
    lost_epoch: int = 0
    known_epoch: int = 0  # the highest that the status had seen when this runner started
    finished: str = ""  # what a replay that has ended says of itself
    pacer: Pacer = field(default_factory=Pacer)
    conditions: tuple[Condition, ...] = ()
    strategy_conditions: dict[str, tuple[Condition, ...]] = field(default_factory=dict)

    @property
    def spec(self) -> SchedulerSpec | None:
        return self.control.spec if self.control else None

    def is_open(self) -> bool:
        """Whether the market trades (in a lunch break it does not), or the scheduler trades whatever the hour."""
        if self.spec is not None and not self.spec.market.hours_only:
            return True
        return self.calendar.is_open(self.clock.now())

    def can_run(self) -> bool:
        """Whether entries would be evaluated and sent now."""
        return self.gate.entry_blocked() is None and self.is_open() and not self.finished

    def why(self) -> str:
        """One clause: what keeps entries from being made, or what goes on."""
        gate = self.gate
        if self.finished:
            return self.finished
        if not self.fence.holds():
            holder = self.lease_holder()
            return f"waiting for the lease, held by {holder}" if holder else "waiting for the lease"
        if self.supervisor.draining and (self.gate.killed or self.gate.state is not TradingState.RUNNING):
            return self.supervisor.draining
        if gate.state is TradingState.STOPPED:
            return self._stopped()
        if gate.state is TradingState.PAUSED:
            return "paused" + (", exits too" if gate.exits_halted_while_paused else ", exits go on")
        blocked = gate.entry_blocked()
        if blocked is Reason.BROKER_DISCONNECTED:
            return self._disconnected()[1]
        if blocked is Reason.RECONCILING:
            return self.comparison.why
        if blocked is Reason.KILL_SWITCH:
            return f"{blocked.text}, exits go on"
        if blocked is not None:
            return blocked.text
        if not self.is_open():
            return self.calendar.describe(self.clock.now())
        if self.failed_strategies():
            return f"failed: {', '.join(self.failed_strategies())}"
        if self.data.is_fresh is False:
            return self.data.why
        return self._locked() or self._running()

    def _locked(self) -> str:
        everything = [lock for lock in self.locks() if lock.scope is LockScope.GLOBAL]
        if not everything:
            return ""
        lock = next((each for each in everything if each.until is None), everything[-1])
        end = f"until {lock.until:%Y-%m-%d %H:%M:%S} UTC" if lock.until else "until it is lifted"
        return f"openings are locked {end} ({lock.lock_id}): {lock.detail}"

    def _stopped(self) -> str:
        kept = len(self.ledger.positions)
        return f"stopped, {kept} position(s) kept without exits" if kept else "stopped"

    def _running(self) -> str:
        if self.control is None or not self.control.entries:
            return "no strategy points at this scheduler"
        running = [
            entry for name, entry in self.control.entries.items() if self.gate.state_of(name) is TradingState.RUNNING
        ]
        if not running:
            return "no strategy is running"
        intervals = {self.interval_of(entry) for entry in running}
        adaptive = any(self.is_adaptive(entry) for entry in running)
        count = f"{len(running)} strateg{'y' if len(running) == 1 else 'ies'}"
        return f"evaluating {count} {every(intervals, adaptive=adaptive)}"

    # -- intervals ---------------------------------------------------------------------------------------------

    def interval_of(self, entry: StrategyEntry) -> int:
        """Seconds between evaluations of a strategy now."""
        return self.pacer.interval_of(self.spec, entry) if self.spec else entry.settings.evaluation_interval_seconds

    def is_adaptive(self, entry: StrategyEntry) -> bool:
        """Whether that follows the volatility of the strategy's symbols."""
        return self.spec is not None and self.pacer.is_adaptive(self.spec, entry)

    def bars_for_pace(self, entry: StrategyEntry) -> int:
        """Bars that a strategy's interval is chosen by."""
        return self.pacer.bars_needed(self.spec, entry) if self.spec else 0

    def follow_pace(
        self, keys: Mapping[str, Iterable[tuple[str, int]]], read: Mapping[tuple[str, int], BarSeries]
    ) -> None:
        """Choose the intervals of these strategies by the bars that were read, which `keys` names for each."""
        if self.control is not None and self.control.spec.adaptive.enabled:
            self.pacer.follow(self.control, keys, read)

    # -- money -------------------------------------------------------------------------------------------------

    def pnl_total(self) -> Decimal:
        """Profit after fees since the first start, realised and open."""
        return cents(self.ledger.realized_total() + self.ledger.unrealized())

    def pnl_day(self) -> Decimal | None:
        """Profit since the day began; None before the day's first account reading."""
        account, start = self.ledger.account, self.ledger.day_start_equity
        return cents(account.equity - start) if account is not None and start is not None else None

    # -- conditions --------------------------------------------------------------------------------------------

    def unmonitored(self) -> tuple[str, str] | None:
        """Reason and message where positions are open and their exits are held back."""
        positions = self.ledger.positions
        if not positions or self.gate.exit_blocked() is None:
            return None
        stops: dict[str, bool] = {}
        for position in positions.values():
            stops[position.symbol] = stops.get(position.symbol, True) and self.desk.is_protected(position.position_id)
        names = ", ".join(f"{symbol}{' (a stop rests at the broker)' * stops[symbol]}" for symbol in sorted(stops))
        reason = {
            Reason.NOT_LEADING: "NotLeading",
            Reason.STOPPED: "StoppedKeepingPositions",
            Reason.PAUSED: "ExitsHalted",
        }[self.gate.exit_blocked() or Reason.STOPPED]
        return reason, f"{len(positions)} position(s) without exits: {names}"

    def refresh_conditions(self) -> tuple[Condition, ...]:
        """The scheduler's conditions now; transition times move only with the status."""
        if self.control is None:
            return ()
        generation, now = self.control.generation, self.clock.now()
        for kind, status, reason, message in self._observations():
            condition = Condition.of(kind, status, reason, message, generation)
            self.conditions = set_condition(self.conditions, condition, now)
        return self.conditions

    def _observations(self) -> list[tuple[SchedulerCondition, bool | None, str, str]]:
        leading = self.fence.holds()
        unmonitored = self.unmonitored()
        return [
            (SchedulerCondition.PAUSED, *self._paused()),
            (
                SchedulerCondition.RUNNER_LEADING,
                leading,
                "Leading" if leading else "NotLeading",
                f"holds the lease with epoch {self.fence.epoch}"
                if leading
                else f"the lease is held by {self.lease_holder() or 'nobody yet'}",
            ),
            (
                SchedulerCondition.BROKER_CONNECTED,
                self.gate.broker_connected,
                *(("Connected", "the broker answers") if self.gate.broker_connected else self._disconnected()),
            ),
            (SchedulerCondition.DATA_FRESH, self.data.is_fresh, self.data.reason, self.data.why),
            (
                SchedulerCondition.BROKER_IN_SYNC,
                self.gate.in_sync,
                *self._in_sync(),
            ),
            (
                SchedulerCondition.UNMONITORED_POSITIONS,
                unmonitored is not None,
                *(unmonitored or ("Monitored", "every open position has its exits")),
            ),
            (SchedulerCondition.DEGRADED, *self._degraded()),
        ]

    def _disconnected(self) -> tuple[str, str]:
        """Why the broker is not connected: what its link says, where it has one."""
        reason, why = self.link()
        return reason, why or self.comparison.why

    def _in_sync(self) -> tuple[str, str]:
        if self.gate.broker_connected:
            return self.comparison.reason, self.comparison.why
        return "Disconnected", f"nothing can be compared: {self._disconnected()[1]}"

    def _paused(self) -> tuple[bool, str, str]:
        acknowledged, wanted = self.supervisor.acknowledged, self.supervisor.wanted
        spec_paused = self.spec is not None and self.spec.paused
        state = self.gate.state
        if state is TradingState.RUNNING and not self.gate.killed:
            return False, "Running", "entries are allowed"
        settled = (
            acknowledged is not None
            and wanted is not None
            and acknowledged.generation >= wanted.generation
            and acknowledged.state is state  # a hold by REST is acknowledged when the resource says it, too
        )
        if not settled:
            return False, "Draining", self.supervisor.draining or "closing down"
        if state is TradingState.RUNNING:
            return True, "KillSwitch", "reduce-only: no entry is sent; exits go on"
        if state is TradingState.STOPPED:
            return (True, "Stopped", "stopped and paused") if spec_paused else (False, "Stopped", "stopped")
        if self.gate.exits_halted_while_paused:
            return True, "Paused", "no entry and no exit is sent"
        return True, "Paused", "no entry is sent; exits go on"

    def _degraded(self) -> tuple[bool, str, str]:
        if self.gate.journal_lost:
            confirm = f"annotate it with {CONFIRM_ANNOTATION}={self.lost_epoch} to go on"
            return True, "JournalLost", f"{Reason.JOURNAL_LOST.text}: {confirm}"
        if not self.gate.journal_open:
            return True, "JournalFailed", Reason.JOURNAL_FAILED.text
        failed = self.failed_strategies()
        if failed:
            return True, "StrategiesFailed", f"failed: {', '.join(failed)}"
        if self.control is not None and self.control.is_stale:
            return True, "StateStale", Reason.STALE_STATE.text
        return False, "AsExpected", "everything works"

    def refusal_of(self, entry: StrategyEntry) -> Refusal | None:
        """Why a custom strategy's class is not run until a person acts."""
        return entry.refusal or self.workshop.refusal(entry.name)

    def failed_strategies(self) -> tuple[str, ...]:
        """Names of the strategies that raised too often or whose class is refused."""
        entries = self.control.entries.values() if self.control else ()
        return tuple(sorted({*self.failures.all_failed(), *(e.name for e in entries if self.refusal_of(e))}))

    def refresh_strategy(self, entry: StrategyEntry) -> tuple[Condition, ...]:
        """One strategy's conditions now."""
        state = self.gate.state_of(entry.name)
        refusal = self.refusal_of(entry)
        failed = self.failures.is_failed(entry.name) or refusal is not None
        cause, text = self._health(entry)
        running = state is TradingState.RUNNING and not failed
        message = self.strategy_why(entry)
        for kind, status, reason in (
            (StrategyCondition.RUNNING, running, "Running" if running else "Failed" if failed else state.value),
            (StrategyCondition.PAUSED, state is TradingState.PAUSED, state.value),
            (StrategyCondition.FAILED, failed, cause),
        ):
            said = text if kind is StrategyCondition.FAILED else message
            condition = Condition.of(kind, status, reason, said, entry.generation)
            before = self.strategy_conditions.get(entry.name, ())
            self.strategy_conditions[entry.name] = set_condition(before, condition, self.clock.now())
        return self.strategy_conditions[entry.name]

    def _health(self, entry: StrategyEntry) -> tuple[str, str]:
        """Reason and message of `Failed`, whether true or not."""
        refusal, loaded = self.refusal_of(entry), self.workshop.loaded(entry.name)
        if refusal is not None:
            return refusal.reason, refusal.sentence
        if self.failures.is_failed(entry.name):
            return "Errors", self.failures.texts[entry.name]
        if loaded is not None and loaded.problem:
            return LAST_GOOD, loaded.problem
        return "AsExpected", self.failures.texts.get(entry.name, self.strategy_why(entry))

    def strategy_why(self, entry: StrategyEntry) -> str:
        """One clause on one strategy."""
        refusal = self.refusal_of(entry)
        if refusal is not None:
            return refusal.sentence
        if self.failures.is_failed(entry.name):
            return f"failed {self.failures.counts[entry.name]} times in a row: {self.failures.texts[entry.name]}"
        if entry.problem:
            return entry.problem
        loaded = self.workshop.loaded(entry.name)
        if entry.is_custom and loaded is None:
            return self.workshop.why(entry.name) or "its class is being loaded"
        if loaded is not None and loaded.problem:
            return loaded.problem
        own = entry.spec.asked_state()
        if own is not TradingState.RUNNING and self.gate.state is TradingState.RUNNING:
            return f"this strategy is {own.value.lower()}"
        if not self.can_run():
            return f"the scheduler: {self.why()}"
        return f"evaluating {every({self.interval_of(entry)}, adaptive=self.is_adaptive(entry))}"

    # -- data --------------------------------------------------------------------------------------------------

    @property
    def hours_only(self) -> bool:
        return self.spec is None or self.spec.market.hours_only

    def day_start(self, now: datetime) -> datetime:
        """When the trading day of `now` began: the session's open, also in its lunch; outside the UTC midnight."""
        session = self.calendar.session_at(now)
        return session.open if session else now.replace(hour=0, minute=0, second=0, microsecond=0)

    def session_close(self, now: datetime) -> datetime | None:
        """The end of the session that is running; None outside of one, and where the hours do not matter."""
        session = self.calendar.session_at(now)
        return session.close if session is not None and self.hours_only else None

    def ledger_lots(self) -> dict[tuple[str, str], Decimal]:
        """Signed quantity by strategy and symbol."""
        return {(p.strategy, p.symbol): p.quantity for p in self.ledger.open_positions()}

    def note_bars(self, problems: Sequence[str], read: Iterable[BarSeries]) -> None:
        """What reading bars came to, for DataFresh and the data's age."""
        self.data.has_read = self.data.has_read or bool(problems)
        for series in read:
            self.data.has_read = True
            if series.last_end is not None and (self.data.newest is None or series.last_end > self.data.newest):
                self.data.newest = series.last_end
        self.data.bars_problem = problems[0] if problems else ""

    async def read_quotes(self, market: MarketData, symbols: Iterable[str], now: datetime) -> None:
        """Read the prices of these symbols into the ledger; one that is unknown keeps no old price for orders."""
        problems = []
        for symbol in sorted(symbols):
            answer = await market.quote(symbol, now)
            if isinstance(answer, Value):
                self.ledger.quotes[symbol] = answer.value
                self.data.has_read = True
            else:
                self.ledger.quotes.pop(symbol, None)
                why = answer.why if isinstance(answer, Unknown) else "there is none"
                problems.append(f"no price of {symbol}: {why}")
                self.ledger.note_error()
        self.data.quotes_problem = problems[0] if problems else ""

    def positions_of(self, strategy: str) -> tuple[Position, ...]:
        return tuple(position for position in self.ledger.open_positions() if position.strategy == strategy)


def open_seconds(calendar: SessionCalendar, since: datetime, now: datetime, *, hours_only: bool) -> float:
    """Seconds of open market between two moments: what the age of data is measured in. Lunch breaks do not count."""
    if not hours_only:
        return max(0.0, (now - since).total_seconds())
    total = 0.0
    first = since.date() - timedelta(days=1)
    for session in calendar.sessions(first, now.date() + timedelta(days=1)):
        for begin, end in session.parts:
            total += max(0.0, (min(end, now) - max(begin, since)).total_seconds())
    return total
