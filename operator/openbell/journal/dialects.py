"""Where SQLite and PostgreSQL differ in what is written: one place that picks by the connection's dialect.

Statements are built once for each dialect and table: building one costs more than running it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

Insert: TypeAlias = postgresql.Insert | sqlite.Insert


def _insert(dialect: str, table: Table) -> Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def insert_new(connection: Connection, table: Table) -> ReturningInsert[Any]:
    """Insert the rows whose key is not there yet; it returns the keys of those."""
    return _insert_new(connection.dialect.name, table)


def insert_or_replace(connection: Connection, table: Table) -> Insert:
    """Insert a row; where its key is there already, change all other columns."""
    return _insert_or_replace(connection.dialect.name, table)


@cache
def _insert_new(dialect: str, table: Table) -> ReturningInsert[Any]:
    return _insert(dialect, table).on_conflict_do_nothing().returning(*table.primary_key.columns)


@cache
def _insert_or_replace(dialect: str, table: Table) -> Insert:
    statement = _insert(dialect, table)
    key = [column.name for column in table.primary_key.columns]
    changed = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)
