"""The file of the decision trail: `trail.db` beside the journal. Bounded by rows and by age; see `engine.trail`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from openbell.engine.trail import DecisionQuery, Note, Run, RunKey, TrailKind, begun, extended
from openbell.journal.columns import from_micros, to_micros
from openbell.journal.relaxed import open_relaxed, transaction

TRAIL = "trail.db"
VERSION = 1
MAX_ROWS = 100_000
"""Runs that are kept: about 30 MB."""
MAX_AGE = timedelta(days=90)
AGELESS = timedelta(days=36_500)
"""For a replay, whose time runs through years in seconds: its trail is bounded by rows alone."""
TRIM_EVERY = 1000
"""New rows between two looks at the bounds, so that the file may hold as many more."""

_TABLES = """
CREATE TABLE runs (
  id INTEGER PRIMARY KEY,
  strategy TEXT NOT NULL, symbol TEXT NOT NULL, kind TEXT NOT NULL,
  reason TEXT NOT NULL, detail TEXT NOT NULL, order_ref TEXT NOT NULL,
  since INTEGER NOT NULL, until INTEGER NOT NULL, count INTEGER NOT NULL CHECK (count > 0)
) STRICT;
CREATE INDEX runs_key ON runs (strategy, symbol, kind, id);
CREATE INDEX runs_until ON runs (until);
CREATE INDEX runs_order ON runs (order_ref) WHERE order_ref <> ''
"""
_COLUMNS = "strategy, symbol, kind, reason, detail, order_ref, since, until, count"
_WRITE = (
    f"INSERT INTO runs (id, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE "  # noqa: S608
    "SET detail = excluded.detail, until = excluded.until, count = excluded.count"
)


class TrailFile:
    """Owned by one thread. A new run is written at once; one that goes on is kept in memory until `flush`."""

    def __init__(self, path: Path, *, max_rows: int = MAX_ROWS, max_age: timedelta = MAX_AGE) -> None:
        self._raw = open_relaxed(path, _TABLES, VERSION)
        self._max_rows = max_rows
        self._max_age = max_age
        self._current: dict[RunKey, tuple[int, Run]] = {}
        self._grown: set[RunKey] = set()
        newest = "SELECT max(id) FROM runs GROUP BY strategy, symbol, kind"
        for row in self._raw.execute(f"SELECT id, {_COLUMNS} FROM runs WHERE id IN ({newest})"):  # noqa: S608
            run = run_of(row[1:])
            self._current[run.key] = (row[0], run)
        self._next = (self._raw.execute("SELECT max(id) FROM runs").fetchone()[0] or 0) + 1
        self._until_trim = 0

    def note(self, notes: Iterable[Note]) -> None:
        """Take notes in, in the order of their ticks."""
        new: list[RunKey] = []
        closing: list[tuple[int, Run]] = []
        for each in notes:
            known = self._current.get(each.key)
            longer = extended(known[1], each) if known is not None else None
            if known is not None and longer is not None:
                self._current[each.key] = (known[0], longer)
                self._grown.add(each.key)
                continue
            if known is not None:
                closing.append(known)
            self._current[each.key] = (self._next, begun(each))
            self._next += 1
            new.append(each.key)
        if new:
            self._write([*closing, *(self._current[key] for key in dict.fromkeys(new))])
            self._grown.difference_update(new)
            self._trim(len(new))

    def flush(self) -> None:
        """Write how far the runs that go on have come."""
        if self._grown:
            self._write([self._current[key] for key in self._grown])
            self._grown.clear()

    def _write(self, rows: Iterable[tuple[int, Run]]) -> None:
        with transaction(self._raw):
            self._raw.executemany(_WRITE, [_row(number, run) for number, run in rows])

    def _trim(self, new: int) -> None:
        self._until_trim -= new
        if self._until_trim > 0:
            return
        self._until_trim = TRIM_EVERY
        newest = self._raw.execute("SELECT max(until) FROM runs").fetchone()[0]
        oldest = from_micros(newest) - self._max_age
        with transaction(self._raw):
            self._raw.execute("DELETE FROM runs WHERE until < ?", (to_micros(oldest),))
            self._raw.execute(
                "DELETE FROM runs WHERE id IN (SELECT id FROM runs ORDER BY until DESC, id DESC LIMIT -1 OFFSET ?)",
                (self._max_rows,),
            )
        for key in [key for key, (_, run) in self._current.items() if run.until < oldest]:
            del self._current[key]
            self._grown.discard(key)

    def find(self, query: DecisionQuery) -> tuple[Run, ...]:
        """The runs asked for, newest first."""
        self.flush()
        return find_runs(self._raw, query)

    def close(self) -> None:
        """Write what is in memory and let the file go."""
        try:
            self.flush()
        finally:
            self._raw.close()


def find_runs(raw: sqlite3.Connection, query: DecisionQuery) -> tuple[Run, ...]:
    """The runs asked for, newest first. Raises sqlite3.Error."""
    asked = {
        "strategy = ?": query.strategy,
        "symbol = ?": query.symbol,
        "reason = ?": query.reason,
        "order_ref = ?": query.order_ref,
        "until >= ?": None if query.since is None else to_micros(query.since),
    }
    given = {condition: value for condition, value in asked.items() if value is not None}
    where = f"WHERE {' AND '.join(given)}" if given else ""
    rows = raw.execute(
        f"SELECT {_COLUMNS} FROM runs {where} ORDER BY until DESC, id DESC LIMIT ?",  # noqa: S608 - fixed conditions
        (*given.values(), query.limit),
    )
    return tuple(run_of(row) for row in rows)


def all_runs(raw: sqlite3.Connection) -> tuple[Run, ...]:
    """Every run in the order in which it began. Raises sqlite3.Error."""
    return tuple(run_of(row) for row in raw.execute(f"SELECT {_COLUMNS} FROM runs ORDER BY id"))  # noqa: S608


def _row(number: int, run: Run) -> tuple[Any, ...]:
    return (
        number,
        run.strategy,
        run.symbol,
        run.kind.value,
        run.reason,
        run.detail,
        run.order_ref,
        to_micros(run.since),
        to_micros(run.until),
        run.count,
    )


def run_of(row: tuple[Any, ...]) -> Run:
    """The run of a row of the file's columns."""
    strategy, symbol, kind, reason, detail, order_ref, since, until, count = row
    return Run(
        strategy, symbol, TrailKind(kind), reason, detail, order_ref, from_micros(since), from_micros(until), count
    )
