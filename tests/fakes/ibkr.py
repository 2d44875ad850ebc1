"""What the libraries of Interactive Brokers hand over, as plain objects, and a client that a test speaks through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from openbell.brokers.ibkr.library import Library
from openbell.brokers.ibkr.mapping import order_fields
from openbell.domain.clock import SystemClock
from openbell.domain.orders import Intent

UNSET = 1.7976931348623157e308
MOMENT = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
ACCOUNT = "DU1"
CLIENT = 7


def contract(symbol: str = "AAPL", con_id: int = 265598, **changes: Any) -> Any:
    fields = {
        "conId": con_id,
        "symbol": symbol,
        "secType": "STK",
        "exchange": "SMART",
        "primaryExchange": "NASDAQ",
        "currency": "USD",
        "localSymbol": symbol,
    }
    return SimpleNamespace(**(fields | changes))


def order(order_ref: str = "ob1.a.1", perm_id: int = 1001, **changes: Any) -> Any:
    """An order's echo: a market order to buy ten shares."""
    fields = {
        "orderId": 1,
        "clientId": CLIENT,
        "permId": perm_id,
        "action": "BUY",
        "totalQuantity": 10.0,
        "orderType": "MKT",
        "lmtPrice": 0.0,
        "auxPrice": 0.0,
        "tif": "DAY",
        "ocaGroup": "",
        "ocaType": 3,
        "orderRef": order_ref,
        "account": ACCOUNT,
        "filledQuantity": UNSET,
    }
    return SimpleNamespace(**(fields | changes))


def state(status: str = "Submitted", completed: str = "") -> Any:
    return SimpleNamespace(status=status, completedStatus=completed)


def execution(exec_id: str = "0000e0d5.65f1.01.01", shares: float = 10.0, price: float = 100.0, **changes: Any) -> Any:
    fields = {
        "execId": exec_id,
        "time": MOMENT,
        "acctNumber": ACCOUNT,
        "side": "BOT",
        "shares": shares,
        "price": price,
        "permId": 1001,
        "clientId": CLIENT,
        "orderId": 1,
        "orderRef": "ob1.a.1",
    }
    return SimpleNamespace(**(fields | changes))


def commission(exec_id: str = "0000e0d5.65f1.01.01", cost: float = 1.0) -> Any:
    return SimpleNamespace(execId=exec_id, commission=cost, currency="USD")


def sent_order(intent: Intent, order_id: int = 1) -> Any:
    """What the adapter would hand over for this intent."""
    return order(**(order_fields(intent, intent.terms, ACCOUNT) | {"orderId": order_id, "permId": 0}), order_ref="")


class SkippingClock(SystemClock):
    """The machine's clock, some seconds ahead of itself."""

    ahead = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@dataclass
class Transport:
    backlog: int = 0
    closing: bool = False

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.backlog

    def abort(self) -> None:
        self.closing = True


@dataclass
class FakeClient:
    """A client whose gateway is the test: what was asked is in `asked`, and answers are calls of `callbacks`."""

    callbacks: Any
    gateway: FakeGateway
    MaxRequests: int = 45
    conn: Any = None

    async def connectAsync(self, host: str, port: int, clientId: int, timeout: float | None) -> None:
        self.gateway.dialled += 1
        await self.gateway.on_dial(self)
        self.conn = SimpleNamespace(transport=Transport())

    def isReady(self) -> bool:
        return self.conn is not None and self.conn.transport is not None and not self.conn.transport.closing

    def getAccounts(self) -> list[str]:
        return list(self.gateway.accounts)

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__") or name not in REQUESTS:
            raise AttributeError(name)
        return lambda *arguments: self.gateway.hear(self, name, arguments)


REQUESTS = {
    "placeOrder",
    "cancelOrder",
    "reqCurrentTime",
    "reqAllOpenOrders",
    "reqCompletedOrders",
    "reqExecutions",
    "reqPositions",
    "cancelPositions",
    "reqAccountSummary",
    "cancelAccountSummary",
    "reqContractDetails",
    "reqMarketDataType",
    "reqMktData",
    "cancelMktData",
    "reqHistoricalData",
    "cancelHistoricalData",
}


@dataclass
class FakeGateway:
    """Answers every question with nothing, unless told otherwise in `answers`."""

    accounts: tuple[str, ...] = (ACCOUNT,)
    next_valid_id: int = 1
    asked: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    answers: dict[str, Callable[[Any, tuple[Any, ...]], None]] = field(default_factory=dict)
    refuse: list[BaseException] = field(default_factory=list)
    dialled: int = 0
    client: Any = None

    async def on_dial(self, client: FakeClient) -> None:
        await asyncio.sleep(0)
        if self.refuse:
            raise self.refuse.pop(0)
        self.client = client
        client.callbacks.nextValidId(self.next_valid_id)

    def library(self, name: str = "") -> Library:
        def made(**fields: Any) -> Any:
            return SimpleNamespace(**fields)

        def ordered(**fields: Any) -> Any:
            return order(
                **({"order_ref": "", "perm_id": 0, "orderId": 0, "lmtPrice": UNSET, "auxPrice": UNSET} | fields)
            )

        def contracted(**fields: Any) -> Any:
            return contract(**({"con_id": 0} | fields))

        return Library("ib_fake", lambda callbacks: FakeClient(callbacks, self), contracted, ordered, made)

    @property
    def callbacks(self) -> Any:
        return self.client.callbacks

    def hear(self, client: FakeClient, name: str, arguments: tuple[Any, ...]) -> None:
        self.asked.append((name, arguments))
        answer = self.answers.get(name, NOTHING.get(name))
        if answer is not None:
            asyncio.get_running_loop().call_soon(answer, client.callbacks, arguments)

    def placed(self) -> list[tuple[int, Any, Any]]:
        return [arguments for name, arguments in self.asked if name == "placeOrder"]  # type: ignore[misc]


def _summary(callbacks: Any, arguments: tuple[Any, ...]) -> None:
    for tag, value in (("NetLiquidation", "100000"), ("TotalCashValue", "100000"), ("BuyingPower", "400000")):
        callbacks.accountSummary(arguments[0], ACCOUNT, tag, value, "USD")
    callbacks.accountSummaryEnd(arguments[0])


NOTHING: dict[str, Callable[[Any, tuple[Any, ...]], None]] = {
    "reqCurrentTime": lambda callbacks, _: callbacks.tcpDataArrived(),
    "reqAllOpenOrders": lambda callbacks, _: callbacks.openOrderEnd(),
    "reqCompletedOrders": lambda callbacks, _: callbacks.completedOrdersEnd(),
    "reqExecutions": lambda callbacks, arguments: callbacks.execDetailsEnd(arguments[0]),
    "reqPositions": lambda callbacks, _: callbacks.positionEnd(),
    "reqAccountSummary": _summary,
    "reqContractDetails": lambda callbacks, arguments: callbacks.contractDetailsEnd(arguments[0]),
}
