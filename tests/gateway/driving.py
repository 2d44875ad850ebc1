"""Clients of Interactive Brokers as subprocesses that a test drives."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import itertools
import json
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NAMES = ("ib_insync", "ib_async", "ibapi")
PATIENCE = 20.0
NUMBERS = itertools.count(1)

Event = tuple[str, list[Any]]


@functools.cache
def interpreter(name: str) -> Path:
    """The Python of a client's own environment, which is made where it is missing."""
    subprocess.run([ROOT / "hack" / "clients.sh", name], check=True, timeout=600, capture_output=True)
    cache = (
        os.environ.get("OPENBELL_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openbell"
    )
    return Path(cache) / "clients" / name / "bin" / "python"


def story(events: list[Event], order_id: int) -> list[str]:
    """What is told of an order, in order: openOrder and orderStatus as `+Status` and `Status`, an execution as `fill`
    with its shares, a commission report as `fee`, an error as its code.
    """
    found: list[str] = []
    fills: set[str] = set()
    for name, args in events:
        match name:
            case "openOrder" if args[0] == order_id:
                found.append(f"+{args[3]['status']}")
            case "orderStatus" if args[0] == order_id:
                found.append(args[1])
            case "execDetails" if args[2]["orderId"] == order_id:
                fills.add(args[2]["execId"])
                found.append(f"fill {args[2]['shares']:g}")
            case "commissionReport" if args[0]["execId"] in fills:
                found.append("fee")
            case "error" if args[0] == order_id:
                found.append(str(args[1]))
    return found


class Process:
    """A client's program, which serves one test after the other: to start one takes seconds."""

    def __init__(self, name: str) -> None:
        script = HERE / "clients" / ("ibapi_driver.py" if name == "ibapi" else "ib_driver.py")
        self.name = name
        self.life = 0
        self._heard: Callable[[dict[str, Any]], None] | None = None
        self._popen = subprocess.Popen(
            [interpreter(name), "-P", script, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(HERE / "clients"), "PYTHONWARNINGS": "ignore"},
        )
        atexit.register(self.end)
        threading.Thread(target=self._read, daemon=True).start()

    def listen(self, heard: Callable[[dict[str, Any]], None] | None) -> None:
        """From now on `heard` is given each message, on the loop that runs now."""
        loop = asyncio.get_running_loop()
        self._heard = None if heard is None else lambda message: _safely(loop, heard, message)

    def write(self, message: dict[str, Any]) -> None:
        """Give a command."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps(message).encode() + b"\n")
        self._popen.stdin.flush()

    def end(self) -> None:
        """End the program."""
        self._popen.kill()
        self._popen.wait()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            if self._heard is not None:
                self._heard(json.loads(line))
        if self._heard is not None:
            self._heard({"ended": True})


def _safely(loop: asyncio.AbstractEventLoop, heard: Callable[[dict[str, Any]], None], message: dict[str, Any]) -> None:
    with contextlib.suppress(RuntimeError):  # the test is over, and its loop closed
        loop.call_soon_threadsafe(heard, message)


IDLE: dict[str, list[Process]] = {name: [] for name in NAMES}


class Client:
    """One client. `events` holds what it was told, in order: a callback's name and its arguments."""

    def __init__(self, process: Process) -> None:
        self.name = process.name
        self.events: list[Event] = []
        self.hello: dict[str, Any] = {}
        self.is_broken = False
        self._process = process
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._changed = asyncio.Event()
        process.listen(self._hear)

    async def do(self, what: str, **values: Any) -> Any:
        """Have a command done; its result. Raises RuntimeError with the client's own words where it fails."""
        number = next(NUMBERS)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._process.write({"id": number, "do": what, **values})
        try:
            async with asyncio.timeout(PATIENCE):
                return await answer
        except TimeoutError:
            self.is_broken = True
            raise

    async def until(self, found: Callable[[list[Event]], Any], what: str = "") -> Any:
        """Wait until the events are as wanted; what `found` returned. Fails with the events where they never are."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not (result := found(self.events)):
                    self._changed.clear()
                    await self._changed.wait()
                return result
        except TimeoutError:
            told = "\n".join(f"{name} {json.dumps(args)[:300]}" for name, args in self.events[-40:])
            raise AssertionError(
                f"{self.name} was never told {what or 'what the test waits for'}; it was:\n{told}"
            ) from None

    def named(self, name: str, since: int = 0) -> list[list[Any]]:
        """The arguments of all events of a name."""
        return [args for event, args in self.events[since:] if event == name]

    async def told(self, order_id: int, *wanted: str, since: int = 0) -> None:
        """Wait until an order's story since an event is, or goes on from, `wanted`; see `story`."""

        def begins(events: list[Event]) -> bool:
            return story(events[since:], order_id)[: len(wanted)] == list(wanted)

        await self.until(begins, f"{' '.join(wanted)} of order {order_id}, but {story(self.events[since:], order_id)}")

    def _hear(self, message: dict[str, Any]) -> None:
        if "event" in message and message["life"] == self._process.life:
            self.events.append((message["event"], message["args"]))
        elif "id" in message and (answer := self._answers.pop(message["id"], None)) is not None and not answer.done():
            if "failure" in message:
                answer.set_exception(RuntimeError(message["failure"]))
            else:
                answer.set_result(message["result"])
        elif "ended" in message:
            self.is_broken = True
            for waiting in self._answers.values():
                if not waiting.done():
                    waiting.set_exception(RuntimeError(f"{self.name} ended"))
        self._changed.set()


@asynccontextmanager
async def client(name: str) -> AsyncIterator[Client]:
    """An unmodified client, as if just started, and not connected yet."""
    process = IDLE[name].pop() if IDLE[name] else await asyncio.to_thread(Process, name)
    driven = Client(process)
    try:
        process.life += 1
        await driven.do("fresh", life=process.life)
        yield driven
        await driven.do("fresh", life=process.life + 1)
    except BaseException:
        driven.is_broken = True
        raise
    finally:
        process.listen(None)
        if driven.is_broken:
            process.end()
        else:
            process.life += 1
            IDLE[name].append(process)
