"""The journal as CSV files, read from a snapshot while a runner may go on writing.

RFC 4180 with a header line; times are ISO 8601 in UTC with microseconds, numbers plain decimals as they were booked,
and nothing stands for NULL.
"""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from sqlalchemy import ColumnElement, Connection, Select, create_engine, event, inspect, null, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import StaticPool

from openbell.domain.errors import JournalError, ManifestError
from openbell.journal import schema
from openbell.journal.database import BUSY_TIMEOUT_MS, FILE, journal_errors

_CHUNK = 1000

COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "intents": (
            *("order_ref", "created_at", "kind", "strategy", "symbol", "side", "quantity", "order_type", "limit_price"),
            *("stop_price", "time_in_force", "position_id", "reason", "confidence", "bar_time", "reference_price"),
            *("epoch", "state", "filled", "average_price", "broker_order_id", "detail", "updated_at"),
        ),
        "fills": (
            *("execution_id", "time", "strategy", "symbol", "side", "quantity", "price", "commission", "realized"),
            *("order_ref", "position_id"),
        ),
        "trades": (
            *("closed_by", "strategy", "symbol", "quantity", "entry_time", "entry_price", "exit_time", "exit_price"),
            *("exit_reason", "pnl", "fees", "position_id"),
        ),
        "positions": (
            *("position_id", "strategy", "symbol", "quantity", "average_price", "opened_at", "best_price"),
            *("realized_pnl", "fees", "opened_quantity", "opened_notional", "closed_notional"),
        ),
        "adjustments": ("adjustment_id", "time", "position_id", "realized", "ratio"),
        "locks": (
            *("lock_id", "scope", "subject", "reason", "detail", "since", "until", "made_by", "lifted_at", "lifted_by"),
        ),
        "cash_movements": ("time", "amount", "settles_on"),
        "deficits": ("day", "amount", "equity", "satisfied_on"),
        "peaks": ("equity", "since"),
        "day_starts": ("day", "equity"),
        "gateway_client": ("client_id", "order_id"),
        "parameters": ("strategy", "type", "document", "updated_at"),
        "statistics": ("document",),
        "journal": ("schema_version", "owner_tag", "epoch", "created_at"),
    }
)
"""The files, one for each table of the journal, and their columns in order."""

_ORDER: Mapping[str, str] = MappingProxyType(
    {
        "intents": "created_at",
        "fills": "time",
        "trades": "exit_time",
        "positions": "opened_at",
        "adjustments": "time",
        "locks": "since",
        "cash_movements": "time",
    }
)
"""What the rows are sorted by before their key."""


def export_journal(path: Path, folder: Path, *, force: bool = False) -> dict[str, int]:
    """Write one CSV file for each of COLUMNS into `folder`; the number of rows of each.

    `path` is a journal's file or its folder. Nothing is left behind where it fails. Raises ManifestError where the
    path is no journal that this version reads, where a file is there already (unless `force`), and where the folder
    cannot be written; JournalError where the journal cannot be read.
    """
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise ManifestError(f"There is no journal at {path}.")
    targets = {name: folder / f"{name}.csv" for name in COLUMNS}
    there = [target for target in targets.values() if target.exists()]
    if there and not force:
        raise ManifestError(f"{there[0]} exists already; --force writes it anew.")
    with _new_files(targets) as files:
        unused = _stamp_of_unused(path)
        if unused is not None:
            # A file that nobody uses is read as it lies there: SQLite would else leave its log and index beside it,
            # which would be ours and not the runner's.
            with suppress(JournalError):
                counts = _write_all(path, files, "immutable=1")
                if _stamp_of_unused(path) == unused:
                    return counts
        return _write_all(path, files, "mode=ro")


def _stamp_of_unused(path: Path) -> tuple[int, int] | None:
    """What would change if somebody wrote to the file; None while a log beside it says that somebody may."""
    if path.with_name(f"{path.name}-wal").exists():
        return None
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _write_all(path: Path, files: Mapping[str, Path], how: str) -> dict[str, int]:
    with _snapshot(path, how) as connection:
        for file in files.values():
            file.parent.mkdir(parents=True, exist_ok=True)
        return {name: _write(connection, name, file) for name, file in files.items()}


@contextmanager
def _snapshot(path: Path, how: str) -> Iterator[Connection]:
    def open_file() -> sqlite3.Connection:
        raw = sqlite3.connect(f"file:{quote(str(path.resolve()))}?{how}", uri=True, isolation_level=None)
        raw.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        return raw

    engine = create_engine("sqlite://", creator=open_file, poolclass=StaticPool)

    # One transaction that reads: what it sees is what was committed when it first looked.
    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    try:
        with journal_errors("being exported"), engine.connect() as connection:
            _check(connection, path)
            yield connection
    finally:
        engine.dispose()


def _check(connection: Connection, path: Path) -> None:
    try:
        is_journal = inspect(connection).has_table(schema.journal.name)
        version = connection.execute(select(schema.journal.c.schema_version)).scalar_one() if is_journal else 0
    except DatabaseError as error:
        if "not a database" in str(error):
            raise ManifestError(f"{path} is not a journal of Openbell.") from error
        raise
    if not is_journal:
        raise ManifestError(f"{path} is not a journal of Openbell.")
    if version > schema.SCHEMA_VERSION:
        raise ManifestError(
            f"The journal {path} has schema version {version}, newer than {schema.SCHEMA_VERSION}, "
            "which this version of Openbell reads; use the newer Openbell."
        )


@contextmanager
def _new_files(targets: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Files to write to, which take the targets' places at the end, and are gone where that is not reached."""
    parts = {name: target.with_name(f".{target.name}.part") for name, target in targets.items()}
    with ExitStack() as stack:
        for part in parts.values():
            stack.callback(_remove, part)
        try:
            yield parts
            for name, part in parts.items():
                part.replace(targets[name])
        except OSError as error:
            raise ManifestError(f"The export cannot be written: {error.strerror} ({error.filename}).") from error


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _query(name: str, there: Container[str]) -> Select[tuple[object, ...]]:
    """The rows of a table; `there` are the columns that it has in this file, which an older version may have made."""
    table = schema.metadata.tables[name]
    positions = schema.positions

    def column(asked: str) -> ColumnElement[Any]:
        if asked not in table.c:
            return positions.c[asked]
        return table.c[asked] if asked in there else null().label(asked)

    columns = [column(asked) for asked in COLUMNS[name]]
    query: Select[tuple[object, ...]] = select(*columns)
    if name == "fills":  # a fill says whose it is by its position
        query = query.select_from(table.outerjoin(positions, positions.c.position_id == table.c.position_id))
    first = [table.c[_ORDER[name]]] if name in _ORDER else []
    return query.order_by(*first, *table.primary_key.columns).execution_options(yield_per=_CHUNK)


def _write(connection: Connection, name: str, path: Path) -> int:
    count = 0
    found = inspect(connection)
    there = {each["name"] for each in found.get_columns(name)} if found.has_table(name) else set()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS[name])
        for row in connection.execute(_query(name, there)) if there else ():
            writer.writerow(_fields(row))
            count += 1
    return count


def _fields(values: Sequence[object]) -> list[str]:
    return [_text(value) for value in values]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value)
