"""The journal itself: one folder, one process, one connection, one writer thread, one commit an operation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from openbell.domain.answers import Answer
from openbell.domain.clock import Clock
from openbell.domain.errors import JournalError
from openbell.domain.orders import Fill, Intent, IntentState, OrderUpdate
from openbell.domain.positions import BrokerPosition, ClosedTrade, Position
from openbell.domain.statistics import Statistics
from openbell.journal import reads, reserve, writes
from openbell.journal.database import FILE, connect, journal_errors, prepare
from openbell.journal.filesystem import network_filesystem
from openbell.journal.killpoints import reach
from openbell.journal.lock import FolderLock
from openbell.journal.recovery import Memory, Recovery, recover
from openbell.journal.unwritten import Unwritten
from openbell.journal.values import (
    Bookings,
    GatewayClient,
    IntentRecord,
    JournalIdentity,
    JournalState,
    RoundTrips,
)
from openbell.risk.intraday_margin import Deficit
from openbell.risk.locks import Lock
from openbell.risk.settlement import CashMovement

T = TypeVar("T")


class Journal:
    """The durable memory of one runner. Every method is one transaction on the writer thread, in call order.

    A write that returned is on the disk; one that raised JournalError changed nothing. Cancelling the caller does
    not take a write back: it may still be committed, and doing it again changes nothing.
    """

    def __init__(
        self,
        lock: FolderLock,
        thread: ThreadPoolExecutor,
        connection: Connection,
        clock: Clock,
        unwritten: Unwritten,
    ) -> None:
        self._lock = lock
        self._thread = thread
        self._connection = connection
        self._clock = clock
        self._closed = False
        self.unwritten = unwritten

    @classmethod
    def open(cls, folder: Path, *, clock: Clock) -> Journal:
        """Lock the folder, then open or create `journal.db` in it; an older one is migrated, and a copy of it kept.

        Raises JournalLockedError while another process holds the folder, JournalError for a folder on a network
        filesystem and for a file that cannot be read, is no journal, is of a newer schema version, or cannot be
        migrated; then it is as it was.
        """
        network = network_filesystem(folder)
        if network is not None:
            raise JournalError(
                f"the journal folder {folder} is on {network}, a network filesystem, "
                "where locks do not hold; use a volume on a local disk"
            )
        lock = FolderLock(folder)
        is_new = not (folder / FILE).exists()
        thread = ThreadPoolExecutor(1, thread_name_prefix="journal")

        def start() -> Connection:
            with journal_errors("opening"):
                connection = connect(folder / FILE)
                try:
                    prepare(connection, folder / FILE, clock.now())
                except BaseException:
                    connection.close()
                    connection.engine.dispose()
                    raise
                return connection

        try:
            try:
                connection = thread.submit(start).result()
            except JournalError:
                if not reserve.give_up(folder):
                    raise
                connection = thread.submit(start).result()
            reserve.keep(folder)
            unwritten = Unwritten(folder, is_new=is_new)
        except BaseException:
            thread.shutdown()
            lock.release()
            raise
        return cls(lock, thread, connection, clock, unwritten)

    def close(self) -> None:
        """Finish what was begun, close the file, then let the folder go."""
        if self._closed:
            return
        self._closed = True

        def stop() -> None:
            self._connection.close()
            self._connection.engine.dispose()

        self._thread.submit(stop).result()
        self._thread.shutdown()
        self._lock.release()

    async def _run(self, doing: str, work: Callable[[Connection], T], committed: str = "") -> T:
        def transaction() -> T:
            with journal_errors(doing), self._connection.begin():
                result = work(self._connection)
            if committed:
                reach(committed)
            return result

        if self._closed:
            raise JournalError(f"the journal failed while {doing}: it is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)

    # who writes

    async def identity(self) -> JournalIdentity:
        """Owner tag and highest epoch."""
        return await self._run("reading its identity", reads.identity)

    async def adopt_owner(self, uid: str) -> str:
        """The owner tag: made from `uid` the first time, afterwards whatever was stored then."""
        return await self._run("writing its owner", partial(writes.adopt_owner, uid=uid), "journal.owner.committed")

    async def adopt_gateway_client(self, client_id: int) -> GatewayClient:
        """Who we are to the broker's gateway: `client_id` the first time, afterwards whatever was stored then."""
        work = partial(writes.adopt_gateway_client, client_id=client_id)
        return await self._run("writing its client id", work)

    async def use_order_ids(self, up_to: int) -> None:
        """Write down that every order id up to this one may be used up, before any of them is."""
        await self._run("writing order ids", partial(writes.use_order_ids, up_to=up_to))

    async def begin_epoch(self, epoch: int) -> None:
        """Make `epoch` the current one. Raises StaleEpochError unless it is higher than every one before."""
        await self._run("writing its epoch", partial(writes.begin_epoch, epoch=epoch), "journal.epoch.committed")

    # what was decided and what came of it

    async def commit_intents(
        self, intents: Iterable[Intent], *, positions: Iterable[Position] = (), statistics: Statistics | None = None
    ) -> frozenset[str]:
        """Write a tick's intents in one commit; the references that were new (only these may be sent).

        A reference that is already there is left out and its first content stays. Raises StaleEpochError, with
        nothing written, when an intent's epoch is not the current one. `statistics` go into the same commit, and so do
        the numbers of the `positions` that the intents reduce, from which the next references are made.
        """
        work = partial(
            writes.commit_intents,
            intents=tuple(intents),
            positions=tuple(positions),
            statistics=statistics,
            now=self._clock.now(),
        )
        return await self._run("writing intents", work, "journal.intents.committed")

    async def record_update(self, update: OrderUpdate) -> IntentState | None:
        """What the broker says of an order; the state after it, or None where the journal has no such intent.

        Updates may come late or twice: see `lifecycle.after_update`.
        """
        work = partial(writes.record_update, update=update, now=self._clock.now())
        return await self._run("writing an order update", work, "journal.update.committed")

    async def record_fill(
        self, fill: Fill, position: Position, closed: ClosedTrade | None, *, statistics: Statistics | None = None
    ) -> bool:
        """Book a fill: fill, position after it, round trip and the intent's quantity in one commit.

        False when its execution id was there already; then nothing changed, `statistics` included.
        """
        work = partial(
            writes.record_fill,
            fill=fill,
            position=position,
            closed=closed,
            statistics=statistics,
            now=self._clock.now(),
        )
        return await self._run("writing a fill", work, "journal.fill.committed")

    async def adjust_position(
        self,
        adjustment_id: str,
        position: Position,
        closed: ClosedTrade | None = None,
        *,
        ratio: Decimal | None = None,
    ) -> bool:
        """Write a position that changed without a fill (a split, a reduction by the broker), once for each id.

        `ratio` is a split's: new shares for one old.
        """
        work = partial(
            writes.adjust_position,
            adjustment_id=adjustment_id,
            position=position,
            closed=closed,
            ratio=ratio,
            now=self._clock.now(),
        )
        return await self._run("writing an adjustment", work)

    async def split_intents(self, symbol: str, ratio: Decimal) -> None:
        """Write what a stock split of `ratio` new shares for one old makes of the symbol's open intents."""
        work = partial(writes.split_intents, symbol=symbol, ratio=ratio, now=self._clock.now())
        await self._run("writing a split", work)

    async def amend_intent(self, intent: Intent) -> None:
        """Write what an open intent may come to, before a change of its terms is asked for: the larger quantity, the
        policy and the entry price that its new terms stand for. Its prices follow when the broker names them.
        """
        work = partial(writes.amend_intent, intent=intent, now=self._clock.now())
        await self._run("writing a change of terms", work, "journal.amendment.committed")

    async def save_positions(self, positions: Sequence[Position]) -> None:
        """Write best price, policy, exit sequence and protection's revision of known positions; the numbers never go
        back.

        Quantity and money change by fills and adjustments only, so that an older snapshot cannot undo one.
        """
        work = partial(writes.save_positions, positions=tuple(positions))
        await self._run("writing positions", work, "journal.positions.committed")

    async def save_statistics(self, statistics: Statistics) -> None:
        """Write all counters."""
        work = partial(writes.save_statistics, statistics=statistics)
        await self._run("writing statistics", work, "journal.statistics.committed")

    async def remember_parameters(self, strategy: str, type_name: str, parameters: Mapping[str, object]) -> None:
        """Keep a strategy's last good parameters."""
        work = partial(
            writes.remember_parameters,
            strategy=strategy,
            type_name=type_name,
            document=json.dumps(dict(parameters), sort_keys=True, allow_nan=False),
            now=self._clock.now(),
        )
        await self._run("writing parameters", work)

    async def remember_day_start(self, day: date, equity: Decimal) -> Decimal:
        """The equity that `day` started with: the first one given for the day, whoever gives another later."""
        return await self._run("writing a day's equity", partial(writes.remember_day_start, day=day, equity=equity))

    async def save_locks(self, locks: Iterable[Lock]) -> None:
        """Write locks; of one that is there already, whether and by whom it was lifted."""
        await self._run("writing locks", partial(writes.save_locks, locks=tuple(locks)))

    async def save_peak(self, equity: Decimal, since: datetime) -> None:
        """Write the highest equity that a drawdown is measured from, and since when it is counted."""
        await self._run("writing the highest equity", partial(writes.save_peak, equity=equity, since=since))

    async def save_cash_movement(self, movement: CashMovement) -> None:
        """Write money that came to a cash account, or went, without a fill; the first is what it had at the start."""
        await self._run("writing a cash movement", partial(writes.save_cash_movement, movement=movement))

    async def save_deficit(self, deficit: Deficit) -> None:
        """Write a day's intraday margin deficit, or what it has become."""
        await self._run("writing a margin deficit", partial(writes.save_deficit, deficit=deficit))

    # what to go on from

    async def load(self, *, since: datetime | None = None) -> JournalState:
        """All that a runner needs after a restart; `fills_today` from `since` on (default: the last 24 hours)."""
        start = self._clock.now() - timedelta(days=1) if since is None else since
        return await self._run("reading its state", partial(reads.load, since=start))

    async def record(self, order_ref: str) -> IntentRecord | None:
        """One intent, open or final."""
        return await self._run("reading an intent", partial(reads.record, order_ref=order_ref))

    async def position(self, position_id: str) -> Position | None:
        """One position, open or closed: a late fill goes on from it."""
        return await self._run("reading a position", partial(reads.position, position_id=position_id))

    async def orders(self, limit: int) -> tuple[IntentRecord, ...]:
        """The newest intents, newest first."""
        return await self._run("reading orders", partial(reads.orders, limit=limit))

    async def trades(self, limit: int) -> tuple[ClosedTrade, ...]:
        """The newest round trips, newest first."""
        return await self._run("reading trades", partial(reads.trades, limit=limit))

    async def round_trips(self) -> Mapping[str, RoundTrips]:
        """What all round trips ever came to, by strategy."""
        return await self._run("reading profits", reads.round_trips)

    async def bookings(self, since: datetime) -> Bookings:
        """What lots and the profit since a time are made of."""
        return await self._run("reading lots", partial(reads.bookings, since=since))

    async def locks(self, since: datetime) -> tuple[Lock, ...]:
        """Locks that have not ended before `since` and those lifted from then on, oldest first."""
        return await self._run("reading locks", partial(reads.locks, since=since))

    async def peak(self) -> tuple[Decimal, datetime] | None:
        """The highest equity and since when it is counted; None before the first."""
        return await self._run("reading the highest equity", reads.peak)

    async def cash_movements(self) -> tuple[CashMovement, ...]:
        """All that moved a cash account's money beside its fills, oldest first."""
        return await self._run("reading cash movements", reads.cash_movements)

    async def deficits(self, since: date) -> tuple[Deficit, ...]:
        """Intraday margin deficits of the days from `since` on, oldest first."""
        return await self._run("reading margin deficits", partial(reads.deficits, since=since))

    async def fills(self, since: datetime) -> tuple[Fill, ...]:
        """Fills from `since` on, oldest first."""
        return await self._run("reading fills", partial(reads.fills, since=since))

    async def known_fill_ids(self, since: datetime) -> frozenset[str]:
        """Execution ids of the fills booked that were made from `since` on."""
        return await self._run("reading fills", partial(reads.known_fill_ids, since=since))

    async def order_times(self, since: datetime) -> tuple[datetime, ...]:
        """When the intents from `since` on were made, oldest first.

        Withdrawn ones were no orders, and protective ones are no trades.
        """
        return await self._run("reading order times", partial(reads.order_times, since=since))

    async def realized_pnl(self, since: datetime) -> Decimal:
        """Profit realised by fills and adjustments from `since` on, after the fees of all fills since then."""
        return await self._run("reading profits", partial(reads.realized_pnl, since=since))

    async def compare(
        self,
        orders: Answer[tuple[OrderUpdate, ...]],
        fills: Answer[tuple[Fill, ...]],
        positions: Answer[tuple[BrokerPosition, ...]],
        *,
        remembered_since: datetime | None = None,
        settled: Collection[str] | None = None,
        memory: Memory | None = None,
    ) -> Recovery:
        """Read what the broker's answers are about and compare (see `recovery.recover`). Writes nothing.

        `memory` is what the caller knows better, because it could not be written down.
        """
        facts = await self._run("comparing with the broker", partial(reads.facts, orders=orders, fills=fills))
        facts = facts if memory is None else facts.overruled_by(memory)
        return recover(facts, orders, fills, positions, remembered_since=remembered_since, settled=settled)
