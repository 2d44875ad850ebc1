"""The memory of whoever trades, filled by hand, and a venue whose business days are the weekdays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from openbell.domain.account import Account
from openbell.domain.errors import CalendarError
from openbell.domain.money import ZERO
from openbell.domain.orders import Intent
from openbell.domain.positions import ClosedTrade, Position
from openbell.risk.locks import Lock
from openbell.risk.settlement import SettlementLedger


@dataclass
class Memory:
    """What is known: nothing, but for what a test names."""

    account: Account | None = None
    day_start: datetime | None = None
    day_start_equity: Decimal | None = None
    realized_today: Decimal = ZERO
    peak_equity: Decimal | None = None
    order_times: tuple[datetime, ...] = ()
    positions: tuple[Position, ...] = ()
    prices: dict[str, Decimal] = field(default_factory=dict)
    trades: tuple[ClosedTrade, ...] = ()
    orders: tuple[tuple[Intent, datetime], ...] = ()
    locks: dict[str, Lock] = field(default_factory=dict)
    settlement: SettlementLedger | None = None

    def open_positions(self) -> tuple[Position, ...]:
        return self.positions

    def price_of(self, symbol: str) -> Decimal | None:
        return self.prices.get(symbol)

    def trades_since(self, moment: datetime) -> Iterable[ClosedTrade]:
        return (trade for trade in self.trades if trade.exit_time >= moment)

    def orders_since(self, moment: datetime) -> Iterable[tuple[Intent, datetime]]:
        return (order for order in self.orders if order[1] > moment)


class Weekdays:
    """Trades settle one weekday later. From `unknown_from` on, no date is known."""

    def __init__(self, unknown_from: date = date.max) -> None:
        self.unknown_from = unknown_from

    def trade_date(self, moment: datetime) -> date:
        return self._known(moment.date())

    def settles_on(self, trade_date: date) -> date:
        return self.business_day_after(trade_date, 1)

    def business_days(self, today: date) -> tuple[date, ...]:
        days = [self._known(today)]
        while len(days) < 5:
            before = days[0] - timedelta(days=1)
            while before.weekday() > 4:
                before -= timedelta(days=1)
            days.insert(0, before)
        return tuple(days)

    def business_day_after(self, day: date, count: int) -> date:
        while count:
            day += timedelta(days=1)
            count -= day.weekday() < 5
        return self._known(day)

    def next_business_day(self, today: date) -> date | None:
        return self.business_day_after(today, 1)

    def _known(self, day: date) -> date:
        if day >= self.unknown_from:
            raise CalendarError(f"the calendar ends before {day}")
        return day
