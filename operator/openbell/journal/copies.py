"""A copy of the file beside it, kept before its schema is changed."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from openbell.domain.errors import JournalError


def keep_copy(source: sqlite3.Connection, path: Path, version: int) -> Path:
    """Copy the database at `path` to `<name>.v<version>.bak`, durably; whole or not at all.

    Raises JournalError where there is no room or right for it. Nothing may write to the database meanwhile.
    """
    kept = path.with_name(f"{path.name}.v{version}.bak")
    part = kept.with_name(f"{kept.name}.part")
    try:
        part.unlink(missing_ok=True)
        with closing(sqlite3.connect(part)) as target:
            source.backup(target)
        _sync(part)
        part.replace(kept)
        _sync(path.parent)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            part.unlink()
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise JournalError(
            f"the journal is of schema version {version} and was not migrated, because it could not be copied "
            f"to {kept} before: {why}"
        ) from error
    return kept


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
