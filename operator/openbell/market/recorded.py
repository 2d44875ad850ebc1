"""Recorded daily bars: read from CSV, checked line by line, and seen as of a date.

Prices are as they were traded, without adjustment. A split is applied to the history before it only when that history
is looked at from its date on, so no bar ever knows of a split to come.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np

from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value
from openbell.domain.bars import Bar, BarSeries, Floats, Quote
from openbell.domain.errors import ManifestError
from openbell.market.calendar import SessionCalendar
from openbell.market.sessions import Session

DAY_SECONDS = 86_400
PRICE_COLUMNS = ("open", "high", "low", "close")
ALIASES = {"ticker": "symbol"}
REQUIRED = ("date", "symbol", *PRICE_COLUMNS, "volume")


class RecordedDataError(ManifestError):
    """A file of bars or a split that belongs to it is not well formed. Names the line, the column and the value."""


@dataclass(frozen=True, slots=True)
class Split:
    """From the open of `date` on, one old share is `ratio` new ones, and its price is divided by `ratio`."""

    symbol: str
    date: date
    ratio: Decimal


@dataclass(frozen=True, slots=True)
class _History:
    """One symbol's bars, oldest first: sessions, their ends, and (open, high, low, close, volume) as traded."""

    sessions: tuple[Session, ...]
    ends: Floats
    columns: tuple[Floats, ...]
    splits: tuple[tuple[datetime, int, float], ...]  # (open of its date, first bar after it, ratio)


