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
import math
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from openbell.brokers.ibkr.connection import Connection
from openbell.brokers.ibkr.contracts import Contracts
from openbell.brokers.ibkr.errors import Meaning, meaning_of, sentence
from openbell.brokers.ibkr.history import HistoryQuery, Row, refusal, row_of
from openbell.brokers.ibkr.mapping import EXCHANGE, contract_fields
from openbell.brokers.ibkr.pacing import HistoricalPacer, HistoricalRequest, Urgency
from openbell.brokers.ibkr.series import FINAL_SECONDS, Grid, Series
from openbell.brokers.ibkr.session import WHAT, Session
from openbell.brokers.ibkr.shapes import BarShape
from openbell.brokers.ibkr.subscriptions import RETRY_SECONDS, Patience, Rules, Step, Subscription
from openbell.brokers.ibkr.ticks import DELAYED, STALE_SECONDS, DataType, Ticks
from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value
from openbell.domain.bars import BarSeries, Quote
from openbell.domain.clock import Clock
from openbell.domain.errors import BrokerError
from openbell.market.calendar import SessionCalendar

__all__ = ["IBKRMarket", "refusal"]

log = structlog.get_logger("openbell.ibkr.market")

MOST_LINES = 90
"""Of the 100 symbols whose ticks a user may subscribe to."""
MOST_SERIES = 40
"""What is kept up to date counts among the requests for history that are open, of which the rest is for older bars."""
MOST_PAGES = 20
"""Requests for older bars of one series; what is older yet is not needed by anybody."""
LINE_RULES = Rules(idle=120.0, answer=20.0, quiet=STALE_SECONDS)
SERIES_RULES = Rules(idle=1_800.0, answer=30.0, quiet=60.0)
SPARE_SECONDS = 10.0
"""A line that nobody has asked for so long gives way to another symbol."""
DOUBT_SECONDS = 5.0
"""After data may have been lost: how long a symbol may stay silent before it is subscribed to anew."""
BARS_PATIENCE = (3.0, 30.0)
QUOTE_PATIENCE = (1.0, 10.0)
TURN_SECONDS = 1.0
NO_DATA = "returned no data"
NOTES = frozenset({10090, 10091, 10167})
"""Words on a subscription that goes on: delayed data comes, or a part of what was asked for does not."""
BUSTED = 10225


@dataclass(slots=True)
class _Line:
    """The ticks of one symbol."""

    ticks: Ticks
    subscription: Subscription


