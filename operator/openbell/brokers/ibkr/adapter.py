"""The Broker over IB Gateway or TWS.

What is decided is decided elsewhere, by values: `supervision` when to dial and when to hang up, `book` what an order's
messages mean, `mapping` and `contracts` how an intent is written, `pacing` whether a message may go out. Here they are
joined to a session, and to the clock.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import structlog

from openbell.brokers.base import BrokerEvent, ConnectionChanged, NotSentError
from openbell.brokers.ibkr import questions, supervision
from openbell.brokers.ibkr.account import Mode, NotAllowed, choose
from openbell.brokers.ibkr.book import COMMISSION_SECONDS, Book, Entry
from openbell.brokers.ibkr.connection import Connection, Settings
from openbell.brokers.ibkr.contracts import Qualified, round_terms
from openbell.brokers.ibkr.library import Library, load
from openbell.brokers.ibkr.mapping import changed_fields, contract_fields, order_fields, wrong, wrong_terms
from openbell.brokers.ibkr.market import IBKRMarket
from openbell.brokers.ibkr.orderids import LARGEST, OrderIds
from openbell.brokers.ibkr.pacing import Urgency
from openbell.brokers.ibkr.session import Session
from openbell.brokers.ibkr.shapes import (
    CommissionShape,
    ContractShape,
    ExecutionShape,
    OrderShape,
    OrderStateShape,
)
from openbell.brokers.ibkr.supervision import Link
from openbell.domain.account import Account
from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value
from openbell.domain.clock import Clock
from openbell.domain.errors import BrokerError, OpenbellError
from openbell.domain.orders import Fill, Intent, IntentKind, IntentState, OrderTerms, OrderUpdate, Side
from openbell.domain.positions import BrokerPosition
from openbell.market.calendar import SessionCalendar

__all__ = ["IBKRBroker", "Settings"]

log = structlog.get_logger("openbell.ibkr")

LOOKUP_SECONDS = 1.0
"""Between two questions for what became of orders that are in doubt."""
WRITE_SECONDS = 2.0
"""How long the next block of order ids may take to be written down, and between two attempts."""


@dataclass(frozen=True, slots=True)
class _Changeable:
    """An order that works, with everything that a change of it repeats."""

    entry: Entry
    order: OrderShape
    contract: ContractShape
    side: Side


@contextmanager
def _handing_over(what: str) -> Iterator[None]:
    """The library checks for a connection before it writes; after any other error nobody knows how far it came."""
    try:
        yield
    except ConnectionError as error:
        raise NotSentError(f"{what} was not sent: {error}") from error
    except Exception as error:
        raise BrokerError(f"{what} may have been sent: {error!r}") from error


class IBKRBroker:
    """Broker over one account at Interactive Brokers.

    `order_ids` carries the highest order id that earlier processes may have used, where that is known. With
    `write_order_id` it is written down that every id up to the one given may be used from now on.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        order_ids: OrderIds | None = None,
        write_order_id: Callable[[int], Awaitable[None]] | None = None,
        rng: random.Random | None = None,
        load_library: Callable[[str], Library] = load,
    ) -> None:
        self.on_lost: Callable[[], object] = lambda: None
        self._clock = clock
        self._connection = Connection(settings, clock, self, rng or random.Random(), load_library)
        self._symbols = questions.Symbols(self._connection, clock)
        self._events: asyncio.Queue[BrokerEvent] = asyncio.Queue()
        self._book = Book(settings.client_id)
        self._book.account = settings.wanted.account
        self._account = ""
        self._order_ids = order_ids or OrderIds()
        self._write_order_id = write_order_id
        if write_order_id is None:
            self._order_ids = self._order_ids.wrote(LARGEST)
        self._wrote_at = float("-inf")
        self._asking_orders = asyncio.Lock()
        self._sweep = False
        self._looked_up_at = float("-inf")

    # --- what can be seen --------------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return self._connection.is_connected

    @property
    def link(self) -> Link:
        """The connection's state, with its reason for a condition."""
        return self._connection.link

    @property
    def connection(self) -> Connection:
        """The connection, which people may steer."""
        return self._connection

    @property
    def order_ids(self) -> OrderIds:
        """What is known of order ids."""
        return self._order_ids

    def remembers_since(self, now: datetime) -> datetime:
        """From when on orders and executions are all in the answers: the gateway knows the current day alone."""
        local = now.astimezone(supervision.EASTERN)
        return local.replace(hour=0, minute=0, second=0, microsecond=0)

    async def events(self) -> AsyncIterator[BrokerEvent]:
        while True:
            yield await self._events.get()

    def market_data(
        self, calendar: SessionCalendar, *, hours_only: bool = True, allow_delayed: bool = False
    ) -> IBKRMarket:
        """The broker's own market data, over the same connection; `market` says what the arguments mean."""
        if allow_delayed and self._connection.settings.wanted.mode is Mode.LIVE:
            raise BrokerError("delayed market data is for spec.mode Paper alone: live orders need live prices")
        return IBKRMarket(
            self._connection,
            self._symbols.contracts,
            self._clock,
            calendar,
            hours_only=hours_only,
            allow_delayed=allow_delayed,
        )

    # --- the connection ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        await self._connection.run()

    def on_dial(self) -> None:
        self._book.begin_connection()

    def refusal(self, managed: Sequence[str], session: Session) -> str:
        chosen = choose(managed, self._connection.settings.wanted)
        if isinstance(chosen, NotAllowed):
            return chosen.why
        if self._account not in {"", chosen.account}:
            return f"the gateway was logged in with account {self._account} before, and is with {chosen.account} now"
        self._account = self._book.account = chosen.account
        self._order_ids = self._order_ids.connected(session.next_valid_id).seen(self._book.highest_order_id)
        return ""

    async def synchronise(self) -> Unknown | None:
        for question in (self._ask_orders, self._ask_executions):
            answer = await question()
            if isinstance(answer, Unknown):
                return answer
        await self._write_order_ids()  # what is used by now is known, and the first order is not to wait for it
        return None

    async def _write_order_ids(self) -> None:
        """Write down the next block of order ids, where it is time for it.

        Where it cannot be written, entries wait for it and exits do not: a full disk never stops one.
        """
        last, write = self._order_ids.to_write, self._write_order_id
        if last is None or write is None:
            return
        self._wrote_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await write(last)
        except (OpenbellError, TimeoutError) as error:
            log.error("gateway.order-ids-not-written", last=last, error=str(error) or "timeout")
            return
        self._order_ids = self._order_ids.wrote(last)
        self._wrote_at = float("-inf")

    def on_up(self) -> None:
        up = ConnectionChanged(True, f"account {self._account} at {self._connection.address}")
        self._events.put_nowait(up)

    def on_down(self, why: str) -> None:
        self.on_lost()
        self._events.put_nowait(ConnectionChanged(False, why))

    def on_turn(self) -> float:
        now = self._clock.monotonic()
        self._tell(self._book.due(now))
        if self._needs_lookup and now >= self._looked_up_at + LOOKUP_SECONDS:
            self._looked_up_at = now
            self._connection.start("look up", self._look_up())
        if self._needs_writing and now >= self._wrote_at + WRITE_SECONDS:
            self._connection.start("order ids", self._write_order_ids())
        self._symbols.ask()
        waits = [math.inf]
        due = self._book.due_at()
        if due is not None:
            waits.append(due - now)
        if self._needs_lookup:
            waits.append(self._looked_up_at + LOOKUP_SECONDS - now)
        if self._needs_writing:
            waits.append(self._wrote_at + WRITE_SECONDS - now)
        return min(waits)

    @property
    def _needs_writing(self) -> bool:
        is_wanted = self._order_ids.to_write is not None
        return is_wanted and self.is_connected and not self._connection.is_running("order ids")

    # --- what the session tells --------------------------------------------------------------------------------------

    def on_missed(self) -> None:
        """Something was not heard: all is asked for again."""
        self._sweep = True

    def on_error(self, number: int, code: int, text: str) -> None:
        self._tell(self._book.error(number, code, text, self._clock.monotonic()))

    def on_open_order(self, number: int, contract: ContractShape, order: OrderShape, state: OrderStateShape) -> None:
        self._tell(self._book.open_order(number, contract, order, state, self._clock.monotonic()))
        self._order_ids = self._order_ids.seen(self._book.highest_order_id)

    def on_status(
        self, number: int, status: str, filled: float, average_price: float, perm_id: int, client_id: int
    ) -> None:
        now = self._clock.monotonic()
        self._tell(self._book.order_status(number, status, filled, average_price, perm_id, client_id, now))

    def on_completed(self, contract: ContractShape, order: OrderShape, state: OrderStateShape) -> None:
        self._tell(self._book.completed(contract, order, state, self._clock.monotonic()))

    def on_execution(self, contract: ContractShape, execution: ExecutionShape) -> None:
        self._tell(self._book.execution(contract, execution, self._clock.monotonic()))
        self._order_ids = self._order_ids.seen(self._book.highest_order_id)

    def on_commission(self, report: CommissionShape) -> None:
        self._tell(self._book.commission(report, self._clock.monotonic()))

    def _tell(self, events: list[BrokerEvent]) -> None:
        for event in events:
            self._events.put_nowait(event)
        self._connection.wake()

    # --- what became of orders in doubt ------------------------------------------------------------------------------

    @property
    def _needs_lookup(self) -> bool:
        in_doubt = bool(self._book.lookups or self._sweep)
        return self.is_connected and in_doubt and not self._connection.is_running("look up")

    async def _look_up(self) -> None:
        """Ask for everything, and tell what is known then of the orders in doubt; Unknown asks again."""
        wanted, self._book.lookups, self._sweep = self._book.lookups, set(), False
        answers = [await self._ask_orders(), await self._ask_executions()]
        if any(isinstance(answer, Unknown) for answer in answers):
            self._book.lookups |= wanted
            self._sweep = True
            return
        self._tell(self._book.tell_again(wanted, self._clock.monotonic()))

    # --- one way -----------------------------------------------------------------------------------------------------

    def send(self, intent: Intent) -> None:
        what = f"order {intent.order_ref}"
        is_entry = intent.kind is IntentKind.ENTRY
        session, library = self._ready(what)
        contract = self._symbols.contracts.get(intent.symbol)
        terms = intent.terms
        why = wrong(intent)
        if not why:
            terms = round_terms(intent.terms, intent.side, contract)
            why = "" if terms.quantity > 0 else f"quantity {intent.quantity:f} is less than a lot of {contract.lot:f}"
        if not why and self._book.has_won(intent.oca_group):
            # What the gateway does with it is written down nowhere; the lot may be sold by now.
            why = "an order of its OCA group has had a fill"
        if why:
            self._refuse(intent, why)
            return
        if is_entry and self._book.altered_ref:
            altered = self._book.altered_ref
            raise NotSentError(f"{what} was not sent: the gateway altered the reference of {altered}")
        if self._order_ids.is_exhausted:
            raise NotSentError(f"{what} was not sent: no order id is left; reset them in the gateway")
        if is_entry and not self._order_ids.is_written:
            raise NotSentError(f"{what} was not sent: its order id is not written down yet")
        self._count(what, Urgency.ENTRY if is_entry else Urgency.EXIT)
        order_id, self._order_ids = self._order_ids.allocate()
        if self._needs_writing:
            self._connection.wake()
        shaped = library.contract(**contract_fields(intent.symbol, contract.con_id, contract.primary_exchange))
        order = library.order(**order_fields(intent, terms, self._account))
        self._book.sent(order_id, intent, terms, shaped, order)
        try:
            with _handing_over(what):
                session.client.placeOrder(order_id, shaped, order)
        except NotSentError:
            self._book.forget_sent(order_id)
            raise

    def _refuse(self, intent: Intent, why: str) -> None:
        """What cannot be an order is refused here, in the broker's name: nothing of it is sent."""
        terms, group = intent.terms, intent.oca_group
        refused = OrderUpdate(intent.order_ref, IntentState.REJECTED, "", detail=why, terms=terms, oca_group=group)
        self._events.put_nowait(refused)

    def modify(self, order_ref: str, terms: OrderTerms) -> None:
        what = f"the change of {order_ref}"
        session, library = self._ready(what)
        found = self._to_change(order_ref, what)
        if found is None:
            return
        entry, rounded = found.entry, terms
        if entry.named_in != self._book.connection:
            raise NotSentError(f"{what} was not sent: the gateway has not named the order in this connection")
        why = wrong_terms(found.order.orderType, terms)
        if not why:
            rounded = round_terms(terms, found.side, self._symbols.contracts.get(entry.symbol))
            why = wrong_terms(found.order.orderType, rounded)
        if not why and rounded.quantity < max(entry.booked, entry.filled):
            why = f"{max(entry.booked, entry.filled):f} are filled"
        if why:
            self._tell(self._book.tell_refused(entry, why, self._clock.monotonic()))
            return
        self._count(what, Urgency.EXIT)
        order = library.order(**changed_fields(found.order, rounded))
        self._book.changing(entry, terms, rounded)
        with _handing_over(what):
            session.client.placeOrder(entry.order_id, found.contract, order)

    def cancel(self, order_ref: str) -> None:
        what = f"the cancel of {order_ref}"
        session, _ = self._ready(what)
        found = self._to_change(order_ref, what)
        if found is None:
            return
        self._count(what, Urgency.EXIT)
        with _handing_over(what):
            session.client.cancelOrder(found.entry.order_id)

    def _ready(self, what: str) -> tuple[Session, Library]:
        session, library = self._connection.session, self._connection.library
        if not self.is_connected or session is None or library is None:
            raise NotSentError(f"{what} was not sent: {self._connection.why_not}")
        return session, library

    def _count(self, what: str, urgency: Urgency) -> None:
        if not self._connection.bucket.take(self._clock.monotonic(), urgency):
            raise NotSentError(f"{what} was not sent: the gateway takes no more messages in this second")

    def _to_change(self, order_ref: str, what: str) -> _Changeable | None:
        """The order to change or cancel; None where it is over, which has been told again then."""
        entry = self._book.find(order_ref)
        if entry is None:
            known = "belongs to another client id" if self._book.knows(order_ref) else "is not known to this connection"
            raise NotSentError(f"{what} was not sent: the order {known}")
        if entry.is_over:
            self._tell(self._book.tell_again({order_ref}, self._clock.monotonic()))
            return None
        if entry.order_id <= 0 or entry.order is None or entry.contract is None or entry.side is None:
            raise NotSentError(f"{what} was not sent: the gateway has not named the order since the connection came up")
        return _Changeable(entry, entry.order, entry.contract, entry.side)

    # --- questions ---------------------------------------------------------------------------------------------------

    async def _ask_orders(self) -> Answer[tuple[OrderUpdate, ...]]:
        """Open ones first: an order that is over in between is in the second answer, and none in neither."""
        session = self._connection.session
        if session is None:
            return Unknown(self.link.why)
        async with self._asking_orders:
            self._book.begin_question()
            answers = [await session.open_orders(self._connection.pace)]
            if not isinstance(answers[0], Unknown):
                answers.append(await session.completed_orders(self._connection.pace))
            found = self._book.end_question(self._clock.monotonic())
        for answer in answers:
            if isinstance(answer, Unknown):
                return answer
        return Value(found) if found else ConfirmedEmpty()

    async def _ask_executions(self) -> Answer[tuple[Fill, ...]]:
        session = self._connection.session
        if session is None:
            return Unknown(self.link.why)
        answer = await session.executions(self._account, self._connection.pace)
        if isinstance(answer, Unknown):
            return answer
        until = self._clock.monotonic() + COMMISSION_SECONDS
        while self._book.waits_for_commission and self._clock.monotonic() < until:
            await self._clock.sleep(0.02)
        found = self._book.fills()
        return Value(found) if found else ConfirmedEmpty()

    async def orders(self) -> Answer[tuple[OrderUpdate, ...]]:
        session = self._connection.asked()
        return session if isinstance(session, Unknown) else await self._ask_orders()

    async def fills(self, since: datetime) -> Answer[tuple[Fill, ...]]:
        session = self._connection.asked()
        answer = session if isinstance(session, Unknown) else await self._ask_executions()
        if not isinstance(answer, Value):
            return answer
        found = tuple(fill for fill in answer.value if fill.time >= since)
        return Value(found) if found else ConfirmedEmpty()

    async def positions(self) -> Answer[tuple[BrokerPosition, ...]]:
        return await questions.positions(self._connection, self._account)

    async def account(self) -> Answer[Account]:
        return await questions.account_values(self._connection, self._account)

    async def qualify(self, symbol: str) -> Answer[Qualified]:
        """What the broker calls a symbol; asked once."""
        return await self._symbols.qualify(symbol)
