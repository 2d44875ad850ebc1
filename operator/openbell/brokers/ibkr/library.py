"""The one place where a library of Interactive Brokers' API is imported: ib_async, or else ib_insync.

The two cannot be installed together, for both own the module `eventkit`. What is used is the same in both: the
`Client`, which turns bytes into calls of an object that it is given, and the plain objects. The facade `IB` above it
is not used: it drops commissions that come before their execution, takes orders that live for cancelled (10349) and
answers a request that failed with an empty list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from openbell.brokers.ibkr.shapes import ClientShape
from openbell.domain.errors import BrokerError

CHOICES = ("ib_async", "ib_insync")
"""In this order, where both could be found."""


class LibraryMissingError(BrokerError):
    """Neither library is installed. Raised by `load`; the adapter says so of its link, and does not trade."""


@dataclass(frozen=True, slots=True)
class Library:
    """An installed library: its name, and how its objects are made."""

    name: str
    client: Callable[[Any], ClientShape]
    contract: Callable[..., Any]
    order: Callable[..., Any]
    execution_filter: Callable[..., Any]


def installed() -> tuple[str, ...]:
    """Names of the libraries that can be imported here."""
    return tuple(name for name in CHOICES if find_spec(name) is not None)


def load(name: str = "") -> Library:
    """The library of this name, or the one that is installed. To be called while a loop runs.

    ib_insync asks for the current loop when it is imported, and again for each connection. Where a loop was made by a
    factory (uvloop) nobody has called it the current one, so that is done here.
    """
    found = installed()
    chosen = name or (found[0] if found else "")
    if chosen not in found:
        wanted = name or "ib_async or ib_insync"
        raise LibraryMissingError(f"{wanted} is not installed; install openbell[ib-async] or openbell[ib-insync]")
    if chosen == "ib_async":
        import ib_async

        return Library(chosen, ib_async.Client, ib_async.Contract, ib_async.Order, ib_async.ExecutionFilter)
    asyncio.set_event_loop(asyncio.get_running_loop())
    import ib_insync

    return Library(chosen, ib_insync.Client, ib_insync.Contract, ib_insync.Order, ib_insync.ExecutionFilter)