def read_bars(path: Path) -> dict[str, list[tuple[date, tuple[float, ...]]]]:
    """Bars of a CSV file, gzipped or not, by symbol, ordered by date: (date, (open, high, low, close, volume)).

    Columns are found by name, in any order and case; `Ticker` is taken for `symbol`; other columns are left alone.
    Raises RecordedDataError at the first line that is wrong.
    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise RecordedDataError(f"{path.name}: the file cannot be read ({error})") from error
    lines = csv.reader(io.StringIO(text))
    header = [ALIASES.get(name.strip().lower(), name.strip().lower()) for name in next(lines, [])]
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise RecordedDataError(f"{path.name} line 1: column {missing[0]} is missing; needed are {', '.join(REQUIRED)}")
    places = {name: header.index(name) for name in REQUIRED}
    found: dict[str, dict[date, tuple[float, ...]]] = {}
    for number, row in enumerate(lines, start=2):
        if row:
            symbol, day, values = _parse(f"{path.name} line {number}", row, len(header), places)
            if found.setdefault(symbol, {}).setdefault(day, values) is not values:
                raise RecordedDataError(f"{path.name} line {number}, column date: {symbol} has a second bar on {day}")
    if not found:
        raise RecordedDataError(f"{path.name}: there is no bar in the file")
    return {symbol: sorted(days.items()) for symbol, days in sorted(found.items())}


def _parse(
    where: str, row: Sequence[str], width: int, places: Mapping[str, int]
) -> tuple[str, date, tuple[float, ...]]:
    if len(row) != width:
        raise RecordedDataError(f"{where}: {len(row)} values where the header names {width}")
    symbol = row[places["symbol"]].strip()
    if not symbol:
        raise RecordedDataError(f"{where}, column symbol: the value is empty")
    try:
        day = date.fromisoformat(row[places["date"]].strip())
    except ValueError as error:
        text = row[places["date"]]
        raise RecordedDataError(f"{where}, column date: {text!r} is not a date such as 2000-03-01") from error
    values = {name: _number(where, name, row[places[name]]) for name in (*PRICE_COLUMNS, "volume")}
    for name in PRICE_COLUMNS:
        if values[name] <= 0:
            raise RecordedDataError(f"{where}, column {name}: {values[name]} is not allowed; a price is above 0")
        if not values["low"] <= values[name] <= values["high"]:
            raise RecordedDataError(
                f"{where}, column {name}: {values[name]} does not lie between low {values['low']} "
                f"and high {values['high']}"
            )
    if values["volume"] < 0:
        raise RecordedDataError(f"{where}, column volume: {values['volume']} is not allowed; it is 0 or more")
    return symbol, day, tuple(values.values())


def _number(where: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RecordedDataError(f"{where}, column {name}: {text!r} is not a number")
    return value


class RecordedBars:
    """Every symbol's daily bars of one file with the splits of its manifest.

    Raises RecordedDataError for a bar on a date without a session and for a split that fits no bar.
    """

    def __init__(
        self,
        bars: Mapping[str, Sequence[tuple[date, tuple[float, ...]]]],
        calendar: SessionCalendar,
        splits: Iterable[Split] = (),
    ) -> None:
        self.splits = tuple(sorted(splits, key=lambda split: (split.date, split.symbol)))
        _check_splits(self.splits, bars)
        self.calendar = calendar
        self._histories = {symbol: self._history(symbol, days) for symbol, days in sorted(bars.items())}
        self._views: dict[tuple[str, int], tuple[Floats, ...]] = {}

    @classmethod
    def load(cls, path: Path, calendar: SessionCalendar, splits: Iterable[Split] = ()) -> RecordedBars:
        """Read and check a file."""
        return cls(read_bars(path), calendar, splits)

    def _history(self, symbol: str, days: Sequence[tuple[date, tuple[float, ...]]]) -> _History:
        sessions = []
        for day, _ in days:
            session = self.calendar.session_on(day)
            if session is None:
                why = self.calendar.beyond(day) or f"which is no {self.calendar.name} session"
                raise RecordedDataError(f"{symbol} has a bar on {day}, {why}")
            sessions.append(session)
        rows = np.asarray([values for _, values in days], dtype=np.float64)
        splits = []
        for split in self.splits:
            if split.symbol == symbol:
                first_after = next(index for index, session in enumerate(sessions) if session.date >= split.date)
                splits.append((sessions[first_after].open, first_after, float(split.ratio)))
        return _History(
            tuple(sessions),
            np.asarray([session.close.timestamp() for session in sessions], dtype=np.float64),
            tuple(np.ascontiguousarray(rows[:, column]) for column in range(5)),
            tuple(splits),
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self._histories)

    @property
    def first(self) -> date:
        """The first date of any bar."""
        return min(history.sessions[0].date for history in self._histories.values())

    @property
    def last(self) -> date:
        """The last date of any bar."""
        return max(history.sessions[-1].date for history in self._histories.values())

    def bars_of(self, symbol: str) -> Iterator[tuple[Session, Bar]]:
        """Every bar of a symbol as it was traded."""
        history = self._histories[symbol]
        for index, session in enumerate(history.sessions):
            opening, high, low, close, volume = (float(column[index]) for column in history.columns)
            yield session, Bar(symbol, session.open, session.close, opening, high, low, close, volume)

    def series(self, symbol: str, count: int, now: datetime) -> BarSeries:
        """The newest `count` bars closed by `now`, adjusted for the splits that have happened by `now`."""
        history = self._histories[symbol]
        stop = int(np.searchsorted(history.ends, now.timestamp(), side="right"))
        start = max(0, stop - count)
        applied = sum(opening <= now for opening, _, _ in history.splits)
        columns = (history.ends, *self._adjusted(symbol, applied))
        return BarSeries(symbol, DAY_SECONDS, *(_frozen(column[start:stop]) for column in columns))

    def _adjusted(self, symbol: str, applied: int) -> tuple[Floats, ...]:
        view = self._views.get((symbol, applied))
        if view is None:
            history = self._histories[symbol]
            factor = np.ones(len(history.sessions))
            for _, first_after, ratio in history.splits[:applied]:
                factor[:first_after] *= ratio
            prices = tuple(column / factor for column in history.columns[:4])
            view = self._views[symbol, applied] = (*prices, history.columns[4] * factor)
        return view


def _frozen(column: Floats) -> Floats:
    column.setflags(write=False)
    return column


def _check_splits(splits: Sequence[Split], bars: Mapping[str, Sequence[tuple[date, tuple[float, ...]]]]) -> None:
    seen = set()
    for split in splits:
        where = f"marketData.replay.splits: {split.symbol} on {split.date}"
        if split.symbol not in bars:
            raise RecordedDataError(f"{where}: the file has no such symbol; it has {', '.join(sorted(bars))}")
        if split.ratio <= 0:
            raise RecordedDataError(f"{where}: ratio {split.ratio} is not allowed; it is above 0")
        if split.date not in {day for day, _ in bars[split.symbol]}:
            raise RecordedDataError(f"{where}: the file has no bar of that date")
        if (split.symbol, split.date) in seen:
            raise RecordedDataError(f"{where}: the split is listed twice")
        seen.add((split.symbol, split.date))


class ReplayMarket:
    """MarketData of recorded bars as of a moment; quotes are what the replay has last shown."""

    def __init__(self, recorded: RecordedBars) -> None:
        self._recorded = recorded
        self._quotes: dict[str, Quote] = {}

    @property
    def recorded(self) -> RecordedBars:
        return self._recorded

    def has(self, symbol: str) -> bool:
        """Whether the file has bars of the symbol."""
        return symbol in self._recorded.symbols

    def show(self, quote: Quote) -> None:
        """From now on this is the symbol's price."""
        self._quotes[quote.symbol] = quote

    async def quote(self, symbol: str, now: datetime) -> Answer[Quote]:
        if not self.has(symbol):
            return Unknown(f"the recorded bars have no symbol {symbol}")
        quote = self._quotes.get(symbol)
        return ConfirmedEmpty() if quote is None else Value(quote)

    async def bars(self, symbol: str, bar_seconds: int, count: int, now: datetime) -> Answer[BarSeries]:
        if not self.has(symbol):
            return Unknown(f"the recorded bars have no symbol {symbol}")
        if bar_seconds != DAY_SECONDS:
            return Unknown(f"the recorded bars are of {DAY_SECONDS} seconds, not {bar_seconds}")
        series = self._recorded.series(symbol, count, now)
        return Value(series) if len(series) else ConfirmedEmpty()
