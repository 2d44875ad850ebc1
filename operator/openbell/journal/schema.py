"""The journal's tables. Decimals are plain text, times are integer microseconds since 1970 UTC.

Tables are STRICT and every rule that one row can break is a CHECK, so that no path of the code can write an
illegal row. An overfill (more filled than ordered) is no such rule: when a broker does it, it must be booked.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    REAL,
    CheckConstraint,
    Column,
    Dialect,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)

from openbell.domain.orders import IntentKind, IntentState, OrderType, Side, TimeInForce

SCHEMA_VERSION = 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 UTC, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC time of `to_micros`."""
    return _EPOCH + micros * _MICROSECOND


class Micros(TypeDecorator[datetime]):
    """An aware datetime as an integer; a naive one is refused by the subtraction itself."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_micros(value)


class DecimalText(TypeDecorator[Decimal]):
    """A finite Decimal as plain text (no exponent): what was written is read back digit for digit."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        if not value.is_finite():
            raise ValueError(f"{value} is not a finite number")
        return format(value, "f")

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    names = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({names})", name=f"{column}_known")


def _check(name: str, condition: str) -> CheckConstraint:
    return CheckConstraint(condition, name=name)


def _number(column: str, condition: str = "") -> CheckConstraint:
    """Text that is a plain decimal number, and perhaps positive or not negative."""
    plain = f"{column} NOT GLOB '*[^0-9.-]*' AND {column} GLOB '*[0-9]*'"
    return CheckConstraint(
        f"{plain} AND CAST({column} AS REAL) {condition}" if condition else plain, name=f"{column}_number"
    )


metadata = MetaData()

journal = Table(
    "journal",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("schema_version", Integer, nullable=False),
    Column("owner_tag", Text),
    Column("epoch", Integer, nullable=False),
    Column("created_at", Micros, nullable=False),
    _check("one_row", "id = 1"),
    _check("owner_tag_length", "owner_tag IS NULL OR length(owner_tag) = 8"),
    _check("epoch_not_negative", "epoch >= 0"),
    sqlite_strict=True,
)

