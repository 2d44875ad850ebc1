"""The view of the rules, put together from what is known. One way for a runner and for a backtest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

from openbell.domain.money import ZERO
from openbell.risk.account_state import AccountState
from openbell.risk.locks import Lock
from openbell.risk.protections import Protection, locks_due, longest_lookback
from openbell.risk.recent import NOTHING, Known, Working, entries, last_exits, last_orders, strategy_order_times
from openbell.risk.view import RiskLimits, RiskView, WorkingEntry

_NO_PRICES: Mapping[str, Decimal] = MappingProxyType({})


def view_of(
    known: Known, working: Iterable[Working], state: AccountState | None, limits: RiskLimits, now: datetime
) -> RiskView:
    """The state that entries are judged against now. `working` are all orders under way.

    What no limit asks for is left out.
    """
    account, positions = known.account, known.open_positions()
    day_start = known.day_start or now
    opening = tuple(entries(working))
    waiting = tuple(
        WorkingEntry(each.position_id, each.strategy, each.symbol, each.side, left * each.reference_price)
        for each, left in opening
    )
    prices = {each.symbol: at for each in positions if (at := known.price_of(each.symbol)) is not None}
    return RiskView(
        now=now,
        day_start=day_start,
        equity=account.equity if account else ZERO,
        day_start_equity=known.day_start_equity or ZERO,
        realized_today=known.realized_today,
        buying_power=account.buying_power if account else ZERO,
        positions=positions,
        working_entries=waiting,
        order_times=tuple(known.order_times),
        reserved=sum((each.quantity * each.reference_price for each, _ in opening), ZERO),
        prices=MappingProxyType(prices) if prices else _NO_PRICES,
        peak_equity=known.peak_equity,
        strategy_order_times=strategy_order_times(known, now) if limits.strategy_orders_per_minute else NOTHING,
        last_exits=last_exits(known, now, limits.symbol_cooldown_seconds),
        last_orders=last_orders(known, now, limits.opposite_order_seconds),
        round_trips_today=sum(1 for _ in known.trades_since(day_start)) if limits.max_round_trips_per_day else 0,
        locks=tuple(lock for lock in known.locks.values() if lock.is_active(now)),
        settlement=state.settlement_view(now, waiting) if state else None,
        day_trading=state.day_trading_view(now, waiting) if state else None,
    )


def review(known: Known, protections: tuple[Protection, ...], now: datetime) -> tuple[Lock, ...]:
    """Make the locks that are due now; says which are new."""
    if not protections:
        return ()
    trades = known.trades_since(now - longest_lookback(protections))
    equity = known.account.equity if known.account else None
    due = locks_due(trades, protections, now, known.locks.values(), equity=equity)
    for lock in due:
        known.locks[lock.lock_id] = lock
    return due


def is_new_peak(known: Known, equity: Decimal) -> bool:
    """Whether an equity that was read is the highest."""
    return equity > 0 and (known.peak_equity is None or equity > known.peak_equity)
