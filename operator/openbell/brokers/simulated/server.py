"""The venue as a process of its own: JSON lines over TCP.

A client says `{"op": "hello", "account": …, "heartbeat_seconds": …}` and is welcomed, or refused while another client
of the account is alive. Then come `order`, `modify` and `cancel` (one way; events tell what became of them) and, with
an `id` that the answer repeats, `account`, `positions`, `orders`, `fills`, `quote`, `bars` and `ping`. An answer
carries `value`, `empty` or `error`. A client that is silent for three heartbeats is dropped, so that its account is
free again.

`{"op": "admin"}` (where it is allowed) opens the back door for tests: `arrivals`, `executions`, `faults`, `trade`,
`disconnect`, `sessions`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from openbell.brokers.simulated import messages
from openbell.brokers.simulated.book import Book, BookError
from openbell.brokers.simulated.desk import Desk, VenueSettings
from openbell.brokers.simulated.faults import FaultKind, FaultPlan, parse_fault
from openbell.brokers.simulated.messages import Json, MessageError
from openbell.brokers.simulated.venue import Happened, OrderRequest
from openbell.domain.answers import Answer, ConfirmedEmpty, Value
from openbell.domain.bars import BarSeries
from openbell.domain.clock import Clock
from openbell.domain.errors import BrokerError, ManifestError
from openbell.domain.orders import Fill, Side
from openbell.market.base import MarketData

LINE_LIMIT = 16 * 1024 * 1024
HELLO_SECONDS = 10.0
REORDER_SECONDS = 0.2
SILENT_HEARTBEATS = 3


class Session:
    """One client's connection. Nothing is written to a frozen or dropped one."""

    def __init__(self, account: str, writer: asyncio.StreamWriter, silence_seconds: float | None) -> None:
        self.account = account
        self.silence_seconds = silence_seconds
        self._writer = writer
        self.frozen = asyncio.Event()
        self._held: list[Json] = []

    def write(self, message: Json) -> None:
        if self.frozen.is_set() or self._writer.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > LINE_LIMIT:
            self.drop()  # it does not read
            return
        self._writer.write(messages.encode(message))

    def hold(self, message: Json) -> None:
        """Say this after the next thing that is said, or soon."""
        self._held.append(message)
        asyncio.get_running_loop().call_later(REORDER_SECONDS, self.release)

    def release(self) -> None:
        held, self._held = self._held, []
        for message in held:
            self.write(message)

    def drop(self) -> None:
        """End the connection at once; what was not sent yet is lost."""
        self._writer.transport.abort()


