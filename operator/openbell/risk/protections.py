"""Protections: what happened lately makes locks. Pure; the same trades and times always give the same locks.

The kinds are those that traders know from freqtrade's protections; a lock of ours has a lasting id instead, so that
one that a person lifted is not made again by the same trades.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from openbell.domain.limits import LockScope
from openbell.domain.money import ZERO, cents
from openbell.domain.positions import ClosedTrade
from openbell.domain.reasons import ExitReason, Reason
from openbell.risk.locks import Lock, lock_id

STOPS = frozenset({ExitReason.STOP_LOSS.value, ExitReason.TRAILING_STOP.value})


@dataclass(frozen=True, slots=True)
class Finding:
    """What speaks for a lock; `newest` is the trade that completed it, from which the lock lasts."""

    reason: Reason
    detail: str
    newest: ClosedTrade


@dataclass(frozen=True, slots=True)
class StopLossGuard:
    """Lock after `stops` losing exits by a stop within the lookback; a trailing stop in profit is none."""

    lookback_seconds: int
    lock_seconds: int
    stops: int
    scope: LockScope = LockScope.GLOBAL

    def judge(self, trades: Sequence[ClosedTrade], equity: Decimal | None) -> Finding | None:
        lost = [trade for trade in trades if trade.exit_reason in STOPS and trade.pnl < 0]
        if len(lost) < self.stops:
            return None
        return Finding(Reason.STOP_LOSS_GUARD, f"{len(lost)} losing stops within {self.lookback_seconds} s", lost[-1])


@dataclass(frozen=True, slots=True)
class DrawdownGuard:
    """Lock when the equity line of the closed trades of the lookback fell by a fraction of its highest point.

    The line begins at today's equity less what these trades brought; fewer than `least_trades` make no line.
    """

    lookback_seconds: int
    lock_seconds: int
    max_fraction: float
    least_trades: int = 1
    scope: LockScope = LockScope.GLOBAL

    def judge(self, trades: Sequence[ClosedTrade], equity: Decimal | None) -> Finding | None:
        if equity is None or len(trades) < self.least_trades:
            return None
        line = peak = equity - sum((trade.pnl for trade in trades), ZERO)
        worst = ZERO
        for trade in trades:
            line += trade.pnl
            peak = max(peak, line)
            if peak > 0:
                worst = max(worst, (peak - line) / peak)
        if worst < Decimal(repr(self.max_fraction)):
            return None
        return Finding(Reason.DRAWDOWN_GUARD, f"closed trades fell {worst:.1%} from their highest point", trades[-1])


@dataclass(frozen=True, slots=True)
class LowProfit:
    """Lock when the profit of the lookback, as a ratio of what its entries cost, is below `required`."""

    lookback_seconds: int
    lock_seconds: int
    required: float
    least_trades: int = 1
    scope: LockScope = LockScope.SYMBOL

    def judge(self, trades: Sequence[ClosedTrade], equity: Decimal | None) -> Finding | None:
        invested = sum((abs(trade.quantity) * trade.entry_price for trade in trades), ZERO)
        if len(trades) < self.least_trades or invested <= 0:
            return None
        profit = sum((trade.pnl for trade in trades), ZERO)
        if profit / invested >= Decimal(repr(self.required)):
            return None
        detail = f"{len(trades)} trades brought {cents(profit)}, less than {self.required:.2%} of cost"
        return Finding(Reason.LOW_PROFIT, detail, trades[-1])


@dataclass(frozen=True, slots=True)
class Cooldown:
    """Lock for a while after each exit."""

    lock_seconds: int
    scope: LockScope = LockScope.SYMBOL

    @property
    def lookback_seconds(self) -> int:
        """An exit longer ago than the lock lasts makes none."""
        return self.lock_seconds

    def judge(self, trades: Sequence[ClosedTrade], equity: Decimal | None) -> Finding | None:
        return Finding(Reason.COOLDOWN, f"{trades[-1].symbol} was left", trades[-1]) if trades else None


Protection: TypeAlias = StopLossGuard | DrawdownGuard | LowProfit | Cooldown


def locks_due(
    trades: Iterable[ClosedTrade],
    protections: Sequence[Protection],
    now: datetime,
    existing: Iterable[Lock],
    *,
    equity: Decimal | None = None,
) -> tuple[Lock, ...]:
    """The locks that these trades ask for now and that do not exist yet.

    A lock begins with the newest trade behind it and lasts `lock_seconds` from there. Trades up to the time when a
    person lifted a protection's lock of a subject do not count for it again. `equity` (None: not known) is what
    DrawdownGuard needs.
    """
    kept = tuple(existing)
    known = {lock.lock_id for lock in kept}
    closed = sorted((trade for trade in trades if trade.exit_time <= now), key=lambda t: (t.exit_time, t.position_id))
    due: list[Lock] = []
    for place, protection in enumerate(protections):
        made_by = f"{type(protection).__name__}#{place}"
        for subject in sorted({_subject(protection.scope, trade) for trade in closed}):
            begins = max(
                (now - timedelta(seconds=protection.lookback_seconds), *_lifted(kept, made_by, protection, subject))
            )
            counted = [t for t in closed if t.exit_time > begins and _subject(protection.scope, t) == subject]
            found = protection.judge(counted, equity)
            if found is None:
                continue
            newest = found.newest
            until = newest.exit_time + timedelta(seconds=protection.lock_seconds)
            name = lock_id(made_by, protection.scope.value, subject, newest.position_id, newest.exit_time.isoformat())
            if until <= now or name in known:
                continue
            due.append(
                Lock(name, protection.scope, subject, found.reason, found.detail, newest.exit_time, until, made_by)
            )
    return tuple(due)


def longest_lookback(protections: Iterable[Protection]) -> timedelta:
    """How far back trades can still make a lock."""
    return timedelta(seconds=max((protection.lookback_seconds for protection in protections), default=0))


def _subject(scope: LockScope, trade: ClosedTrade) -> str:
    return {LockScope.GLOBAL: "", LockScope.SYMBOL: trade.symbol, LockScope.STRATEGY: trade.strategy}[scope]


def _lifted(locks: Iterable[Lock], made_by: str, protection: Protection, subject: str) -> Iterator[datetime]:
    for lock in locks:
        same = lock.made_by == made_by and lock.scope is protection.scope and lock.subject == subject
        if same and lock.lifted_at is not None:
            yield lock.lifted_at
