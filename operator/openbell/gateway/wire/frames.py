"""Framing: bytes in, messages out, and back. No socket in sight.

A connection begins with the four bytes `API\\0`, followed by one frame with the versions that the client speaks
(`v157..176`, perhaps with options behind a space). Everything after that, in both directions, is a frame: four bytes
of length, big end first, then text fields that each end with a NUL.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from openbell.gateway.errors import FrameError

PREAMBLE = b"API\0"
HEADER = 4
MAX_FRAME = 1 << 20  # a client's longest message is an order with conditions, some kilobytes
_HELLO = re.compile(r"v(\d{1,9})\.\.(\d{1,9})(?: (.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Hello:
    """What a client announces: the versions of the protocol that it speaks."""

    lowest: int
    highest: int
    options: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as its fields; the first is its kind."""

    fields: tuple[str, ...]


class Framer:
    """Cuts what a client sends into its hello and its messages.

    Keeps at most one frame of `max_frame` bytes and what was given with it. After a FrameError it takes nothing more.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max_frame = max_frame
        self._buffer = bytearray()
        self._began = False
        self._greeted = False
        self._broken = False

    @property
    def is_broken(self) -> bool:
        """Whether something was wrong, after which nothing is read."""
        return self._broken

    @property
    def held(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Hello | Message]:
        """What `data` completes. Raises FrameError when it is not the protocol."""
        if self._broken:
            raise FrameError("nothing is read after a frame that was wrong")
        self._buffer += data
        found: list[Hello | Message] = []
        try:
            while (item := self._next()) is not None:
                found.append(item)
        except FrameError:
            self._broken = True
            self._buffer.clear()
            if found:  # what was right before is still answered; the next call tells of the rest
                return found
            raise
        return found

    def _next(self) -> Hello | Message | None:
        if not self._began:
            if not PREAMBLE.startswith(self._buffer[: len(PREAMBLE)]):
                raise FrameError("the connection does not begin with API")
            if len(self._buffer) < len(PREAMBLE):
                return None
            del self._buffer[: len(PREAMBLE)]
            self._began = True
        if len(self._buffer) < HEADER:
            return None
        (length,) = struct.unpack_from(">I", self._buffer)
        if not 0 < length <= self._max_frame:
            raise FrameError(f"a frame of {length} bytes; allowed are 1 to {self._max_frame}")
        if len(self._buffer) < HEADER + length:
            return None
        payload = bytes(self._buffer[HEADER : HEADER + length])
        del self._buffer[: HEADER + length]
        try:
            text = payload.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FrameError("a frame is not UTF-8 text") from error
        if not self._greeted:
            self._greeted = True
            return _hello(text)
        if not text.endswith("\0"):
            raise FrameError("a message does not end with NUL")
        return Message(tuple(text[:-1].split("\0")))


def _hello(text: str) -> Hello:
    found = _HELLO.fullmatch(text.rstrip("\0"))
    if found is None:
        raise FrameError("the first frame does not say which versions the client speaks")
    lowest, highest = int(found[1]), int(found[2])
    if lowest > highest:
        raise FrameError(f"the client's lowest version {lowest} is above its highest {highest}")
    return Hello(lowest, highest, found[3] or "")


def frame(fields: Iterable[str]) -> bytes:
    """One message as bytes. A NUL inside a field would move all that follow, so it becomes a space."""
    payload = b"".join(field.replace("\0", " ").encode("utf-8", "backslashreplace") + b"\0" for field in fields)
    return struct.pack(">I", len(payload)) + payload
