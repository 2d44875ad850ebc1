"""What was traded lately, as the rules on pace ask for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Protocol

from openbell.domain.account import Account
from openbell.domain.money import ZERO
from openbell.domain.orders import Intent, IntentKind, Side
from openbell.domain.positions import ClosedTrade, Position
from openbell.risk.frequency import MINUTE
from openbell.risk.locks import Lock
from openbell.risk.settlement import SettlementLedger


class Known(Protocol):
    """What is known of the account and the book: the memory of whoever trades."""

    locks: dict[str, Lock]
    settlement: SettlementLedger | None

    @property
    def account(self) -> Account | None: ...

    @property
    def day_start(self) -> datetime | None: ...

    @property
    def day_start_equity(self) -> Decimal | None: ...

    @property
    def realized_today(self) -> Decimal: ...

    @property
    def peak_equity(self) -> Decimal | None: ...

    @property
    def order_times(self) -> Iterable[datetime]: ...

    def open_positions(self) -> tuple[Position, ...]: ...

    def price_of(self, symbol: str) -> Decimal | None: ...

    def trades_since(self, moment: datetime) -> Iterable[ClosedTrade]:
        """Round trips that closed at this moment or after it."""

    def orders_since(self, moment: datetime) -> Iterable[tuple[Intent, datetime]]:
        """Orders made after this moment, and when; one that was never handed over was none, one that rests is none
        yet."""


class Working(Protocol):
    """An order that is not over: its intent, and how much of it is filled."""

    @property
    def intent(self) -> Intent: ...

    @property
    def filled(self) -> Decimal: ...


NOTHING: Mapping[str, tuple[datetime, ...]] = MappingProxyType({})


def last_exits(known: Known, now: datetime, seconds: int) -> Mapping[str, datetime]:
    """When each symbol was last left, within so many seconds."""
    if not seconds:
        return MappingProxyType({})
    since = now - timedelta(seconds=seconds)
    exits: dict[str, datetime] = {}
    for trade in known.trades_since(since):  # a fill that was missed is booked later than newer ones
        if trade.exit_time > since:
            exits[trade.symbol] = max(trade.exit_time, exits.get(trade.symbol, trade.exit_time))
    return MappingProxyType(exits)


def last_orders(known: Known, now: datetime, seconds: int) -> Mapping[tuple[str, Side], datetime]:
    """When the last order of each symbol and side was made, within so many seconds."""
    orders: dict[tuple[str, Side], datetime] = {}
    for intent, moment in known.orders_since(now - timedelta(seconds=seconds)) if seconds else ():
        key = (intent.symbol, intent.side)
        orders[key] = max(moment, orders.get(key, moment))
    return MappingProxyType(orders)


def strategy_order_times(known: Known, now: datetime) -> Mapping[str, tuple[datetime, ...]]:
    """The times of each strategy's orders within the last minute."""
    times: dict[str, tuple[datetime, ...]] = {}
    for intent, moment in known.orders_since(now - MINUTE):
        times[intent.strategy] = (*times.get(intent.strategy, ()), moment)
    return MappingProxyType(times)


def entries(working: Iterable[Working]) -> Iterator[tuple[Intent, Decimal]]:
    """Entries among orders under way, each with the quantity that may still be filled."""
    for each in working:
        if each.intent.kind is IntentKind.ENTRY:
            yield each.intent, max(each.intent.quantity - each.filled, ZERO)
