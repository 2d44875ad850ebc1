"""Which account is traded, and what the gateway says of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from openbell.domain.account import Account
from openbell.domain.answers import Answer, Unknown, Value

PAPER_PREFIX = "D"
"""Paper accounts are DU…, an advisor's DF…; no live account begins with D."""
TAGS = (
    "NetLiquidation",
    "TotalCashValue",
    "BuyingPower",
    "SettledCash",
    "DayTradesRemaining",
    "ExcessLiquidity",
)


class Mode(StrEnum):
    """Whether real money may be moved."""

    PAPER = "Paper"
    LIVE = "Live"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the two statements say: the account of the manifest, and the one that live trading is allowed for."""

    account: str = ""
    mode: Mode = Mode.PAPER
    live_account: str = ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The account to trade. `is_one_of_several`: the login manages more than this one."""

    account: str
    is_one_of_several: bool


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """Nothing may be traded over this connection; `why` is a sentence that a person can act on."""

    why: str


def choose(managed: Sequence[str], wanted: Wanted) -> Chosen | NotAllowed:
    """The account to trade among those that the gateway manages, if it may be."""
    names = ", ".join(managed) or "none"
    if wanted.account:
        if wanted.account not in managed:
            return NotAllowed(f"the gateway does not manage account {wanted.account}; it manages {names}")
        account = wanted.account
    elif len(managed) == 1:
        account = managed[0]
    else:
        return NotAllowed(f"the gateway manages several accounts ({names}); name one in spec.broker.ibkr.account")
    is_paper = account.startswith(PAPER_PREFIX)
    if wanted.mode is Mode.PAPER:
        if not is_paper:
            return NotAllowed(f"spec.mode is Paper, and account {account} is a live one: nothing is sent to it")
        return Chosen(account, len(managed) > 1)
    if is_paper:
        return NotAllowed(f"spec.mode is Live, and account {account} is a paper one")
    if not wanted.account:
        return NotAllowed(f"spec.mode is Live, which needs spec.broker.ibkr.account; the gateway manages {names}")
    if wanted.live_account != account:
        return NotAllowed(f"live trading is not allowed for account {account} by whoever runs Openbell")
    return Chosen(account, len(managed) > 1)


@dataclass(frozen=True, slots=True)
class Row:
    """One value of an account summary."""

    account: str
    tag: str
    value: str
    currency: str


def account_of(account: str, rows: Iterable[Row]) -> Answer[Account]:
    """The account from a summary's rows, all of them in its base currency.

    Without equity, cash or buying power nothing can be decided, so the answer is Unknown; the other values are None
    where they are missing, as day trades are on many accounts.
    """
    mine = [row for row in rows if row.account == account]
    values = {row.tag: row for row in mine if row.tag in TAGS}
    found: dict[str, Decimal | None] = {tag: _decimal(values[tag].value) if tag in values else None for tag in TAGS}
    equity, cash, buying_power = found["NetLiquidation"], found["TotalCashValue"], found["BuyingPower"]
    if equity is None or cash is None or buying_power is None:
        missing = ", ".join(tag for tag in TAGS[:3] if found[tag] is None)
        return Unknown(f"the summary of account {account} has no {missing}")
    currencies = {values[tag].currency for tag in TAGS[:3]}
    if len(currencies) != 1:
        return Unknown(f"the summary of account {account} mixes currencies ({', '.join(sorted(currencies))})")
    days = found["DayTradesRemaining"]
    return Value(
        Account(
            account,
            currencies.pop(),
            equity,
            cash,
            buying_power,
            settled_cash=found["SettledCash"],
            day_trades_remaining=None if days is None else int(days),
            excess_liquidity=found["ExcessLiquidity"],
        )
    )


def _decimal(text: str) -> Decimal | None:
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() and abs(found) < Decimal("1e300") else None
