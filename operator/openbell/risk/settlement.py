"""Settled and unsettled money of a cash account, lot by lot. Pure.

Sources: Rule 15c6-1(a) of the Securities Exchange Act (the settlement cycle; which day that is comes as an argument);
Regulation T, 12 CFR 220.8(a)(1) (a purchase needs funds in the account, or good faith that it is paid in full before
it is sold) and 220.8(c) (90 days after a sale without payment a purchase needs settled funds on the trade date).
Brokers count a sale of shares bought with proceeds that had not settled as a good-faith violation, and one of shares
that no money of the account covered as free-riding. Money counts as settled only from the day *after* its settlement
date: a broker's processing ends that day, and a sale on the date itself is a violation to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from openbell.domain.limits import AccountKind
from openbell.domain.money import ZERO, cents
from openbell.domain.orders import Fill, Side

SettlesOn: TypeAlias = Callable[[date], date]
"""The settlement date of a trade date."""

ROLLING_MONTHS = 12
SETTLED_ONLY_DAYS = 90


class ViolationKind(StrEnum):
    GOOD_FAITH = "GoodFaith"
    FREE_RIDING = "FreeRiding"


@dataclass(frozen=True, slots=True)
class SettlementLimits:
    """Which rules of settlement hold. `cost_allowance` is a ratio of an order's worth that slippage may add, and
    `fee_allowance` money that its fees may add."""

    account: AccountKind = AccountKind.MARGIN
    allow_unsettled_funding: bool = False
    good_faith_limit: int = 3
    cost_allowance: float = 0.005
    fee_allowance: Decimal = Decimal(5)

    def cost(self, notional: Decimal) -> Decimal:
        """What an order of this worth may take at most from the account, fees included."""
        return notional * (1 + Decimal(repr(self.cost_allowance))) + self.fee_allowance


@dataclass(frozen=True, slots=True)
class Tranche:
    """Money that is ours from the day after `settles_on`."""

    amount: Decimal
    settles_on: date


@dataclass(frozen=True, slots=True)
class CashLot:
    """Shares and what paid for them: `settled` money, tranches that had not settled, and `unfunded`, which nothing
    in the account covered. The parts shrink with the quantity."""

    symbol: str
    quantity: Decimal
    bought_on: date
    settled: Decimal
    unsettled: tuple[Tranche, ...] = ()
    unfunded: Decimal = ZERO

    @property
    def earliest_free_sale(self) -> date | None:
        """First day on which selling is no violation: the day after the last tranche settles; None = any day."""
        if not self.unsettled:
            return None
        return max(tranche.settles_on for tranche in self.unsettled) + timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Violation:
    """A sale before its purchase was paid. `amount` is the part of the cost that was not."""

    kind: ViolationKind
    symbol: str
    day: date
    amount: Decimal


@dataclass(frozen=True, slots=True)
class SettlementLedger:
    """Money and lots of one cash account.

    `settled` is below zero where purchases took more than there was; `lots` are in the order in which they are sold
    (first in, first out).
    """

    settled: Decimal
    unsettled: tuple[Tranche, ...] = ()
    lots: tuple[CashLot, ...] = ()
    violations: tuple[Violation, ...] = ()

    @property
    def cash(self) -> Decimal:
        """All money of the account, settled or not: what a broker calls total cash."""
        return self.settled + sum((tranche.amount for tranche in self.unsettled), ZERO)


def settle(ledger: SettlementLedger, today: date) -> SettlementLedger:
    """Turn into settled money what had settled by the end of the day before."""
    due = sum((each.amount for each in ledger.unsettled if each.settles_on < today), ZERO)
    waiting = tuple(each for each in ledger.unsettled if each.settles_on >= today)
    return paid_in(replace(ledger, unsettled=waiting), due) if due else ledger


def bought(ledger: SettlementLedger, symbol: str, quantity: Decimal, cost: Decimal, day: date) -> SettlementLedger:
    """Book a purchase: settled money pays first, then the tranches that settle first, then nothing does."""
    ledger = settle(ledger, day)
    from_settled = min(max(ledger.settled, ZERO), cost)
    left = cost - from_settled
    used: list[Tranche] = []
    kept: list[Tranche] = []
    for tranche in sorted(ledger.unsettled, key=lambda each: each.settles_on):
        part = min(tranche.amount, left)
        left -= part
        if part:
            used.append(Tranche(part, tranche.settles_on))
        if tranche.amount > part:
            kept.append(Tranche(tranche.amount - part, tranche.settles_on))
    lot = CashLot(symbol, quantity, day, from_settled, tuple(used), left)
    return replace(
        ledger, settled=ledger.settled - from_settled - left, unsettled=tuple(kept), lots=(*ledger.lots, lot)
    )


def sold(
    ledger: SettlementLedger, symbol: str, quantity: Decimal, proceeds: Decimal, day: date, settles_on: SettlesOn
) -> SettlementLedger:
    """Book a sale, oldest lots first: its proceeds wait for their settlement, and a violation is counted.

    Nothing is ever refused here: a sale has happened. One sale makes at most one violation of each kind.
    """
    ledger = settle(ledger, day)
    unpaid, unfunded, left = ZERO, ZERO, quantity
    lots: list[CashLot] = []
    for lot in ledger.lots:
        part = min(lot.quantity, left) if lot.symbol == symbol else ZERO
        if part == 0:
            lots.append(lot)
            continue
        left -= part
        share = part / lot.quantity
        unpaid += sum((each.amount * share for each in lot.unsettled if each.settles_on >= day), ZERO)
        unfunded += lot.unfunded * share
        if part < lot.quantity:
            lots.append(_rest(lot, part))
    found = [
        Violation(kind, symbol, day, amount)
        for kind, amount in ((ViolationKind.GOOD_FAITH, unpaid), (ViolationKind.FREE_RIDING, unfunded))
        if amount > 0
    ]
    return replace(
        ledger,
        unsettled=(*ledger.unsettled, Tranche(proceeds, settles_on(day))),
        lots=tuple(lots),
        violations=(*ledger.violations, *found),
    )


def _rest(lot: CashLot, sold_quantity: Decimal) -> CashLot:
    share = (lot.quantity - sold_quantity) / lot.quantity
    return replace(
        lot,
        quantity=lot.quantity - sold_quantity,
        settled=lot.settled * share,
        unsettled=tuple(Tranche(each.amount * share, each.settles_on) for each in lot.unsettled),
        unfunded=lot.unfunded * share,
    )


def booked(ledger: SettlementLedger, fill: Fill, day: date, settles_on: SettlesOn) -> SettlementLedger:
    """Book a fill of `day`, the trade date in the exchange's zone."""
    worth = fill.quantity * fill.price
    if fill.side is Side.BUY:
        return bought(ledger, fill.symbol, fill.quantity, worth + fill.commission, day)
    return sold(ledger, fill.symbol, fill.quantity, worth - fill.commission, day, settles_on)


