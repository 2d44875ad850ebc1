"""How much may be open at once, and how large one order may be."""

from __future__ import annotations

from decimal import Decimal

from openbell.domain.money import ZERO, cents
from openbell.domain.reasons import Reason
from openbell.risk.view import Candidate, Deny, RiskLimits, RiskView


def concurrent_trades(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """Open positions and working entries, each trade once."""
    trades = _trades(view)
    if trades >= limits.max_concurrent_trades:
        return Deny(Reason.MAX_CONCURRENT_TRADES, f"{trades} trades are open, at most {limits.max_concurrent_trades}")
    return None


def strategy_trades(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """The same for the strategy alone, where it has a limit of its own."""
    limit = limits.strategy_max_trades.get(candidate.strategy)
    if limit is None:
        return None
    trades = _trades(view, candidate.strategy)
    if trades >= limit:
        return Deny(Reason.STRATEGY_MAX_TRADES, f"{candidate.strategy} has {trades} trades open, at most {limit}")
    return None


def size(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """An order is for something, at a price."""
    if candidate.quantity <= 0 or candidate.price <= 0:
        return Deny(Reason.SIZE_ZERO, f"quantity {candidate.quantity} at price {candidate.price}")
    return None


def order_notional(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """Quantity × price of one order."""
    if candidate.notional > limits.max_order_notional:
        return Deny(
            Reason.MAX_ORDER_NOTIONAL,
            f"the order is for {cents(candidate.notional)}, at most {cents(limits.max_order_notional)}",
        )
    return None


def buying_power(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """What the account can still pay for, less what earlier entries of this tick will need."""
    left = view.buying_power - view.reserved
    if candidate.notional > left:
        return Deny(Reason.BUYING_POWER, f"the order needs {cents(candidate.notional)}, {cents(left)} is left")
    return None


def symbol_exposure(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """What is held and ordered of one symbol by all strategies, with this order, against equity."""
    if limits.max_symbol_exposure is None:
        return None
    worth = exposure_of(view, candidate.symbol) + candidate.notional
    allowed = view.equity * Decimal(repr(limits.max_symbol_exposure))
    if worth > allowed:
        detail = f"{candidate.symbol} would come to {cents(worth)}, at most {cents(allowed)}"
        return Deny(Reason.MAX_SYMBOL_EXPOSURE, detail)
    return None


def gross_exposure(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """The sum of what is held and ordered, long and short added up, with this order, against equity."""
    if limits.max_gross_exposure is None:
        return None
    worth = exposure_of(view) + candidate.notional
    allowed = view.equity * Decimal(repr(limits.max_gross_exposure))
    if worth > allowed:
        return Deny(Reason.MAX_GROSS_EXPOSURE, f"all positions would come to {cents(worth)}, at most {cents(allowed)}")
    return None


def exposure_of(view: RiskView, symbol: str | None = None) -> Decimal:
    """|quantity| × price of the open positions and the worth of the working entries, of one symbol or of all."""
    held = sum(
        (
            abs(position.quantity) * view.prices.get(position.symbol, position.average_price)
            for position in view.positions
            if symbol in {None, position.symbol}
        ),
        ZERO,
    )
    return held + sum((e.notional for e in view.working_entries if symbol in {None, e.symbol}), ZERO)


def _trades(view: RiskView, strategy: str | None = None) -> int:
    """A partly filled entry is a position and a working entry of one id: one trade."""
    open_lots = {p.position_id for p in view.positions if p.is_open and strategy in (None, p.strategy)}
    return len(open_lots | {e.position_id for e in view.working_entries if strategy in (None, e.strategy)})
