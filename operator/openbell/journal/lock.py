"""The folder's lock: whoever holds it is the only process that may open the journal."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from openbell.domain.errors import JournalError, JournalLockedError


class FolderLock:
    """An exclusive flock on `folder/lock`, which the kernel lets go when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        path = folder / "lock"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise JournalError(f"the journal folder {folder} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            if isinstance(error, BlockingIOError):
                raise JournalLockedError(
                    f"the journal folder {folder} is locked by another process (id {holder}); only one may use it"
                ) from error
            raise JournalError(f"the journal folder {folder} cannot be locked: {error.strerror}") from error
        with contextlib.suppress(OSError):  # who holds it is a courtesy, which a full disk does not stop us for
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go. Only after the database is closed."""
        os.close(self._descriptor)
