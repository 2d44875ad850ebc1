"""Records of the runner as the web room shows them."""

from __future__ import annotations

from datetime import datetime

from openbell.domain.orders import Fill
from openbell.domain.signals import Signal
from openbell.journal import IntentRecord
from openbell.resources.conditions import Condition
from openbell.risk.locks import Lock
from openbell.runner.desk import Told
from openbell.runner.ledger import SignalRecord
from openbell.web.values import ConditionView, LockView, OrderView, SignalView, TradeView


def condition_view(condition: Condition, now: datetime) -> ConditionView:
    """A condition as it is shown; one that has not been applied yet has turned `now`."""
    return ConditionView(
        type=str(condition.type),
        status=condition.status.value,
        reason=condition.reason,
        message=condition.message,
        last_transition_time=condition.last_transition_time or now,
    )


def signal_view(record: SignalRecord) -> SignalView:
    """A decided signal as it is shown."""
    signal: Signal = record.signal
    return SignalView(
        strategy=signal.strategy,
        symbol=signal.symbol,
        action=signal.action,
        confidence=record.shown_confidence,
        bar_time=signal.bar_time,
        decided_at=record.time,
        reason=signal.reason,
        decision=record.reason,
        detail=record.detail,
    )


def lock_view(lock: Lock) -> LockView:
    """A lock as it is shown."""
    return LockView(
        lock_id=lock.lock_id,
        scope=lock.scope,
        subject=lock.subject,
        reason=lock.reason,
        detail=lock.detail,
        since=lock.since,
        until=lock.until,
        made_by=lock.made_by,
        lifted_at=lock.lifted_at,
        lifted_by=lock.lifted_by,
    )


def order_view(record: IntentRecord) -> OrderView:
    """An intent and its order as they are shown."""
    intent = record.intent
    return OrderView(
        order_ref=intent.order_ref,
        kind=intent.kind,
        strategy=intent.strategy,
        symbol=intent.symbol,
        side=intent.side,
        quantity=intent.quantity,
        filled_quantity=record.filled,
        state=record.state,
        reason=intent.reason,
        created_at=intent.created_at,
        average_price=record.average_price if record.filled else None,
        broker_order_id=record.broker_order_id,
        detail=record.detail,
    )


def trade_view(told: Told, fill: Fill) -> TradeView:
    """A fill as it is shown."""
    intent = told.record.intent
    return TradeView(
        execution_id=fill.execution_id,
        order_ref=fill.order_ref,
        kind=intent.kind,
        strategy=intent.strategy,
        symbol=fill.symbol,
        side=fill.side,
        quantity=fill.quantity,
        price=fill.price,
        commission=fill.commission,
        time=fill.time,
        reason=intent.reason,
        pnl=told.closed.pnl if told.closed else None,
    )
