"""The old rule, FINRA 4210(f)(8)(B) (before: NASD 2520): pattern day traders. Pure.

"The term 'day trading' means the purchasing and selling or the selling and purchasing of the same security on the
same day in a margin account except for: a long security position held overnight and sold the next day prior to any
new purchase of the same security, or a short security position held overnight and purchased the next day prior to
any new sale of the same security." — "The term 'pattern day trader' means any customer who executes four or more day
trades within five business days. However, if the number of day trades is 6% or less of total trades for the five
business day period, the customer will not be considered a pattern day trader." — "minimum equity of $25,000".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal

from openbell.domain.money import ZERO, cents
from openbell.domain.orders import Side
from openbell.domain.reasons import Reason
from openbell.risk.verdict import Deny

DAY_TRADES = 4
BUSINESS_DAYS = 5
SMALL_PART = Decimal("0.06")
MINIMUM_EQUITY = Decimal(25_000)


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill, as far as the rule asks; `order` names the order, which is what counts as one trade."""

    order: str
    symbol: str
    side: Side
    quantity: Decimal
    day: date


@dataclass(frozen=True, slots=True)
class Window:
    """Five business days, oldest first, the last of them today, and what was traded on them: `day_trades` by day,
    and all `trades`. `next_day` is when the oldest of them falls out."""

    days: tuple[date, ...]
    day_trades: tuple[int, ...] = ()
    trades: int = 0
    next_day: date | None = None

    @property
    def count(self) -> int:
        """Day trades of the window."""
        return sum(self.day_trades)


def count_day_trades(executions: Iterable[Execution], held_overnight: Decimal = ZERO) -> int:
    """Day trades of one security on one day, from its executions in their order.

    `held_overnight` is the signed quantity at the start of the day. Each run of closings after an opening of the day
    is one day trade; closing what was held overnight before any opening of the day is none.
    """
    position, opened_today, counted = held_overnight, False, 0
    for execution in executions:
        signed = execution.side.sign * execution.quantity
        closes = position != 0 and (position > 0) != (signed > 0)
        if closes and opened_today:
            counted += 1
            opened_today = False
        if not closes or abs(signed) > abs(position):
            opened_today = True
        position += signed
    return counted


def has_pending(executions: Iterable[Execution], held_overnight: Decimal = ZERO) -> bool:
    """Whether closing the security now would be one more day trade."""
    closing = list(executions)
    position = held_overnight + sum((each.side.sign * each.quantity for each in closing), ZERO)
    if position == 0 or not closing:
        return False
    side = Side.SELL if position > 0 else Side.BUY
    last = Execution("", closing[-1].symbol, side, abs(position), closing[-1].day)
    return count_day_trades([*closing, last], held_overnight) > count_day_trades(closing, held_overnight)


def window_of(
    executions: Iterable[Execution], days: tuple[date, ...], next_day: date | None, held_now: dict[str, Decimal]
) -> tuple[Window, tuple[str, ...]]:
    """The window and the symbols that would be a day trade if they were closed now.

    `executions` are all of the `days` in their order; `held_now` the signed quantities now, from which those at the
    start of each day are worked back.
    """
    known = [each for each in executions if each.day in days]
    counted = dict.fromkeys(days, 0)
    pending: list[str] = []
    for symbol in sorted({each.symbol for each in known}):
        of_symbol = [each for each in known if each.symbol == symbol]
        held = held_now.get(symbol, ZERO) - sum((each.side.sign * each.quantity for each in of_symbol), ZERO)
        for day in days:
            of_day = [each for each in of_symbol if each.day == day]
            counted[day] += count_day_trades(of_day, held)
            if day == days[-1] and has_pending(of_day, held):
                pending.append(symbol)
            held += sum((each.side.sign * each.quantity for each in of_day), ZERO)
    trades = len({each.order for each in known})
    return Window(days, tuple(counted[day] for day in days), trades, next_day), tuple(pending)


def is_pattern(day_trades: int, trades: int) -> bool:
    """Four or more day trades in the window, unless they are 6 % or less of all its trades."""
    return day_trades >= DAY_TRADES and day_trades > SMALL_PART * trades


def judge(window: Window, opened: tuple[str, ...], symbol: str, prior_equity: Decimal) -> Deny | None:
    """Deny the opening that could become the fourth day trade while equity is below $25,000.

    Every opening of today that is still open may be closed today, by its stop if by nothing else, and so may this
    one: it is counted when it is opened, because no exit is ever held back.
    """
    if prior_equity >= MINIMUM_EQUITY:
        return None
    possible = window.count + len({*opened, symbol})
    # Closing each of them, and opening this one, are trades of the window too.
    if not is_pattern(possible, window.trades + len({*opened, symbol}) + 1):
        return None
    return Deny(
        Reason.DAY_TRADE_LIMIT,
        f"it could become day trade {possible} in {BUSINESS_DAYS} business days, and the equity "
        f"{cents(prior_equity)} is below {cents(MINIMUM_EQUITY)}",
        _begin(window.next_day),
    )


def judge_remaining(remaining: int, window: Window, opened: tuple[str, ...], symbol: str) -> Deny | None:
    """The same by the broker's own count of day trades that remain; -1 is unlimited."""
    needed = len({*opened, symbol})
    if remaining < 0 or needed <= remaining:
        return None
    detail = f"the broker lets {remaining} more day trades be made, and {needed} openings could become some"
    return Deny(Reason.DAY_TRADE_LIMIT, detail, _begin(window.next_day))


def _begin(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), UTC) if day else None
