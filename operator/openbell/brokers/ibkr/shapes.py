"""What is used of the two libraries' objects. They share these names, and nothing else of them is relied on."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

Number = float | Decimal | None


class ContractShape(Protocol):
    """What is traded."""

    conId: int
    symbol: str
    secType: str
    exchange: str
    primaryExchange: str
    currency: str
    localSymbol: str


class OrderShape(Protocol):
    """An order as the gateway echoes it. Prices that are not set are huge, see `mapping.number`."""

    orderId: int
    clientId: int
    permId: int
    action: str
    totalQuantity: Number
    orderType: str
    lmtPrice: Number
    auxPrice: Number
    tif: str
    ocaGroup: str
    orderRef: str
    account: str
    filledQuantity: Number


class OrderStateShape(Protocol):
    """What goes with an order's echo."""

    status: str
    completedStatus: str


class ExecutionShape(Protocol):
    """One execution; `time` is aware."""

    execId: str
    time: datetime
    acctNumber: str
    side: str
    shares: float
    price: float
    permId: int
    clientId: int
    orderId: int
    orderRef: str


class CommissionShape(Protocol):
    """What an execution cost."""

    execId: str
    commission: float


class ContractDetailsShape(Protocol):
    """One answer to the question what a symbol is."""

    contract: Any
    minTick: float
    marketRuleIds: str
    validExchanges: str
    minSize: Number
    sizeIncrement: Number


class BarShape(Protocol):
    """A bar of history. `date` is what the gateway wrote, for the client does not read it."""

    date: Any
    open: float
    high: float
    low: float
    close: float
    volume: float


class TransportShape(Protocol):
    """The socket below."""

    def is_closing(self) -> bool: ...

    def get_write_buffer_size(self) -> int: ...

    def abort(self) -> None: ...


class ConnectionShape(Protocol):
    """What holds the socket; `transport` is None while there is none."""

    transport: TransportShape | None


class ClientShape(Protocol):
    """The libraries' client: requests out, callbacks of the object that it was made with in."""

    MaxRequests: int
    conn: ConnectionShape | None

    async def connectAsync(self, host: str, port: int, clientId: int, timeout: float | None) -> None: ...

    def disconnect(self) -> None: ...

    def isReady(self) -> bool: ...

    def getAccounts(self) -> list[str]: ...

    def serverVersion(self) -> int: ...

    def placeOrder(self, orderId: int, contract: Any, order: Any) -> None: ...

    def cancelOrder(self, orderId: int) -> None: ...

    def reqCurrentTime(self) -> None: ...

    def reqAllOpenOrders(self) -> None: ...

    def reqCompletedOrders(self, apiOnly: bool) -> None: ...

    def reqExecutions(self, reqId: int, execFilter: Any) -> None: ...

    def reqPositions(self) -> None: ...

    def cancelPositions(self) -> None: ...

    def reqAccountSummary(self, reqId: int, groupName: str, tags: str) -> None: ...

    def cancelAccountSummary(self, reqId: int) -> None: ...

    def reqContractDetails(self, reqId: int, contract: Any) -> None: ...

    def reqMarketDataType(self, marketDataType: int) -> None: ...

    def reqMktData(
        self,
        reqId: int,
        contract: Any,
        genericTickList: str,
        snapshot: bool,
        regulatorySnapshot: bool,
        mktDataOptions: list[Any],
    ) -> None: ...

    def cancelMktData(self, reqId: int) -> None: ...

    def reqHistoricalData(
        self,
        reqId: int,
        contract: Any,
        endDateTime: str,
        durationStr: str,
        barSizeSetting: str,
        whatToShow: str,
        useRTH: bool,
        formatDate: int,
        keepUpToDate: bool,
        chartOptions: list[Any],
    ) -> None: ...

    def cancelHistoricalData(self, reqId: int) -> None: ...
