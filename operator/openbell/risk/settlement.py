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
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from openbell.domain.money import ZERO
from openbell.domain.orders import Fill, Side

SettlesOn: TypeAlias = Callable[[date], date]
"""The settlement date of a trade date."""


class ViolationKind(StrEnum):
    GOOD_FAITH = "GoodFaith"
    FREE_RIDING = "FreeRiding"


@dataclass(frozen=True, slots=True)
class Tranche:
    """Money that is ours from the day after `settles_on`."""

    amount: Decimal
    settles_on: date


@dataclass(frozen=True, slots=True)
class CashMovement:
    """Money that came (above zero) or went without a fill of ours: a deposit, a fee, somebody's trade by hand.

    `settles_on`: as of a tranche, None where it has settled. The first movement of an account is all that its fills
    since `time` do not explain of its cash.
    """

    time: datetime
    amount: Decimal
    settles_on: date | None = None


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
    """Settled money that came (above zero) or went (below): a withdrawal, proceeds that settled.

    It pays first for what nothing had covered, so that selling that is no free-riding any more.
    """
    left = max(amount, ZERO)
    lots: list[CashLot] = []
    for lot in ledger.lots:
        paid = min(lot.unfunded, left)
        left -= paid
        lots.append(replace(lot, unfunded=lot.unfunded - paid, settled=lot.settled + paid) if paid else lot)
    return replace(ledger, settled=ledger.settled + amount, lots=tuple(lots))


def moved(ledger: SettlementLedger, movement: CashMovement) -> SettlementLedger:
    """Book money that came or went without a fill of ours."""
    if movement.settles_on is None:
        return paid_in(ledger, movement.amount)
    return replace(ledger, unsettled=(*ledger.unsettled, Tranche(movement.amount, movement.settles_on)))


def before(cash: Decimal, fills: Iterable[Fill]) -> Decimal:
    """What an account that has `cash` now had before these fills."""
    return cash - sum(((-fill.side.sign) * fill.quantity * fill.price - fill.commission for fill in fills), ZERO)


def ledger_of(
    movements: Iterable[CashMovement], fills: Iterable[tuple[Fill, date]], settles_on: SettlesOn
) -> SettlementLedger:
    """The ledger of an account, from its fills with their trade dates and from what else has moved its cash.

    Hand over all fills of the last twelve months, for the violations, which is more than any settlement takes.
    """
    events: list[tuple[datetime, CashMovement | tuple[Fill, date]]] = [(each.time, each) for each in movements]
    events += [(fill.time, (fill, day)) for fill, day in fills]
    ledger = SettlementLedger(ZERO)
    for _, event in sorted(events, key=lambda each: each[0]):
        ledger = moved(ledger, event) if isinstance(event, CashMovement) else booked(ledger, *event, settles_on)
    return ledger
