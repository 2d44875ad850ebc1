"""The desk joins venue, book and market data: each step of the venue is one transaction of the book."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from openbell.brokers.simulated.book import Book
from openbell.brokers.simulated.messages import request_row, terms_row
from openbell.brokers.simulated.venue import Happened, OrderRequest, Terms, TradingHours, Venue, anything
from openbell.domain.account import Account
from openbell.domain.answers import Value
from openbell.domain.bars import Quote
from openbell.domain.clock import Clock
from openbell.domain.orders import Fill, OrderTerms, OrderUpdate
from openbell.domain.positions import BrokerPosition
from openbell.market.base import MarketData

POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class VenueSettings:
    """How a venue behaves. `hours` None: always open, and Day orders do not expire."""

    seed: int = 1
    terms: Terms = field(default_factory=Terms)
    hours: TradingHours | None = None
    trades: Callable[[str], bool] = anything
    poll_seconds: float = POLL_SECONDS


class Desk:
    """The one place that changes the venue. `listener` is told of every event once it is in the book."""

    def __init__(
        self,
        book: Book,
        market: MarketData,
        clock: Clock,
        settings: VenueSettings,
        listener: Callable[[Happened], None],
    ) -> None:
        self.book = book
        self._market = market
        self._clock = clock
        self._settings = settings
        self._listener = listener
        self._has_work = asyncio.Event()
        self._venue = self._restored()

    def _restored(self) -> Venue:
        venue = Venue(self.book.name, self._settings.seed, self._settings.terms, self._settings.trades)
        self.book.restore(venue)
        if venue.working_symbols:
            self._has_work.set()
        return venue

    @contextmanager
    def _step(self) -> Iterator[Venue]:
        try:
            with self.book.step():
                yield self._venue
                self.book.save(self._venue.take_changes(), self._venue)
        except BaseException:
            # The step is not in the book, so it must not be in memory either.
            quotes = self._venue.quotes
            self._venue = self._restored()
            self._venue.quotes = quotes
            raise
        if self._venue.working_symbols:
            self._has_work.set()
        else:
            self._has_work.clear()

    def _tell(self, happened: tuple[Happened, ...]) -> None:
        for one in happened:
            self._listener(one)

    # --- orders ------------------------------------------------------------------------------------------------------

    def order(self, account: str, request: OrderRequest, *, kind: str = "Order", refuse: str = "") -> None:
        """An order arrives: recorded first, then acknowledged or rejected; `refuse` rejects it whatever it says.

        Raises BookError where it could not be recorded; nothing has happened then.
        """
        now = self._clock.now()
        hours = self._settings.hours
        with self._step() as venue:
            self.book.record_arrival(now, account, kind, request.order_ref, request_row(request))
            if refuse:
                happened = venue.refuse(account, request, now, refuse)
            else:
                expires_at = None if hours is None else hours.next_close(now)
                happened = venue.submit(account, request, now, expires_at)
        self._tell(happened)

    def cancel(self, account: str, order_ref: str, *, lose: bool = False) -> None:
        """A cancel arrives: recorded, then done, unless it is to be lost."""
        with self._step() as venue:
            self.book.record_arrival(self._clock.now(), account, "Cancel", order_ref, {})
            happened = () if lose else venue.cancel(account, order_ref)
        self._tell(happened)

    def modify(self, account: str, order_ref: str, terms: OrderTerms, *, lose: bool = False) -> None:
        """A change of terms arrives: recorded, then done or refused, unless it is to be lost."""
        now = self._clock.now()
        with self._step() as venue:
            self.book.record_arrival(now, account, "Modify", order_ref, terms_row(terms))
            happened = () if lose else venue.modify(account, order_ref, terms, now)
        self._tell(happened)

    def on_quote(self, quote: Quote) -> None:
        """A price arrives: expire what is over, and match while the market is open."""
        hours = self._settings.hours
        if not self._venue.is_concerned(quote, hours):
            self._venue.see(quote)
            return
        with self._step() as venue:
            happened = venue.take(quote, hours)
        self._tell(happened)

    def split(self, symbol: str, day: date, ratio: Decimal) -> None:
        """Apply a split once, however often it is announced."""
        with self._step() as venue:
            if self.book.record_split(symbol, day, ratio):
                venue.split(symbol, ratio)

    # --- what can be asked -------------------------------------------------------------------------------------------

    async def account(self, account: str) -> Account:
        """The account, valued at prices of now."""
        for held in self._venue.positions(account):
            await self._look(held.symbol)
        return self._venue.account(account)

    def positions(self, account: str) -> tuple[BrokerPosition, ...]:
        return self._venue.positions(account)

    def orders(self, account: str) -> tuple[OrderUpdate, ...]:
        return self._venue.orders(account)

    def fills(self, account: str, since: datetime) -> tuple[Fill, ...]:
        return self.book.fills(account, since)

    # --- prices ------------------------------------------------------------------------------------------------------

    async def _look(self, symbol: str) -> None:
        answer = await self._market.quote(symbol, self._clock.now())
        if isinstance(answer, Value):
            self.on_quote(answer.value)

    async def poll(self) -> None:
        """Ask for the prices of symbols with working orders, while there are any, until cancelled."""
        while True:
            await self._has_work.wait()
            await self._clock.sleep(self._settings.poll_seconds)
            now = self._clock.now()
            if self._venue.is_ahead_of(now):
                with self._step() as venue:
                    venue.follow_clock_back(now)
            for symbol in sorted(self._venue.working_symbols):
                await self._look(symbol)
