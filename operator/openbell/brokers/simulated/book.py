"""The venue's memory: a SQLite file of its own, apart from any journal, so that the two can disagree.

Every message is recorded as it arrives, before anything is decided about it, without deduplicating or refusing; what
came of it is written in the same transaction as the step that made it. A commit survives the death of the process at
any time (write-ahead log); one process at a time holds the file.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from openbell.brokers.simulated.ledger import Ledger
from openbell.brokers.simulated.messages import order_from_row, order_row
from openbell.brokers.simulated.venue import REMEMBERED, Changes, Venue
from openbell.domain.errors import BrokerError
from openbell.domain.orders import Fill, IntentState, Side

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS arrivals (
    number INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, account TEXT NOT NULL, kind TEXT NOT NULL,
    order_ref TEXT NOT NULL, message TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS orders (
    sequence INTEGER PRIMARY KEY, account TEXT NOT NULL, state TEXT NOT NULL, content TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS working ON orders (state) WHERE state = 'Working';
CREATE TABLE IF NOT EXISTS executions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, execution_id TEXT NOT NULL UNIQUE, account TEXT NOT NULL,
    time TEXT NOT NULL, order_ref TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL, quantity TEXT NOT NULL,
    price TEXT NOT NULL, commission TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS executed ON executions (account, time);
CREATE TABLE IF NOT EXISTS accounts (account TEXT PRIMARY KEY, cash TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS positions (
    account TEXT NOT NULL, symbol TEXT NOT NULL, quantity TEXT NOT NULL, average_price TEXT NOT NULL,
    PRIMARY KEY (account, symbol)) STRICT;
CREATE TABLE IF NOT EXISTS splits (
    symbol TEXT NOT NULL, date TEXT NOT NULL, ratio TEXT NOT NULL, PRIMARY KEY (symbol, date)) STRICT;
"""
VERSION = "1"


class BookError(BrokerError):
    """The book cannot be opened, read or written. Raised at start: the process exits."""


class BookLockedError(BookError):
    """Another process has the book open."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message as it arrived. `kind` is Order, Modify, Cancel or Trade (by hand)."""

    number: int
    time: datetime
    account: str
    kind: str
    order_ref: str
    message: dict[str, Any]


