"""Market data over the adapter's connection, against a client whose gateway is the test."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from fakes.ibkr import CLIENT, FakeGateway, SkippingClock, contract
from fakes.venues import intent
from openbell.brokers.ibkr import desk
from openbell.brokers.ibkr.account import Mode, Wanted
from openbell.brokers.ibkr.adapter import IBKRBroker, Settings
from openbell.brokers.ibkr.market import IBKRMarket
from openbell.brokers.ibkr.source import IBKRSource
from openbell.brokers.ibkr.supervision import Timing
from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value
from openbell.domain.clock import SystemClock
from openbell.domain.errors import BrokerError
from openbell.market.calendar import calendar_for

QUICK = Timing(handshake=1.0, synchronise=1.0, first_retry=0.02, longest_retry=0.1, client_id_retry=0.05, resets=())
ALWAYS = calendar_for("Always")
MINUTE = timedelta(minutes=1)


class World:
    """A gateway that answers questions for data, the market on it, and what was asked."""

    def __init__(self) -> None:
        self.gateway = FakeGateway()
        self.clock = SkippingClock()
        self.clock.ahead += 60.5 - self.clock.now().timestamp() % 60  # a minute has just begun
        self.market: IBKRMarket
        self.broker: IBKRBroker
        self.count = 390  # of bars that an answer has
        self.newest: datetime | None = None  # of a kept answer; None: the minute that runs
        self.gateway.answers |= {
            "reqContractDetails": self._details,
            "reqHistoricalData": self._history,
            "reqMktData": self._ticks,
        }

    @property
    def callbacks(self) -> Any:
        return self.gateway.callbacks

    def asked(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for asked, arguments in self.gateway.asked if asked == name]

    def out(self, kind: str) -> set[int]:
        """The numbers of the subscriptions that the gateway would be serving."""
        ask, cancel = {"ticks": ("reqMktData", "cancelMktData"), "bars": ("reqHistoricalData", "cancelHistoricalData")}[
            kind
        ]
        kept = {each[0] for each in self.asked(ask) if kind == "ticks" or each[8]}
        return kept - {each[0] for each in self.asked(cancel)}

    def error(self, number: int, code: int, text: str) -> None:
        self.callbacks.error(number, code, text, "")

    def minute(self) -> datetime:
        """When the minute that runs began."""
        return self.clock.now().replace(second=0, microsecond=0)

    def tell_bar(self, number: int, start: datetime, close: float = 100.0) -> None:
        self.callbacks.historicalDataUpdate(number, bar(start, close))

    def tell_book(self, number: int, bid: float, ask: float, *, last: float = 0.0) -> None:
        for kind, price in ((1, bid), (2, ask), (4, last)):
            if price:
                self.callbacks.priceSizeTick(number, kind, price, 100.0)

    @staticmethod
    def _details(callbacks: Any, arguments: tuple[Any, ...]) -> None:
        number, asked = arguments
        if asked.symbol == "NOPE":
            callbacks.error(number, 200, "No security definition has been found for the request", "")
            return
        found = SimpleNamespace(contract=contract(asked.symbol), minTick=0.01, sizeIncrement=1.0)
        callbacks.contractDetails(number, found)
        callbacks.contractDetailsEnd(number)

    def _history(self, callbacks: Any, arguments: tuple[Any, ...]) -> None:
        number, end = arguments[0], arguments[2]
        newest = self.newest or self.minute()
        if end:
            newest = datetime.strptime(end, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC) - MINUTE
        for back in reversed(range(self.count)):
            callbacks.historicalData(number, bar(newest - back * MINUTE))
        callbacks.historicalDataEnd(number, "", "")

    def _ticks(self, callbacks: Any, arguments: tuple[Any, ...]) -> None:
        callbacks.marketDataType(arguments[0], 1)
        self.tell_book(arguments[0], 99.0, 101.0, last=100.0)


def bar(start: datetime, close: float = 100.0) -> Any:
    date = str(int(start.timestamp()))
    return SimpleNamespace(
        date=date, open=100.0, high=max(100.0, close), low=min(100.0, close), close=close, volume=1.0
    )


@asynccontextmanager
async def running(world: World, **changes: Any) -> AsyncIterator[World]:
    settings = Settings("gateway", 4002, CLIENT, request_seconds=0.3, timing=QUICK)
    world.broker = IBKRBroker(settings, world.clock, rng=random.Random(1), load_library=world.gateway.library)
    world.market = world.broker.market_data(ALWAYS, **changes)
    task = asyncio.create_task(world.broker.run())
    try:
        await until(lambda: world.broker.is_connected)
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not found():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def bars(world: World, count: int = 20, symbol: str = "AAPL", seconds: int = 60) -> Answer[Any]:
    return await world.market.bars(symbol, seconds, count, world.clock.now())


async def quote(world: World, symbol: str = "AAPL") -> Answer[Any]:
    return await world.market.quote(symbol, world.clock.now())


async def until_value(ask: Callable[[], Awaitable[Answer[Any]]]) -> None:
    async with asyncio.timeout(20):
        while not isinstance(await ask(), Value):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def why(answer: Answer[Any]) -> str:
    assert isinstance(answer, Unknown), answer
    return answer.why


@pytest.fixture
def world() -> World:
    return World()


# --- bars -----------------------------------------------------------------------------------------------------------


async def test_one_subscription_serves_everybody_who_asks_for_a_series(world: World) -> None:
    async with running(world):
        answers = await asyncio.gather(*(bars(world, count) for count in (5, 20, 100)))
        assert [len(answer.value) for answer in answers if isinstance(answer, Value)] == [5, 20, 100]
        (asked,) = world.asked("reqHistoricalData")
        assert asked[2:] == ("", "1 D", "1 min", "TRADES", True, 2, True, [])
        assert asked[1].conId == 265598, "the contract that was qualified"


async def test_the_bar_that_forms_is_not_given_until_another_begins(world: World) -> None:
    async with running(world):
        first = await bars(world)
        assert isinstance(first, Value)
        begun = world.minute()
        assert first.value.last_end == begun
        (number,) = world.out("bars")
        world.clock.ahead += 60
        world.tell_bar(number, begun, 103.0)
        world.tell_bar(number, begun + MINUTE)
        second = await bars(world)
        assert isinstance(second, Value)
        assert (second.value.last_end, second.value.close[-1]) == (begun + MINUTE, 103.0)


async def test_a_bar_that_ended_a_moment_ago_is_waited_for(world: World) -> None:
    async with running(world):
        await bars(world)
        begun, (number,) = world.minute(), world.out("bars")
        world.clock.ahead += (begun + MINUTE - world.clock.now()).total_seconds() + 0.2
        asking = asyncio.create_task(bars(world))
        await asyncio.sleep(0.1)
        assert not asking.done()
        world.tell_bar(number, begun, 104.0)
        world.tell_bar(number, begun + MINUTE)
        answer = await asking
        assert isinstance(answer, Value)
        assert (answer.value.last_end, answer.value.close[-1]) == (begun + MINUTE, 104.0)


async def test_what_waits_in_the_socket_is_heard_before_a_bar_is_judged_by_the_clock(world: World) -> None:
    async with running(world):
        await bars(world)
        begun, (number,), loop = world.minute(), world.out("bars"), asyncio.get_running_loop()
        world.clock.ahead += 70
        loop.call_soon(world.tell_bar, number, begun, 103.0)
        loop.call_soon(world.tell_bar, number, begun + MINUTE)
        answer = await bars(world)
        assert isinstance(answer, Value)
        assert dict(zip(answer.value.end, answer.value.close, strict=True))[(begun + MINUTE).timestamp()] == 103.0


async def test_older_bars_are_asked_for_page_by_page_until_there_are_enough(world: World) -> None:
    async with running(world):
        answer = await bars(world, 1_000)
        assert isinstance(answer, Value)
        assert len(answer.value) == 1_000
        kept, *pages = world.asked("reqHistoricalData")
        assert kept[8]
        assert [page[8] for page in pages] == [False, False]
        assert len({page[2] for page in pages}) == 2, "each ends where the one before began"


async def test_history_that_is_shorter_gives_what_there_is(world: World) -> None:
    world.count = 30
    history = world.gateway.answers["reqHistoricalData"]

    def short(callbacks: Any, arguments: tuple[Any, ...]) -> None:
        if arguments[2]:
            callbacks.error(arguments[0], 162, "HMDS query returned no data: AAPL@SMART Trades", "")
        else:
            history(callbacks, arguments)

    world.gateway.answers["reqHistoricalData"] = short
    async with running(world):
        answer = await bars(world, 50)
        assert isinstance(answer, Value)
        assert len(answer.value) == 29, "without the one that forms"
        await bars(world, 50)
        assert len(world.asked("reqHistoricalData")) == 2


async def test_a_length_that_cannot_be_had_is_refused_without_asking(world: World) -> None:
    async with running(world):
        assert "no bars of 7 s" in why(await bars(world, seconds=7))
        assert isinstance(await bars(world, 0), ConfirmedEmpty)
        assert world.gateway.asked[3:] == []


async def test_first_answers_that_do_not_come_are_waited_for_a_few_seconds_in_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.gateway.answers["reqHistoricalData"] = lambda callbacks, arguments: None
    async with running(world):
        world.market._bars_patience.seconds = 0.3
        started = world.clock.monotonic()
        for number in range(20):
            assert "asked for" in why(await bars(world, symbol=f"S{number}"))
        assert world.clock.monotonic() - started < 2.0
        await until(lambda: len(world.asked("reqHistoricalData")) == 20)


# --- prices ---------------------------------------------------------------------------------------------------------


async def test_a_price_is_subscribed_to_once_and_follows_the_ticks(world: World) -> None:
    async with running(world):
        first = await quote(world)
        assert isinstance(first, Value)
        assert (first.value.bid, first.value.price, first.value.ask) == (99.0, 100.0, 101.0)
        (asked,) = world.asked("reqMktData")
        assert asked[2:] == ("", False, False, [])
        assert world.asked("reqMarketDataType") == [(1,)]
        world.tell_book(asked[0], 102.0, 103.0)
        second = await quote(world)
        assert isinstance(second, Value)
        assert (second.value.bid, second.value.price, second.value.ask) == (102.0, 102.0, 103.0)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (354, "Requested market data is not subscribed."),
        (10089, "Requested market data requires additional subscription for API."),
        (10197, "No market data during competing live session"),
        (101, "Max number of tickers has been reached"),
        (200, "No security definition has been found for the request"),
        (99_999, "Something that nobody knows"),
    ],
)
async def test_a_price_that_is_refused_is_unknown_with_the_sentence_and_tried_again_later(
    world: World, code: int, text: str
) -> None:
    ticks = world.gateway.answers["reqMktData"]
    world.gateway.answers["reqMktData"] = lambda callbacks, arguments: callbacks.error(arguments[0], code, text, "")
    async with running(world):
        assert why(await quote(world)) == f"{text} (IBKR {code})"
        await quote(world)
        assert len(world.asked("reqMktData")) == 1
        await until(lambda: not world.out("ticks"))
        world.gateway.answers["reqMktData"] = ticks
        world.clock.ahead += 31
        world.callbacks.tcpDataArrived()
        await until(lambda: len(world.asked("reqMktData")) == 2)
        await until_value(lambda: quote(world))


@pytest.mark.parametrize("code", [10167, 10090, 2109])
async def test_a_word_on_a_subscription_does_not_end_it(world: World, code: int) -> None:
    async with running(world):
        await quote(world)
        (number,) = world.out("ticks")
        world.error(number, code, "Requested market data is not subscribed. Displaying delayed market data.")
        assert isinstance(await quote(world), Value)
        assert world.out("ticks") == {number}


async def test_delayed_prices_are_none_unless_they_are_allowed(world: World) -> None:
    def delayed(callbacks: Any, arguments: tuple[Any, ...]) -> None:
        callbacks.error(arguments[0], 10167, "Displaying delayed market data.", "")
        callbacks.marketDataType(arguments[0], 3)
        callbacks.priceSizeTick(arguments[0], 66, 99.0, 1.0)
        callbacks.priceSizeTick(arguments[0], 67, 101.0, 1.0)

    world.gateway.answers["reqMktData"] = delayed
    async with running(world):
        assert "delayed prices" in why(await quote(world))
    other = World()
    other.gateway.answers["reqMktData"] = delayed
    async with running(other, allow_delayed=True):
        answer = await quote(other)
        assert isinstance(answer, Value)
        assert other.clock.now() - answer.value.time >= timedelta(seconds=900)
        assert other.market.delayed == ("AAPL",)
        assert other.asked("reqMarketDataType") == [(3,)]


async def test_live_trading_has_no_delayed_prices() -> None:
    settings = Settings("gateway", 4002, CLIENT, wanted=Wanted("U1", Mode.LIVE, "U1"))
    broker = IBKRBroker(settings, SystemClock(), load_library=FakeGateway().library)
    with pytest.raises(BrokerError, match="Paper alone"):
        broker.market_data(ALWAYS, allow_delayed=True)


async def test_a_symbol_that_is_no_share_is_unknown_and_nothing_is_subscribed(world: World) -> None:
    async with running(world):
        assert "knows no share NOPE" in why(await quote(world, "NOPE"))
        assert "knows no share NOPE" in why(await bars(world, symbol="NOPE"))
        assert world.asked("reqMktData") == world.asked("reqHistoricalData") == []
        assert len(world.asked("reqContractDetails")) == 1


# --- what is lost ---------------------------------------------------------------------------------------------------


async def settled(world: World) -> None:
    """Both a series and a price are there."""
    assert isinstance(await bars(world), Value)
    assert isinstance(await quote(world), Value)


async def test_after_1101_everything_is_subscribed_to_again(world: World) -> None:
    async with running(world):
        await settled(world)
        world.error(-1, 1100, "Connectivity between IBKR and Trader Workstation has been lost.")
        assert "lost its connection to IBKR" in why(await quote(world))
        world.error(-1, 1101, "restored - data lost.")
        await until(lambda: len(world.asked("reqMktData")) == len(world.asked("reqHistoricalData")) == 2)
        await settled(world)
        assert world.asked("cancelMktData") == [], "there is nothing to be cancelled"


async def test_while_ibkr_is_away_no_bar_is_closed_by_the_clock_alone(world: World) -> None:
    async with running(world):
        await settled(world)
        world.error(-1, 1100, "Connectivity between IBKR and Trader Workstation has been lost.")
        assert isinstance(await bars(world), Value), "what had closed before is known"
        world.clock.ahead += 70
        assert "lost its connection to IBKR" in why(await bars(world)), "and nobody knows what closed since"


async def test_after_1102_prices_stay_subscribed_and_bars_are_looked_at_for_gaps(world: World) -> None:
    async with running(world):
        await settled(world)
        (number,) = world.out("ticks")
        world.error(-1, 1100, "Connectivity between IBKR and Trader Workstation has been lost.")
        world.error(-1, 1102, "restored - data maintained.")
        await until(lambda: world.broker.is_connected)
        assert "data may have been lost" in why(await quote(world))
        world.tell_book(number, 98.0, 99.0)
        answer = await quote(world)
        assert isinstance(answer, Value)
        assert answer.value.bid == 98.0
        assert world.out("ticks") == {number}
        world.clock.ahead += 1.1
        await until(lambda: len(world.asked("reqHistoricalData")) == 2)
        assert len(world.out("bars")) == 1
        assert isinstance(await bars(world), Value)


async def test_a_price_that_stays_silent_after_a_loss_is_subscribed_to_anew(world: World) -> None:
    async with running(world):
        await settled(world)
        world.error(-1, 2103, "Market data farm connection is broken:usfarm")
        assert "data may have been lost" in why(await quote(world))
        world.clock.ahead += 6
        world.callbacks.tcpDataArrived()
        await until(lambda: len(world.asked("reqMktData")) == 2)
        assert isinstance(await quote(world), Value)
        assert len(world.out("ticks")) == 1


@pytest.mark.parametrize(
    "told", ["Security definition data farm connection is broken:secdefnj", "Market data farm connection is OK:usfarm"]
)
async def test_what_is_no_loss_of_data_changes_nothing(world: World, told: str) -> None:
    async with running(world):
        await settled(world)
        world.error(-1, 2157 if "broken" in told else 2104, told)
        assert isinstance(await quote(world), Value)
        assert len(world.asked("reqHistoricalData")) == 1


async def test_after_a_lost_connection_all_is_asked_for_on_the_next_one(world: World) -> None:
    async with running(world):
        await settled(world)
        world.callbacks.setEventsDone()
        assert isinstance(await quote(world), Unknown)
        await until(lambda: world.broker.is_connected)
        await settled(world)
        assert len(world.asked("reqMktData")) == len(world.asked("reqHistoricalData")) == 2
        assert len(world.asked("reqMarketDataType")) == 2, "each connection is told anew"


async def test_bars_that_are_busted_are_asked_for_at_once(world: World) -> None:
    async with running(world):
        await settled(world)
        (number,) = world.out("bars")
        world.error(number, 10225, "Bust event occurred, current subscription is deactivated.")
        await until(lambda: len(world.asked("reqHistoricalData")) == 2)
        assert isinstance(await bars(world), Value)
        assert len(world.out("bars")) == 1


async def test_older_bars_that_were_asked_for_before_a_renewal_are_not_joined_to_it(world: World) -> None:
    """There may be a hole between them: what was known before is given up where the answer does not meet it."""
    history = world.gateway.answers["reqHistoricalData"]
    pages: list[tuple[Any, ...]] = []

    def late(callbacks: Any, arguments: tuple[Any, ...]) -> None:
        if arguments[2]:
            pages.append(arguments)
        else:
            history(callbacks, arguments)

    world.count = 30
    world.newest = world.minute() - 120 * MINUTE
    world.gateway.answers["reqHistoricalData"] = late
    async with running(world):
        world.market._bars_patience.seconds = 0.05
        assert isinstance(await bars(world, 50), Unknown)
        await until(lambda: len(pages) == 1)
        world.newest = None
        (number,) = world.out("bars")
        world.error(number, 10225, "Bust event occurred, current subscription is deactivated.")
        await until(lambda: len(pages) == 2)
        history(world.callbacks, pages[0])
        assert world.asked("cancelHistoricalData")[-1] == (pages[0][0],)
        history(world.callbacks, pages[1])
        await until_value(lambda: bars(world, 50))
        answer = await bars(world, 50)
        assert isinstance(answer, Value)
        assert set((answer.value.end[1:] - answer.value.end[:-1]).tolist()) == {60.0}


async def test_a_pacing_violation_keeps_the_next_request_back_for_a_minute(world: World) -> None:
    text = "Historical Market Data Service error message:Historical data request pacing violation"
    history = world.gateway.answers["reqHistoricalData"]
    world.gateway.answers["reqHistoricalData"] = lambda callbacks, arguments: callbacks.error(
        arguments[0], 162, text, ""
    )
    async with running(world):
        assert "pacing violation" in why(await bars(world))
        world.gateway.answers["reqHistoricalData"] = history
        world.clock.ahead += 45
        assert "pacing violation" in why(await bars(world))
        assert isinstance(await bars(world, symbol="IBM"), Unknown), "the rule is for all series"
        assert len(world.asked("reqHistoricalData")) == 1
        world.clock.ahead += 16
        world.callbacks.tcpDataArrived()
        await until(lambda: len(world.asked("reqHistoricalData")) == 3)
        await until_value(lambda: bars(world))


async def test_a_pacing_violation_of_history_keeps_no_order_back(world: World) -> None:
    async with running(world):
        await settled(world)
        (number,) = world.out("bars")
        world.error(number, 162, "Historical data request pacing violation")
        world.broker.send(intent("ob1.a.1"))
        assert len(world.gateway.placed()) == 1


async def test_a_bar_before_whose_end_nothing_was_heard_is_asked_for_and_not_closed_by_the_clock(world: World) -> None:
    """A subscription that died says nothing, as a stock that does not trade: what it came to is history's to say."""
    async with running(world):
        await bars(world)
        begun = world.minute()
        world.newest = begun
        world.clock.ahead += (begun + MINUTE - world.clock.now()).total_seconds() + 1.2
        world.callbacks.tcpDataArrived()
        await until(lambda: len(world.asked("reqHistoricalData")) == 2)
        answer = await bars(world)
        assert isinstance(answer, Value)
        assert answer.value.last_end == begun + MINUTE
        world.clock.ahead += 10
        assert isinstance(await bars(world), Value)
        assert len(world.asked("reqHistoricalData")) == 2, "once a bar"


