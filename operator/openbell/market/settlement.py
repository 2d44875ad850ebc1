"""When trades settle: a calendar of its own, for an exchange trades on days on which its banks do not settle.

A settlement day is one on which market and banks are both open. In the United States the market trades on Columbus Day
and Veterans Day, which are no settlement days; Good Friday and days of mourning are days without a market, on which
nothing settles here (a clearing house may have settled on one of the latter: then this calendar is late, never early).

A trade settles a number of settlement days after its trade date. So one of a trading day that is no settlement day
settles together with those of the business day before, as the NASD put it for Columbus Day 1995, when T+3 held:
"Transactions made on Monday, October 9, will be combined with transactions made on the previous business day,
October 6, for settlement on October 12" (Notice to Members 95-77; 99-83 and 88-82 say the same of other years). That it
goes on so under T+2 and T+1 is what follows from the rule; no notice spells it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import islice

from openbell.domain.errors import CalendarError
from openbell.market.bank_holidays import canadian_bank_holidays, us_bank_holidays
from openbell.market.calendar import ALWAYS, MIDNIGHT, SessionCalendar, calendar_for

ONE_DAY = timedelta(days=1)


def _none(_: int) -> frozenset[date]:
    return frozenset()


@dataclass(frozen=True, slots=True)
class SettlementRule:
    """How a venue's trades settle.

    `cycles` are (first trade date, settlement days from trade date to settlement), oldest first; `bank_holidays` gives
    a year's days on which no session of the venue settles.
    """

    cycles: tuple[tuple[date, int], ...]
    bank_holidays: Callable[[int], frozenset[date]] = _none

    def days(self, trade_date: date) -> int:
        """The cycle in force on a trade date; before the first known one, the first."""
        return next((days for since, days in reversed(self.cycles) if since <= trade_date), self.cycles[0][1])


# SEC Rule 15c6-1(a), 17 CFR 240.15c6-1: T+3 by Release 34-33023 (1993-10-06) and 34-34952 (1994-11-09, which moved the
# date to 1995-06-07); T+2 by Release 34-80295 (2017-03-22); T+1 by Release 34-96930 (2023-02-15).
_US = SettlementRule(((date(1995, 6, 7), 3), (date(2017, 9, 5), 2), (date(2024, 5, 28), 1)), us_bank_holidays)

RULES = {
    "XNYS": _US,
    "XNAS": _US,
    # The London Stock Exchange and CREST left T+5 for T+3 on 2001-02-05, and came to T+2 with most of Europe.
    "XLON": SettlementRule(((date(2000, 1, 1), 5), (date(2001, 2, 5), 3), (date(2014, 10, 6), 2))),
    "XTKS": SettlementRule(((date(2000, 1, 1), 3), (date(2019, 7, 16), 2))),
    "XHKG": SettlementRule(((date(2000, 1, 1), 2),)),
    # T+2 long before Regulation (EU) 909/2014, Article 5(2), made it the rule. The move of the Union and of the United
    # Kingdom to T+1, set for 2027-10-11, is left out until it has happened: postponed, it would make us early.
    "XETR": SettlementRule(((date(2000, 1, 1), 2),)),
    # Canada moved with the United States to T+3 and T+2, and to T+1 a day before them (a Monday, their Memorial Day).
    "XTSE": SettlementRule(
        ((date(2000, 1, 1), 3), (date(2017, 9, 5), 2), (date(2024, 5, 27), 1)), canadian_bank_holidays
    ),
    # Futures: gains and losses of a day are paid as variation margin on the next day on which banks are open.
    "CMES": SettlementRule(((date(2000, 1, 1), 1),), us_bank_holidays),
}


@cache
def _calendar(venue: str) -> SessionCalendar:
    return calendar_for(venue)


def trade_date_of(venue: str, moment: datetime, sessions: SessionCalendar | None = None) -> date:
    """The trade date of a fill: that of the session it falls into, outside of sessions that of the next one.

    `sessions` is the venue's calendar with a person's overrides, here and below; without it, the table's own. Raises
    CalendarError where the sessions of that time are not known.
    """
    calendar = sessions or _calendar(venue)
    session = calendar.session_at(moment) or calendar.next_session(moment)
    if session is None:
        raise CalendarError(f"the trade date of {moment:%Y-%m-%d %H:%M} UTC is not known: {_why(calendar)}")
    return session.date


def settles_on(venue: str, trade_date: date, sessions: SessionCalendar | None = None) -> date:
    """The settlement date of a trade. A date without a session counts as the next one with one, which is never early.

    Raises CalendarError where the sessions from the trade date to the settlement date are not all known.
    """
    if venue == ALWAYS:
        return trade_date
    calendar = sessions or _calendar(venue)
    if calendar.beyond(trade_date):
        raise CalendarError(f"when a trade of {trade_date} settles is not known: {_why(calendar)}")
    rule = RULES[venue]
    traded = next((session.date for session in calendar.sessions(trade_date, date.max)), trade_date)
    found = next(islice(_settlement_days(rule, calendar, traded), rule.days(traded) - 1, None), None)
    if found is None:
        raise CalendarError(f"when a trade of {trade_date} settles is not known: {_why(calendar)}")
    return found


def settled_from(venue: str, trade_date: date, sessions: SessionCalendar | None = None) -> datetime:
    """The moment from which a sale's proceeds count as settled: the open of the first session after settlement day.

    Not the midnight before settlement day, nor its open: money moves in the course of the day, and brokers that look
    at violations at the day's end count a sale on settlement day as one of shares not yet paid for. Where a market is
    always open, at once. Raises CalendarError as `settles_on` does.
    """
    if venue == ALWAYS:
        return datetime.combine(trade_date, MIDNIGHT, UTC)
    calendar = sessions or _calendar(venue)
    settlement = settles_on(venue, trade_date, calendar)
    following = next(calendar.sessions(settlement + ONE_DAY, date.max), None)
    if following is None:
        raise CalendarError(f"the session after {settlement} is not known: {_why(calendar)}")
    return following.open


def _settlement_days(rule: SettlementRule, calendar: SessionCalendar, after: date) -> Iterator[date]:
    for session in calendar.sessions(after + ONE_DAY, date.max):
        if session.date not in rule.bank_holidays(session.date.year):
            yield session.date


def _why(calendar: SessionCalendar) -> str:
    return calendar.beyond(date.max)
