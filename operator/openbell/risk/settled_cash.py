"""What a cash account may buy with, by its ledger: limits, violations that count, money that is free. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from openbell.domain.limits import AccountKind
from openbell.domain.money import ZERO, cents
from openbell.risk.settlement import SettlementLedger, ViolationKind, settle

SETTLED_ONLY_DAYS = 90


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
