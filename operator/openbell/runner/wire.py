"""What a runner and a worker say to each other: a length, a JSON object, and columns of float64 behind it.

Nothing that a worker sends is ever executed: there are plain values and numbers in it, and no pickled objects.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openbell.domain.bars import BarSeries, Floats
from openbell.domain.errors import OpenbellError

HEADER = struct.Struct(">II")
"""Length of the JSON text and of the columns behind it, in bytes."""
MAX_TEXT = 4 * 1024 * 1024
MAX_COLUMNS = 512 * 1024 * 1024
COLUMNS = ("end", "open", "high", "low", "close", "volume")
_NUMBER = np.dtype("<f8")


class WireError(OpenbellError):
    """What came is no message. Raised by who reads it; the other side is not to be talked to any more."""


@dataclass(frozen=True, slots=True)
class Message:
    """A JSON object, and float64 values behind it."""

    body: Mapping[str, Any]
    values: Floats


def encoded(body: Mapping[str, Any], columns: Sequence[Floats] = ()) -> bytes:
    """One message as bytes."""
    text = json.dumps(body, separators=(",", ":")).encode()
    raw = b"".join(column.astype(_NUMBER, copy=False).tobytes() for column in columns)
    return HEADER.pack(len(text), len(raw)) + text + raw


def lengths(header: bytes) -> tuple[int, int]:
    """Bytes of text and of columns that follow a header. Raises WireError for more than is ever sent."""
    text, raw = HEADER.unpack(header)
    if text > MAX_TEXT or raw > MAX_COLUMNS or raw % _NUMBER.itemsize:
        raise WireError(f"a message of {text} + {raw} bytes is not one of ours")
    return text, raw


def decoded(text: bytes, raw: bytes) -> Message:
    """A message from its two parts. Raises WireError where the text is no JSON object."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"the message is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise WireError("the message is not an object")
    return Message(body, np.frombuffer(raw, dtype=_NUMBER))


def columns_of(series: BarSeries) -> list[Floats]:
    """The columns of a series, in the order in which they are sent."""
    return [getattr(series, name) for name in COLUMNS]


def series_from(symbol: str, bar_seconds: int, count: int, values: Floats) -> BarSeries:
    """The series of `count` bars that `columns_of` has sent; read-only, as every series is."""
    if len(values) != count * len(COLUMNS):
        raise WireError(f"{len(values)} values are not {len(COLUMNS)} columns of {count} bars")
    return BarSeries(symbol, bar_seconds, *(values[i * count : (i + 1) * count] for i in range(len(COLUMNS))))
