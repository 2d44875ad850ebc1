"""Recorded bars and the simulated broker together: at which price what is filled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime
from decimal import Decimal

from fakes.venues import FREE, intent, value
from openbell.brokers.simulated.adapter import SimulatedBroker
from openbell.brokers.simulated.book import Book
from openbell.brokers.simulated.desk import VenueSettings
from openbell.domain.clock import SimulatedClock
from openbell.domain.orders import Fill, OrderType, Side
from openbell.market.calendar import calendar_for
from openbell.market.recorded import RecordedBars, ReplayMarket, Split
from openbell.market.replay import BarsStep, CloseStep, Levels, OpenStep, PathStep, ReplayDriver, SplitStep

XNYS = calendar_for("XNYS")
DAYS = (date(2001, 9, 17), date(2001, 9, 18), date(2001, 9, 19), date(2001, 9, 20))
LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)


class Trader:
    """The smallest thing that trades a replay: buys on the first closed bar, and leaves at a stop or a target."""

    def __init__(
        self, bars: Sequence[tuple[float, ...]], stop: float, target: float, *splits: Split, short: bool = False
    ) -> None:
        recorded = RecordedBars({"IBM": list(zip(DAYS, bars, strict=False))}, XNYS, splits)
        self.market = ReplayMarket(recorded)
        self.driver = ReplayDriver(self.market, self.armed)
        self.clock = SimulatedClock(self.driver.first_moment)
        self.stop, self.target, self.short = stop, target, short
        self.settings = VenueSettings(terms=FREE, hours=XNYS, trades=self.market.has)
        self.held = Decimal(0)
        self.left = False

    def armed(self) -> Mapping[str, Sequence[Levels]]:
        return {"IBM": [Levels(not self.short, self.stop, self.target)]} if self.held and not self.left else {}

    async def trade(self) -> tuple[Fill, ...]:
        book = Book.in_memory()
        broker = SimulatedBroker(book, self.market, self.clock, self.settings, polls=False)
        side = Side.SELL if self.short else Side.BUY
        async with _running(broker):
            for step in self.driver:
                self.clock.set(step.time)
                if isinstance(step, SplitStep):
                    for split in step.splits:
                        broker.apply_split(split.symbol, split.date, split.ratio)
                        self.stop, self.target = self.stop / float(split.ratio), self.target / float(split.ratio)
                elif isinstance(step, BarsStep):
                    if step.session.date == DAYS[0]:
                        broker.send(intent("entry", side, 10, "IBM"))
                else:
                    for quote in step.quotes:
                        broker.on_quote(quote)
                    await self._look(broker)
                    if isinstance(step, OpenStep | PathStep | CloseStep) and self.held and not self.left:
                        price, sign = step.quotes[0].price, -1 if self.short else 1
                        if (price - self.stop) * sign <= 0 or (price - self.target) * sign >= 0:
                            broker.send(intent("exit", side.opposite, abs(self.held), "IBM"))
                            self.left = True
            fills = value(await broker.fills(LONG_AGO))
        book.close()
        return fills

    async def _look(self, broker: SimulatedBroker) -> None:
        for position in getattr(await broker.positions(), "value", ()):
            self.held = position.quantity


@asynccontextmanager
async def _running(broker: SimulatedBroker) -> AsyncIterator[None]:
    task = asyncio.create_task(broker.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def prices(*bars: tuple[float, ...], short: bool = False) -> list[tuple[str, date, float]]:
    stop, target = (104.0, 96.0) if short else (96.0, 104.0)
    fills = await Trader([(*bar, 1.0) for bar in bars], stop, target, short=short).trade()
    return [(fill.order_ref, fill.time.date(), float(fill.price)) for fill in fills]


FLAT = (100, 100, 100, 100)


async def test_a_signal_at_the_close_fills_at_the_next_open() -> None:
    assert await prices((90, 95, 85, 92), (101, 102, 99, 100)) == [("entry", DAYS[1], 101)]


async def test_a_stop_touched_within_the_bar_fills_at_the_stop() -> None:
    assert (await prices(FLAT, FLAT, (99, 101, 95, 100)))[1:] == [("exit", DAYS[2], 96)]


async def test_a_target_touched_within_the_bar_fills_at_the_target() -> None:
    assert (await prices(FLAT, FLAT, (99, 105, 98, 100)))[1:] == [("exit", DAYS[2], 104)]


async def test_stop_and_target_in_one_bar_is_the_stop() -> None:
    assert (await prices(FLAT, FLAT, (100, 110, 90, 108)))[1:] == [("exit", DAYS[2], 96)]


async def test_a_gap_through_the_stop_fills_at_the_open() -> None:
    assert (await prices(FLAT, FLAT, (80, 110, 75, 108)))[1:] == [("exit", DAYS[2], 80)]


async def test_a_gap_through_the_target_fills_at_the_open() -> None:
    assert (await prices(FLAT, FLAT, (120, 121, 90, 95)))[1:] == [("exit", DAYS[2], 120)]


async def test_the_bar_of_the_entry_can_stop_it() -> None:
    assert await prices(FLAT, (100, 100, 95, 99)) == [("entry", DAYS[1], 100), ("exit", DAYS[1], 96)]


async def test_a_short_position_sees_the_high_first() -> None:
    assert (await prices(FLAT, FLAT, (100, 110, 90, 92), short=True))[1:] == [("exit", DAYS[2], 104)]
    assert (await prices(FLAT, FLAT, (100, 101, 90, 92), short=True))[1:] == [("exit", DAYS[2], 96)]


async def test_a_split_while_holding_changes_what_is_held_and_not_what_it_is_worth() -> None:
    bars = [(100, 100, 100, 100, 1), (100, 100, 100, 100, 1), (50, 51, 49, 50, 1), (50, 50, 47, 48, 1)]
    trader = Trader(bars, 96.0, 104.0, Split("IBM", DAYS[2], Decimal(2)))
    entry, left = await trader.trade()
    assert (entry.quantity, entry.price) == (Decimal(10), Decimal("100.0000"))
    assert (left.quantity, left.price, left.time.date()) == (Decimal(20), Decimal("48.0000"), DAYS[3])


async def test_an_order_working_over_a_split_follows_it() -> None:
    bars = [(100, 100, 100, 100, 1), (50, 50, 50, 50, 1)]
    trader = Trader(bars, 96.0, 104.0, Split("IBM", DAYS[1], Decimal(2)))
    (entry,) = await trader.trade()
    assert (entry.quantity, entry.price) == (Decimal(20), Decimal("50.0000"))


async def test_a_limit_order_whose_price_is_a_level_fills_there_within_the_bar() -> None:
    recorded = RecordedBars({"IBM": [(DAYS[0], (100.0, 106.0, 97.0, 101.0, 1.0))]}, XNYS)
    market = ReplayMarket(recorded)
    driver = ReplayDriver(market, lambda: {"IBM": [Levels(True, stop=98.0)]})
    clock, book = SimulatedClock(driver.first_moment), Book.in_memory()
    settings = VenueSettings(terms=FREE, hours=XNYS)
    broker = SimulatedBroker(book, market, clock, settings, polls=False)
    async with _running(broker):
        for step in driver:
            clock.set(step.time)
            if isinstance(step, OpenStep):
                order = intent("buy", Side.BUY, 1, "IBM", order_type=OrderType.LIMIT, limit_price=Decimal(98))
                broker.send(order)
            elif not isinstance(step, SplitStep | BarsStep):
                for quote in step.quotes:
                    broker.on_quote(quote)
        (fill,) = value(await broker.fills(LONG_AGO))
    assert fill.price == 98
    book.close()
