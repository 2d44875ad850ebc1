"""Money and positions of one account: average cost with commission, as IB books it, and the values that it reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from openbell.domain.money import ZERO, cents
from openbell.gateway.contracts import Contract

PER_SHARE = Decimal("0.005")  # IBKR Pro, fixed; at least a dollar an order, at most 1 % of its value
AT_LEAST = Decimal("1.00")
AT_MOST = Decimal("0.01")
INITIAL_MARGIN = Decimal("0.25")  # of a share's value, by day
Mark = Callable[[Contract], Decimal]


@dataclass(slots=True)
class Holding:
    """A position: `average_cost` is per share and holds the commissions of what opened it."""

    contract: Contract
    position: Decimal = ZERO
    average_cost: Decimal = ZERO
    realized: Decimal = ZERO
    opened_today: Decimal = ZERO  # its value when the day began, and what was put in since


@dataclass(slots=True)
class Account:
    """One account. A fill changes cash and a holding; everything else is computed from marks when it is asked."""

    code: str
    cash: Decimal
    currency: str = "USD"
    holdings: dict[int, Holding] = field(default_factory=dict)
    realized: Decimal = ZERO
    equity_at_dawn: Decimal = ZERO

    def __post_init__(self) -> None:
        self.equity_at_dawn = self.cash

    def fill(self, contract: Contract, signed: Decimal, price: Decimal, commission: Decimal) -> Decimal | None:
        """Book a fill of `signed` shares; the profit that it realised, or None where it only opened."""
        holding = self.holdings.setdefault(contract.con_id, Holding(contract.at(contract.primary_exchange)))
        self.cash -= signed * price + commission
        before, after = holding.position, holding.position + signed
        holding.opened_today += signed * price + commission
        closing = min(abs(signed), abs(before)) if before * signed < 0 else ZERO
        share = commission / abs(signed)
        realized = None
        if closing:
            gain = (price - holding.average_cost) * (1 if before > 0 else -1)
            realized = closing * gain - closing * share
            holding.realized += realized
            self.realized += realized
        opening = abs(signed) - closing
        if opening:
            cost = price + share if signed > 0 else price - share
            kept = abs(before) - closing
            holding.average_cost = (kept * holding.average_cost + opening * cost) / (kept + opening)
        holding.position = after
        if not after:
            holding.average_cost = ZERO
        return realized

    def position(self, con_id: int) -> Decimal:
        """How many shares are held; negative when sold short."""
        holding = self.holdings.get(con_id)
        return ZERO if holding is None else holding.position

    def gross(self, mark: Mark) -> Decimal:
        """The value of all positions, short ones counted as positive."""
        return sum((abs(h.position) * mark(h.contract) for h in self.holdings.values()), ZERO)

    def value(self, mark: Mark) -> Decimal:
        """The value of all positions."""
        return sum((h.position * mark(h.contract) for h in self.holdings.values()), ZERO)

    def equity(self, mark: Mark) -> Decimal:
        """Net liquidation value."""
        return self.cash + self.value(mark)

    def unrealized(self, mark: Mark) -> Decimal:
        """Profit of what is still held."""
        return sum((h.position * (mark(h.contract) - h.average_cost) for h in self.holdings.values()), ZERO)

    def daily(self, mark: Mark) -> Decimal:
        """Profit since the day began."""
        return self.equity(mark) - self.equity_at_dawn

    def available(self, mark: Mark) -> Decimal:
        """What is left for new positions, as margin."""
        return self.equity(mark) - self.gross(mark) * INITIAL_MARGIN

    def new_day(self, mark: Mark) -> None:
        """What counts by the day begins anew; positions that were closed are forgotten."""
        self.holdings = {key: held for key, held in self.holdings.items() if held.position}
        self.realized = ZERO
        for holding in self.holdings.values():
            holding.realized = ZERO
            holding.opened_today = holding.position * mark(holding.contract)
        self.equity_at_dawn = self.equity(mark)

    def margin_after(self, contract: Contract, signed: Decimal, price: Decimal, mark: Mark) -> tuple[Decimal, Decimal]:
        """Equity and initial margin as they would be after a fill."""
        held = self.position(contract.con_id)
        gross = self.gross(mark) - abs(held) * mark(contract) + abs(held + signed) * price
        return self.equity(mark) - commission(abs(signed), price), gross * INITIAL_MARGIN

    def values(self, mark: Mark) -> Iterator[tuple[str, str, str]]:
        """Key, value and currency of each account value, by key."""
        equity, gross, margin = self.equity(mark), self.gross(mark), self.gross(mark) * INITIAL_MARGIN
        free = equity - margin
        money = {
            "AccruedCash": ZERO,
            "AvailableFunds": free,
            "BuyingPower": max(ZERO, free / INITIAL_MARGIN),
            "CashBalance": self.cash,
            "EquityWithLoanValue": equity,
            "ExcessLiquidity": free,
            "FullAvailableFunds": free,
            "FullExcessLiquidity": free,
            "FullInitMarginReq": margin,
            "FullMaintMarginReq": margin,
            "GrossPositionValue": gross,
            "InitMarginReq": margin,
            "LookAheadAvailableFunds": free,
            "LookAheadExcessLiquidity": free,
            "LookAheadInitMarginReq": margin,
            "LookAheadMaintMarginReq": margin,
            "MaintMarginReq": margin,
            "NetLiquidation": equity,
            "PreviousDayEquityWithLoanValue": self.equity_at_dawn,
            "RealizedPnL": self.realized,
            "RegTEquity": equity,
            "RegTMargin": gross / 2,
            "SMA": equity - gross / 2,
            "SettledCash": self.cash,
            "StockMarketValue": self.value(mark),
            "TotalCashBalance": self.cash,
            "TotalCashValue": self.cash,
            "UnrealizedPnL": self.unrealized(mark),
        }
        plain = {
            "AccountCode": (self.code, ""),
            "AccountReady": ("true", ""),
            "AccountType": ("INDIVIDUAL", ""),
            "Currency": (self.currency, self.currency),
            "Cushion": (str(cents(free / equity) if equity > 0 else 0), ""),
            "DayTradesRemaining": ("-1", ""),
            "ExchangeRate": ("1.00", self.currency),
            "HighestSeverity": ("0", ""),
            "Leverage": (str(cents(gross / equity) if equity > 0 else 0), ""),
        }
        plain.update({key: (f"{cents(value):f}", self.currency) for key, value in money.items()})
        for key in sorted(plain):
            yield key, *plain[key]


# Rows of a currency, which are asked for with $LEDGER; in the base currency they are the whole account's.
LEDGER = frozenset(
    {"CashBalance", "Currency", "ExchangeRate", "RealizedPnL", "StockMarketValue", "TotalCashBalance", "UnrealizedPnL"}
)


def commission(shares: Decimal, price: Decimal) -> Decimal:
    """What an order costs that has traded `shares` at `price` on average."""
    if not shares:
        return ZERO
    full = max(AT_LEAST, shares * PER_SHARE)
    return cents(min(full, max(shares * price * AT_MOST, Decimal("0.01"))))
