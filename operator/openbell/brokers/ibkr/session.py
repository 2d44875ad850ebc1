"""One connection to the gateway: requests out, what comes in told to a listener, questions with their answers.

A question that is not answered in time, that is refused, that loses its connection, or of whose answer the library
dropped a message that it could not read, is Unknown. It is never an empty list.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC
from types import SimpleNamespace
from typing import Any, Protocol

from openbell.brokers.ibkr.account import Row
from openbell.brokers.ibkr.errors import READ_ONLY, sentence
from openbell.brokers.ibkr.history import HistoryQuery
from openbell.brokers.ibkr.library import Library
from openbell.brokers.ibkr.shapes import (
    BarShape,
    ClientShape,
    CommissionShape,
    ContractDetailsShape,
    ContractShape,
    ExecutionShape,
    OrderShape,
    OrderStateShape,
    TransportShape,
)
from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value

BACKLOG_BYTES = 64 * 1024
FIRST_QUESTION = 1_000_000_000
"""Questions and orders share the numbers that errors name; orders never come this far."""
GATEWAY_ZONE = "America/New_York"
"""Of execution times without a zone, which gateways of this protocol version no longer send."""

NO_NUMBER = -1
TOO_FAST = 100
NO_SECURITY = 200
"""To the question what a symbol is, this is the answer that it is nothing."""
WHAT = "TRADES"
EPOCH_DATES = 2
"""Times of bars in seconds since 1970; the days of daily bars are dates all the same."""
OPEN_ORDERS = "open orders"
COMPLETED_ORDERS = "completed orders"
POSITIONS = "positions"


class LinkListener(Protocol):
    """Who is told of the connection itself, in the gateway's order. Nothing here may await."""

    def on_heard(self) -> None: ...

    def on_connection_lost(self, why: str) -> None: ...

    def on_garbled(self, what: str) -> None: ...

    def on_error(self, number: int, code: int, text: str) -> None: ...


class OrderListener(Protocol):
    """Who is told of orders and executions. Nothing here may await."""

    def on_open_order(
        self, number: int, contract: ContractShape, order: OrderShape, state: OrderStateShape
    ) -> None: ...

    def on_status(
        self, number: int, status: str, filled: float, average_price: float, perm_id: int, client_id: int
    ) -> None: ...

    def on_completed(self, contract: ContractShape, order: OrderShape, state: OrderStateShape) -> None: ...

    def on_execution(self, contract: ContractShape, execution: ExecutionShape) -> None: ...

    def on_commission(self, report: CommissionShape) -> None: ...


class DataListener(Protocol):
    """Who is told of market data, by the number of its request. Nothing here may await.

    A number that is not known is of a request that was given up: what comes of it is passed over.
    """

    def on_bar(self, number: int, bar: BarShape) -> None:
        """A bar of the answer to a request for history."""

    def on_bars_end(self, number: int) -> None:
        """The answer is complete."""

    def on_bar_update(self, number: int, bar: BarShape) -> None:
        """The newest bar of history that is kept up to date, as far as it has come."""

    def on_price(self, number: int, kind: int, price: float) -> None: ...

    def on_tick_value(self, number: int, kind: int, value: float) -> None: ...

    def on_data_type(self, number: int, kind: int) -> None:
        """What the ticks of a request are: 1 live, 2 frozen, 3 delayed, 4 delayed and frozen."""

    def on_data_error(self, number: int, code: int, text: str) -> None: ...


