"""What risk keeps: locks, the highest equity that a drawdown is measured from, and margin deficits."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import Column, Integer, Text

from openbell.domain.limits import LockScope
from openbell.journal.columns import DecimalText, Micros, check, either, number, one_of


def upgrade(op: Operations) -> None:
    """Add the tables `locks`, `peaks` and `deficits`."""
    op.create_table(
        "locks",
        Column("lock_id", Text, primary_key=True),
        Column("scope", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("detail", Text, nullable=False),
        Column("since", Micros, nullable=False),
        Column("until", Micros),
        Column("made_by", Text, nullable=False),
        Column("lifted_at", Micros),
        Column("lifted_by", Text, nullable=False),
        check("names_given", "length(lock_id) > 0 AND length(made_by) > 0"),
        one_of("scope", LockScope),
        check("subject_of_scope", "(scope = 'Global') = (subject = '')"),
        check("ends_after_it_begins", "until IS NULL OR until > since"),
        check("lifted_by_someone", "(lifted_at IS NULL) = (lifted_by = '')"),
        sqlite_strict=True,
    )
    op.create_table(
        "peaks",
        Column("id", Integer, primary_key=True),
        Column("equity", DecimalText, nullable=False),
        Column("since", Micros, nullable=False),
        check("one_row", "id = 1"),
        *number("equity", "> 0"),
        sqlite_strict=True,
    )
    op.create_table(
        "deficits",
        Column("day", Text, primary_key=True),
        Column("amount", DecimalText, nullable=False),
        Column("equity", DecimalText, nullable=False),
        Column("satisfied_on", Text),
        *either(
            "is_date",
            sqlite="day GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'",
            postgresql="day ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'",
        ),
        *either(
            "satisfied_is_date",
            sqlite="satisfied_on IS NULL OR satisfied_on GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'",
            postgresql="satisfied_on IS NULL OR satisfied_on ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'",
        ),
        *number("amount", "> 0"),
        *number("equity"),
        sqlite_strict=True,
    )
