"""Market data of Interactive Brokers: MarketData over the connection of the broker's adapter, or over one of its own.

    broker = IBKRBroker(settings, clock)
    market = broker.market_data(calendar, hours_only=True)    # the broker's own: one client id, one connection

    source = IBKRSource(settings, clock)                      # marketData.type IBKR beside the simulated broker:
    market = source.market_data(calendar, hours_only=True)    # a client id of its own, and nothing but questions
    tasks.create_task(source.run())                           # `source.link` says how the connection is

`market_data` is called once, before `run`. `calendar` and `hours_only` are the scheduler's: with `hours_only` bars are
of the sessions alone. `allow_delayed`: prices that are a quarter of an hour old are given, with their true time,
instead of none; in Paper alone. `refusal(bar_seconds)` says why a length of bars cannot be had, before anything runs.

One subscription serves everybody who asks for the same series or symbol, and is ended when nobody has for a while. What
goes out next is decided in `on_turn`, from values; nothing here awaits but `bars` and `quote`, and these wait a few
seconds for a first answer at the most.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime

from openbell.brokers.ibkr.connection import Connection
from openbell.brokers.ibkr.contracts import Contracts
from openbell.brokers.ibkr.desk import Desk, Feed, Line
from openbell.brokers.ibkr.history import refusal
from openbell.brokers.ibkr.series import FINAL_SECONDS, Grid
from openbell.brokers.ibkr.subscriptions import Patience, Subscription
from openbell.brokers.ibkr.ticks import DELAYED
from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value
from openbell.domain.bars import BarSeries, Quote
from openbell.domain.clock import Clock
from openbell.market.calendar import SessionCalendar

__all__ = ["IBKRMarket", "refusal"]

BARS_SECONDS = 3.0
QUOTE_SECONDS = 1.0
"""How long first answers are waited for, of however many series or symbols."""


class IBKRMarket:
    """MarketData over one connection."""

    def __init__(
        self,
        connection: Connection,
        contracts: Contracts,
        clock: Clock,
        calendar: SessionCalendar,
        *,
        hours_only: bool = True,
        allow_delayed: bool = False,
    ) -> None:
        self._connection = connection
        self._contracts = contracts
        self._clock = clock
        self._allow_delayed = allow_delayed
        self._bars_patience = Patience(BARS_SECONDS, again_after=30.0)
        self._quote_patience = Patience(QUOTE_SECONDS, again_after=10.0)
        self._news = asyncio.Event()
        grid = Grid(calendar, hours_only)
        self._desk = Desk(connection, contracts, clock, grid, allow_delayed=allow_delayed, on_news=self._on_news)

    async def bars(self, symbol: str, bar_seconds: int, count: int, now: datetime) -> Answer[BarSeries]:
        """The newest closed bars; a bar that ended a moment ago is waited for until it can change no more."""
        why = refusal(bar_seconds)
        if why:
            return Unknown(why)
        if count < 1:
            return ConfirmedEmpty()
        feed = self._desk.feed(symbol, bar_seconds, count)
        if isinstance(feed, Unknown):
            return feed
        until = self._clock.monotonic() + FINAL_SECONDS + BARS_SECONDS
        while True:
            await self._hear()
            answer, worth = self._bars_now(feed, count, now)
            worth = min(worth, until - self._clock.monotonic())
            if worth <= 0:
                return answer
            await self._news_within(worth)

    async def quote(self, symbol: str, now: datetime) -> Answer[Quote]:
        """The newest price."""
        line = self._desk.line(symbol)
        if isinstance(line, Unknown):
            return line
        while True:
            at = self._clock.monotonic()
            answer = self._quote_now(line, at)
            if isinstance(answer, Value) or not self._may_still_come(line.subscription, symbol):
                return answer
            left = self._quote_patience.left(at)
            if left <= 0:
                return answer
            await self._news_within(left)

    @property
    def delayed(self) -> tuple[str, ...]:
        """The symbols whose prices are delayed."""
        return tuple(sorted(symbol for symbol, line in self._desk.lines.items() if line.ticks.type in DELAYED))

    @property
    def subscribed(self) -> int:
        """How many subscriptions are out."""
        lines = sum(line.subscription.number > 0 for line in self._desk.lines.values())
        return lines + sum(feed.subscription.number > 0 for feed in self._desk.feeds.values())

    @staticmethod
    async def _hear() -> None:
        """Let everything be told that has come in while this process was busy: what it says may be long over.

        The loop looks at its sockets once a round, and what it finds is told in the same round, after us.
        """
        for _ in range(2):
            await asyncio.sleep(0)

    async def _news_within(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def _on_news(self) -> None:
        """Whoever waits for an answer looks again."""
        self._news.set()
        self._news = asyncio.Event()

    def _may_still_come(self, subscription: Subscription, symbol: str) -> bool:
        """Whether a first answer is worth waiting for."""
        return self._connection.carries_data and subscription.is_pending and not self._contracts.why_not(symbol)

    def _why_pending(self, subscription: Subscription, symbol: str) -> str:
        if not self._connection.carries_data:
            return self._connection.why_not
        return self._contracts.why_not(symbol) or subscription.why

    def _bars_now(self, feed: Feed, count: int, now: datetime) -> tuple[Answer[BarSeries], float]:
        """What can be said of the bars now, and for how many seconds something better is worth waiting for."""
        series, clock_now = feed.series, self._clock.now()
        series.settle(clock_now)
        found = series.bars(clock_now, min(now, clock_now))
        missing = series.missing_for(clock_now)
        if missing is None:
            why = self._why_pending(feed.subscription, series.symbol)
            patient = self._may_still_come(feed.subscription, series.symbol)
            return Unknown(why), self._bars_patience.left(self._clock.monotonic()) if patient else 0.0
        if len(found) < count and feed.needs_page(clock_now):
            patience = self._bars_patience.left(self._clock.monotonic())
            return Unknown(f"older bars of {series.symbol} are being asked for"), patience
        given = found.newest(count)
        answer: Answer[BarSeries] = Value(given) if len(given) else ConfirmedEmpty()
        return answer, missing if missing <= FINAL_SECONDS else 0.0

    def _quote_now(self, line: Line, at: float) -> Answer[Quote]:
        if not self._connection.carries_data:
            return Unknown(self._connection.why_not)
        answer = line.ticks.quote(at, allow_delayed=self._allow_delayed)
        if isinstance(answer, Unknown) and not line.ticks.has_both_sides:
            return Unknown(self._why_pending(line.subscription, line.ticks.symbol) or answer.why)
        return answer
