"""Room on the disk that is kept for the worst moment: a start on a full disk, with positions open that need exits.

SQLite cannot open a database in WAL mode without room for its index. The reserve is given up for that, and made again
once there is room; while the disk is full, entries stop all the same (see `runner.writing`).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NAME = "reserve"
SIZE = 1 << 20
ROOM = 16 * SIZE
"""The reserve is made where at least so much would be left beside it."""


def keep(folder: Path) -> None:
    """Make the reserve where it is missing and there is room for it."""
    path = folder / NAME
    free = os.statvfs(folder)
    if path.exists() or free.f_bavail * free.f_frsize < ROOM:
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        with contextlib.suppress(OSError):  # a filesystem that cannot promise room, or one that has just filled up
            os.posix_fallocate(descriptor, 0, SIZE)
    finally:
        os.close(descriptor)


def give_up(folder: Path) -> bool:
    """Free the reserve; whether there was one."""
    path = folder / NAME
    had = path.exists() and path.stat().st_size > 0
    path.unlink(missing_ok=True)
    return had
