"""Days on which a country's banks do not settle, by rule; for exchanges that trade on some of them."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

MONDAY, THURSDAY, SUNDAY = 0, 3, 6


def _nth(year: int, month: int, weekday: int, number: int) -> date:
    """The `number`th such weekday of a month, from 1."""
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (number - 1))


@cache
def us_bank_holidays(year: int) -> frozenset[date]:
    """Weekdays of a year on which the Federal Reserve Banks are closed.

    The holidays are those of 5 U.S.C. 6103(a), observed by the Federal Reserve's own rule (its Holiday Schedules, K.8):
    for a holiday that falls on a Saturday its banks are open on the Friday before, for one on a Sunday they are closed
    on the Monday after. So Juneteenth, law since 2021-06-17, was first a bank holiday in 2022.
    """
    fixed = [date(year, 1, 1), date(year, 7, 4), date(year, 11, 11), date(year, 12, 25)]
    if year >= 2021:
        fixed.append(date(year, 6, 19))
    observed = {day + timedelta(days=day.weekday() == SUNDAY) for day in fixed}
    moving = {
        _nth(year, 1, MONDAY, 3),  # Martin Luther King, Jr.
        _nth(year, 2, MONDAY, 3),  # Washington's Birthday
        _nth(year, 6, MONDAY, 1) - timedelta(days=7),  # Memorial Day, the last Monday of May
        _nth(year, 9, MONDAY, 1),  # Labor Day
        _nth(year, 10, MONDAY, 2),  # Columbus Day
        _nth(year, 11, THURSDAY, 4),  # Thanksgiving
    }
    return frozenset(day for day in observed | moving if day.weekday() < 5)


@cache
def canadian_bank_holidays(year: int) -> frozenset[date]:
    """Weekdays of a year on which Toronto trades and Canada's banks do not settle.

    Remembrance Day, and since 2021 the National Day for Truth and Reconciliation (TMX Ops Notice 2022-021: "a Banking
    Holiday ONLY ... both a non-clearing day and a non-settlement day"); one on a weekend is kept on the next Monday.
    """
    days = [date(year, 11, 11), *([date(year, 9, 30)] if year >= 2021 else [])]
    return frozenset(day + timedelta(days=7 - day.weekday() if day.weekday() >= 5 else 0) for day in days)
