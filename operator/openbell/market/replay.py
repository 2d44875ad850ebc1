"""Recorded bars as an ordered stream of steps on simulated time.

A session goes: splits of its date, its open, a path within the bar, its close, its closed bars. The path is continuous
and runs from the open to the extreme that hurts the position, to the one that helps it, to the close; so it passes
through each armed level on its way, the stop before the target. At each level it stops at exactly that price, and
every price is shown twice: once for the exit check, and once more for the order that the check sent, which thereby
fills at the price it saw (the broker fills at the next quote after arrival, never at the one that triggered).

What follows: an order sent on closed bars fills at the next session's open; a gap through a level fills at the open;
stop and target within one bar is the stop.

A bar that is shorter than a day is stepped through like a session of its own, from its start to its end.

All steps of the path lie within milliseconds of the open or the close, so that rules on time (holding time, the end of
the session) act at the open and the close, whose prices are real, and not at an extreme.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import TypeAlias

from openbell.domain.bars import Bar, Quote
from openbell.domain.errors import ManifestError
from openbell.domain.records import quick
from openbell.market.recorded import ReplayMarket, Split
from openbell.market.sessions import Session

STEP = timedelta(milliseconds=1)


@quick
@dataclass(frozen=True, slots=True)
class Levels:
    """Prices at which a position would be left now: the tightest stop and the target, each None where off.

    A working order's limit or stop price can stand here just as well: the path then comes to rest at it.
    """

    is_long: bool
    stop: float | None = None
    target: float | None = None


@dataclass(frozen=True, slots=True)
class SplitStep:
    """Before the open: apply to history (the market has done so), positions, stops and working orders."""

    time: datetime
    splits: tuple[Split, ...]


@quick
@dataclass(frozen=True, slots=True)
class OpenStep:
    """The session opens: let the broker match, then check exits."""

    time: datetime
    session: Session
    quotes: tuple[Quote, ...]


@quick
@dataclass(frozen=True, slots=True)
class PathStep:
    """Prices within the bar, of armed symbols only: let the broker match, then check exits."""

    time: datetime
    quotes: tuple[Quote, ...]


@quick
@dataclass(frozen=True, slots=True)
class RepeatStep:
    """The prices of the step before once more: let the broker match, and nothing else."""

    time: datetime
    quotes: tuple[Quote, ...]


@quick
@dataclass(frozen=True, slots=True)
class CloseStep:
    """The last prices, just before the close: let the broker match, then check exits."""

    time: datetime
    session: Session
    quotes: tuple[Quote, ...]


@quick
@dataclass(frozen=True, slots=True)
class BarsStep:
    """The session is over and its bars are closed: evaluate. Orders sent now fill at the next session's open."""

    time: datetime
    session: Session
    bars: tuple[Bar, ...]


Step: TypeAlias = SplitStep | OpenStep | PathStep | RepeatStep | CloseStep | BarsStep
Armed: TypeAlias = Callable[[], Mapping[str, Sequence[Levels]]]
Leg: TypeAlias = Callable[[Bar, bool], float]


