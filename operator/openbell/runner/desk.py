"""The order desk: persists intents, hands them over through the gate, and follows each to its end.

An intent's life here: committed to the journal → gate → bytes handed over → acknowledged → filled, cancelled or
rejected. Nothing is ever handed over twice, and whatever has no final word of the broker stays in `in_flight`.

Here is the one place where an order that reduces a lot is let through. What is checked and what is reserved for it
happens before anything awaits, so that whatever else decides about the same lot meanwhile sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import structlog

from openbell.brokers.base import Broker, NotSentError
from openbell.domain.clock import Clock
from openbell.domain.errors import BrokerError, NotAllowedError
from openbell.domain.identity import Leg
from openbell.domain.money import ZERO
from openbell.domain.orders import (
    Fill,
    Intent,
    IntentKind,
    IntentState,
    OrderTerms,
    OrderType,
    OrderUpdate,
)
from openbell.domain.policies import decode_policy, encode_policy
from openbell.domain.positions import ClosedTrade, ExitPolicy, Position
from openbell.domain.reasons import ExitReason, Reason
from openbell.engine.exits import protective_reason
from openbell.engine.portfolio import Booked, book
from openbell.journal import IntentRecord, Journal, killpoints
from openbell.journal.lifecycle import after_fill, after_split, after_update
from openbell.journal.recovery import Memory, UnrecordedOrder
from openbell.risk.settlement import split as split_lots
from openbell.runner.gate import Gate
from openbell.runner.inflight import InFlight, could_fill, intended, unrecorded
from openbell.runner.ledger import Ledger, counted_fill, counted_rejection
from openbell.runner.next_steps import ANSWER_SECONDS
from openbell.runner.underway import Underway
from openbell.runner.writing import Writing
from openbell.telemetry.metrics import RunnerMetrics

log = structlog.get_logger("openbell.desk")


@dataclass(frozen=True, slots=True)
class Told:
    """What the desk tells others of an intent: its record, and the fill and round trip where there are any."""

    record: IntentRecord
    fill: Fill | None = None
    closed: ClosedTrade | None = None


class Desk(Underway):
    """Sends and follows orders. All methods run on the event loop's thread."""

    def __init__(
        self, broker: Broker, journal: Journal, gate: Gate, ledger: Ledger, clock: Clock, metrics: RunnerMetrics
    ) -> None:
        super().__init__(ledger, clock)
        self._broker = broker
        self._journal = journal
        self._gate = gate
        self._metrics = metrics
        self._booking = asyncio.Lock()
        self._unwritten: dict[str, Position] = {}  # flat, while the journal still has the shares
        self._booked: set[str] = set()  # executions booked by this process, whether or not the journal could be written
        self._writing = Writing(gate, metrics, journal.unwritten)
        self.bookings = 0
        self.listeners: list[Callable[[Told], None]] = []

    # -- sending -----------------------------------------------------------------------------------------------

    async def place(self, intents: Sequence[Intent]) -> dict[str, Reason]:
        """Persist intents in one commit, then send each through the gate; says what came of every reference."""
        if not intents:
            return {}
        chosen = {intent.order_ref: intent for intent in self._reserve(intents)}
        reducing = {intent.position_id for intent in intents if intent.kind is not IntentKind.ENTRY}
        numbered = tuple(each for each in self._ledger.open_positions() if each.position_id in reducing)
        try:
            fresh = await self._commit(tuple(chosen.values()), numbered)
            outcome: dict[str, Reason] = {}
            for intent in intents:
                if intent.order_ref in fresh:
                    outcome[intent.order_ref] = self._hand_over(chosen[intent.order_ref])
                elif intent.kind is IntentKind.ENTRY and not self._gate.journal_open:
                    outcome[intent.order_ref] = Reason.JOURNAL_FAILED
                else:
                    outcome[intent.order_ref] = Reason.ALREADY_DECIDED
        finally:
            for order_ref in chosen:
                self._reserved.pop(order_ref, None)
        killpoints.reach("desk.handed-over")
        for ref, reason in outcome.items():
            if reason not in {Reason.ORDERED, Reason.ALREADY_DECIDED, Reason.JOURNAL_FAILED}:
                await self.on_update(OrderUpdate(ref, IntentState.WITHDRAWN, "", detail=reason.text))
        return outcome

    def _reserve(self, intents: Sequence[Intent]) -> list[Intent]:
        """Let through what may be sent, before anything awaits: two loops may decide about one lot at the same time.

        The number of each order that reduces a lot is used up here, whatever comes of it: the next is another one.
        """
        chosen: list[Intent] = []
        for asked in intents:
            intent: Intent | None = asked
            if asked.kind is not IntentKind.ENTRY:
                intent = self._let_through(asked)
                self._use_up(asked, was_chosen=intent is not None)
            if intent is not None:
                chosen.append(intent)
        return chosen

    def _let_through(self, intent: Intent) -> Intent | None:
        standing = self.standing(intent.position_id)
        position = self._ledger.positions.get(intent.position_id)
        if intent.kind is IntentKind.PROTECTIVE:
            is_free = standing.exit is None or not standing.exit.intent.oca_group
            allowed = standing.winner is None and is_free and self._fits(intent, position)
            return intent if allowed else None
        if standing.exit is not None:
            return None
        if self._journal.unwritten.is_inherited:
            # A process before this one may have sent it under the same number. The exit loop asks the broker first.
            if intent.reason != ExitReason.PARTIAL_TARGET.value:
                self.postponed[intent.position_id] = ExitReason(intent.reason)
            return None
        if intent.reason == ExitReason.PARTIAL_TARGET.value:
            return intent if standing.winner is None and self._fits(intent, position) else None
        group = standing.joinable if standing.winner is None else None
        if group is None:
            self.postponed[intent.position_id] = ExitReason(intent.reason)
            return None
        self.postponed.pop(intent.position_id, None)
        return replace(intent, oca_group=group)

    def _fits(self, intent: Intent, position: Position | None) -> bool:
        """Whether all that may be filled, this order included, comes to no more than the lot."""
        if position is None:
            return False
        new = InFlight(intended(intent))
        return could_fill((*self._reducing(intent.position_id), new)) <= abs(position.quantity)

    def _use_up(self, intent: Intent, *, was_chosen: bool) -> None:
        if was_chosen:
            self._reserved[intent.order_ref] = InFlight(intended(intent))
        position = self._ledger.positions.get(intent.position_id)
        if position is None:
            return
        if intent.kind is IntentKind.PROTECTIVE:
            self._ledger.put_position(replace(position, protection_revision=position.protection_revision + 1))
        elif was_chosen:
            self._ledger.put_position(replace(position, exit_sequence=position.exit_sequence + 1))

    async def _commit(self, intents: Sequence[Intent], positions: Sequence[Position] = ()) -> frozenset[str]:
        """Write intents, and in the same commit the numbers that they have used up: a process that is killed right
        after it must not make the same references again.
        """
        killpoints.reach("desk.before-commit")
        started = self._clock.monotonic()
        # Where the journal fails, entries stop; an exit goes on, its identity derived from the position alone.
        exits = [intent for intent in intents if intent.kind is not IntentKind.ENTRY]
        fresh = await self._writing.write(
            lambda: self._journal.commit_intents(intents, positions=positions),
            frozenset(intent.order_ref for intent in exits if intent.order_ref not in self.in_flight),
            later=lambda: self._journal.commit_intents(exits, positions=positions),
        )
        self._metrics.journal_commit_seconds.observe(self._clock.monotonic() - started)
        killpoints.reach("desk.committed")
        return fresh

    def _hand_over(self, intent: Intent) -> Reason:
        """Gate and send, in one synchronous step: nothing may await between the two."""
        record = intended(intent)
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
        if intent.kind is not IntentKind.PROTECTIVE:
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
            if flying.intent.kind is IntentKind.ENTRY and flying.record.state is IntentState.WORKING:
                self.cancel(ref)

    def cancel_again(self) -> None:
        """Ask once more for what was asked for and has had no answer."""
        for ref, flying in tuple(self.in_flight.items()):
            if flying.cancel_asked_at is not None:
                self.cancel(ref)

    def cancel(self, order_ref: str) -> None:
        """Ask the broker to cancel an order, unless it has been asked a moment ago. Only its answer counts."""
        flying = self.in_flight.get(order_ref)
        if (
            flying is None
            or flying.record.state.is_final
            or self._waits_for_cancel(flying)
            or not self._gate.fence.holds()
        ):
            return
        if flying.intent.oca_group:
            self._ended.add(flying.intent.oca_group)
        try:
            self._broker.cancel(order_ref)
        except BrokerError as error:
            log.warning("cancel.not-sent", order=order_ref, error=str(error))
            return
        flying.cancel_asked_at = self._clock.monotonic()
        killpoints.reach("desk.cancel-sent")
        log.info("cancel.sent", order=order_ref)

    def _waits_for_cancel(self, flying: InFlight) -> bool:
        # Unlike an order, a cancel may be asked for again: one that was lost must not keep a pause draining for ever.
        asked = flying.cancel_asked_at
        return asked is not None and self._clock.monotonic() - asked < ANSWER_SECONDS

    async def modify(self, order_ref: str, terms: OrderTerms) -> None:
        """Ask for new terms of a protective order; what they may come to is written down first.

        While one change has no answer, only the same one can be asked for again.
        """
        async with self._booking:
            flying = self.in_flight.get(order_ref)
            position = None if flying is None else self._ledger.positions.get(flying.intent.position_id)
            if flying is None or position is None or not self._may_change(flying, terms, position):
                return
            before = flying.intent
            flying.record = replace(
                flying.record,
                intent=replace(
                    before,
                    quantity=max(before.quantity, terms.quantity),
                    exits=encode_policy(position.policy),
                    reference_price=position.average_price,
                ),
            )
            flying.asked, flying.asked_at, flying.times_asked = terms, self._clock.monotonic(), flying.times_asked + 1
            amended = flying.intent
            if amended != before:

                def write() -> Awaitable[None]:
                    return self._journal.amend_intent(amended)

                await self._writing.write(write, None, later=write)
        if self.in_flight.get(order_ref) is not flying or self._gate.exit_blocked() is not None:
            return
        try:
            self._broker.modify(order_ref, terms)
        except BrokerError as error:
            log.warning("modify.not-sent", order=order_ref, error=str(error))
            return
        killpoints.reach("desk.modify-sent")
        log.info("modify.sent", order=order_ref, quantity=str(terms.quantity), stop=str(terms.stop_price))

    def _may_change(self, flying: InFlight, terms: OrderTerms, position: Position) -> bool:
        """Whether it works, no other change is open, and what may be filled then comes to no more than the lot."""
        if flying.record.state is not IntentState.WORKING or flying.asked not in {None, terms}:
            return False
        changed = InFlight(flying.record, asked=terms)
        others = [each for each in self._reducing(position.position_id) if each is not flying]
        return could_fill((*others, changed)) <= abs(position.quantity)

    # -- following ---------------------------------------------------------------------------------------------

    def restore(self, records: Iterable[IntentRecord], last_exits: Iterable[IntentRecord] = ()) -> None:
        """Take up intents that were not over when the journal was last written; unsent ones are in doubt.

        The process before this one may have sent them a moment ago: they count as under way since they were made.
        """
        now, monotonic = self._clock.now(), self._clock.monotonic()
        for record in records:
            age = max(0.0, (now - record.updated_at).total_seconds())
            flying = InFlight(record, handed_over_at=monotonic - age)
            self.in_flight[record.intent.order_ref] = flying
            self._note_fill(record)
            self._ledger.put_order(record)
        for record in last_exits:
            self._last_exits[record.intent.position_id] = record
            self._note_fill(record)
        self.doubt(self.in_flight)

    def doubt(self, order_refs: Iterable[str]) -> None:
        """Mark orders that waited too long as in doubt; only the broker's word takes them out of it."""
        for ref in order_refs:
            flying = self.in_flight.get(ref)
            if flying is not None and flying.record.state is IntentState.INTENDED:
                self._change(flying, OrderUpdate(ref, IntentState.DOUBTFUL, "", detail="no answer of the broker yet"))
                log.warning("order.in-doubt", order=ref)

    async def adopt(self, found: UnrecordedOrder) -> bool:
        """Take up an order that was sent while the journal could not be written: it counts for its lot from now on.

        Whether it was new: while the journal still cannot be written, it does not know the order the next time either.
        """
        position = self._ledger.positions.get(found.position_id)
        if position is None or found.order_ref in self.in_flight:
            return False
        now = self._clock.now()
        intent = unrecorded(found, position, now, self._gate.fence.epoch)
        record = IntentRecord(intent, IntentState.DOUBTFUL, ZERO, ZERO, ZERO, "", "", now)
        self.in_flight[intent.order_ref] = InFlight(record, handed_over_at=self._clock.monotonic())
        if found.kind is IntentKind.PROTECTIVE:
            kept = replace(position, protection_revision=max(position.protection_revision, found.sequence))
        else:
            kept = replace(position, exit_sequence=max(position.exit_sequence, found.sequence))
        self._ledger.put_position(kept)
        self._ledger.put_order(record)
        log.warning("order.taken-up", order=intent.order_ref, position=position.position_id)

        def write() -> Awaitable[object]:
            return self._journal.commit_intents([intent], positions=[kept])

        await self._writing.write(write, None, later=write)
        return True

    async def begin_epoch(self, epoch: int) -> None:
        """Tell the journal of a new leadership. Where it cannot be written, exits go on and entries wait."""

        def begin() -> Awaitable[None]:
            return self._journal.begin_epoch(epoch)

        await self._writing.write(begin, None, later=begin)

    async def on_update(self, update: OrderUpdate, question_at: float | None = None) -> None:
        """Take the broker's word on one of our orders; a word that comes after the final one changes nothing.

        `question_at` (monotonic): it is the answer to a question that was asked then, and may be older than what the
        broker has told of its own accord since.
        """
        async with self._booking:
            update = self._with_certain_terms(update, question_at)
            written = await self._writing.write(
                lambda: self._journal.record_update(update), None, later=lambda: self._journal.record_update(update)
            )
            flying = self.in_flight.get(update.order_ref)
            if flying is None:
                if written is None or not written.is_final:
                    await self._take_up_again(update)
                return
            was = flying.record.state
            if update.state.is_final or update.state is IntentState.WORKING:
                self._change(flying, update)
            if update.state is IntentState.REJECTED and was is not IntentState.REJECTED:
                log.warning("order.rejected", order=update.order_ref, why=update.detail)
                if flying.intent.kind is not IntentKind.PROTECTIVE:  # the lot keeps its exits, and is traded as before
                    self._ledger.statistics = counted_rejection(self._ledger.statistics, flying.intent)

    async def resolve(self, order_ref: str, *, was_sent: bool, by: str) -> IntentRecord:
        """Take a person's word on an order that the broker has no certain word on, and write it down.

        One that was sent is over, with the fills that are booked; one that was not never was. Later words of the broker
        and fills count all the same. Raises KeyError where it is not under way, NotAllowedError where the broker has
        acknowledged what is said not to have been sent.
        """
        record = self.in_flight[order_ref].record
        has_been_seen = record.state is IntentState.WORKING or max(record.filled, record.reported) > ZERO
        if has_been_seen and not was_sent:
            raise NotAllowedError(f"The broker has acknowledged order {order_ref}, so it was sent.")
        said = "it was sent and is over" if was_sent else "it was never sent"
        state = IntentState.CANCELLED if was_sent else IntentState.WITHDRAWN
        log.warning("order.resolved", order=order_ref, state=state.value, by=by)
        await self.on_update(OrderUpdate(order_ref, state, "", record.filled, detail=f"{by} says that {said}"))
        return await self._writing.read(self._journal.record(order_ref)) or record

    def _with_certain_terms(self, update: OrderUpdate, question_at: float | None) -> OrderUpdate:
        """The update, without its terms where they may be from before a change that is under way."""
        flying = self.in_flight.get(update.order_ref)
        if update.terms is None:
            return update
        if flying is None:
            return update if question_at is not None else replace(update, terms=None)
        if question_at is not None and flying.asked_at >= question_at and not update.state.is_final:
            return replace(update, terms=None)
        is_answer = update.state.is_final or (question_at is not None and flying.asked is None)
        if not is_answer and update.terms != flying.asked:
            return replace(update, terms=None)  # nobody else changes it: this was told before the last change
        flying.asked, flying.times_asked = None, 0
        return update

    async def _take_up_again(self, update: OrderUpdate) -> None:
        """Follow an order that was held for withdrawn, and that the broker has after all."""
        order_ref = update.order_ref
        record = await self._record(order_ref)
        if record is not None and not self._gate.journal_open:
            record = after_update(record, update, self._clock.now())  # the journal has not taken it in
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
            record = flying.record if flying else await self._record(fill.order_ref)
            if record is None:
                return  # not ours: the comparison with the broker names it
            intent = record.intent
            position = self._ledger.positions.get(intent.position_id)
            is_first = flying is not None and intent.kind is IntentKind.ENTRY and record.filled == ZERO
            if position is None and not is_first:  # flat by now: its exits' numbers and its money go on
                position = self._unwritten.get(intent.position_id)
                position = position or await self._writing.read(self._journal.position(intent.position_id))
            policy = decode_policy(intent.exits) if intent.exits else ExitPolicy()
            if intent.kind is IntentKind.PROTECTIVE and position is not None:
                leg = Leg.STOP if intent.order_type is OrderType.STOP else Leg.TARGET
                intent = replace(intent, reason=protective_reason(position, intent.stop_price, leg).value)
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
            kept = replace(
                booked.position,
                exit_sequence=now_kept.exit_sequence,
                protection_revision=now_kept.protection_revision,
                best_price=now_kept.best_price,
                policy=now_kept.policy,
            )
            booked = replace(booked, position=kept)
        self._put_position(booked.position)
        self._ledger.put_profit(booked.realized, fill)
        if closed is not None:
            self._forget(closed.position_id)
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

    async def _record(self, order_ref: str) -> IntentRecord | None:
        """An order that is not under way; memory has what could not be written down."""
        known = None if self._gate.journal_open else self._ledger.orders.get(order_ref)
        return known or await self._writing.read(self._journal.record(order_ref))

    def remembered(self) -> Memory:
        """What the journal would know, could it be written."""
        records = self._ledger.orders | {ref: flying.record for ref, flying in self.in_flight.items()}
        return Memory(records, self._ledger.open_positions(), frozenset(self._booked))

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
            self._put_position(flat)
            self._forget(position.position_id)
            self._ledger.put_trade(closed)
            log.warning("position.gone", position=position.position_id, symbol=position.symbol)

    def _put_position(self, position: Position) -> None:
        self._ledger.put_position(position)
        if position.is_open or self._gate.journal_open:
            self._unwritten.pop(position.position_id, None)
        else:
            self._unwritten[position.position_id] = position

    def _change(self, flying: InFlight, update: OrderUpdate) -> None:
        flying.record = after_update(flying.record, update, self._clock.now())
        if flying.record.state.is_final:
            flying.cancel_asked_at = None
        self._settle(flying.record)

    def _settle(self, record: IntentRecord, fill: Fill | None = None, closed: ClosedTrade | None = None) -> None:
        self._ledger.put_order(record)
        self._note_fill(record)
        if record.state.is_final:
            self._note_end(record)
        if not record.is_open:
            self.in_flight.land(record.intent.order_ref)
        self._moved.set()
        for listener in self.listeners:
            listener(Told(record, fill, closed))
