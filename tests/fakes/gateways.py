"""A world for the broker contract: the adapter for Interactive Brokers, over a socket, at a simulated gateway."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path

from fakes.venues import SETTINGS, Board, Heard, listening
from openbell.brokers.ibkr.account import Wanted
from openbell.brokers.ibkr.adapter import IBKRBroker, Settings
from openbell.brokers.ibkr.orderids import OrderIds
from openbell.brokers.ibkr.supervision import Timing
from openbell.brokers.simulated.desk import VenueSettings
from openbell.domain.clock import SystemClock
from openbell.gateway.contracts import Contract
from openbell.gateway.exchange import Exchange
from openbell.gateway.orders import Order
from openbell.gateway.server import Gateway
from openbell.gateway.settings import ExchangeSettings, GatewaySettings

CLIENT_ID = 7
QUICK = Timing(first_retry=0.05, longest_retry=0.2, client_id_retry=0.1, resets=())


class BoardExchange(Exchange):
    """An exchange at the prices of a board; what has no price there does not trade."""

    board = Board()
    roll_back = 0  # order ids that the next restart forgets, once nobody is connected any more

    def restart(self) -> None:
        super().restart()
        self.roll_back_ids(CLIENT_ID, self.roll_back)
        self.roll_back = 0

    def advance(self) -> None:
        for symbol, price in self.board.prices.items():
            if self.mark_of(symbol) != Decimal(str(price)):
                self.prices.move(symbol, Decimal(str(price)), self.now())
        super().advance()

    def mark_of(self, symbol: str) -> Decimal:
        return self.prices.at(symbol, self.now())

    def mark(self, contract: Contract) -> Decimal:
        price = self.board.prices.get(contract.symbol)
        return super().mark(contract) if price is None else Decimal(str(price))

    def _may_trade(self, order: Order) -> bool:
        return order.contract.symbol in self.board.prices and super()._may_trade(order)


class Worlds:
    """Exchanges by the path of the book that a test opens: one outlives its gateways and their clients."""

    def __init__(self, library: str) -> None:
        self.library = library
        self.gateway: Gateway | None = None
        self._exchanges: dict[Path, BoardExchange] = {}

    def _exchange(self, book: Path, settings: VenueSettings) -> BoardExchange:
        if book not in self._exchanges:
            made = ExchangeSettings(
                accounts=("DU1000001",),
                starting_cash=settings.terms.starting_cash,
                seed=settings.seed,
                half_spread_ticks=0,
                depth=Decimal(40) if settings.terms.partial_fills else None,
            )
            self._exchanges[book] = BoardExchange(made, SystemClock())
        return self._exchanges[book]

    @asynccontextmanager
    async def serving(self, book: Path, board: Board, settings: VenueSettings = SETTINGS) -> AsyncIterator[Gateway]:
        gateway = Gateway(GatewaySettings(poll_seconds=0.005))
        exchange = self._exchange(book, settings)
        exchange.board = board
        gateway.exchange = exchange
        task = asyncio.create_task(gateway.serve())
        try:
            async with asyncio.timeout(10):
                await gateway.ready.wait()
            self.gateway = gateway
            yield gateway
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def client(self, port: int, *, wanted: Wanted | None = None, order_ids: OrderIds | None = None) -> IBKRBroker:
        settings = Settings(
            "127.0.0.1", port, CLIENT_ID, wanted or Wanted(), self.library, request_seconds=5.0, timing=QUICK
        )
        return IBKRBroker(settings, SystemClock(), order_ids=order_ids, rng=random.Random(1))

    @asynccontextmanager
    async def __call__(self, book: Path, board: Board, settings: VenueSettings = SETTINGS) -> AsyncIterator[Heard]:
        async with self.serving(book, board, settings) as gateway, listening(self.client(gateway.port)) as heard:
            yield heard