def split(ledger: SettlementLedger, symbol: str, ratio: Decimal) -> SettlementLedger:
    """Follow a stock split of `ratio` new shares for one: what was paid stays what it was."""
    lots = tuple(replace(lot, quantity=lot.quantity * ratio) if lot.symbol == symbol else lot for lot in ledger.lots)
    return replace(ledger, lots=lots)


def paid_in(ledger: SettlementLedger, amount: Decimal) -> SettlementLedger:
    """Settled money that came (above zero) or went (below): a deposit, a withdrawal, proceeds that settled.

    It pays first for what nothing had covered, so that selling that is no free-riding any more.
    """
    left = max(amount, ZERO)
    lots: list[CashLot] = []
    for lot in ledger.lots:
        paid = min(lot.unfunded, left)
        left -= paid
        lots.append(replace(lot, unfunded=lot.unfunded - paid, settled=lot.settled + paid) if paid else lot)
    return replace(ledger, settled=ledger.settled + amount, lots=tuple(lots))


def ledger_of(cash: Decimal, fills: Iterable[tuple[Fill, date]], settles_on: SettlesOn) -> SettlementLedger:
    """The ledger of an account that has `cash` now, from its fills and their trade dates, oldest first.

    What the account had before the first of them counts as settled: hand over all fills of the last twelve months,
    for the violations, which is more than any settlement takes.
    """
    known = tuple(fills)
    flow = sum(((-fill.side.sign) * fill.quantity * fill.price - fill.commission for fill, _ in known), ZERO)
    ledger = SettlementLedger(cash - flow)
    for fill, day in known:
        ledger = booked(ledger, fill, day, settles_on)
    return ledger


