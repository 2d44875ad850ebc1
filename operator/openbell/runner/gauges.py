"""What the gauges show of a runner, set every few seconds. What is not known is NaN, never zero."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from openbell.domain.limits import LockScope
from openbell.runner.ledger import Ledger
from openbell.runner.locking import Locking
from openbell.runner.situation import Situation
from openbell.telemetry.metrics import RunnerMetrics

NAN = float("nan")


def tell_gauges(metrics: RunnerMetrics, situation: Situation, locking: Locking, now: datetime) -> None:
    """Set every gauge that is read from the runner's state."""
    ledger, day = situation.ledger, situation.pnl_day()
    if ledger.account is not None:
        metrics.equity.set(float(ledger.account.equity))
    if day is not None:
        metrics.pnl_day.set(float(day))
    metrics.pnl_total.set(float(situation.pnl_total()))
    metrics.open_positions.set(len(ledger.positions))
    protected = sum(situation.desk.is_protected(position_id) for position_id in ledger.positions)
    metrics.protected_positions.set(protected)
    metrics.drawdown_ratio.set(_or_nan(drawdown(ledger)))
    metrics.settled_cash.set(_or_nan(settled_cash(ledger)))
    active = [lock.scope for lock in locking.active()]
    for scope in LockScope:
        metrics.locks.labels(scope.value).set(active.count(scope))
    newest = situation.data.newest
    if newest is not None:
        metrics.data_age_seconds.set(max(0.0, (now - newest).total_seconds()))


def drawdown(ledger: Ledger) -> float | None:
    """How far the equity is below its highest, as a ratio of that; None where either is not known."""
    peak, account = ledger.peak_equity, ledger.account
    if account is None or peak is None or peak <= 0:
        return None
    return max(0.0, float(1 - account.equity / peak))


def settled_cash(ledger: Ledger) -> Decimal | None:
    """Settled money of a cash account, by the smaller figure of ours and the broker's; None for any other account."""
    if ledger.settlement is None:
        return None
    at_broker = ledger.account.settled_cash if ledger.account is not None else None
    return ledger.settlement.settled if at_broker is None else min(ledger.settlement.settled, at_broker)


def _or_nan(value: Decimal | float | None) -> float:
    return NAN if value is None else float(value)
