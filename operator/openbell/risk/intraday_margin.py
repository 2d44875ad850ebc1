"""The new rule, FINRA 4210(d)(2) with (a)(17)-(19) and (g)(1)(J)-(K): margin within the day. Pure.

Sources: Regulatory Notice 26-10 and Release 34-105226. An account's IML is what could be withdrawn from it while it
still meets maintenance margin (equity less the requirement); a transaction that lowers it reduces the IML. The
intraday margin deficit of a day is the highest shortfall right after any such transaction. It is outstanding until it
is satisfied or until the close of the 15th business day. A customer who makes a practice of not satisfying deficits
promptly, and leaves one unsatisfied at the close of the 5th business day, may for 90 calendar days, or until it is
satisfied, create or increase no short position and no debit balance. Deficits up to the lesser of 5 % of equity and
$1,000 do not count. Rule 4210(b): margin needs an equity of $2,000; 4210(c): 25 % maintenance for a long position,
30 % for a short one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TypeAlias

from openbell.domain.money import ZERO, cents
from openbell.domain.orders import Side
from openbell.domain.reasons import Reason
from openbell.risk.verdict import Deny

BusinessDayAfter: TypeAlias = Callable[[date, int], date]
"""The n-th business day after a day."""

MARGIN_MINIMUM = Decimal(2_000)
DE_MINIMIS_FRACTION = Decimal("0.05")
DE_MINIMIS = Decimal(1_000)
OUTSTANDING_DAYS = 15
PROMPT_DAYS = 5
RESTRICTED_DAYS = 90
LONG_MAINTENANCE = Decimal("0.25")
SHORT_MAINTENANCE = Decimal("0.30")
PRACTICE = 1
"""The rule names no number of deficits that make a practice; one is the reading that is safe under any."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The account right after a transaction. `reduces` says whether that lowered the IML: a purchase that covers
    nothing, a short sale, a withdrawal."""

    equity: Decimal
    maintenance: Decimal
    reduces: bool


@dataclass(frozen=True, slots=True)
class Deficit:
    """The intraday margin deficit of one day; `equity` is that of its highest point."""

    day: date
    amount: Decimal
    equity: Decimal
    satisfied_on: date | None = None

    @property
    def is_de_minimis(self) -> bool:
        """Whether it is too small to count: up to the lesser of 5 % of equity and $1,000."""
        return self.amount <= de_minimis(self.equity)


@dataclass(frozen=True, slots=True)
class MarginState:
    """The account now: `excess_liquidity` is its IML, `debit_free` the cash that can be spent without a debit.

    `restricted_until` is the last day on which a deficit that was left unsatisfied forbids new debits and shorts.
    """

    equity: Decimal
    excess_liquidity: Decimal
    debit_free: Decimal
    restricted_until: date | None = None

    def after_opening(self, notional: Decimal) -> MarginState:
        """The state after an opening was allowed; which side it has does not matter to a safe estimate."""
        return replace(
            self,
            excess_liquidity=self.excess_liquidity - notional * SHORT_MAINTENANCE,
            debit_free=self.debit_free - notional,
        )


def de_minimis(equity: Decimal) -> Decimal:
    """The lesser of 5 % of equity and $1,000."""
    return min(max(equity, ZERO) * DE_MINIMIS_FRACTION, DE_MINIMIS)


def default_buffer(equity: Decimal) -> Decimal:
    """Excess liquidity that is kept where nothing else is set: the greater of the same two, so that a price that
    moves between decision and fill makes no deficit that counts."""
    return max(equity * DE_MINIMIS_FRACTION, DE_MINIMIS)


def intraday_level(equity: Decimal, maintenance: Decimal) -> Decimal:
    """IML: what could be withdrawn while the account still meets its maintenance margin."""
    return equity - maintenance


def deficit_of(day: date, moments: Iterable[Moment]) -> Deficit | None:
    """The day's intraday margin deficit: the highest shortfall right after any transaction that reduced the IML."""
    short = [moment for moment in moments if moment.reduces and moment.maintenance > moment.equity]
    if not short:
        return None
    worst = max(short, key=lambda moment: moment.maintenance - moment.equity)
    return Deficit(day, worst.maintenance - worst.equity, worst.equity)


def is_outstanding(deficit: Deficit, today: date, business_day_after: BusinessDayAfter) -> bool:
    """Whether it still has to be satisfied: until it is, or until the close of the 15th business day."""
    if deficit.satisfied_on is not None and deficit.satisfied_on <= today:
        return False
    return today <= business_day_after(deficit.day, OUTSTANDING_DAYS)


def restricted_until(deficits: Iterable[Deficit], today: date, business_day_after: BusinessDayAfter) -> date | None:
    """The last day of the restriction by deficits unsatisfied at the close of their 5th business day; None = none.

    It begins the day after that close, lasts 90 calendar days, and ends with the deficit's satisfaction.
    """
    ends: list[date] = []
    late = [
        deficit
        for deficit in deficits
        if not deficit.is_de_minimis and _is_late(deficit, business_day_after(deficit.day, PROMPT_DAYS), today)
    ]
    if len(late) < PRACTICE:
        return None
    for deficit in late:
        end = business_day_after(deficit.day, PROMPT_DAYS) + timedelta(days=RESTRICTED_DAYS)
        satisfied = deficit.satisfied_on is not None and deficit.satisfied_on <= today
        if not satisfied and today <= end:
            ends.append(end)
    return max(ends, default=None)


def _is_late(deficit: Deficit, prompt: date, today: date) -> bool:
    return prompt < today and (deficit.satisfied_on is None or deficit.satisfied_on > prompt)


def minimum_equity(notional: Decimal, side: Side, state: MarginState) -> Deny | None:
    """Below an equity of $2,000 nothing is opened on credit and nothing is sold short (Rule 4210(b))."""
    if state.equity >= MARGIN_MINIMUM or not _borrows(notional, side, state):
        return None
    return Deny(
        Reason.MARGIN_MINIMUM_EQUITY,
        f"the equity {cents(state.equity)} is below {cents(MARGIN_MINIMUM)}, and the order would need credit",
    )


def judge(notional: Decimal, side: Side, state: MarginState, buffer: Decimal | None) -> Deny | None:
    """Deny what would leave less excess liquidity than the buffer (None: `default_buffer`), and while the account
    is restricted whatever needs credit."""
    if state.restricted_until is not None and _borrows(notional, side, state):
        return Deny(
            Reason.INTRADAY_RESTRICTED,
            f"no new debit or short until {state.restricted_until}: a margin deficit was left unsatisfied",
            datetime.combine(state.restricted_until + timedelta(days=1), time(), UTC),
        )
    needed = notional * (LONG_MAINTENANCE if side is Side.BUY else SHORT_MAINTENANCE)
    left, least = state.excess_liquidity - needed, default_buffer(state.equity) if buffer is None else buffer
    if left < least:
        return Deny(
            Reason.INTRADAY_MARGIN, f"{cents(left)} excess liquidity would be left, at least {cents(least)} is to be"
        )
    return None


def _borrows(notional: Decimal, side: Side, state: MarginState) -> bool:
    return side is Side.SELL or notional > state.debit_free
