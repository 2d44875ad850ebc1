"""The market data that is subscribed to over one connection: what goes out, and where what comes in belongs.

What is due is decided by values (`subscriptions`, `pacing`, `series`); here the requests are handed over, within the
bucket's messages for questions, and their numbers kept. Nothing here awaits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from openbell.brokers.ibkr.connection import Connection
from openbell.brokers.ibkr.contracts import Contracts
from openbell.brokers.ibkr.errors import Meaning, meaning_of, sentence
from openbell.brokers.ibkr.history import HistoryQuery, Row, row_of
from openbell.brokers.ibkr.mapping import EXCHANGE, contract_fields
from openbell.brokers.ibkr.pacing import HistoricalPacer, HistoricalRequest, Urgency
from openbell.brokers.ibkr.series import Grid, Series
from openbell.brokers.ibkr.session import WHAT, Session
from openbell.brokers.ibkr.shapes import BarShape
from openbell.brokers.ibkr.subscriptions import RETRY_SECONDS, Rules, Step, Subscription
from openbell.brokers.ibkr.ticks import DELAYED, STALE_SECONDS, DataType, Ticks
from openbell.domain.answers import Unknown
from openbell.domain.clock import Clock
from openbell.domain.errors import BrokerError

log = structlog.get_logger("openbell.ibkr.market")

MOST_LINES = 90
"""Of the 100 symbols whose ticks a user may subscribe to."""
MOST_SERIES = 40
"""What is kept up to date counts among the requests for history that are open, of which the rest is for older bars."""
MOST_PAGES = 20
"""Requests for older bars of one series; what is older yet is not needed by anybody."""
LINE_RULES = Rules(idle=120.0, answer=20.0, quiet=0.75 * STALE_SECONDS)
SERIES_RULES = Rules(idle=1_800.0, answer=30.0, quiet=60.0)
SILENT_SECONDS = 20.0
"""A bar of a minute or more is asked for where nothing was heard for so long before its end: the word may be lost."""
SPARE_SECONDS = 10.0
"""A line that nobody has asked for so long gives way to another symbol."""
DOUBT_SECONDS = 5.0
"""After data may have been lost: how long a symbol may stay silent before it is subscribed to anew."""
SETTLE_SECONDS = 1.0
"""And how long after the last such word bars are asked for again: farms come and go several at a time."""
TURN_SECONDS = 1.0
MINUTE_SECONDS = 60
NO_DATA = "returned no data"
NOTES = frozenset({10090, 10091, 10167})
"""Words on a subscription that goes on: delayed data comes, or a part of what was asked for does not."""
BUSTED = 10225


@dataclass(slots=True)
class Line:
    """The ticks of one symbol."""

    ticks: Ticks
    subscription: Subscription


@dataclass(slots=True)
class Feed:
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

    def fell_silent(self, at: float, now: datetime) -> bool:
        """Whether a bar has just ended, and nothing was heard for long before: the clock alone must not close it."""
        if not self.series.is_live or self.series.base < MINUTE_SECONDS:
            return False
        since = (now - self.series.grid.last_end(now, self.series.base)).total_seconds()
        return since >= TURN_SECONDS and at - self.subscription.heard_at - since >= SILENT_SECONDS

    def needs_page(self, now: datetime) -> bool:
        """Whether older bars are wanted than there are."""
        if self.series.has_all or self.pages >= MOST_PAGES or self.subscription.is_pending:
            return False
        return len(self.series.bars(now)) < self.count


class Desk:
    """The subscriptions of one connection. `on_news` is called when somebody may get an answer now."""

    def __init__(
        self,
        connection: Connection,
        contracts: Contracts,
        clock: Clock,
        grid: Grid,
        *,
        allow_delayed: bool,
        on_news: Callable[[], None],
    ) -> None:
        self.lines: dict[str, Line] = {}
        self.feeds: dict[tuple[str, int], Feed] = {}
        self._connection = connection
        self._contracts = contracts
        self._clock = clock
        self._grid = grid
        self._allow_delayed = allow_delayed
        self._tell = on_news
        self._by_number: dict[int, Line | Feed] = {}
        self._to_end: list[tuple[bool, int]] = []  # whether it is of history, and its number
        self._due = math.inf  # when the next turn is, while one goes on
        self._pacer = HistoricalPacer()
        self._typed: Session | None = None  # the session that was told which type of data is wanted
        connection.attach(self)

    # --- what is asked for -------------------------------------------------------------------------------------------

    def line(self, symbol: str) -> Line | Unknown:
        at = self._clock.monotonic()
        line = self.lines.get(symbol)
        if line is None:
            if len(self.lines) >= MOST_LINES and not self._spare_line(at):
                return Unknown(f"{MOST_LINES} symbols are subscribed to already, which is all that may be")
            line = self.lines[symbol] = Line(Ticks(symbol), Subscription(at))
            self._connection.wake()
        line.subscription.asked(at)
        return line

    def _spare_line(self, at: float) -> bool:
        symbol, line = min(self.lines.items(), key=lambda item: item[1].subscription.asked_at)
        if at - line.subscription.asked_at < SPARE_SECONDS:
            return False
        self._forget_line(symbol)
        return True

    def feed(self, symbol: str, bar_seconds: int, count: int) -> Feed | Unknown:
        at = self._clock.monotonic()
        feed = self.feeds.get((symbol, bar_seconds))
        if feed is None:
            if len(self.feeds) >= MOST_SERIES:
                return Unknown(f"{MOST_SERIES} series of bars are kept up to date already, which is all that may be")
            series = Series(symbol, bar_seconds, self._grid)
            feed = self.feeds[symbol, bar_seconds] = Feed(series, Subscription(at), count)
            self._connection.wake()
        elif count > feed.count:
            feed.count, feed.pages = count, 0
            self._connection.wake()
        feed.subscription.asked(at)
        return feed

    # --- what goes out -----------------------------------------------------------------------------------------------

    def on_turn(self) -> float:
        at, now = self._clock.monotonic(), self._clock.now()
        session = self._connection.session if self._connection.carries_data else None
        is_trading = self._grid.is_hole(now - timedelta(seconds=1), now)
        for symbol, line in tuple(self.lines.items()):
            step = line.subscription.step(at, LINE_RULES, is_trading=is_trading)
            if session is not None or step is Step.FORGET:
                self._step_line(symbol, line, step, at)
        for key, feed in tuple(self.feeds.items()):
            step = feed.subscription.step(at, SERIES_RULES, is_trading=is_trading)
            if step is Step.NOTHING and feed.fell_silent(at, now):
                step = Step.RENEW
            if session is not None or step is Step.FORGET:
                self._step_feed(key, feed, step, at)
        if session is None or not (self.feeds or self.lines or self._to_end):
            return math.inf
        self._due = at + TURN_SECONDS
        self._send(session, at, now)
        return self._due - at

    def _step_line(self, symbol: str, line: Line, step: Step, at: float) -> None:
        match step:
            case Step.FORGET:
                self._forget_line(symbol)
            case Step.GIVE_UP:
                self._end_line(line)
                line.subscription.refused(f"no price has come within {LINE_RULES.answer:g} s", at + RETRY_SECONDS)
            case Step.RENEW:
                self._end_line(line)
                line.subscription.over("it is being asked for again")

    def _step_feed(self, key: tuple[str, int], feed: Feed, step: Step, at: float) -> None:
        match step:
            case Step.FORGET:
                self._end_page(feed)
                self._end_feed(feed)
                del self.feeds[key]
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
        self._end_line(self.lines.pop(symbol))

    def _end_line(self, line: Line) -> None:
        number = line.subscription.number
        line.ticks = Ticks(line.ticks.symbol)
        if self._by_number.pop(number, None) is not None:
            self._to_end.append((False, number))

    def _end_feed(self, feed: Feed) -> None:
        number = feed.subscription.number
        feed.series.interrupted()
        feed.rows.clear()
        if self._by_number.pop(number, None) is not None:
            self._pacer.end()
            self._to_end.append((True, number))

    def _end_page(self, feed: Feed) -> None:
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
        if self.lines and self._typed is not session and self._may_send(at):
            session.ask_data_type(DataType.DELAYED if self._allow_delayed else DataType.LIVE)
            self._typed = session
        for symbol, line in self.lines.items():
            is_due = not line.subscription.number and at >= line.subscription.not_before and self._typed is session
            if is_due and self._is_known(symbol) and self._may_send(at):
                self._send_line(session, symbol, line, at)
        for feed in self.feeds.values():
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

    def _send_line(self, session: Session, symbol: str, line: Line, at: float) -> None:
        number = session.ask_ticks(self._contract(symbol))
        line.subscription.sent(number, at)
        self._by_number[number] = line

    def _send_history(self, session: Session, feed: Feed, at: float, now: datetime) -> None:
        """Ask for a series, or for a page of its older bars, where that is due."""
        series, subscription, hours_only = feed.series, feed.subscription, self._grid.hours_only
        if not subscription.number and at >= subscription.not_before:
            query = HistoryQuery.of(series.base, feed.base_count, hours_only=hours_only, is_kept=True)
            number = self._ask_history(session, series, query, at)
            if number:
                self._end_page(feed)  # it was to join bars that may not be there after this
                feed.pages = 0
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
        line, at = self._line_of(number), self._clock.monotonic()
        if line is None or not line.ticks.price(kind, price, self._clock.now(), at):
            return
        if line.ticks.has_both_sides:
            is_first = line.subscription.is_pending
            line.subscription.heard(at)
            if is_first:
                self._tell()

    def on_tick_value(self, number: int, kind: int, value: float) -> None:
        line = self._line_of(number)
        if line is not None:
            line.ticks.value(kind, value)

    def on_data_type(self, number: int, kind: int) -> None:
        line = self._line_of(number)
        if line is None:
            return
        before = line.ticks.type
        line.ticks.told_type(kind)
        if line.ticks.type in DELAYED and before is not line.ticks.type:
            log.warning("market-data.delayed", symbol=line.ticks.symbol, given=self._allow_delayed)

    def on_bar(self, number: int, bar: BarShape) -> None:
        feed = self._feed_of(number)
        if feed is not None:
            (feed.page_rows if number == feed.page else feed.rows).append(row_of(bar))

    def on_bars_end(self, number: int) -> None:
        feed = self._feed_of(number)
        if feed is None:
            return
        if number == feed.page:
            feed.series.paged(feed.page_rows, self._clock.now())
            self._page_is_over(feed)
        else:
            feed.series.answered(feed.rows)
            feed.rows.clear()
            feed.subscription.heard(self._clock.monotonic())
        self._tell()
        self._connection.wake()

    def on_bar_update(self, number: int, bar: BarShape) -> None:
        feed = self._feed_of(number)
        if feed is None or not feed.series.is_live:
            return
        before = feed.series.newest
        feed.subscription.heard(self._clock.monotonic())
        feed.series.grown(row_of(bar))
        if feed.series.newest != before:
            feed.series.trim(feed.count)
            self._tell()

    def on_data_error(self, number: int, code: int, text: str) -> None:
        holder, meaning = self._by_number.get(number), meaning_of(code, text)
        if holder is None or code in NOTES or meaning is Meaning.WARNING:
            return
        at, why = self._clock.monotonic(), sentence(code, text)
        if holder.subscription.why != why:
            log.warning("market-data.refused", number=number, why=why)
        again = at if code == BUSTED else at + RETRY_SECONDS
        if meaning is Meaning.PACING:
            self._pacer.violated(at)
        if isinstance(holder, Line):
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
        self._tell()
        self._connection.wake()

    def _line_of(self, number: int) -> Line | None:
        holder = self._by_number.get(number)
        return holder if isinstance(holder, Line) else None

    def _feed_of(self, number: int) -> Feed | None:
        holder = self._by_number.get(number)
        return holder if isinstance(holder, Feed) else None

    def _page_is_over(self, feed: Feed) -> None:
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
        for line in self.lines.values():
            line.ticks.doubt()
            line.subscription.doubted("data may have been lost, and no price has come since", at + DOUBT_SECONDS)
        for feed in self.feeds.values():
            if not feed.subscription.is_refused:
                self._end_feed(feed)
                feed.subscription.over("data may have been lost, and the bars are asked for again", at + SETTLE_SECONDS)
        self._connection.wake()

    def on_too_fast(self) -> None:
        self._pacer.violated(self._clock.monotonic())

    def _lose_all(self, why: str) -> None:
        """No subscription is out any more, and each is asked for again as soon as that can be."""
        for line in self.lines.values():
            self._end_line(line)
            line.subscription.over(why)
        for feed in self.feeds.values():
            self._end_page(feed)
            self._end_feed(feed)
            feed.subscription.over(why)
        self._to_end.clear()
        self._tell()
