"""A market whose price is a pure function of seed, symbol and time.

Any time can be asked, in any order, from any process: a restart continues the same history. The logarithm of the
price is a sum of octaves of value noise (hashed lattice points, smoothly interpolated) whose amplitude grows with the
square root of the period, which gives the diffusive scaling of real prices between a second and some months (less
long at a volatility far above real ones), and keeps the price near its start over years.

All times are whole microseconds and every octave is added in the same order, so that one price asked alone and the
same price inside an array of bars are the same number.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value
from openbell.domain.bars import BarSeries, Floats, Quote

PERIODS_US = tuple(250_000 * 4**octave for octave in range(14))  # 0.25 s … 194 days
YEAR_SECONDS = 365.25 * 86_400
# Mean squared move over t seconds, divided by t, of the sum of octaves with amplitude² = period in seconds: integrated
# numerically over lags from a second to a week, where it lies between 2.32 and 2.49.
MOVE_PER_SECOND = 2.426
# No octave moves the logarithm by more than this, so that a market as lively as a demonstration needs does not wander
# off to a price of nothing over months; at a volatility of 0.5 no octave reaches it.
LARGEST_AMPLITUDE = 0.25
SAMPLES_PER_BAR = 8
TICKS_PER_UNIT = 10_000.0  # prices have four places
CACHED_SERIES = 2_048

_MASK = (1 << 64) - 1
_GOLDEN, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_TO_UNIT = 2.0**-53
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Times = npt.NDArray[np.int64]


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970 UTC, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def _hash(value: int) -> float:
    """splitmix64's finaliser, as a number in [-1, 1)."""
    value = ((value ^ (value >> 30)) * _MIX_1) & _MASK
    value = ((value ^ (value >> 27)) * _MIX_2) & _MASK
    return float((value ^ (value >> 31)) >> 11) * _TO_UNIT * 2.0 - 1.0


def _hash_many(values: npt.NDArray[np.uint64]) -> Floats:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_MIX_1)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_MIX_2)
    unit: Floats = ((values ^ (values >> np.uint64(31))) >> np.uint64(11)).astype(np.float64)
    return unit * _TO_UNIT * 2.0 - 1.0


def _rounded(price: Any) -> Any:
    """A price or prices in whole ticks: exp may differ in the last bit between processors, the tick does not."""
    return np.rint(price * TICKS_PER_UNIT) / TICKS_PER_UNIT


@dataclass(frozen=True, slots=True)
class _Octave:
    period: int
    phase: int
    key: int
    amplitude: float


class PriceFunction:
    """The price of one symbol at any time. `volatility` is annualised, over all seconds of the year."""

    def __init__(self, seed: int, symbol: str, volatility: float, start_price: float | None = None) -> None:
        digest = hashlib.blake2b(f"{seed}:{symbol}".encode(), digest_size=8).digest()
        self._key = int.from_bytes(digest, "big")
        self._log_start = math.log(start_price or 20.0 * 10.0 ** (0.5 + 0.5 * _hash(self._key)))
        unit = volatility / math.sqrt(YEAR_SECONDS * MOVE_PER_SECOND)
        octaves = []
        for number, period in enumerate(PERIODS_US):
            raw = hashlib.blake2b(f"{seed}:{symbol}:{number}".encode(), digest_size=16).digest()
            phase = int.from_bytes(raw[8:], "big") % period
            deviation = min(unit * math.sqrt(period / 1_000_000.0), LARGEST_AMPLITUDE)
            # √3: what is hashed is uniform in [-1, 1), and its deviation is 1 / √3.
            octaves.append(_Octave(period, phase, int.from_bytes(raw[:8], "big"), deviation * math.sqrt(3.0)))
        self._octaves = tuple(octaves)
        self._lattice: list[tuple[int, float, float]] = [(-1, 0.0, 0.0)] * len(octaves)

    def at(self, time_us: int) -> float:
        """The price at microseconds since 1970."""
        total = 0.0
        for number, octave in enumerate(self._octaves):
            index, rest = divmod(time_us + octave.phase, octave.period)
            known, left, right = self._lattice[number]
            if known != index:
                left = _hash((octave.key + index * _GOLDEN) & _MASK)
                right = _hash((octave.key + (index + 1) * _GOLDEN) & _MASK)
                self._lattice[number] = (index, left, right)
            x = rest / octave.period
            total += (left + (right - left) * (x * x * (3.0 - 2.0 * x))) * octave.amplitude
        return float(_rounded(np.exp(np.float64(total + self._log_start))))

    def many(self, times_us: Times) -> Floats:
        """The same prices for an ascending array of times."""
        total = np.zeros(len(times_us))
        for octave in self._octaves:
            shifted = times_us + octave.phase
            index = shifted // octave.period
            x = (shifted - index * octave.period) / octave.period
            left, right = self._lattice_values(octave, index)
            total += (left + (right - left) * (x * x * (3.0 - 2.0 * x))) * octave.amplitude
        prices: Floats = _rounded(np.exp(total + self._log_start))
        return prices

    @staticmethod
    def _lattice_values(octave: _Octave, index: Times) -> tuple[Floats, Floats]:
        first, last = int(index[0]), int(index[-1])
        key, golden = np.uint64(octave.key), np.uint64(_GOLDEN)
        if last - first < 2 * len(index):  # coarse octaves: few lattice points, each shared by many times
            points = np.arange(first, last + 2, dtype=np.int64).astype(np.uint64)
            values = _hash_many(key + points * golden)
            offsets = index - first
            return values[offsets], values[offsets + 1]
        points = index.astype(np.uint64)
        return _hash_many(key + points * golden), _hash_many(key + (points + np.uint64(1)) * golden)

    def volumes(self, bar_seconds: int, indices: Times, moves: Floats) -> Floats:
        """Shares traded in each bar: hashed, and more of them where the price moved more."""
        salt = np.uint64(self._key ^ bar_seconds)
        chance = _hash_many(salt + indices.astype(np.uint64) * np.uint64(_GOLDEN)) * 0.5 + 0.5
        volumes: Floats = np.floor(bar_seconds * (20.0 + 60.0 * chance) * (1.0 + 200.0 * moves)) + 1.0
        return volumes