class Book:
    """The open file. Every `with step()` is one transaction."""

    def __init__(self, connection: sqlite3.Connection, name: str | None, lock: int | None) -> None:
        self._connection = connection
        self._lock = lock
        self._connection.executescript(SCHEMA)
        with self.step():
            self._connection.execute("INSERT OR IGNORE INTO meta VALUES ('version', ?)", (VERSION,))
            self._connection.execute(
                "INSERT OR IGNORE INTO meta VALUES ('name', ?)", (name or f"V{secrets.token_hex(3).upper()}",)
            )
        meta = dict(self._connection.execute("SELECT key, value FROM meta").fetchall())
        if meta["version"] != VERSION:
            raise BookError(f"the book has version {meta['version']}; this program reads version {VERSION}")
        self.name: str = meta["name"]

    @classmethod
    def open(cls, path: Path, name: str | None = None) -> Book:
        """Open or make the file, and hold it until `close`. `name` is kept from the first time on.

        Raises BookLockedError when another process has it, BookError when it is no book.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise BookLockedError(f"the book {path} is in use by another process") from error
        try:
            connection = sqlite3.connect(path, isolation_level=None)
            try:
                # NORMAL: a commit outlives the process, not a power cut, and costs no disk flush.
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                return cls(connection, name, lock)
            except (sqlite3.Error, BookError):
                connection.close()
                raise
        except sqlite3.Error as error:
            os.close(lock)
            raise BookError(f"the book {path} cannot be opened: {error}") from error
        except BookError:
            os.close(lock)
            raise

    @classmethod
    def in_memory(cls, name: str = "V") -> Book:
        """A book that is gone with the process: for backtests."""
        return cls(sqlite3.connect(":memory:", isolation_level=None), name, None)

    def close(self) -> None:
        self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """One transaction: all of it is kept, or nothing."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise BookError(f"the book cannot be written: {error}") from error

    # --- inside a step -----------------------------------------------------------------------------------------------

    def record_arrival(
        self, moment: datetime, account: str, kind: str, order_ref: str, message: dict[str, Any]
    ) -> None:
        """Keep a message as it came."""
        self._connection.execute(
            "INSERT INTO arrivals (time, account, kind, order_ref, message) VALUES (?, ?, ?, ?, ?)",
            (_stamp(moment), account, kind, order_ref, json.dumps(message)),
        )

    def save(self, changes: Changes, venue: Venue) -> None:
        """Keep what a step changed."""
        execute = self._connection.execute
        for order in changes.orders.values():
            execute(
                "INSERT INTO orders VALUES (?, ?, ?, ?) "
                "ON CONFLICT (sequence) DO UPDATE SET state = excluded.state, content = excluded.content",
                (order.sequence, order.account, order.state.value, json.dumps(order_row(order))),
            )
        for account, fill in changes.fills:
            execute(
                "INSERT INTO executions (execution_id, account, time, order_ref, symbol, side, quantity, price,"
                " commission) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    fill.execution_id, account, _stamp(fill.time), fill.order_ref, fill.symbol, fill.side.value,
                    str(fill.quantity), str(fill.price), str(fill.commission),
                ),
            )  # fmt: skip
        for account in changes.accounts:
            ledger = venue.ledgers[account]
            execute("INSERT OR REPLACE INTO accounts VALUES (?, ?)", (account, str(ledger.cash)))
            execute("DELETE FROM positions WHERE account = ?", (account,))
            self._connection.executemany(
                "INSERT INTO positions VALUES (?, ?, ?, ?)",
                [(account, symbol, str(held), str(average)) for symbol, (held, average) in ledger.positions.items()],
            )

    def record_split(self, symbol: str, day: date, ratio: Decimal) -> bool:
        """Whether this split is new; a replay that resumes meets its last ones again."""
        cursor = self._connection.execute(
            "INSERT OR IGNORE INTO splits VALUES (?, ?, ?)", (symbol, day.isoformat(), str(ratio))
        )
        return cursor.rowcount == 1

    # --- reading -----------------------------------------------------------------------------------------------------

    def restore(self, venue: Venue) -> None:
        """Put accounts, positions, working orders and the newest finished ones back."""
        rows = self._connection.execute
        for account, cash in rows("SELECT account, cash FROM accounts").fetchall():
            held = rows("SELECT symbol, quantity, average_price FROM positions WHERE account = ?", (account,))
            positions = {symbol: (Decimal(quantity), Decimal(average)) for symbol, quantity, average in held.fetchall()}
            venue.ledgers[account] = Ledger(Decimal(cash), positions)
        (last,) = rows("SELECT coalesce(max(sequence), 0) FROM orders").fetchone()
        venue.sequence = last
        for (content,) in rows(
            "SELECT content FROM orders WHERE state = ? OR sequence > ? ORDER BY sequence",
            (IntentState.WORKING.value, last - REMEMBERED),
        ).fetchall():
            venue.restore(order_from_row(json.loads(content)))

    def fills(self, account: str, since: datetime) -> tuple[Fill, ...]:
        """Executions of an account from `since` on, oldest first."""
        rows = self._connection.execute(
            "SELECT execution_id, order_ref, symbol, side, quantity, price, commission, time FROM executions"
            " WHERE account = ? AND time >= ? ORDER BY number",
            (account, _stamp(since)),
        )
        return tuple(
            Fill(
                identity, order_ref, symbol, Side(side), Decimal(quantity), Decimal(at), Decimal(commission),
                datetime.fromisoformat(moment),
            )
            for identity, order_ref, symbol, side, quantity, at, commission, moment in rows.fetchall()
        )  # fmt: skip

    def executions(self) -> tuple[Fill, ...]:
        """Every fill that was ever made, oldest first within each account."""
        rows = self._connection.execute("SELECT DISTINCT account FROM executions ORDER BY account").fetchall()
        beginning = datetime(1970, 1, 1, tzinfo=UTC)
        return tuple(fill for (account,) in rows for fill in self.fills(account, beginning))

    def arrivals(self, account: str | None = None) -> tuple[Arrival, ...]:
        """Every message that ever arrived, in order."""
        rows = self._connection.execute(
            "SELECT number, time, account, kind, order_ref, message FROM arrivals"
            " WHERE ?1 IS NULL OR account = ?1 ORDER BY number",
            (account,),
        )
        return tuple(
            Arrival(number, datetime.fromisoformat(moment), owner, kind, order_ref, json.loads(message))
            for number, moment, owner, kind, order_ref, message in rows.fetchall()
        )


def _stamp(moment: datetime) -> str:
    # One width for all, so that comparing text compares time.
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
