"""The back door: JSON lines over a local port, by which a test or a person moves prices and breaks things.

Each line is an object with `do` and its arguments; each answer is `{"ok": …}` or `{"error": "a sentence"}`:
`move` (symbol, price), `release` (symbol), `fault` (as in a scenario), `clearFaults`, `disconnect` (clientId),
`freeze` (clientId), `loseConnectivity`, `restoreConnectivity` (dataLost), `restart` (seconds), `rollBackIds` (clientId,
steps), `openingAuction`, `closingAuction`, `newDay`, `fill` (clientId, orderId, shares, price), `orders`, `executions`,
`positions`, `cash`, `sessions`, `struck`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from openbell.domain.errors import ManifestError
from openbell.domain.money import text
from openbell.gateway.scenario import parse_fault
from openbell.gateway.server import Gateway

LINE_LIMIT = 65_536
Json: TypeAlias = dict[str, Any]


class Control:
    """The doings of the back door, by name."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._doings: dict[str, Callable[[Json], Any]] = {
            "move": lambda v: gateway.exchange.move(_text(v, "symbol"), _number(v, "price")),
            "release": lambda v: gateway.exchange.release(_text(v, "symbol")),
            "fault": lambda v: gateway.add_fault(parse_fault({k: x for k, x in v.items() if k != "do"})),
            "clearFaults": lambda v: gateway.faults.clear(),
            "disconnect": lambda v: gateway.disconnect(_optional(v, "clientId")),
            "freeze": lambda v: gateway.freeze(_whole(v, "clientId")),
            "loseConnectivity": lambda v: gateway.lose_connectivity(),
            "restoreConnectivity": lambda v: gateway.restore_connectivity(data_lost=bool(v.get("dataLost"))),
            "restart": lambda v: gateway.restart(float(_number({"seconds": 0, **v}, "seconds"))),
            "rollBackIds": lambda v: gateway.exchange.roll_back_ids(_whole(v, "clientId"), _whole(v, "steps")),
            "openingAuction": lambda v: gateway.exchange.opening_auction(),
            "closingAuction": lambda v: gateway.exchange.closing_auction(),
            "newDay": lambda v: gateway.exchange.new_day(),
            "fill": self._fill,
            "orders": lambda v: [_order(order) for order in gateway.exchange.orders()],
            "executions": lambda v: [_execution(fill) for fill in gateway.exchange.executions],
            "positions": lambda v: self._positions(),
            "cash": lambda v: {code: text(account.cash) for code, account in gateway.exchange.accounts.items()},
            "sessions": lambda v: [session.client_id for session in gateway.sessions],
            "struck": lambda v: list(gateway.faults.struck),
        }

    async def do(self, line: bytes) -> Json:
        """Carry one line out."""
        try:
            values = json.loads(line)
            if not isinstance(values, dict) or values.get("do") not in self._doings:
                return {"error": f"say one of {', '.join(self._doings)} as `do` of a JSON object"}
            result = self._doings[values["do"]](values)
            if isinstance(result, Awaitable):
                result = await result
        except (ValueError, ManifestError, LookupError) as error:
            return {"error": str(error) or type(error).__name__}
        self._gateway.flush()
        return {"ok": result}

    async def serve(self, host: str, port: int, ready: Callable[[str, int], None]) -> None:
        """Listen until cancelled. Raises OSError when the address cannot be had."""
        server = await asyncio.start_server(self._connected, host, port, limit=LINE_LIMIT)
        async with server:
            address = server.sockets[0].getsockname()
            ready(address[0], address[1])
            await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):  # the other side is gone, or its line has no end
            while line := await reader.readline():
                writer.write(json.dumps(await self.do(line)).encode() + b"\n")
                await writer.drain()
        writer.close()

    def _fill(self, values: Json) -> None:
        exchange = self._gateway.exchange
        order = exchange.order(_whole(values, "clientId"), _whole(values, "orderId"))
        if order is None:
            raise ValueError("no such order")
        shares = _number(values, "shares") if "shares" in values else order.remaining
        price = _number(values, "price") if "price" in values else exchange.mark(order.contract)
        exchange.fill(order, shares, price)

    def _positions(self) -> list[Json]:
        return [
            {"account": account.code, "symbol": held.contract.symbol, "position": text(held.position)}
            for account in self._gateway.exchange.accounts.values()
            for held in account.holdings.values()
            if held.position
        ]


def _order(order: Any) -> Json:
    return {
        "clientId": order.client_id,
        "orderId": order.order_id,
        "permId": order.perm_id,
        "symbol": order.contract.symbol,
        "action": order.terms.action,
        "quantity": text(order.terms.quantity),
        "type": order.terms.kind,
        "orderRef": order.terms.order_ref,
        "status": order.status,
        "filled": text(order.filled),
    }


def _execution(fill: Any) -> Json:
    return {
        "execId": fill.exec_id,
        "permId": fill.order.perm_id,
        "orderRef": fill.order.terms.order_ref,
        "symbol": fill.order.contract.symbol,
        "side": fill.side,
        "shares": text(fill.shares),
        "price": text(fill.price),
        "commission": text(fill.commission),
    }


def _text(values: Json, name: str) -> str:
    value = values.get(name)
    if isinstance(value, str):
        return value
    raise ValueError(f"{name} must be a text")


def _number(values: Json, name: str) -> Decimal:
    try:
        value = Decimal(str(values.get(name)))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0:
        raise ValueError(f"{name} must be a number of at least 0")
    return value


def _whole(values: Json, name: str) -> int:
    value = values.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{name} must be a whole number")


def _optional(values: Json, name: str) -> int | None:
    return None if values.get(name) is None else _whole(values, name)
