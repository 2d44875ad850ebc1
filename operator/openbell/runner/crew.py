"""All parts of one runner, wired together, and the tasks that keep them going."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import structlog

from openbell.domain.clock import SystemClock
from openbell.domain.errors import JournalError
from openbell.journal import Journal, JournalState, StoredParameters
from openbell.journal.recorder import Recorder
from openbell.runner import documents
from openbell.runner.assembly import Ground, ground_of
from openbell.runner.control import Control, understand, wanted_of
from openbell.runner.custom import Workshop
from openbell.runner.desk import Told
from openbell.runner.gateway import is_live_refused
from openbell.runner.gauges import tell_gauges
from openbell.runner.leadership import Contender, Leadership
from openbell.runner.ledger import Ledger
from openbell.runner.lifecycle import Lifecycle
from openbell.runner.loops import Loops
from openbell.runner.loss import JournalLoss
from openbell.runner.parts import Parts
from openbell.runner.pulse import Pulse
from openbell.runner.recording import Recording
from openbell.runner.replaying import ReplayLoop
from openbell.runner.reporter import Reporter
from openbell.runner.source import UNREACHABLE, Observed, Source
from openbell.runner.steering import Steering
from openbell.runner.view import View
from openbell.telemetry.logs import LogTail
from openbell.telemetry.metrics import ErrorKind, RunnerMetrics
from openbell.web.app import create_app
from openbell.web.hub import Hub
from openbell.web.server import listen, serving

log = structlog.get_logger("openbell.runner")

PORTFOLIO_SECONDS = 5.0
QUIET_SECONDS = 10.0


class Ending(Enum):
    """Why a crew's work came to its end."""

    STOPPED = "stopped"
    RESTART = "restart"  # something changed that a running runner cannot take up
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """Where a runner lives and how it is reached."""

    data: Path
    host: str
    port: int
    token: str | None = None
    datasets: Sequence[Path] = ()
    pod: str = ""
    owner_uid: str = ""
    allowed_hosts: tuple[str, ...] = ()
    live_account: str = ""  # that whoever runs Openbell allows live trading for


