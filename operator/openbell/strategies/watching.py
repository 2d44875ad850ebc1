"""Noticing that code asks what time it is. Only for checks: it puts other functions in the place of the clock's."""

from __future__ import annotations

import datetime as dt
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

_FUNCTIONS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "localtime", "gmtime")


@contextmanager
def clock_readings(module: str) -> Iterator[list[str]]:
    """The names of the clock's functions that are called meanwhile, by way of `time` or by the module's own names.

    What another module has taken from `time` or `datetime` under its own name is not seen, nor is code in C.
    """
    readings: list[str] = []
    stand_ins: dict[int, Any] = {}
    with ExitStack() as stack:
        for name in _FUNCTIONS:
            stand_in = _told(getattr(time, name), f"time.{name}", readings)
            stand_ins[id(getattr(time, name))] = stand_in
        for base in (dt.datetime, dt.date):
            stand_ins[id(base)] = _watched(base, readings)
        namespace = vars(sys.modules[module])
        for name, value in list(namespace.items()):
            if id(value) in stand_ins:
                stack.enter_context(patch.dict(namespace, {name: stand_ins[id(value)]}))
        for name in _FUNCTIONS:
            stack.enter_context(patch.object(time, name, stand_ins[id(getattr(time, name))]))
        for base in (dt.datetime, dt.date):
            stack.enter_context(patch.object(dt, base.__name__, stand_ins[id(base)]))
        yield readings


def _told(function: Callable[..., Any], name: str, readings: list[str]) -> Callable[..., Any]:
    watched = threading.get_ident()

    def stand_in(*arguments: Any) -> Any:
        if threading.get_ident() == watched:  # other threads of the process read the clock as they must
            readings.append(name)
        return function(*arguments)

    return stand_in


def _watched(base: type[dt.date], readings: list[str]) -> type:
    """A class that is `base` to every `isinstance`, makes values of `base`, and tells who asks it for now."""

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, base)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, base)

        def __call__(cls, *arguments: Any, **named: Any) -> Any:
            return base(*arguments, **named)

        def __getattr__(cls, name: str) -> Any:
            return getattr(base, name)

    def asking(name: str) -> Callable[..., Any]:
        return _told(getattr(base, name), f"{base.__name__}.{name}", readings)

    asked = [name for name in ("now", "utcnow", "today") if hasattr(base, name)]
    return Meta(base.__name__, (), {name: staticmethod(asking(name)) for name in asked})
