"""The exchange: orders in, events out. Pure state; the clock and all chance are given.

Rules. An order trades only at a quote after its arrival. Orders of one client have ids of their own, orders of all have
permIds. A bracket's legs wait for the last one, which transmits all; children begin when the parent is filled, end
when it is cancelled, and are an OCA group of their own. Of an OCA group of type 1 a fill, also of a part, cancels the
others; of type 2 and 3 it takes its size from them; a cancel by request cancels all. Nothing is deduplicated: each
order that arrives with a new id is an order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from openbell.domain.clock import Clock
from openbell.domain.money import ZERO
from openbell.gateway import matching, rules
from openbell.gateway.accounts import Account, commission
from openbell.gateway.contracts import Catalogue, Contract, tick_at
from openbell.gateway.errors import FieldError
from openbell.gateway.events import (
    Broadcast,
    Charged,
    Event,
    Executed,
    Notice,
    OrderChanged,
    PositionChanged,
    StatusChanged,
    Tried,
)
from openbell.gateway.hours import AroundTheClock, TradingHours, midnight_after
from openbell.gateway.matching import Quote
from openbell.gateway.orders import AT_CLOSE, TRIGGERED, Execution, Order, Status, Terms, terms
from openbell.gateway.pricing import Prices
from openbell.gateway.settings import ExchangeSettings
from openbell.gateway.wire.fields import moment, show, stamp
from openbell.gateway.wire.requests import ExecutionsWanted, PlaceOrder

FIRST_PERM_ID = 1_100_000_000
CANCELLED_TEXT = "Order Canceled - reason:"


class Exchange:
    """Accounts, orders and prices. Every call may leave events, which `drain` takes out in their order."""

    def __init__(self, settings: ExchangeSettings, clock: Clock, hours: TradingHours | None = None) -> None:
        self.settings = settings
        self.clock = clock
        self.hours = hours or AroundTheClock()
        self.catalogue = Catalogue(settings.symbols)
        self.prices = Prices(settings.seed, settings.volatility, self._start_price)
        self.accounts = {code: Account(code, settings.starting_cash) for code in settings.accounts}
        self.executions: list[Execution] = []
        self._orders: dict[int, Order] = {}  # by permId, in the order of arrival
        self._ids: dict[tuple[int, int], int] = {}  # (client, order id) → permId
        self._next_ids: dict[int, int] = {}
        self._next_perm_id = FIRST_PERM_ID + settings.seed % 1_000 * 100_000
        self._fills = 0
        self._events: deque[Event] = deque()
        self._next_close = self.hours.next_close(clock.now())
        self._next_open = self.hours.next_open(clock.now())
        self._midnight = midnight_after(clock.now())

    # What is known

    def now(self) -> datetime:
        """The exchange's time."""
        return self.clock.now()

    def drain(self) -> list[Event]:
        """What has happened since the last call."""
        events = list(self._events)
        self._events.clear()
        return events

    def quote(self, symbol: str, moment: datetime | None = None) -> Quote:
        """The market of a symbol now, or as it was."""
        last = self.prices.at(symbol, moment or self.now())
        half = tick_at(last) * self.settings.half_spread_ticks
        return Quote(last - half, last + half, last, self.settings.depth)

    def mark(self, contract: Contract) -> Decimal:
        """What a share is worth now."""
        return self.prices.at(contract.symbol, self.now())

    def next_id(self, client_id: int) -> int:
        """The lowest order id that a client may use next."""
        return self._next_ids.get(client_id, 1)

    def clients(self) -> list[int]:
        """The clients that have placed orders."""
        return list(self._next_ids)

    def order(self, client_id: int, order_id: int) -> Order | None:
        """A client's order by its id."""
        perm_id = self._ids.get((client_id, order_id))
        return None if perm_id is None else self._orders[perm_id]

    def orders(self) -> list[Order]:
        """All orders of the day, in the order of their arrival."""
        return list(self._orders.values())

    def open_orders(self, client_id: int | None = None) -> list[Order]:
        """Orders that work, of one client or of all."""
        return [o for o in self._orders.values() if o.is_working and client_id in {None, o.client_id}]

    def completed_orders(self) -> list[Order]:
        """Orders of this day that are over."""
        return [o for o in self._orders.values() if o.is_over and o.completed_status]

    def executions_for(self, wanted: ExecutionsWanted) -> list[Execution]:
        """Fills of this day that a filter lets through."""
        since = _since(wanted.time)
        return [fill for fill in self.executions if _matches(fill, wanted, since)]

    # Orders

    def place(self, client_id: int, request: PlaceOrder) -> None:
        """A new order, or a change of one that works."""
        order_id = request.order_id
        if self.settings.read_only:
            self._refuse(client_id, order_id, rules.READ_ONLY)
            return
        try:
            asked = terms(request.record)
        except FieldError as error:
            self._refuse(client_id, order_id, rules.unreadable(str(error)))
            return
        contract = self.catalogue.find(request.contract)
        if contract is None:
            self._refuse(client_id, order_id, rules.NO_SECURITY)
            return
        if (asked.account or len(self.accounts) > 1) and asked.account not in self.accounts:
            self._refuse(client_id, order_id, rules.account(asked.account))
            return
        asked = replace(asked, account=asked.account or next(iter(self.accounts)))
        refusal = rules.check(asked, request.contract)
        if refusal is not None:
            self._refuse(client_id, order_id, refusal)
            return
        known = self.order(client_id, order_id)
        if known is not None:
            self._modify(known, asked, contract)
            return
        if order_id < self.next_id(client_id):
            self._refuse(client_id, order_id, rules.DUPLICATE_ID)
            return
        self._new(client_id, order_id, contract, asked)

    def _new(self, client_id: int, order_id: int, contract: Contract, asked: Terms) -> None:
        self._next_ids[client_id] = order_id + 1
        perm_id, self._next_perm_id = self._next_perm_id, self._next_perm_id + 1
        order = Order(client_id, order_id, perm_id, contract, asked, self.now(), oca_group=asked.oca_group)
        if asked.what_if:
            self._try_out(order)
            return
        if asked.parent_id:
            parent = self.order(client_id, asked.parent_id)
            if parent is None or parent.is_over:
                self._refuse(client_id, order_id, rules.NO_PARENT)
                return
            order = replace(order, parent_perm_id=parent.perm_id, oca_group=asked.oca_group or str(parent.perm_id))
        self._ids[client_id, order_id] = perm_id
        self._orders[perm_id] = order
        if asked.transmit:
            self._transmit(order)

    def _family(self, order: Order) -> list[Order]:
        root = order.parent_perm_id or order.perm_id
        return [o for o in self._orders.values() if root in {o.perm_id, o.parent_perm_id}]

    def _transmit(self, order: Order) -> None:
        for member in self._family(order):
            if member.status is Status.HELD:
                self._accept(member)

    def _accept(self, order: Order) -> None:
        asked = order.terms
        parent = self._orders.get(order.parent_perm_id)
        if parent is not None and parent.is_over and parent.status is not Status.FILLED:
            self._cancelled(order, "Its parent order is over")
            return
        if not asked.tif and self.settings.preset_tif:
            self._notice(order, 10349, "Order TIF was set to DAY based on order preset.")
        if not asked.tif:
            order = replace(order, terms=replace(asked, tif="DAY"))
        poor = None if order.parent_perm_id else self._too_poor(order)
        if poor is not None:
            self._end(order, Status.INACTIVE, poor)
            self._notice(order, 201, f"Order rejected - reason:{poor}")
            return
        if asked.outside_hours and asked.kind in TRIGGERED | AT_CLOSE:
            self._notice(order, 2109, rules.OUTSIDE_HOURS_IGNORED)
        now = self.now()
        if not self._may_trade(order) and (opening := self.hours.next_open(now)) is not None:
            self._notice(order, 399, rules.waits_for_opening(order, stamp(opening)))
        waits = asked.good_after is not None and asked.good_after > now
        active = not waits and (parent is None or parent.status is Status.FILLED)
        order = replace(order, status=Status.PRE_SUBMITTED, active=active, placed=now)
        order = replace(order, stop=asked.trail_stop, limit=asked.limit)
        self._tell(matching.trail(order, self.quote(order.contract.symbol)))

    def _too_poor(self, order: Order) -> str | None:
        asked, account = order.terms, self.accounts[order.terms.account]
        signed = asked.quantity if asked.is_buy else -asked.quantity
        held = account.position(order.contract.con_id)
        if abs(held + signed) <= abs(held):
            return None
        price = asked.limit or asked.aux or self.mark(order.contract)
        equity, margin = account.margin_after(order.contract, signed, price, self.mark)
        return None if margin <= equity else rules.too_poor(equity, margin)

    def _try_out(self, order: Order) -> None:
        asked, account = order.terms, self.accounts[order.terms.account]
        signed = asked.quantity if asked.is_buy else -asked.quantity
        price = asked.limit or asked.aux or self.mark(order.contract)
        equity, margin = account.margin_after(order.contract, signed, price, self.mark)
        before_equity = account.equity(self.mark)
        before = before_equity - account.available(self.mark)
        figures = {
            "initMarginBefore": before,
            "maintMarginBefore": before,
            "equityWithLoanBefore": before_equity,
            "initMarginChange": margin - before,
            "maintMarginChange": margin - before,
            "equityWithLoanChange": equity - before_equity,
            "initMarginAfter": margin,
            "maintMarginAfter": margin,
            "equityWithLoanAfter": equity,
            "commission": commission(asked.quantity, price),
        }
        tried = replace(order, status=Status.PRE_SUBMITTED)
        self._events.append(Tried(tried, {name: show(value) for name, value in figures.items()}))

    def _modify(self, order: Order, asked: Terms, contract: Contract) -> None:
        if order.is_over:
            return  # as a real gateway: no word
        if contract.con_id != order.contract.con_id or asked.action != order.terms.action:
            self._refuse(order.client_id, order.order_id, rules.OTHER_ORDER)
            return
        if asked.quantity <= order.filled:
            self._refuse(order.client_id, order.order_id, rules.ALREADY_FILLED)
            return
        if order.status is Status.PENDING_CANCEL:
            self._refuse(order.client_id, order.order_id, rules.BEING_CANCELLED)
            return
        changed = replace(order, terms=replace(asked, account=order.terms.account, tif=asked.tif or "DAY"))
        if (asked.kind, asked.aux, asked.trail_percent, asked.trail_stop) != (
            order.terms.kind,
            order.terms.aux,
            order.terms.trail_percent,
            order.terms.trail_stop,
        ):
            changed = replace(changed, triggered=False, stop=asked.trail_stop, limit=asked.limit)
            changed = matching.trail(changed, self.quote(contract.symbol))
        if order.status is Status.HELD:
            self._orders[order.perm_id] = replace(changed, terms=replace(changed.terms, tif=asked.tif))
            if asked.transmit:
                self._transmit(changed)
            return
        status = Status.PRE_SUBMITTED if asked.kind in TRIGGERED and not changed.triggered else order.status
        self._tell(replace(changed, status=status, arrived=False))

    def cancel(self, client_id: int, order_id: int) -> None:
        """A client's wish to cancel one of its orders."""
        if self.settings.read_only:
            self._refuse(client_id, order_id, rules.READ_ONLY)
            return
        order = self.order(client_id, order_id)
        if order is None:
            self._refuse(client_id, order_id, rules.not_found(order_id))
        elif order.is_over:
            self._refuse(client_id, order_id, rules.not_cancellable(order_id, order.status))
        elif order.status is Status.PENDING_CANCEL:
            self._refuse(client_id, order_id, rules.BEING_CANCELLED)
        elif order.status is Status.HELD:
            for member in self._family(order):
                if order.perm_id in {member.perm_id, member.parent_perm_id}:
                    self._cancelled(member, "Cancelled by Trader")
        elif self.settings.cancel_seconds > 0:
            due = self.now() + timedelta(seconds=self.settings.cancel_seconds)
            self._tell(replace(order, status=Status.PENDING_CANCEL, cancel_at=due))
        else:
            self._cancel_now(order)

    def cancel_all(self) -> None:
        """A global cancel: every order of every client."""
        for order in self.open_orders():
            fresh = self._orders[order.perm_id]
            if fresh.is_working:
                self._cancelled(fresh, "Cancelled by Trader")

    def _cancel_now(self, order: Order) -> None:
        """Cancel an order by request, and first what hangs on it."""
        for other in self._orders_of_group(order):
            self._cancelled(other, "Cancelled by Trader")
        self._cancelled(order, "Cancelled by Trader")

    def _cancelled(self, order: Order, reason: str) -> None:
        if self._orders[order.perm_id].is_over:
            return
        self._end(order, Status.CANCELLED, reason)
        self._notice(order, 202, CANCELLED_TEXT)
        for child in list(self._orders.values()):
            if child.parent_perm_id == order.perm_id and not child.is_over:
                self._cancelled(child, reason)

    def _orders_of_group(self, order: Order) -> list[Order]:
        if not order.oca_group:
            return []
        return [
            other
            for other in self._orders.values()
            if other.oca_group == order.oca_group
            and other.perm_id != order.perm_id
            and other.terms.account == order.terms.account
            and other.is_working
        ]

    def reject(self, order: Order, reason: str) -> None:
        """The exchange turns a working order down."""
        if not order.is_over:
            self._end(order, Status.INACTIVE, reason)
            self._notice(order, 201, f"Order rejected - reason:{reason}")

    # The market

    def move(self, symbol: str, price: float | Decimal | str) -> None:
        """Put a price, and match at it."""
        self._known(symbol)
        self.prices.move(symbol, Decimal(str(price)), self.now())
        self.advance()

    def release(self, symbol: str) -> None:
        """Let a price that was put follow its course again."""
        self._known(symbol)
        self.prices.release(symbol, self.now())

    def advance(self) -> None:
        """Match all orders at the prices of now; auctions, expiries and the turn of the day when they are due."""
        now = self.now()
        if self._next_open is not None and now >= self._next_open:
            self.opening_auction()
            self._next_open = self.hours.next_open(now)
        if self._next_close is not None and now >= self._next_close:
            self.closing_auction()
            self._next_close = self.hours.next_close(now)
        if now >= self._midnight:
            self.new_day()
            self._midnight = midnight_after(now)
        for perm_id in list(self._orders):
            order = self._orders[perm_id]
            if order.is_working:
                self._step(order, now)

    def _step(self, order: Order, now: datetime) -> None:
        if order.cancel_at is not None and now >= order.cancel_at:
            self._cancel_now(order)
            return
        till = order.terms.good_till
        if order.terms.tif == "GTD" and till is not None and now >= till:
            self._cancelled(order, "Order expired")
            return
        if not order.active:
            after = order.terms.good_after
            parent = self._orders.get(order.parent_perm_id)
            if (after is not None and now < after) or (parent is not None and parent.status is not Status.FILLED):
                return
            order = replace(order, active=True)
            self._orders[order.perm_id] = order
        if not self._may_trade(order) or order.terms.tif == "OPG" or order.terms.kind in AT_CLOSE:
            return
        self._match(order, self.quote(order.contract.symbol))

    def _match(self, order: Order, quote: Quote) -> None:
        before = order
        order = matching.follow(order, quote)
        if not order.arrived:
            order = replace(order, arrived=True)
            if order.terms.kind == "LMT" and order.status is Status.PRE_SUBMITTED:
                order = replace(order, status=Status.SUBMITTED)
        elif order.triggered and order.status is Status.PRE_SUBMITTED:
            order = replace(order, status=Status.SUBMITTED)
        price = matching.trade_price(order, quote)
        shares = matching.tradable(order, quote) if price is not None else ZERO
        if order.status is not before.status or (order.stop != before.stop):
            self._tell(order)
        else:
            self._orders[order.perm_id] = order
        if price is not None and shares:
            self._fill(order, shares, price)
        current = self._orders[order.perm_id]
        if current.is_working and current.terms.tif in {"IOC", "FOK"}:
            self._cancelled(current, "Not filled at once")

    def fill(self, order: Order, shares: Decimal, price: Decimal) -> None:
        """Fill an order, or a part of it, by hand. Raises ValueError when it does not work or is smaller."""
        current = self._orders[order.perm_id]
        if not current.is_working or not ZERO < shares <= current.remaining:
            raise ValueError(f"order {order.order_id} cannot be filled with {shares}")
        self._fill(current, shares, price)

    def _fill(self, order: Order, shares: Decimal, price: Decimal) -> None:
        account = self.accounts[order.terms.account]
        filled = order.filled + shares
        average = (order.filled * order.average_price + shares * price) / filled
        fee = commission(filled, average) - order.commission
        realized = account.fill(order.contract, shares if order.terms.is_buy else -shares, price, fee)
        done = filled >= order.size
        order = replace(
            order,
            status=Status.FILLED if done else _still(order),
            filled=filled,
            average_price=average,
            last_price=price,
            commission=order.commission + fee,
            completed=self.now() if done else None,
            completed_status=f"Filled Size: {show(filled)}" if done else "",
        )
        self._orders[order.perm_id] = order
        self._fills += 1
        exec_id = f"{self.settings.seed:08x}.{order.perm_id:08x}.{self._fills:04x}.01"
        venue = order.contract.primary_exchange if order.contract.exchange == "SMART" else order.contract.exchange
        execution = Execution(exec_id, order, self.now(), venue, shares, price, filled, average, fee, realized)
        self.executions.append(execution)
        # First the fill, then the order twice, the second time with its commission known, as a real gateway does.
        early = replace(order, commission=order.commission - fee)
        self._events += [Executed(execution), OrderChanged(early), OrderChanged(order), Charged(execution)]
        self._events.append(PositionChanged(account.code, order.contract.con_id))
        self._after_fill(order, shares)

    def _after_fill(self, order: Order, shares: Decimal) -> None:
        cancels = bool(order.terms.oca_group) and order.terms.oca_type == 1
        for other in self._orders_of_group(order):
            if cancels or other.remaining <= shares:
                self._cancelled(other, "Filled by another order of its group")
            else:  # also the other leg of a bracket, which goes on protecting what is left
                self._tell(replace(other, reduced=other.reduced + shares))
        if order.status is Status.FILLED:
            if order.cancel_at is not None:  # the cancel comes too late
                self._refuse(order.client_id, order.order_id, rules.not_cancellable(order.order_id, order.status))
            for child in list(self._orders.values()):
                if child.parent_perm_id == order.perm_id and child.is_working and not child.active:
                    self._tell(replace(child, active=True, arrived=False))

    def opening_auction(self) -> None:
        """Orders for the opening trade at its price, or end."""
        for order in self.open_orders():
            if order.terms.tif == "OPG" and order.active:
                self._auction(self._orders[order.perm_id])

    def closing_auction(self) -> None:
        """Orders for the close trade at its price or end; day orders end."""
        for order in self.open_orders():
            if order.terms.kind in AT_CLOSE and order.active and order.terms.tif != "OPG":
                self._auction(self._orders[order.perm_id])
        for order in self.open_orders():
            if order.terms.tif in {"DAY", "IOC", "FOK"} and self._began(order):
                self._cancelled(self._orders[order.perm_id], "Order expired")

    def _began(self, order: Order) -> bool:
        """Whether the session that a day order was for has been: one that came after the close is for the next."""
        opening = self.hours.next_open(order.placed)
        return self.hours.is_open(order.placed) or opening is None or opening < self.now()

    def _auction(self, order: Order) -> None:
        if order.is_over:
            return
        price = matching.auction_price(order, self.mark(order.contract))
        if price is not None and order.remaining:
            self._fill(order, order.remaining, price)
        else:
            self._cancelled(order, "Not filled in the auction")

    def new_day(self) -> None:
        """Orders and executions that are over are forgotten, as a gateway forgets them; results begin at nothing."""
        gone = {perm_id for perm_id, order in self._orders.items() if order.is_over}
        self._orders = {perm_id: order for perm_id, order in self._orders.items() if perm_id not in gone}
        self._ids = {key: perm_id for key, perm_id in self._ids.items() if perm_id not in gone}
        self.executions.clear()
        for account in self.accounts.values():
            account.new_day(self.mark)

    def roll_back_ids(self, client_id: int, steps: int) -> None:
        """Forget a client's newest order ids, as gateways have been seen to do over a restart. The orders stay."""
        first = max(1, self.next_id(client_id) - steps)
        self._next_ids[client_id] = first
        for key in [k for k in self._ids if k[0] == client_id and k[1] >= first]:
            if self._orders[self._ids[key]].is_over:
                del self._ids[key]

    def restart(self) -> None:
        """What a gateway does not remember over a restart: orders that were never transmitted."""
        held = [o for o in self._orders.values() if o.status is Status.HELD]
        for order in held:
            del self._orders[order.perm_id]
            del self._ids[order.client_id, order.order_id]

    def broadcast(self, code: int, text: str) -> None:
        """Say something to every client."""
        self._events.append(Broadcast(code, text))

    # Small steps

    def _may_trade(self, order: Order) -> bool:
        outside = order.terms.outside_hours and order.terms.kind not in TRIGGERED | AT_CLOSE
        return outside or self.hours.is_open(self.now())

    def _tell(self, order: Order) -> None:
        self._orders[order.perm_id] = order
        self._events.append(OrderChanged(order))

    def _end(self, order: Order, status: Status, reason: str) -> None:
        was_held = order.status is Status.HELD and status is Status.CANCELLED
        order = replace(order, status=status, completed=self.now(), completed_status="" if was_held else reason)
        self._orders[order.perm_id] = order
        self._events.append(OrderChanged(order) if status is Status.INACTIVE else StatusChanged(order))

    def _notice(self, order: Order, code: int, text: str) -> None:
        self._events.append(Notice(order.client_id, order.order_id, code, text))

    def _refuse(self, client_id: int, order_id: int, refusal: rules.Refusal) -> None:
        self._events.append(Notice(client_id, order_id, refusal.code, refusal.text))

    def _known(self, symbol: str) -> None:
        if self.catalogue.by_symbol(symbol) is None:
            raise ValueError(f"{symbol} is not traded here")

    def _start_price(self, symbol: str) -> Decimal:
        contract = self.catalogue.by_symbol(symbol)
        return Decimal(100) if contract is None else contract.start_price


def _still(order: Order) -> Status:
    """The status of an order that was filled in part; one that is being cancelled stays that."""
    return order.status if order.status is Status.PENDING_CANCEL else Status.SUBMITTED


def _since(text: str) -> datetime | None:
    return moment(text, "time") if text.strip() else None


def _matches(fill: Execution, wanted: ExecutionsWanted, since: datetime | None) -> bool:
    order = fill.order
    asked: Iterator[tuple[object, object]] = iter(
        (
            (wanted.client_id, order.client_id),
            (wanted.account, order.terms.account),
            (wanted.symbol, order.contract.symbol),
            (wanted.sec_type, order.contract.sec_type),
            (wanted.side.upper(), order.terms.action),
        )
    )
    if since is not None and fill.time < since:
        return False
    return all(not asks or asks == has for asks, has in asked)
