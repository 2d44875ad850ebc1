"""When a position is left. Pure: one look at one price and one clock reading.

Precedence, first that holds: stop loss, trailing stop, target, holding time, close of the session, the strategy's
own signal, and last what leaves a part only. The protective rules come first, so that the reason tells the worst that
is true; a price that reaches stop and target between two looks counts as the stop (see `levels`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple, TypeAlias

from openbell.domain import money
from openbell.domain.bars import Quote
from openbell.domain.identity import Leg
from openbell.domain.money import PRICE_STEP, ZERO
from openbell.domain.orders import Side
from openbell.domain.positions import ExitPolicy, Position, ScaleOut
from openbell.domain.reasons import ExitReason
from openbell.domain.records import quick
from openbell.domain.signals import Action, Signal


@quick
@dataclass(frozen=True, slots=True)
class Exit:
    """Leave: the whole lot, or with PARTIAL_TARGET a part. `best_price` is the ratcheted one, to be kept."""

    reason: ExitReason
    side: Side
    quantity: Decimal
    detail: str
    best_price: Decimal


@quick
@dataclass(frozen=True, slots=True)
class Hold:
    """Stay. `best_price` is the ratcheted one, to be kept."""

    best_price: Decimal


class Levels(NamedTuple):
    """Prices at which a position would be left now; None where the policy has no such rule."""

    stop: Decimal | None
    target: Decimal | None


Price: TypeAlias = Decimal | Quote | None

_NO_PRICE = 1e15  # what lies there or beyond (or is no number) is a fault of the source, not a price


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
    is_long = position.is_long
    at = _usable(price, is_long)
    best = position.best_price if at is None else ratchet(position, at)
    side = Side.SELL if is_long else Side.BUY
    found = _by_price(position, at, best) if at is not None else None
    found = found or _by_time(position, now, session_close) or _by_signal(position, now, exit_signal)
    if found is not None:
        reason, detail = found
        return Exit(reason, side, abs(position.quantity), detail, best)
    part = _by_rung(position, at) if at is not None else None
    if part is None:
        return Hold(best)
    quantity, detail = part
    return Exit(ExitReason.PARTIAL_TARGET, side, quantity, detail, best)


def ratchet(position: Position, price: Decimal) -> Decimal:
    """The best price so far: it never moves against the position."""
    return max(position.best_price, price) if position.is_long else min(position.best_price, price)


def levels(position: Position) -> Levels:
    """Stop (the nearer of stop loss and trailing stop) and target as prices, from the position's best price."""
    stops = [level for level in (_stop(position), _trail(position, position.best_price)) if level is not None]
    nearer = (max if position.is_long else min)(stops) if stops else None
    return Levels(nearer, _target(position))


def remainders(position: Position) -> tuple[Decimal, ...]:
    """What is left of the lot after each rung of `scale_out`: from what was opened, in whole shares.

    A lot that holds no more than a rung's remainder has had that rung, whatever left it and however often.
    """
    return tuple(left for _, left in _rungs(position))


def next_rung(position: Position) -> Decimal | None:
    """The price at which the next part of the lot is left; None where nothing is left in parts any more."""
    for rung, left in _rungs(position):
        if abs(position.quantity) > left:
            return _moved(position, position.average_price, rung.profit, favourable=True)
    return None


def protective_prices(position: Position) -> dict[Leg, Decimal]:
    """Prices of the orders that protect the lot at the broker, none of them before the exact rule is reached."""
    stop, target = levels(position)
    found = {
        Leg.STOP: stepped(stop, down=position.is_long) if stop is not None else ZERO,
        Leg.TARGET: stepped(target, down=not position.is_long) if target is not None else ZERO,
    }
    return {leg: price for leg, price in found.items() if price > 0}


def stepped(level: Decimal, *, down: bool) -> Decimal:
    """A level as a price that can be ordered."""
    return level.quantize(PRICE_STEP, ROUND_FLOOR if down else ROUND_CEILING)


def protective_reason(position: Position, leg_price: Decimal | None, leg: Leg) -> ExitReason:
    """Why a lot was left by a protective order that had this price."""
    if leg is Leg.TARGET:
        return ExitReason.TAKE_PROFIT
    fixed = _stop(position)
    is_long = position.is_long
    if fixed is None:
        return ExitReason.TRAILING_STOP
    if leg_price is None or position.policy.trailing is None:
        return ExitReason.STOP_LOSS
    beyond = leg_price - stepped(fixed, down=is_long)
    return ExitReason.TRAILING_STOP if (beyond > 0 if is_long else beyond < 0) else ExitReason.STOP_LOSS


URGENT = frozenset({ExitReason.STOP_LOSS, ExitReason.TRAILING_STOP, ExitReason.FLATTEN, ExitReason.MANUAL})
CLOSE_MARGIN_SECONDS = 30
"""So long before the session's close no exit waits as a limit order any more: what is left must still be sold."""


def is_urgent(policy: ExitPolicy, reason: ExitReason, now: datetime, session_close: datetime | None) -> bool:
    """Whether an exit goes to the market at once, and ends a limit order that tries it more gently."""
    if policy.escalation is None or policy.escalation.limit_seconds <= 0 or reason in URGENT:
        return True
    wait = timedelta(seconds=policy.escalation.limit_seconds + CLOSE_MARGIN_SECONDS)
    return session_close is not None and now + wait >= session_close


