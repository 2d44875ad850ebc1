"""What to do next about one lot: its exit, and the orders that protect it at the broker. Pure.

The rule behind all of it: whatever may still be filled, in every case that the broker has left open, never comes to
more than the lot. An exit of the whole lot joins the OCA group of the protective orders, of which at most one is
filled. An exit of a part stands alone, so it waits until the broker has confirmed that the protective orders are for
the rest. What was cancelled counts until the broker has confirmed that too. No time that passes makes any of it true.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from openbell.domain.identity import Leg
from openbell.domain.money import ZERO
from openbell.domain.orders import IntentState, OrderTerms, OrderType
from openbell.domain.policies import encode_policy
from openbell.domain.positions import Position
from openbell.domain.reasons import ExitReason
from openbell.engine.exits import Exit, protective_prices, remainders
from openbell.journal import IntentRecord
from openbell.runner.inflight import InFlight, Standing, could_fill

ANSWER_SECONDS = 5.0  # without an answer for this long, a question may be asked again, and an order is in doubt
REPRICE_SECONDS = 5.0  # a stop follows the price at most so often
ASK_AT_MOST = 3  # a change of terms that was asked for so often in vain gives way to a new order


@dataclass(frozen=True, slots=True)
class Look:
    """What the next steps for a lot depend on besides its orders.

    `due`: the exit that is due, None to stay. `is_urgent`: an exit must not wait at a limit. `is_overdue`: the limit
    order has had its time. `cap`: how many shares protective orders may be for, None while that is not certain.
    `now` is monotonic, in seconds.
    """

    position: Position
    due: Exit | None
    is_urgent: bool
    is_overdue: bool
    cap: Decimal | None
    now: float


@dataclass(frozen=True, slots=True)
class Leave:
    """Send this exit; an exit of the whole lot joins the protective orders' OCA group."""

    exit: Exit


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask for the end of an order."""

    order_ref: str


@dataclass(frozen=True, slots=True)
class Modify:
    """Ask for new terms of a protective order."""

    order_ref: str
    terms: OrderTerms


@dataclass(frozen=True, slots=True)
class Protect:
    """Place a protective order. `group` None: it begins a new OCA group."""

    leg: Leg
    quantity: Decimal
    price: Decimal
    group: str | None


Step: TypeAlias = Leave | Cancel | Modify | Protect


def next_steps(look: Look, standing: Standing) -> tuple[Step, ...]:
    """Everything that is to be done now; what has to be confirmed first is all that is asked for."""
    held = abs(look.position.quantity)
    # One that lost its group's fill to another is cancelled by the broker. Saying so again makes sure of it.
    lost = tuple(leg for leg in standing.legs if leg.intent.oca_group in standing.won and not leg.has_filled)
    steps: tuple[Step, ...] = _cancel(lost)
    if standing.exit is not None:
        return steps + _follow(look, standing, standing.exit, lost)
    winner = standing.winner
    if winner is not None:
        is_slow = winner.leg is Leg.TARGET and look.due is not None
        return steps + (_cancel((winner,)) if is_slow else ())
    if look.due is None:
        return steps + _keep(look, standing, lost, held)
    if look.due.reason is ExitReason.PARTIAL_TARGET:
        rest = held - look.due.quantity
        if could_fill(standing.legs) > rest:
            return steps + _keep(look, standing, lost, rest)
        return (*steps, Leave(look.due))
    if standing.joinable is None:
        return _cancel(standing.legs)
    return (*steps, Leave(look.due))


def carried_on(position: Position, last: IntentRecord | None) -> tuple[ExitReason, Decimal] | None:
    """The exit that a limit order has tried in vain: the same reason at the market, for what is left of it.

    None where the last exit was no limit order, was filled, or never reached the broker.
    """
    if last is None or not was_in_vain(last):
        return None
    reason, held = ExitReason(last.intent.reason), abs(position.quantity)
    if reason is not ExitReason.PARTIAL_TARGET:
        return reason, held
    left = remainders(position)
    part = min(last.intent.quantity - last.filled, held - left[-1] if left else ZERO)
    return (reason, part) if part > 0 else None


def was_in_vain(last: IntentRecord | None) -> bool:
    """Whether the last exit was a limit order that ended before all of it was filled."""
    return (
        last is not None
        and last.intent.order_type is OrderType.LIMIT
        and last.state in {IntentState.CANCELLED, IntentState.REJECTED}
        and last.filled < last.intent.quantity
    )


def _follow(look: Look, standing: Standing, leaving: InFlight, lost: tuple[InFlight, ...]) -> tuple[Step, ...]:
    """An exit is under way: end it where it must not wait any longer, and keep the rest of the lot protected."""
    is_working = leaving.record.state is IntentState.WORKING and leaving.cancel_asked_at is None
    if is_working and leaving.intent.order_type is OrderType.LIMIT and (look.is_urgent or look.is_overdue):
        return _cancel((leaving,))
    if leaving.intent.oca_group or leaving.intent.reason != ExitReason.PARTIAL_TARGET.value:
        return ()
    return _keep(look, standing, lost, abs(look.position.quantity) - leaving.could_fill)


def _keep(look: Look, standing: Standing, lost: tuple[InFlight, ...], most: Decimal) -> tuple[Step, ...]:
    """Bring the protective orders in line with the lot: as many shares, at these prices."""
    if look.cap is None:
        return ()
    policy = look.position.policy
    quantity = min(most, look.cap)
    wanted = protective_prices(look.position) if policy.broker_side and quantity > 0 else {}
    kept: dict[Leg, InFlight] = {}
    surplus: list[InFlight] = list(lost)
    for leg in sorted(standing.legs, key=lambda each: (each.intent.created_at, each.intent.order_ref)):
        others = {other.intent.oca_group for other in kept.values()}
        if leg in lost:
            continue
        if (
            leg.leg in wanted
            and leg.leg not in kept
            and others <= {leg.intent.oca_group}
            and leg.cancel_asked_at is None
        ):
            kept[leg.leg] = leg
        else:
            surplus.append(leg)
    steps = list(_cancel(surplus))
    for which, price in wanted.items():
        if which in kept:
            steps += _adjust(look, kept[which], quantity, price)
        elif not surplus and not standing.is_refused:
            group = next((leg.intent.oca_group for leg in kept.values()), None)
            steps.append(Protect(which, quantity, price, group))
    return tuple(steps)


def _adjust(look: Look, leg: InFlight, quantity: Decimal, price: Decimal) -> tuple[Step, ...]:
    if leg.record.state is not IntentState.WORKING:
        return ()  # nothing is certain about it yet
    intent, position = leg.intent, look.position
    if leg.leg is Leg.STOP:
        is_same_rule = (intent.exits, intent.reference_price) == (
            encode_policy(position.policy),
            position.average_price,
        )
        if is_same_rule and intent.stop_price is not None:
            price = (max if position.quantity > 0 else min)(price, intent.stop_price)  # never back
        terms = OrderTerms(quantity, stop_price=price)
    else:
        terms = OrderTerms(quantity, limit_price=price)
    if leg.asked is not None:
        # Only the very same terms are asked for again: with others under way too, the broker's word on one of them
        # would not tell which is in force.
        if look.now - leg.asked_at < ANSWER_SECONDS:
            return ()
        return (Modify(intent.order_ref, leg.asked),) if leg.times_asked < ASK_AT_MOST else _cancel((leg,))
    if intent.terms == terms:
        return ()
    is_price_alone = intent.quantity == quantity
    if is_price_alone and leg.leg is Leg.STOP and look.now - leg.asked_at < REPRICE_SECONDS:
        return ()
    return (Modify(intent.order_ref, terms),)


def _cancel(orders: tuple[InFlight, ...] | list[InFlight]) -> tuple[Step, ...]:
    return tuple(Cancel(flying.intent.order_ref) for flying in orders)
