"""Opening the file: pragmas, one connection, schema and its version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, create_engine, event, insert, inspect, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from openbell.domain.errors import JournalError
from openbell.journal import schema
from openbell.journal.copies import keep_copy
from openbell.journal.killpoints import reach

FILE = "journal.db"
BUSY_TIMEOUT_MS = 5000


@contextmanager
def journal_errors(doing: str) -> Iterator[None]:
    """Turn whatever SQLite or SQLAlchemy raises into one sentence."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise JournalError(f"the journal failed while {doing}: {cause}") from error
    except sqlite3.Error as error:
        raise JournalError(f"the journal failed while {doing}: {error}") from error


def connect(path: Path) -> Connection:
    """The one connection, owned by the calling thread. WAL; a commit returns when it is on the disk."""

    def open_file() -> sqlite3.Connection:
        raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        raw.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = FULL")
        return raw

    engine = create_engine("sqlite://", creator=open_file, poolclass=StaticPool)

    # The driver's own habit of opening transactions only before writes is off (isolation_level=None): every
    # transaction takes the write lock at its start, so that what it reads holds until it commits.
    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine.connect()


def prepare(connection: Connection, path: Path, now: datetime) -> None:
    """Create the tables in a new file, or bring an older file's to this version after copying it to one beside it."""
    with connection.begin():
        version = _version(connection, now)
    if version > schema.SCHEMA_VERSION:
        raise JournalError(
            f"the journal's schema version is {version}, newer than {schema.SCHEMA_VERSION}, "
            "which this version of Openbell reads; run the newer Openbell"
        )
    if version < 1:
        raise JournalError(f"the journal's schema version is {version}, but the first one is 1: the file is damaged")
    if version < schema.SCHEMA_VERSION:
        _migrate(connection, path, version)


def _version(connection: Connection, now: datetime) -> int:
    """The schema version of the file; a new one gets the tables of today's first."""
    tables = set(inspect(connection).get_table_names())
    if not tables:
        schema.metadata.create_all(connection)
        connection.execute(
            insert(schema.journal).values(id=1, schema_version=schema.SCHEMA_VERSION, epoch=0, created_at=now)
        )
        reach("journal.schema.created")
        return schema.SCHEMA_VERSION
    if schema.journal.name not in tables:
        raise JournalError("the file journal.db is not a journal of Openbell: it has other tables")
    return int(connection.execute(select(schema.journal.c.schema_version)).scalar_one())


def _migrate(connection: Connection, path: Path, version: int) -> None:
    # Alembic is loaded only where it has something to do.
    from openbell.journal.migrations.upgrade import upgrade

    source = connection.connection.driver_connection
    if not isinstance(source, sqlite3.Connection):
        raise TypeError(f"a file is opened by sqlite3, not by {type(source)}")
    keep_copy(source, path, version)
    reach("journal.migration.copied")
    with connection.begin():
        upgrade(connection, version)
        connection.execute(update(schema.journal).values(schema_version=schema.SCHEMA_VERSION))
        reach("journal.migration.written")
    reach("journal.migration.committed")
