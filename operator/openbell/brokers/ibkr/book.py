"""What the gateway has said of orders and executions, and what follows from it. No I/O; told the time (monotonic).

Facts come in as the gateway sends them: late, twice, in any order. Out come the events of the Broker protocol:

- An order has one entry, found by permId, else by client id and order id. Its name is its orderRef.
- A Fill is told once, with its commission. That may come before its execution or after it; it is waited for, at most
  `COMMISSION_SECONDS`. Then the fill is told without: a position that nobody books is worse than a commission that is
  missing. `uncharged` counts these, and `fills` of the Broker has the commission once it is there.
- A correction of an execution is the same Fill again, so that it is not booked twice; `corrections` names it.
- An update is told after the fills that it counts, waiting at most `FILLS_SECONDS` for them.
- What is in doubt (an answer that came too late, an error that nobody knows, an order that is Inactive without a
  rejection) is told by nothing. It is put in `lookups`, and the adapter asks for all orders.
- Filled, Cancelled and Rejected stay, whatever comes later, unless the answer to a question says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC
from decimal import Decimal

import structlog

from openbell.brokers.base import BrokerEvent
from openbell.brokers.ibkr.errors import Meaning, meaning_of, sentence
from openbell.brokers.ibkr.mapping import (
    INACTIVE,
    SIDES,
    execution_id,
    execution_side,
    number,
    price,
    quantity,
    state_of,
    symbol_of,
    terms_of,
)
from openbell.brokers.ibkr.shapes import (
    CommissionShape,
    ContractShape,
    ExecutionShape,
    OrderShape,
    OrderStateShape,
)
from openbell.domain.money import ZERO
from openbell.domain.orders import Fill, Intent, IntentState, OrderTerms, OrderUpdate, Side

log = structlog.get_logger("openbell.ibkr")

COMMISSION_SECONDS = 2.0
FILLS_SECONDS = 5.0
INACTIVE_SECONDS = 2.0  # the reason of a rejection comes after the status
KEPT_SECONDS = 36 * 3600.0  # longer than the gateway itself remembers what is over
EARLY_COMMISSIONS = 1000
UNACKNOWLEDGED = frozenset({"", "ApiPending", "PendingSubmit"})


@dataclass(slots=True, eq=False)
class Entry:
    """One order, as far as it is known."""

    order_ref: str
    client_id: int = 0
    order_id: int = 0
    perm_id: int = 0
    symbol: str = ""
    side: Side | None = None
    order_type: str = ""
    terms: OrderTerms | None = None
    oca_group: str = ""
    contract: ContractShape | None = None
    order: OrderShape | None = None  # the newest echo, or what was sent: a change repeats all of it
    intent: Intent | None = None
    status: str = ""
    verdict: IntentState | None = None  # what an error or an answer said for certain
    detail: str = ""
    filled: Decimal = ZERO  # as the status says
    whole: Decimal = ZERO  # how many it was when it was filled: a change may have been taken without its echo
    average: Decimal = ZERO
    booked: Decimal = ZERO  # as the fills say that were told
    notional: Decimal = ZERO
    is_executed: bool = False
    missing: Decimal = ZERO  # filled, as the status says, without fills: of days that the gateway has forgotten
    exact: dict[OrderTerms, OrderTerms] = field(default_factory=dict)  # what was asked for, by what it was rounded to
    changing: bool = False  # a change has been asked for and has no answer
    told: OrderUpdate | None = None
    hold_until: float | None = None
    named_in: int = 0  # the connection in which it was sent, or last named with its number
    ended_at: float | None = None

    @property
    def state(self) -> IntentState | None:
        return self.verdict or state_of(self.status)

    @property
    def is_over(self) -> bool:
        state = self.state
        return state is not None and state.is_final

    @property
    def quantity(self) -> Decimal:
        """How many it is for."""
        if self.state is IntentState.FILLED and self.whole > 0:
            return self.whole
        return ZERO if self.terms is None else self.terms.quantity

    def view(self) -> OrderUpdate | None:
        """What is known, as the Broker protocol tells it; None: nothing yet."""
        state, detail = self.state, self.detail
        if state is None:
            if not self.status:
                return None
            state, detail = IntentState.WORKING, detail or f"the broker calls it {self.status}"
        filled = max(self.filled, self.booked)
        average = self.average
        if self.booked > 0 and self.booked >= filled:
            average = self.notional / self.booked
        terms = None if self.terms is None else self.exact.get(self.terms, self.terms)
        if terms is not None and self.terms is not None and self.quantity != self.terms.quantity:
            terms = replace(terms, quantity=self.quantity)
        return OrderUpdate(
            self.order_ref,
            state,
            str(self.perm_id) if self.perm_id else "",
            filled,
            average,
            detail if state is not IntentState.FILLED else "",
            terms,
            self.oca_group,
        )


@dataclass(slots=True)
class Executed:
    """One execution: its fill as it stands, and until when its commission is waited for (None: it was told)."""

    fill: Fill
    entry: Entry
    revision: int
    seen_at: float
    commission: Decimal | None = None
    wait_until: float | None = None


class Book:
    """Orders and executions of one account, as one client sees them. Outlives its connections."""

    def __init__(self, client_id: int) -> None:
        self.client_id = client_id
        self.account = ""  # events of other accounts are left out; empty: not known yet
        self.lookups: set[str] = set()
        self.corrections: list[str] = []
        self.uncharged = 0
        self.altered_ref = ""  # a reference that the gateway did not keep as it was sent
        self.highest_order_id = 0
        self._won: dict[str, float] = {}  # OCA groups that have had a fill, and when that was heard
        self._by_perm: dict[int, Entry] = {}
        self._by_id: dict[tuple[int, int], Entry] = {}
        self._by_ref: dict[str, list[Entry]] = {}
        self._executed: dict[str, Executed] = {}
        self._early: dict[str, Decimal] = {}
        self._inactive: dict[int, tuple[Entry, float]] = {}
        self._held: list[Entry] = []
        self.connection = 0
        self.named: set[Entry] | None = None  # entries that the answers to the open question have named

    def begin_connection(self) -> None:
        """A new connection. An order that is not named in it is not changed.

        Where the gateway has forgotten the order's number, a change would be a new order.
        """
        self.connection += 1

    # --- what we did -------------------------------------------------------------------------------------------------

    def sent(
        self, order_id: int, intent: Intent, terms: OrderTerms, contract: ContractShape, order: OrderShape
    ) -> None:
        """An order is about to be handed over under this number."""
        entry = Entry(
            intent.order_ref,
            self.client_id,
            order_id,
            symbol=intent.symbol,
            side=intent.side,
            order_type=order.orderType,
            terms=terms,
            oca_group=intent.oca_group,
            contract=contract,
            order=order,
            intent=intent,
            exact={terms: intent.terms},
            named_in=self.connection,
        )
        self._by_id[self.client_id, order_id] = entry
        self._by_ref.setdefault(intent.order_ref, []).append(entry)

    def forget_sent(self, order_id: int) -> None:
        """It was not handed over after all."""
        entry = self._by_id.pop((self.client_id, order_id), None)
        if entry is not None:
            self._by_ref[entry.order_ref].remove(entry)

    def changing(self, entry: Entry, asked: OrderTerms, rounded: OrderTerms) -> None:
        """New terms are about to be asked for."""
        entry.exact = {**dict(list(entry.exact.items())[-8:]), rounded: asked}
        entry.changing = True

    def find(self, order_ref: str) -> Entry | None:
        """The order of this reference that we can change: one of ours, and one that is not over where there is one."""
        ours = [entry for entry in self._by_ref.get(order_ref, ()) if entry.client_id == self.client_id]
        return next((entry for entry in reversed(ours) if not entry.is_over), ours[-1] if ours else None)

    def has_won(self, oca_group: str) -> bool:
        """Whether one of this group's orders is known to have a fill."""
        return bool(oca_group) and oca_group in self._won

    def knows(self, order_ref: str) -> bool:
        return bool(self._by_ref.get(order_ref))

    # --- what the gateway says ---------------------------------------------------------------------------------------

    def open_order(
        self, order_id: int, contract: ContractShape, order: OrderShape, state: OrderStateShape, now: float
    ) -> list[BrokerEvent]:
        """An order's echo: its terms, and a status."""
        self.highest_order_id = max(self.highest_order_id, order_id)
        if self._is_others(order.account):
            return []
        entry = self._entry(order.clientId, order_id, order.permId, order.orderRef)
        if order.orderRef and entry.order_ref != order.orderRef:
            self.altered_ref = self.altered_ref or entry.order_ref
            log.error("order.reference-altered", order=entry.order_ref, told=order.orderRef)
        terms = terms_of(order)
        if terms != entry.terms:
            entry.changing = False
        entry.contract, entry.order, entry.named_in = contract, order, self.connection
        entry.symbol, entry.side = symbol_of(contract), SIDES.get(order.action, entry.side)
        entry.order_type, entry.oca_group = order.orderType, order.ocaGroup
        entry.terms = terms or entry.terms
        self._note_group(entry, now)
        if self.named is not None:
            self.named.add(entry)
        self._status(entry, state.status, now)
        return self._tell(entry, now)

    def order_status(
        self,
        order_id: int,
        status: str,
        filled: float,
        average_price: float,
        perm_id: int,
        client_id: int,
        now: float,
    ) -> list[BrokerEvent]:
        """A status. It names neither account nor reference: of an order that is not known it says nothing."""
        self.highest_order_id = max(self.highest_order_id, order_id)
        entry = self._known(client_id, order_id, perm_id)
        if entry is None:
            return []
        self._alias(entry, perm_id)
        entry.filled = max(entry.filled, quantity(filled))
        if state_of(status) is IntentState.FILLED:
            entry.whole = quantity(filled)
        entry.average = price(average_price) or entry.average
        self._note_group(entry, now)
        self._status(entry, status, now)
        return self._tell(entry, now)

    def completed(
        self, contract: ContractShape, order: OrderShape, state: OrderStateShape, now: float
    ) -> list[BrokerEvent]:
        """An order that is over, as the answer to the question for those. It has no order id."""
        if self._is_others(order.account):
            return []
        entry = self._entry(0, 0, order.permId, order.orderRef)
        entry.symbol, entry.side = symbol_of(contract), SIDES.get(order.action, entry.side)
        entry.order_type, entry.oca_group = order.orderType, order.ocaGroup
        entry.terms = entry.terms or terms_of(order)
        entry.filled = max(entry.filled, quantity(order.filledQuantity))
        self._note_group(entry, now)
        said = state_of(state.status)
        if said is IntentState.FILLED:
            entry.whole = quantity(order.filledQuantity)
        if said is None or not said.is_final:  # it is over, whatever its last status was
            said = IntentState.CANCELLED if entry.filled else IntentState.REJECTED
        if entry.verdict is not IntentState.REJECTED:
            entry.verdict = said
            entry.detail = entry.detail or state.completedStatus
        if self.named is not None:
            self.named.add(entry)
        self._end(entry, now)
        return self._tell(entry, now)

    def error(self, order_id: int, code: int, text: str, now: float) -> list[BrokerEvent]:
        """An error that names one of our orders."""
        entry = self._by_id.get((self.client_id, order_id))
        if entry is None:
            return []
        meaning, said = meaning_of(code, text), sentence(code, text)
        log.info("order.message", order=entry.order_ref, code=code, meaning=meaning.value, text=said)
        match meaning:
            case Meaning.REJECT | Meaning.SETTING:
                return self._refused(entry, code, said, now)
            case Meaning.CANCELLED:
                if not entry.is_over:
                    entry.verdict, entry.detail = IntentState.CANCELLED, said
                    self._end(entry, now)
                return self._tell(entry, now)
            case Meaning.TOO_LATE:
                if entry.is_over:
                    return self._tell(entry, now, again=True)
                self.lookups.add(entry.order_ref)
            case Meaning.WARNING:
                if code == 105 and entry.changing:
                    return self._refused(entry, code, said, now)
            case _:
                self.lookups.add(entry.order_ref)
        return []

    def _refused(self, entry: Entry, code: int, said: str, now: float) -> list[BrokerEvent]:
        if entry.is_over:
            return self._tell(entry, now, again=entry.changing)
        if entry.changing:
            entry.changing = False
            self.lookups.add(entry.order_ref)  # that it goes on working is likely, and has to be made sure of
            return self._tell(entry, now, again=True, detail=said)
        is_new = not entry.status and not entry.perm_id
        if is_new or (code == 201 and entry.status in UNACKNOWLEDGED | {INACTIVE}):
            entry.verdict, entry.detail = IntentState.REJECTED, said
            self._end(entry, now)
            return self._tell(entry, now)
        entry.detail = said
        self.lookups.add(entry.order_ref)
        return []

    def execution(self, contract: ContractShape, execution: ExecutionShape, now: float) -> list[BrokerEvent]:
        """An execution, live or as an answer. Raises KeyError for a side that is not understood."""
        if self._is_others(execution.acctNumber):
            return []
        self.highest_order_id = max(self.highest_order_id, execution.orderId if execution.orderId < 2**31 - 1 else 0)
        identity = execution_id(execution.execId)
        known = self._executed.get(identity.base)
        if known is not None and identity.revision <= known.revision:
            return []
        entry = self._entry(execution.clientId, execution.orderId, execution.permId, execution.orderRef)
        entry.symbol = entry.symbol or symbol_of(contract)
        fill = Fill(
            identity.base,
            entry.order_ref,
            symbol_of(contract),
            execution_side(execution),
            quantity(execution.shares),
            price(execution.price),
            ZERO,
            execution.time.astimezone(UTC),
        )
        if known is not None:
            self.corrections.append(identity.base)
            log.warning("fill.corrected", execution=execution.execId, order=entry.order_ref,
                        quantity=str(fill.quantity), price=str(fill.price), before=str(known.fill.price))  # fmt: skip
            known.fill, known.revision = fill, identity.revision
            return []
        found = Executed(fill, entry, identity.revision, now, wait_until=now + COMMISSION_SECONDS)
        found.commission = self._early.pop(identity.base, None)
        self._executed[identity.base] = found
        entry.is_executed = True
        self._note_group(entry, now)
        return self._tell_fill(found, now) if found.commission is not None else []

    def commission(self, report: CommissionShape, now: float) -> list[BrokerEvent]:
        """What an execution cost, before it or after it."""
        base, cost = execution_id(report.execId).base, number(report.commission)
        if cost is None:
            return []
        found = self._executed.get(base)
        if found is None:
            self._early[base] = cost
            if len(self._early) > EARLY_COMMISSIONS:  # of other clients' executions, which are never shown
                self._early.pop(next(iter(self._early)))
            return []
        found.commission = cost
        return self._tell_fill(found, now) if found.wait_until is not None else []

    # --- time --------------------------------------------------------------------------------------------------------

    def due_at(self) -> float | None:
        """When `due` has something to do by time alone."""
        times = [found.wait_until for found in self._executed.values() if found.wait_until is not None]
        times += [entry.hold_until for entry in self._held if entry.hold_until is not None]
        times += [until for _, until in self._inactive.values()]
        return min(times, default=None)

    def due(self, now: float) -> list[BrokerEvent]:
        """What has been waited for long enough."""
        events: list[BrokerEvent] = []
        for found in tuple(self._executed.values()):
            if found.wait_until is not None and found.wait_until <= now:
                self.uncharged += 1
                log.warning("fill.without-commission", execution=found.fill.execution_id, order=found.fill.order_ref)
                events += self._tell_fill(found, now)
        for entry in tuple(self._held):
            if entry.hold_until is not None and entry.hold_until <= now:
                log.warning("order.without-fills", order=entry.order_ref, told=str(entry.filled),
                            fills=str(entry.booked))  # fmt: skip
                self.lookups.add(entry.order_ref)
                events += self._tell(entry, now, late=True)
        for key, (entry, until) in tuple(self._inactive.items()):
            if until <= now:
                del self._inactive[key]
                if not entry.is_over and entry.status == INACTIVE:
                    self.lookups.add(entry.order_ref)
                    events += self._tell(entry, now)
        return events

    # --- answers -----------------------------------------------------------------------------------------------------

    def begin_question(self) -> None:
        """All orders are being asked for."""
        self.named = set()

    def end_question(self, now: float) -> tuple[OrderUpdate, ...]:
        """Everything that the answers have named, and what was heard to be over before that; ends the question."""
        named, self.named = self.named or set(), None
        for entry in tuple(self._entries()):
            if entry.ended_at is not None and now - entry.ended_at > KEPT_SECONDS:
                self._drop(entry)
        self._won = {group: at for group, at in self._won.items() if now - at <= KEPT_SECONDS}
        found = sorted(self._entries(), key=lambda entry: (entry.perm_id, entry.order_ref))
        views = (entry.view() for entry in found if entry in named or entry.is_over)
        return tuple(view for view in views if view is not None)

    def fills(self) -> tuple[Fill, ...]:
        """Every execution that is known, oldest first, with the commissions that are known by now."""
        fills = [
            found.fill if found.commission is None else replace(found.fill, commission=found.commission)
            for found in self._executed.values()
        ]
        return tuple(sorted(fills, key=lambda fill: (fill.time, fill.execution_id)))

    @property
    def waits_for_commission(self) -> bool:
        """Whether the commission of any execution is still waited for."""
        return any(found.wait_until is not None for found in self._executed.values())

    def tell_again(self, order_refs: set[str], now: float) -> list[BrokerEvent]:
        """What is known of these orders now, also where it was told before."""
        return [
            event
            for ref in sorted(order_refs)
            for entry in self._by_ref.get(ref, ())[-1:]
            for event in self._tell(entry, now, again=True)
        ]

    def tell_refused(self, entry: Entry, why: str, now: float) -> list[BrokerEvent]:
        """That a change was not asked for, with the terms that the order keeps."""
        return self._tell(entry, now, again=True, detail=why)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _entries(self) -> list[Entry]:
        return [entry for entries in self._by_ref.values() for entry in entries]

    def _is_others(self, account: str) -> bool:
        return bool(account and self.account and account != self.account)

    def _known(self, client_id: int, order_id: int, perm_id: int) -> Entry | None:
        if perm_id and perm_id in self._by_perm:
            return self._by_perm[perm_id]
        entry = self._by_id.get((client_id, order_id)) if order_id > 0 else None
        if entry is not None and perm_id and entry.perm_id not in {0, perm_id}:
            return None  # the number was given anew, to another order
        return entry

    def _entry(self, client_id: int, order_id: int, perm_id: int, order_ref: str) -> Entry:
        entry = self._known(client_id, order_id, perm_id)
        if entry is None and order_ref:
            entry = self._unanswered(order_id, perm_id, order_ref)
        if entry is None:
            entry = Entry(order_ref or f"ibkr:{perm_id or f'{client_id}:{order_id}'}", client_id, order_id)
            self._by_ref.setdefault(entry.order_ref, []).append(entry)
        if order_id > 0:
            entry.client_id, entry.order_id = client_id, order_id
            self._by_id[client_id, order_id] = entry
        self._alias(entry, perm_id)
        return entry

    def _unanswered(self, order_id: int, perm_id: int, order_ref: str) -> Entry | None:
        """The order of this reference that we have sent and that had no answer, which this is the first word on."""
        for entry in self._by_ref.get(order_ref, ()):
            is_open = entry.client_id == self.client_id and not entry.perm_id and entry.verdict is None
            if perm_id and is_open and order_id in {0, entry.order_id}:
                return entry
        return None

    def _alias(self, entry: Entry, perm_id: int) -> None:
        if perm_id:
            entry.perm_id = perm_id
            self._by_perm[perm_id] = entry

    def _status(self, entry: Entry, status: str, now: float) -> None:
        said = state_of(status)
        if said is None and status != INACTIVE:
            if status:
                log.warning("order.unknown-status", order=entry.order_ref, status=status)
            return
        if entry.is_over:
            if said is IntentState.FILLED and entry.state is not IntentState.FILLED:
                entry.verdict, entry.status = None, status  # a fill overtook the cancel
            elif said is IntentState.WORKING and self.named is not None and entry in self.named:
                log.error("order.revived", order=entry.order_ref, status=status)
                entry.verdict, entry.status, entry.ended_at, entry.told = None, status, None, None
            elif said is IntentState.WORKING:
                self.lookups.add(entry.order_ref)
            return
        if status == INACTIVE and entry.status != INACTIVE:
            self._inactive[id(entry)] = (entry, now + INACTIVE_SECONDS)
        elif status != INACTIVE:
            self._inactive.pop(id(entry), None)
        entry.status = status
        if said is not None and said.is_final:
            self._end(entry, now)

    def _note_group(self, entry: Entry, now: float) -> None:
        if entry.oca_group and (entry.filled > 0 or entry.is_executed):
            self._won.setdefault(entry.oca_group, now)

    def _end(self, entry: Entry, now: float) -> None:
        entry.changing = False
        if entry.ended_at is None:
            entry.ended_at = now

    def _tell(
        self, entry: Entry, now: float, *, again: bool = False, late: bool = False, detail: str = ""
    ) -> list[BrokerEvent]:
        update = entry.view()
        if update is None or (id(entry) in self._inactive and not entry.is_over):
            return []
        counted = update.filled_quantity
        if update.state is IntentState.FILLED and entry.terms is not None:
            counted = max(counted, entry.quantity)  # an echo says Filled without saying how many
        if late:
            entry.missing = max(ZERO, counted - entry.booked)
        if entry.booked + entry.missing < counted:
            if entry.hold_until is None:
                entry.hold_until = now + FILLS_SECONDS
                self._held.append(entry)
            return []
        if entry.hold_until is not None:
            entry.hold_until = None
            self._held.remove(entry)
        if detail:
            return [replace(update, detail=detail)]
        told = entry.told
        if not again and told is not None and _is_same(told, update):
            return []
        entry.told = update
        return [update]

    def _tell_fill(self, found: Executed, now: float) -> list[BrokerEvent]:
        found.wait_until = None
        entry, fill = found.entry, replace(found.fill, commission=found.commission or ZERO)
        found.fill = fill
        entry.booked += fill.quantity
        entry.missing = max(ZERO, entry.missing - fill.quantity)
        entry.notional += fill.quantity * fill.price
        held = self._tell(entry, now) if entry.hold_until is not None else []
        return [fill, *held]

    def _drop(self, entry: Entry) -> None:
        self._by_ref[entry.order_ref].remove(entry)
        if not self._by_ref[entry.order_ref]:
            del self._by_ref[entry.order_ref]
        if self._by_perm.get(entry.perm_id) is entry:
            del self._by_perm[entry.perm_id]
        key = entry.client_id, entry.order_id
        if self._by_id.get(key) is entry:
            del self._by_id[key]
        self._executed = {base: found for base, found in self._executed.items() if found.entry is not entry}


def _is_same(told: OrderUpdate, update: OrderUpdate) -> bool:
    """Whether nothing has changed but words, the average price and the broker's own number."""
    return (told.state, told.filled_quantity, told.terms, told.oca_group) == (
        update.state,
        update.filled_quantity,
        update.terms,
        update.oca_group,
    )
