"""What the rules see of this runner: the account, the book, what was traded lately, locks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from openbell.domain.money import ZERO
from openbell.domain.orders import IntentKind, IntentState, Side
from openbell.journal import IntentRecord
from openbell.risk.frequency import MINUTE
from openbell.risk.view import RiskLimits, RiskView, WorkingEntry
from openbell.runner.desk import Desk
from openbell.runner.ledger import Ledger
from openbell.runner.situation import Situation, open_seconds


def risk_view(situation: Situation, limits: RiskLimits, now: datetime) -> RiskView:
    """The state that this tick's entries are judged against. What no limit asks for is left out."""
    ledger, desk = situation.ledger, situation.desk
    account, positions = ledger.account, ledger.open_positions()
    day_start = ledger.day_start or now
    working = tuple(_working_entries(desk))
    book = situation.account_book
    return RiskView(
        now=now,
        day_start=day_start,
        equity=account.equity if account else ZERO,
        day_start_equity=ledger.day_start_equity or ZERO,
        realized_today=ledger.realized_today,
        buying_power=account.buying_power if account else ZERO,
        positions=positions,
        working_entries=working,
        order_times=tuple(ledger.order_times),
        reserved=sum((intent.quantity * intent.reference_price for intent in desk.working_entries()), ZERO),
        prices=MappingProxyType(
            {p.symbol: price for p in positions if (price := ledger.price_of(p.symbol)) is not None}
        ),
        peak_equity=ledger.peak_equity,
        strategy_order_times=_strategy_order_times(ledger, now) if limits.strategy_orders_per_minute else _NOTHING,
        last_exits=last_exits(ledger, now, limits.symbol_cooldown_seconds),
        last_orders=last_orders(ledger, now, limits.opposite_order_seconds),
        round_trips_today=_round_trips(ledger, day_start) if limits.max_round_trips_per_day else 0,
        locks=tuple(lock for lock in ledger.locks.values() if lock.is_active(now)),
        settlement=book.settlement(now, working) if book else None,
        day_trading=book.day_trading(now, working) if book else None,
    )


_NOTHING: Mapping[str, tuple[datetime, ...]] = MappingProxyType({})


def price_ages(situation: Situation, symbols: Iterable[str], now: datetime) -> Mapping[str, float]:
    """How old the last price of each symbol is, in seconds of open market; a symbol without one is left out."""
    quotes = situation.ledger.quotes
    return MappingProxyType(
        {
            symbol: open_seconds(situation.calendar, quotes[symbol].time, now, hours_only=situation.hours_only)
            for symbol in symbols
            if symbol in quotes
        }
    )


def last_exits(ledger: Ledger, now: datetime, seconds: int) -> Mapping[str, datetime]:
    """When each symbol was last left, within so many seconds."""
    since = now - timedelta(seconds=seconds)
    exits: dict[str, datetime] = {}
    for trade in ledger.trades if seconds else ():  # a fill that was missed is booked later than newer ones
        if trade.exit_time > since:
            exits[trade.symbol] = max(trade.exit_time, exits.get(trade.symbol, trade.exit_time))
    return MappingProxyType(exits)


def last_orders(ledger: Ledger, now: datetime, seconds: int) -> Mapping[tuple[str, Side], datetime]:
    """When the last order of each symbol and side was made, within so many seconds."""
    orders: dict[tuple[str, Side], datetime] = {}
    for record, moment in _orders_since(ledger, now - timedelta(seconds=seconds)) if seconds else ():
        key = (record.intent.symbol, record.intent.side)
        orders[key] = max(moment, orders.get(key, moment))
    return MappingProxyType(orders)


def _round_trips(ledger: Ledger, since: datetime) -> int:
    return sum(1 for trade in ledger.trades if trade.exit_time >= since)


def _strategy_order_times(ledger: Ledger, now: datetime) -> Mapping[str, tuple[datetime, ...]]:
    times: dict[str, tuple[datetime, ...]] = {}
    for record, moment in _orders_since(ledger, now - MINUTE):
        strategy = record.intent.strategy
        times[strategy] = (*times.get(strategy, ()), moment)
    return MappingProxyType(times)


def _orders_since(ledger: Ledger, since: datetime) -> Iterator[tuple[IntentRecord, datetime]]:
    """Orders made after a time, and when. One that was never handed over was none, one that rests is none yet."""
    for record in ledger.orders.values():
        rests = record.intent.kind is IntentKind.PROTECTIVE
        moment = record.updated_at if rests else record.intent.created_at
        if moment > since and record.state is not IntentState.WITHDRAWN and not (rests and record.filled == ZERO):
            yield record, moment


def _working_entries(desk: Desk) -> Iterator[WorkingEntry]:
    for flying in desk.in_flight.values():
        intent = flying.intent
        if intent.kind is IntentKind.ENTRY:
            left: Decimal = max(intent.quantity - flying.record.filled, ZERO)
            yield WorkingEntry(
                intent.position_id, intent.strategy, intent.symbol, intent.side, left * intent.reference_price
            )
