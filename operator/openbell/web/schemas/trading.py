"""What was decided and what came of it: signals, decisions, orders, fills, a replay."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from openbell.domain.orders import IntentKind, IntentState, Side
from openbell.domain.reasons import Reason, reason_text
from openbell.domain.signals import Action
from openbell.engine.trail import Run, TrailKind
from openbell.web.schemas.base import Answer, Body, Money
from openbell.web.values import (
    SignalView,
)


class Signal(Body):
    """A strategy's opinion and what became of it."""

    strategy: str
    symbol: str
    action: Action
    confidence: float
    bar_time: datetime
    decided_at: datetime
    reason: str = Field(description="What the strategy said.")
    decision: Reason = Field(description="What was done, or why nothing was.")
    decision_text: str = Field(description="The decision in words.")
    detail: str


class Decision(Body):
    """Why something was or was not done, for as many ticks in a row as it stayed the same."""

    strategy: str
    symbol: str
    kind: TrailKind = Field(description="Entry: a strategy was asked. Exit: one of its positions was looked at.")
    reason: str = Field(description="A reason of an entry, of an exit, or HOLD, NO_PRICE, LEAVING, GONE.")
    reason_text: str = Field(description="The reason in words.")
    detail: str = Field(description="The numbers of the newest of these ticks in one clause, empty for none.")
    order_ref: str | None = Field(description="The order that was decided; null for none.")
    since: datetime
    until: datetime
    count: int = Field(description="Ticks in a row.")


class Order(Body):
    """An intent and what the broker made of it."""

    order_ref: str
    kind: IntentKind
    strategy: str
    symbol: str
    side: Side
    quantity: Money
    filled_quantity: Money
    average_price: Money | None
    state: IntentState
    reason: str
    created_at: datetime
    broker_order_id: str
    detail: str


class Trade(Body):
    """One fill; `pnl` is set, after fees, when it closed the position."""

    execution_id: str
    order_ref: str
    kind: IntentKind
    strategy: str
    symbol: str
    side: Side
    quantity: Money
    price: Money
    commission: Money
    time: datetime
    reason: str
    pnl: Money | None


class Replay(Body):
    """How far a replay is."""

    finished: bool
    trades: int
    digest: str


class SignalList(Answer):
    signals: list[Signal]


class DecisionList(Answer):
    decisions: list[Decision]


class OrderList(Answer):
    orders: list[Order]


class OrderAnswer(Answer):
    order: Order


class ReplayAnswer(Replay):
    status: Literal["success"] = "success"


def signal_body(view: SignalView) -> Signal:
    """One signal, with its decision in words."""
    return Signal(
        strategy=view.strategy,
        symbol=view.symbol,
        action=view.action,
        confidence=view.confidence,
        bar_time=view.bar_time,
        decided_at=view.decided_at,
        reason=view.reason,
        decision=view.decision,
        decision_text=view.decision.text,
        detail=view.detail,
    )


def decision_body(run: Run) -> Decision:
    """One run of the trail, with its reason in words."""
    return Decision(
        strategy=run.strategy,
        symbol=run.symbol,
        kind=run.kind,
        reason=run.reason,
        reason_text=reason_text(run.reason),
        detail=run.detail,
        order_ref=run.order_ref or None,
        since=run.since,
        until=run.until,
        count=run.count,
    )
