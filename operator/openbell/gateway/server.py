"""The sockets: one server, a connection a client, and a loop that lets time pass at the exchange."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from openbell.domain.clock import Clock, SystemClock
from openbell.gateway.errors import FieldError, FrameError
from openbell.gateway.exchange import Exchange
from openbell.gateway.fields import stamp
from openbell.gateway.hours import TradingHours
from openbell.gateway.order_reply import CompletedOrder, OpenOrder, write_completed_order, write_open_order
from openbell.gateway.pacing import MessageRate
from openbell.gateway.replies import ErrorMessage, Reply, write_reply
from openbell.gateway.requests import StartApi, read_request
from openbell.gateway.rules import unreadable
from openbell.gateway.session import NO_ID, Session
from openbell.gateway.settings import GatewaySettings
from openbell.gateway.wire import Framer, Hello, Message, frame

LOG = logging.getLogger(__name__)
LOWEST = 157  # the first version whose orders are read here
SKIPPED = range(158, 163)  # between these the clients themselves disagree on the layout of openOrder
READ_BYTES = 65_536
MOST_UNSENT = 16 * 1024 * 1024
START_SECONDS = 30.0  # that a client has between connecting and startApi
VIOLATIONS = 3  # seconds with too many messages, until the client is dropped


def negotiate(hello: Hello, most: int) -> int | None:
    """The version to speak with a client; None where there is none."""
    version = min(hello.highest, most)
    if version in SKIPPED:
        version = LOWEST
    return version if version >= max(LOWEST, hello.lowest) else None


class Connection:
    """One client's socket, from its hello on."""

    def __init__(self, writer: asyncio.StreamWriter, rate: MessageRate) -> None:
        self.version = 0
        self.session: Session | None = None
        self.rate = rate
        self.violations: set[int] = set()
        self._writer = writer

    def say(self, *said: Reply) -> None:
        """Write replies; nothing once the socket is closing."""
        if self._writer.is_closing():
            return
        self._writer.write(b"".join(frame(_fields(reply, self.version)) for reply in said))
        if self._writer.transport.get_write_buffer_size() > MOST_UNSENT:
            LOG.warning("a client does not read, and is dropped")
            self.drop()

    def raw(self, *fields: str) -> None:
        """Write a message that is not a reply: the answer to a hello."""
        self._writer.write(frame(fields))

    async def close(self) -> None:
        """Close after everything is written."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def drop(self) -> None:
        """End the connection at once; what was not written is lost."""
        self._writer.transport.abort()


def _fields(reply: Reply, version: int) -> list[str]:
    if isinstance(reply, OpenOrder):
        return write_open_order(reply, version)
    if isinstance(reply, CompletedOrder):
        return write_completed_order(reply, version)
    return write_reply(reply, version)


class Gateway:
    """A simulated gateway. `serve` runs until cancelled; `exchange` is the world, which a test may change."""

    def __init__(
        self, settings: GatewaySettings, clock: Clock | None = None, hours: TradingHours | None = None
    ) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.exchange = Exchange(settings.exchange, self.clock, hours)
        self.host = settings.host
        self.port = settings.port
        self.ready = asyncio.Event()
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._failure: asyncio.Future[None] | None = None

    @property
    def sessions(self) -> list[Session]:
        """The sessions of the clients that are connected."""
        return [connection.session for connection in self._connections if connection.session is not None]

    async def serve(self) -> None:
        """Listen until cancelled. Raises OSError when the address cannot be had."""
        self._failure = asyncio.get_running_loop().create_future()
        await self._listen()
        self.ready.set()
        ticking = asyncio.create_task(self._tick())
        try:
            await asyncio.wait({ticking, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                self._failure.result()
            await ticking
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)
            self._failure.cancel()
            await self._hang_up()

    async def restart(self, seconds: float = 0.0) -> None:
        """What happens every day: all connections end, the port refuses for a while, orders and ids stay."""
        await self._hang_up()
        self.exchange.restart()
        await asyncio.sleep(seconds)
        await self._listen()

    def disconnect(self, client_id: int | None = None) -> None:
        """Drop one client, or all."""
        for connection in tuple(self._connections):
            session = connection.session
            if client_id is None or (session is not None and session.client_id == client_id):
                connection.drop()

    def flush(self) -> None:
        """Tell the clients what has happened at the exchange."""
        for event in self.exchange.drain():
            for connection in tuple(self._connections):
                if connection.session is not None and (told := connection.session.tell(event)):
                    connection.say(*told)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _hang_up(self) -> None:
        if self._server is not None:
            self._server.close()
        self.disconnect()
        for _ in range(100):
            if not self._connections:
                break
            await asyncio.sleep(0.01)

    async def _tick(self) -> None:
        while True:
            self.exchange.advance()
            self.flush()
            for connection in tuple(self._connections):
                if connection.session is not None and (told := connection.session.pulse()):
                    connection.say(*told)
            await asyncio.sleep(self.settings.poll_seconds)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer, MessageRate(self.settings.max_messages_per_second))
        self._connections.add(connection)
        try:
            await self._converse(connection, reader)
        except (OSError, TimeoutError):
            pass  # the client went away, or said nothing
        except FrameError as error:
            LOG.warning("a client is disconnected: %s", error)
        except Exception as error:  # noqa: BLE001 - whatever it is ends the gateway, with its cause
            if self._failure is not None and not self._failure.done():
                self._failure.set_exception(error)
        finally:
            self._connections.discard(connection)
            await connection.close()

    async def _converse(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        framer = Framer()
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while True:
            async with asyncio.timeout_at(deadline if connection.session is None else None):
                data = await reader.read(READ_BYTES)
            if not data:
                return
            for item in framer.feed(data):
                going_on = self._greet(connection, item) if isinstance(item, Hello) else self._take(connection, item)
                if not going_on:
                    return

    def _greet(self, connection: Connection, hello: Hello) -> bool:
        version = negotiate(hello, self.settings.max_version)
        if version is None:
            LOG.warning("a client speaks %d to %d, which is too old", hello.lowest, hello.highest)
            return False
        connection.version = version
        connection.raw(str(version), _now_text(self.clock.now()))
        return True

    def _take(self, connection: Connection, message: Message) -> bool:
        """Deal with one message; whether the connection goes on."""
        if not self._in_time(connection):
            return len(connection.violations) < VIOLATIONS
        try:
            request = read_request(message.fields, connection.version)
        except FieldError as error:
            refusal = unreadable(str(error))
            connection.say(ErrorMessage(error.request_id, refusal.code, refusal.text))
            return True
        if connection.session is not None:
            connection.say(*connection.session.handle(request))
            self.flush()
            return True
        return isinstance(request, StartApi) and self._start(connection, request)

    def _start(self, connection: Connection, request: StartApi) -> bool:
        if any(session.client_id == request.client_id for session in self.sessions):
            text = "Unable to connect as the client id is already in use. Retry with a unique client id."
            connection.say(ErrorMessage(NO_ID, 326, text))
            return False
        self.flush()  # what came before is not for it
        connection.session = Session(request.client_id, self.exchange, self.settings)
        connection.say(*connection.session.greet())
        return True

    def _in_time(self, connection: Connection) -> bool:
        now = self.clock.monotonic()
        count = connection.rate.count(now)
        if not count:
            return True
        connection.violations.add(int(now))
        most = self.settings.max_messages_per_second
        text = f"Max rate of messages per second has been exceeded: max={most} rec={count}"
        connection.say(ErrorMessage(NO_ID, 100, text))
        return False


def _now_text(moment: datetime) -> str:
    return stamp(moment.astimezone(UTC)).replace("US/Eastern", "EST")


@contextlib.asynccontextmanager
async def running(
    settings: GatewaySettings | None = None, clock: Clock | None = None, hours: TradingHours | None = None
) -> AsyncIterator[Gateway]:
    """A gateway that listens while the block runs; a failure of it is raised at the block's end."""
    gateway = Gateway(settings or GatewaySettings(), clock, hours)
    serving = asyncio.create_task(gateway.serve())
    ready = asyncio.create_task(gateway.ready.wait())
    try:
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield gateway
    finally:
        ready.cancel()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
