"""A venue in another process: broker and market data over one connection that is made again whenever it is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from openbell.brokers.base import REMEMBERED, BrokerEvent, ConnectionChanged, NotSentError
from openbell.brokers.simulated import messages
from openbell.brokers.simulated.messages import Json, MessageError
from openbell.brokers.simulated.server import LINE_LIMIT, SILENT_HEARTBEATS
from openbell.domain.account import Account
from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value
from openbell.domain.bars import BarSeries, Quote
from openbell.domain.errors import BrokerError
from openbell.domain.orders import Fill, Intent, OrderTerms, OrderUpdate
from openbell.domain.positions import BrokerPosition

FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 5.0
BACKLOG_BYTES = 256 * 1024

T = TypeVar("T")


class VenueRefusedError(BrokerError):
    """The venue does not take this client now; waited out with backoff."""


class RemoteVenue:
    """Broker and MarketData at `host:port`, trading the account named `account`.

    Every question has `request_seconds` to be answered, and is Unknown after that. When nothing has been heard for
    three heartbeats the connection counts as dead. `rng` only spreads the attempts to connect.
    """

    def __init__(
        self,
        host: str,
        port: int,
        account: str,
        *,
        request_seconds: float = 5.0,
        heartbeat_seconds: float = 2.0,
        rng: random.Random | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._account = account
        self._request_seconds = request_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._rng = rng or random.Random()
        self._writer: asyncio.StreamWriter | None = None
        self._why = "not connected yet"
        self.on_lost: Callable[[], object] = lambda: None
        self._next_id = 0
        self._waiting: dict[int, asyncio.Future[Json]] = {}
        self._events: asyncio.Queue[BrokerEvent] = asyncio.Queue()
        self._series: dict[tuple[str, int], tuple[int, BarSeries]] = {}

    # --- connection --------------------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return self._writer is not None and not self._writer.is_closing()

    async def run(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        try:
            while True:
                started = asyncio.get_running_loop().time()
                why = await self._connection()
                self._lost(why)
                # A task group that fails while it is being cancelled raises the failure alone.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError
                lasted = asyncio.get_running_loop().time() - started
                backoff = FIRST_BACKOFF_SECONDS if lasted > LONGEST_BACKOFF_SECONDS else backoff
                await asyncio.sleep(backoff * self._rng.uniform(0.5, 1.0))
                backoff = min(2 * backoff, LONGEST_BACKOFF_SECONDS)
        finally:
            self._lost("closed")

    async def _connection(self) -> str:
        """One connection from its making to its end; returns why it ended."""
        try:
            async with asyncio.timeout(self._request_seconds):
                reader, writer = await asyncio.open_connection(self._host, self._port, limit=LINE_LIMIT)
        except (OSError, TimeoutError) as error:
            return f"{self._host}:{self._port} cannot be reached ({error or 'timeout'})"
        why = "the venue closed the connection"
        try:
            await self._hello(reader, writer)
            self._writer = writer
            self._why = f"connected to {self._host}:{self._port}"
            self._events.put_nowait(ConnectionChanged(True, self._why))
            async with asyncio.TaskGroup() as tasks:
                heartbeat = tasks.create_task(self._heartbeat())
                await self._listen(reader)
                heartbeat.cancel()
        except* TimeoutError:
            why = "the venue fell silent"
        except* (OSError, BrokerError, ValueError) as group:
            why = str(_first(group))
        finally:
            writer.transport.abort()
        return why

    async def _hello(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = {"op": "hello", "account": self._account, "heartbeat_seconds": self._heartbeat_seconds}
        writer.write(messages.encode(hello))
        async with asyncio.timeout(self._request_seconds):
            welcome = messages.decode(await reader.readline())
        if welcome.get("op") != "welcome":
            raise VenueRefusedError(str(welcome.get("why", "the venue did not welcome us")))

    async def _heartbeat(self) -> None:
        while True:
            self._ask({"op": "ping"})
            await asyncio.sleep(self._heartbeat_seconds)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            async with asyncio.timeout(self._heartbeat_seconds * SILENT_HEARTBEATS):
                line = await reader.readline()
            if not line:
                return
            self._hear(messages.decode(line))

    def _hear(self, message: Json) -> None:
        try:
            match message.get("event"):
                case "order":
                    self._events.put_nowait(messages.update_from_row(message["order"]))
                case "fill":
                    self._events.put_nowait(messages.fill_from_row(message["fill"]))
                case _:
                    waiting = self._waiting.pop(message["id"], None)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(message)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise MessageError(f"the venue said something not understood: {error!r}") from error

    def _lost(self, why: str) -> None:
        was_connected, self._writer = self._writer is not None, None
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.cancel()
        if was_connected:
            self.on_lost()
        if was_connected or why != self._why:
            self._why = why
            self._events.put_nowait(ConnectionChanged(False, why))

    # --- one way -----------------------------------------------------------------------------------------------------

    def send(self, intent: Intent) -> None:
        order = messages.request_row(messages.request_of(intent))
        self._hand_over({"op": "order", "order": order}, f"order {intent.order_ref}")

    def modify(self, order_ref: str, terms: OrderTerms) -> None:
        message = {"op": "modify", "order_ref": order_ref, "terms": messages.terms_row(terms)}
        self._hand_over(message, f"the change of {order_ref}")

    def cancel(self, order_ref: str) -> None:
        self._hand_over({"op": "cancel", "order_ref": order_ref}, f"the cancel of {order_ref}")

    def _hand_over(self, message: Json, what: str) -> None:
        writer = self._writer
        if writer is None or writer.is_closing():
            raise NotSentError(f"{what} was not sent: {self._why}")
        if writer.transport.get_write_buffer_size() > BACKLOG_BYTES:
            raise NotSentError(f"{what} was not sent: the venue does not read what it was sent before")
        writer.write(messages.encode(message))

    async def events(self) -> AsyncIterator[BrokerEvent]:
        while True:
            yield await self._events.get()

    # --- questions ---------------------------------------------------------------------------------------------------

    def _ask(self, question: Json) -> asyncio.Future[Json]:
        """Send a question; the future is cancelled when the connection is lost."""
        self._next_id += 1
        future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._waiting[self._next_id] = future
        if self._writer is not None:
            self._writer.write(messages.encode({"id": self._next_id, **question}))
        return future

    async def _answer(self, question: Json, read: Callable[[Any], T]) -> Answer[T]:
        if not self.is_connected:
            return Unknown(self._why)
        future = self._ask(question)
        identity = self._next_id
        try:
            await asyncio.wait((future,), timeout=self._request_seconds)
        finally:
            self._waiting.pop(identity, None)
        if future.cancelled():
            return Unknown(f"the connection was lost before {question['op']} was answered")
        if not future.done():
            return Unknown(f"{question['op']} was not answered within {self._request_seconds:g} s")
        answer = future.result()
        if "error" in answer:
            return Unknown(str(answer["error"]))
        if answer.get("empty"):
            return ConfirmedEmpty()
        try:
            return Value(read(answer["value"]))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            return Unknown(f"the answer to {question['op']} was not understood: {error!r}")

    def remembers_since(self, now: datetime) -> datetime:
        return now - REMEMBERED

    async def account(self) -> Answer[Account]:
        return await self._answer({"op": "account"}, messages.account_from_row)

    async def positions(self) -> Answer[tuple[BrokerPosition, ...]]:
        return await self._answer({"op": "positions"}, _each(messages.position_from_row))

    async def orders(self) -> Answer[tuple[OrderUpdate, ...]]:
        return await self._answer({"op": "orders"}, _each(messages.update_from_row))

    async def fills(self, since: datetime) -> Answer[tuple[Fill, ...]]:
        return await self._answer({"op": "fills", "since": since.isoformat()}, _each(messages.fill_from_row))

    async def quote(self, symbol: str, now: datetime) -> Answer[Quote]:
        return await self._answer({"op": "quote", "symbol": symbol}, messages.quote_from_row)

    async def bars(self, symbol: str, bar_seconds: int, count: int, now: datetime) -> Answer[BarSeries]:
        """Closed bars do not change, so what was asked before is kept until a newer bar can have closed."""
        known = self._series.get((symbol, bar_seconds))
        if known is not None and known[0] >= count:
            last = known[1].last_end
            if last is not None and last <= now < last + timedelta(seconds=bar_seconds):
                return Value(_newest(known[1], count))
        question = {
            "op": "bars",
            "symbol": symbol,
            "bar_seconds": bar_seconds,
            "count": count,
            "now": now.astimezone(UTC).isoformat(),
        }
        answer = await self._answer(question, messages.series_from_row)
        if isinstance(answer, Value):
            self._series[symbol, bar_seconds] = (count, answer.value)
        return answer


def _each(read: Callable[[Json], T]) -> Callable[[list[Json]], tuple[T, ...]]:
    return lambda rows: tuple(read(row) for row in rows)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _newest(series: BarSeries, count: int) -> BarSeries:
    columns = (getattr(series, name)[-count:] for name in messages.SERIES_COLUMNS)
    return BarSeries(series.symbol, series.bar_seconds, *columns)