class Crew:
    """Built for one spec; `take` carries every later change to the parts, or asks for a restart."""

    def __init__(
        self,
        control: Control,
        ground: Ground,
        journal: Journal,
        state: JournalState,
        ledger: Ledger,
        owner: str,
        contender: Contender,
        source: Source,
        options: RunnerOptions,
        tail: LogTail,
        metrics: RunnerMetrics,
        loss: JournalLoss,
        recorder: Recorder,
    ) -> None:
        clock, broker = ground.clock, ground.broker
        self._control = control
        self._ground = ground
        self._journal = journal
        self._options = options
        self._metrics = metrics
        self._loss = loss
        self._accepted: dict[str, StoredParameters] = dict(state.parameters)
        self._remember: asyncio.Queue[tuple[str, StoredParameters]] = asyncio.Queue()
        self._could_run = False
        self._ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self.leadership = Leadership(contender, metrics, self.announce)
        self.ledger = ledger
        self.workshop = Workshop(self._on_loaded)
        self.parts = Parts(
            control,
            broker,
            ground.market,
            clock,
            journal,
            state,
            ledger,
            owner,
            self.leadership,
            metrics,
            self.announce,
            lambda record: self.view.tell_signal(record),
            workshop=self.workshop,
            lease_holder=self.leadership.holder,
            is_replay=ground.replay is not None,
        )
        self.gate, self.desk, self.supervisor = self.parts.gate, self.parts.desk, self.parts.supervisor
        self.comparison, self.situation = self.parts.comparison, self.parts.situation
        self.locking = self.parts.locking
        self.evaluation, self.exits = self.parts.evaluation, self.parts.exits
        self.comparison.accept = loss.without_accepted
        self.pulse = Pulse(SystemClock())
        self.lifecycle = Lifecycle(source, self.supervisor, options.data)
        self.view = View(
            situation=self.situation,
            source=source,
            lifecycle=self.lifecycle,
            locking=self.locking,
            journal=journal,
            clock=clock,
            real_clock=SystemClock(),
            metrics_registry=metrics,
            tail=tail,
            pulse=self.pulse,
            recorder=recorder,
            hub=Hub(clock=clock, on_drop=lambda dropped: metrics.stream_dropped.inc(dropped)),
        )
        self.recording = Recording(recorder)
        self.evaluation.recording = self.exits.recording = self.recording
        self.loops = Loops(self.situation, self.evaluation, self.exits, clock, metrics, self.recording)
        self.comparison.on_connected = self.loops.exit_ticker.poke  # exits that were due meanwhile go out at once
        self.reporter = Reporter(
            source,
            lambda: documents.all_documents(self.situation, pod=options.pod, owner_tag=owner),
            SystemClock(),
            metrics,
        )
        self.steering: Steering | None = None
        if ground.gateway is not None:
            self.steering = Steering(ground.gateway, self.gate, self.desk, ledger, options.data)
            ground.gateway.on_link = self._on_link
            self.view.steering = self.steering
            self.situation.link = self.steering.standing
        self.desk.listeners += [self._on_told, self.view.tell_order]
        self.view.close = self._close_position

    # -- changes -----------------------------------------------------------------------------------------------

    def announce(self) -> None:
        """Something changed that people want to know of: status, metrics, stream."""
        can_run = self.situation.can_run()
        if can_run and not self._could_run:
            self.loops.evaluation_ticker.poke()  # what waited to begin does not wait for its next tick as well
        self._could_run = can_run
        self.reporter.announce()
        self._metrics.set_state(self.gate.state)
        self.view.tell_status()

    def _on_link(self) -> None:
        if self.steering is not None:
            self.steering.note()
        self.announce()

    def _on_told(self, told: Told) -> None:
        self.supervisor.nudge()
        if self.exits.wants_look(told):
            self.loops.exit_ticker.poke()
        else:
            self.loops.exit_ticker.reschedule()
        self._metrics.open_positions.set(len(self.ledger.positions))

    def _close_position(self, position_id: str) -> str:
        message = self.exits.ask(position_id)
        self.loops.exit_ticker.poke()
        return message

    def take(self, observed: Observed) -> None:
        """Carry a new reading of the resources to the parts. The gate changes here, at once."""
        if observed.is_deleting and observed.scheduler is None:
            self.end(Ending.DELETED)
            return
        wanted = wanted_of(observed)
        if wanted is not None:
            self.supervisor.want(wanted)
        control = understand(observed, self._accepted)
        if control is None:
            return
        if ground_of(control) != ground_of(self._control):
            log.info("runner.restarting", why="the broker, the market data, their hours or the replay changed")
            self.end(Ending.RESTART)
            return
        self._control = control
        self.workshop.adopt(control.entries)
        self._keep_parameters(control)
        if self._loss.confirm(control.scheduler.annotations):
            self.comparison.ask()
        self.gate.journal_lost = self._loss.is_open
        self.gate.live_refused = is_live_refused(control.spec, self._options.live_account)
        self.parts.adopt(control)
        self.situation.lost_epoch = self._loss.known_epoch
        self.situation.known_epoch = max(self.situation.known_epoch, observed.known_epoch)
        self.loops.reschedule()
        self.loops.note_idle()
        if UNREACHABLE in observed.reasons:
            self.reporter.forget()
        self.announce()

    def _on_loaded(self) -> None:
        self._keep_parameters(self._control)
        self.announce()

    def _keep_parameters(self, control: Control) -> None:
        for name, entry in control.entries.items():
            parameters, problem = entry.parameters.model_dump(mode="json", by_alias=True), entry.problem
            if entry.is_custom:
                loaded = self.workshop.loaded(name)
                if loaded is None:
                    continue  # only its own class knows whether they are right
                parameters, problem = dict(loaded.parameters), loaded.problem
            stored = StoredParameters(entry.spec.type.value, parameters)
            if not problem and self._accepted.get(name) != stored:
                self._accepted[name] = stored
                self._remember.put_nowait((name, stored))

    def end(self, ending: Ending = Ending.STOPPED) -> None:
        """Ask the crew to halt and go."""
        if not self._ended.done():
            self._ended.set_result(ending)

    # -- running -----------------------------------------------------------------------------------------------

    async def run(self) -> Ending:
        """Work until asked to end; then halt, say so, and give the lease back."""
        self.lifecycle.restore()
        if self.steering is not None:
            self.steering.restore()
        app = create_app(self.view, token=self._options.token, allowed_hosts=self._options.allowed_hosts)
        try:
            async with (
                serving(app, listen(self._options.host, self._options.port)) as port,
                asyncio.TaskGroup() as tasks,
            ):
                log.info("api.listening", host=self._options.host, port=port)
                working = [tasks.create_task(work, name=name) for name, work in self._work().items()]
                ending = await self._ended
                await self._halt()
                for task in working:
                    task.cancel()
        finally:
            self.evaluation.close()  # not before its task has gone, which may be about to ask the strategies
            await self.workshop.close()
        return ending

    def _work(self) -> Mapping[str, Coroutine[Any, Any, None]]:
        work: dict[str, Coroutine[Any, Any, None]] = {
            "broker": self._ground.broker.run(),
            "leadership": self.leadership.run(self.desk.begin_epoch, self._on_lead),
            "supervisor": self.supervisor.run(),
            "reporter": self.reporter.run(),
            "pulse": self.pulse.run(self._metrics),
            "parameters": self._remember_parameters(),
            "locks": self.locking.run(),
            "portfolio": self._tell_portfolio(),
        }
        if self._ground.source is not None:
            work["market data"] = self._ground.source.run()
        replay = self._ground.replay
        if replay is not None:
            loop = ReplayLoop(
                self.situation,
                self.evaluation,
                self.exits,
                replay.broker,
                replay.clock,
                replay.driver(self.exits.armed),
                self._ground.folder,
                replay.result,
                self._note_equity,
            )
            self.desk.listeners.append(loop.on_told)
            self.view.replay_view = replay.result.view
            return work | {"replay": self._replay(loop)}
        return work | {
            "events": self.comparison.follow(),
            "comparison": self.comparison.run(),
            "evaluation": self.loops.evaluate(),
            "exits": self.loops.exit(),
            "flatten": self.loops.flatten(),
        }

    async def _replay(self, loop: ReplayLoop) -> None:
        await loop.run()
        self.announce()

    async def _on_lead(self) -> None:
        """Leadership came: exits are looked at before anything else, then the broker is compared."""
        self.loops.exit_ticker.poke()
        if self._ground.replay is None:
            self.comparison.ask()

    async def _halt(self) -> None:
        self.gate.closing = True
        await self.lifecycle.close()
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                await self.desk.wait_quiet()
        except TimeoutError:
            log.warning("runner.halted-with-doubt", orders=self.desk.unanswered())
        await self.desk.save_statistics()
        await self.reporter.write_due(everything=True)
        await self.leadership.stop()
        log.info("runner.halted")

    async def _remember_parameters(self) -> None:
        while True:
            name, stored = await self._remember.get()
            try:
                await self._journal.remember_parameters(name, stored.type, stored.parameters)
            except JournalError as error:
                self._metrics.errors.labels(ErrorKind.JOURNAL.value).inc()
                log.error("parameters.not-kept", strategy=name, error=str(error))

    async def _tell_portfolio(self) -> None:
        while True:
            if self._ground.replay is None and self.gate.broker_connected:
                await self.evaluation.refresh_account(self._ground.clock.now())
                self._note_equity()
            tell_gauges(self._metrics, self.situation, self.locking, self._ground.clock.now())
            self._metrics.stream_clients.set(self.view.hub.client_count)
            self.view.hub.publish(self.view.portfolio())
            await asyncio.sleep(PORTFOLIO_SECONDS)

    def _note_equity(self) -> None:
        if self.ledger.account is not None:
            self.view.equity.add(self._ground.clock.now(), self.ledger.account.equity)
