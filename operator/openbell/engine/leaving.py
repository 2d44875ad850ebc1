"""One look at a monitored position: whether it is left now, and by which order. Pure; live and replay call the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

from openbell.domain.money import price
from openbell.domain.orders import Intent, Side
from openbell.domain.reasons import ExitReason
from openbell.engine.cycle import exit_intent
from openbell.engine.exits import Exit, Hold, decide_exit, exit_quantity
from openbell.engine.recorded import ExitRecord


@dataclass(frozen=True, slots=True)
class Leaving:
    """What was found, and the order that it comes to: None for a Hold, or where the broker holds none of it."""

    found: Exit | Hold
    intent: Intent | None = None


def decide_leaving(look: ExitRecord) -> Leaving:
    """Decide from everything that an exit depends on. Flattening leaves whatever the rules would hold."""
    position = look.position
    found = decide_exit(position, look.quote, look.now, look.session_close)
    if look.flattening and isinstance(found, Hold):
        side = Side.SELL if position.quantity > 0 else Side.BUY
        found = Exit(ExitReason.FLATTEN, side, abs(position.quantity), "stopping", found.best_price)
    if not isinstance(found, Exit):
        return Leaving(found)
    quantity = exit_quantity(position, look.held)
    if quantity <= 0:
        return Leaving(found)
    at_price = price(look.quote.price) if look.quote is not None else position.best_price
    intent = exit_intent(
        position, replace(found, quantity=quantity), owner=look.owner, epoch=look.epoch, now=look.now, price=at_price
    )
    return Leaving(found, intent)
