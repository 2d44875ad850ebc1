"""Market data over a socket at the simulated gateway: what is given is what the exchange says, through every loss."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fakes.gateways import CLIENT_ID, QUICK, Worlds
from fakes.ibkr import SkippingClock
from fakes.venues import Board, intent, listening
from openbell.brokers.ibkr.adapter import IBKRBroker, Settings
from openbell.brokers.ibkr.history import DAY_SECONDS
from openbell.brokers.ibkr.market import IBKRMarket
from openbell.brokers.ibkr.source import IBKRSource
from openbell.domain.answers import Answer, Unknown, Value
from openbell.domain.bars import BarSeries, Quote
from openbell.domain.orders import IntentState
from openbell.gateway.faults import Fault, Kind
from openbell.gateway.server import Gateway
from openbell.gateway.settings import DataRights, ExchangeSettings, GatewaySettings
from openbell.market.calendar import calendar_for

ALWAYS = calendar_for("Always")


@dataclass
class Side:
    """A gateway whose prices wander, and market data from it."""

    gateway: Gateway
    source: IBKRSource
    market: IBKRMarket
    clock: SkippingClock

    async def bars(self, count: int = 20, seconds: int = 60, symbol: str = "AAPL") -> Answer[BarSeries]:
        return await self.market.bars(symbol, seconds, count, self.clock.now())

    async def quote(self, symbol: str = "AAPL") -> Answer[Quote]:
        return await self.market.quote(symbol, self.clock.now())

    @property
    def subscriptions(self) -> int:
        """How many the gateway serves."""
        return sum(session.subscriptions for session in self.gateway.sessions)

    def real(self, series: BarSeries) -> list[tuple[float, ...]]:
        """The bars of the exchange that end when those of a series do."""
        found = []
        for end in series.end:
            start = datetime.fromtimestamp(end, UTC) - timedelta(seconds=series.bar_seconds)
            bar = self.gateway.exchange.prices.bar(series.symbol, start, series.bar_seconds)
            found.append((float(bar.open), float(bar.high), float(bar.low), float(bar.close), float(bar.volume)))
        return found


@asynccontextmanager
async def data(world: Worlds, *, allow_delayed: bool = False, **settings: Any) -> AsyncIterator[Side]:
    exchange = settings.pop("exchange", ExchangeSettings(volatility=2.0))
    gateway = Gateway(GatewaySettings(exchange=exchange, poll_seconds=0.005, **settings))
    serving = asyncio.create_task(gateway.serve())
    async with asyncio.timeout(10):
        await gateway.ready.wait()
    clock = SkippingClock()
    reached = Settings("127.0.0.1", gateway.port, CLIENT_ID, library=world.library, request_seconds=5.0, timing=QUICK)
    source = IBKRSource(reached, clock, rng=random.Random(1))
    market = source.market_data(ALWAYS, allow_delayed=allow_delayed)
    running = asyncio.create_task(source.run())
    try:
        async with asyncio.timeout(10):
            while not source.link.is_usable:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield Side(gateway, source, market, clock)
    finally:
        for task in (running, serving):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not found():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def value(ask: Callable[[], Awaitable[Answer[Any]]]) -> Any:
    """The first value that is given, within seconds."""
    async with asyncio.timeout(30):
        while not isinstance(answer := await ask(), Value):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return answer.value


async def told(ask: Callable[[], Awaitable[Answer[Any]]], said: str) -> None:
    """Ask until the answer is Unknown with these words."""
    async with asyncio.timeout(10):
        while said not in why(await ask()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def columns(series: BarSeries) -> list[tuple[float, ...]]:
    names = ("open", "high", "low", "close", "volume")
    return list(zip(*(getattr(series, name).tolist() for name in names), strict=True))


def why(answer: Answer[Any]) -> str:
    assert isinstance(answer, Unknown), answer
    return answer.why


# --- what is given --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "count"), [(60, 600), (5, 900), (300, 50)], ids=["minutes in pages", "small in pages", "five minutes"]
)
async def test_bars_are_the_exchanges_own_and_the_one_that_forms_is_not_among_them(
    world: Worlds, seconds: int, count: int
) -> None:
    async with data(world) as side:
        asked_at = side.clock.now()
        series = await value(lambda: side.bars(count, seconds))
        assert len(series) == count
        assert columns(series) == side.real(series)
        assert set((series.end[1:] - series.end[:-1]).tolist()) == {float(seconds)}, "none is left out"
        assert asked_at - timedelta(seconds=seconds + 7) < series.last_end <= side.clock.now()


async def test_hours_are_made_of_half_hours_and_days_end_at_the_exchanges_midnight(world: Worlds) -> None:
    async with data(world) as side:
        hours = await value(lambda: side.bars(10, 3_600))
        assert set((hours.end % 3_600).tolist()) == {0.0}
        prices = side.gateway.exchange.prices
        for end, opened, closed in zip(hours.end, hours.open, hours.close, strict=True):
            start = datetime.fromtimestamp(end, UTC) - timedelta(hours=1)
            halves = [prices.bar("AAPL", start + part * timedelta(minutes=30), 1_800) for part in (0, 1)]
            assert (opened, closed) == (float(halves[0].open), float(halves[1].close))
        days = await value(lambda: side.bars(20, DAY_SECONDS))
        assert len(days) == 20
        assert days.last_end <= side.clock.now()


async def test_bars_follow_as_they_close_and_none_that_was_given_changes(world: Worlds) -> None:
    async with data(world) as side:
        given: dict[float, tuple[float, ...]] = {}
        until_ = side.clock.monotonic() + 12
        while side.clock.monotonic() < until_:
            series = await value(lambda: side.bars(12, 5))
            assert series.last_end <= side.clock.now()
            for end, bar in zip(series.end.tolist(), columns(series), strict=True):
                assert given.setdefault(end, bar) == bar
            await asyncio.sleep(0.25)
        assert len(given) >= 13
        assert side.subscriptions == 1, "they came by the one subscription"
        assert {later - earlier for earlier, later in pairwise(sorted(given))} == {5.0}, "none was left out"
        for end, bar in given.items():
            real = side.gateway.exchange.prices.bar("AAPL", datetime.fromtimestamp(end, UTC) - timedelta(seconds=5), 5)
            assert bar[0] == float(real.open)
            assert bar[3] == float(real.close)


async def test_a_price_is_the_exchanges_book(world: Worlds) -> None:
    async with data(world, exchange=ExchangeSettings()) as side:
        quote = await value(side.quote)
        real = side.gateway.exchange.quote("AAPL")
        assert (quote.bid, quote.price, quote.ask) == (float(real.bid), float(real.last), float(real.ask))
        side.gateway.exchange.prices.move("AAPL", real.last * 2, side.gateway.exchange.now())
        async with asyncio.timeout(5):
            while (await value(side.quote)).bid < float(real.last) * 1.5:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_a_symbol_that_the_broker_does_not_know_is_unknown(world: Worlds) -> None:
    async with data(world) as side:
        await told(lambda: side.quote("NOPE"), "knows no share NOPE")
        assert "knows no share NOPE" in why(await side.bars(symbol="NOPE"))
        assert side.subscriptions == 0


# --- rights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rights", "quoted", "barred"),
    [(DataRights.NONE, "(IBKR 354)", "No market data permissions"), (DataRights.DELAYED, "(IBKR 10089)", "")],
)
async def test_without_rights_prices_are_unknown_with_the_gateways_words(
    world: Worlds, rights: DataRights, quoted: str, barred: str
) -> None:
    async with data(world, data_rights=rights) as side:
        await told(side.quote, quoted)
        if barred:
            await told(side.bars, barred)
        assert side.subscriptions == 0


async def test_delayed_prices_are_given_where_allowed_with_their_age(world: Worlds) -> None:
    async with data(world, data_rights=DataRights.DELAYED, allow_delayed=True) as side:
        quote = await value(side.quote)
        assert side.clock.now() - quote.time >= timedelta(seconds=900)
        assert side.market.delayed == ("AAPL",)


# --- what is lost ---------------------------------------------------------------------------------------------------


async def settled(side: Side) -> tuple[BarSeries, Quote]:
    return await value(side.bars), await value(side.quote)


@pytest.mark.parametrize("data_lost", [True, False], ids=["1101", "1102"])
async def test_after_the_broker_was_away_both_are_there_again(world: Worlds, data_lost: bool) -> None:
    async with data(world) as side:
        await settled(side)
        assert side.subscriptions == 2
        side.gateway.lose_connectivity()
        await until(lambda: not side.source.link.is_server_up)
        assert "lost its connection to IBKR" in why(await side.quote())
        side.gateway.restore_connectivity(data_lost=data_lost)
        series, quote = await settled(side)
        await until(lambda: side.subscriptions == 2)
        assert columns(series) == side.real(series)
        assert quote.bid < quote.ask


async def test_after_the_daily_restart_both_are_there_again(world: Worlds) -> None:
    async with data(world) as side:
        await settled(side)
        await side.gateway.restart(0.3)
        series, _ = await settled(side)
        assert side.subscriptions == 2
        assert columns(series) == side.real(series)


async def test_a_farm_that_is_gone_puts_every_price_in_doubt_until_another_comes(world: Worlds) -> None:
    async with data(world, exchange=ExchangeSettings()) as side:
        await settled(side)
        side.gateway.exchange.broadcast(2103, "Market data farm connection is broken:usfarm")
        await until(lambda: "usfarm" in side.source.link.farms_down)
        assert "data may have been lost" in why(await side.quote())
        last = side.gateway.exchange.quote("AAPL").last
        side.gateway.exchange.prices.move("AAPL", last * 2, side.gateway.exchange.now())
        assert (await value(side.quote)).price == float(last * 2)
        await until(lambda: side.subscriptions == 2)


async def test_a_pacing_violation_is_told_and_waited_out(world: Worlds) -> None:
    async with data(world, faults=(Fault(Kind.PACING, nth=1),)) as side:
        await told(side.bars, "pacing violation")
        side.clock.ahead += 61
        await value(side.bars)


async def test_small_bars_of_many_symbols_keep_the_gateways_rules(world: Worlds) -> None:
    """Which refuses what is too fast (162, and 100 for messages): neither comes."""
    async with data(world) as side:
        symbols = ("AAPL", "MSFT", "IBM", "SPY", "QQQ", "NVDA")
        found = [await value(lambda symbol=symbol: side.bars(900, 5, symbol)) for symbol in symbols]  # type: ignore[misc]
        assert [len(series) for series in found] == [900] * len(symbols)
        await asyncio.gather(*(side.quote(symbol) for symbol in symbols))
        assert side.subscriptions == 2 * len(symbols)


# --- beside orders --------------------------------------------------------------------------------------------------


async def test_what_nobody_asks_for_is_cancelled_at_the_gateway(world: Worlds) -> None:
    async with data(world) as side:
        await settled(side)
        await value(lambda: side.quote("IBM"))
        assert side.subscriptions == 3
        side.clock.ahead += 125
        await until(lambda: side.subscriptions == 1)
        side.clock.ahead += 1_800
        await until(lambda: side.subscriptions == 0)


async def test_a_read_only_gateway_gives_data(world: Worlds) -> None:
    exchange = replace(ExchangeSettings(volatility=2.0), read_only=True)
    async with data(world, exchange=exchange) as side:
        await settled(side)
        assert side.gateway.exchange.orders() == []


async def test_the_brokers_own_data_comes_over_its_one_connection(world: Worlds, book: Path) -> None:
    async with world.serving(book, Board(AAPL=100.0)) as gateway:
        broker: IBKRBroker = world.client(gateway.port)
        market = broker.market_data(ALWAYS)
        async with listening(broker) as heard:
            quote = await value(lambda: market.quote("AAPL", datetime.now(UTC)))
            await value(lambda: market.bars("AAPL", 60, 20, datetime.now(UTC)))
            assert quote.price == 100.0
            broker.send(intent("ob1.a.1"))
            await heard.state("ob1.a.1", IntentState.FILLED)
            assert len(gateway.sessions) == 1
            gateway.lose_connectivity()
            gateway.restore_connectivity(data_lost=True)
            await value(lambda: market.quote("AAPL", datetime.now(UTC)))
            await until(lambda: broker.is_connected)
            broker.send(intent("ob1.a.2"))
            await heard.state("ob1.a.2", IntentState.FILLED)


@pytest.mark.parametrize("seed", [1, 2])
async def test_through_a_life_of_losses_every_bar_is_the_exchanges_and_nothing_leaks(world: Worlds, seed: int) -> None:
    rng = random.Random(seed)
    async with data(world) as side:
        given: dict[tuple[str, float], tuple[float, float]] = {}
        symbols, until_ = ("AAPL", "MSFT"), side.clock.monotonic() + 8
        while side.clock.monotonic() < until_:
            match rng.choice(["nothing", "nothing", "away", "farm", "socket", "restart"]):
                case "away":
                    side.gateway.lose_connectivity()
                    await asyncio.sleep(rng.random() / 2)
                    side.gateway.restore_connectivity(data_lost=rng.random() < 0.5)
                case "farm":
                    side.gateway.exchange.broadcast(2105, "HMDS data farm connection is broken:ushmds")
                    side.gateway.exchange.broadcast(2106, "HMDS data farm connection is OK:ushmds")
                case "socket":
                    side.gateway.disconnect()
                case "restart":
                    await side.gateway.restart(rng.random() / 3)
            for symbol in symbols:
                answer = await side.bars(12, 5, symbol)
                if not isinstance(answer, Value):
                    continue
                for end, bar in zip(answer.value.end.tolist(), columns(answer.value), strict=True):
                    known = given.setdefault((symbol, end), (bar[0], bar[3]))
                    assert known == (bar[0], bar[3])
                await side.quote(symbol)
            await asyncio.sleep(rng.random())
        for symbol in symbols:
            await value(lambda symbol=symbol: side.bars(12, 5, symbol))  # type: ignore[misc]
            await value(lambda symbol=symbol: side.quote(symbol))  # type: ignore[misc]
        assert len(given) >= 24
        for (symbol, end), (opened, closed) in given.items():
            start = datetime.fromtimestamp(end, UTC) - timedelta(seconds=5)
            real = side.gateway.exchange.prices.bar(symbol, start, 5)
            assert (opened, closed) == (float(real.open), float(real.close))
        await until(lambda: side.subscriptions == 4)
