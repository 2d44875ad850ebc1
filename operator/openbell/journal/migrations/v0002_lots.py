"""What lots are made of: an index finds a position's fills, and a split says its ratio, which an old one does not."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import Column, MetaData, Table, Text

from openbell.journal.columns import DecimalText, Micros, check, number
from openbell.journal.migrations.tables import rebuild

ADJUSTMENTS = Table(
    "adjustments",
    MetaData(),
    Column("adjustment_id", Text, primary_key=True),
    Column("position_id", Text, nullable=False),
    Column("time", Micros, nullable=False),
    Column("realized", DecimalText, nullable=False),
    Column("ratio", DecimalText),
    check("adjustment_id_given", "length(adjustment_id) > 0"),
    *number("realized"),
    *number("ratio", "> 0"),
    sqlite_strict=True,
)


def upgrade(op: Operations) -> None:
    """Add `adjustments.ratio`, and an index on `fills.position_id`."""
    rebuild(op, ADJUSTMENTS)
    op.create_index("fills_position", "fills", ["position_id"])
