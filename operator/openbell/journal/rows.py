"""Between rows and values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from sqlalchemy import RowMapping

from openbell.domain.limits import LockScope
from openbell.domain.money import ZERO
from openbell.domain.orders import Fill, Intent, IntentKind, IntentState, OrderType, Side, TimeInForce
from openbell.domain.policies import decode_policy, encode_policy
from openbell.domain.positions import ClosedTrade, Position
from openbell.domain.reasons import Reason
from openbell.domain.statistics import Counters, Statistics
from openbell.journal.columns import from_micros, to_micros
from openbell.journal.values import IntentRecord
from openbell.risk.locks import Lock

_INTENT_TEXTS = ("order_ref", "strategy", "symbol", "position_id", "reason", "exits", "oca_group")
_INTENT_PLAIN = ("quantity", "bar_time", "created_at", "epoch", "reference_price", "limit_price", "stop_price")


def intent_row(intent: Intent, now: datetime) -> dict[str, Any]:
    """The row of an intent that was just decided."""
    row: dict[str, Any] = {name: getattr(intent, name) for name in (*_INTENT_TEXTS, *_INTENT_PLAIN, "confidence")}
    return row | {
        "kind": intent.kind.value,
        "side": intent.side.value,
        "order_type": intent.order_type.value,
        "time_in_force": intent.time_in_force.value,
        "state": IntentState.INTENDED.value,
        "filled": ZERO,
        "reported": ZERO,
        "average_price": ZERO,
        "broker_order_id": "",
        "detail": "",
        "is_open": 1,
        "updated_at": now,
    }


def record_of(row: RowMapping) -> IntentRecord:
    """The intent of a row and what is known of its order."""
    intent = Intent(
        **{name: row[name] for name in (*_INTENT_TEXTS, *_INTENT_PLAIN, "confidence")},
        kind=IntentKind(row["kind"]),
        side=Side(row["side"]),
        order_type=OrderType(row["order_type"]),
        time_in_force=TimeInForce(row["time_in_force"]),
    )
    return IntentRecord(
        intent,
        IntentState(row["state"]),
        row["filled"],
        row["reported"],
        row["average_price"],
        row["broker_order_id"],
        row["detail"],
        row["updated_at"],
    )


def record_changes(record: IntentRecord) -> dict[str, Any]:
    """The columns of an intent's row that can change after it was decided."""
    return {
        "quantity": record.intent.quantity,
        "limit_price": record.intent.limit_price,
        "stop_price": record.intent.stop_price,
        "state": record.state.value,
        "filled": record.filled,
        "reported": record.reported,
        "average_price": record.average_price,
        "broker_order_id": record.broker_order_id,
        "detail": record.detail,
        "is_open": int(record.is_open),
        "updated_at": record.updated_at,
    }


_POSITION_COLUMNS = (
    "position_id",
    "strategy",
    "symbol",
    "quantity",
    "average_price",
    "opened_at",
    "best_price",
    "exit_sequence",
    "realized_pnl",
    "fees",
    "opened_quantity",
    "opened_notional",
    "closed_notional",
    "protection_revision",
)


def position_row(position: Position) -> dict[str, Any]:
    """The row of a position."""
    row = {name: getattr(position, name) for name in _POSITION_COLUMNS}
    return row | {"policy": encode_policy(position.policy), "is_open": int(position.is_open)}


def position_of(row: RowMapping) -> Position:
    """The position of a row."""
    return Position(**{name: row[name] for name in _POSITION_COLUMNS}, policy=decode_policy(row["policy"]))


_FILL_COLUMNS = ("execution_id", "order_ref", "symbol", "quantity", "price", "commission", "time")


def fill_row(fill: Fill, position_id: str, realized: Decimal) -> dict[str, Any]:
    """The row of a fill; `realized` is the profit before fees that it added to its position."""
    row = {name: getattr(fill, name) for name in _FILL_COLUMNS}
    return row | {"side": fill.side.value, "position_id": position_id, "realized": realized}


def fill_of(row: RowMapping) -> Fill:
    """The fill of a row."""
    return Fill(**{name: row[name] for name in _FILL_COLUMNS}, side=Side(row["side"]))


_TRADE_COLUMNS = (
    "position_id",
    "strategy",
    "symbol",
    "quantity",
    "entry_time",
    "entry_price",
    "exit_time",
    "exit_price",
    "exit_reason",
    "pnl",
    "fees",
)


def trade_row(trade: ClosedTrade, closed_by: str) -> dict[str, Any]:
    """The row of a round trip; `closed_by` is the execution or adjustment that ended it."""
    return {name: getattr(trade, name) for name in _TRADE_COLUMNS} | {"closed_by": closed_by}


def trade_of(row: RowMapping) -> ClosedTrade:
    """The round trip of a row."""
    return ClosedTrade(**{name: row[name] for name in _TRADE_COLUMNS})


_LOCK_COLUMNS = ("lock_id", "subject", "detail", "since", "until", "made_by", "lifted_at", "lifted_by")


def lock_row(lock: Lock) -> dict[str, Any]:
    """The row of a lock."""
    return {name: getattr(lock, name) for name in _LOCK_COLUMNS} | {
        "scope": lock.scope.value,
        "reason": lock.reason.value,
    }


def lock_of(row: RowMapping) -> Lock:
    """The lock of a row."""
    return Lock(
        **{name: row[name] for name in _LOCK_COLUMNS}, scope=LockScope(row["scope"]), reason=Reason(row["reason"])
    )


_COUNTS = (
    "evaluations_run",
    "signals_generated",
    "trades_executed",
    "trades_rejected",
    "exits_executed",
    "errors",
)


def _counters_document(counters: Counters) -> dict[str, Any]:
    document: dict[str, Any] = {name: getattr(counters, name) for name in _COUNTS}
    return document | {
        "last_evaluation": _micros(counters.last_evaluation),
        "last_trade": _micros(counters.last_trade),
        "reasons": dict(counters.reasons),
    }


def _counters_of(document: Mapping[str, Any]) -> Counters:
    return Counters(
        **{name: document[name] for name in _COUNTS},
        last_evaluation=_moment(document["last_evaluation"]),
        last_trade=_moment(document["last_trade"]),
        reasons=MappingProxyType(dict(document["reasons"])),
    )


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def statistics_document(statistics: Statistics) -> str:
    """All counters as one JSON text; times as microseconds."""
    return json.dumps(
        {
            "total": _counters_document(statistics.total),
            "strategies": {name: _counters_document(counters) for name, counters in statistics.strategies.items()},
            "started_at": _micros(statistics.started_at),
        },
        sort_keys=True,
        separators=(",", ":"),
    )


def statistics_of(text: str) -> Statistics:
    """The counters of a text made by `statistics_document`."""
    document = json.loads(text)
    return Statistics(
        _counters_of(document["total"]),
        MappingProxyType({name: _counters_of(counters) for name, counters in document["strategies"].items()}),
        _moment(document["started_at"]),
    )