def count_violations(ledger: SettlementLedger, kind: ViolationKind, today: date) -> int:
    """Violations of this kind within the rolling twelve months that end today."""
    begins = _a_year_before(today)
    return sum(1 for each in ledger.violations if each.kind is kind and begins < each.day <= today)


def settled_only_until(ledger: SettlementLedger, limits: SettlementLimits, today: date) -> date | None:
    """The last day on which purchases need settled money because of violations; None where they do not.

    One free-riding means 90 calendar days from the sale (12 CFR 220.8(c)). Of good-faith violations the one before
    the broker's limit is the last that is let happen: from then on until fewer than that lie in twelve months.
    """
    ends: list[date] = []
    begins = _a_year_before(today)
    good_faith = sorted(
        each.day for each in ledger.violations if each.kind is ViolationKind.GOOD_FAITH and begins < each.day <= today
    )
    allowed = max(limits.good_faith_limit - 1, 1)
    if len(good_faith) >= allowed:
        ends.append(_a_year_after(good_faith[-allowed]))
    for each in ledger.violations:
        end = each.day + timedelta(days=SETTLED_ONLY_DAYS)
        if each.kind is ViolationKind.FREE_RIDING and each.day <= today <= end:
            ends.append(end)
    return max(ends, default=None)


def _a_year_before(day: date) -> date:
    return _in_year(day, day.year - 1)


def _a_year_after(day: date) -> date:
    return _in_year(day, day.year + 1) - timedelta(days=1)


def _in_year(day: date, year: int) -> date:
    try:
        return day.replace(year=year)
    except ValueError:  # 29 February
        return date(year, 2, 28)


@dataclass(frozen=True, slots=True)
class SettlementView:
    """What the rules see of a cash account: `free` is settled money that no open buy needs, `free_with_unsettled`
    the same with unsettled proceeds, `settled_only_until` the last day on which only the first counts.

    `next_settlement` is the day from which more is settled; None where nothing waits.
    """

    limits: SettlementLimits
    free: Decimal
    free_with_unsettled: Decimal
    settled_only_until: date | None = None
    next_settlement: date | None = None

    def after_buy(self, notional: Decimal) -> SettlementView:
        """The view after an order of this worth was reserved for."""
        cost = self.limits.cost(notional)
        return replace(self, free=self.free - cost, free_with_unsettled=self.free_with_unsettled - cost)


def view_of(
    ledger: SettlementLedger,
    limits: SettlementLimits,
    today: date,
    *,
    open_buys: Iterable[Decimal] = (),
    settled_at_broker: Decimal | None = None,
) -> SettlementView:
    """What is free now. `open_buys` are the worths of what may still be filled of working buys.

    The broker's own figure (None: it gives none) is the source of truth, and ours only tightens it: a broker's can
    be optimistic.
    """
    ledger = settle(ledger, today)
    reserved = sum((limits.cost(notional) for notional in open_buys), ZERO)
    settled = ledger.settled if settled_at_broker is None else min(ledger.settled, settled_at_broker)
    waiting = [tranche.settles_on for tranche in ledger.unsettled]
    return SettlementView(
        limits=limits,
        free=settled - reserved,
        free_with_unsettled=settled + sum((each.amount for each in ledger.unsettled), ZERO) - reserved,
        settled_only_until=settled_only_until(ledger, limits, today),
        next_settlement=min(waiting) + timedelta(days=1) if waiting else None,
    )


def summary(ledger: SettlementLedger, today: date) -> str:
    """The counters as one clause for people."""
    ledger = settle(ledger, today)
    waiting = sum((tranche.amount for tranche in ledger.unsettled), ZERO)
    return (
        f"settled {cents(ledger.settled)}, unsettled {cents(waiting)}, "
        f"{count_violations(ledger, ViolationKind.GOOD_FAITH, today)} good-faith and "
        f"{count_violations(ledger, ViolationKind.FREE_RIDING, today)} free-riding violations in 12 months"
    )
