"""An order: what was asked for, and how far it has come. Values; `exchange` moves them on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from openbell.gateway.contracts import Contract
from openbell.gateway.wire.fields import flag, integer, moment, number
from openbell.gateway.wire.layout import Record

ZERO = Decimal(0)


class Status(StrEnum):
    """The words that orderStatus knows."""

    HELD = "PendingSubmit"  # not transmitted yet: nobody is told
    PRE_SUBMITTED = "PreSubmitted"
    SUBMITTED = "Submitted"
    PENDING_CANCEL = "PendingCancel"
    CANCELLED = "Cancelled"
    FILLED = "Filled"
    INACTIVE = "Inactive"


OVER = frozenset({Status.CANCELLED, Status.FILLED, Status.INACTIVE})


class Kind(StrEnum):
    """The order types that are traded here."""

    MARKET = "MKT"
    LIMIT = "LMT"
    STOP = "STP"
    STOP_LIMIT = "STP LMT"
    TRAIL = "TRAIL"
    TRAIL_LIMIT = "TRAIL LIMIT"
    IF_TOUCHED = "MIT"
    LIMIT_IF_TOUCHED = "LIT"
    ON_CLOSE = "MOC"
    LIMIT_ON_CLOSE = "LOC"


WITH_LIMIT = frozenset({Kind.LIMIT, Kind.STOP_LIMIT, Kind.LIMIT_IF_TOUCHED, Kind.LIMIT_ON_CLOSE})
WITH_TRIGGER = frozenset({Kind.STOP, Kind.STOP_LIMIT, Kind.IF_TOUCHED, Kind.LIMIT_IF_TOUCHED})
TRAILING = frozenset({Kind.TRAIL, Kind.TRAIL_LIMIT})
AT_CLOSE = frozenset({Kind.ON_CLOSE, Kind.LIMIT_ON_CLOSE})
TRIGGERED = WITH_TRIGGER | TRAILING
TIMES_IN_FORCE = frozenset({"DAY", "GTC", "GTD", "IOC", "OPG", "FOK"})
# Other spellings that the official client's samples use.
_SPELLINGS = {"STPLMT": "STP LMT", "STOP": "STP", "STOP LIMIT": "STP LMT", "TRAILLMT": "TRAIL LIMIT", "MARKET": "MKT"}


@dataclass(frozen=True, slots=True)
class Terms:
    """What an order asks for. `record` holds all that it said, to be echoed."""

    action: str
    quantity: Decimal
    kind: str
    limit: Decimal | None
    aux: Decimal | None  # the trigger, or the distance that a stop trails by
    tif: str
    oca_group: str
    oca_type: int
    account: str
    order_ref: str
    transmit: bool
    parent_id: int
    outside_hours: bool
    good_after: datetime | None
    good_till: datetime | None
    all_or_none: bool
    trail_stop: Decimal | None
    trail_percent: Decimal | None
    limit_offset: Decimal | None
    what_if: bool
    record: Record

    @property
    def is_buy(self) -> bool:
        return self.action == "BUY"


def terms(record: Record) -> Terms:
    """The terms that a placeOrder's record holds. Raises FieldError for a number or time that cannot be read."""
    kind = record["orderType"].upper()
    good_till = record["goodTillDate"]
    good_after = record["goodAfterTime"]
    return Terms(
        action=record["action"].upper(),
        quantity=number(record["totalQuantity"], "totalQuantity") or ZERO,
        kind=_SPELLINGS.get(kind, kind),
        limit=number(record["lmtPrice"], "lmtPrice"),
        aux=number(record["auxPrice"], "auxPrice"),
        tif=record["tif"].upper(),
        oca_group=record["ocaGroup"],
        oca_type=integer(record["ocaType"], "ocaType"),
        account=record["account"],
        order_ref=record["orderRef"],
        transmit=flag(record["transmit"], "transmit"),
        parent_id=integer(record["parentId"], "parentId"),
        outside_hours=flag(record["outsideRth"], "outsideRth"),
        good_after=moment(good_after, "goodAfterTime") if good_after else None,
        good_till=moment(good_till, "goodTillDate") if good_till else None,
        all_or_none=flag(record["allOrNone"], "allOrNone"),
        trail_stop=number(record["trailStopPrice"], "trailStopPrice"),
        trail_percent=number(record["trailingPercent"], "trailingPercent"),
        limit_offset=number(record["lmtPriceOffset"], "lmtPriceOffset"),
        what_if=flag(record["whatIf"], "whatIf"),
        record=record,
    )


@dataclass(frozen=True, slots=True)
class Order:
    """An order at the exchange."""

    client_id: int
    order_id: int
    perm_id: int
    contract: Contract
    terms: Terms
    placed: datetime
    status: Status = Status.HELD
    filled: Decimal = ZERO
    average_price: Decimal = ZERO
    last_price: Decimal = ZERO
    reduced: Decimal = ZERO  # what a reducing OCA group took from its size
    parent_perm_id: int = 0  # of the order that has to be filled first
    oca_group: str = ""
    triggered: bool = False
    stop: Decimal | None = None  # where a trailing stop stands
    limit: Decimal | None = None  # the limit of a trailing stop, which moves with it
    auctioned: bool = False  # whether its opening auction has been
    active: bool = False  # whether it may be matched: its parent is filled, its time has come
    arrived: bool = False  # whether a quote came after it
    commission: Decimal = ZERO
    cancel_at: datetime | None = None
    completed: datetime | None = None
    completed_status: str = ""

    @property
    def size(self) -> Decimal:
        """Its quantity, less what an OCA group took."""
        return self.terms.quantity - self.reduced

    @property
    def remaining(self) -> Decimal:
        return ZERO if self.status is Status.FILLED else max(ZERO, self.size - self.filled)

    @property
    def is_over(self) -> bool:
        return self.status in OVER

    @property
    def is_working(self) -> bool:
        """Sent, and not over."""
        return self.status is not Status.HELD and not self.is_over

    @property
    def why_held(self) -> str:
        """What it waits for."""
        if not self.is_working or self.status is Status.SUBMITTED:
            return ""
        reasons = ["child"] if self.parent_perm_id and not self.active else []
        if self.terms.kind in TRIGGERED and not self.triggered:
            reasons.append("trigger")
        return ",".join(reasons)


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill, with what it cost and realised."""

    exec_id: str
    order: Order
    time: datetime
    exchange: str
    shares: Decimal
    price: Decimal
    cumulative: Decimal
    average_price: Decimal
    commission: Decimal
    realized: Decimal | None  # None where the fill opened a position

    @property
    def side(self) -> str:
        return "BOT" if self.order.terms.is_buy else "SLD"
