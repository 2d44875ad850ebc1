"""The sockets: one server, a connection a client, and a loop that lets time pass at the exchange."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from openbell.domain.clock import Clock, SystemClock
from openbell.gateway.errors import FieldError, FrameError
from openbell.gateway.events import Broadcast, Notice
from openbell.gateway.exchange import Exchange
from openbell.gateway.faults import Fault, FaultPlan, Kind
from openbell.gateway.hours import TradingHours
from openbell.gateway.line import Line
from openbell.gateway.pacing import MessageRate
from openbell.gateway.rules import (
    CLIENT_ID_IN_USE,
    NOT_CONNECTED,
    PACING_VIOLATION,
    Refusal,
    unreadable,
)
from openbell.gateway.session import NO_ID, Session
from openbell.gateway.settings import GatewaySettings
from openbell.gateway.wire.fields import stamp
from openbell.gateway.wire.frames import Framer, Hello, Message, frame
from openbell.gateway.wire.order_reply import CompletedOrder, OpenOrder, write_completed_order, write_open_order
from openbell.gateway.wire.replies import ErrorMessage, Reply, write_reply
from openbell.gateway.wire.requests import CancelOrder, HistoryWanted, PlaceOrder, StartApi, read_request

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

    def __init__(self, writer: asyncio.StreamWriter, rate: MessageRate, line: Line) -> None:
        self.version = 0
        self.line = line
        self.session: Session | None = None
        self.rate = rate
        self.violations: set[int] = set()
        self._writer = writer

    def say(self, said: list[Reply]) -> None:
        """Write replies; nothing once the socket is closing."""
        if self._writer.is_closing() or not said:
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
        self.faults = FaultPlan(settings.faults, settings.exchange.seed)
        self.failure: BaseException | None = None  # what ended it, if anything did
        self.is_offline = False  # the gateway's own connection to the broker is lost
        self.host = settings.host
        self.port = settings.port
        self.ready = asyncio.Event()
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._failure: asyncio.Future[None] | None = None
        self._began = self.clock.monotonic()
        self._restore: tuple[float, bool] | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._one_restart = asyncio.Lock()

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
            if ticking.done() and not ticking.cancelled() and (error := ticking.exception()) is not None:
                self._fail(error)
            self._failure.result()
        finally:
            # All that needs no waiting comes first: whoever runs this may be cancelled while it waits.
            self._close()
            ending = [task for task in (ticking, self._restarting) if task is not None]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            self._failure.cancel()
            await self._hang_up()

    async def restart(self, seconds: float = 0.0) -> None:
        """What happens every day: all connections end, the port refuses for a while, orders and ids stay.

        One after the other, where several are asked for at a time: a port is listened on once.
        """
        async with self._one_restart:
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

    def freeze(self, client_id: int) -> None:
        """Neither read from nor write to a client any more, and leave its socket open."""
        for connection in self._connections:
            if connection.session is not None and connection.session.client_id == client_id:
                connection.line.frozen = True

    def lose_connectivity(self) -> None:
        """Lose the broker: 1100. Orders go on at the exchange; nobody is told what becomes of them."""
        if not self.is_offline:
            self.flush()
            self.exchange.broadcast(1100, "Connectivity between IBKR and Trader Workstation has been lost.")
            self.flush()
            self.is_offline = True

    def restore_connectivity(self, *, data_lost: bool = False) -> None:
        """Find the broker again: 1101, after which clients must ask for market data again, or 1102."""
        if not self.is_offline:
            return
        self.flush()
        self.is_offline = False
        self._restore = None
        restored = "Connectivity between IBKR and Trader Workstation has been restored - data"
        if data_lost:
            for session in self.sessions:
                session.lose_market_data()
            self.exchange.broadcast(1101, f"{restored} lost.")
        else:
            farms = "All data farms are connected: usfarm; ushmds; secdefnj."
            self.exchange.broadcast(1102, f"{restored} maintained. {farms}")
        self.flush()

    def add_fault(self, fault: Fault) -> None:
        """One more thing that is to go wrong, counted from now on."""
        self.faults.add(fault, self.clock.monotonic() - self._began)

    def flush(self) -> None:
        """Tell the clients what has happened at the exchange. While it is offline nobody is told but of refusals."""
        now = self.clock.monotonic()
        for event in self.exchange.drain():
            if self.is_offline and not isinstance(event, Notice | Broadcast):
                continue
            for connection in tuple(self._connections):
                if connection.session is not None:
                    connection.say(connection.line.tell(connection.session.tell(event), now))

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.disconnect()

    async def _hang_up(self) -> None:
        self._close()
        for _ in range(100):
            if not self._connections:
                break
            await asyncio.sleep(0.01)

    async def _tick(self) -> None:
        while True:
            await self._timed_faults()
            self.exchange.advance()
            self.flush()
            now = self.clock.monotonic()
            for connection in tuple(self._connections):
                if connection.session is not None:
                    connection.say(connection.line.due(now))
                    if not self.is_offline:
                        connection.say(connection.line.answer(connection.session.pulse(), now))
            await asyncio.sleep(self.settings.poll_seconds)

    async def _timed_faults(self) -> None:
        elapsed = self.clock.monotonic() - self._began
        if self._restore is not None and elapsed >= self._restore[0]:
            self.restore_connectivity(data_lost=self._restore[1])
        for fault in self.faults.due(elapsed):
            match fault.kind:
                case Kind.CONNECTIVITY_LOST:
                    self.lose_connectivity()
                    self._restore = (elapsed + fault.seconds, fault.data_lost)
                case Kind.DISCONNECT:
                    self.disconnect()
                case Kind.RESTART:
                    await self.restart(fault.seconds)
                case Kind.ROLL_BACK_IDS:
                    for client_id in self.exchange.clients():
                        self.exchange.roll_back_ids(client_id, fault.steps)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rate = MessageRate(self.settings.max_messages_per_second)
        connection = Connection(writer, rate, Line(self.faults))
        self._connections.add(connection)
        try:
            await self._converse(connection, reader)
        except (OSError, TimeoutError):
            pass  # the client went away, or said nothing
        except FrameError as error:
            LOG.warning("a client is disconnected: %s", error)
        except Exception as error:  # noqa: BLE001 - whatever it is ends the gateway, with its cause
            self._fail(error)
        finally:
            connection.session = None  # its client id is free from here on
            await connection.close()
            self._connections.discard(connection)

    async def _converse(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        framer = Framer()
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while True:
            async with asyncio.timeout_at(deadline if connection.session is None else None):
                data = await reader.read(READ_BYTES)
            if not data:
                return
            if connection.line.frozen:
                continue
            for item in framer.feed(data):
                going_on = self._greet(connection, item) if isinstance(item, Hello) else self._take(connection, item)
                if not going_on:
                    return
            if framer.is_broken:
                raise FrameError("what followed its last message is not the protocol")

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
        now = self.clock.monotonic()
        try:
            request = read_request(message.fields, connection.version)
        except FieldError as error:
            refusal = unreadable(str(error))
            connection.say(connection.line.answer([_refused(error.request_id, refusal)], now))
            return True
        session = connection.session
        if session is None:
            return isinstance(request, StartApi) and self._start(connection, request)
        if (slow := self.faults.strike(Kind.SLOW)) is not None:
            connection.line.slow(now, slow.seconds)
        if self.faults.strike(Kind.RATE_EXCEEDED) is not None:
            self._refuse_rate(connection, self.settings.max_messages_per_second + 1)
            return True
        match request:
            case PlaceOrder():
                return self._place(connection, session, request)
            case CancelOrder(order_id) if self.is_offline:
                connection.say(connection.line.answer([_refused(order_id, NOT_CONNECTED)], now))
            case CancelOrder() if self.faults.strike(Kind.LOSE_CANCEL) is not None:
                pass
            case HistoryWanted(number) if self.faults.strike(Kind.PACING) is not None:
                connection.say(connection.line.answer([_refused(number, PACING_VIOLATION)], now))
            case _:
                connection.say(connection.line.answer(session.handle(request), now))
        self.flush()
        return True

    def _place(self, connection: Connection, session: Session, request: PlaceOrder) -> bool:
        """Take an order, or do with it what was planned to go wrong; whether the connection goes on."""
        if self.is_offline:
            answer = [_refused(request.order_id, NOT_CONNECTED)]
            connection.say(connection.line.answer(answer, self.clock.monotonic()))
            return True
        if self.faults.strike(Kind.DISCONNECT_BEFORE_ORDER) is not None:
            connection.drop()
            return False
        if self.faults.strike(Kind.DROP_ACKNOWLEDGEMENT) is not None:
            connection.line.mute(request.order_id)
        away = self.faults.strike(Kind.FILL_WHILE_AWAY) is not None
        restart = self.faults.strike(Kind.RESTART_IN_ORDER)
        if self.faults.strike(Kind.HALF_OPEN) is not None:
            connection.line.frozen = True
        ends = self.faults.strike(Kind.DISCONNECT_AFTER_ORDER) is not None or away or restart is not None
        session.handle(request)
        order = self.exchange.order(session.client_id, request.order_id)
        if order is not None and order.is_working:
            if self.faults.strike(Kind.REJECT) is not None:
                self.exchange.reject(order, "Rejected by the exchange")
            elif away:
                self.exchange.fill(order, order.remaining, self.exchange.mark(order.contract))
        if ends:
            connection.session = None
            connection.drop()
        if restart is not None:
            self._restarting = asyncio.create_task(self.restart(restart.seconds))
            self._restarting.add_done_callback(self._restarted)
        self.flush()
        return not ends

    def _restarted(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """End the gateway with its cause."""
        self.failure = self.failure or error
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    def _start(self, connection: Connection, request: StartApi) -> bool:
        if any(session.client_id == request.client_id for session in self.sessions):
            connection.say([_refused(NO_ID, CLIENT_ID_IN_USE)])
            return False
        self.flush()  # what came before is not for it
        connection.session = Session(request.client_id, self.exchange, self.settings)
        connection.say(connection.line.answer(connection.session.greet(), self.clock.monotonic()))
        return True

    def _in_time(self, connection: Connection) -> bool:
        now = self.clock.monotonic()
        count = connection.rate.count(now)
        if not count:
            return True
        connection.violations.add(int(now))
        self._refuse_rate(connection, count)
        return False

    def _refuse_rate(self, connection: Connection, count: int) -> None:
        most = self.settings.max_messages_per_second
        text = f"Max rate of messages per second has been exceeded: max={most} rec={count}"
        connection.say(connection.line.answer([ErrorMessage(NO_ID, 100, text)], self.clock.monotonic()))


def _refused(request_id: int, refusal: Refusal) -> ErrorMessage:
    return ErrorMessage(request_id, refusal.code, refusal.text)


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
        if gateway.failure is None:
            serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        if gateway.failure is not None:
            raise gateway.failure