class VenueServer:
    """Serves one desk. `serve` runs until cancelled and tells `ready` where it listens."""

    def __init__(
        self,
        book: Book,
        market: MarketData,
        clock: Clock,
        settings: VenueSettings,
        faults: FaultPlan | None = None,
        *,
        allow_admin: bool = False,
    ) -> None:
        self._market = market
        self._clock = clock
        self._settings = settings
        self._faults = faults or FaultPlan()
        self._allow_admin = allow_admin
        self._sessions: dict[str, Session] = {}
        self._connections: set[asyncio.StreamWriter] = set()
        self._lost: set[tuple[str, str]] = set()  # (account, order_ref) that are never told of
        self._desk = Desk(book, market, clock, settings, self._happened)

    async def serve(self, host: str, port: int, ready: Callable[[str, int], None]) -> None:
        """Listen and match until cancelled.

        Raises OSError when the address cannot be had, BookError when a fill cannot be recorded: a venue that cannot
        remember must not go on.
        """
        server = await asyncio.start_server(self._connected, host, port, limit=LINE_LIMIT)
        try:
            address = server.sockets[0].getsockname()
            ready(address[0], address[1])
            await self._desk.poll()
        finally:
            server.close()
            for writer in tuple(self._connections):
                writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                hello = messages.decode(await reader.readline())
            if hello.get("op") == "admin" and self._allow_admin:
                writer.write(messages.encode({"op": "welcome", "admin": True}))
                await self._admin(reader, writer)
            elif hello.get("op") == "hello":
                await self._trade(hello, reader, writer)
            else:
                writer.write(messages.encode({"op": "refused", "why": "this connection must begin with a hello"}))
        except (OSError, TimeoutError, BrokerError, ValueError):
            # The client is gone, silent or not understood, or what it asked could not be recorded. Closing its
            # connection is the whole answer: it owns the recovery, as with a real broker.
            writer.transport.abort()
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _trade(self, hello: Json, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        account, heartbeat = str(hello.get("account", "")), float(hello.get("heartbeat_seconds", 0))
        if not account:
            writer.write(messages.encode({"op": "refused", "why": "the hello names no account"}))
            return
        if account in self._sessions:
            why = f"the account {account} is in use by another client"
            writer.write(messages.encode({"op": "refused", "why": why}))
            return
        session = Session(account, writer, heartbeat * SILENT_HEARTBEATS or None)
        self._sessions[account] = session
        try:
            session.write({"op": "welcome", "account": account, "currency": self._settings.terms.currency})
            # What came behind an order that cost the connection is lost with it.
            while (line := await self._line(session, reader)) and not writer.is_closing():
                await self._handle(session, messages.decode(line))
                if session.frozen.is_set():
                    await reader.read(-1)  # the socket stays; whatever comes is not heard
        finally:
            del self._sessions[account]

    @staticmethod
    async def _line(session: Session, reader: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(session.silence_seconds):
            return await reader.readline()

    async def _handle(self, session: Session, message: Json) -> None:
        match message.get("op"):
            case "order":
                self._order(session, messages.request_from_row(message.get("order", {})))
            case "cancel":
                order_ref = str(message.get("order_ref", ""))
                self._lost.discard((session.account, order_ref))
                lose = self._faults.strikes(FaultKind.LOSE_CANCEL) is not None
                self._desk.cancel(session.account, order_ref, lose=lose)
            case "modify":
                order_ref = str(message.get("order_ref", ""))
                terms = messages.terms_from_row(message.get("terms", {}))
                lose = self._faults.strikes(FaultKind.LOSE_MODIFY) is not None
                self._desk.modify(session.account, order_ref, terms, lose=lose)
            case _:
                try:
                    answer = await self._answer(session, message)
                except (LookupError, TypeError, ValueError) as error:
                    raise MessageError(f"the question {message!r} is not well formed: {error!r}") from error
                if answer is not None:
                    session.write({"id": message.get("id"), **answer})

    def _order(self, session: Session, request: OrderRequest) -> None:
        strikes = self._faults.strikes
        if strikes(FaultKind.DROP_BEFORE):
            session.drop()
            return
        refuse = "rejected by a scripted fault" if strikes(FaultKind.REJECT) else ""
        if strikes(FaultKind.LOSE_ACK):
            self._lost.add((session.account, request.order_ref))
        if strikes(FaultKind.DROP_AFTER):
            session.drop()
        if strikes(FaultKind.FREEZE):
            session.frozen.set()
        self._desk.order(session.account, request, refuse=refuse)

    async def _answer(self, session: Session, message: Json) -> Json | None:
        """The answer to a question, or None where a fault swallows it."""
        account, op = session.account, message.get("op")
        if op in {"account", "positions", "orders", "fills"} and self._faults.strikes(FaultKind.MUTE_QUERIES):
            return None
        if op in {"quote", "bars"} and self._faults.strikes(FaultKind.MUTE_DATA):
            return None
        match op:
            case "ping":
                return {"value": self._clock.now().isoformat()}
            case "account":
                return {"value": messages.account_row(await self._desk.account(account))}
            case "positions":
                return _list([messages.position_row(one) for one in self._desk.positions(account)])
            case "orders":
                return _list([messages.update_row(one) for one in self._desk.orders(account)])
            case "fills":
                since = messages.moment(str(message["since"]))
                return _list([messages.fill_row(one) for one in self._desk.fills(account, since)])
            case "quote":
                quote = await self._market.quote(str(message["symbol"]), self._clock.now())
                return _market_answer(quote, messages.quote_row)
            case "bars":
                return _market_answer(await self._bars(message), messages.series_row)
        raise MessageError(f"the operation {op!r} is not known")

    async def _bars(self, message: Json) -> Answer[BarSeries]:
        # A client whose clock is ahead must not see bars that have not closed here.
        now = min(messages.moment(str(message["now"])), self._clock.now())
        return await self._market.bars(str(message["symbol"]), int(message["bar_seconds"]), int(message["count"]), now)

    # --- events ------------------------------------------------------------------------------------------------------

    def _happened(self, happened: Happened) -> None:
        session, event = self._sessions.get(happened.account), happened.event
        if session is None or (happened.account, event.order_ref) in self._lost:
            return
        if isinstance(event, Fill):
            message: Json = {"event": "fill", "fill": messages.fill_row(event)}
        else:
            message = {"event": "order", "order": messages.update_row(event)}
        delay = self._faults.strikes(FaultKind.DELAY)
        if delay is not None:
            asyncio.get_running_loop().call_later(delay.seconds, session.write, message)
            return
        if isinstance(event, Fill) and self._faults.strikes(FaultKind.REORDER_FILLS):
            session.hold(message)
            return
        session.write(message)
        if isinstance(event, Fill) and self._faults.strikes(FaultKind.DUPLICATE_FILLS):
            session.write(message)
        session.release()

    # --- the back door -----------------------------------------------------------------------------------------------

    async def _admin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            message = messages.decode(line)
            try:
                answer = self._administer(message)
            except (ManifestError, MessageError, BookError, ArithmeticError, LookupError, ValueError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            writer.write(messages.encode({"id": message.get("id"), **answer}))
            await writer.drain()

    def _administer(self, message: Json) -> Json:
        match message.get("op"):
            case "arrivals":
                return {"value": [_arrival(one) for one in self._desk.book.arrivals(message.get("account"))]}
            case "executions":
                return {"value": [messages.fill_row(one) for one in self._desk.book.executions()]}
            case "faults":
                faults = [parse_fault(str(text)) for text in message["faults"]]
                self._faults = FaultPlan(faults, self._settings.seed)
                return {"value": len(faults)}
            case "trade":
                side, quantity = Side(message["side"]), Decimal(str(message["quantity"]))
                request = OrderRequest(str(message.get("order_ref", "by hand")), str(message["symbol"]), side, quantity)
                self._desk.order(str(message["account"]), request, kind="Trade")
                return {"value": True}
            case "disconnect":
                session = self._sessions.get(str(message["account"]))
                if session is not None:
                    session.drop()
                return {"value": session is not None}
            case "sessions":
                return {"value": sorted(self._sessions)}
        raise MessageError(f"the operation {message.get('op')!r} is not known")


def _list(rows: list[Json]) -> Json:
    return {"value": rows} if rows else {"empty": True}


def _market_answer(answer: Answer[Any], row: Callable[[Any], Json]) -> Json:
    if isinstance(answer, Value):
        return {"value": row(answer.value)}
    return {"empty": True} if isinstance(answer, ConfirmedEmpty) else {"error": answer.why}


def _arrival(arrival: Any) -> Json:
    moment: datetime = arrival.time
    return {
        "number": arrival.number,
        "time": moment.isoformat(),
        "account": arrival.account,
        "kind": arrival.kind,
        "order_ref": arrival.order_ref,
        "message": arrival.message,
    }
