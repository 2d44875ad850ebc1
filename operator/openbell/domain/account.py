"""The account as the broker reports it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Account:
    """Money in the account's currency. `equity` = cash + positions at the last price."""

    account_id: str
    currency: str
    equity: Decimal
    cash: Decimal
    buying_power: Decimal
