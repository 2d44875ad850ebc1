"""Prices as a function of seed, symbol and time, so that history and the present agree and a restart goes on with them.

The logarithm of the price is a sum of waves of hashed noise whose height grows with the square root of their length,
as real prices wander. A test or a person may move a price: from then on it stands where it was put, until it is let go.
Bars are sampled from the same function, so a bar asked for twice is the same bar.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from openbell.gateway.contracts import tick_at

YEAR_SECONDS = 365.25 * 86_400
PERIODS = tuple(0.25 * 4.0**octave for octave in range(14))  # a quarter of a second to half a year
MOVE_PER_SECOND = 2.4  # mean squared move over t seconds, over t, of waves as high as the root of their length
SAMPLES_PER_BAR = 8
REMEMBERED = 20_000  # moves by hand of one symbol; before the oldest the price is the function's
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, by its start."""

    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int
    average: Decimal
    count: int


@dataclass(slots=True)
class _Moves:
    """Where a price was put by hand, from when on; None: it follows the function again."""

    times: list[datetime] = field(default_factory=list)
    prices: list[Decimal | None] = field(default_factory=list)

    def at(self, moment: datetime) -> Decimal | None:
        index = bisect.bisect_right(self.times, moment)
        return self.prices[index - 1] if index else None

    def within(self, start: datetime, end: datetime) -> list[Decimal]:
        first, last = bisect.bisect_left(self.times, start), bisect.bisect_left(self.times, end)
        return [price for price in self.prices[first:last] if price is not None]


@dataclass(slots=True)
class _Wave:
    """One wave, with its values around the moment that was asked for last: neighbours are asked for in a row."""

    key: int
    period: float
    height: float
    index: float = -1.0
    left: float = 0.0
    right: float = 0.0


class Prices:
    """The price of every symbol at every time. `volatility` is annualised, over all seconds; at 0 nothing moves."""

    def __init__(self, seed: int, volatility: float, start: Callable[[str], Decimal]) -> None:
        self._seed = seed
        self._volatility = volatility
        self._start = start
        self._moves: dict[str, _Moves] = {}
        self._waves: dict[str, tuple[_Wave, ...]] = {}

    def at(self, symbol: str, moment: datetime) -> Decimal:
        """The last price at `moment`, on the grid of its tick."""
        moves = self._moves.get(symbol)
        moved = moves.at(moment) if moves is not None else None
        return self._wave(symbol, moment) if moved is None else moved

    def move(self, symbol: str, price: Decimal, moment: datetime) -> None:
        """From `moment` on the price is `price`."""
        self._put(symbol, round_to(price, tick_at(price)), moment)

    def release(self, symbol: str, moment: datetime) -> None:
        """From `moment` on the price follows the function again."""
        self._put(symbol, None, moment)

    def _put(self, symbol: str, price: Decimal | None, moment: datetime) -> None:
        moves = self._moves.setdefault(symbol, _Moves())
        moment = max(moment, moves.times[-1]) if moves.times else moment
        moves.times.append(moment)
        moves.prices.append(price)
        if len(moves.times) > REMEMBERED:
            del moves.times[: REMEMBERED // 2], moves.prices[: REMEMBERED // 2]

    def bar(self, symbol: str, start: datetime, seconds: int, until: datetime | None = None) -> Bar:
        """The bar from `start`; with `until`, as far as it has come by then."""
        end = start + timedelta(seconds=seconds)
        last = end if until is None else min(end, until)
        step = (last - start) / SAMPLES_PER_BAR
        seen = [self.at(symbol, start + step * number) for number in range(SAMPLES_PER_BAR + 1)]
        moves = self._moves.get(symbol)
        if moves is not None:  # also what was moved to between two samples was traded
            seen[1:1] = moves.within(start, last)
        low, high = min(seen), max(seen)
        lively = 1.0 + 200.0 * float(high / low - 1)
        chance = _unit(_hash(self._key(symbol), int((start - _EPOCH).total_seconds()))) * 0.5 + 0.5
        volume = int((last - start).total_seconds() * (20.0 + 60.0 * chance) * lively) + 1
        average = round_to(sum(seen, Decimal(0)) / len(seen), Decimal("0.0001"))
        return Bar(start, seen[0], high, low, seen[-1], volume, average, max(1, volume // 100))

    def bars(self, symbol: str, starts: list[datetime], seconds: int, now: datetime) -> list[Bar]:
        """The bars that begin at `starts`; the last may not be over yet."""
        return [self.bar(symbol, start, seconds, now) for start in starts]

    def _key(self, symbol: str) -> int:
        return int.from_bytes(hashlib.blake2b(f"{self._seed}:{symbol}".encode(), digest_size=8).digest(), "big")

    def _wave(self, symbol: str, moment: datetime) -> Decimal:
        start = self._start(symbol)
        if self._volatility == 0:
            return start
        waves = self._waves.get(symbol)
        if waves is None:
            unit = self._volatility / math.sqrt(YEAR_SECONDS * MOVE_PER_SECOND)
            key = self._key(symbol)
            waves = tuple(
                _Wave((key + number * _GOLDEN) & _MASK, period, min(unit * math.sqrt(period * 3.0), 0.25))
                for number, period in enumerate(PERIODS)
            )
            self._waves[symbol] = waves
        seconds = (moment - _EPOCH).total_seconds()
        total = 0.0
        for wave in waves:
            index, rest = divmod(seconds, wave.period)
            if index != wave.index:
                wave.index = index
                wave.left, wave.right = _unit(_hash(wave.key, int(index))), _unit(_hash(wave.key, int(index) + 1))
            x = rest / wave.period
            total += (wave.left + (wave.right - wave.left) * (x * x * (3.0 - 2.0 * x))) * wave.height
        price = start * Decimal(repr(math.exp(total)))
        return max(round_to(price, tick_at(price)), Decimal("0.0001"))


def round_to(price: Decimal, tick: Decimal) -> Decimal:
    """A price on the grid of `tick`."""
    return (price / tick).quantize(Decimal(1), ROUND_HALF_EVEN) * tick


def _hash(key: int, index: int) -> int:
    """splitmix64's finaliser."""
    value = (key + index * _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def _unit(value: int) -> float:
    return (value >> 11) * 2.0**-53 * 2.0 - 1.0
