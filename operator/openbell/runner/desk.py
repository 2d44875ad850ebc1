"""The order desk: persists intents, hands them over through the gate, and follows each to its end.

An intent's life here: committed to the journal → gate → bytes handed over → acknowledged → filled, cancelled or
rejected. Nothing is ever handed over twice, and whatever has no final word of the broker stays in `in_flight`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import structlog

from openbell.brokers.base import Broker, NotSentError
from openbell.domain.clock import Clock
from openbell.domain.errors import BrokerError
from openbell.domain.money import ZERO
from openbell.domain.orders import Fill, Intent, IntentKind, IntentState, OrderUpdate, Side
from openbell.domain.policies import decode_policy
from openbell.domain.positions import ClosedTrade, ExitPolicy, Position
from openbell.domain.reasons import ExitReason, Reason
from openbell.engine.portfolio import Booked, book
from openbell.journal import IntentRecord, Journal, killpoints
from openbell.journal.lifecycle import after_fill, after_split, after_update
from openbell.journal.recovery import UnrecordedExit
from openbell.risk.settlement import split as split_lots
from openbell.runner.gate import Gate
from openbell.runner.ledger import Ledger, counted_fill, counted_rejection
from openbell.runner.writing import Writing
from openbell.telemetry.metrics import RunnerMetrics

log = structlog.get_logger("openbell.desk")

ANSWER_SECONDS = 5.0  # without an acknowledgement for this long, an order is in doubt


@dataclass(slots=True)
class InFlight:
    """An intent that is not over, and since when (monotonic) a send or a cancel of it waits for an answer."""

    record: IntentRecord
    handed_over_at: float = 0.0
    cancel_asked_at: float | None = None

    @property
    def intent(self) -> Intent:
        return self.record.intent

    @property
    def is_unanswered(self) -> bool:
        """Whether a send or a cancel has no answer yet."""
        return self.record.state in {IntentState.INTENDED, IntentState.DOUBTFUL} or self.cancel_asked_at is not None


@dataclass(frozen=True, slots=True)
class Told:
    """What the desk tells others of an intent: its record, and the fill and round trip where there are any."""

    record: IntentRecord
    fill: Fill | None = None
    closed: ClosedTrade | None = None


class Desk:
    """Sends and follows orders. All methods run on the event loop's thread."""

    def __init__(
        self, broker: Broker, journal: Journal, gate: Gate, ledger: Ledger, clock: Clock, metrics: RunnerMetrics
    ) -> None:
        self._broker = broker
        self._journal = journal
        self._gate = gate
        self._ledger = ledger
        self._clock = clock
        self._metrics = metrics
        self._booking = asyncio.Lock()
        self._leaving: set[str] = set()  # positions whose exit is decided and not handed over yet
        self._booked: set[str] = set()  # executions booked by this process, whether or not the journal could be written
        self._writing = Writing(gate, metrics)
        self._moved = asyncio.Event()
        self.bookings = 0
        self.in_flight: dict[str, InFlight] = {}
        self.listeners: list[Callable[[Told], None]] = []

    # -- asking ------------------------------------------------------------------------------------------------

    def unanswered(self) -> tuple[str, ...]:
        """References of orders whose send or cancel the broker has not answered."""
        return tuple(ref for ref, flying in self.in_flight.items() if flying.is_unanswered)

    def overdue(self) -> tuple[str, ...]:
        """Those that have waited longer than an answer takes."""
        latest = self._clock.monotonic() - ANSWER_SECONDS
        return tuple(
            ref
            for ref, flying in self.in_flight.items()
            if flying.is_unanswered and (flying.cancel_asked_at or flying.handed_over_at) < latest
        )

    async def wait_quiet(self) -> None:
        """Return once every send and cancel has its answer."""
        while self.unanswered():
            self._moved.clear()
            await self._moved.wait()

    def working_entries(self) -> tuple[Intent, ...]:
        """Entries that may still open something."""
        return tuple(f.intent for f in self.in_flight.values() if f.intent.kind is IntentKind.ENTRY)

    def is_leaving(self, position_id: str) -> bool:
        """Whether an exit of this position is under way: one in flight at a time."""
        return position_id in self._leaving or any(
            flying.intent.kind is IntentKind.EXIT and flying.intent.position_id == position_id
            for flying in self.in_flight.values()
        )

    # -- sending -----------------------------------------------------------------------------------------------

    async def place(self, intents: Sequence[Intent]) -> dict[str, Reason]:
        """Persist intents in one commit, then send each through the gate; says what came of every reference."""
        if not intents:
            return {}
        chosen, leaving = self._reserve(intents)
        try:
            fresh = await self._commit(chosen)
            outcome: dict[str, Reason] = {}
            for intent in intents:
                if intent.order_ref in fresh:
                    outcome[intent.order_ref] = self._hand_over(intent)
                elif intent.kind is IntentKind.ENTRY and not self._gate.journal_open:
                    outcome[intent.order_ref] = Reason.JOURNAL_FAILED
                else:
                    outcome[intent.order_ref] = Reason.ALREADY_DECIDED
        finally:
            self._leaving -= leaving
        killpoints.reach("desk.handed-over")
        for ref, reason in outcome.items():
            if reason not in {Reason.ORDERED, Reason.ALREADY_DECIDED, Reason.JOURNAL_FAILED}:
                await self.on_update(OrderUpdate(ref, IntentState.WITHDRAWN, "", detail=reason.text))
        used = [p for p in self._ledger.open_positions() if p.position_id in leaving]
        if used:
            await self.save_positions(used)
        return outcome

    def _reserve(self, intents: Sequence[Intent]) -> tuple[list[Intent], set[str]]:
        """Keep to one exit a position, before anything awaits: both loops may decide to leave at the same time.

        The number of each exit is used up here, whatever comes of it: the position's next exit is another one.
        """
        chosen: list[Intent] = []
        leaving: set[str] = set()
        for intent in intents:
            if intent.kind is IntentKind.EXIT:
                if self.is_leaving(intent.position_id):
                    continue
                leaving.add(intent.position_id)
                self._leaving.add(intent.position_id)
                position = self._ledger.positions.get(intent.position_id)
                if position is not None:
                    self._ledger.put_position(replace(position, exit_sequence=position.exit_sequence + 1))
            chosen.append(intent)
        return chosen, leaving

    async def _commit(self, intents: Sequence[Intent]) -> frozenset[str]:
        killpoints.reach("desk.before-commit")
        started = self._clock.monotonic()
        # Where the journal fails, entries stop; an exit goes on, its identity derived from the position alone.
        exits = [intent for intent in intents if intent.kind is IntentKind.EXIT]
        fresh = await self._writing.write(
            lambda: self._journal.commit_intents(intents),
            frozenset(intent.order_ref for intent in exits if intent.order_ref not in self.in_flight),
            later=lambda: self._journal.commit_intents(exits),
        )
        self._metrics.journal_commit_seconds.observe(self._clock.monotonic() - started)
        killpoints.reach("desk.committed")
        return fresh

    def _hand_over(self, intent: Intent) -> Reason:
        """Gate and send, in one synchronous step: nothing may await between the two."""
        record = IntentRecord(intent, IntentState.INTENDED, ZERO, ZERO, ZERO, "", "", intent.created_at)
        flying = InFlight(record, handed_over_at=self._clock.monotonic())
        self.in_flight[intent.order_ref] = flying
        self._ledger.put_order(record)
        blocked = self._gate.blocked(intent.kind, intent.strategy)
        if blocked is not None:
            return blocked
        try:
            self._broker.send(intent)
        except NotSentError as error:
            log.warning("order.not-sent", order=intent.order_ref, error=str(error))
            return Reason.BROKER_DISCONNECTED
        except BrokerError as error:
            self._change(flying, OrderUpdate(intent.order_ref, IntentState.DOUBTFUL, "", detail=str(error)))
            log.warning("order.in-doubt", order=intent.order_ref, error=str(error))
        killpoints.reach("desk.sent")
        self._ledger.note_order(intent.created_at)
        self._metrics.orders_sent.labels(intent.kind.value).inc()
        log.info(
            "order.sent",
            order=intent.order_ref,
            kind=intent.kind.value,
            strategy=intent.strategy,
            symbol=intent.symbol,
            side=intent.side.value,
            quantity=str(intent.quantity),
            reason=intent.reason,
            epoch=intent.epoch,
        )
        return Reason.ORDERED

    def cancel_entries(self) -> None:
        """Ask the broker to cancel every entry that still works."""
        for ref, flying in self.in_flight.items():
            working = flying.intent.kind is IntentKind.ENTRY and flying.record.state is IntentState.WORKING
            if not working or self._waits_for_cancel(flying):
                continue
            try:
                self._broker.cancel(ref)
            except BrokerError as error:
                log.warning("cancel.not-sent", order=ref, error=str(error))
                continue
            flying.cancel_asked_at = self._clock.monotonic()
            log.info("cancel.sent", order=ref)

    def _waits_for_cancel(self, flying: InFlight) -> bool:
        # Unlike an order, a cancel may be asked for again: one that was lost must not keep a pause draining for ever.
        asked = flying.cancel_asked_at
        return asked is not None and self._clock.monotonic() - asked < ANSWER_SECONDS

    # -- following ---------------------------------------------------------------------------------------------

    def restore(self, records: Iterable[IntentRecord]) -> None:
        """Take up intents that were not over when the journal was last written; unsent ones are in doubt."""
        for record in records:
            flying = InFlight(record)
            self.in_flight[record.intent.order_ref] = flying
            self._ledger.put_order(record)
        self.doubt(self.in_flight)

    def doubt(self, order_refs: Iterable[str]) -> None:
        """Mark orders that waited too long as in doubt; only the broker's word takes them out of it."""
        for ref in order_refs:
            flying = self.in_flight.get(ref)
            if flying is not None and flying.record.state is IntentState.INTENDED:
                self._change(flying, OrderUpdate(ref, IntentState.DOUBTFUL, "", detail="no answer of the broker yet"))
                log.warning("order.in-doubt", order=ref)

    async def adopt(self, found: UnrecordedExit) -> None:
        """Take up an exit that was sent while the journal could not be written: no other leaves its position now."""
        position = self._ledger.positions.get(found.position_id)
        if position is None or found.order_ref in self.in_flight:
            return
        now = self._clock.now()
        intent = Intent(
            order_ref=found.order_ref,
            kind=IntentKind.EXIT,
            strategy=position.strategy,
            symbol=position.symbol,
            side=Side.SELL if position.quantity > 0 else Side.BUY,
            quantity=abs(position.quantity),
            position_id=position.position_id,
            reason=ExitReason.UNRECORDED.value,
            bar_time=now,
            created_at=now,
            epoch=self._gate.fence.epoch,
            reference_price=position.best_price,
        )
        record = IntentRecord(intent, IntentState.DOUBTFUL, ZERO, ZERO, ZERO, "", "", now)
        self.in_flight[intent.order_ref] = InFlight(record, handed_over_at=self._clock.monotonic())
        kept = replace(position, exit_sequence=max(position.exit_sequence, found.sequence))
        self._ledger.put_position(kept)
        self._ledger.put_order(record)
        log.warning("order.taken-up", order=intent.order_ref, position=position.position_id)

        def write() -> Awaitable[object]:
            return self._journal.commit_intents([intent])

        await self._writing.write(write, None, later=write)
        await self.save_positions([kept])

    async def begin_epoch(self, epoch: int) -> None:
        """Tell the journal of a new leadership. Where it cannot be written, exits go on and entries wait."""

        def begin() -> Awaitable[None]:
            return self._journal.begin_epoch(epoch)

        await self._writing.write(begin, None, later=begin)

    async def on_update(self, update: OrderUpdate) -> None:
        """Take the broker's word on one of our orders; a word that comes after the final one changes nothing."""
        async with self._booking:
            written = await self._writing.write(
                lambda: self._journal.record_update(update), None, later=lambda: self._journal.record_update(update)
            )
            flying = self.in_flight.get(update.order_ref)
            if flying is None:
                if written is not None and not written.is_final:
                    await self._take_up_again(update.order_ref)
                return
            was = flying.record.state
            if update.state.is_final or update.state is IntentState.WORKING:
                self._change(flying, update)
            if update.state is IntentState.REJECTED and was is not IntentState.REJECTED:
                log.warning("order.rejected", order=update.order_ref, why=update.detail)
                self._ledger.statistics = counted_rejection(self._ledger.statistics, flying.intent)

    async def _take_up_again(self, order_ref: str) -> None:
        """Follow an order that was held for withdrawn, and that the broker has after all."""
        record = await self._writing.read(self._journal.record(order_ref))
        if record is not None and record.is_open:
            log.warning("order.came-after-all", order=order_ref)
            self.in_flight[order_ref] = InFlight(record, handed_over_at=self._clock.monotonic())
            self._settle(record)

    async def on_fill(self, fill: Fill) -> None:
        """Book one execution, once, whatever order it comes in and however often."""
        async with self._booking:
            if fill.execution_id in self._booked:
                return
            flying = self.in_flight.get(fill.order_ref)
            record = flying.record if flying else await self._writing.read(self._journal.record(fill.order_ref))
            if record is None:
                return  # not ours: the comparison with the broker names it
            intent = record.intent
            position = self._ledger.positions.get(intent.position_id)
            is_first = flying is not None and intent.kind is IntentKind.ENTRY and record.filled == ZERO
            if position is None and not is_first:  # flat by now: its exits' numbers and its money go on
                position = await self._writing.read(self._journal.position(intent.position_id))
            policy = decode_policy(intent.exits) if intent.exits else ExitPolicy()
            booked = book(position, intent, fill, policy)
            if await self._book(fill, intent, booked, first=record.filled == ZERO):
                self._after_booking(fill, record, booked, flying)

    async def _book(self, fill: Fill, intent: Intent, booked: Booked, *, first: bool) -> bool:
        def write() -> Awaitable[bool]:
            statistics = counted_fill(self._ledger.statistics, intent, fill, booked.closed, first=first)
            return self._journal.record_fill(fill, booked.position, booked.closed, statistics=statistics)

        def write_later() -> Awaitable[bool]:  # when the counters in memory have it already
            return self._journal.record_fill(fill, booked.position, booked.closed, statistics=self._ledger.statistics)

        # Where the journal fails, memory goes on so that exits do.
        is_new = await self._writing.write(write, True, later=write_later)
        if is_new:
            self._booked.add(fill.execution_id)
            self.bookings += 1
            # The evaluation may have counted on while the fill was being written.
            self._ledger.statistics = counted_fill(self._ledger.statistics, intent, fill, booked.closed, first=first)
        return is_new

    def _after_booking(self, fill: Fill, record: IntentRecord, booked: Booked, flying: InFlight | None) -> None:
        killpoints.reach("desk.fill-booked")
        intent, closed = record.intent, booked.closed
        now_kept = self._ledger.positions.get(booked.position.position_id)
        if now_kept is not None:
            # The exit loop may have moved these while the fill was being written.
            booked = replace(
                booked,
                position=replace(booked.position, exit_sequence=now_kept.exit_sequence, best_price=now_kept.best_price),
            )
        self._ledger.put_position(booked.position)
        self._ledger.put_profit(booked.realized, fill)
        if closed is not None:
            self._ledger.put_trade(closed)
            self._metrics.exits.labels(closed.exit_reason).inc()
        self._metrics.fills.labels(fill.side.value).inc()
        log.info(
            "order.filled",
            order=fill.order_ref,
            strategy=intent.strategy,
            symbol=fill.symbol,
            side=fill.side.value,
            quantity=str(fill.quantity),
            price=str(fill.price),
            **({"pnl": str(closed.pnl), "exit": closed.exit_reason} if closed else {}),
        )
        after = after_fill(record, fill, fill.time)
        if flying is not None:
            flying.record = after
            flying.cancel_asked_at = None if after.state.is_final else flying.cancel_asked_at
        self._settle(after, fill, closed)

    async def save_statistics(self) -> None:
        """Write the counters down."""
        async with self._booking:  # else a fill's counters, written in its own commit, could be undone by older ones
            await self._writing.write(lambda: self._journal.save_statistics(self._ledger.statistics), None)

    async def save_positions(self, positions: Sequence[Position]) -> None:
        """Write best prices and exit sequences down."""
        async with self._booking:
            await self._writing.write(lambda: self._journal.save_positions(positions), None)

    async def split(self, symbol: str, ratio: Decimal) -> None:
        """Follow a stock split, by which the broker makes `ratio` new shares of one also in orders under way."""
        async with self._booking:
            for flying in self.in_flight.values():
                if flying.intent.symbol == symbol:
                    flying.record = after_split(flying.record, ratio, self._clock.now())
                    self._ledger.put_order(flying.record)
            if self._ledger.settlement is not None:
                self._ledger.settlement = split_lots(self._ledger.settlement, symbol, ratio)
            await self._writing.write(lambda: self._journal.split_intents(symbol, ratio), None)

    async def let_go(self, position: Position, closed: ClosedTrade) -> None:
        """Book that the broker no longer holds a position, though no order of ours left it."""
        async with self._booking:
            if self._ledger.positions.get(position.position_id) is None:
                return  # a late fill has closed it meanwhile
            flat = replace(position, quantity=ZERO)

            def write() -> Awaitable[bool]:
                return self._journal.adjust_position(f"broker-flat:{position.position_id}", flat, closed)

            await self._writing.write(write, True, later=write)
            self._ledger.put_position(flat)
            self._ledger.put_trade(closed)
            log.warning("position.gone", position=position.position_id, symbol=position.symbol)

    def _change(self, flying: InFlight, update: OrderUpdate) -> None:
        flying.record = after_update(flying.record, update, self._clock.now())
        if flying.record.state.is_final:
            flying.cancel_asked_at = None
        self._settle(flying.record)

    def _settle(self, record: IntentRecord, fill: Fill | None = None, closed: ClosedTrade | None = None) -> None:
        self._ledger.put_order(record)
        if not record.is_open:
            self.in_flight.pop(record.intent.order_ref, None)
        self._moved.set()
        for listener in self.listeners:
            listener(Told(record, fill, closed))
