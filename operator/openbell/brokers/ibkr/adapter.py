"""The Broker over IB Gateway or TWS.

What is decided is decided elsewhere, by values: `supervision` when to dial and when to hang up, `book` what an order's
messages mean, `mapping` and `contracts` how an intent is written, `pacing` whether a message may go out. Here they are
joined to a session, and to the clock.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from openbell.brokers.base import BrokerEvent, ConnectionChanged, NotSentError
from openbell.brokers.ibkr import supervision
from openbell.brokers.ibkr.account import TAGS, NotAllowed, Wanted, account_of, choose
from openbell.brokers.ibkr.book import COMMISSION_SECONDS, Book, Entry
from openbell.brokers.ibkr.contracts import Contracts, Qualified, qualify, round_terms
from openbell.brokers.ibkr.errors import Meaning, meaning_of, sentence
from openbell.brokers.ibkr.library import Library, LibraryMissingError, load
from openbell.brokers.ibkr.mapping import (
    changed_fields,
    contract_fields,
    order_fields,
    price,
    quantity,
    symbol_of,
    wrong,
    wrong_terms,
)
from openbell.brokers.ibkr.orderids import LARGEST, OrderIds
from openbell.brokers.ibkr.pacing import TokenBucket, Urgency
from openbell.brokers.ibkr.session import Session
from openbell.brokers.ibkr.shapes import (
    CommissionShape,
    ContractShape,
    ExecutionShape,
    OrderShape,
    OrderStateShape,
)
from openbell.brokers.ibkr.supervision import Action, Link, Moment, Timing
from openbell.domain.account import Account
from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value
from openbell.domain.clock import Clock
from openbell.domain.errors import BrokerError, OpenbellError
from openbell.domain.orders import Fill, Intent, IntentKind, IntentState, OrderTerms, OrderUpdate, Side
from openbell.domain.positions import BrokerPosition

log = structlog.get_logger("openbell.ibkr")

LOOKUP_SECONDS = 1.0
"""Between two questions for what became of orders that are in doubt."""
QUALIFY_SECONDS = 15.0
"""Between two rounds of questions what symbols are."""
WRITE_SECONDS = 2.0
"""How long the next block of order ids may take to be written down, and between two attempts."""
LONGEST_WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the gateway is, who we are to it, and how long it may take. `client_id` stays the same for good."""

    host: str
    port: int
    client_id: int
    wanted: Wanted = field(default_factory=Wanted)
    library: str = ""
    request_seconds: float = 10.0
    timing: Timing = field(default_factory=Timing)


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
        if settings.client_id <= 0:
            raise BrokerError(
                "the client id must be positive: client 0 takes over the orders that people place by hand"
            )
        self.on_lost: Callable[[], object] = lambda: None
        self.on_link: Callable[[], object] = lambda: None  # the link's state or its reason has changed
        self._settings = settings
        self._clock = clock
        self._rng = rng or random.Random()
        self._load = load_library
        self._library: Library | None = None
        self._session: Session | None = None
        self._link = Link()
        self._wake = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._events: asyncio.Queue[BrokerEvent] = asyncio.Queue()
        self._book = Book(settings.client_id)
        self._book.account = settings.wanted.account
        self._account = ""
        self._order_ids = order_ids or OrderIds()
        self._write_order_id = write_order_id
        if write_order_id is None:
            self._order_ids = self._order_ids.wrote(LARGEST)
        self._wrote_at = float("-inf")
        self._bucket = TokenBucket()
        self._contracts = Contracts()
        self._asking_orders = asyncio.Lock()
        self._sweep = False
        self._looked_up_at = float("-inf")
        self._qualified_at = float("-inf")

    # --- what can be seen --------------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return self._link.is_usable and self._session is not None and self._session.can_write

    @property
    def link(self) -> Link:
        """The connection's state, with its reason for a condition."""
        return self._link

    @property
    def address(self) -> str:
        """Where the gateway is, as host:port."""
        return f"{self._settings.host}:{self._settings.port}"

    def dismiss(self, why: str) -> None:
        """Hang up, and dial no more until `recall`."""
        self._apply(supervision.Dismissed(why))

    def recall(self) -> None:
        """Dial again after `dismiss`."""
        self._apply(supervision.Recalled())

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

    # --- the connection ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        try:
            self._library = self._load(self._settings.library)
        except LibraryMissingError as error:
            self._link = Link(reason=supervision.Reason.NO_LIBRARY, why=str(error), due_at=float("inf"))
            log.error("gateway.library-missing", error=str(error))
            self.on_link()
            await asyncio.Event().wait()
        try:
            while True:
                self._apply(supervision.Ticked())
                self._tell(self._book.due(self._clock.monotonic()))
                self._start_lookup()
                self._start_qualify()
                self._start_writing()
                self._wake.clear()  # what was just done is not news, and an event that is set is waited for in no time
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._wait_seconds()):
                        await self._wake.wait()
        finally:
            was_announced = self._link.is_announced
            self._link = Link(why="the adapter was stopped")
            self._hang_up()
            if was_announced:
                self.on_lost()
                self._events.put_nowait(ConnectionChanged(False, "the adapter was stopped"))

    def _now(self) -> Moment:
        return Moment(self._clock.now(), self._clock.monotonic())

    def _wait_seconds(self) -> float:
        waits = [LONGEST_WAIT_SECONDS, supervision.wait_seconds(self._link, self._now(), self._settings.timing)]
        due = self._book.due_at()
        if due is not None:
            waits.append(due - self._clock.monotonic())
        if self._needs_lookup:
            waits.append(self._looked_up_at + LOOKUP_SECONDS - self._clock.monotonic())
        if self._order_ids.to_write is not None and self.is_connected:
            waits.append(self._wrote_at + WRITE_SECONDS - self._clock.monotonic())
        return max(0.001, min(waits))

    def _apply(self, event: supervision.Event) -> None:
        before = self._link
        self._link, actions = supervision.step(before, event, self._now(), self._settings.timing, self._rng.random())
        if self._link != before:
            self._wake.set()
        if self._link.reason is not before.reason:
            log.info("gateway.link", phase=self._link.phase.value, reason=self._link.reason.value, why=self._link.why)
        for action in actions:
            self._do(action)
        if (self._link.phase, self._link.reason) != (before.phase, before.reason):
            self.on_link()

    def _do(self, action: Action) -> None:
        match action:
            case Action.DIAL:
                self._start("dial", self._dial())
            case Action.HANG_UP:
                self._hang_up()
            case Action.SYNCHRONISE:
                self._start("synchronise", self._synchronise())
            case Action.ASK_TIME:
                if self._session is not None and self._session.can_write and self._bucket.take(self._now().monotonic):
                    self._session.client.reqCurrentTime()
            case Action.RESUBSCRIBE:
                log.warning("gateway.subscriptions-lost")
            case Action.ANNOUNCE_UP:
                self._events.put_nowait(ConnectionChanged(True, f"account {self._account} at {self.address}"))
            case Action.ANNOUNCE_DOWN:
                self.on_lost()
                self._events.put_nowait(ConnectionChanged(False, self._link.why))

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._stop(name)
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work, name=f"ibkr-{name}")
        task.add_done_callback(self._ended)
        self._tasks[name] = task

    def _stop(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("gateway.task-failed", task=task.get_name(), error=repr(task.exception()))
            self._apply(supervision.Lost(f"an error of the adapter's own: {task.exception()!r}"))

    def _hang_up(self) -> None:
        session, self._session = self._session, None
        for name in tuple(self._tasks):
            self._stop(name)
        if session is not None:
            session.close()

    async def _dial(self) -> None:
        settings, library = self._settings, self._library
        if library is None:
            return
        self._book.begin_connection()
        session = Session(library, self, settings.request_seconds)
        self._session = session
        try:
            managed = await session.connect(settings.host, settings.port, settings.client_id, settings.timing.handshake)
        except (OSError, TimeoutError) as error:
            if self._session is session:
                self._apply(supervision.Lost(f"{self.address} does not answer: {error or 'timeout'}"))
            return
        chosen = choose(managed, settings.wanted)
        if isinstance(chosen, NotAllowed):
            self._apply(supervision.Refused(chosen.why))
            return
        if self._account not in {"", chosen.account}:
            why = f"the gateway was logged in with account {self._account} before, and is with {chosen.account} now"
            self._apply(supervision.Refused(why))
            return
        self._account = self._book.account = chosen.account
        self._order_ids = self._order_ids.connected(session.next_valid_id).seen(self._book.highest_order_id)
        self._apply(supervision.Ready())

    async def _synchronise(self) -> None:
        for question in (self._ask_orders, self._ask_executions):
            answer = await question()
            if isinstance(answer, Unknown):
                self._apply(supervision.Lost(answer.why))
                return
        await self._write_order_ids()  # what is used by now is known, and the first order is not to wait for it
        self._apply(supervision.Synchronised())

    def _start_writing(self) -> None:
        """Write down the next block of order ids, where it is time for it. What failed is tried again."""
        writing, now = self._tasks.get("order ids"), self._clock.monotonic()
        is_due = self._order_ids.to_write is not None and now >= self._wrote_at + WRITE_SECONDS
        if is_due and self.is_connected and (writing is None or writing.done()):
            self._start("order ids", self._write_order_ids())

    async def _write_order_ids(self) -> None:
        """Where it cannot be written, entries wait for it and exits do not: a full disk never stops one."""
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

    # --- what the session tells --------------------------------------------------------------------------------------

    def on_heard(self) -> None:
        self._apply(supervision.Heard())

    def on_connection_lost(self, why: str) -> None:
        self._apply(supervision.Lost(why))

    def on_garbled(self, what: str) -> None:
        """A message was dropped. What was in it is asked for, as all else."""
        log.error("gateway.message-dropped", message=what)
        self._sweep = True
        self._wake.set()

    def on_error(self, number: int, code: int, text: str) -> None:
        said = sentence(code, text)
        match meaning_of(code, text):
            case Meaning.SERVER_LOST:
                self._apply(supervision.ServerLost())
            case Meaning.SERVER_BACK:
                self._apply(supervision.ServerBack(data_lost=False))
            case Meaning.SERVER_BACK_EMPTY:
                self._apply(supervision.ServerBack(data_lost=True))
            case Meaning.CLIENT_ID:
                self._apply(supervision.ClientIdInUse())
            case Meaning.FARM_DOWN | Meaning.FARM_UP as farm:
                name = text.rpartition(":")[2].strip()
                self._apply(supervision.Farm(name, farm is Meaning.FARM_UP))
            case Meaning.CONNECTION if number < 0:
                self._apply(supervision.Lost(said))
            case Meaning.PACING:
                log.error("gateway.too-fast", why=said)
                self._bucket.drain(self._clock.monotonic())
                self._sweep = True
            case Meaning.UNKNOWN | Meaning.SETTING:
                log.warning("gateway.message", code=code, text=said)
            case _:
                pass
        if number > 0:
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
        self._wake.set()

    # --- what became of orders in doubt ------------------------------------------------------------------------------

    @property
    def _needs_lookup(self) -> bool:
        return self.is_connected and bool(self._book.lookups or self._sweep) and "look up" not in self._tasks

    def _start_lookup(self) -> None:
        if self._tasks.get("look up") is not None and self._tasks["look up"].done():
            del self._tasks["look up"]
        now = self._clock.monotonic()
        if self._needs_lookup and now >= self._looked_up_at + LOOKUP_SECONDS:
            self._looked_up_at = now
            self._start("look up", self._look_up())

    async def _look_up(self) -> None:
        """Ask for everything, and tell what is known then of the orders in doubt; Unknown asks again."""
        wanted, self._book.lookups, self._sweep = self._book.lookups, set(), False
        answers = [await self._ask_orders(), await self._ask_executions()]
        if any(isinstance(answer, Unknown) for answer in answers):
            self._book.lookups |= wanted
            self._sweep = True
            return
        self._tell(self._book.tell_again(wanted, self._clock.monotonic()))

    def _start_qualify(self) -> None:
        """Ask what the symbols are that orders have named and that are not known."""
        now = self._clock.monotonic()
        if self._contracts.wanted and self.is_connected and now >= self._qualified_at + QUALIFY_SECONDS:
            self._qualified_at = now
            self._start("qualify", self._qualify())

    # --- one way -----------------------------------------------------------------------------------------------------

    def send(self, intent: Intent) -> None:
        what = f"order {intent.order_ref}"
        is_entry = intent.kind is IntentKind.ENTRY
        session, library = self._ready(what)
        contract = self._contracts.get(intent.symbol)
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
        if self._order_ids.to_write is not None:
            self._wake.set()
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
            rounded = round_terms(terms, found.side, self._contracts.get(entry.symbol))
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
        session, library = self._session, self._library
        if not self.is_connected or session is None or library is None:
            why = self._link.why if not self._link.is_usable else "the gateway does not read what it was sent before"
            raise NotSentError(f"{what} was not sent: {why}")
        return session, library

    def _count(self, what: str, urgency: Urgency) -> None:
        if not self._bucket.take(self._clock.monotonic(), urgency):
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

    async def _pace(self) -> None:
        while not self._bucket.take(self._clock.monotonic(), Urgency.QUESTION):
            await self._clock.sleep(self._bucket.delay(self._clock.monotonic(), Urgency.QUESTION))

    def _asked(self) -> Session | Unknown:
        if self._session is None or not self._link.is_usable:
            return Unknown(self._link.why)
        return self._session

    async def _ask_orders(self) -> Answer[tuple[OrderUpdate, ...]]:
        """Open ones first: an order that is over in between is in the second answer, and none in neither."""
        session = self._session
        if session is None:
            return Unknown(self._link.why)
        async with self._asking_orders:
            self._book.begin_question()
            answers = [await session.open_orders(self._pace)]
            if not isinstance(answers[0], Unknown):
                answers.append(await session.completed_orders(self._pace))
            found = self._book.end_question(self._clock.monotonic())
        for answer in answers:
            if isinstance(answer, Unknown):
                return answer
        return Value(found) if found else ConfirmedEmpty()

    async def _ask_executions(self) -> Answer[tuple[Fill, ...]]:
        session = self._session
        if session is None:
            return Unknown(self._link.why)
        answer = await session.executions(self._account, self._pace)
        if isinstance(answer, Unknown):
            return answer
        until = self._clock.monotonic() + COMMISSION_SECONDS
        while self._book.waits_for_commission and self._clock.monotonic() < until:
            await self._clock.sleep(0.02)
        found = self._book.fills()
        return Value(found) if found else ConfirmedEmpty()

    async def orders(self) -> Answer[tuple[OrderUpdate, ...]]:
        session = self._asked()
        return session if isinstance(session, Unknown) else await self._ask_orders()

    async def fills(self, since: datetime) -> Answer[tuple[Fill, ...]]:
        session = self._asked()
        answer = session if isinstance(session, Unknown) else await self._ask_executions()
        if not isinstance(answer, Value):
            return answer
        found = tuple(fill for fill in answer.value if fill.time >= since)
        return Value(found) if found else ConfirmedEmpty()

    async def positions(self) -> Answer[tuple[BrokerPosition, ...]]:
        session = self._asked()
        if isinstance(session, Unknown):
            return session
        answer = await session.positions(self._pace)
        if not isinstance(answer, Value):
            return answer
        newest = {(row.account, row.contract.conId): row for row in answer.value}
        found = tuple(
            BrokerPosition(symbol_of(row.contract), quantity(row.quantity), price(row.average_cost))
            for row in newest.values()
            if row.account == self._account and quantity(row.quantity)
        )
        return Value(found) if found else ConfirmedEmpty()

    async def account(self) -> Answer[Account]:
        session = self._asked()
        if isinstance(session, Unknown):
            return session
        answer = await session.account_summary(",".join(TAGS), self._pace)
        if isinstance(answer, Unknown):
            return answer
        return account_of(self._account, answer.value if isinstance(answer, Value) else ())

    async def qualify(self, symbol: str) -> Answer[Qualified]:
        """What the broker calls a symbol; asked once."""
        known = self._contracts.known.get(symbol)
        if known is not None:
            return Value(known)
        session, library = self._session, self._library
        if session is None or library is None:
            return Unknown(self._link.why)
        answer = await session.contract_details(library.contract(**contract_fields(symbol)), self._pace)
        if isinstance(answer, Unknown):
            return answer
        found = qualify(symbol, answer.value if isinstance(answer, Value) else ())
        self._contracts.put(symbol, found)
        return found

    async def _qualify(self) -> None:
        for symbol in sorted(self._contracts.wanted):
            answer = await self.qualify(symbol)
            if not isinstance(answer, Value):
                why = answer.why if isinstance(answer, Unknown) else "the broker knows no such share"
                log.warning("contract.not-qualified", symbol=symbol, why=why)
