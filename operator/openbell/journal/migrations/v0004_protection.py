"""What protective orders are: a kind of intent, in a group of which one is filled; a position counts those it had."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import DOUBLE_PRECISION, REAL, Column, Index, Integer, MetaData, Table, Text

from openbell.journal.columns import DecimalText, Micros, check, either, number
from openbell.journal.migrations.tables import rebuild

INTENTS = Table(
    "intents",
    MetaData(),
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
    Column("confidence", REAL().with_variant(DOUBLE_PRECISION(), "postgresql"), nullable=False),
    Column("oca_group", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False),
    Column("filled", DecimalText, nullable=False),
    Column("reported", DecimalText, nullable=False),
    Column("average_price", DecimalText, nullable=False),
    Column("broker_order_id", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("is_open", Integer, nullable=False),
    Column("updated_at", Micros, nullable=False),
    check("order_ref_length", "length(order_ref) BETWEEN 1 AND 32"),
    check("names_given", "length(symbol) > 0 AND length(strategy) > 0 AND length(position_id) > 0"),
    check("kind_known", "kind IN ('Entry', 'Exit', 'Protective')"),
    check("side_known", "side IN ('Buy', 'Sell')"),
    check("order_type_known", "order_type IN ('Market', 'Limit', 'Stop')"),
    check("time_in_force_known", "time_in_force IN ('Day', 'GTC', 'IOC')"),
    check(
        "state_known",
        "state IN ('Intended', 'Doubtful', 'Working', 'Filled', 'Cancelled', 'Rejected', 'Withdrawn')",
    ),
    *number("quantity", "> 0"),
    *number("reference_price", ">= 0"),
    *number("filled", ">= 0"),
    *number("reported", ">= 0"),
    *number("average_price", ">= 0"),
    check("limit_has_price", "(order_type = 'Limit') = (limit_price IS NOT NULL)"),
    check("stop_has_price", "(order_type = 'Stop') = (stop_price IS NOT NULL)"),
    check("epoch_begun", "epoch >= 1"),
    check("confidence_range", "confidence BETWEEN 0 AND 1"),
    check("is_open_flag", "is_open IN (0, 1)"),
    check("working_is_open", "is_open = 1 OR state IN ('Filled', 'Cancelled', 'Rejected', 'Withdrawn')"),
    sqlite_strict=True,
)
Index("intents_open", INTENTS.c.is_open)
Index("intents_created", INTENTS.c.created_at)

POSITIONS = Table(
    "positions",
    MetaData(),
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
    Column("protection_revision", Integer, nullable=False, server_default="0"),
    Column("is_open", Integer, nullable=False),
    check("names_given", "length(symbol) > 0 AND length(strategy) > 0 AND length(position_id) > 0"),
    *number("quantity"),
    *number("average_price", ">= 0"),
    *number("best_price", ">= 0"),
    *number("realized_pnl"),
    *number("fees"),
    *number("opened_quantity", ">= 0"),
    *number("opened_notional", ">= 0"),
    *number("closed_notional", ">= 0"),
    check("exit_sequence_not_negative", "exit_sequence >= 0"),
    check("protection_revision_not_negative", "protection_revision >= 0"),
    *either(
        "flat_is_closed",
        sqlite="is_open = (CAST(quantity AS REAL) <> 0)",
        postgresql="is_open = CAST(CAST(quantity AS NUMERIC) <> 0 AS INTEGER)",
    ),
    sqlite_strict=True,
)
Index("positions_open", POSITIONS.c.is_open)


def upgrade(op: Operations) -> None:
    """Add `intents.oca_group`, `positions.protection_revision` and the kind Protective."""
    rebuild(op, INTENTS)
    rebuild(op, POSITIONS)
