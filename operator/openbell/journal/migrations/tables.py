"""What steps have in common."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import Table, column, insert, inspect, select, table, text
from sqlalchemy.schema import CreateIndex, CreateTable


def rebuild(op: Operations, after: Table) -> None:
    """Change the table of this name into `after`, with its rows: columns of both are copied, a new one is NULL.

    SQLite cannot add a rule to a table that is there, and Alembic's own way to copy one forgets which database a rule
    is for.
    """
    before = f"{after.name}_before"
    there = {found["name"] for found in inspect(op.get_bind()).get_columns(after.name)}
    kept = [name for name in after.columns.keys() if name in there]  # noqa: SIM118 - of columns, names are the keys
    op.execute(text(f"CREATE TABLE {before} AS SELECT * FROM {after.name}"))  # noqa: S608 - names of ours
    op.drop_table(after.name)
    op.execute(CreateTable(after))
    old = table(before, *(column(name) for name in kept))
    op.execute(insert(after).from_select(kept, select(old)))
    op.drop_table(before)
    for index in after.indexes:
        op.execute(CreateIndex(index))
