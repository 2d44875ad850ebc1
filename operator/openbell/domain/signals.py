"""What a strategy says: an opinion on one symbol at one closed bar, with a confidence and a lifetime."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from openbell.domain.records import quick


class Action(StrEnum):
    """What the strategy would do. There is no HOLD: saying nothing is holding."""

    BUY = "Buy"
    SELL = "Sell"
    CLOSE = "Close"


SignalKey: TypeAlias = tuple[str, str, datetime, Action]
"""Strategy, symbol, bar and action: what makes two signals the same entry."""


@quick
@dataclass(frozen=True, slots=True)
class Signal:
    """One opinion. `confidence` is in [0, 1]; `bar_time` is the end of the bar it was formed on, UTC."""

    strategy: str
    symbol: str
    action: Action
    confidence: float
    bar_time: datetime
    valid_until: datetime
    reason: str
    version: str = ""
    parameters_hash: str = ""
    priority: int = 0

    @property
    def key(self) -> SignalKey:
        """What the signal is the same entry by, whatever its confidence, lifetime and reason."""
        return self.strategy, self.symbol, self.bar_time, self.action

    @property
    def rank(self) -> float:
        """Priority × confidence, the order in which signals of one tick compete (higher first)."""
        return (self.priority + 1) * self.confidence