@dataclass(slots=True)
class _Feed:
    """The bars of one series, with the request that keeps them up to date and the one for older bars."""

    series: Series
    subscription: Subscription
    count: int
    rows: list[Row] = field(default_factory=list)
    page: int = 0  # the number of the request for older bars; 0: none is out
    page_sent_at: float = -math.inf
    page_not_before: float = -math.inf
    page_rows: list[Row] = field(default_factory=list)
    pages: int = 0

    @property
    def base_count(self) -> int:
        """How many base bars the bars come to that are wanted."""
        return self.count * (self.series.bar_seconds // self.series.base)

    def needs_page(self, now: datetime) -> bool:
        """Whether older bars are wanted than there are."""
        if self.series.has_all or self.pages >= MOST_PAGES or self.subscription.is_pending:
            return False
        return len(self.series.bars(now)) < self.count


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
        self._grid = Grid(calendar, hours_only)
        self._allow_delayed = allow_delayed
        self._lines: dict[str, _Line] = {}
        self._feeds: dict[tuple[str, int], _Feed] = {}
        self._by_number: dict[int, _Line | _Feed] = {}
        self._to_end: list[tuple[bool, int]] = []  # whether it is of history, and its number
        self._due = math.inf  # when the next turn is, while one goes on
        self._pacer = HistoricalPacer()
        self._typed: Session | None = None  # the session that was told which type of data is wanted
        self._bars_patience = Patience(*BARS_PATIENCE)
        self._quote_patience = Patience(*QUOTE_PATIENCE)
        self._news = asyncio.Event()
        connection.attach(self)

    # --- MarketData --------------------------------------------------------------------------------------------------

    async def bars(self, symbol: str, bar_seconds: int, count: int, now: datetime) -> Answer[BarSeries]:
        """The newest closed bars; a bar that ended a moment ago is waited for until it can change no more."""
        why = refusal(bar_seconds)
        if why:
            return Unknown(why)
        if count < 1:
            return ConfirmedEmpty()
        feed = self._wanted_feed(symbol, bar_seconds, count)
        if isinstance(feed, Unknown):
            return feed
        until = self._clock.monotonic() + FINAL_SECONDS + BARS_PATIENCE[0]
        while True:
            answer, worth = self._bars_now(feed, count, now)
            worth = min(worth, until - self._clock.monotonic())
            if worth <= 0:
                return answer
            await self._news_within(worth)

    async def quote(self, symbol: str, now: datetime) -> Answer[Quote]:
        """The newest price."""
        line = self._wanted_line(symbol)
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
        return tuple(sorted(symbol for symbol, line in self._lines.items() if line.ticks.type in DELAYED))

    @property
    def subscribed(self) -> int:
        """How many subscriptions are out."""
        lines = sum(line.subscription.number > 0 for line in self._lines.values())
        return lines + sum(feed.subscription.number > 0 for feed in self._feeds.values())

    async def _news_within(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def _tell(self) -> None:
        """Whoever waits for an answer looks again."""
        self._news.set()
        self._news = asyncio.Event()

    def _may_still_come(self, subscription: Subscription, symbol: str) -> bool:
        """Whether a first answer is worth waiting for."""
        return self._connection.carries_data and subscription.is_pending and not self._contracts.why_not(symbol)

    def _why_pending(self, subscription: Subscription, symbol: str) -> str:
        if not self._connection.carries_data:
            return self._connection.link.why
        return self._contracts.why_not(symbol) or subscription.why

    # --- what is asked for -------------------------------------------------------------------------------------------

    def _wanted_line(self, symbol: str) -> _Line | Unknown:
        at = self._clock.monotonic()
        line = self._lines.get(symbol)
        if line is None:
            if len(self._lines) >= MOST_LINES and not self._spare_line(at):
                return Unknown(f"{MOST_LINES} symbols are subscribed to already, which is all that may be")
            line = self._lines[symbol] = _Line(Ticks(symbol), Subscription(at))
            self._connection.wake()
        line.subscription.asked(at)
        return line

    def _spare_line(self, at: float) -> bool:
        symbol, line = min(self._lines.items(), key=lambda item: item[1].subscription.asked_at)
        if at - line.subscription.asked_at < SPARE_SECONDS:
            return False
        self._forget_line(symbol)
        return True

    def _wanted_feed(self, symbol: str, bar_seconds: int, count: int) -> _Feed | Unknown:
        at = self._clock.monotonic()
        feed = self._feeds.get((symbol, bar_seconds))
        if feed is None:
            if len(self._feeds) >= MOST_SERIES:
                return Unknown(f"{MOST_SERIES} series of bars are kept up to date already, which is all that may be")
            series = Series(symbol, bar_seconds, self._grid)
            feed = self._feeds[symbol, bar_seconds] = _Feed(series, Subscription(at), count)
            self._connection.wake()
        elif count > feed.count:
            feed.count, feed.pages = count, 0
            self._connection.wake()
        feed.subscription.asked(at)
        return feed

    def _bars_now(self, feed: _Feed, count: int, now: datetime) -> tuple[Answer[BarSeries], float]:
        """What can be said of the bars now, and for how many seconds something better is worth waiting for."""
        series, clock_now = feed.series, self._clock.now()
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

    def _quote_now(self, line: _Line, at: float) -> Answer[Quote]:
        if not self._connection.carries_data:
            return Unknown(self._connection.link.why)
        answer = line.ticks.quote(at, allow_delayed=self._allow_delayed)
        if isinstance(answer, Unknown) and not line.ticks.has_both_sides:
            return Unknown(self._why_pending(line.subscription, line.ticks.symbol) or answer.why)
        return answer

    # --- what goes out -----------------------------------------------------------------------------------------------

    def on_turn(self) -> float:
        at, now = self._clock.monotonic(), self._clock.now()
        session = self._connection.session if self._connection.carries_data else None
        is_trading = self._grid.is_hole(now - timedelta(seconds=1), now)
        for symbol, line in tuple(self._lines.items()):
            step = line.subscription.step(at, LINE_RULES, is_trading=is_trading)
            if session is not None or step is Step.FORGET:
                self._step_line(symbol, line, step, at)
        for key, feed in tuple(self._feeds.items()):
            step = feed.subscription.step(at, SERIES_RULES, is_trading=is_trading)
            if session is not None or step is Step.FORGET:
                self._step_feed(key, feed, step, at)
        if session is None or not (self._feeds or self._lines or self._to_end):
            return math.inf
        self._due = at + TURN_SECONDS
        self._send(session, at, now)
        return self._due - at

    def _step_line(self, symbol: str, line: _Line, step: Step, at: float) -> None:
        match step:
            case Step.FORGET:
                self._forget_line(symbol)
            case Step.GIVE_UP:
                self._end_line(line)
                line.subscription.refused(f"no price has come within {LINE_RULES.answer:g} s", at + RETRY_SECONDS)
            case Step.RENEW:
                self._end_line(line)
                line.subscription.over("it is being asked for again")

    def _step_feed(self, key: tuple[str, int], feed: _Feed, step: Step, at: float) -> None:
        match step:
            case Step.FORGET:
                self._end_page(feed)
                self._end_feed(feed)
                del self._feeds[key]
            case Step.GIVE_UP:
                self._end_feed(feed)
                feed.subscription.refused(f"bars were not given within {SERIES_RULES.answer:g} s", at + RETRY_SECONDS)
            case Step.RENEW:
                self._end_feed(feed)
                feed.subscription.over("it is being asked for again")
        if feed.page and at - feed.page_sent_at >= SERIES_RULES.answer:
            self._end_page(feed)
            feed.page_not_before = at + RETRY_SECONDS

    def _forget_line(self, symbol: str) -> None:
        self._end_line(self._lines.pop(symbol))

    def _end_line(self, line: _Line) -> None:
        number = line.subscription.number
        line.ticks = Ticks(line.ticks.symbol)
        if self._by_number.pop(number, None) is not None:
            self._to_end.append((False, number))

    def _end_feed(self, feed: _Feed) -> None:
        number = feed.subscription.number
        feed.series.interrupted()
        feed.rows.clear()
        if self._by_number.pop(number, None) is not None:
            self._pacer.end()
            self._to_end.append((True, number))

    def _end_page(self, feed: _Feed) -> None:
        number, feed.page = feed.page, 0
        feed.page_rows.clear()
        if self._by_number.pop(number, None) is not None:
            self._pacer.end()
            self._to_end.append((True, number))

    def _send(self, session: Session, at: float, now: datetime) -> None:
        """Send what is due, as far as the bucket and the rules on history allow.

        What is ended goes first, for it makes room; prices before bars, for exits wait for them.
        """
        while self._to_end and self._may_send(at):
            is_history, number = self._to_end.pop(0)
            (session.end_history if is_history else session.end_ticks)(number)
        for symbol, line in self._lines.items():
            is_due = not line.subscription.number and at >= line.subscription.not_before
            if is_due and self._is_known(symbol) and self._may_send(at):
                self._send_line(session, symbol, line, at)
        for feed in self._feeds.values():
            self._send_history(session, feed, at, now)

    def _is_known(self, symbol: str) -> bool:
        """Whether the broker has named the contract; it is asked to where it has not."""
        return bool(self._contracts.get(symbol).con_id)

    def _may_send(self, at: float) -> bool:
        """Whether one message may go out now, which counts; the next turn is when one may again."""
        bucket = self._connection.bucket
        if bucket.take(at, Urgency.QUESTION):
            return True
        self._due = min(self._due, at + bucket.delay(at, Urgency.QUESTION))
        return False

    def _contract(self, symbol: str) -> object:
        library, known = self._connection.library, self._contracts.get(symbol)
        if library is None:
            raise BrokerError("no library is loaded")
        return library.contract(**contract_fields(symbol, known.con_id, known.primary_exchange))

    def _send_line(self, session: Session, symbol: str, line: _Line, at: float) -> None:
        if self._typed is not session:
            session.ask_data_type(DataType.DELAYED if self._allow_delayed else DataType.LIVE)
            self._typed = session
        number = session.ask_ticks(self._contract(symbol))
        line.subscription.sent(number, at)
        self._by_number[number] = line

    def _send_history(self, session: Session, feed: _Feed, at: float, now: datetime) -> None:
        """Ask for a series, or for a page of its older bars, where that is due."""
        series, subscription, hours_only = feed.series, feed.subscription, self._grid.hours_only
        if not subscription.number and at >= subscription.not_before:
            query = HistoryQuery.of(series.base, feed.base_count, hours_only=hours_only, is_kept=True)
            number = self._ask_history(session, series, query, at)
            if number:
                feed.rows.clear()
                subscription.sent(number, at)
                self._by_number[number] = feed
        elif not feed.page and at >= feed.page_not_before and feed.needs_page(now):
            end = self._grid.last_traded(series.oldest or now)
            query = HistoryQuery.of(series.base, feed.base_count, hours_only=hours_only, end=end)
            number = self._ask_history(session, series, query, at)
            if number:
                feed.page, feed.page_sent_at = number, at
                feed.pages += 1
                self._by_number[number] = feed

    def _ask_history(self, session: Session, series: Series, query: HistoryQuery, at: float) -> int:
        """Send a request for history, and give its number; 0: not now."""
        if not self._is_known(series.symbol):
            return 0
        request = HistoricalRequest(f"{series.symbol} {query}", series.symbol, EXCHANGE, WHAT, series.base)
        delay = self._pacer.delay(request, at)
        if delay:
            self._due = min(self._due, at + delay)
        if delay != 0 or not self._may_send(at):
            return 0
        self._pacer.begin(request, at)
        return session.ask_history(self._contract(series.symbol), query)

    # --- what comes in -----------------------------------------------------------------------------------------------

    def on_price(self, number: int, kind: int, price: float) -> None:
        line, at = self._line(number), self._clock.monotonic()
        if line is None or not line.ticks.price(kind, price, self._clock.now(), at):
            return
        if line.ticks.has_both_sides:
            is_first = line.subscription.is_pending
            line.subscription.heard(at)
            if is_first:
                self._tell()

    def on_tick_value(self, number: int, kind: int, value: float) -> None:
        line = self._line(number)
        if line is not None:
            line.ticks.value(kind, value)

    def on_data_type(self, number: int, kind: int) -> None:
        line = self._line(number)
        if line is None:
            return
        before = line.ticks.type
        line.ticks.told_type(kind)
        if line.ticks.type in DELAYED and before is not line.ticks.type:
            log.warning("market-data.delayed", symbol=line.ticks.symbol, given=self._allow_delayed)

    def on_bar(self, number: int, bar: BarShape) -> None:
        feed = self._feed(number)
        if feed is not None:
            (feed.page_rows if number == feed.page else feed.rows).append(row_of(bar))

    def on_bars_end(self, number: int) -> None:
        feed, now = self._feed(number), self._clock.now()
        if feed is None:
            return
        if number == feed.page:
            feed.series.paged(feed.page_rows, now)
            self._page_is_over(feed)
        else:
            feed.series.answered(feed.rows, now)
            feed.rows.clear()
            feed.subscription.heard(self._clock.monotonic())
        self._tell()
        self._connection.wake()

    def on_bar_update(self, number: int, bar: BarShape) -> None:
        feed = self._feed(number)
        if feed is None or not feed.series.is_live:
            return
        before = feed.series.newest
        feed.subscription.heard(self._clock.monotonic())
        feed.series.grown(row_of(bar), self._clock.now())
        if feed.series.newest != before:
            feed.series.trim(feed.count)
            self._tell()

    def on_data_error(self, number: int, code: int, text: str) -> None:
        holder, meaning = self._by_number.get(number), meaning_of(code, text)
        if holder is None or code in NOTES or meaning is Meaning.WARNING:
            return
        at, why = self._clock.monotonic(), sentence(code, text)
        again = at if code == BUSTED else at + RETRY_SECONDS
        if meaning is Meaning.PACING:
            self._pacer.violated(at)
        if isinstance(holder, _Line):
            self._end_line(holder)
            holder.subscription.refused(why, again)
        elif number != holder.page:
            self._end_feed(holder)
            holder.subscription.refused(why, again)
        elif NO_DATA in text:
            holder.series.paged((), self._clock.now())
            self._page_is_over(holder)
        else:
            self._page_is_over(holder)
            holder.page_not_before = again
        log.warning("market-data.refused", why=why)
        self._tell()
        self._connection.wake()

    def _line(self, number: int) -> _Line | None:
        holder = self._by_number.get(number)
        return holder if isinstance(holder, _Line) else None

    def _feed(self, number: int) -> _Feed | None:
        holder = self._by_number.get(number)
        return holder if isinstance(holder, _Feed) else None

    def _page_is_over(self, feed: _Feed) -> None:
        del self._by_number[feed.page]
        feed.page = 0
        feed.page_rows.clear()
        self._pacer.end()

    # --- the connection ----------------------------------------------------------------------------------------------

    def on_over(self, why: str) -> None:
        self._lose_all(why)

    def on_data_lost(self) -> None:
        self._lose_all("the gateway has lost its data and is asked for it again")
        self._connection.wake()

    def on_doubt(self) -> None:
        at = self._clock.monotonic()
        for line in self._lines.values():
            line.ticks.doubt()
            line.subscription.doubted("data may have been lost, and no price has come since", at + DOUBT_SECONDS)
        for feed in self._feeds.values():
            feed.series.interrupted()
            feed.subscription.doubted("data may have been lost, and the bars are asked for again", at)
        self._connection.wake()

    def on_too_fast(self) -> None:
        self._pacer.violated(self._clock.monotonic())

    def _lose_all(self, why: str) -> None:
        """No subscription is out any more, and each is asked for again as soon as that can be."""
        for line in self._lines.values():
            self._end_line(line)
            line.subscription.over(why)
        for feed in self._feeds.values():
            self._end_page(feed)
            self._end_feed(feed)
            feed.subscription.over(why)
        self._to_end.clear()
        self._tell()
