"""The venue: orders in, quotes in, events out. Pure: no I/O, no clock, no random state.

Rules: an order fills only at a quote later than its arrival, never at the price that triggered it; a market order pays
half the spread and slippage; a limit order fills at its limit or better; a stop order becomes a market order at the
quote that reaches it and fills at the next. Of the orders of one `oca_group` at most one is ever filled: its first
fill, also of a part, cancels the others in the same step and lets none in after it (type 1); cancelling one by request
cancels the group, as at Interactive Brokers. Buying power is checked when an order arrives, at the last price known
then; a gap afterwards is the account's risk, as at a real broker. Each arrival is an order, also one whose reference
was seen before: nothing is deduplicated here.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from openbell.brokers.simulated.ledger import Ledger
from openbell.domain.account import Account
from openbell.domain.bars import Quote
from openbell.domain.money import PRICE_STEP, ZERO, cents, price, text
from openbell.domain.orders import Fill, IntentState, OrderTerms, OrderType, OrderUpdate, Side, TimeInForce
from openbell.domain.positions import BrokerPosition
from openbell.domain.records import quick

BASIS_POINTS = Decimal(10_000)
REMEMBERED = 5_000  # orders that are over and can still be asked for; the book keeps all


@dataclass(frozen=True, slots=True)
class Terms:
    """What trading costs here. Spread and slippage in basis points of the price; money in account currency."""

    starting_cash: Decimal = Decimal(100_000)
    spread_bps: float = 2.0
    slippage_bps: float = 1.0
    commission_per_share: Decimal = Decimal("0.005")
    minimum_commission: Decimal = Decimal("1.00")
    partial_fills: bool = False
    currency: str = "USD"


class TradingHours(Protocol):
    """When orders are matched, and when a Day order's day ends; a session calendar is one."""

    def is_open(self, moment: datetime) -> bool: ...

    def next_close(self, moment: datetime) -> datetime | None: ...


@quick
@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order as it arrives."""

    order_ref: str
    symbol: str
    side: Side
    quantity: Decimal
    order_type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    reference_price: Decimal = ZERO
    oca_group: str = ""


@quick
@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as the venue has it. `live_from`: only quotes later than this may fill it."""

    order_id: str
    sequence: int
    account: str
    request: OrderRequest
    arrived_at: datetime
    live_from: datetime
    expires_at: datetime | None
    state: IntentState = IntentState.WORKING
    triggered: bool = False
    filled: Decimal = ZERO
    average_price: Decimal = ZERO
    commission: Decimal = ZERO
    executions: int = 0
    detail: str = ""

    @property
    def remaining(self) -> Decimal:
        return self.request.quantity - self.filled

    def update(self) -> OrderUpdate:
        """The order as the broker tells of it."""
        request = self.request
        return OrderUpdate(
            request.order_ref,
            self.state,
            self.order_id,
            self.filled,
            self.average_price,
            self.detail,
            OrderTerms(request.quantity, request.limit_price, request.stop_price),
            request.oca_group,
        )


@quick
@dataclass(frozen=True, slots=True)
class Happened:
    """An event of one account."""

    account: str
    event: OrderUpdate | Fill


@dataclass(slots=True)
class Changes:
    """What one step changed, for the book to keep."""

    orders: dict[str, VenueOrder] = field(default_factory=dict)
    fills: list[tuple[str, Fill]] = field(default_factory=list)
    accounts: set[str] = field(default_factory=set)


def anything(symbol: str) -> bool:
    """Every symbol is traded."""
    return True


