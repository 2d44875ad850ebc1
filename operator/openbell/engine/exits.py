"""When a position is left. Pure: one look at one price and one clock reading.

Precedence, first that holds: stop loss, trailing stop, target, holding time, close of the session, the strategy's
own signal. The protective rules come first, so that the reason tells the worst that is true; a price that reaches
stop and target between two looks counts as the stop (see `levels`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from openbell.domain import money
from openbell.domain.bars import Quote
from openbell.domain.money import ZERO
from openbell.domain.orders import Side
from openbell.domain.positions import Position
from openbell.domain.reasons import ExitReason
from openbell.domain.signals import Action, Signal


@dataclass(frozen=True, slots=True)
class Exit:
    """Leave: the whole lot, at once. `best_price` is the ratcheted one, to be kept."""

    reason: ExitReason
    side: Side
    quantity: Decimal
    detail: str
    best_price: Decimal


@dataclass(frozen=True, slots=True)
class Hold:
    """Stay. `best_price` is the ratcheted one, to be kept."""

    best_price: Decimal


class Levels(NamedTuple):
    """Prices at which a position would be left now; None where the policy has no such rule."""

    stop: Decimal | None
    target: Decimal | None


Price: TypeAlias = Decimal | Quote | None

_NO_PRICE = 1e15  # what lies beyond (or is no number) is a fault of the source, not a price


def decide_exit(
    position: Position,
    price: Price,
    now: datetime,
    session_close: datetime | None = None,
    exit_signal: Signal | None = None,
) -> Exit | Hold:
    """Whether to leave `position` now.

    A quote counts with the side that an exit would trade at (bid for a long lot, ask for a short one). Without a
    usable price (None, not finite, not positive) the price rules wait, the others go on. `session_close` is the
    end of the running session, None outside of one or where the market never closes.
    """
    if not position.is_open:
        return Hold(position.best_price)
    is_long = position.quantity > 0
    at = _usable(price, is_long)
    best = position.best_price if at is None else ratchet(position, at)
    found = _by_price(position, at, best) if at is not None else None
    found = found or _by_time(position, now, session_close) or _by_signal(position, now, exit_signal)
    if found is None:
        return Hold(best)
    reason, detail = found
    return Exit(reason, Side.SELL if is_long else Side.BUY, abs(position.quantity), detail, best)


def ratchet(position: Position, price: Decimal) -> Decimal:
    """The best price so far: it never moves against the position."""
    return max(position.best_price, price) if position.quantity > 0 else min(position.best_price, price)


def levels(position: Position) -> Levels:
    """Stop (the nearer of stop loss and trailing stop) and target as prices, from the position's best price."""
    stops = [level for level in (_stop(position), _trail(position, position.best_price)) if level is not None]
    nearer = (max if position.quantity > 0 else min)(stops) if stops else None
    return Levels(nearer, _target(position))


def stop_reason(position: Position) -> ExitReason:
    """Which rule the stop of `levels` comes from; the stop loss where both say the same."""
    fixed = _stop(position)
    return ExitReason.STOP_LOSS if fixed is not None and levels(position).stop == fixed else ExitReason.TRAILING_STOP


def exit_quantity(position: Position, broker_quantity: Decimal | None, in_flight: Decimal = ZERO) -> Decimal:
    """Shares that an exit may still be for: never more than we hold, than the broker holds, or less than 0.

    `broker_quantity` is signed, None where the broker's word is unknown (then ours counts); `in_flight` is the
    open quantity of this position's exits that are already at the broker.
    """
    direction = 1 if position.quantity > 0 else -1
    held = abs(position.quantity)
    if broker_quantity is not None:
        held = min(held, broker_quantity * direction)
    return max(ZERO, held - in_flight)


def is_exit(signal: Signal, quantity: Decimal) -> bool:
    """Whether a signal would only reduce a lot of `quantity` (signed): Close, or the opposite side of what is held."""
    if quantity == 0:
        return False
    return signal.action is Action.CLOSE or signal.action is (Action.SELL if quantity > 0 else Action.BUY)


def _by_price(position: Position, at: Decimal, best: Decimal) -> tuple[ExitReason, str] | None:
    is_long = position.quantity > 0
    stop, trail, target = _stop(position), _trail(position, best), _target(position)
    if stop is not None and _reached(at, stop, falling=is_long):
        return ExitReason.STOP_LOSS, f"price {at} reached the stop {money.text(stop)}"
    if trail is not None and _reached(at, trail, falling=is_long):
        return ExitReason.TRAILING_STOP, f"price {at} reached the trailing stop {money.text(trail)}"
    if target is not None and _reached(at, target, falling=not is_long):
        return ExitReason.TAKE_PROFIT, f"price {at} reached the target {money.text(target)}"
    return None


def _by_time(position: Position, now: datetime, session_close: datetime | None) -> tuple[ExitReason, str] | None:
    policy = position.policy
    if policy.max_holding_seconds > 0 and now - position.opened_at >= timedelta(seconds=policy.max_holding_seconds):
        return ExitReason.MAX_HOLDING, f"held for {policy.max_holding_seconds} s"
    if policy.flat_before_close_seconds > 0 and session_close is not None:
        flat_from = session_close - timedelta(seconds=policy.flat_before_close_seconds)
        if now >= flat_from:
            return ExitReason.SESSION_CLOSE, f"{policy.flat_before_close_seconds} s before the session's close"
    return None


def _by_signal(position: Position, now: datetime, signal: Signal | None) -> tuple[ExitReason, str] | None:
    if signal is None or (signal.strategy, signal.symbol) != (position.strategy, position.symbol):
        return None
    if now >= signal.valid_until or not is_exit(signal, position.quantity):
        return None
    return ExitReason.SIGNAL, signal.reason


def _usable(price: Price, is_long: bool) -> Decimal | None:
    if isinstance(price, Quote):
        side = price.bid if is_long else price.ask
        price = money.price(side) if 0 < side < _NO_PRICE else None
    return price if price is not None and price.is_finite() and price > 0 else None


def _reached(at: Decimal, level: Decimal, *, falling: bool) -> bool:
    return at <= level if falling else at >= level


def _moved(position: Position, base: Decimal, ratio: float, *, favourable: bool) -> Decimal:
    up = favourable == (position.quantity > 0)
    return base * (1 + (1 if up else -1) * Decimal(repr(ratio)))


def _stop(position: Position) -> Decimal | None:
    ratio = position.policy.stop_loss
    return None if ratio is None else _moved(position, position.average_price, ratio, favourable=False)


def _target(position: Position) -> Decimal | None:
    ratio = position.policy.take_profit
    return None if ratio is None else _moved(position, position.average_price, ratio, favourable=True)


def _trail(position: Position, best: Decimal) -> Decimal | None:
    """Where the trailing stop hangs, or None until the profit once reached its activation."""
    trailing = position.policy.trailing
    if trailing is None:
        return None
    active_from = _moved(position, position.average_price, trailing.activation, favourable=True)
    if not _reached(best, active_from, falling=position.quantity < 0):
        return None
    return _moved(position, best, trailing.distance, favourable=False)