class ReplayDriver:
    """Steps through the recorded sessions from `start` to `end`, both included (None: as the file begins and ends).

    `armed` is asked before each piece of the path, after the consumer has handled the step before, and names the
    symbols whose path matters with the levels of each position at that time; where positions of one symbol differ in
    direction, the first one's decides which extreme comes first. `resume_after` skips sessions whose close is not
    after it: a session that was cut short is stepped through again from its open, its splits included.
    The stream depends on its arguments and on `armed` alone. Raises ManifestError for an empty range.
    """

    def __init__(
        self,
        market: ReplayMarket,
        armed: Armed,
        *,
        start: date | None = None,
        end: date | None = None,
        resume_after: datetime | None = None,
    ) -> None:
        recorded = market.recorded
        self._market = market
        self._armed = armed
        self._start, self._end = start or recorded.first, end or recorded.last
        self._resume_after = resume_after
        if not recorded.first <= self._start <= self._end <= recorded.last:
            raise ManifestError(
                f"marketData.replay: {self._start} to {self._end} is not within "
                f"the recorded {recorded.first} to {recorded.last}"
            )
        self._last_price: dict[str, float] = {}

    @property
    def first_moment(self) -> datetime:
        """When the stream begins: the open of its first session (after `resume_after`)."""
        return next(session.open for session, _, _ in self._sessions())

    @cached_property
    def _bars(self) -> list[tuple[Session, tuple[Bar, ...], bool]]:
        """Every session with its bars, in order of time, and whether it begins its date."""
        found: dict[datetime, tuple[Session, list[Bar]]] = {}
        for symbol in self._market.recorded.symbols:
            for session, bar in self._market.recorded.bars_of(symbol):
                found.setdefault(session.open, (session, []))[1].append(bar)
        ordered = [found[opening] for opening in sorted(found)]
        days = [session.date for session, _ in ordered]
        begins = [number == 0 or day != days[number - 1] for number, day in enumerate(days)]
        return [(session, tuple(bars), first) for (session, bars), first in zip(ordered, begins, strict=True)]

    def _sessions(self) -> Iterator[tuple[Session, tuple[Bar, ...], bool]]:
        for session, bars, begins in self._bars:
            in_range = self._start <= session.date <= self._end
            if in_range and (self._resume_after is None or session.close > self._resume_after):
                yield session, bars, begins

    def __iter__(self) -> Iterator[Step]:
        self.show_prices_before(self.first_moment)
        for session, bars, begins in self._sessions():
            yield from self.session(session, bars, begins_day=begins)

    def show_prices_before(self, first: datetime) -> None:
        """Begin with the newest prices before the first session, where there are any."""
        for symbol in self._market.recorded.symbols:
            # As traded on the eve: a split on the first date is yet to come, as its step.
            series = self._market.recorded.series(symbol, 1, first - STEP)
            if series.last_end is not None:
                self._quote(symbol, series.last_end, float(series.close[-1]))

    def skip(self, symbol: str, session: Session, close: float) -> Quote:
        """Show how a session ended that is not stepped through, because nothing can have happened in it."""
        return self._quote(symbol, session.close - STEP, close)

    def session(self, session: Session, bars: tuple[Bar, ...], *, begins_day: bool = True) -> Iterator[Step]:
        """The steps of one session with the bars that it has; splits are of the date's first."""
        splits = self._market.recorded.splits if begins_day else ()
        splits = tuple(split for split in splits if split.date == session.date)
        if splits:
            for split in splits:
                price = self._last_price.get(split.symbol)
                if price is not None:
                    self._quote(split.symbol, session.open, float(Decimal(repr(price)) / split.ratio))
            yield SplitStep(session.open, splits)
        quotes = tuple(self._quote(bar.symbol, session.open, bar.open) for bar in bars)
        yield OpenStep(session.open, session, quotes)
        moment = session.open + STEP
        yield self._repeat(quotes, moment)
        for leg in (_adverse, _favourable, _close):
            while stops_at := self._next_on_way(leg, bars, moment + STEP):
                moment += 2 * STEP
                yield PathStep(moment - STEP, stops_at)
                yield self._repeat(stops_at, moment)
        moment = session.close - 2 * STEP
        quotes = tuple(self._quote(bar.symbol, moment, bar.close) for bar in bars)
        yield CloseStep(moment, session, quotes)
        yield self._repeat(quotes, moment + STEP)
        yield BarsStep(session.close, session, bars)

    def _next_on_way(self, leg: Leg, bars: tuple[Bar, ...], moment: datetime) -> tuple[Quote, ...]:
        """Where the armed symbols come to rest next on this leg; empty once all have reached its end."""
        armed, quotes = self._armed(), []
        for bar in bars:
            positions = armed.get(bar.symbol)
            if positions:
                now, end = self._last_price[bar.symbol], leg(bar, positions[0].is_long)
                price = _rest(now, end, positions)
                # The close itself is shown by its own step, at its own time.
                if price != now and not (leg is _close and price == end):
                    quotes.append(self._quote(bar.symbol, moment, price))
        return tuple(quotes)

    def _repeat(self, quotes: tuple[Quote, ...], moment: datetime) -> RepeatStep:
        again = tuple(Quote(quote.symbol, moment, quote.price, quote.bid, quote.ask) for quote in quotes)
        for quote in again:
            self._market.show(quote)
        return RepeatStep(moment, again)

    def _quote(self, symbol: str, moment: datetime, price: float) -> Quote:
        quote = Quote(symbol, moment, price, price, price)
        self._last_price[symbol] = price
        self._market.show(quote)
        return quote


def _rest(now: float, end: float, positions: Sequence[Levels]) -> float:
    """The first armed level strictly ahead on the way from `now` to `end`, or `end`."""
    levels = [level for position in positions for level in (position.stop, position.target) if level is not None]
    if end < now:
        return max((level for level in levels if end <= level < now), default=end)
    return min((level for level in levels if now < level <= end), default=end)


def _adverse(bar: Bar, is_long: bool) -> float:
    return bar.low if is_long else bar.high


def _favourable(bar: Bar, is_long: bool) -> float:
    return bar.high if is_long else bar.low


def _close(bar: Bar, is_long: bool) -> float:
    # On the way back from the best price a trailing stop, moved up by it, can be passed.
    return bar.close
