"""Between our values and the libraries' fields, in both directions. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from openbell.brokers.ibkr.shapes import ContractShape, ExecutionShape, Number, OrderShape
from openbell.domain.money import PRICE_STEP, ZERO
from openbell.domain.orders import Intent, IntentKind, IntentState, OrderTerms, OrderType, Side, TimeInForce

UNSET_FROM = Decimal("1e300")
"""A price that is not set is the largest double."""
EXCHANGE = "SMART"
OCA_CANCEL_ALL = 1  # with block: of a group only one order at a time is at an exchange
CURRENCY = "USD"

ORDER_TYPES = {OrderType.MARKET: "MKT", OrderType.LIMIT: "LMT", OrderType.STOP: "STP"}
TIMES_IN_FORCE = {TimeInForce.DAY: "DAY", TimeInForce.GTC: "GTC", TimeInForce.IOC: "IOC"}
ACTIONS = {Side.BUY: "BUY", Side.SELL: "SELL"}
SIDES = {"BUY": Side.BUY, "SELL": Side.SELL, "SSHORT": Side.SELL, "BOT": Side.BUY, "SLD": Side.SELL}

# Every status that the gateway sends. Inactive is no final word: the order may have been rejected (201 says so), may
# wait for shares to borrow, or may be revived. PendingCancel may still be filled.
WORKING = frozenset({"ApiPending", "PendingSubmit", "PreSubmitted", "Submitted", "PendingCancel"})
OVER = {
    "Filled": IntentState.FILLED,
    "Cancelled": IntentState.CANCELLED,
    "ApiCancelled": IntentState.CANCELLED,
}
INACTIVE = "Inactive"


def number(value: Number | str) -> Decimal | None:
    """A number as the libraries carry it, exactly; None where it is not set."""
    if value is None or value == "":
        return None
    found = value if isinstance(value, Decimal) else Decimal(str(value))
    return None if not found.is_finite() or abs(found) >= UNSET_FROM else found


def quantity(value: Number | str) -> Decimal:
    """A quantity; one that is not set is zero. Whole ones have no decimal places."""
    found = number(value)
    if found is None:
        return ZERO
    return found.quantize(Decimal(1)) if found == found.to_integral_value() else found.normalize()


def price(value: Number | str) -> Decimal:
    """A price, with at least the four places that prices have everywhere else; one that is not set is zero."""
    found = number(value)
    if found is None:
        return ZERO
    return found.quantize(PRICE_STEP) if found == found.quantize(PRICE_STEP) else found


def plain(value: Decimal) -> Decimal:
    """The same number in a form that prints without an exponent, as the protocol wants it."""
    return Decimal(format(value, "f"))


# --- symbols ---------------------------------------------------------------------------------------------------------


def to_ibkr(symbol: str) -> str:
    """IBKR writes a class of shares after a space: BRK B."""
    return symbol.replace(".", " ")


def symbol_of(contract: ContractShape, currency: str = CURRENCY) -> str:
    """Our name of what is traded. Anything but a share in our currency gets a name that no share of ours can have."""
    if contract.secType == "STK" and contract.currency in {currency, ""}:
        return contract.symbol.replace(" ", ".")
    name = contract.localSymbol or contract.symbol
    return f"{name}/{contract.secType}/{contract.currency}/{contract.conId}"


# --- orders out ------------------------------------------------------------------------------------------------------


def contract_fields(symbol: str, con_id: int = 0, primary_exchange: str = "") -> dict[str, Any]:
    """A share, by its id where that is known, and otherwise by its name: routed by SMART in dollars."""
    fields: dict[str, Any] = {
        "secType": "STK",
        "symbol": to_ibkr(symbol),
        "exchange": EXCHANGE,
        "currency": CURRENCY,
    }
    if con_id:
        fields["conId"] = con_id
    if primary_exchange:
        fields["primaryExchange"] = primary_exchange
    return fields


def order_fields(intent: Intent, terms: OrderTerms, account: str) -> dict[str, Any]:
    """The library's order for an intent with these terms (rounded already).

    The time in force and the account are always written out: without the one a preset of the gateway chooses it
    (10349), and without the other the default of an advisor's login does (435). Protective orders rest until they are
    cancelled, whatever the intent says, for they must outlive the day.
    """
    rests = intent.kind is IntentKind.PROTECTIVE
    return _written_out(
        terms,
        action=ACTIONS[intent.side],
        order_type=ORDER_TYPES[intent.order_type],
        time_in_force="GTC" if rests else TIMES_IN_FORCE[intent.time_in_force],
        account=account,
        order_ref=intent.order_ref,
        group=intent.oca_group,
    )


def wrong(intent: Intent) -> str:
    """Why an intent cannot be an order at all; empty: it can. Nothing is sent of one that cannot."""
    if not intent.quantity > 0:
        return f"quantity {intent.quantity:f} is not positive"
    if intent.order_type is OrderType.LIMIT and not (intent.limit_price and intent.limit_price > 0):
        return "a Limit order needs its price"
    if intent.order_type is OrderType.STOP and not (intent.stop_price and intent.stop_price > 0):
        return "a Stop order needs its price"
    return ""


def wrong_terms(order_type: str, terms: OrderTerms) -> str:
    """Why an order of this type cannot have these terms; empty: it can."""
    if not terms.quantity > 0:
        return f"the quantity cannot be {terms.quantity:f}"
    names = {spelled: kind.value for kind, spelled in ORDER_TYPES.items()}
    if order_type not in names:
        return f"an order of type {order_type} is not ours to change"
    wants = {"LMT": (True, False), "STP": (False, True)}.get(order_type, (False, False))
    has = tuple(price is not None and price > 0 for price in (terms.limit_price, terms.stop_price))
    given = (terms.limit_price is not None, terms.stop_price is not None)
    if has != wants or given != wants:
        return f"the prices do not fit a {names[order_type]} order"
    return ""


def changed_fields(order: OrderShape, terms: OrderTerms) -> dict[str, Any]:
    """The library's order for new terms of one that works. A change repeats the whole order: what was left out would be
    taken back. Only what our orders have is repeated, as an echo carries values that the gateway refuses from us.
    """
    return _written_out(
        terms,
        action=order.action,
        order_type=order.orderType,
        time_in_force=order.tif,
        account=order.account,
        order_ref=order.orderRef,
        group=order.ocaGroup,
    )


def _written_out(
    terms: OrderTerms, *, action: str, order_type: str, time_in_force: str, account: str, order_ref: str, group: str
) -> dict[str, Any]:
    """All that an order of ours says: the same when it is placed and when it is changed."""
    fields: dict[str, Any] = {
        "action": action,
        "totalQuantity": plain(terms.quantity),
        "orderType": order_type,
        "tif": time_in_force,
        "account": account,
        "orderRef": order_ref,
        "transmit": True,
        "outsideRth": False,
    }
    if terms.limit_price is not None:
        fields["lmtPrice"] = plain(terms.limit_price)
    if terms.stop_price is not None:
        fields["auxPrice"] = plain(terms.stop_price)
    if group:
        fields |= {"ocaGroup": group, "ocaType": OCA_CANCEL_ALL}
    return fields


# --- orders in -------------------------------------------------------------------------------------------------------


def terms_of(order: OrderShape) -> OrderTerms | None:
    """The terms that an order's echo names; None where it names no quantity, as of completed orders."""
    total = quantity(order.totalQuantity)
    if total <= 0:
        total = quantity(order.filledQuantity)  # the gateway writes 0 for a completed order, and what was filled
    if total <= 0:
        return None
    limit, stop = number(order.lmtPrice), number(order.auxPrice)
    has_limit = order.orderType in {"LMT", "STP LMT", "LOC", "LIT", "TRAIL LIMIT"}
    has_stop = order.orderType in {"STP", "STP LMT", "MIT", "LIT"}
    return OrderTerms(
        total,
        None if limit is None or not has_limit else plain(limit.normalize()),
        None if stop is None or not has_stop else plain(stop.normalize()),
    )


def state_of(status: str) -> IntentState | None:
    """What a status says for certain; None: nothing (Inactive, and any that we do not know)."""
    if status in WORKING:
        return IntentState.WORKING
    return OVER.get(status)


# --- executions ------------------------------------------------------------------------------------------------------

_CORRECTED = re.compile(r"^(?P<base>.+\..+)\.(?P<revision>\d{2})$")


@dataclass(frozen=True, slots=True)
class ExecutionId:
    """`base` names the execution; `revision` counts its corrections, each of which replaces the one before."""

    base: str
    revision: int


def execution_id(text: str) -> ExecutionId:
    """IBKR corrects an execution by sending it again with another number after the last period (.01, .02)."""
    found = _CORRECTED.match(text)
    return ExecutionId(text, 1) if found is None else ExecutionId(found["base"], int(found["revision"]))


def execution_side(execution: ExecutionShape) -> Side:
    """BOT and SLD. Raises KeyError for anything else."""
    return SIDES[execution.side.upper()]
