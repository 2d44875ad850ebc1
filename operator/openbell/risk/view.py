"""What the rules look at: a candidate for an entry, the limits, and the state of account and book."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

from openbell.domain.money import ZERO
from openbell.domain.orders import Side
from openbell.domain.positions import Position
from openbell.domain.records import quick
from openbell.risk.day_trading import DayTradingLimits, DayTradingView
from openbell.risk.locks import Lock
from openbell.risk.settled_cash import SettlementLimits, SettlementView
from openbell.risk.verdict import Allow, Deny, Verdict

__all__ = ["Allow", "Candidate", "Deny", "RiskLimits", "RiskView", "Verdict", "WorkingEntry", "reserve"]

_NONE: Mapping[str, Decimal] = MappingProxyType({})


@quick
@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry that is about to become an intent. `price` is the one it was sized with, in account currency.

    `data_age_seconds` is how old that price is, in seconds of open market; None where that is not asked.
    """

    strategy: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    position_id: str
    data_age_seconds: float | None = None

    @property
    def notional(self) -> Decimal:
        return self.quantity * self.price


@quick
@dataclass(frozen=True, slots=True)
class WorkingEntry:
    """An entry that is decided and not final: perhaps at the broker, perhaps partly filled.

    `notional` is the worth of what may still be filled of it.
    """

    position_id: str
    strategy: str
    symbol: str
    side: Side
    notional: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """Money in account currency; fractions are ratios of equity (`max_daily_loss_fraction`: of the day's first).

    `strategy_max_trades` holds the limits of single strategies; one that is not named has no limit of its own.
    A limit of 0 seconds, 0 round trips or 0 orders of a strategy is none, and so are fractions of None.
    """

    allow_short: bool = False
    max_concurrent_trades: int = 5
    strategy_max_trades: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    max_order_notional: Decimal = Decimal(50000)
    max_daily_loss_fraction: float = 0.05
    max_orders_per_minute: int = 30
    max_orders_per_day: int = 500
    max_symbol_exposure: float | None = None
    max_gross_exposure: float | None = None
    max_drawdown_fraction: float | None = None
    max_data_age_seconds: int = 0
    symbol_cooldown_seconds: int = 0
    opposite_order_seconds: int = 0
    max_round_trips_per_day: int = 0
    strategy_orders_per_minute: int = 0
    settlement: SettlementLimits = field(default_factory=SettlementLimits)
    day_trading: DayTradingLimits = field(default_factory=DayTradingLimits)


@quick
@dataclass(frozen=True, slots=True)
class RiskView:
    """The state that an entry is judged against.

    `day_start` is when the trading day began, `day_start_equity` the equity then, `realized_today` the profit
    after fees since then. `order_times` are the times of all orders, entries and exits, since `day_start` or the
    last minute, whichever reaches further back; `strategy_order_times` the same of each strategy for the last
    minute. `reserved` is what entries that the account's buying power does not show yet will need. `prices` are the
    last ones by symbol: a position without one counts at its average price. `peak_equity` is the highest equity
    that the drawdown is measured from, None where there is none yet. `last_exits` has the time of each symbol's
    last exit, `last_orders` that of the last order by symbol and side, `round_trips_today` how many positions
    became flat since `day_start`.
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
    prices: Mapping[str, Decimal] = field(default_factory=lambda: _NONE)
    peak_equity: Decimal | None = None
    strategy_order_times: Mapping[str, tuple[datetime, ...]] = field(default_factory=lambda: MappingProxyType({}))
    last_exits: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    last_orders: Mapping[tuple[str, Side], datetime] = field(default_factory=lambda: MappingProxyType({}))
    round_trips_today: int = 0
    locks: tuple[Lock, ...] = ()
    settlement: SettlementView | None = None
    day_trading: DayTradingView | None = None


def reserve(view: RiskView, candidate: Candidate) -> RiskView:
    """The view for the next candidate of the same tick, after this one was allowed."""
    entry = WorkingEntry(
        candidate.position_id, candidate.strategy, candidate.symbol, candidate.side, candidate.notional
    )
    of_strategy = view.strategy_order_times.get(candidate.strategy, ())
    return replace(
        view,
        working_entries=(*view.working_entries, entry),
        order_times=(*view.order_times, view.now),
        reserved=view.reserved + candidate.notional,
        strategy_order_times=MappingProxyType(
            {**view.strategy_order_times, candidate.strategy: (*of_strategy, view.now)}
        ),
        last_orders=MappingProxyType({**view.last_orders, (candidate.symbol, candidate.side): view.now}),
        settlement=view.settlement and view.settlement.after_buy(candidate.notional),
        day_trading=view.day_trading and view.day_trading.after_opening(candidate.symbol, candidate.notional),
    )
