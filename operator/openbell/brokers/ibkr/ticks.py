"""The price of one symbol, out of the ticks of a subscription. Pure.

A price is only given while both sides of the book are there, the book is not crossed, the stock is not halted, and
something was heard lately: after a word that data may have been lost (1100, a farm that is gone) only what is told from
then on counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum

from openbell.domain.answers import Answer, Unknown, Value
from openbell.domain.bars import Quote

STALE_SECONDS = 120.0
DELAY_SECONDS = 900.0
"""How old delayed prices of US shares are when they come."""


class DataType(IntEnum):
    """What the gateway says that its ticks are."""

    NOT_TOLD = 0
    LIVE = 1
    FROZEN = 2
    DELAYED = 3
    DELAYED_FROZEN = 4


DELAYED = frozenset({DataType.DELAYED, DataType.DELAYED_FROZEN})
BID, ASK, LAST = 1, 2, 4
# Delayed ticks have numbers of their own.
PRICES = {1: BID, 2: ASK, 4: LAST, 66: BID, 67: ASK, 68: LAST}
HALTED = frozenset({49, 90})


@dataclass(slots=True)
class Ticks:
    """What was told of one symbol since it was subscribed to. `heard_at` is monotonic, `heard` the same moment."""

    symbol: str
    type: DataType = DataType.NOT_TOLD
    prices: dict[int, float] = field(default_factory=dict)
    heard_at: float = -math.inf
    heard: datetime | None = None
    is_halted: bool = False

    def price(self, kind: int, price: float, now: datetime, at: float) -> bool:
        """A price tick; whether it is of the book or the last trade. Others are passed over."""
        side = PRICES.get(kind)
        if side is None:
            return False
        self.prices[side] = price
        self.heard, self.heard_at = now, at
        return True

    def doubt(self) -> None:
        """Data may have been lost: what was told before is not known to hold any more."""
        self.prices.clear()

    def value(self, kind: int, value: float) -> None:
        """A tick with a plain number: whether the stock is halted (1 and 2; -1 is not known)."""
        if kind in HALTED:
            self.is_halted = value > 0

    def told_type(self, kind: int) -> None:
        """What the ticks are from now on."""
        self.type = DataType(kind) if kind in set(DataType) else DataType.NOT_TOLD

    @property
    def has_both_sides(self) -> bool:
        """Whether bid and ask have come."""
        return BID in self.prices and ASK in self.prices

    def quote(self, at: float, *, allow_delayed: bool) -> Answer[Quote]:
        """The price at a monotonic time, or why there is none to rely on."""
        why = self._why_not(at, allow_delayed=allow_delayed)
        bid, ask = self.prices.get(BID, 0.0), self.prices.get(ASK, 0.0)
        if why or self.heard is None:
            return Unknown(why or "no price has come yet")
        last = self.prices.get(LAST, 0.0)
        # A trade outside of the book is older than it, or was no ordinary one: within it is what can be had now.
        price = min(max(last, bid), ask) if last > 0 else (bid + ask) / 2
        return Value(Quote(self.symbol, self._time(self.heard), price, bid, ask))

    def _why_not(self, at: float, *, allow_delayed: bool) -> str:
        if self.type is DataType.FROZEN:
            return "the gateway gives the prices of the last close"
        if self.type in DELAYED and not allow_delayed:
            return "the gateway gives delayed prices, which are not traded on unless that is allowed"
        if not self.has_both_sides:
            return "no price has come yet"
        if self.is_halted:
            return "trading in it is halted"
        bid, ask = self.prices[BID], self.prices[ASK]
        missing = [name for name, each in (("bid", bid), ("ask", ask)) if not (math.isfinite(each) and each > 0)]
        if missing:
            return f"there is no {' and no '.join(missing)}"
        if bid > ask:
            return f"the book is crossed: bid {bid:g} over ask {ask:g}"
        if at - self.heard_at > STALE_SECONDS:
            return f"the last price came {at - self.heard_at:.0f} s ago"
        return ""

    def _time(self, heard: datetime) -> datetime:
        """Of when the price is, as its age is what it is judged by."""
        return heard - timedelta(seconds=DELAY_SECONDS) if self.type in DELAYED else heard
