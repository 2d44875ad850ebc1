"""Bars (closed intervals of trading) and quotes (the price now)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from openbell.domain.records import quick

Floats: TypeAlias = npt.NDArray[np.float64]


@quick
@dataclass(frozen=True, slots=True)
class Bar:
    """One closed bar: prices in the account's currency, volume in shares, `start` ≤ time < `end`, both UTC."""

    symbol: str
    start: datetime
    end: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float


@quick
@dataclass(frozen=True, slots=True)
class Quote:
    """The last known price of a symbol; bid = ask = price where the source has no book."""

    symbol: str
    time: datetime
    price: float
    bid: float
    ask: float


@quick
@dataclass(frozen=True, slots=True)
class BarSeries:
    """Closed bars of one symbol, oldest first, as read-only float64 arrays of one length.

    `end` holds each bar's end as seconds since 1970 UTC. This is the one place where prices are floats on
    purpose: indicators are computed here, money is booked elsewhere in Decimal.
    """

    symbol: str
    bar_seconds: int
    end: Floats
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.close)

    @property
    def last_end(self) -> datetime | None:
        """End of the newest bar in UTC, or None where there is no bar."""
        return datetime.fromtimestamp(float(self.end[-1]), UTC) if len(self.end) else None

    def newest(self, count: int) -> BarSeries:
        """The newest `count` bars, or all where there are fewer; views of the same memory."""
        columns = (self.end, self.open, self.high, self.low, self.close, self.volume)
        start = max(0, len(self) - count)
        return BarSeries(self.symbol, self.bar_seconds, *(column[start:] for column in columns))

    @classmethod
    def from_bars(cls, symbol: str, bar_seconds: int, bars: Sequence[Bar]) -> BarSeries:
        """Build a series from bars that are already ordered by time."""

        def column(values: list[float]) -> Floats:
            array = np.asarray(values, dtype=np.float64)
            array.setflags(write=False)
            return array

        return cls(
            symbol,
            bar_seconds,
            column([bar.end.timestamp() for bar in bars]),
            column([bar.open for bar in bars]),
            column([bar.high for bar in bars]),
            column([bar.low for bar in bars]),
            column([bar.close for bar in bars]),
            column([bar.volume for bar in bars]),
        )
