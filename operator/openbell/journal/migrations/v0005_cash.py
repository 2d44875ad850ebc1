"""What moves a cash account's money beside its fills, so that a restart does not take it for settled."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import Column, Text

from openbell.journal.columns import DecimalText, Micros, either, number


def upgrade(op: Operations) -> None:
    """Add the table `cash_movements`."""
    op.create_table(
        "cash_movements",
        Column("time", Micros, primary_key=True),
        Column("amount", DecimalText, nullable=False),
        Column("settles_on", Text),
        *either(
            "settles_is_date",
            sqlite="settles_on IS NULL OR settles_on GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'",
            postgresql="settles_on IS NULL OR settles_on ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'",
        ),
        *number("amount"),
        sqlite_strict=True,
    )
