"""What the rules look at: a candidate for an entry, the limits, and the state of account and book."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TypeAlias

from openbell.domain.money import ZERO
from openbell.domain.orders import Side
from openbell.domain.positions import Position
from openbell.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry that is about to become an intent. `price` is the one it was sized with, in account currency."""

    strategy: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    position_id: str

    @property
    def notional(self) -> Decimal:
        return self.quantity * self.price


@dataclass(frozen=True, slots=True)
class WorkingEntry:
    """An entry that is decided and not final: perhaps at the broker, perhaps partly filled."""

    position_id: str
    strategy: str
    symbol: str
    side: Side


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """Money in account currency; `max_daily_loss_fraction` is a ratio of the day's starting equity.

    `strategy_max_trades` holds the limits of single strategies; one that is not named has no limit of its own.
    """

    allow_short: bool = False
    max_concurrent_trades: int = 5
    strategy_max_trades: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    max_order_notional: Decimal = Decimal(50000)
    max_daily_loss_fraction: float = 0.05
    max_orders_per_minute: int = 30
    max_orders_per_day: int = 500


@dataclass(frozen=True, slots=True)
class RiskView:
    """The state that an entry is judged against.

    `day_start` is when the trading day began, `day_start_equity` the equity then, `realized_today` the profit
    after fees since then. `order_times` are the times of all orders, entries and exits, since `day_start` or the
    last minute, whichever reaches further back. `reserved` is what entries that the account's buying power does
    not show yet will need.
    """

    now: datetime
    day_start: datetime
    equity: Decimal
    day_start_equity: Decimal
    realized_today: Decimal
    buying_power: Decimal
    positions: tuple[Position, ...] = ()
    working_entries: tuple[WorkingEntry, ...] = ()
    order_times: tuple[datetime, ...] = ()
    reserved: Decimal = ZERO


def reserve(view: RiskView, candidate: Candidate) -> RiskView:
    """The view for the next candidate of the same tick, after this one was allowed."""
    entry = WorkingEntry(candidate.position_id, candidate.strategy, candidate.symbol, candidate.side)
    return replace(
        view,
        working_entries=(*view.working_entries, entry),
        order_times=(*view.order_times, view.now),
        reserved=view.reserved + candidate.notional,
    )


@dataclass(frozen=True, slots=True)
class Allow:
    """Nothing speaks against the entry."""


@dataclass(frozen=True, slots=True)
class Deny:
    """The first rule that the entry breaks; `detail` is one clause with the numbers."""

    reason: Reason
    detail: str


Verdict: TypeAlias = Allow | Deny
