"""The account's own rules, kept up with fills: settled money of a cash account, day trades of a margin account."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import islice

import structlog

from openbell.domain.account import Account
from openbell.domain.errors import CalendarError, JournalError
from openbell.domain.limits import AccountKind, Regime
from openbell.domain.money import CENT, ZERO
from openbell.domain.orders import Fill, IntentKind, Side
from openbell.journal import Journal
from openbell.market import settlement as venue_settlement
from openbell.market.calendar import SessionCalendar
from openbell.risk.day_trading import DayTradingView
from openbell.risk.intraday_margin import (
    LONG_MAINTENANCE,
    SHORT_MAINTENANCE,
    Deficit,
    MarginState,
    Moment,
    deficit_of,
    restricted_until,
)
from openbell.risk.pattern_day_trader import BUSINESS_DAYS, Execution, window_of
from openbell.risk.settled_cash import SettlementView, summary, view_of
from openbell.risk.settlement import booked, ledger_of, paid_in
from openbell.risk.view import RiskLimits, WorkingEntry
from openbell.runner.desk import Desk, Told
from openbell.runner.ledger import Ledger

log = structlog.get_logger("openbell.account")

YEAR = timedelta(days=372)  # violations count for twelve months, and what they came from settled before
HALF_YEAR = timedelta(days=183)  # more than five business days and ninety calendar days
FORTNIGHT = timedelta(days=14)  # five business days with every closure that ever was among them


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
    """Answers what the account's rules look at. It is read from the journal once, and follows every fill from there.

    Until it could be read, a cash account has no settled money: unknown is not enough.
    """

    def __init__(self, ledger: Ledger, journal: Journal, desk: Desk, dates: Dates) -> None:
        self._ledger = ledger
        self._journal = journal
        self._desk = desk
        self.dates = dates
        self._limits = RiskLimits()
        self._fills: deque[tuple[Fill, date]] = deque()
        self._is_read = False
        self._bookings = 0
        self._has_reduced = False  # an entry was filled since the account was last read
        self._deficits: dict[date, Deficit] = {}

    # -- keeping up --------------------------------------------------------------------------------------------

    def adopt(self, limits: RiskLimits, dates: Dates) -> None:
        """Take the newest spec in. Another kind of account is read anew."""
        is_cash = limits.settlement.account is AccountKind.CASH
        if is_cash is not self._is_cash or not self._is_needed:
            self._is_read = False
            self._ledger.settlement = None
        self._limits, self.dates = limits, dates

    @property
    def _is_cash(self) -> bool:
        return self._limits.settlement.account is AccountKind.CASH

    @property
    def _is_needed(self) -> bool:
        return self._is_cash or self._limits.day_trading.regime is not Regime.NONE

    def on_told(self, told: Told) -> None:
        """Follow a fill. One whose dates are not known makes the book unknown until it is read again."""
        if told.fill is None or not self._is_read:
            return
        self._has_reduced |= told.record.intent.kind is IntentKind.ENTRY
        try:
            self._book(told.fill)
        except CalendarError as error:
            self._forget(error)

    def _book(self, fill: Fill) -> None:
        day = self.dates.trade_date(fill.time)
        self._fills.append((fill, day))
        while self._fills and self._fills[0][1] < day - FORTNIGHT:
            self._fills.popleft()
        ledger = self._ledger
        if ledger.settlement is not None:
            before = len(ledger.settlement.violations)
            ledger.settlement = booked(ledger.settlement, fill, day, self.dates.settles_on)
            for each in ledger.settlement.violations[before:]:
                log.warning("settlement.violation", kind=each.kind.value, symbol=each.symbol, amount=str(each.amount))

    async def on_account(self, account: Account) -> None:
        """Read the book where it is not, and take money in that came or went without a trade.

        Both only while nothing is under way: a fill that the broker's cash has and the book has not would be taken
        for a deposit.
        """
        if not self._is_needed:
            return
        if self._is_read:
            await self._note_margin(account)
        quiet = not self._desk.in_flight and self._desk.bookings == self._bookings
        self._bookings = self._desk.bookings
        if not quiet:
            return
        if not self._is_read:
            await self._read(account)
            return
        ledger = self._ledger
        moved = account.cash - ledger.settlement.cash if ledger.settlement is not None else ZERO
        if ledger.settlement is not None and abs(moved) >= CENT:  # the broker rounds what it tells
            ledger.settlement = paid_in(ledger.settlement, moved)

    async def _note_margin(self, account: Account) -> None:
        """Record the day's deficit, the highest right after any entry, and what was satisfied since."""
        excess, reduced = account.excess_liquidity, self._has_reduced
        self._has_reduced = False
        if excess is None or self._is_cash or self._ledger.day_start is None:
            return
        try:
            today = self.dates.trade_date(self._ledger.day_start)
            found = deficit_of(today, [Moment(account.equity, account.equity - excess, reduced)])
            known = self._deficits.get(today)
            if found is not None and (known is None or found.amount > known.amount):
                await self._keep(found)
            if excess >= 0:
                for deficit in tuple(self._deficits.values()):
                    if deficit.satisfied_on is None:
                        await self._keep(replace(deficit, satisfied_on=today))
        except (JournalError, CalendarError) as error:
            log.error("account.deficit-not-kept", error=str(error))

    async def _keep(self, deficit: Deficit) -> None:
        self._deficits[deficit.day] = deficit
        log.warning("margin.deficit", day=deficit.day.isoformat(), amount=str(deficit.amount))
        await self._journal.save_deficit(deficit)

    async def _read(self, account: Account) -> None:
        bookings, now = self._desk.bookings, self._ledger.day_start
        if now is None:
            return
        try:
            fills = await self._journal.fills(now - (YEAR if self._is_cash else FORTNIGHT))
            if self._desk.bookings != bookings or self._desk.in_flight:
                return
            deficits = await self._journal.deficits(now.date() - HALF_YEAR)
            dated = [(fill, self.dates.trade_date(fill.time)) for fill in fills]
            if self._is_cash:
                self._ledger.settlement = ledger_of(account.cash, dated, self.dates.settles_on)
        except (JournalError, CalendarError) as error:
            self._forget(error)
            return
        self._fills = deque(each for each in dated if each[1] >= now.date() - FORTNIGHT)
        self._deficits = {deficit.day: deficit for deficit in deficits}
        self._is_read = True

    def _forget(self, error: Exception) -> None:
        log.error("account.unknown", error=str(error))
        self._is_read = False
        self._ledger.settlement = None

    # -- answering ---------------------------------------------------------------------------------------------

    def settlement(self, now: datetime, working: tuple[WorkingEntry, ...]) -> SettlementView | None:
        """What a cash account may buy with; None for a margin account."""
        limits, ledger, account = self._limits.settlement, self._ledger.settlement, self._ledger.account
        if not self._is_cash:
            return None
        if ledger is None or account is None:
            return SettlementView(limits, ZERO, ZERO)
        try:
            today = self.dates.trade_date(now)
        except CalendarError as error:
            log.error("account.unknown", error=str(error))
            return SettlementView(limits, ZERO, ZERO)
        buys = [entry.notional for entry in working if entry.side is Side.BUY]
        return view_of(ledger, limits, today, open_buys=buys, settled_at_broker=account.settled_cash)

    def day_trading(self, now: datetime, working: tuple[WorkingEntry, ...]) -> DayTradingView | None:
        """What the rule of day trading looks at; None where there is no rule, or no word of the account yet."""
        ledger, account = self._ledger, self._ledger.account
        if self._is_cash or self._limits.day_trading.regime is Regime.NONE or account is None:
            return None
        try:
            today = self.dates.trade_date(now)
            days, following = self.dates.business_days(today), self.dates.next_business_day(today)
            restricted = restricted_until(self._deficits.values(), today, self.dates.business_day_after)
        except CalendarError as error:
            log.error("account.unknown", error=str(error))
            return None
        held: dict[str, Decimal] = {}
        for position in ledger.open_positions():
            held[position.symbol] = held.get(position.symbol, ZERO) + position.quantity
        window, pending = window_of([_execution(fill, day) for fill, day in self._fills], days, following, held)
        return DayTradingView(
            today=today,
            prior_equity=ledger.day_start_equity if ledger.day_start_equity is not None else account.equity,
            window=window,
            margin=replace(self._margin(account, working), restricted_until=restricted),
            day_trades_remaining=account.day_trades_remaining,
            opened=(*pending, *(entry.symbol for entry in working)),
        )

    def _margin(self, account: Account, working: tuple[WorkingEntry, ...]) -> MarginState:
        """The broker's excess liquidity, where it gives none the equity less Rule 4210(c)'s maintenance."""
        ordered = sum((entry.notional for entry in working), ZERO)
        excess = account.excess_liquidity
        if excess is None:
            maintenance = ZERO
            for position in self._ledger.open_positions():
                at_price = self._ledger.price_of(position.symbol) or position.average_price
                rate = LONG_MAINTENANCE if position.quantity > 0 else SHORT_MAINTENANCE
                maintenance += abs(position.quantity) * at_price * rate
            excess = account.equity - maintenance
        return MarginState(account.equity, excess - ordered * SHORT_MAINTENANCE, account.cash - ordered)

    def summary(self, now: datetime) -> str:
        """Settled money and counted violations as one clause; empty for a margin account."""
        if not self._is_cash:
            return ""
        if self._ledger.settlement is None:
            return "not known yet, so that nothing is bought"
        try:
            return summary(self._ledger.settlement, self.dates.trade_date(now))
        except CalendarError as error:
            return str(error)


def _execution(fill: Fill, day: date) -> Execution:
    return Execution(fill.order_ref, fill.symbol, fill.side, fill.quantity, day)
