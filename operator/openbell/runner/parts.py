"""The parts of a runner that decide and trade, wired to each other: no sockets, no tasks, no resources watched."""

from __future__ import annotations

from collections.abc import Callable

from openbell.brokers.base import Broker
from openbell.domain.clock import Clock
from openbell.journal import Journal, JournalState
from openbell.market.base import MarketData
from openbell.runner.accountbook import AccountBook
from openbell.runner.asking import PATIENCE_SECONDS, Asking
from openbell.runner.assembly import calendar_of, dates_of
from openbell.runner.comparison import Comparison
from openbell.runner.control import Control
from openbell.runner.custom import Workshop
from openbell.runner.desk import Desk
from openbell.runner.evaluation import Evaluation
from openbell.runner.exiting import Exits
from openbell.runner.gate import Fence, Gate
from openbell.runner.health import DataState, Failures
from openbell.runner.ledger import Ledger, SignalRecord
from openbell.runner.limits import limits_of
from openbell.runner.locking import Locking
from openbell.runner.pacer import Pacer
from openbell.runner.situation import Situation
from openbell.runner.supervisor import Supervisor
from openbell.telemetry.metrics import RunnerMetrics


class Parts:
    """One runner's gate, desk, comparison, supervisor, locks, account book, evaluation and exits.

    `state` is what the journal had written last; `announce` is called when something changed that people want to know
    of. A replay decides what a live run decides when nobody is late, however busy the machine is.
    """

    def __init__(
        self,
        control: Control,
        broker: Broker,
        market: MarketData,
        clock: Clock,
        journal: Journal,
        state: JournalState,
        ledger: Ledger,
        owner: str,
        fence: Fence,
        metrics: RunnerMetrics,
        announce: Callable[[], None],
        on_signal: Callable[[SignalRecord], None],
        *,
        workshop: Workshop,
        lease_holder: Callable[[], str] = lambda: "",
        is_replay: bool = False,
    ) -> None:
        self.gate = Gate(fence)
        broker.on_lost = self.gate.lose_connection
        self.ledger = ledger
        self.desk = Desk(broker, journal, self.gate, ledger, clock, metrics)
        self.desk.restore(state.open_intents, state.last_exits)
        self.supervisor = Supervisor(self.gate, self.desk, ledger, clock, metrics, announce)
        self.comparison = Comparison(broker, journal, self.desk, self.gate, ledger, clock, metrics, announce)
        self.situation = Situation(
            clock=clock,
            gate=self.gate,
            fence=fence,
            desk=self.desk,
            ledger=ledger,
            supervisor=self.supervisor,
            comparison=self.comparison,
            data=DataState(),
            failures=Failures(),
            calendar=calendar_of(control.spec.market),
            lease_holder=lease_holder,
            pacer=Pacer(is_used=not is_replay),
            workshop=workshop,
        )
        self.locking = Locking(ledger, journal, clock, metrics, announce)
        self.situation.locks = self.locking.active
        self.account_book = AccountBook(
            ledger, journal, self.desk, self.gate, self.comparison, clock, dates_of(control.spec.market)
        )
        self.situation.account_book = self.account_book
        self.exits = Exits(self.situation, market, journal, clock, owner)
        self.evaluation = Evaluation(
            self.situation,
            market,
            broker,
            journal,
            clock,
            metrics,
            owner,
            on_signal,
            checks_freshness=not is_replay,
            asking=Asking(workshop, patience_seconds=None if is_replay else PATIENCE_SECONDS),
        )
        self.evaluation.account_listeners += [self.account_book.on_account, self.locking.on_account]
        self.desk.listeners += [self.account_book.on_told, self.locking.on_told]

    def adopt(self, control: Control) -> None:
        """Carry what the newest resources ask for to every part."""
        gate, spec = self.gate, control.spec
        self.locking.adopt(spec.risk)
        self.locking.take(control.scheduler.annotations)
        self.account_book.adopt(limits_of(control), dates_of(spec.market))
        gate.strategies = control.strategy_states()
        gate.broker_required = spec.require_broker_connection
        gate.state_is_stale = control.is_stale
        self.situation.control = control
        self.situation.calendar = calendar_of(spec.market)
        self.exits.adopt({name: entry.settings.exits for name, entry in control.entries.items()})
