"""What the rules see of this runner: the account, the book, what was traded lately, locks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType

from openbell.risk.assembling import view_of
from openbell.risk.view import RiskLimits, RiskView
from openbell.runner.situation import Situation, open_seconds


def risk_view(situation: Situation, limits: RiskLimits, now: datetime) -> RiskView:
    """The state that this tick's entries are judged against."""
    book = situation.account_book
    return view_of(situation.ledger, situation.desk.in_flight.values(), book.state if book else None, limits, now)


def price_ages(situation: Situation, symbols: Iterable[str], now: datetime) -> Mapping[str, float]:
    """How old the last price of each symbol is, in seconds of open market; a symbol without one is left out."""
    quotes = situation.ledger.quotes
    return MappingProxyType(
        {
            symbol: open_seconds(situation.calendar, quotes[symbol].time, now, hours_only=situation.hours_only)
            for symbol in symbols
            if symbol in quotes
        }
    )
