"""/ws/v1: a snapshot, then events with growing numbers. Read-only; a client that lost its place connects again."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel

from openbell.web.auth import ForbiddenError, Guard
from openbell.web.deps import view_of
from openbell.web.schemas.portfolio import EquityPointBody, Portfolio
from openbell.web.schemas.scheduler import scheduler_status
from openbell.web.schemas.strategies import strategy_body
from openbell.web.schemas.trading import Order, Replay, Trade, signal_body
from openbell.web.values import Lagged, PortfolioView, Sequenced, SignalView, StatusView, StreamEvent, TradeView
from openbell.web.view import RunnerView, Subscription

SNAPSHOT_ITEMS = 100
SEND_SECONDS = 20.0
MAX_CLIENTS = 32

router = APIRouter()


def event_body(event: StreamEvent) -> tuple[str, BaseModel]:
    """The event's type on the wire, and its data."""
    if isinstance(event, SignalView):
        return "signal", signal_body(event)
    if isinstance(event, TradeView):
        return "trade", Trade.model_validate(event)
    if isinstance(event, PortfolioView):
        return "portfolio", Portfolio.model_validate(event)
    assert isinstance(event, StatusView)  # noqa: S101 - the union has no other member
    return "state", scheduler_status(event)


def message(item: Sequenced | Lagged) -> dict[str, Any]:
    """One message after the snapshot."""
    if isinstance(item, Lagged):
        return {"type": "lagged", "seq": item.seq, "dropped": item.dropped}
    kind, body = event_body(item.event)
    return {"type": kind, "seq": item.seq, "time": item.time.isoformat(), "data": body.model_dump(mode="json")}


async def snapshot(view: RunnerView, seq: int) -> dict[str, Any]:
    """Everything a page shows, as of event `seq` or a little later: applying an event twice changes nothing."""
    orders = await view.orders(SNAPSHOT_ITEMS)
    replay = view.replay()
    data = {
        "status": scheduler_status(view.status()),
        "portfolio": Portfolio.model_validate(view.portfolio()),
        "strategies": [strategy_body(each) for each in view.strategies()],
        "signals": [signal_body(each) for each in view.signals(SNAPSHOT_ITEMS)],
        "orders": [Order.model_validate(each) for each in orders],
        "equity_history": [EquityPointBody.model_validate(each) for each in view.equity_history()],
        "replay": Replay.model_validate(replay) if replay is not None else None,
    }

    def plain(value: object) -> object:
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json")
        return [plain(each) for each in value] if isinstance(value, list) else value

    return {
        "type": "snapshot",
        "seq": seq,
        "time": view.now().isoformat(),
        "data": {key: plain(value) for key, value in data.items()},
    }


async def _send_all(socket: WebSocket, view: RunnerView, subscription: Subscription) -> None:
    # A client that takes nothing for so long is gone; the events that it misses are dropped in its own queue.
    async with asyncio.timeout(SEND_SECONDS):
        await socket.send_json(await snapshot(view, subscription.seq))
    while True:
        item = await subscription.next()
        async with asyncio.timeout(SEND_SECONDS):
            await socket.send_json(message(item))


async def _receive_until_gone(socket: WebSocket) -> None:
    while True:
        received = await socket.receive()
        if received["type"] == "websocket.disconnect":
            return
        # Read-only: what a client says is read, so that its pings and its close are seen, and means nothing.


@router.websocket("/ws/v1")
async def stream(socket: WebSocket) -> None:
    """One client."""
    guard: Guard = socket.app.state.guard
    clients: set[WebSocket] = socket.app.state.stream_clients
    try:
        guard.check_origin(socket.headers)
    except ForbiddenError as error:
        await socket.close(1008, str(error)[:120])
        return
    if len(clients) >= MAX_CLIENTS:
        await socket.close(1013, f"at most {MAX_CLIENTS} clients may listen at a time")
        return
    view = view_of(socket)
    clients.add(socket)
    subscription = view.subscribe()
    try:
        await socket.accept()
        sender = asyncio.ensure_future(_send_all(socket, view, subscription))
        receiver = asyncio.ensure_future(_receive_until_gone(socket))
        try:
            await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sender.cancel()
            receiver.cancel()
            outcomes = await asyncio.gather(sender, receiver, return_exceptions=True)
        for outcome in outcomes:
            # Gone or too slow is an ordinary end; anything else is a fault, and the server logs it.
            if isinstance(outcome, Exception) and not isinstance(outcome, WebSocketDisconnect | TimeoutError):
                raise outcome
    finally:
        subscription.close()
        clients.discard(socket)
