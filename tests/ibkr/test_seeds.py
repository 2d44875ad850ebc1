"""Seeded lives of an account: orders, changes, cancels and prices, while the gateway comes and goes.

At the end both sides agree: what was said not to be sent is not there, what is there is there once, every fill was told
once, and every order's end is known. A seed is replayed by its number: pytest tests/ibkr/test_seeds.py -k '[…-3]'.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from fakes.gateways import BoardExchange, Worlds
from fakes.venues import Board, Heard, intent, listening, value
from openbell.brokers.base import NotSentError
from openbell.domain.orders import IntentState, OrderTerms, OrderType, Side
from openbell.gateway.orders import Status
from openbell.gateway.server import Gateway

STEPS = 60
STATES = {Status.FILLED: IntentState.FILLED, Status.CANCELLED: IntentState.CANCELLED}


class Life:
    """What is done, by a seed, and what came of handing it over."""

    def __init__(self, heard: Heard, gateway: Gateway, board: Board, rng: random.Random) -> None:
        self.heard, self.gateway, self.board, self.rng = heard, gateway, board, rng
        self.sent: list[str] = []
        self.not_sent: set[str] = set()

    async def step(self) -> None:
        deed = self.rng.choices(
            [self.send, self.cancel, self.change, self.move, self.drop, self.lose, self.restart],
            [12, 4, 4, 8, 1, 1, 1],
        )[0]
        await deed()
        await asyncio.sleep(self.rng.choice([0.0, 0.0, 0.02, 0.1]))

    async def send(self) -> None:
        ref = f"ob1.a.{len(self.sent) + len(self.not_sent)}"
        side = self.rng.choice([Side.BUY, Side.SELL])
        kind = self.rng.choice([OrderType.MARKET, OrderType.LIMIT, OrderType.STOP])
        near = Decimal(str(self.board.prices["AAPL"])) + self.rng.choice([-2, -1, 1, 2])
        order = intent(
            ref,
            side,
            self.rng.randint(1, 90),
            order_type=kind,
            limit_price=near if kind is OrderType.LIMIT else None,
            stop_price=near if kind is OrderType.STOP else None,
        )
        try:
            self.heard.broker.send(order)
            self.sent.append(ref)
        except NotSentError:
            self.not_sent.add(ref)

    async def cancel(self) -> None:
        if self.sent:
            with contextlib.suppress(NotSentError):
                self.heard.broker.cancel(self.rng.choice(self.sent))

    async def change(self) -> None:
        resting = [
            update
            for ref in self.sent
            for update in self.heard.updates(ref)[-1:]
            if update.state is IntentState.WORKING and update.terms is not None
        ]
        if resting:
            update = self.rng.choice(resting)
            assert update.terms is not None
            more = update.terms.quantity + self.rng.randint(1, 20)
            terms = OrderTerms(more, update.terms.limit_price, update.terms.stop_price)
            with contextlib.suppress(NotSentError):
                self.heard.broker.modify(update.order_ref, terms)

    async def move(self) -> None:
        self.board.prices["AAPL"] = round(self.board.prices["AAPL"] + self.rng.uniform(-2, 2), 2)

    async def drop(self) -> None:
        self.gateway.disconnect()

    async def lose(self) -> None:
        self.gateway.exchange.broadcast(1100, "Connectivity has been lost.")
        self.gateway.exchange.broadcast(self.rng.choice([1101, 1102]), "Connectivity has been restored.")

    async def restart(self) -> None:
        exchange = self.gateway.exchange
        assert isinstance(exchange, BoardExchange)
        exchange.roll_back = self.rng.randint(0, 3)
        await self.gateway.restart(0.02)


@pytest.mark.parametrize("seed", range(8))
async def test_after_any_life_both_sides_agree(world: Worlds, book: Path, seed: int) -> None:
    board = Board(AAPL=100.0)
    async with world.serving(book, board) as gateway, listening(world.client(gateway.port)) as heard:
        life = Life(heard, gateway, board, random.Random(seed))
        for _ in range(STEPS):
            await life.step()
        exchange = gateway.exchange

        async def end_all() -> None:
            for order in exchange.orders():
                if not order.is_over and heard.broker.is_connected:
                    with contextlib.suppress(NotSentError):
                        heard.broker.cancel(order.terms.order_ref)

        async with asyncio.timeout(40):
            while any(not order.is_over for order in exchange.orders()) or not heard.broker.is_connected:
                await end_all()
                await asyncio.sleep(0.1)
        there = Counter(order.terms.order_ref for order in exchange.orders())
        assert all(count == 1 for count in there.values())
        assert not there.keys() & life.not_sent
        await heard.until(lambda: sum(len(heard.fills(ref)) for ref in life.sent) >= len(exchange.executions))
        fills = Counter(event.execution_id for ref in life.sent for event in heard.fills(ref))
        assert all(count == 1 for count in fills.values())
        assert sum(fill.quantity for ref in life.sent for fill in heard.fills(ref)) == sum(
            execution.shares for execution in exchange.executions
        )
        answered = {update.order_ref: update for update in value(await heard.broker.orders())}
        for order in exchange.orders():
            ref = order.terms.order_ref
            if order.status not in STATES:
                continue
            assert answered[ref].state is STATES[order.status], ref
            assert answered[ref].filled_quantity == order.filled
            last = STATES[order.status]
            await heard.until(lambda ref=ref, last=last: heard.updates(ref)[-1].state is last)  # type: ignore[misc]
        assert len(life.sent) > 3
