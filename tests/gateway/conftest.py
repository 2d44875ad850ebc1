"""A gateway of the test's own, and each of the three unmodified clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from driving import NAMES, Client, client

from openbell.gateway.server import Gateway, running
from openbell.gateway.settings import ExchangeSettings, GatewaySettings


@pytest.fixture
def settings() -> GatewaySettings:
    """Prices that stand still, at what the catalogue says; a module or test may ask for others."""
    return GatewaySettings(ExchangeSettings(preset_tif=False))


@pytest.fixture
async def gateway(settings: GatewaySettings) -> AsyncIterator[Gateway]:
    async with running(settings) as started:
        yield started


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """One of the clients."""
    chosen: str = request.param
    return chosen


@pytest.fixture
async def connect(gateway: Gateway, name: str) -> AsyncIterator[Callable[..., Any]]:
    """Start and connect a client; more than one may be started."""
    async with AsyncExitStack() as stack:

        async def start(client_id: int = 7, **more: Any) -> Client:
            driven = await stack.enter_async_context(client(name))
            driven.hello = await driven.do("connect", port=gateway.port, client_id=client_id, **more)
            return driven

        yield start


@pytest.fixture
async def driven(connect: Callable[..., Any]) -> Client:
    """One connected client."""
    started: Client = await connect()
    return started