class Venue:
    """All accounts of one venue. Every method is one step; `changes` collects what it did until taken.

    `name` makes order and execution ids unique across venues; `seed` decides slippage and the size of partial fills.
    """

    def __init__(self, name: str, seed: int, terms: Terms, trades: Callable[[str], bool] = anything) -> None:
        self.name = name
        self.terms = terms
        self.sequence = 0
        self.ledgers: dict[str, Ledger] = {}
        self.quotes: dict[str, Quote] = {}
        self._seed = seed
        self._trades = trades
        self._half_spread = Decimal(str(terms.spread_bps)) / 2 / BASIS_POINTS
        self._slippage_bps = Decimal(str(terms.slippage_bps))
        self._orders: dict[str, VenueOrder] = {}
        self._working: dict[str, dict[str, VenueOrder]] = {}  # by symbol, by order id
        self._groups: dict[tuple[str, str], set[str]] = {}  # order ids by account and OCA group
        self._over: deque[str] = deque()
        self._changes = Changes()

    def take_changes(self) -> Changes:
        """What has changed since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    def restore(self, order: VenueOrder) -> None:
        """Put an order of the book back."""
        self._place(order)

    def ledger(self, account: str) -> Ledger:
        """An account's ledger; a new account starts with the terms' cash."""
        found = self.ledgers.get(account)
        if found is None:
            found = self.ledgers[account] = Ledger(self.terms.starting_cash)
            self._changes.accounts.add(account)
        return found

    @property
    def working_symbols(self) -> frozenset[str]:
        """Symbols that have orders waiting for a quote."""
        return frozenset(self._working)

    def orders(self, account: str) -> tuple[OrderUpdate, ...]:
        """Every order of an account that is still remembered, oldest first."""
        return tuple(order.update() for order in self._orders.values() if order.account == account)

    # --- what can be asked -------------------------------------------------------------------------------------------

    def last_price(self, symbol: str, otherwise: Decimal) -> Decimal:
        quote = self.quotes.get(symbol)
        return otherwise if quote is None else price(quote.price)

    def _price_of(self, symbol: str, average: Decimal) -> Decimal:
        quote = self.quotes.get(symbol)
        return average.quantize(PRICE_STEP) if quote is None else price(quote.price)

    def positions(self, account: str) -> tuple[BrokerPosition, ...]:
        return self.ledger(account).broker_positions()

    def account(self, account: str) -> Account:
        """Equity at the last prices; buying power as `_free` says."""
        free = max(ZERO, self._free(account))
        cash = self.ledger(account).cash
        return Account(account, self.terms.currency, self.equity(account), cents(cash), cents(free))

    def equity(self, account: str) -> Decimal:
        """Cash and positions at the last prices."""
        ledger = self.ledger(account)
        value = ledger.cash
        for symbol, (quantity, average) in ledger.positions.items():
            value += quantity * self._price_of(symbol, average)
        return cents(value)

    def _free(self, account: str) -> Decimal:
        """Cash that is not tied: shorts tie their proceeds and as much again, working openings their cost."""
        ledger = self.ledger(account)
        tied = ZERO
        for symbol, (quantity, average) in ledger.positions.items():
            if quantity < 0:
                tied += -2 * quantity * self._price_of(symbol, average)
        for orders in self._working.values():
            for order in orders.values():
                if order.account == account:
                    tied += self._opening_cost(ledger, order.request, order.remaining)
        return ledger.cash - tied

    def _opening_cost(self, ledger: Ledger, request: OrderRequest, quantity: Decimal) -> Decimal:
        held = ledger.quantity(request.symbol) * request.side.sign
        opening = quantity if held >= 0 else max(ZERO, quantity + held)
        if opening == 0:
            return ZERO
        at = request.limit_price or request.stop_price or self.last_price(request.symbol, request.reference_price)
        return opening * at + self._commission(opening)

    def _commission(self, quantity: Decimal) -> Decimal:
        return max(self.terms.minimum_commission, cents(quantity * self.terms.commission_per_share))

    # --- steps -------------------------------------------------------------------------------------------------------

    def submit(
        self, account: str, request: OrderRequest, now: datetime, expires_at: datetime | None = None
    ) -> tuple[Happened, ...]:
        """An order arrives: it is acknowledged or rejected at once. `expires_at` bounds a Day order."""
        why = self._objection(account, request)
        self.sequence += 1
        order = VenueOrder(
            order_id=f"{self.name}-{self.sequence}",
            sequence=self.sequence,
            account=account,
            request=request,
            arrived_at=now,
            live_from=now,
            expires_at=expires_at if request.time_in_force is TimeInForce.DAY else None,
            state=IntentState.REJECTED if why else IntentState.WORKING,
            detail=why,
        )
        return (self._keep(order),)

    def refuse(self, account: str, request: OrderRequest, now: datetime, why: str) -> tuple[Happened, ...]:
        """An order arrives and is rejected, whatever it says."""
        self.sequence += 1
        identity = f"{self.name}-{self.sequence}"
        order = VenueOrder(identity, self.sequence, account, request, now, now, None, IntentState.REJECTED, detail=why)
        return (self._keep(order),)

    def _objection(self, account: str, request: OrderRequest) -> str:
        if not request.quantity > 0:
            return f"the quantity {text(request.quantity)} is not allowed; it must be above 0"
        if not self._trades(request.symbol):
            return f"the symbol {request.symbol} is not traded here"
        for kind, given in ((OrderType.LIMIT, request.limit_price), (OrderType.STOP, request.stop_price)):
            if request.order_type is kind and (given is None or given <= 0):
                return f"a {kind.value} order needs its price"
        if any(order.filled for order in self._group(account, request.oca_group)):
            return f"the OCA group {request.oca_group} has had its fill"
        return self._lacks(account, self._opening_cost(self.ledger(account), request, request.quantity))

    def _lacks(self, account: str, cost: Decimal) -> str:
        free = self._free(account)
        if cost > free:
            return f"insufficient buying power: {text(cents(cost))} needed, {text(cents(max(ZERO, free)))} free"
        return ""

    def _group(self, account: str, name: str) -> tuple[VenueOrder, ...]:
        """The members of an OCA group that are remembered, in the order of their arrival."""
        if not name:
            return ()
        members = (self._orders[each] for each in self._groups.get((account, name), ()))
        return tuple(sorted(members, key=lambda order: order.sequence))

    def _end_group(self, order: VenueOrder, why: str) -> tuple[Happened, ...]:
        """Cancel what still works beside `order` in its group."""
        return tuple(
            self._keep(replace(other, state=IntentState.CANCELLED, detail=why))
            for other in self._group(order.account, order.request.oca_group)
            if other.order_id != order.order_id and other.state is IntentState.WORKING
        )

    def modify(self, account: str, order_ref: str, terms: OrderTerms, now: datetime) -> tuple[Happened, ...]:
        """Give what still works under a reference new terms, or say once more how it is and why it stays so.

        What has been changed fills only at quotes later than the change.
        """
        happened = []
        for order in self._named(account, order_ref):
            if order.state is not IntentState.WORKING:
                happened.append(Happened(account, order.update()))
                continue
            why = self._objection_to_change(order, terms)
            changed = replace(order.request, **asdict(terms))
            kept = replace(order, detail=why) if why else replace(order, request=changed, live_from=now, detail="")
            happened.append(self._keep(kept))
        return tuple(happened)

    def _objection_to_change(self, order: VenueOrder, terms: OrderTerms) -> str:
        request = order.request
        if not terms.quantity > order.filled:
            return f"not changed: {text(order.filled)} are filled, so the quantity cannot be {text(terms.quantity)}"
        if order.triggered:
            return "not changed: the stop has been reached"
        for kind, given in ((OrderType.LIMIT, terms.limit_price), (OrderType.STOP, terms.stop_price)):
            if (request.order_type is kind) != (given is not None) or (given is not None and given <= 0):
                return f"not changed: the prices do not fit a {request.order_type.value} order"
        ledger = self.ledger(order.account)
        before = self._opening_cost(ledger, request, order.remaining)
        after = self._opening_cost(ledger, replace(request, **asdict(terms)), terms.quantity - order.filled)
        lacks = self._lacks(order.account, after - before) if after > before else ""
        return f"not changed: {lacks}" if lacks else ""

    def _named(self, account: str, order_ref: str) -> list[VenueOrder]:
        return [
            order
            for order in self._orders.values()
            if order.account == account and order.request.order_ref == order_ref
        ]

    def cancel(self, account: str, order_ref: str) -> tuple[Happened, ...]:
        """Cancel what still works under a reference; for what is over, say once more how it ended."""
        happened = []
        for order in self._named(account, order_ref):
            if order.state is IntentState.WORKING:
                happened.append(self._keep(replace(order, state=IntentState.CANCELLED, detail="cancelled on request")))
                happened.extend(self._end_group(order, "another order of its OCA group was cancelled"))
            else:
                happened.append(Happened(account, order.update()))
        return tuple(happened)

    def see(self, quote: Quote) -> None:
        """A price arrives while nothing is matched: it only values positions."""
        self.quotes[quote.symbol] = quote

    def on_quote(self, quote: Quote) -> tuple[Happened, ...]:
        """A price arrives: match the symbol's working orders in the order of their arrival."""
        self.quotes[quote.symbol] = quote
        happened: list[Happened] = []
        for order in tuple(self._working.get(quote.symbol, {}).values()):
            happened.extend(self._match(order, quote))
        return tuple(happened)

    def is_concerned(self, quote: Quote, hours: TradingHours | None) -> bool:
        """Whether `take` would do more than value positions."""
        return self.has_expired(quote.time) or self._matches(quote, hours)

    def take(self, quote: Quote, hours: TradingHours | None) -> tuple[Happened, ...]:
        """A price arrives: expire what is over, and match while the market is open (`hours` None: always)."""
        happened = self.expire(quote.time)
        if self._matches(quote, hours):
            return happened + self.on_quote(quote)
        self.see(quote)
        return happened

    def _matches(self, quote: Quote, hours: TradingHours | None) -> bool:
        return quote.symbol in self._working and (hours is None or hours.is_open(quote.time))

    def has_expired(self, now: datetime) -> bool:
        """Whether `expire` would find something."""
        return bool(self._due(now))

    def expire(self, now: datetime) -> tuple[Happened, ...]:
        """The day is over for Day orders whose session has ended by `now`."""
        return tuple(
            self._keep(replace(order, state=IntentState.CANCELLED, detail="expired at the end of its day"))
            for order in self._due(now)
        )

    def _due(self, now: datetime) -> list[VenueOrder]:
        return [
            order
            for orders in self._working.values()
            for order in orders.values()
            if order.expires_at is not None and order.expires_at <= now
        ]

    def is_ahead_of(self, now: datetime) -> bool:
        """Whether an order waits for a time that a clock set back has yet to reach."""
        return any(order.live_from > now for orders in self._working.values() for order in orders.values())

    def follow_clock_back(self, now: datetime) -> None:
        """The clock was set back: what is seen from now on is later than any order here all the same."""
        for orders in tuple(self._working.values()):
            for order in tuple(orders.values()):
                if order.live_from > now:
                    self._keep(replace(order, live_from=now))

    def split(self, symbol: str, ratio: Decimal) -> None:
        """One share becomes `ratio`: positions, working orders and the last price follow."""
        for account, ledger in self.ledgers.items():
            if ledger.split(symbol, ratio):
                self._changes.accounts.add(account)
        for order in tuple(self._working.get(symbol, {}).values()):
            request = order.request
            self._keep(
                replace(
                    order,
                    filled=order.filled * ratio,
                    average_price=order.average_price / ratio,
                    request=replace(
                        request,
                        quantity=request.quantity * ratio,
                        limit_price=None if request.limit_price is None else request.limit_price / ratio,
                        stop_price=None if request.stop_price is None else request.stop_price / ratio,
                        reference_price=request.reference_price / ratio,
                    ),
                )
            )
        quote = self.quotes.get(symbol)
        if quote is not None:
            by = float(ratio)
            self.quotes[symbol] = replace(quote, price=quote.price / by, bid=quote.bid / by, ask=quote.ask / by)

    # --- matching ----------------------------------------------------------------------------------------------------

    def _match(self, order: VenueOrder, quote: Quote) -> Iterator[Happened]:
        if quote.time <= order.live_from:
            return
        if self._orders[order.order_id].state is not IntentState.WORKING:
            return  # cancelled by its OCA group in this very step
        request = order.request
        if request.order_type is OrderType.STOP and not order.triggered:
            stop = request.stop_price or ZERO
            if (price(quote.price) - stop) * request.side.sign >= 0:
                self._keep(replace(order, triggered=True, live_from=quote.time))
            return
        at = self._fill_price(order, quote)
        if at is not None:
            order = self._fill(order, at, quote.time)
            yield Happened(order.account, self._changes.fills[-1][1])
            yield self._keep(order)
            yield from self._end_group(order, "another order of its OCA group was filled")
        if request.time_in_force is TimeInForce.IOC and order.state is IntentState.WORKING:
            yield self._keep(replace(order, state=IntentState.CANCELLED, detail="immediate or cancel"))

    def _fill_price(self, order: VenueOrder, quote: Quote) -> Decimal | None:
        request = order.request
        buys = request.side is Side.BUY
        side_price = price(quote.ask if buys else quote.bid)
        if quote.bid == quote.ask:  # no book: half the spread lies on either side of the price
            side_price *= 1 + request.side.sign * self._half_spread
        slipped = side_price
        if self._slippage_bps:
            slippage = self._slippage_bps * 2 * self._chance("slippage", order)
            slipped *= 1 + request.side.sign * slippage / BASIS_POINTS
        if request.order_type is OrderType.LIMIT:
            limit = request.limit_price or ZERO
            if (limit - side_price) * request.side.sign < 0:
                return None
            slipped = min(slipped, limit) if buys else max(slipped, limit)
        return max(PRICE_STEP, slipped.quantize(PRICE_STEP))

    def _fill(self, order: VenueOrder, at: Decimal, moment: datetime) -> VenueOrder:
        """The order after an execution, which is yet to be kept."""
        quantity = self._portion(order)
        filled = order.filled + quantity
        commission = self._commission(filled) - order.commission
        executions = order.executions + 1
        request = order.request
        fill = Fill(
            f"{order.order_id}.{executions}",
            request.order_ref,
            request.symbol,
            request.side,
            quantity,
            at,
            commission,
            moment,
        )
        done = filled == request.quantity
        order = replace(
            order,
            filled=filled,
            average_price=((order.average_price * order.filled + at * quantity) / filled).quantize(PRICE_STEP),
            commission=order.commission + commission,
            executions=executions,
            live_from=moment,
            state=IntentState.FILLED if done else IntentState.WORKING,
        )
        self.ledger(order.account).book(request.symbol, quantity * request.side.sign, at, commission)
        self._changes.accounts.add(order.account)
        self._changes.fills.append((order.account, fill))
        return order

    def _portion(self, order: VenueOrder) -> Decimal:
        """All that remains, or with partial fills a seeded part of it, in whole shares."""
        if not self.terms.partial_fills or order.remaining <= 1:
            return order.remaining
        chance = self._chance("portion", order)
        return min(order.remaining, Decimal(math.ceil(order.remaining * (3 + 7 * chance) / 10)))

    def _chance(self, what: str, order: VenueOrder) -> Decimal:
        """A number in [0, 1) that depends on seed, order and execution alone."""
        key = f"{self._seed}:{what}:{order.sequence}:{order.executions}".encode()
        return Decimal(int.from_bytes(hashlib.blake2b(key, digest_size=4).digest(), "big")) / 2**32

    def _keep(self, order: VenueOrder) -> Happened:
        self._place(order)
        self._changes.orders[order.order_id] = order
        return Happened(order.account, order.update())

    def _place(self, order: VenueOrder) -> None:
        self._orders[order.order_id] = order
        if order.request.oca_group:
            self._groups.setdefault((order.account, order.request.oca_group), set()).add(order.order_id)
        working = self._working.setdefault(order.request.symbol, {})
        if order.state is IntentState.WORKING:
            working[order.order_id] = order
        else:
            working.pop(order.order_id, None)
            self._over.append(order.order_id)
            if len(self._over) > REMEMBERED:
                self._forget(self._over.popleft())
        if not working:
            del self._working[order.request.symbol]

    def _forget(self, order_id: str) -> None:
        order = self._orders.pop(order_id)
        key = (order.account, order.request.oca_group)
        members = self._groups.get(key)
        if members is not None:
            members.discard(order_id)
            if not members:
                del self._groups[key]