class NoData:
    """Nobody has asked for market data."""

    def on_bar(self, number: int, bar: BarShape) -> None: ...

    def on_bars_end(self, number: int) -> None: ...

    def on_bar_update(self, number: int, bar: BarShape) -> None: ...

    def on_price(self, number: int, kind: int, price: float) -> None: ...

    def on_tick_value(self, number: int, kind: int, value: float) -> None: ...

    def on_data_type(self, number: int, kind: int) -> None: ...

    def on_data_error(self, number: int, code: int, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class PositionRow:
    """One position of one account."""

    account: str
    contract: ContractShape
    quantity: float
    average_cost: float


@dataclass(slots=True)
class Question:
    """What is being asked, and the rows that have come."""

    what: str
    answer: asyncio.Future[Unknown | None]
    rows: list[Any] = field(default_factory=list)


class _Dropped(logging.Handler):
    """Hears what the library's decoder logs when it could not read a message, or we could not take one."""

    def __init__(self, told: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        self._told(record.getMessage())


class Callbacks:
    """What the library's client calls. The names and arguments are the API's own."""

    def __init__(self, listener: LinkListener, orders: OrderListener, data: DataListener) -> None:
        self.ib = SimpleNamespace(TimezoneTWS=GATEWAY_ZONE)  # both decoders look for the zone here
        self.defaultTimezone = UTC
        self.listener = listener
        self.orders = orders
        self.data = data
        self.questions: dict[int | str, Question] = {}
        self.next_valid_id = 0
        self.is_over = False
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.last_error = ""

    # --- the connection ----------------------------------------------------------------------------------------------

    def connectAck(self) -> None:
        """The version was agreed upon."""

    def nextValidId(self, reqId: int) -> None:
        self.next_valid_id = reqId

    def tcpDataArrived(self) -> None:
        if not self.is_over:
            self.listener.on_heard()

    def currentTime(self, time: int) -> None:
        """The answer to a heartbeat; that bytes came is all that it is for."""

    def setEventsDone(self) -> None:
        """The socket is gone, during the handshake or after it."""
        if not self.over.done():
            self.over.set_result(self.last_error or "the gateway closed the connection")
        self.finish("the connection was lost")

    def connectionClosed(self) -> None:
        """The socket of a connection that was ready is gone; `setEventsDone` came before."""

    def finish(self, why: str) -> None:
        """Nothing more is told, and no question gets its answer."""
        was_over, self.is_over = self.is_over, True
        self.fail(why)
        if not was_over:
            self.listener.on_connection_lost(self.last_error or "the gateway closed the connection")

    def error(self, reqId: int, errorCode: int, errorString: str, advancedOrderRejectJson: str = "") -> None:
        if self.is_over:
            return
        said = sentence(errorCode, errorString)
        if reqId >= FIRST_QUESTION:
            question = self.questions.get(reqId)
            if question is None:
                self.data.on_data_error(reqId, errorCode, errorString)
            elif not question.answer.done():
                is_nothing = errorCode == NO_SECURITY and "ambiguous" not in errorString.lower()
                question.answer.set_result(None if is_nothing else Unknown(said))
            if errorCode == TOO_FAST:
                self.listener.on_error(NO_NUMBER, errorCode, errorString)  # of a message, whichever it names
            return
        if READ_ONLY in errorString.lower():
            self.fail(said)  # what was asked without a number is refused without one
        if errorCode == 326:
            self.last_error = said
        self.listener.on_error(reqId, errorCode, errorString)

    def fail(self, why: str) -> None:
        for question in self.questions.values():
            if not question.answer.done():
                question.answer.set_result(Unknown(why))

    # --- orders and executions ---------------------------------------------------------------------------------------

    def openOrder(self, orderId: int, contract: ContractShape, order: OrderShape, orderState: OrderStateShape) -> None:
        if not self.is_over:
            self.orders.on_open_order(orderId, contract, order, orderState)

    def openOrderEnd(self) -> None:
        self._end(OPEN_ORDERS)

    def orderStatus(
        self,
        orderId: int,
        status: str,
        filled: float,
        remaining: float,
        avgFillPrice: float,
        permId: int,
        parentId: int,
        lastFillPrice: float,
        clientId: int,
        whyHeld: str,
        mktCapPrice: float = 0.0,
    ) -> None:
        if not self.is_over:
            self.orders.on_status(orderId, status, filled, avgFillPrice, permId, clientId)

    def completedOrder(self, contract: ContractShape, order: OrderShape, orderState: OrderStateShape) -> None:
        if not self.is_over:
            self.orders.on_completed(contract, order, orderState)

    def completedOrdersEnd(self) -> None:
        self._end(COMPLETED_ORDERS)

    def execDetails(self, reqId: int, contract: ContractShape, execution: ExecutionShape) -> None:
        if not self.is_over:
            self.orders.on_execution(contract, execution)

    def execDetailsEnd(self, reqId: int) -> None:
        self._end(reqId)

    def commissionReport(self, commissionReport: CommissionShape) -> None:
        if not self.is_over:
            self.orders.on_commission(commissionReport)

    # --- answers -----------------------------------------------------------------------------------------------------

    def position(self, account: str, contract: ContractShape, posSize: float, avgCost: float) -> None:
        self._row(POSITIONS, PositionRow(account, contract, posSize, avgCost))

    def positionEnd(self) -> None:
        self._end(POSITIONS)

    def accountSummary(self, reqId: int, account: str, tag: str, value: str, currency: str) -> None:
        self._row(reqId, Row(account, tag, value, currency))

    def accountSummaryEnd(self, reqId: int) -> None:
        self._end(reqId)

    def contractDetails(self, reqId: int, contractDetails: ContractDetailsShape) -> None:
        self._row(reqId, contractDetails)

    def contractDetailsEnd(self, reqId: int) -> None:
        self._end(reqId)

    # --- market data -------------------------------------------------------------------------------------------------

    def historicalData(self, reqId: int, bar: BarShape) -> None:
        if not self.is_over:
            self.data.on_bar(reqId, bar)

    def historicalDataEnd(self, reqId: int, start: str, end: str) -> None:
        if not self.is_over:
            self.data.on_bars_end(reqId)

    def historicalDataUpdate(self, reqId: int, bar: BarShape) -> None:
        if not self.is_over:
            self.data.on_bar_update(reqId, bar)

    def priceSizeTick(self, reqId: int, tickType: int, price: float, size: float) -> None:
        if not self.is_over:
            self.data.on_price(reqId, tickType, price)

    def tickGeneric(self, reqId: int, tickType: int, value: float) -> None:
        if not self.is_over:
            self.data.on_tick_value(reqId, tickType, value)

    def marketDataType(self, reqId: int, marketDataId: int) -> None:
        if not self.is_over:
            self.data.on_data_type(reqId, marketDataId)

    # --- rows of answers ---------------------------------------------------------------------------------------------

    def _row(self, key: int | str, row: object) -> None:
        question = self.questions.get(key)
        if question is not None:
            question.rows.append(row)

    def _end(self, key: int | str) -> None:
        question = self.questions.get(key)
        if question is not None and not question.answer.done():
            question.answer.set_result(None)


class Session:
    """One connection, from its handshake to its end. Each is used once."""

    def __init__(
        self,
        library: Library,
        listener: LinkListener,
        orders: OrderListener,
        data: DataListener,
        request_seconds: float,
    ) -> None:
        self._library = library
        self._listener = listener
        self._request_seconds = request_seconds
        self._callbacks = Callbacks(listener, orders, data)
        self._next = FIRST_QUESTION
        self._locks: dict[str, asyncio.Lock] = {}
        self.client: ClientShape = library.client(self._callbacks)
        self.client.MaxRequests = 0  # our own bucket decides; the library would keep an order back and not say so
        logging.getLogger(f"{library.name}.client").setLevel(logging.CRITICAL)  # the adapter says itself what it is
        self._decoder_log = logging.getLogger(f"{library.name}.Decoder")
        self._dropped = _Dropped(self._on_dropped)

    @property
    def next_valid_id(self) -> int:
        return self._callbacks.next_valid_id

    @property
    def _transport(self) -> TransportShape | None:
        """The socket; there is none before the connection is made."""
        return None if self.client.conn is None else self.client.conn.transport

    @property
    def can_write(self) -> bool:
        """Whether bytes that are handed over now get into a socket that takes them."""
        transport = self._transport
        return (
            not self._callbacks.is_over
            and self.client.isReady()
            and transport is not None
            and not transport.is_closing()
            and transport.get_write_buffer_size() <= BACKLOG_BYTES
        )

    async def connect(self, host: str, port: int, client_id: int, seconds: float) -> tuple[str, ...]:
        """Shake hands; gives the accounts that the gateway manages. Raises OSError or TimeoutError."""
        self._decoder_log.disabled = False  # whatever the process does with the library's lines, these are to be heard
        if not self._decoder_log.isEnabledFor(logging.ERROR):
            self._decoder_log.setLevel(logging.ERROR)
        self._decoder_log.addHandler(self._dropped)
        dialling = asyncio.ensure_future(self.client.connectAsync(host, port, client_id, seconds))
        try:
            async with asyncio.timeout(seconds):
                await asyncio.wait((dialling, self._callbacks.over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not dialling.done():
                dialling.cancel()
        if not dialling.done() or dialling.cancelled():
            raise ConnectionError(self._callbacks.over.result() if self._callbacks.over.done() else "no handshake")
        dialling.result()
        return tuple(self.client.getAccounts())

    def close(self) -> None:
        """Hang up at once; nothing of this connection is told any more, and open questions are Unknown."""
        self._callbacks.is_over = True
        self._callbacks.fail("the connection was closed")
        self._decoder_log.removeHandler(self._dropped)
        transport = self._transport
        if transport is not None:
            transport.abort()

    def _on_dropped(self, message: str) -> None:
        if self._callbacks.is_over:
            return
        self._callbacks.fail("a message of the gateway was not understood")
        self._listener.on_garbled(message.splitlines()[0][:200])

    def tell_data_to(self, data: DataListener) -> None:
        """From now on this is who is told of market data."""
        self._callbacks.data = data

    # --- questions ---------------------------------------------------------------------------------------------------

    async def _ask(
        self, what: str, request: Callable[[int], None], pace: Callable[[], Awaitable[None]], *, named: bool = True
    ) -> Answer[list[Any]]:
        """Ask, and gather the rows. Of one kind one question at a time, for rows without a number name no question."""
        async with self._locks.setdefault(what, asyncio.Lock()):
            await pace()
            if not self.can_write:
                return Unknown("not connected")
            self._next += 1
            key: int | str = self._next if named else what
            question = Question(what, asyncio.get_running_loop().create_future())
            self._callbacks.questions[key] = question
            try:
                request(self._next)
                async with asyncio.timeout(self._request_seconds):
                    failed = await question.answer
            except TimeoutError:
                return Unknown(f"{what} were not answered within {self._request_seconds:g} s")
            except ConnectionError as error:
                return Unknown(f"{what} were not asked for: {error}")
            finally:
                self._callbacks.questions.pop(key, None)
            if failed is not None:
                return Unknown(f"{what}: {failed.why}")
            return Value(question.rows) if question.rows else ConfirmedEmpty()

    async def open_orders(self, pace: Callable[[], Awaitable[None]]) -> Answer[list[Any]]:
        """Ask for the orders of every client that are open; they are told to the listener."""
        return await self._ask(OPEN_ORDERS, lambda _: self.client.reqAllOpenOrders(), pace, named=False)

    async def completed_orders(self, pace: Callable[[], Awaitable[None]]) -> Answer[list[Any]]:
        """Ask for the day's orders that are over; they are told to the listener."""
        return await self._ask(COMPLETED_ORDERS, lambda _: self.client.reqCompletedOrders(False), pace, named=False)

    async def executions(self, account: str, pace: Callable[[], Awaitable[None]]) -> Answer[list[Any]]:
        """Ask for the day's executions; they are told to the listener, their commissions perhaps after the answer."""
        filter_ = self._library.execution_filter(acctCode=account)
        return await self._ask("executions", lambda number: self.client.reqExecutions(number, filter_), pace)

    async def positions(self, pace: Callable[[], Awaitable[None]]) -> Answer[list[PositionRow]]:
        try:
            return await self._ask(POSITIONS, lambda _: self.client.reqPositions(), pace, named=False)
        finally:
            if self.can_write:
                self.client.cancelPositions()  # it is a subscription otherwise

    async def account_summary(self, tags: str, pace: Callable[[], Awaitable[None]]) -> Answer[list[Row]]:
        asked: list[int] = []

        def request(number: int) -> None:
            asked.append(number)
            self.client.reqAccountSummary(number, "All", tags)

        try:
            return await self._ask("account values", request, pace)
        finally:
            if asked and self.can_write:
                self.client.cancelAccountSummary(asked[0])  # of these subscriptions two are allowed

    async def contract_details(
        self, symbol: str, contract: object, pace: Callable[[], Awaitable[None]]
    ) -> Answer[list[ContractDetailsShape]]:
        what = f"contract details of {symbol}"  # those of several symbols may be asked for at a time
        return await self._ask(what, lambda number: self.client.reqContractDetails(number, contract), pace)

    # --- market data -------------------------------------------------------------------------------------------------
    # Requests go out in the same step, and their answers are told to the data listener. Whether one may go out now has
    # been asked before: `can_write`, and the bucket.

    def ask_data_type(self, kind: int) -> None:
        """Of which type the ticks shall be: 1 live alone, 3 delayed where there are no live ones."""
        self.client.reqMarketDataType(kind)

    def ask_history(self, contract: object, query: HistoryQuery) -> int:
        """Ask for bars; gives the number of the request."""
        self._next += 1
        self.client.reqHistoricalData(
            self._next,
            contract,
            query.end,
            query.duration,
            query.size,
            WHAT,
            query.hours_only,
            EPOCH_DATES,
            query.is_kept,
            [],
        )
        return self._next

    def end_history(self, number: int) -> None:
        """Give a request for bars up, or end what is kept up to date."""
        self.client.cancelHistoricalData(number)

    def ask_ticks(self, contract: object) -> int:
        """Subscribe to ticks; gives the number of the request."""
        self._next += 1
        self.client.reqMktData(self._next, contract, "", False, False, [])
        return self._next

    def end_ticks(self, number: int) -> None:
        """End a subscription to ticks."""
        self.client.cancelMktData(number)
