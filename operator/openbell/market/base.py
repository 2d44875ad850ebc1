"""What every source of market data offers."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from openbell.domain.answers import Answer
from openbell.domain.bars import BarSeries, Quote


class MarketData(Protocol):
    """Closed bars and current prices. Asking for the same closed bars again gives the same bars."""

    async def bars(self, symbol: str, bar_seconds: int, count: int, now: datetime) -> Answer[BarSeries]:
        """The newest `count` bars that had closed by `now`, fewer where history is shorter."""
        ...

    async def quote(self, symbol: str, now: datetime) -> Answer[Quote]:
        """The price at `now`."""
        ...
