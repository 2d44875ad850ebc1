"""One account's money and positions."""

from __future__ import annotations

from decimal import Decimal

from openbell.domain.money import PRICE_STEP, ZERO
from openbell.domain.positions import BrokerPosition


class Ledger:
    """Cash and, by symbol, a signed quantity with its average price.

    The average keeps all digits: rounded at every fill it would drift from the money that was paid.
    """

    def __init__(self, cash: Decimal, positions: dict[str, tuple[Decimal, Decimal]] | None = None) -> None:
        self.cash = cash
        self.positions = positions or {}

    def quantity(self, symbol: str) -> Decimal:
        return self.positions.get(symbol, (ZERO, ZERO))[0]

    def broker_positions(self) -> tuple[BrokerPosition, ...]:
        """Positions by symbol with the average in price steps; flat ones are not kept."""
        return tuple(
            BrokerPosition(symbol, held, average.quantize(PRICE_STEP))
            for symbol, (held, average) in sorted(self.positions.items())
        )

    def book(self, symbol: str, signed_quantity: Decimal, at: Decimal, commission: Decimal) -> None:
        """A fill: cash moves by its value and the commission; the average price moves only where a side grows."""
        self.cash -= signed_quantity * at + commission
        held, average = self.positions.get(symbol, (ZERO, ZERO))
        total = held + signed_quantity
        if total == 0:
            self.positions.pop(symbol, None)
            return
        if held == 0 or (held > 0) != (total > 0):
            average = at
        elif (held > 0) == (signed_quantity > 0):
            average = (held * average + signed_quantity * at) / total
        self.positions[symbol] = (total, average)

    def split(self, symbol: str, ratio: Decimal) -> bool:
        """Whether there was something to split."""
        if symbol not in self.positions:
            return False
        held, average = self.positions[symbol]
        self.positions[symbol] = (held * ratio, average / ratio)
        return True
