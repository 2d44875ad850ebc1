"""A mark on the disk that orders may have left which the journal does not have.

An exit goes on while the journal cannot be written. A process that ends before it could make up for that leaves no
other trace of such an order, which may still be on its way: the next process would number its own exit the same, and
the broker would have both. So the mark is made before the order leaves, and whoever finds it asks the broker first.

It is one byte that is written over where it stands, which takes no room on a disk that is full.
"""

from __future__ import annotations

import os
from pathlib import Path

import structlog

log = structlog.get_logger("openbell.unwritten")

NAME = "unwritten"
CLEAR, SET = b"0", b"1"


class Unwritten:
    """The mark in a journal's folder. None of its faults is fatal; one that is not there to be read counts as set.

    `is_inherited`: a process before this one has left it, and the broker has not been asked since. `is_new`: the folder
    has no journal yet, so there was none.
    """

    def __init__(self, folder: Path, *, is_new: bool) -> None:
        self._path = folder / NAME
        self._known = self._write(CLEAR) if is_new else self._read()
        self.is_inherited = not is_new and self._known != CLEAR

    def set(self) -> None:
        """From here on something may leave unwritten."""
        if self._known != SET:
            self._known = self._write(SET)

    def settle(self) -> None:
        """The broker has told of everything that a process before this one may have sent."""
        self.is_inherited = False

    def clear(self) -> None:
        """The journal has everything again; what was inherited stays until it is settled."""
        if self._known != CLEAR and not self.is_inherited:
            self._known = self._write(CLEAR)

    def _read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except OSError as error:
            log.warning("mark.not-read", error=str(error))
            return None

    def _write(self, mark: bytes) -> bytes | None:
        """What stands there now; None where that is not known."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(descriptor, mark, 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.error("mark.not-written", error=str(error))
            return None
        return mark
