"""Why an order is refused before it is one, with the codes and words of a real gateway."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from openbell.domain.money import cents
from openbell.gateway.contracts import tick_at
from openbell.gateway.orders import AT_CLOSE, TIMES_IN_FORCE, TRAILING, WITH_LIMIT, WITH_TRIGGER, Kind, Order, Terms
from openbell.gateway.wire.requests import ContractQuery

VALIDATING = "Error validating request.-'bV' : cause - "


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error code and its words."""

    code: int
    text: str


READ_ONLY = Refusal(321, VALIDATING + "The API interface is currently in Read-Only mode.")
NO_SECURITY = Refusal(200, "No security definition has been found for the request")
DUPLICATE_ID = Refusal(103, "Duplicate order id")
OTHER_ORDER = Refusal(105, "Order being modified does not match original order")
ALREADY_FILLED = Refusal(104, "Can't modify a filled order")
BEING_CANCELLED = Refusal(161, "Cancel attempted when order is not in a cancellable state.")
NO_PARENT = Refusal(10006, "Missing parent order.")
BAD_TICK = Refusal(110, "The price does not conform to the minimum price variation for this contract.")
FRACTION = Refusal(
    10243, "Fractional-sized order cannot be placed via API. Please use desktop version to place this order."
)
ZERO_SIZE = Refusal(434, "The order size cannot be zero.")
BY_LAST_PRICE = "2"  # the way in which stops are triggered here
_NOT_ACTED_ON = (
    "conditions",
    "algoStrategy",
    "hedgeType",
    "scalePriceIncrement",
    "adjustedOrderType",
    "deltaNeutralOrderType",
    "minQty",
    "cashQty",
    "discretionaryAmt",
    "percentOffset",
    "triggerMethod",
    "activeStartTime",
)
NOT_CONNECTED = Refusal(504, "Not connected")
CLIENT_ID_IN_USE = Refusal(326, "Unable to connect as the client id is already in use. Retry with a unique client id.")
PACING_VIOLATION = Refusal(162, "Historical Market Data Service error message:Historical data request pacing violation")
OUTSIDE_HOURS_IGNORED = (
    "Order Event Warning:Attribute 'Outside Regular Trading Hours' is ignored based on the order type and destination."
    " PlaceOrder is now being processed."
)


def unreadable(text: str) -> Refusal:
    """A request that cannot be read."""
    return Refusal(320, f"Error reading request. {text}")


def invalid(cause: str) -> Refusal:
    """A request that can be read and makes no sense."""
    return Refusal(321, VALIDATING + cause)


def account(code: str) -> Refusal:
    """An order for an account that is not managed here, or for none where there are several."""
    return invalid(f"Invalid account code '{code}'.") if code else Refusal(435, "You must specify an account.")


def not_found(order_id: int) -> Refusal:
    """A cancel of an order that was never seen."""
    return Refusal(10147, f"OrderId {order_id} that needs to be cancelled is not found.")


def not_cancellable(order_id: int, state: str) -> Refusal:
    """A cancel of an order that is over."""
    return Refusal(10148, f"OrderId {order_id} that needs to be cancelled cannot be cancelled, state: {state}.")


def too_poor(equity: Decimal, margin: Decimal) -> str:
    """Why an order is rejected whose margin the account has not."""
    return (
        "YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION YOUR EQUITY WITH LOAN VALUE "
        f"[{cents(equity)} USD] MUST EXCEED THE INITIAL MARGIN [{cents(margin)} USD]"
    )


def waits_for_opening(order: Order, opening: str) -> str:
    """The warning for an order that comes while the exchange is closed."""
    asked = order.terms
    return (
        f"Order Message:\n{asked.action} {asked.quantity.normalize():f} {order.contract.symbol}"
        f" {order.contract.primary_exchange}.{order.contract.trading_class}\nWarning: your order will not be placed at"
        f" the exchange until {opening}"
    )


def check(asked: Terms, contract: ContractQuery) -> Refusal | None:
    """Why these terms make no order; None when they do."""
    if asked.action not in {"BUY", "SELL", "SSHORT"}:
        return invalid("Invalid side was entered")
    if asked.kind not in set(Kind):
        return invalid("Invalid order type was entered")
    if asked.tif and asked.tif not in TIMES_IN_FORCE:
        return invalid("Invalid time in force was entered")
    if not contract.exchange:
        return invalid("Missing order exchange")
    return _check_size(asked) or _check_prices(asked) or _check_time(asked) or _check_more(asked)


def _check_size(asked: Terms) -> Refusal | None:
    if asked.quantity == 0:
        return ZERO_SIZE
    if asked.quantity < 0:
        return invalid("Invalid order size was entered")
    return FRACTION if asked.quantity % 1 else None


def _check_prices(asked: Terms) -> Refusal | None:
    needed: list[tuple[Decimal | None, str]] = []
    if asked.kind in WITH_LIMIT:
        needed.append((asked.limit, "limit price"))
    if asked.kind in WITH_TRIGGER:
        needed.append((asked.aux, "stop price"))
    for price, name in needed:
        if price is None or price <= 0:
            return invalid(f"Please enter a valid {name}")
        if price % tick_at(price):
            return BAD_TICK
    return _check_trail(asked) if asked.kind in TRAILING else None


def _check_trail(asked: Terms) -> Refusal | None:
    if (asked.aux is None or asked.aux == 0) == (asked.trail_percent is None):
        return invalid("Please enter exactly one of trailing amount and trailing percent")
    percent = asked.trail_percent
    if percent is not None and not 0 < percent < 100:
        return invalid("Invalid trailing percent was entered")
    if asked.aux is not None and asked.aux < 0:
        return invalid("Invalid trailing amount was entered")
    if asked.kind == Kind.TRAIL_LIMIT and asked.limit_offset is None and asked.limit is None:
        return invalid("Please enter a limit price or a limit price offset")
    return None


def _check_more(asked: Terms) -> Refusal | None:
    """What an order may say and this exchange would not act on is refused: it would trade otherwise than was meant."""
    for name in _NOT_ACTED_ON:
        value = asked.record[name]
        if name == "triggerMethod" and value == BY_LAST_PRICE:
            continue
        if asked.record.groups.get(name) or value.strip("0.") not in {"", "None"}:
            return invalid(f"{name} is not supported by this gateway.")
    return None


def _check_time(asked: Terms) -> Refusal | None:
    if asked.tif == "GTD" and asked.good_till is None:
        return invalid("Please enter a valid good-till-date")
    if asked.kind in AT_CLOSE and asked.tif not in {"", "DAY"}:
        return invalid(f"The time-in-force {asked.tif} is invalid for the combination of exchange and security type")
    if asked.tif == "OPG" and asked.kind not in {Kind.MARKET, Kind.LIMIT}:
        return invalid("The time-in-force OPG is invalid for this order type")
    if asked.tif in {"IOC", "FOK"} and asked.kind not in {Kind.MARKET, Kind.LIMIT}:
        return invalid(f"The time-in-force {asked.tif} is invalid for this order type")
    return None