async def test_a_series_that_falls_silent_while_the_market_trades_is_asked_for_again(world: World) -> None:
    async with running(world):
        await settled(world)
        world.clock.ahead += 61
        world.callbacks.tcpDataArrived()
        await until(lambda: len(world.asked("reqHistoricalData")) == 2)
        assert len(world.out("bars")) == 1


async def test_a_request_without_an_answer_is_given_up_and_cancelled(world: World) -> None:
    world.gateway.answers["reqHistoricalData"] = lambda callbacks, arguments: None
    async with running(world):
        world.market._bars_patience.seconds = 0.05
        assert "asked for" in why(await bars(world))
        await until(lambda: len(world.asked("reqHistoricalData")) == 1)
        world.clock.ahead += 31
        await until(lambda: not world.out("bars"))
        assert "not given within 30 s" in why(await bars(world))


async def test_a_bar_that_cannot_be_read_is_noticed(world: World) -> None:
    async with running(world):
        await settled(world)
        (number,) = world.out("bars")
        with pytest.raises(ValueError, match="no time of a bar"):
            world.callbacks.historicalDataUpdate(number, SimpleNamespace(**(vars(bar(world.minute())) | {"date": "?"})))


# --- no more than is wanted -----------------------------------------------------------------------------------------


async def test_what_nobody_asks_for_is_cancelled_and_nothing_is_left(world: World) -> None:
    async with running(world):
        for number in range(8):
            await quote(world, f"S{number}")
            await bars(world, symbol=f"S{number}")
        assert (len(world.out("ticks")), len(world.out("bars"))) == (8, 8)
        world.clock.ahead += 130
        world.callbacks.tcpDataArrived()
        await until(lambda: not world.out("ticks"))
        world.clock.ahead += 1_800
        world.callbacks.tcpDataArrived()
        await until(lambda: not world.out("bars"))
        assert world.market.subscribed == 0


