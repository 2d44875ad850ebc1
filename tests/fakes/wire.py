"""A broker at the end of a wire: what is sent and what is told travels when the test lets it, or gets lost.

Behind it is the simulated venue itself. Like a socket, the wire keeps the order of what goes over it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from openbell.brokers.base import REMEMBERED, BrokerEvent, NotSentError
from openbell.brokers.simulated.messages import request_of
from openbell.brokers.simulated.venue import Happened, Terms, Venue, VenueOrder
from openbell.domain.account import Account
from openbell.domain.answers import Answer, ConfirmedEmpty, Value
from openbell.domain.bars import Quote
from openbell.domain.clock import SimulatedClock
from openbell.domain.money import ZERO
from openbell.domain.orders import Fill, Intent, IntentKind, IntentState, OrderTerms, OrderUpdate
from openbell.domain.positions import BrokerPosition

ACCOUNT = "wired"


class Died(BaseException):
    """The process was killed while it handed something over."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of terms on its way."""

    order_ref: str
    terms: OrderTerms


@dataclass(frozen=True, slots=True)
class Ending:
    """A cancel on its way."""

    order_ref: str


class WiredBroker:
    """One account of a venue; `outgoing` and `incoming` are what is on its way."""

    def __init__(self, clock: SimulatedClock, terms: Terms, seed: int) -> None:
        self.clock = clock
        self.venue = Venue("W", seed, terms)
        self.is_connected = True
        self.outgoing: deque[Intent | Change | Ending] = deque()
        self.incoming: deque[BrokerEvent] = deque()
        self.intents: dict[str, Intent] = {}  # everything that was ever handed over
        self.arrived: set[str] = set()
        self.fills_made: list[Fill] = []
        self.deaths = 0  # the process dies at this many more messages

    # -- what the runner uses ------------------------------------------------------------------------------------

    async def run(self) -> None:
        await asyncio.Event().wait()

    def remembers_since(self, now: datetime) -> datetime:
        return now - REMEMBERED

    def _hand_over(self, message: Intent | Change | Ending) -> None:
        if not self.is_connected:
            raise NotSentError("not connected")
        self.outgoing.append(message)
        if self.deaths:
            self.deaths -= 1
            if not self.deaths:
                raise Died

    def send(self, intent: Intent) -> None:
        if self.is_connected:
            self.intents[intent.order_ref] = intent
        self._hand_over(intent)

    def modify(self, order_ref: str, terms: OrderTerms) -> None:
        self._hand_over(Change(order_ref, terms))

    def cancel(self, order_ref: str) -> None:
        self._hand_over(Ending(order_ref))

    async def events(self) -> AsyncIterator[BrokerEvent]:
        raise AssertionError("the test hands events over itself")
        yield

    async def account(self) -> Answer[Account]:
        return Value(self.venue.account(ACCOUNT))

    async def positions(self) -> Answer[tuple[BrokerPosition, ...]]:
        self.deliver_all()
        held = self.venue.positions(ACCOUNT)
        return Value(held) if held else ConfirmedEmpty()

    async def orders(self) -> Answer[tuple[OrderUpdate, ...]]:
        self.deliver_all()
        found = self.venue.orders(ACCOUNT)
        return Value(found) if found else ConfirmedEmpty()

    async def fills(self, since: datetime) -> Answer[tuple[Fill, ...]]:
        self.deliver_all()
        return Value(tuple(self.fills_made)) if self.fills_made else ConfirmedEmpty()

    # -- what the test does --------------------------------------------------------------------------------------

    def deliver(self, *, lose: bool = False) -> None:
        """The next message arrives at the venue, or is lost on the way."""
        if not self.outgoing:
            return
        message = self.outgoing.popleft()
        now = self.clock.now()
        if lose:
            return
        if isinstance(message, Intent):
            assert message.order_ref not in self.arrived, "an order arrived twice"
            self.arrived.add(message.order_ref)
            self._happened(self.venue.submit(ACCOUNT, request_of(message), now))
        elif isinstance(message, Change):
            self._happened(self.venue.modify(ACCOUNT, message.order_ref, message.terms, now))
        else:
            self._happened(self.venue.cancel(ACCOUNT, message.order_ref))

    def deliver_all(self) -> None:
        while self.outgoing:
            self.deliver()

    def quote(self, symbol: str, price: float) -> None:
        self._happened(self.venue.on_quote(Quote(symbol, self.clock.now(), price, price, price)))

    def _happened(self, happened: tuple[Happened, ...]) -> None:
        for one in happened:
            if isinstance(one.event, Fill):
                self.fills_made.append(one.event)
            self.incoming.append(one.event)

    # -- what is true --------------------------------------------------------------------------------------------

    def held(self, position_id: str) -> Decimal:
        """Signed shares of one lot, by what was really filled."""
        return sum(
            (
                fill.quantity * fill.side.sign
                for fill in self.fills_made
                if self.intents[fill.order_ref].position_id == position_id
            ),
            ZERO,
        )

    def working(self, position_id: str) -> list[VenueOrder]:
        """Orders of one lot that work, entries left aside."""
        return [
            order
            for order in self.venue._orders.values()
            if order.state is IntentState.WORKING
            and self.intents[order.request.order_ref].kind is not IntentKind.ENTRY
            and self.intents[order.request.order_ref].position_id == position_id
        ]

    def could_reduce(self, position_id: str) -> Decimal:
        """The most that the orders of one lot may still take from it, whatever of what is on its way arrives."""
        members: dict[str, Decimal] = {}  # by OCA group
        won = {o.request.oca_group: o.order_id for o in self.venue._orders.values() if o.filled and o.request.oca_group}
        for order in self.working(position_id):
            most = max([order.request.quantity, *self._changes(order.request.order_ref)]) - order.filled
            group = order.request.oca_group
            if won.get(group, order.order_id) == order.order_id:
                key = group or order.order_id
                members[key] = max(members.get(key, ZERO), most)
        for message in self.outgoing:
            if (
                isinstance(message, Intent)
                and message.kind is not IntentKind.ENTRY
                and message.position_id == position_id
            ) and message.oca_group not in won:
                key = message.oca_group or message.order_ref
                most = max([message.quantity, *self._changes(message.order_ref)])
                members[key] = max(members.get(key, ZERO), most)
        return sum(members.values(), ZERO)

    def _changes(self, order_ref: str) -> list[Decimal]:
        return [m.terms.quantity for m in self.outgoing if isinstance(m, Change) and m.order_ref == order_ref]
