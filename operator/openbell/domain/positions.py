"""Positions: lots that one strategy owns in one symbol, and the policy by which they are left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from openbell.domain.money import ZERO
from openbell.domain.records import quick


@dataclass(frozen=True, slots=True)
class TrailingStop:
    """Active once profit has reached `activation`; then leaves at `distance` below the best price (ratios)."""

    activation: float
    distance: float


@dataclass(frozen=True, slots=True)
class ScaleOut:
    """One rung: at this profit (ratio of the entry price), this fraction of what was opened is left."""

    profit: float
    fraction: float


@dataclass(frozen=True, slots=True)
class Escalation:
    """An exit without haste is first a limit order for so many seconds, so far through the touch; then a market one."""

    limit_seconds: int
    limit_offset_bps: float = 0.0


@dataclass(frozen=True, slots=True)
class ExitPolicy:
    """When and how a position is left. Ratios of the entry price; None or 0 seconds = this rule is off.

    `scale_out` rungs ascend in profit, and their fractions come to less than 1. `broker_side`: a stop (and a target)
    rests at the broker beside the lot. `stop_price` is one that its strategy has tightened the stop to; the tighter of
    both holds.
    """

    stop_loss: float | None = 0.02
    take_profit: float | None = 0.04
    trailing: TrailingStop | None = None
    max_holding_seconds: int = 0
    flat_before_close_seconds: int = 0
    scale_out: tuple[ScaleOut, ...] = ()
    escalation: Escalation | None = None
    broker_side: bool = False
    stop_price: Decimal | None = None


@quick
@dataclass(frozen=True, slots=True)
class Position:
    """An open lot of one strategy. `quantity` is signed (short < 0); prices in account currency.

    `best_price` is the most favourable price seen since the entry, which trailing stops hang from.
    `exit_sequence` counts the exits ever tried and `protection_revision` the protective orders, so that each has an
    identity of its own. `opened_quantity` and
    `opened_notional` sum the entry fills (positive), `closed_notional` the exit fills, for the round trip's record.
    """

    position_id: str
    strategy: str
    symbol: str
    quantity: Decimal
    average_price: Decimal
    opened_at: datetime
    policy: ExitPolicy
    best_price: Decimal
    exit_sequence: int = 0
    realized_pnl: Decimal = ZERO
    fees: Decimal = ZERO
    opened_quantity: Decimal = ZERO
    opened_notional: Decimal = ZERO
    closed_notional: Decimal = ZERO
    protection_revision: int = 0

    @property
    def is_open(self) -> bool:
        return self.quantity != 0

    @property
    def is_long(self) -> bool:
        return self.quantity > 0

    def unrealized_pnl(self, at_price: Decimal) -> Decimal:
        return (at_price - self.average_price) * self.quantity


@quick
@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """A round trip: what was opened and when, how it was left and why, after fees."""

    position_id: str
    strategy: str
    symbol: str
    quantity: Decimal  # of the whole round trip, signed as it was opened
    entry_time: datetime
    entry_price: Decimal
    exit_time: datetime
    exit_price: Decimal
    exit_reason: str
    pnl: Decimal
    fees: Decimal


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """What the broker says the account holds in one symbol (signed)."""

    symbol: str
    quantity: Decimal
    average_price: Decimal