class SyntheticMarket:
    """MarketData of a market that never closes. Bars lie on the grid of 1970 UTC.

    A bar opens where the one before closed; its high and low are taken over eight fixed points of the price function
    and both ends. `symbols` None: every symbol exists.
    """

    def __init__(
        self,
        seed: int = 1,
        volatility: float = 0.5,
        start_price: float | None = None,
        symbols: Collection[str] | None = None,
    ) -> None:
        self._seed = seed
        self._volatility = volatility
        self._start_price = start_price
        self._symbols = None if symbols is None else frozenset(symbols)
        self._functions: dict[str, PriceFunction] = {}
        self._series: OrderedDict[tuple[str, int], tuple[int, BarSeries]] = OrderedDict()

    def has(self, symbol: str) -> bool:
        """Whether the symbol is traded here."""
        return self._symbols is None or symbol in self._symbols

    def function(self, symbol: str) -> PriceFunction:
        """The price function of a symbol."""
        found = self._functions.get(symbol)
        if found is None:
            found = self._functions[symbol] = PriceFunction(self._seed, symbol, self._volatility, self._start_price)
        return found

    def price(self, symbol: str, now: datetime) -> float:
        """The price at a moment."""
        return self.function(symbol).at(microseconds(now))

    async def quote(self, symbol: str, now: datetime) -> Answer[Quote]:
        if not self.has(symbol):
            return Unknown(f"the synthetic market has no symbol {symbol}")
        price = self.price(symbol, now)
        return Value(Quote(symbol, now, price, price, price))

    async def bars(self, symbol: str, bar_seconds: int, count: int, now: datetime) -> Answer[BarSeries]:
        if not self.has(symbol):
            return Unknown(f"the synthetic market has no symbol {symbol}")
        if count < 1:
            return ConfirmedEmpty()
        return Value(self.series(symbol, bar_seconds, count, now))

    def series(self, symbol: str, bar_seconds: int, count: int, now: datetime) -> BarSeries:
        """The newest `count` bars closed by `now`. Bars asked before are kept, so a tick computes only the new ones."""
        stop = microseconds(now) // (bar_seconds * 1_000_000)  # bars [start, stop) have closed
        start = stop - count
        key = (symbol, bar_seconds)
        known = self._series.pop(key, None)
        if known is not None and known[0] <= start <= known[0] + len(known[1]):
            first, series = known
            end = first + len(series)
            if stop > end:
                # Another strategy may ask for more bars of this series: keep as many as were kept before.
                first = max(first, stop - max(len(series), count))
                series = _joined(_sliced(series, first - known[0], None), self._make(symbol, bar_seconds, end, stop))
        else:
            first, series = start, self._make(symbol, bar_seconds, start, stop)
        self._series[key] = (first, series)
        if len(self._series) > CACHED_SERIES:
            self._series.popitem(last=False)
        return _sliced(series, start - first, stop - first)

    def _make(self, symbol: str, bar_seconds: int, start: int, stop: int) -> BarSeries:
        function, size_us = self.function(symbol), bar_seconds * 1_000_000
        step = size_us // SAMPLES_PER_BAR
        indices = np.arange(start, stop, dtype=np.int64)
        points = (indices[:, None] * size_us + np.arange(SAMPLES_PER_BAR, dtype=np.int64) * step).ravel()
        prices = function.many(np.append(points, stop * size_us))
        inside = prices[:-1].reshape(-1, SAMPLES_PER_BAR)
        opens, closes = inside[:, 0], prices[SAMPLES_PER_BAR::SAMPLES_PER_BAR]
        highs: Floats = np.maximum(inside.max(axis=1), closes)
        lows: Floats = np.minimum(inside.min(axis=1), closes)
        columns: tuple[Floats, ...] = (
            np.asarray((indices + 1) * float(bar_seconds)),
            opens.copy(),
            highs,
            lows,
            closes.copy(),
            function.volumes(bar_seconds, indices, np.abs(closes / opens - 1.0)),
        )
        for column in columns:
            column.setflags(write=False)
        return BarSeries(symbol, bar_seconds, *columns)


def _columns(series: BarSeries) -> tuple[Floats, ...]:
    return series.end, series.open, series.high, series.low, series.close, series.volume


def _sliced(series: BarSeries, start: int, stop: int | None) -> BarSeries:
    return BarSeries(series.symbol, series.bar_seconds, *(column[start:stop] for column in _columns(series)))


def _joined(old: BarSeries, new: BarSeries) -> BarSeries:
    columns = [np.concatenate(pair) for pair in zip(_columns(old), _columns(new), strict=True)]
    for column in columns:
        column.setflags(write=False)
    return BarSeries(old.symbol, old.bar_seconds, *columns)
