"""The account as the broker reports it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from openbell.domain.records import quick


@quick
@dataclass(frozen=True, slots=True)
class Account:
    """Money in the account's currency. `equity` = cash + positions at the last price.

    What follows is None where the broker does not tell it: cash that has settled, day trades that it still lets be
    made (-1: unlimited), and excess liquidity, which is equity less the maintenance margin.
    """

    account_id: str
    currency: str
    equity: Decimal
    cash: Decimal
    buying_power: Decimal
    settled_cash: Decimal | None = None
    day_trades_remaining: int | None = None
    excess_liquidity: Decimal | None = None
