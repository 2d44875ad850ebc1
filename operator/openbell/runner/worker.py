"""A process for one custom strategy: started when it is needed, killed when it is late, started again after that.

What it is kept from. Its environment is empty but for the path and the locale, so it has no credentials of a broker, no
API token and no address of a cluster; it inherits no socket and no file but its two pipes; its address space is
limited (`memory_limit`), and where memory runs out all the same the kernel takes it first; it can be killed at any time
with all that it has started. Where the kernel has Landlock (`confinement`), it reads no files but Python's own, so
neither the Kubernetes token nor the journal, opens no TCP connection, and neither signals nor traces the runner.

What it is not kept from. It runs as the same user, so without Landlock (a kernel before 5.13, a container runtime that
forbids it, a system other than Linux) it can read what the runner can read, the Kubernetes token included. It can send
UDP, use a whole processor until it is killed, and give signals that lose money. It holds back mistakes and keeps
secrets from careless code; it is no fence against an author who means harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from openbell.domain.bars import Floats
from openbell.domain.errors import OpenbellError
from openbell.runner.wire import HEADER, Message, WireError, decoded, encoded, lengths

log = structlog.get_logger("openbell.worker")

MOST_MEMORY_BYTES = 2 * 1024**3
LEAST_MEMORY_BYTES = 256 * 1024**2
"""Address space of a worker. Python with numpy and TA-Lib maps about 180 MB of it and touches 90."""
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
START_SECONDS = 30.0
"""How long a process may take until it answers at all: the machine may be busy with much else."""
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH")
_OWN_VARIABLES = {"OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


class WorkerError(OpenbellError):
    """A worker gave no answer: it was late, it died, or it said something else. One clause says which."""


class Worker:
    """At most one process, and one request at a time."""

    def __init__(self, name: str, *, memory_bytes: int | None = None) -> None:
        self._name = name
        self._memory_bytes = memory_bytes or memory_limit()
        self.confined: tuple[str, ...] = ()
        """What the kernel keeps the process from, as `confinement.confine` says."""
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.is_running else None

    async def start(self) -> None:
        """A fresh process that answers. Raises WorkerError."""
        async with self._turn:
            await self._end()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-s",
                "-m",
                "openbell.runner.child",
                str(self._memory_bytes),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | _OWN_VARIABLES,
                cwd="/",
                start_new_session=True,
            )
            process = self._process
            hello = await self._answer(process, START_SECONDS)
            self.confined = tuple(hello.body.get("confined") or ())
            log.info("worker.started", strategy=self._name, pid=process.pid, confined=self.confined)

    async def ask(self, body: Mapping[str, Any], columns: Sequence[Floats], seconds: float) -> Message:
        """The answer to one request. Raises WorkerError; the process is then killed, and `is_running` false."""
        async with self._turn:
            process = self._process
            if process is None or process.stdin is None:
                raise WorkerError("its process is not running")
            # A dead process is told of when the answer is read. (RuntimeError: uvloop's word for a closed pipe.)
            with contextlib.suppress(ConnectionError, RuntimeError):
                process.stdin.write(encoded(body, columns))
            return await self._answer(process, seconds)

    async def close(self) -> None:
        """Kill the process, if there is one, with all that it has started."""
        async with self._turn:
            await self._end()

    async def _answer(self, process: asyncio.subprocess.Process, seconds: float) -> Message:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        try:
            async with asyncio.timeout(seconds):
                text, raw = lengths(await process.stdout.readexactly(HEADER.size))
                return decoded(await process.stdout.readexactly(text), await process.stdout.readexactly(raw))
        except TimeoutError:
            await self._end()
            raise WorkerError(f"it gave no answer within {seconds:g} s, and its process was killed") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await process.wait()
            code = process.returncode
            await self._end()
            raise WorkerError(f"its process ended ({_ending(code)}) without an answer") from None
        except WireError as error:
            await self._end()
            raise WorkerError(f"its process was killed: {error}") from None
        except asyncio.CancelledError:
            # An answer that nobody waits for would be taken for the next request's.
            self._kill()
            raise

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _kill_group(process)
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()

    def _kill(self) -> None:
        if self._process is not None:
            _kill_group(self._process)


def memory_limit(container: Path = CONTAINER_LIMIT) -> int:
    """Bytes of address space for a worker: half of what the container may use, so that the runner keeps its own."""
    try:
        allowed = int(container.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return MOST_MEMORY_BYTES
    return max(LEAST_MEMORY_BYTES, min(MOST_MEMORY_BYTES, allowed // 2))


def _kill_group(process: asyncio.subprocess.Process) -> None:
    """Kill it and what it has started: it began a session of its own, whose group has its number."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _ending(code: int | None) -> str:
    if code is None:
        return "still ending"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
