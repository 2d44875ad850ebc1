"""uvicorn inside the runner's own event loop, without its signal handlers and without its exits."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp

from openbell.domain.errors import OpenbellError

PORT = 8021
_LIMIT_CONCURRENCY = 128
_WS_MAX_SIZE = 4096
_GRACE_SECONDS = 2
_START_SECONDS = 10.0


class ListenError(OpenbellError):
    """The API's address cannot be listened on. Raised at start; the process exits."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # SIGTERM belongs to the runner, which stops trading before it stops answering

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 = any free one. Raises ListenError."""
    # Bound here and not by uvicorn, which would end the whole process when the address is taken.
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ListenError(f"The API cannot open a socket for {host!r}: {error.strerror}.") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.setblocking(False)
    except (OSError, OverflowError) as error:
        sock.close()
        raise ListenError(f"The API cannot listen on {host}:{port}: {error}; choose a free address.") from error
    return sock


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, sock: socket.socket) -> AsyncIterator[int]:
    """Answer on `sock` while the block runs, then close within a few seconds. Gives the port.

    A failure of the server is raised when the block ends; until then /livez, which goes unanswered, tells of it.
    """
    config = uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=_WS_MAX_SIZE,
        ws_max_queue=4,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        ws_per_message_deflate=False,
        limit_concurrency=_LIMIT_CONCURRENCY,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        access_log=False,
        log_config=None,
        log_level="warning",  # a connection that opens is nothing that an operator on call wants to see
        lifespan="off",
        server_header=False,
        proxy_headers=False,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([sock]), name="web-server")
    try:
        async with asyncio.timeout(_START_SECONDS):
            await server.listening.wait()
        yield sock.getsockname()[1]
    finally:
        # Not a TaskGroup: it would cancel the server with a failing block, and clients would hang instead of closing.
        server.should_exit = True
        await task
