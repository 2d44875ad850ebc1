"""What the drivers of all clients share: JSON lines on standard input and output. Runs in a client's environment."""

from __future__ import annotations

import json
import math
import sys
import threading
from typing import Any

_WRITING = threading.Lock()


def plain(value: Any, depth: int = 4) -> Any:
    """A client's object as JSON values; what a number leaves out (nan, the largest double) is None."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) or abs(value) > 1e300 else value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if depth == 0:
        return str(type(value).__name__)
    if isinstance(value, list | tuple | set) and not hasattr(value, "_fields"):
        return [plain(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item, depth - 1) for key, item in value.items()}
    names = getattr(value, "_fields", None) or getattr(value, "__dict__", None) or getattr(value, "__slots__", ())
    return {name: plain(getattr(value, name), depth - 1) for name in names}


def say(**message: Any) -> None:
    """One line to the test."""
    with _WRITING:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def heard(line: str) -> dict[str, Any]:
    """One command of the test."""
    command: dict[str, Any] = json.loads(line)
    return command
