"""A journal's folder for reading, beside the process that writes it: no lock, no write."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, create_engine, select
from sqlalchemy.pool import StaticPool

from openbell.domain.errors import JournalError, ManifestError
from openbell.domain.orders import Fill
from openbell.domain.positions import ClosedTrade
from openbell.engine.trail import DecisionQuery, Run
from openbell.journal import reads, rows, schema
from openbell.journal.database import journal_errors
from openbell.journal.inputs import INPUTS, Recorded, read_inputs
from openbell.journal.relaxed import is_begun, read_only
from openbell.journal.trail import TRAIL, all_runs, find_runs
from openbell.journal.values import IntentRecord

JOURNAL = "journal.db"
_ALL = 2**31


def find_journal(folder: Path) -> Path:
    """The journal's folder: the one that was named, or the one journal below a runner's data folder.

    Raises ManifestError where there is none, or more than one.
    """
    if (folder / JOURNAL).is_file():
        return folder
    found = sorted(path.parent for path in folder.glob(f"**/{JOURNAL}") if len(path.relative_to(folder).parts) <= 4)
    if not found:
        raise ManifestError(f"{folder} has no journal: neither it nor a folder in it holds a file {JOURNAL}")
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found)
        raise ManifestError(f"{folder} has {len(found)} journals ({names}); name one of them")
    return found[0]


class JournalReader:
    """Reads intents, fills and round trips. Every method raises JournalError where the file cannot be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        engine = create_engine("sqlite://", creator=lambda: read_only(folder / JOURNAL), poolclass=StaticPool)
        with journal_errors("opening for reading"):
            self._connection: Connection = engine.connect()

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._connection.close()
        self._connection.engine.dispose()

    def orders(self) -> tuple[IntentRecord, ...]:
        """Every intent, newest first."""
        with journal_errors("reading orders"):
            return reads.orders(self._connection, limit=_ALL)

    def order(self, order_ref: str) -> IntentRecord | None:
        """One intent."""
        with journal_errors("reading an order"):
            return reads.record(self._connection, order_ref=order_ref)

    def orders_of(self, position_id: str) -> tuple[IntentRecord, ...]:
        """The intents of one position, oldest first."""
        table = schema.intents
        query = select(table).where(table.c.position_id == position_id).order_by(table.c.created_at)
        with journal_errors("reading a position's orders"):
            return tuple(rows.record_of(row) for row in self._connection.execute(query).mappings())

    def fills_of(self, order_ref: str) -> tuple[Fill, ...]:
        """The fills of one order, oldest first."""
        table = schema.fills
        query = select(table).where(table.c.order_ref == order_ref).order_by(table.c.time)
        with journal_errors("reading fills"):
            return tuple(rows.fill_of(row) for row in self._connection.execute(query).mappings())

    def trade_of(self, position_id: str) -> ClosedTrade | None:
        """The round trip of one position, None while it is open."""
        table = schema.trades
        query = select(table).where(table.c.position_id == position_id).order_by(table.c.exit_time.desc())
        with journal_errors("reading a round trip"):
            row = self._connection.execute(query).mappings().first()
            return None if row is None else rows.trade_of(row)


@contextmanager
def _relaxed(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(read_only(path)) as raw:
            yield raw
    except sqlite3.Error as error:
        raise JournalError(f"{path} cannot be read: {error}") from error


def stored_runs(folder: Path, query: DecisionQuery | None = None) -> tuple[Run, ...]:
    """The trail's runs: those asked for, newest first, or all, oldest first; none where there is no trail."""
    path = folder / TRAIL
    if not path.exists():
        return ()
    with _relaxed(path) as raw:
        if not is_begun(raw):
            return ()
        return all_runs(raw) if query is None else find_runs(raw, query)


def stored_inputs(folder: Path) -> Iterator[Recorded]:
    """Every recorded input, in order. Raises ManifestError where none are recorded."""
    path = folder / INPUTS
    if not path.exists():
        raise ManifestError(f"{folder} has no recorded inputs: there is no file {INPUTS} in it")
    with _relaxed(path) as raw:
        yield from read_inputs(raw)
