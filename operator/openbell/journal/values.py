"""What the journal answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from openbell.domain.money import ZERO
from openbell.domain.orders import Fill, Intent, IntentState
from openbell.domain.positions import Position
from openbell.domain.statistics import Statistics
from openbell.engine.lots import LotEvent


@dataclass(frozen=True, slots=True)
class JournalIdentity:
    """Whose journal this is, and the highest epoch that wrote to it (0: none yet)."""

    owner_tag: str | None
    epoch: int


@dataclass(frozen=True, slots=True)
class GatewayClient:
    """Who we are to a broker's gateway: the id of our connections, and the highest order id that may be used up."""

    client_id: int
    order_id: int = 0


@dataclass(frozen=True, slots=True)
class IntentRecord:
    """An intent and what is known of its order.

    `filled` is the quantity of the fills booked here; `reported` is the cumulative quantity that the broker's
    order updates named. While reported > filled, fills are still to come or were missed.
    """

    intent: Intent
    state: IntentState
    filled: Decimal
    reported: Decimal
    average_price: Decimal
    broker_order_id: str
    detail: str
    updated_at: datetime

    @property
    def is_open(self) -> bool:
        """Whether anything of it is still to be learned from the broker."""
        return not self.state.is_final or self.expects_fills

    @property
    def expects_fills(self) -> bool:
        """Whether the broker named more than was booked, or said Filled before all fills came."""
        wanted = self.intent.quantity if self.state is IntentState.FILLED else self.reported
        return self.filled < wanted


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """All round trips of a strategy together: profit after fees, and the fees."""

    pnl: Decimal = ZERO
    fees: Decimal = ZERO

    def plus(self, pnl: Decimal, fees: Decimal) -> RoundTrips:
        """With one more."""
        return RoundTrips(self.pnl + pnl, self.fees + fees)


@dataclass(frozen=True, slots=True)
class Bookings:
    """What was booked since a time: profit at average cost after the fees since, and by position id the whole history
    of every position that is open or that anything was booked on since."""

    realized: Decimal
    histories: Mapping[str, tuple[LotEvent, ...]]


@dataclass(frozen=True, slots=True)
class StoredParameters:
    """The last good parameters of a strategy, as given."""

    type: str
    parameters: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class JournalState:
    """Everything that a runner needs to go on after a restart.

    `positions` are the open ones and those that an open intent still points at (flat, but an exit's sequence
    must go on); `fills` are those since the time asked for; `last_exits` are the newest exits of open positions.
    """

    owner_tag: str | None
    epoch: int
    open_intents: tuple[IntentRecord, ...]
    positions: tuple[Position, ...]
    statistics: Statistics
    parameters: Mapping[str, StoredParameters]
    fills_today: tuple[Fill, ...]
    last_exits: tuple[IntentRecord, ...] = ()
