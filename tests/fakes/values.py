"""Small factories of domain values: a test names only what it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from openbell.domain.orders import Fill, Intent, IntentKind, IntentState, OrderUpdate, Side
from openbell.domain.positions import ClosedTrade, ExitPolicy, Position
from openbell.domain.signals import Action, Signal

T0 = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
OWNER = "rqxfrjxf"


def at(seconds: float) -> datetime:
    """A moment, `seconds` after T0."""
    return T0 + timedelta(seconds=seconds)


def ref(name: str) -> str:
    """An order reference of ours."""
    return f"ob1.{OWNER}.{name}"


def make_intent(name: str = "a", **changes: Any) -> Intent:
    """A market order to buy 10 AAPL, opening position p-<name>."""
    values: dict[str, Any] = {
        "order_ref": ref(name),
        "kind": IntentKind.ENTRY,
        "strategy": "trend",
        "symbol": "AAPL",
        "side": Side.BUY,
        "quantity": Decimal(10),
        "position_id": f"p-{name}",
        "reason": "rising",
        "bar_time": T0,
        "created_at": T0,
        "epoch": 1,
        "reference_price": Decimal("100.25"),
    }
    return Intent(**(values | changes))


def make_fill(execution_id: str = "x1", name: str = "a", **changes: Any) -> Fill:
    """Ten AAPL bought at 100 by the order <name>."""
    values: dict[str, Any] = {
        "execution_id": execution_id,
        "order_ref": ref(name),
        "symbol": "AAPL",
        "side": Side.BUY,
        "quantity": Decimal(10),
        "price": Decimal(100),
        "commission": Decimal("1.00"),
        "time": T0,
    }
    return Fill(**(values | changes))


def make_update(state: IntentState, name: str = "a", **changes: Any) -> OrderUpdate:
    """The broker's word on the order <name>."""
    return OrderUpdate(**({"order_ref": ref(name), "state": state, "broker_order_id": "b1"} | changes))


def make_position(name: str = "a", **changes: Any) -> Position:
    """Ten AAPL long at 100, opened at T0 with the default policy."""
    values: dict[str, Any] = {
        "position_id": f"p-{name}",
        "strategy": "trend",
        "symbol": "AAPL",
        "quantity": Decimal(10),
        "average_price": Decimal(100),
        "opened_at": T0,
        "policy": ExitPolicy(),
        "best_price": Decimal(100),
    }
    return Position(**(values | changes))


def make_trade(name: str = "a", **changes: Any) -> ClosedTrade:
    """Ten AAPL, in at 100 and out at 104 by the target."""
    values: dict[str, Any] = {
        "position_id": f"p-{name}",
        "strategy": "trend",
        "symbol": "AAPL",
        "quantity": Decimal(10),
        "entry_time": T0,
        "entry_price": Decimal(100),
        "exit_time": at(60),
        "exit_price": Decimal(104),
        "exit_reason": "TAKE_PROFIT",
        "pnl": Decimal(38),
        "fees": Decimal(2),
    }
    return ClosedTrade(**(values | changes))


def make_signal(**changes: Any) -> Signal:
    """Buy AAPL with confidence 0.8, formed at T0 and alive for a minute."""
    values: dict[str, Any] = {
        "strategy": "trend",
        "symbol": "AAPL",
        "action": Action.BUY,
        "confidence": 0.8,
        "bar_time": T0,
        "valid_until": at(60),
        "reason": "rising",
    }
    return Signal(**(values | changes))
