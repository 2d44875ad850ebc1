"""What the commands that run for long have in common."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from openbell.domain.errors import OpenbellError

T = TypeVar("T")
SWITCH_SECONDS = 0.001


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop; of several failures at once the first of ours is raised, so that a person reads one sentence."""
    import uvloop

    # The evaluation thread is to give way to the event loop, which closes the gate, sooner than Python's 5 ms.
    sys.setswitchinterval(SWITCH_SECONDS)
    # What was imported stays; the collector's walks over it would hold up orders by tens of milliseconds.
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    ours, others = group.split(OpenbellError)
    chosen: BaseException = others if others is not None else ours or group
    while isinstance(chosen, BaseExceptionGroup):
        chosen = chosen.exceptions[0]
    return chosen
