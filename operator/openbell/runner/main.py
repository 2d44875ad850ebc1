"""One scheduler's runner: reads its resources, builds a crew for them, and starts anew when they ask for it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import timedelta

import structlog

from openbell import __version__
from openbell.domain.clock import Clock
from openbell.domain.errors import JournalLockedError
from openbell.journal import Journal, JournalState
from openbell.journal.recorder import Recorder
from openbell.journal.trail import AGELESS, MAX_AGE
from openbell.runner.assembly import Site, build_ground, prepare_site
from openbell.runner.control import Control, understand
from openbell.runner.crew import Crew, Ending, RunnerOptions
from openbell.runner.gateway import Client, client_of, needs_client
from openbell.runner.leadership import Contender
from openbell.runner.ledger import KEPT_TRADES, Ledger
from openbell.runner.locking import LOCK_MEMORY
from openbell.runner.loss import JournalLoss
from openbell.runner.source import Observed, Source
from openbell.telemetry.logs import LogTail
from openbell.telemetry.metrics import RunnerMetrics

log = structlog.get_logger("openbell.runner")

LOCK_RETRY_SECONDS = 1.0

ContenderFactory = Callable[[int, bool], Awaitable[Contender]]
"""Makes the fence, given the highest epoch known and whether the scheduler ever ran."""


class Runner:
    """From the first reading of the resources to the end. `known_epoch` is the highest that the status has seen."""

    def __init__(
        self,
        source: Source,
        options: RunnerOptions,
        tail: LogTail,
        contend: ContenderFactory,
    ) -> None:
        self._source = source
        self._options = options
        self._tail = tail
        self._contend = contend
        self._metrics = RunnerMetrics(version=__version__)
        self._observed: Observed | None = None
        self._seen = asyncio.Event()
        self._stopping = asyncio.Event()
        self._crew: Crew | None = None

    def stop(self) -> None:
        """Halt in order: nothing new is sent, what is under way is waited for, the lease is given back."""
        log.info("runner.stopping")
        self._stopping.set()
        self._seen.set()
        if self._crew is not None:
            self._crew.end()

    async def run(self) -> Ending:
        """Run until stopped. Raises OpenbellError for what cannot be survived; the process exits with its message."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self.stop)
        watching = asyncio.create_task(self._source.run(self._on_observed), name="source")
        trading = asyncio.create_task(self._trade(), name="trading")
        try:
            await asyncio.wait({watching, trading}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                await watching  # it ends by an error alone
            return await trading
        finally:
            for task in (watching, trading):
                task.cancel()
            await asyncio.gather(watching, trading, return_exceptions=True)

    def _on_observed(self, observed: Observed) -> None:
        self._observed = observed
        if observed.scheduler is not None or observed.is_deleting:
            self._seen.set()
        if self._crew is not None:
            self._crew.take(observed)

    async def _trade(self) -> Ending:
        while True:
            await self._seen.wait()
            if self._stopping.is_set():
                return Ending.STOPPED
            observed = self._observed
            control = understand(observed, {}) if observed is not None else None
            if observed is None or control is None:
                return Ending.DELETED
            with ExitStack() as stack:
                ending = await self._run_crew(observed, control, stack)
            if ending is not Ending.RESTART:
                return ending

    async def _run_crew(self, observed: Observed, control: Control, stack: ExitStack) -> Ending:
        site = prepare_site(control, data=self._options.data, datasets=self._options.datasets, stack=stack)
        journal = await self._open_journal(site)
        stack.callback(journal.close)
        lost = self._metrics.trail_lost.inc
        max_age = MAX_AGE if site.replay is None else AGELESS
        recorder = Recorder(site.folder / "journal", on_drop=lost, on_error=lost, max_age=max_age)
        stack.callback(recorder.close)
        state = await journal.load(since=site.clock.now() - timedelta(days=1))
        owner = state.owner_tag or await journal.adopt_owner(self._options.owner_uid or control.scheduler.uid)
        client: Client | None = None
        if needs_client(control.spec):
            client = await client_of(journal, owner, self._options.live_account)
        ground = build_ground(control, site, stack=stack, client=client)
        loss = JournalLoss(ground.folder / "journal")
        known_epoch = observed.known_epoch
        if ground.replay is None:
            loss.look(state.epoch, known_epoch)
        contender = await self._contend(max(state.epoch, known_epoch), max(state.epoch, known_epoch) > 0)
        crew = Crew(
            control,
            ground,
            journal,
            state,
            await restored_ledger(journal, state, ground.clock),
            owner,
            contender,
            self._source,
            self._options,
            self._tail,
            self._metrics,
            loss,
            recorder,
        )
        self._crew = crew
        if self._stopping.is_set():
            crew.end()
        crew.take(self._observed or observed)
        log.info("runner.started", scheduler=control.scheduler.name, epoch_known=known_epoch, owner=owner)
        try:
            return await crew.run()
        finally:
            self._crew = None

    async def _open_journal(self, site: Site) -> Journal:
        """Wait for the folder's lock: the process that has it is still trading."""
        told = False
        while True:
            try:
                return await asyncio.to_thread(Journal.open, site.folder / "journal", clock=site.clock)
            except JournalLockedError as error:
                if not told:
                    log.warning("journal.locked", error=str(error))
                    told = True
                await asyncio.sleep(LOCK_RETRY_SECONDS)


async def restored_ledger(journal: Journal, state: JournalState, clock: Clock) -> Ledger:
    """Memory as it was when the journal was last written."""
    ledger = Ledger(statistics=state.statistics)
    now = clock.now()
    if ledger.statistics.started_at is None:
        ledger.mark_started(now)
    for position in state.positions:
        ledger.put_position(position)
    for trade in reversed(await journal.trades(KEPT_TRADES)):
        ledger.trades.append(trade)
    ledger.round_trips.update(await journal.round_trips())
    ledger.order_times.extend(await journal.order_times(now - timedelta(days=1)))
    for record in reversed(await journal.orders(200)):
        ledger.put_order(record)
    for lock in await journal.locks(now - LOCK_MEMORY):
        ledger.locks[lock.lock_id] = lock
    peak = await journal.peak()
    if peak is not None:
        ledger.peak_equity, ledger.peak_since = peak
    return ledger
