"""Whose lots stand in the way: one lot a strategy and symbol, and no two sides of one symbol in one account."""

from __future__ import annotations

from collections.abc import Iterator

from openbell.domain.orders import Side
from openbell.domain.reasons import Reason
from openbell.risk.view import Candidate, Deny, RiskLimits, RiskView


def not_held(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """A sell that opens is short selling."""
    if candidate.side is Side.SELL and not limits.allow_short:
        return Deny(Reason.NOT_HELD, f"{candidate.strategy} holds no {candidate.symbol} to sell")
    return None


def already_held(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """A strategy has one lot of a symbol, open or on its way, and does not add to it."""
    for strategy, side in _lots(candidate.symbol, view):
        if strategy == candidate.strategy and side is candidate.side:
            return Deny(Reason.ALREADY_HELD, f"{strategy} has {candidate.symbol} open or on its way")
    return None


def opposite_position(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """The broker nets an account's positions, so an opening against any lot would close that one instead."""
    for strategy, side in _lots(candidate.symbol, view):
        if side is candidate.side.opposite:
            return Deny(Reason.OPPOSITE_POSITION, f"{strategy} is on the other side of {candidate.symbol}")
    return None


def _lots(symbol: str, view: RiskView) -> Iterator[tuple[str, Side]]:
    for position in view.positions:
        if position.symbol == symbol and position.is_open:
            yield position.strategy, Side.BUY if position.quantity > 0 else Side.SELL
    for entry in view.working_entries:
        if entry.symbol == symbol:
            yield entry.strategy, entry.side
