"""Whether and at what price an order trades against a quote. Pure rules, after IB's descriptions of its order types.

A stop triggers when the last price reaches it and then trades as a market order (a stop limit: as a limit order); an
order if touched triggers on the other side; a trailing stop follows the best price at its distance and never back. A
market order buys at the ask and sells at the bid; a limit order at its limit or better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from openbell.gateway.orders import AT_CLOSE, TRAILING, Kind, Order

PERCENT = Decimal(100)
CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Quote:
    """What the market shows at one moment. `depth` shares can be traded at it; None: any number."""

    bid: Decimal
    ask: Decimal
    last: Decimal
    depth: Decimal | None = None


def follow(order: Order, quote: Quote) -> Order:
    """The order with its trailing stop moved to where `quote` puts it, and triggered where the quote does that."""
    order = trail(order, quote)
    if not order.triggered and _touched(order, quote):
        order = replace(order, triggered=True)
    return order


def trail(order: Order, quote: Quote) -> Order:
    """The order with its trailing stop where `quote` puts it; unchanged for every other order."""
    if order.triggered or order.terms.kind not in TRAILING:
        return order
    terms = order.terms
    distance = terms.aux
    if terms.trail_percent is not None:
        distance = (quote.last * terms.trail_percent / PERCENT).quantize(CENT)
    if distance is None:
        return order
    stop = quote.last + distance if terms.is_buy else quote.last - distance
    if order.stop is not None:
        stop = min(stop, order.stop) if terms.is_buy else max(stop, order.stop)
    limit = order.limit
    if terms.kind == Kind.TRAIL_LIMIT:
        if terms.limit_offset is not None:
            limit = stop + terms.limit_offset if terms.is_buy else stop - terms.limit_offset
        elif order.stop is not None and limit is not None:
            limit += stop - order.stop
    return replace(order, stop=stop, limit=limit)


def _touched(order: Order, quote: Quote) -> bool:
    terms = order.terms
    match terms.kind:
        case Kind.STOP | Kind.STOP_LIMIT:
            level, rising = terms.aux, terms.is_buy
        case Kind.TRAIL | Kind.TRAIL_LIMIT:
            level, rising = order.stop, terms.is_buy
        case Kind.IF_TOUCHED | Kind.LIMIT_IF_TOUCHED:
            level, rising = terms.aux, not terms.is_buy
        case _:
            return False
    if level is None:
        return False
    return quote.last >= level if rising else quote.last <= level


def trade_price(order: Order, quote: Quote) -> Decimal | None:
    """The price at which `order` trades now; None while it does not. Orders for the close only trade in its auction."""
    terms = order.terms
    side = quote.ask if terms.is_buy else quote.bid
    match terms.kind:
        case Kind.MARKET:
            return side
        case Kind.LIMIT:
            return _within(terms.limit, side, buy=terms.is_buy)
        case Kind.STOP | Kind.TRAIL | Kind.IF_TOUCHED:
            return side if order.triggered else None
        case Kind.STOP_LIMIT | Kind.LIMIT_IF_TOUCHED:
            return _within(terms.limit, side, buy=terms.is_buy) if order.triggered else None
        case Kind.TRAIL_LIMIT:
            return _within(order.limit, side, buy=terms.is_buy) if order.triggered else None
        case _:
            return None


def auction_price(order: Order, price: Decimal) -> Decimal | None:
    """The price at which `order` trades in an auction at `price`; None when its limit does not allow it."""
    if order.terms.kind in {Kind.LIMIT_ON_CLOSE, Kind.LIMIT}:
        return price if _within(order.terms.limit, price, buy=order.terms.is_buy) is not None else None
    return price if order.terms.kind in AT_CLOSE or order.terms.kind == Kind.MARKET else None


def _within(limit: Decimal | None, price: Decimal, *, buy: bool) -> Decimal | None:
    if limit is None:
        return None
    return price if (price <= limit if buy else price >= limit) else None


def tradable(order: Order, quote: Quote) -> Decimal:
    """How much of the order trades at `quote`, once its price allows it: all or nothing where it says so."""
    if quote.depth is None or order.remaining <= quote.depth:
        return order.remaining
    return Decimal(0) if order.terms.all_or_none or order.terms.tif == "FOK" else quote.depth