def touch(position: Position, quote: Quote | None) -> Decimal | None:
    """The price of an exit's limit order: the touch, or so far through it as the policy says. None without one."""
    is_long = position.is_long
    at = _usable(quote, is_long)
    escalation = position.policy.escalation
    if at is None or escalation is None:
        return None
    offset = Decimal(repr(escalation.limit_offset_bps)) / 10_000
    limit = stepped(at * (1 - offset if is_long else 1 + offset), down=is_long)
    return limit if limit > 0 else None


def stop_reason(position: Position) -> ExitReason:
    """Which rule the stop of `levels` comes from; the stop loss where both say the same."""
    fixed = _stop(position)
    return ExitReason.STOP_LOSS if fixed is not None and levels(position).stop == fixed else ExitReason.TRAILING_STOP


def exit_quantity(position: Position, broker_quantity: Decimal | None, in_flight: Decimal = ZERO) -> Decimal:
    """Shares that an exit may still be for: never more than we hold, than the broker holds, or less than 0.

    `broker_quantity` is signed, None where the broker's word is unknown (then ours counts); `in_flight` is the
    open quantity of this position's exits that are already at the broker.
    """
    direction = 1 if position.is_long else -1
    held = abs(position.quantity)
    if broker_quantity is not None:
        held = min(held, broker_quantity * direction)
    return max(ZERO, held - in_flight)


def shares_at_broker(
    lots: Iterable[Position], held: Mapping[str, Decimal], leaving: Collection[str]
) -> Mapping[str, Decimal]:
    """What the broker holds (signed, by symbol) shared out among the open lots, by position id.

    Each gets its own where there is enough. Where there is less, lots that are being left come first, because their
    exits are at the broker already, then the older ones: two lots of a symbol never sell the same shares.
    """
    shares: dict[str, Decimal] = {}
    rest = dict(held)
    for lot in sorted(lots, key=lambda each: (each.position_id not in leaving, each.opened_at, each.position_id)):
        direction = 1 if lot.is_long else -1
        share = max(ZERO, min(abs(lot.quantity), rest.get(lot.symbol, ZERO) * direction)) * direction
        shares[lot.position_id] = share
        rest[lot.symbol] = rest.get(lot.symbol, ZERO) - share
    return shares


def is_exit(signal: Signal, quantity: Decimal) -> bool:
    """Whether a signal would only reduce a lot of `quantity` (signed): Close, or the opposite side of what is held."""
    if quantity == 0:
        return False
    return signal.action is Action.CLOSE or signal.action is (Action.SELL if quantity > 0 else Action.BUY)


def _by_price(position: Position, at: Decimal, best: Decimal) -> tuple[ExitReason, str] | None:
    is_long = position.is_long
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


def _by_rung(position: Position, at: Decimal) -> tuple[Decimal, str] | None:
    """The furthest rung that the price has reached and that the lot has not had: how much to leave for it."""
    is_long = position.is_long
    held = abs(position.quantity)
    for rung, left in reversed(_rungs(position)):
        level = _moved(position, position.average_price, rung.profit, favourable=True)
        if held > left and _reached(at, level, falling=not is_long):
            return held - left, f"price {at} reached the partial target {money.text(level)}"
    return None


def _rungs(position: Position) -> tuple[tuple[ScaleOut, Decimal], ...]:
    opened = max(position.opened_quantity, abs(position.quantity))
    left = opened
    found: list[tuple[ScaleOut, Decimal]] = []
    for rung in position.policy.scale_out:
        left -= money.whole_units(opened * Decimal(repr(rung.fraction)))
        found.append((rung, left))
    return tuple(found)


def _by_signal(position: Position, now: datetime, signal: Signal | None) -> tuple[ExitReason, str] | None:
    if signal is None or (signal.strategy, signal.symbol) != (position.strategy, position.symbol):
        return None
    if now >= signal.valid_until or not is_exit(signal, position.quantity):
        return None
    return ExitReason.SIGNAL, signal.reason


def _usable(price: Price, is_long: bool) -> Decimal | None:
    if isinstance(price, Quote):
        side = price.bid if is_long else price.ask
        price = money.price(side) if abs(side) < _NO_PRICE else None
    return price if price is not None and price.is_finite() and price > 0 else None


def _reached(at: Decimal, level: Decimal, *, falling: bool) -> bool:
    return at <= level if falling else at >= level


def _moved(position: Position, base: Decimal, ratio: float, *, favourable: bool) -> Decimal:
    up = favourable == position.is_long
    return base * (1 + (1 if up else -1) * Decimal(repr(ratio)))


def _stop(position: Position) -> Decimal | None:
    policy = position.policy
    fixed = None
    if policy.stop_loss is not None:
        fixed = _moved(position, position.average_price, policy.stop_loss, favourable=False)
    if policy.stop_price is None or fixed is None:
        return policy.stop_price or fixed
    return max(fixed, policy.stop_price) if position.is_long else min(fixed, policy.stop_price)


def _target(position: Position) -> Decimal | None:
    ratio = position.policy.take_profit
    return None if ratio is None else _moved(position, position.average_price, ratio, favourable=True)


def _trail(position: Position, best: Decimal) -> Decimal | None:
    """Where the trailing stop hangs, or None until the profit once reached its activation."""
    trailing = position.policy.trailing
    if trailing is None:
        return None
    active_from = _moved(position, position.average_price, trailing.activation, favourable=True)
    if not _reached(best, active_from, falling=not position.is_long):
        return None
    return _moved(position, best, trailing.distance, favourable=False)
