"""Round trips as canonical text, and their digest: what a replay and a backtest of the same bars must agree on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from openbell.domain.money import text
from openbell.domain.positions import ClosedTrade


def trade_line(trade: ClosedTrade) -> str:
    """A round trip as canonical text; nothing in it depends on where or as whom it was traded."""
    return "|".join(
        (
            trade.strategy,
            trade.symbol,
            text(trade.quantity),
            trade.entry_time.isoformat(),
            f"{trade.entry_price:.6f}",
            trade.exit_time.isoformat(),
            f"{trade.exit_price:.6f}",
            trade.exit_reason,
            text(trade.pnl),
        )
    )


NO_TRADES = hashlib.sha256().hexdigest()
"""The digest of no round trip at all."""


@dataclass(slots=True)
class TradeDigest:
    """Number and digest of the round trips so far, in the order in which they closed."""

    trades: int = 0
    digest: str = NO_TRADES

    def add(self, trade: ClosedTrade) -> None:
        """Chain one more round trip into the digest."""
        self.trades += 1
        self.digest = hashlib.sha256(f"{self.digest}\n{trade_line(trade)}".encode()).hexdigest()
