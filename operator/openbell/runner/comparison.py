"""Keeps the journal and the broker in agreement: follows the broker's events, and compares after every doubt.

Entries are held (`gate.in_sync`) from every new connection until everything of ours is accounted for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal

import structlog

from openbell.brokers.base import Broker, ConnectionChanged
from openbell.domain.answers import Unknown, Value
from openbell.domain.clock import Clock
from openbell.domain.errors import BrokerError, JournalError, StaleEpochError
from openbell.domain.orders import Fill, OrderUpdate
from openbell.journal import Journal, killpoints
from openbell.journal.recovery import Recovery, UnrecordedOrder
from openbell.runner.desk import Desk
from openbell.runner.gate import Gate
from openbell.runner.ledger import Ledger
from openbell.telemetry.metrics import ErrorKind, RunnerMetrics

log = structlog.get_logger("openbell.comparison")

COMPARE_EVERY_SECONDS = 60.0
RETRY_SECONDS = 1.0
SETTLING_SECONDS = 10.0  # an order this young may still be on its way when the broker does not name it
CLOCKS_DIFFER = timedelta(days=1)  # more than the broker's clock and ours ever do
FIRST_ANSWER_SECONDS = 3.0  # exits wait so long for the first comparison of a process, and no longer
MARKED_ANSWER_SECONDS = SETTLING_SECONDS + FIRST_ANSWER_SECONDS  # and so long at a time after an unwritten one


class Comparison:
    """The broker's events in, the desk's bookings out; `why` says what is not in agreement."""

    def __init__(
        self,
        broker: Broker,
        journal: Journal,
        desk: Desk,
        gate: Gate,
        ledger: Ledger,
        clock: Clock,
        metrics: RunnerMetrics,
        announce: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._journal = journal
        self._desk = desk
        self._gate = gate
        self._ledger = ledger
        self._clock = clock
        self._metrics = metrics
        self._announce = announce
        self._due = asyncio.Event()
        self._connected_at = clock.monotonic()
        self._connections = 0
        self._comparing = asyncio.Lock()
        self.answered = asyncio.Event()
        self.is_certain = False  # whether the broker has told of every order since the connection came up
        self.doubtful: frozenset[str] = frozenset()  # sent long ago, and the broker's complete answer settles none
        self.accept: Callable[[Recovery], Recovery] = lambda found: found  # a person's word on what is lost
        self.on_connected: Callable[[], None] = lambda: None
        self.why = "not compared yet"
        self.reason = "Comparing"

    async def follow(self) -> None:
        """Consume the broker's events, in its order, until cancelled."""
        async for event in self._broker.events():
            if isinstance(event, Fill):
                await self._desk.on_fill(event)
            elif isinstance(event, OrderUpdate):
                await self._desk.on_update(event)
            else:
                self.on_connection(event)

    def on_connection(self, event: ConnectionChanged) -> None:
        """A connection that came up is compared before any entry; one that went down leaves everything as it is."""
        self._gate.broker_connected = event.connected
        self._metrics.broker_connected.set(event.connected)
        self.is_certain = False
        log.info("broker.connected" if event.connected else "broker.disconnected", why=event.why)
        self._not_in_sync("Comparing" if event.connected else "Disconnected", event.why or "not compared yet")
        if event.connected:
            self._connected_at = self._clock.monotonic()
            self._connections += 1
            self._due.set()
            self.on_connected()

    def ask(self) -> None:
        """Compare as soon as the broker is connected."""
        self._due.set()

    async def run(self) -> None:
        """Compare when asked to, when an order is overdue, and once a minute, until cancelled."""
        last = self._clock.monotonic()
        while True:
            try:
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._due.wait()
            except TimeoutError:
                pass
            asked = self._due.is_set()
            self._due.clear()  # also while there is no connection: the one that comes up asks anew
            overdue = self._desk.overdue()
            self._desk.doubt(overdue)
            is_late = self._clock.monotonic() - last > COMPARE_EVERY_SECONDS
            if not self._broker.is_connected or not (asked or overdue or is_late or not self._gate.in_sync):
                continue
            last = self._clock.monotonic()
            await self.compare()

    async def compare(self) -> bool:
        """Ask the broker for everything, take its word, and say whether entries may go on.

        Whether it has answered everything and there was nothing new in it.
        """
        async with self._comparing:
            if not self._gate.journal_open:
                await self._desk.save_statistics()  # what was missed is made up for as soon as there is room
            booked, question_at = self._desk.bookings, self._clock.monotonic()
            connection = self._connections
            try:
                found = self.accept(await self._ask())
            except StaleEpochError:
                raise
            except (BrokerError, JournalError) as error:
                self._metrics.errors.labels(ErrorKind.BROKER.value).inc()
                self._not_in_sync("Unknown", str(error))
                return False
            killpoints.reach("comparison.answered")
            has_taken, taken = await self._take_up(found.unrecorded)
            for update in found.updates:
                await self._desk.on_update(update, question_at)
            # In the order in which they were made: an exit that nobody wrote down may have sold shares whose purchase
            # nobody wrote down either.
            fills = [*(missing.fill for missing in found.missing_fills), *taken]
            for fill in sorted(fills, key=lambda each: each.time):
                await self._desk.on_fill(fill)
            killpoints.reach("comparison.applied")
            settled = self._desk.handed_over_before(question_at - SETTLING_SECONDS)
            self.doubtful = frozenset() if found.unknown else settled & frozenset(found.doubtful)
            self._metrics.orders_in_doubt.set(len(self.doubtful))
            if connection != self._connections:
                return False  # what the connection before this one answered says nothing of what was missed between
            is_new = has_taken or self._desk.bookings != booked
            if is_new and (found.orphan_orders or found.orphan_fills):
                self._due.set()  # a position that is known only now may have sent them: look again, before any exit
                self._not_in_sync("Comparing", "orders of a position that was not known are looked up")
                return False
            self._note_answer(found, question_at)
            if found.unrecorded:
                return False
            if self._journal.unwritten.is_inherited:
                self._not_in_sync("Comparing", "an order that was not written down may still be on its way")
                return False
            if found.differences and self._desk.bookings != booked:
                self._due.set()  # a fill came between the answers, which explains a difference: look again
                return False
            self._conclude(found)
            return not (is_new or found.unknown)

    async def _take_up(self, orders: Iterable[UnrecordedOrder]) -> tuple[bool, tuple[Fill, ...]]:
        """Orders that were sent and not written down: whether any was new, and their fills.

        The next comparison knows them, unless the journal still cannot be written.
        """
        taken = tuple(orders) if self._gate.fence.holds() else ()
        has_taken = False
        for found in taken:  # all of them before any fill is booked: a lot that is flat by then knows none of its own
            self._not_in_sync("Comparing", "orders that the journal does not know are taken up")
            has_taken |= await self._desk.adopt(found)
        for found in taken:
            if found.update is not None:
                await self._desk.on_update(found.update, self._clock.monotonic())
        return has_taken, tuple(fill for found in taken for fill in found.fills)

    async def _ask(self) -> Recovery:
        now = self._clock.now()
        # By when each has left, not by when it was decided: an exit may have waited for the first comparison since.
        settled = self._desk.handed_over_before(self._clock.monotonic() - SETTLING_SECONDS)
        orders = await self._broker.orders()
        fills = await self._broker.fills(self._fills_since(now))
        positions = await self._broker.positions()
        account = await self._broker.account()
        if isinstance(account, Value):
            self._ledger.account = account.value
        return await self._journal.compare(
            orders,
            fills,
            positions,
            remembered_since=self._broker.remembers_since(now),
            settled=settled,
            memory=None if self._gate.journal_open else self._desk.remembered(),
        )

    def _fills_since(self, now: datetime) -> datetime:
        """So far back that no fill of an open order is left out, however long the broker was away."""
        oldest = min((flying.intent.created_at for flying in self._desk.in_flight.values()), default=now)
        return min(self._broker.remembers_since(now), oldest - CLOCKS_DIFFER)

    def _conclude(self, found: Recovery) -> None:
        if found.is_in_sync:
            if not self._gate.in_sync:
                log.info("broker.in-sync")
            if self._gate.journal_open:
                self._journal.unwritten.clear()
            self._gate.in_sync = True
            self.reason, self.why = "InSync", "orders and positions agree with the broker"
            self._announce()
            return
        if self._gate.in_sync and (found.unknown or self._desk.in_flight):
            return  # unknown changes nothing, and what is under way explains a difference: look again
        if found.unknown:
            self._not_in_sync("Unknown", f"the broker did not answer: {found.unknown[0]}")
        elif self.doubtful:
            names = ", ".join(sorted(self.doubtful)[:3])
            differs = _difference(found)
            told = f"no final word of the broker on {names}" + (f", and {differs}" if differs else "")
            self._not_in_sync("OrdersInDoubt", f"{told}; a person can settle it by openbell resolve")
        elif _difference(found):
            self._not_in_sync("PositionMismatch", _difference(found))
        elif found.doubtful or found.awaiting_fills:
            names = ", ".join((*found.doubtful, *found.awaiting_fills)[:3])
            self._not_in_sync("OrdersInDoubt", f"no final word of the broker on {names}")
        else:
            self._not_in_sync("OrphanOrders", "the broker has orders of ours that the journal does not know")

    def _not_in_sync(self, reason: str, why: str) -> None:
        if (self._gate.in_sync, self.reason, self.why) == (False, reason, why):
            return
        self._gate.in_sync = False
        self.reason, self.why = reason, why
        log.warning("broker.not-in-sync", reason=reason, why=why)
        self._announce()

    def _note_answer(self, found: Recovery, question_at: float) -> None:
        if found.unknown or (found.unrecorded and not self._gate.fence.holds()):
            return
        if question_at >= self._connected_at + SETTLING_SECONDS:
            self._journal.unwritten.settle()
        if not self._journal.unwritten.is_inherited:
            self.answered.set()
            self.is_certain = self._broker.is_connected and not found.unrecorded

    async def first_answer(self) -> bool:
        """Whether exits may go on: this process has compared, or has waited long enough for it.

        A process before this one may have sent an exit that it could not write down; only the broker knows of it. Where
        it left its mark that it could not write, the broker's word is waited for, and for as long as such an order may
        be on its way: the same exit twice would be a new position, and without a limit.
        """
        if self.answered.is_set():
            return True
        is_marked = self._journal.unwritten.is_inherited
        try:
            async with asyncio.timeout(MARKED_ANSWER_SECONDS if is_marked else FIRST_ANSWER_SECONDS):
                await self.answered.wait()
        except TimeoutError:
            if self._journal.unwritten.is_inherited:
                log.warning("exits.held", why=self.why)
                return False
            log.warning("exits.not-compared", why=self.why)
            self.answered.set()
        return True

    async def held_by_broker(self) -> dict[str, Decimal] | Unknown:
        """What the broker holds by symbol, for the limit on exits; Unknown where it does not answer."""
        answer = await self._broker.positions()
        if isinstance(answer, Unknown):
            return answer
        return {item.symbol: item.quantity for item in (answer.value if isinstance(answer, Value) else ())}


def _difference(found: Recovery) -> str:
    """The first position that the broker holds otherwise than we do, in one clause; empty where there is none."""
    for item in found.differences:
        if not item.is_foreign:
            return f"the broker holds {item.brokers:f} {item.symbol} where we own {item.ours:f}"
    return ""
