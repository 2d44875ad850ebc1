"""The account's own rules, kept up with fills: settled money of a cash account, day trades of a margin account.

Pure but for its own memory: who reads accounts and journals tells it what was read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Protocol

from openbell.domain.account import Account
from openbell.domain.errors import CalendarError
from openbell.domain.limits import AccountKind, Regime
from openbell.domain.money import CENT, ZERO
from openbell.domain.orders import Fill, Intent, IntentKind, Side
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
from openbell.risk.pattern_day_trader import Execution, window_of
from openbell.risk.recent import Known
from openbell.risk.settled_cash import SettlementView, view_of
from openbell.risk.settlement import CashMovement, Violation, before, booked, ledger_of, moved
from openbell.risk.view import RiskLimits, WorkingEntry

YEAR = timedelta(days=372)  # violations count for twelve months, and what they came from settled before
HALF_YEAR = timedelta(days=183)  # more than five business days and ninety calendar days
FORTNIGHT = timedelta(days=14)  # five business days with every closure that ever was among them


class VenueDates(Protocol):
    """Trade dates, settlement dates and business days of one venue. Raises CalendarError where they are not known."""

    def trade_date(self, moment: datetime) -> date: ...

    def settles_on(self, trade_date: date) -> date: ...

    def business_days(self, today: date) -> tuple[date, ...]: ...

    def business_day_after(self, day: date, count: int) -> date: ...

    def next_business_day(self, today: date) -> date | None: ...


class AccountState:
    """What the account's rules look at. The settlement ledger stands in `known`.

    Until it has begun with fills and an account that belong together, a cash account has no settled money: unknown is
    not enough. `tell` hears of what could not be known.
    """

    def __init__(self, known: Known, dates: VenueDates, tell: Callable[[Exception], None] = lambda _: None) -> None:
        self.dates = dates
        self.is_read = False
        self._known = known
        self._tell = tell
        self._limits = RiskLimits()
        self._fills: deque[tuple[Fill, date]] = deque()
        self._bookings = 0
        self._has_reduced = False  # an entry was filled since the account was last read
        self._deficits: dict[date, Deficit] = {}

    @property
    def is_cash(self) -> bool:
        """Whether money has to settle."""
        return self._limits.settlement.account is AccountKind.CASH

    @property
    def is_needed(self) -> bool:
        """Whether any rule looks at it."""
        return self.is_cash or self._limits.day_trading.regime is not Regime.NONE

    # -- keeping up --------------------------------------------------------------------------------------------

    def adopt(self, limits: RiskLimits, dates: VenueDates) -> None:
        """Take the newest limits in. Another kind of account begins anew."""
        is_cash = limits.settlement.account is AccountKind.CASH
        if is_cash is not self.is_cash or not self.is_needed:
            self.is_read = False
            self._known.settlement = None
        self._limits, self.dates = limits, dates

    def book(self, intent: Intent, fill: Fill) -> tuple[Violation, ...]:
        """Follow a fill; says the violations that it was. One whose dates are not known makes the state unknown."""
        if not self.is_read:
            return ()
        self._has_reduced |= intent.kind is IntentKind.ENTRY
        known = self._known
        try:
            day = self.dates.trade_date(fill.time)
            self._fills.append((fill, day))
            while self._fills and self._fills[0][1] < day - FORTNIGHT:
                self._fills.popleft()
            if known.settlement is None:
                return ()
            counted = len(known.settlement.violations)
            known.settlement = booked(known.settlement, fill, day, self.dates.settles_on)
            return known.settlement.violations[counted:]
        except CalendarError as error:
            self.forget(error)
            return ()

    def forget(self, error: Exception) -> None:
        """It is not known any more, because of this error."""
        self._tell(error)
        self.is_read = False
        self._known.settlement = None

    def is_quiet(self, bookings: int, *, is_trading: bool) -> bool:
        """Whether a reading of the account has what the book has: nothing is under way, nothing booked since the last.

        A fill that the broker's cash has and the book has not would be taken for a deposit.
        """
        quiet = not is_trading and bookings == self._bookings
        self._bookings = bookings
        return quiet

    def opening(self, account: Account, fills: Iterable[Fill], now: datetime) -> CashMovement:
        """What an account that is seen for the first time has beside its fills: settled, for nothing else is known."""
        return CashMovement(now - self.history(), before(account.cash, fills))

    def begin(
        self, movements: Iterable[CashMovement], fills: Iterable[Fill], deficits: Iterable[Deficit], now: datetime
    ) -> None:
        """Begin with the fills behind an account (of a year, or of a fortnight for a margin account), and for a cash
        account with all that has moved its cash besides, the opening first.
        """
        try:
            dated = [(fill, self.dates.trade_date(fill.time)) for fill in fills]
            if self.is_cash:
                self._known.settlement = ledger_of(movements, dated, self.dates.settles_on)
        except CalendarError as error:
            self.forget(error)
            return
        self._fills = deque(each for each in dated if each[1] >= now.date() - FORTNIGHT)
        self._deficits = {deficit.day: deficit for deficit in deficits}
        self.is_read = True

    def history(self) -> timedelta:
        """How far back `begin` wants fills."""
        return YEAR if self.is_cash else FORTNIGHT

    def take_in(self, account: Account, now: datetime) -> CashMovement | None:
        """Book money that came or went without a fill of ours.

        What went has gone from settled money. What came may be a deposit, or the proceeds of what somebody has sold
        by hand, and an account does not say which: it settles as a sale of now does. One that was made since the last
        reading settles no later.
        """
        ledger = self._known.settlement
        amount = account.cash - ledger.cash if ledger is not None else ZERO
        if ledger is None or abs(amount) < CENT:  # the broker rounds what it tells
            return None
        try:
            settles_on = self.dates.settles_on(self.dates.trade_date(now)) if amount > 0 else None
        except CalendarError as error:
            self.forget(error)
            return None
        movement = CashMovement(now, amount, settles_on)
        self._known.settlement = moved(ledger, movement)
        return movement

    def margin_calls(self, account: Account) -> tuple[Deficit, ...]:
        """Deficits that change by this reading: the day's, the highest right after any entry, and what is satisfied.

        Raises CalendarError.
        """
        excess, reduced = account.excess_liquidity, self._has_reduced
        self._has_reduced = False
        day_start = self._known.day_start
        if excess is None or self.is_cash or day_start is None:
            return ()
        changed: list[Deficit] = []
        today = self.dates.trade_date(day_start)
        found = deficit_of(today, [Moment(account.equity, account.equity - excess, reduced)])
        had = self._deficits.get(today)
        if found is not None and (had is None or found.amount > had.amount):
            self._deficits[today] = found
            changed.append(found)
        if excess >= 0:
            for deficit in tuple(self._deficits.values()):
                if deficit.satisfied_on is None:
                    satisfied = replace(deficit, satisfied_on=today)
                    self._deficits[deficit.day] = satisfied
                    changed.append(satisfied)
        return tuple(changed)

    # -- answering ---------------------------------------------------------------------------------------------

    def settlement_view(self, now: datetime, working: tuple[WorkingEntry, ...]) -> SettlementView | None:
        """What a cash account may buy with; None for a margin account."""
        if not self.is_cash:
            return None
        limits, ledger, account = self._limits.settlement, self._known.settlement, self._known.account
        if ledger is None or account is None:
            return SettlementView(limits, ZERO, ZERO)
        try:
            today = self.dates.trade_date(now)
        except CalendarError as error:
            self._tell(error)
            return SettlementView(limits, ZERO, ZERO)
        buys = [entry.notional for entry in working if entry.side is Side.BUY]
        return view_of(ledger, limits, today, open_buys=buys, settled_at_broker=account.settled_cash)

    def day_trading_view(self, now: datetime, working: tuple[WorkingEntry, ...]) -> DayTradingView | None:
        """What the rule of day trading looks at; None where there is no rule, or no word of the account yet."""
        account = self._known.account
        if self.is_cash or self._limits.day_trading.regime is Regime.NONE or account is None:
            return None
        try:
            today = self.dates.trade_date(now)
            days, following = self.dates.business_days(today), self.dates.next_business_day(today)
            restricted = restricted_until(self._deficits.values(), today, self.dates.business_day_after)
        except CalendarError as error:
            self._tell(error)
            return None
        held: dict[str, Decimal] = {}
        for position in self._known.open_positions():
            held[position.symbol] = held.get(position.symbol, ZERO) + position.quantity
        window, pending = window_of([_execution(fill, day) for fill, day in self._fills], days, following, held)
        first = self._known.day_start_equity
        return DayTradingView(
            today=today,
            prior_equity=first if first is not None else account.equity,
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
            for position in self._known.open_positions():
                at_price = self._known.price_of(position.symbol) or position.average_price
                rate = LONG_MAINTENANCE if position.quantity > 0 else SHORT_MAINTENANCE
                maintenance += abs(position.quantity) * at_price * rate
            excess = account.equity - maintenance
        return MarginState(account.equity, excess - ordered * SHORT_MAINTENANCE, account.cash - ordered)


def _execution(fill: Fill, day: date) -> Execution:
    return Execution(fill.order_ref, fill.symbol, fill.side, fill.quantity, day)
