"""What kind of account it is: rules for openings from settlement and from day trading."""

from __future__ import annotations

from datetime import UTC, datetime, time

from openbell.domain.limits import AccountKind
from openbell.domain.money import cents
from openbell.domain.orders import Side
from openbell.domain.reasons import Reason
from openbell.risk import day_trading
from openbell.risk.view import Candidate, Deny, RiskLimits, RiskView


def cash_account_short(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """A cash account has nothing to borrow shares against."""
    if candidate.side is Side.SELL and limits.settlement.account is AccountKind.CASH:
        return Deny(Reason.CASH_ACCOUNT_SHORT, f"{candidate.symbol} would be sold short in a cash account")
    return None


def settled_cash(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """A cash account buys with settled, unreserved money, and with unsettled proceeds only where that is allowed."""
    rules, state = limits.settlement, view.settlement
    if rules.account is not AccountKind.CASH or state is None or candidate.side is not Side.BUY:
        return None
    cost = rules.cost(candidate.notional)
    if cost <= state.free:
        return None
    needs = f"the order needs {cents(cost)} with fees, {cents(state.free)} settled is free"
    settles = datetime.combine(state.next_settlement, time(), UTC) if state.next_settlement else None
    if not rules.allow_unsettled_funding:
        return Deny(Reason.SETTLED_CASH, needs, settles)
    if state.settled_only_until is not None:
        detail = f"{needs}; settled money alone counts until {state.settled_only_until}"
        return Deny(Reason.SETTLED_CASH_ONLY, detail, settles)
    if cost > state.free_with_unsettled:
        detail = f"the order needs {cents(cost)} with fees, {cents(state.free_with_unsettled)} is there with unsettled"
        return Deny(Reason.SETTLED_CASH, detail, settles)
    return None


def day_trades(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """The regime of day trading that holds for this account on this day."""
    if limits.settlement.account is AccountKind.CASH or view.day_trading is None:
        return None
    return day_trading.judge(candidate.symbol, candidate.notional, candidate.side, view.day_trading, limits.day_trading)
