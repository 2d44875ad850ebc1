"""Clients of Interactive Brokers as subprocesses that a test drives."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NAMES = ("ib_insync", "ib_async", "ibapi")
PATIENCE = 20.0

Event = tuple[str, list[Any]]


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


class Client:
    """One client. `events` holds what it was told, in order: a callback's name and its arguments."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.events: list[Event] = []
        self.hello: dict[str, Any] = {}
        self._process = process
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._changed = asyncio.Event()
        self._number = 0
        self._reading = asyncio.create_task(self._read())

    async def do(self, what: str, **values: Any) -> Any:
        """Have a command done; its result. Raises RuntimeError with the client's own words where it fails."""
        self._number += 1
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": self._number, "do": what, **values}).encode() + b"\n")
        await self._process.stdin.drain()
        async with asyncio.timeout(PATIENCE):
            return await answer

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

    async def end(self) -> None:
        """End the process by closing what it reads."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            if "event" in message:
                self.events.append((message["event"], message["args"]))
            elif "id" in message:
                answer = self._answers.pop(message["id"])
                if "failure" in message:
                    answer.set_exception(RuntimeError(message["failure"]))
                else:
                    answer.set_result(message["result"])
            self._changed.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(RuntimeError(f"{self.name} ended"))


@asynccontextmanager
async def client(name: str) -> AsyncIterator[Client]:
    """An unmodified client, not connected yet."""
    script = HERE / "clients" / ("ibapi_driver.py" if name == "ibapi" else "ib_driver.py")
    process = await asyncio.create_subprocess_exec(
        interpreter(name),
        "-P",
        script,
        name,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
        env={**os.environ, "PYTHONPATH": str(HERE / "clients"), "PYTHONWARNINGS": "ignore"},
    )
    driven = Client(name, process)
    try:
        yield driven
    finally:
        await driven.end()