intents = Table(
    "intents",
    metadata,
    Column("order_ref", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("quantity", DecimalText, nullable=False),
    Column("position_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("bar_time", Micros, nullable=False),
    Column("created_at", Micros, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("reference_price", DecimalText, nullable=False),
    Column("order_type", Text, nullable=False),
    Column("limit_price", DecimalText),
    Column("stop_price", DecimalText),
    Column("time_in_force", Text, nullable=False),
    Column("exits", Text, nullable=False),
    Column("confidence", REAL, nullable=False),
    Column("state", Text, nullable=False),
    Column("filled", DecimalText, nullable=False),
    Column("reported", DecimalText, nullable=False),
    Column("average_price", DecimalText, nullable=False),
    Column("broker_order_id", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("is_open", Integer, nullable=False),
    Column("updated_at", Micros, nullable=False),
    _check("order_ref_length", "length(order_ref) BETWEEN 1 AND 32"),
    _check("names_given", "length(symbol) > 0 AND length(strategy) > 0 AND length(position_id) > 0"),
    _one_of("kind", IntentKind),
    _one_of("side", Side),
    _one_of("order_type", OrderType),
    _one_of("time_in_force", TimeInForce),
    _one_of("state", IntentState),
    _number("quantity", "> 0"),
    _number("reference_price", ">= 0"),
    _number("filled", ">= 0"),
    _number("reported", ">= 0"),
    _number("average_price", ">= 0"),
    _check("limit_has_price", "(order_type = 'Limit') = (limit_price IS NOT NULL)"),
    _check("stop_has_price", "(order_type = 'Stop') = (stop_price IS NOT NULL)"),
    _check("epoch_begun", "epoch >= 1"),
    _check("confidence_range", "confidence BETWEEN 0 AND 1"),
    _check("is_open_flag", "is_open IN (0, 1)"),
    _check("working_is_open", "is_open = 1 OR state IN ('Filled', 'Cancelled', 'Rejected', 'Withdrawn')"),
    sqlite_strict=True,
)
Index("intents_open", intents.c.is_open)
Index("intents_created", intents.c.created_at)

positions = Table(
    "positions",
    metadata,
    Column("position_id", Text, primary_key=True),
    Column("strategy", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("quantity", DecimalText, nullable=False),
    Column("average_price", DecimalText, nullable=False),
    Column("opened_at", Micros, nullable=False),
    Column("policy", Text, nullable=False),
    Column("best_price", DecimalText, nullable=False),
    Column("exit_sequence", Integer, nullable=False),
    Column("realized_pnl", DecimalText, nullable=False),
    Column("fees", DecimalText, nullable=False),
    Column("opened_quantity", DecimalText, nullable=False),
    Column("opened_notional", DecimalText, nullable=False),
    Column("closed_notional", DecimalText, nullable=False),
    Column("is_open", Integer, nullable=False),
    _check("names_given", "length(symbol) > 0 AND length(strategy) > 0 AND length(position_id) > 0"),
    _number("quantity"),
    _number("average_price", ">= 0"),
    _number("best_price", ">= 0"),
    _number("realized_pnl"),
    _number("fees"),
    _number("opened_quantity", ">= 0"),
    _number("opened_notional", ">= 0"),
    _number("closed_notional", ">= 0"),
    _check("exit_sequence_not_negative", "exit_sequence >= 0"),
    _check("flat_is_closed", "is_open = (CAST(quantity AS REAL) <> 0)"),
    sqlite_strict=True,
)
Index("positions_open", positions.c.is_open)

# A fill needs no intent here: exits go on from memory while the journal cannot be written, and are booked later.
fills = Table(
    "fills",
    metadata,
    Column("execution_id", Text, primary_key=True),
    Column("order_ref", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("quantity", DecimalText, nullable=False),
    Column("price", DecimalText, nullable=False),
    Column("commission", DecimalText, nullable=False),
    Column("time", Micros, nullable=False),
    Column("position_id", Text, nullable=False),
    Column("realized", DecimalText, nullable=False),
    _check("execution_id_given", "length(execution_id) > 0"),
    _one_of("side", Side),
    _number("quantity", "> 0"),
    _number("price", ">= 0"),
    _number("commission"),
    _number("realized"),
    sqlite_strict=True,
)
Index("fills_time", fills.c.time)
Index("fills_order", fills.c.order_ref)

trades = Table(
    "trades",
    metadata,
    Column("closed_by", Text, primary_key=True),
    Column("position_id", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("quantity", DecimalText, nullable=False),
    Column("entry_time", Micros, nullable=False),
    Column("entry_price", DecimalText, nullable=False),
    Column("exit_time", Micros, nullable=False),
    Column("exit_price", DecimalText, nullable=False),
    Column("exit_reason", Text, nullable=False),
    Column("pnl", DecimalText, nullable=False),
    Column("fees", DecimalText, nullable=False),
    _number("quantity", "<> 0"),
    _number("entry_price", ">= 0"),
    _number("exit_price", ">= 0"),
    _number("pnl"),
    _number("fees"),
    sqlite_strict=True,
)
Index("trades_exit", trades.c.exit_time)

adjustments = Table(
    "adjustments",
    metadata,
    Column("adjustment_id", Text, primary_key=True),
    Column("position_id", Text, nullable=False),
    Column("time", Micros, nullable=False),
    Column("realized", DecimalText, nullable=False),
    _check("adjustment_id_given", "length(adjustment_id) > 0"),
    _number("realized"),
    sqlite_strict=True,
)

statistics = Table(
    "statistics",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("document", Text, nullable=False),
    _check("one_row", "id = 1"),
    _check("is_json", "json_valid(document)"),
    sqlite_strict=True,
)

parameters = Table(
    "parameters",
    metadata,
    Column("strategy", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("updated_at", Micros, nullable=False),
    _check("names_given", "length(strategy) > 0 AND length(type) > 0"),
    _check("is_json", "json_valid(document)"),
    sqlite_strict=True,
)

day_starts = Table(
    "day_starts",
    metadata,
    Column("day", Text, primary_key=True),
    Column("equity", DecimalText, nullable=False),
    _check("is_date", "day GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'"),
    _number("equity"),
    sqlite_strict=True,
)
