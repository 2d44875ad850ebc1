"""One look at a monitored position: whether it is left now, and by which order. Pure; live and replay call the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

from openbell.domain.money import price
from openbell.domain.orders import Intent, Side
from openbell.domain.reasons import ExitReason
from openbell.engine.cycle import exit_intent
from openbell.engine.exits import Exit, Hold, decide_exit, exit_quantity, is_urgent, touch
from openbell.engine.recorded import ExitRecord


@dataclass(frozen=True, slots=True)
class Leaving:
    """What was found, and the order that it comes to: None for a Hold, or where the broker holds none of it.

    `is_urgent`: the exit must not wait at a limit.
    """

    found: Exit | Hold
    intent: Intent | None = None
    is_urgent: bool = False


def decide_leaving(look: ExitRecord) -> Leaving:
    """Decide from everything that an exit depends on. Flattening leaves whatever the rules would hold."""
    position = look.position
    found = _due(look, decide_exit(position, look.quote, look.now, look.session_close))
    if not isinstance(found, Exit):
        return Leaving(found)
    urgent = look.flattening or is_urgent(position.policy, found.reason, look.now, look.session_close)
    quantity = min(found.quantity, exit_quantity(position, look.held))
    if quantity <= 0:
        return Leaving(found, is_urgent=urgent)
    at_price = price(look.quote.price) if look.quote is not None else position.best_price
    intent = exit_intent(
        position,
        replace(found, quantity=quantity),
        owner=look.owner,
        epoch=look.epoch,
        now=look.now,
        price=at_price,
        limit=None if urgent or look.in_vain else touch(position, look.quote),
    )
    return Leaving(found, intent, urgent)


def _due(look: ExitRecord, found: Exit | Hold) -> Exit | Hold:
    """The exit that is due, the whole lot before a part of it."""
    if isinstance(found, Exit) and found.reason is not ExitReason.PARTIAL_TARGET:
        return found
    position, best = look.position, found.best_price
    side, whole = (Side.SELL if position.is_long else Side.BUY), abs(position.quantity)
    if look.flattening:
        return Exit(ExitReason.FLATTEN, side, whole, "stopping", best)
    if look.asked is not None:
        return Exit(look.asked, side, whole, "it was asked for", best)
    if look.carried is not None:
        return Exit(look.carried, side, look.carried_quantity, "a limit order was tried in vain", best)
    return found
