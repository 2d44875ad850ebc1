"""The account's own rules beside the journal: what `risk.account_state` keeps is read and written here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice

import structlog

from openbell.domain.account import Account
from openbell.domain.clock import Clock
from openbell.domain.errors import CalendarError, JournalError
from openbell.journal import Journal
from openbell.market import settlement as venue_settlement
from openbell.market.calendar import SessionCalendar
from openbell.risk.account_state import FORTNIGHT, HALF_YEAR, AccountState
from openbell.risk.pattern_day_trader import BUSINESS_DAYS
from openbell.risk.settled_cash import summary
from openbell.risk.view import RiskLimits
from openbell.runner.comparison import Comparison
from openbell.runner.desk import Desk, Told
from openbell.runner.gate import Gate
from openbell.runner.ledger import Ledger

log = structlog.get_logger("openbell.account")


@dataclass(frozen=True, slots=True)
class Dates:
    """Trade dates, settlement dates and business days of one venue, a person's overrides included.

    Raises CalendarError where the venue's sessions are not known.
    """

    venue: str
    calendar: SessionCalendar

    def trade_date(self, moment: datetime) -> date:
        """The trade date of a fill at this time."""
        return venue_settlement.trade_date_of(self.venue, moment, self.calendar)

    def settles_on(self, trade_date: date) -> date:
        """The settlement date of a trade date."""
        return venue_settlement.settles_on(self.venue, trade_date, self.calendar)

    def business_days(self, today: date) -> tuple[date, ...]:
        """The last five business days, today the last of them."""
        sessions = [session.date for session in self.calendar.sessions(today - FORTNIGHT, today)]
        return tuple(sessions[-BUSINESS_DAYS:])

    def business_day_after(self, day: date, count: int) -> date:
        """The `count`-th business day after a day."""
        following = self.calendar.sessions(day + timedelta(days=1), day + timedelta(days=10 + 2 * count))
        days = [session.date for session in islice(following, count)]
        if len(days) < count:
            raise CalendarError(f"business day {count} after {day} is not known: {self.calendar.beyond(date.max)}")
        return days[-1]

    def next_business_day(self, today: date) -> date | None:
        """The business day after today."""
        following = self.calendar.sessions(today + timedelta(days=1), today + FORTNIGHT)
        return next((session.date for session in following), None)


class AccountBook:
    """Keeps the account's state. It is read from the journal once, and follows every fill from there.

    Account and fills belong together only when the broker has told of every order since the connection came up, and
    all that it told is written: a fill that an earlier process could not write down is in the account's cash already.
    """

    def __init__(
        self,
        ledger: Ledger,
        journal: Journal,
        desk: Desk,
        gate: Gate,
        comparison: Comparison,
        clock: Clock,
        dates: Dates,
    ) -> None:
        self._ledger = ledger
        self._journal = journal
        self._desk = desk
        self._gate = gate
        self._comparison = comparison
        self._clock = clock
        self.state = AccountState(ledger, dates, _unknown)

    def adopt(self, limits: RiskLimits, dates: Dates) -> None:
        """Take the newest spec in. Another kind of account is read anew."""
        self.state.adopt(limits, dates)

    def on_told(self, told: Told) -> None:
        """Follow a fill."""
        if told.fill is not None:
            for each in self.state.book(told.record.intent, told.fill):
                log.warning("settlement.violation", kind=each.kind.value, symbol=each.symbol, amount=str(each.amount))

    async def on_account(self, account: Account) -> None:
        """Read the book where it is not, and take money in that came or went without a trade, both only in quiet."""
        state = self.state
        if not state.is_needed:
            return
        if state.is_read:
            await self._note_margin(account)
        is_quiet = state.is_quiet(self._desk.bookings, is_trading=bool(self._desk.in_flight))
        if not is_quiet or not self._comparison.is_certain:
            return
        if not state.is_read:
            await self._read(account)
        if state.is_read:
            await self._take_in(account)

    async def _take_in(self, account: Account) -> None:
        movement = self.state.take_in(account, self._clock.now())
        if movement is None:
            return
        until = "" if movement.settles_on is None else movement.settles_on.isoformat()
        log.info("account.cash-moved", amount=str(movement.amount), settles_on=until)
        try:
            await self._journal.save_cash_movement(movement)
        except JournalError as error:  # the next process finds the same difference, and takes it for one of its day
            log.error("account.cash-moved-not-kept", error=str(error))

    async def _note_margin(self, account: Account) -> None:
        try:
            for deficit in self.state.margin_calls(account):
                log.warning("margin.deficit", day=deficit.day.isoformat(), amount=str(deficit.amount))
                await self._journal.save_deficit(deficit)
        except (JournalError, CalendarError) as error:
            log.error("account.deficit-not-kept", error=str(error))

    async def _read(self, account: Account) -> None:
        state, bookings, now = self.state, self._desk.bookings, self._ledger.day_start
        if now is None or not self._gate.journal_open:
            return
        try:
            movements = await self._journal.cash_movements() if state.is_cash else ()
            fills = await self._journal.fills(movements[0].time if movements else now - state.history())
            deficits = await self._journal.deficits(now.date() - HALF_YEAR)
            if state.is_cash and not movements:
                if self._has_moved(bookings):
                    return
                movements = (state.opening(account, fills, now),)
                await self._journal.save_cash_movement(movements[0])
        except JournalError as error:
            state.forget(error)
            return
        if not self._has_moved(bookings):
            state.begin(movements, fills, deficits, now)

    def _has_moved(self, bookings: int) -> bool:
        return self._desk.bookings != bookings or bool(self._desk.in_flight)

    def summary(self, now: datetime) -> str:
        """Settled money and counted violations as one clause; empty for a margin account."""
        if not self.state.is_cash:
            return ""
        if self._ledger.settlement is None:
            return "not known yet, so that nothing is bought"
        try:
            return summary(self._ledger.settlement, self.state.dates.trade_date(now))
        except CalendarError as error:
            return str(error)


def _unknown(error: Exception) -> None:
    log.error("account.unknown", error=str(error))
