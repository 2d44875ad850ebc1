"""What is under way: the orders that are not over, and what of each position is at the broker or may be."""

from __future__ import annotations

import asyncio

from openbell.domain.clock import Clock
from openbell.domain.money import ZERO
from openbell.domain.orders import Intent, IntentKind, IntentState, OrderType
from openbell.domain.reasons import ExitReason
from openbell.journal import IntentRecord
from openbell.runner.inflight import Flights, InFlight, Standing
from openbell.runner.ledger import Ledger
from openbell.runner.next_steps import ANSWER_SECONDS

KEPT_GROUPS = 10_000
REFUSED_SECONDS = 60.0  # after a protective order that the broker ended by itself, the next one waits so long


class Underway:
    """What can be asked of the order desk, and the memories that it answers from. Nothing here sends or writes."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._reserved: dict[str, InFlight] = {}  # what will reduce a lot, decided and not handed over yet
        self._won: set[str] = set()  # OCA groups that have had a fill
        self._ended: set[str] = set()  # OCA groups of which we have cancelled an order
        self._refused_at: dict[str, float] = {}  # when the broker ended a position's protective order by itself
        self._last_exits: dict[str, IntentRecord] = {}
        self._moved = asyncio.Event()
        self.postponed: dict[str, ExitReason] = {}  # exits that wait until protective orders are gone
        self.in_flight = Flights()

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

    def handed_over_before(self, moment: float) -> frozenset[str]:
        """References of those that had left by then (monotonic). What is only being sent is not among them."""
        return frozenset(ref for ref, flying in self.in_flight.items() if flying.handed_over_at < moment)

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
        return any(flying.intent.kind is IntentKind.EXIT or flying.has_filled for flying in self._reducing(position_id))

    def is_going(self, position_id: str) -> bool:
        """Whether an exit at the market is under way: what the price does now is nothing to the rules any more."""
        return any(
            flying.intent.kind is IntentKind.EXIT and flying.intent.order_type is OrderType.MARKET
            for flying in self._reducing(position_id)
        )

    def has_exit(self, position_id: str) -> bool:
        """Whether an exit order of this position is under way, protective orders left aside."""
        return any(flying.intent.kind is IntentKind.EXIT for flying in self._reducing(position_id))

    def _reducing(self, position_id: str) -> list[InFlight]:
        reserved = [each for each in self._reserved.values() if each.intent.position_id == position_id]
        return reserved + self.in_flight.reducing(position_id)

    def standing(self, position_id: str) -> Standing:
        """What of this position is at the broker, or may be."""
        reducing = self._reducing(position_id)
        legs = tuple(flying for flying in reducing if flying.intent.kind is IntentKind.PROTECTIVE)
        refused_at = self._refused_at.get(position_id)
        return Standing(
            exit=next((flying for flying in reducing if flying.intent.kind is IntentKind.EXIT), None),
            legs=legs,
            last=self._last_exits.get(position_id),
            won=frozenset(leg.intent.oca_group for leg in legs) & self._won,
            is_refused=refused_at is not None and self._clock.monotonic() - refused_at < REFUSED_SECONDS,
        )

    def protective(self) -> tuple[InFlight, ...]:
        """Every protective order that is not over."""
        return tuple(f for f in self.in_flight.values() if f.intent.kind is IntentKind.PROTECTIVE)

    def is_protected(self, position_id: str) -> bool:
        """Whether the broker has acknowledged a stop for this position that rests there."""
        return any(
            flying.intent.position_id == position_id
            and flying.intent.order_type is OrderType.STOP
            and flying.record.state is IntentState.WORKING
            for flying in self.protective()
        )

    # -- remembering -----------------------------------------------------------------------------------------------

    def _forget(self, position_id: str) -> None:
        """A lot is flat: whatever is known of its exits is over with it."""
        for kept in (self._last_exits, self._refused_at, self.postponed):
            kept.pop(position_id, None)

    def _note_fill(self, record: IntentRecord) -> None:
        intent = record.intent
        if intent.oca_group and max(record.filled, record.reported) > ZERO:
            self._won.add(intent.oca_group)
        if len(self._won) + len(self._ended) > KEPT_GROUPS:
            alive = {flying.intent.oca_group for flying in self.in_flight.values()}
            self._won &= alive
            self._ended &= alive

    def _note_end(self, record: IntentRecord) -> None:
        """Remember how an order that reduces a lot has ended, as far as the next one depends on it."""
        intent = record.intent
        if intent.position_id not in self._ledger.positions or record.state is IntentState.WITHDRAWN:
            return
        if intent.kind is IntentKind.EXIT:
            self._last_exits[intent.position_id] = record
        elif intent.kind is IntentKind.PROTECTIVE and intent.oca_group not in self._won | self._ended:
            self._refused_at[intent.position_id] = self._clock.monotonic()
