"""Files beside the journal that explain, and never decide: relaxed sync, and none of their faults is fatal.

After the process dies nothing that was committed is lost; after the machine dies the last seconds may be. What cannot
be read is moved aside and begun anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import structlog

log = structlog.get_logger("openbell.trail")

BUSY_SECONDS = 5.0
ASIDE = ".broken"


def open_relaxed(path: Path, tables: str, version: int) -> sqlite3.Connection:
    """Open or create a file with these tables, for use by the calling thread alone.

    A file that is damaged, no database, or of another version is moved aside to `<name>.broken` (the one that was
    there before is replaced). Raises sqlite3.Error or OSError where no file can be made at all.
    """
    try:
        return _open(path, tables, version)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise  # the disk or its rights, not the file's content
        move_aside(path, str(error))
        return _open(path, tables, version)


def _open(path: Path, tables: str, version: int) -> sqlite3.Connection:
    raw = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        _prepare(raw, tables, version)
    except BaseException:
        raw.close()
        raise
    return raw


def _prepare(raw: sqlite3.Connection, tables: str, version: int) -> None:
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = NORMAL")
    found = raw.execute("PRAGMA user_version").fetchone()[0]
    if raw.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        raw.executescript(f"BEGIN; {tables}; PRAGMA user_version = {version}; COMMIT")
    elif found != version:
        raise sqlite3.DatabaseError(f"its version is {found}, this program writes {version}")
    problem = raw.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)


def move_aside(path: Path, why: str) -> None:
    """Keep a file that cannot be used for a person to look at, and make room for a new one."""
    log.error("trail.moved-aside", file=path.name, why=why, kept=path.name + ASIDE)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.replace(path.with_name(path.name + ASIDE))


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error tells of the file's content, and not of a full disk or a lock."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.OperationalError | sqlite3.ProgrammingError | sqlite3.IntegrityError
    )


def read_only(path: Path) -> sqlite3.Connection:
    """Open a file that another process may be writing. Raises sqlite3.Error where there is none.

    A file that nobody uses is read as it lies there: SQLite would else leave a log and an index beside it, which would
    be the reader's and not the runner's.
    """
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    return sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def is_begun(raw: sqlite3.Connection) -> bool:
    """Whether a file has its tables: one that is being made may not yet."""
    return bool(raw.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


@contextlib.contextmanager
def transaction(raw: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    raw.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            raw.execute("ROLLBACK")
        raise
    raw.execute("COMMIT")
