"""Intents (what was decided), orders (what the broker has of it) and fills (what came of it)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from openbell.domain.money import ZERO
from openbell.domain.records import quick


class Side(StrEnum):
    BUY = "Buy"
    SELL = "Sell"

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    MARKET = "Market"
    LIMIT = "Limit"
    STOP = "Stop"


class TimeInForce(StrEnum):
    DAY = "Day"
    GTC = "GTC"
    IOC = "IOC"


class IntentKind(StrEnum):
    """Entry opens or increases; Exit and Protective only ever reduce.

    An exit leaves now; a protective order rests at the broker beside an open lot, for the time when nobody watches.
    """

    ENTRY = "Entry"
    EXIT = "Exit"
    PROTECTIVE = "Protective"


class IntentState(StrEnum):
    """A life of an intent. Only a definite word of the broker makes it final; a timeout makes it Doubtful."""

    INTENDED = "Intended"  # persisted; perhaps sent, perhaps not
    DOUBTFUL = "Doubtful"  # handed over, and the broker has not answered for certain
    WORKING = "Working"  # acknowledged, may be partly filled
    FILLED = "Filled"
    CANCELLED = "Cancelled"  # confirmed, perhaps with a partial fill
    REJECTED = "Rejected"  # refused by the broker for certain
    WITHDRAWN = "Withdrawn"  # never handed over, and known not to be at the broker

    @property
    def is_final(self) -> bool:
        return self in FINAL_STATES


FINAL_STATES = frozenset({IntentState.FILLED, IntentState.CANCELLED, IntentState.REJECTED, IntentState.WITHDRAWN})


@quick
@dataclass(frozen=True, slots=True)
class OrderTerms:
    """What can be changed of an order while it works. `quantity` is all of it, what was filled included."""

    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


@quick
@dataclass(frozen=True, slots=True)
class Intent:
    """One decision to trade, written to the journal before anything is sent.

    `order_ref` is its identity everywhere (see `identity`); `quantity` is positive, `side` gives the
    direction; `position_id` names the position it opens (entry) or reduces (exit). Of the orders that
    share an `oca_group` (one cancels all) at most one is ever filled; empty: it is in none.
    """

    order_ref: str
    kind: IntentKind
    strategy: str
    symbol: str
    side: Side
    quantity: Decimal
    position_id: str
    reason: str
    bar_time: datetime
    created_at: datetime
    epoch: int
    reference_price: Decimal
    order_type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    exits: str = ""  # the position's exit policy as canonical JSON, so that a restart keeps it
    confidence: float = 0.0
    oca_group: str = ""

    @property
    def terms(self) -> OrderTerms:
        """What of it can be changed."""
        return OrderTerms(self.quantity, self.limit_price, self.stop_price)


@quick
@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """What the broker says of one order. `filled_quantity` is cumulative.

    `terms` are those that the order has there now, also where they were changed since it was sent (None: not told).
    """

    order_ref: str
    state: IntentState
    broker_order_id: str
    filled_quantity: Decimal = ZERO
    average_price: Decimal = ZERO
    detail: str = ""
    terms: OrderTerms | None = None
    oca_group: str = ""


@quick
@dataclass(frozen=True, slots=True)
class Fill:
    """One execution; `execution_id` is the broker's and unique, which is what fills are deduplicated by."""

    execution_id: str
    order_ref: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    commission: Decimal
    time: datetime