async def test_no_more_symbols_are_subscribed_to_than_a_user_may_have(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "MOST_LINES", 3)
    monkeypatch.setattr(desk, "MOST_SERIES", 2)
    async with running(world):
        for number in range(3):
            assert isinstance(await quote(world, f"S{number}"), Value)
        assert "3 symbols are subscribed to already" in why(await quote(world, "S9"))
        world.clock.ahead += 11
        await quote(world, "S1")
        assert isinstance(await quote(world, "S9"), Value), "in place of one that nobody asks for"
        await until(lambda: len(world.out("ticks")) == 3)
        await bars(world, symbol="S0")
        await bars(world, symbol="S1")
        assert "2 series" in why(await bars(world, symbol="S2"))


async def test_however_much_is_asked_for_orders_go_out(world: World) -> None:
    async with running(world):
        asking = [asyncio.create_task(bars(world, 400, f"S{number}")) for number in range(20)]
        asking += [asyncio.create_task(quote(world, f"S{number}")) for number in range(40)]
        for number in range(8):
            world.broker.send(intent(f"ob1.a.{number}"))  # raises where a question took its place
            await asyncio.sleep(0.25)
        assert len(world.gateway.placed()) == 8
        await until(lambda: len(world.out("ticks")) == 40 and len(world.out("bars")) == 20)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


# --- data alone -----------------------------------------------------------------------------------------------------


async def test_a_source_asks_for_data_alone_and_needs_no_account(world: World) -> None:
    world.gateway.accounts = ("U1", "U2")
    settings = Settings("gateway", 4002, CLIENT, request_seconds=0.3, timing=QUICK)
    source = IBKRSource(settings, world.clock, rng=random.Random(1), load_library=world.gateway.library)
    world.market = source.market_data(ALWAYS)
    task = asyncio.create_task(source.run())
    try:
        await until(lambda: source.link.is_usable)
        assert world.gateway.asked == []
        await settled(world)
        names = {name for name, _ in world.gateway.asked}
        assert names == {"reqContractDetails", "reqMarketDataType", "reqMktData", "reqHistoricalData"}
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert "stopped" in why(await quote(world))
