"""Drives ib_insync or ib_async (the first argument says which) by commands of a test. The library is not changed: its
callbacks are noted on their way in, then called.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from typing import Any

from common import heard, plain, say

NOTED = [
    "openOrder", "orderStatus", "execDetails", "commissionReport", "error", "openOrderEnd", "completedOrder",
    "completedOrdersEnd", "execDetailsEnd", "nextValidId", "managedAccounts", "position", "positionEnd",
    "updateAccountValue", "updatePortfolio", "updateAccountTime", "accountDownloadEnd", "accountSummary",
    "accountSummaryEnd", "positionMulti", "positionMultiEnd", "accountUpdateMulti", "accountUpdateMultiEnd",
    "contractDetails", "contractDetailsEnd", "historicalData", "historicalDataEnd", "historicalDataUpdate",
    "realtimeBar", "priceSizeTick", "tickSize", "tickString", "tickReqParams", "tickSnapshotEnd", "marketDataType",
    "currentTime", "pnl", "pnlSingle", "marketRule", "symbolSamples", "headTimestamp",
]  # fmt: skip


class Driver:
    def __init__(self, library: str) -> None:
        self.ibi = importlib.import_module(library)
        self.life = 0
        self.ib: Any = None

    async def fresh(self, life: int) -> Any:
        """Begin anew, as a program that has just been started; what is told carries the number of this life."""
        if self.ib is not None:
            self.ib.disconnect()
        self.life = life
        self.ib = self.ibi.IB()
        for name in NOTED:
            self._note(name)
        self.ib.disconnectedEvent += lambda: say(event="disconnected", args=[], life=life)

    def _note(self, name: str) -> None:
        original, life = getattr(self.ib.wrapper, name), self.life

        def noted(*args: Any) -> Any:
            say(event=name, args=plain(list(args)), life=life)
            return original(*args)

        setattr(self.ib.wrapper, name, noted)

    def contract(self, values: dict[str, Any]) -> Any:
        return self.ibi.Contract(**values)

    def order(self, values: dict[str, Any]) -> Any:
        values = dict(values)
        tags = values.pop("algoParams", None)
        conditions = values.pop("conditions", None)
        order = self.ibi.Order(**values)
        if tags:
            order.algoParams = [self.ibi.TagValue(*pair) for pair in tags]
        if conditions:
            order.conditions = [self._condition(*condition) for condition in conditions]
        return order

    def _condition(self, kind: str, values: dict[str, Any]) -> Any:
        return getattr(self.ibi, kind)(**values)

    def argument(self, value: Any) -> Any:
        if isinstance(value, dict) and "contract" in value:
            return self.contract(value["contract"])
        if isinstance(value, dict) and "order" in value:
            return self.order(value["order"])
        if isinstance(value, dict) and "filter" in value:
            return self.ibi.ExecutionFilter(**value["filter"])
        return value

    async def connect(self, port: int, client_id: int, raw: bool = False, patience: float = 10) -> Any:
        if raw:
            await self.ib.client.connectAsync("127.0.0.1", port, client_id, patience)
        else:
            await self.ib.connectAsync("127.0.0.1", port, client_id, timeout=patience)
        return {
            "accounts": self.ib.client.getAccounts(),
            "version": self.ib.client.serverVersion(),
            "next": self.ib.client._reqIdSeq,
        }

    async def place(self, contract: dict[str, Any], order: dict[str, Any]) -> Any:
        trade = self.ib.placeOrder(self.contract(contract), self.order(order))
        return trade.order.orderId

    async def modify(self, order_id: int, changes: dict[str, Any]) -> Any:
        trade = self.trade(order_id)
        for name, value in changes.items():
            setattr(trade.order, name, value)
        self.ib.placeOrder(trade.contract, trade.order)
        return order_id

    async def cancel(self, order_id: int) -> Any:
        known = self.trade(order_id)
        if known is None:
            self.ib.client.cancelOrder(order_id, *([""] if self.ib.client.serverVersion() >= 169 else []))
        else:
            self.ib.cancelOrder(known.order)
        return order_id

    def trade(self, order_id: int) -> Any:
        return next((t for t in self.ib.trades() if t.order.orderId == order_id), None)

    async def status(self, order_id: int) -> Any:
        trade = self.trade(order_id)
        return {
            "status": trade.orderStatus.status,
            "filled": trade.filled(),
            "fills": [plain(fill) for fill in trade.fills],
            "log": [entry.status for entry in trade.log],
        }

    async def request(self, name: str, args: list[Any]) -> Any:
        """A request by the client's lower half, whose names are those of the official client."""
        return plain(getattr(self.ib.client, name)(*map(self.argument, args)))

    async def ask(self, name: str, args: list[Any], named: dict[str, Any] | None = None) -> Any:
        """A question by the upper half: the answer, awaited where it is."""
        answer = getattr(self.ib, name)(*map(self.argument, args), **(named or {}))
        if asyncio.isfuture(answer) or asyncio.iscoroutine(answer):
            answer = await asyncio.wait_for(answer, 20)
        return plain(answer)

    async def disconnect(self) -> Any:
        self.ib.disconnect()

    async def answer(self, command: dict[str, Any]) -> None:
        number, name = command.pop("id"), command.pop("do")
        try:
            say(id=number, result=await getattr(self, name)(**command))
        except Exception as error:  # noqa: BLE001 - whatever went wrong is the test's to judge
            say(id=number, failure=f"{type(error).__name__}: {error}")


async def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    driver = Driver(sys.argv[1])
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    say(ready=True)
    while line := await reader.readline():
        await driver.answer(heard(line.decode()))
    if driver.ib is not None:
        driver.ib.disconnect()


asyncio.run(main())
