"""What fills make of positions: pure booking at average cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from openbell.domain.money import ZERO, cents
from openbell.domain.orders import Fill, Intent, IntentKind
from openbell.domain.positions import ClosedTrade, ExitPolicy, Position
from openbell.domain.records import quick


@quick
@dataclass(frozen=True, slots=True)
class Booked:
    """A fill's effect: the position after it, the round trip where it closed one, and the profit that it realised.

    `realized` is before fees.
    """

    position: Position
    closed: ClosedTrade | None
    realized: Decimal


def book(position: Position | None, intent: Intent, fill: Fill, policy: ExitPolicy) -> Booked:
    """Book one fill of `intent` on its position.

    An entry's fill opens or increases at average cost; an exit's fill reduces and realises profit. An exit that
    fills more than is held (which the exit rules exclude) turns the position round rather than hide the shares.
    An entry that goes on filling after its position was left begins a new round trip, whose exits have new numbers.
    """
    signed = fill.quantity * fill.side.sign
    if position is None or (intent.kind is IntentKind.ENTRY and not position.is_open):
        position = Position(
            position_id=intent.position_id,
            strategy=intent.strategy,
            symbol=fill.symbol,
            quantity=ZERO,
            average_price=ZERO,
            opened_at=fill.time,
            policy=policy,
            best_price=fill.price,
            exit_sequence=position.exit_sequence if position else 0,
            protection_revision=position.protection_revision if position else 0,
        )
    # By direction, not by kind: after an exit that filled too much, an entry of the same trade is what closes it.
    if position.quantity * signed > 0 or (intent.kind is IntentKind.ENTRY and not position.is_open):
        return Booked(_increase(position, signed, fill), None, ZERO)
    reduced = _reduce(position, signed, fill)
    closed = _round_trip(reduced, intent, fill) if not reduced.is_open else None
    return Booked(reduced, closed, reduced.realized_pnl - position.realized_pnl)


def _increase(position: Position, signed: Decimal, fill: Fill) -> Position:
    quantity = position.quantity + signed
    notional = position.average_price * abs(position.quantity) + fill.price * fill.quantity
    return replace(
        position,
        quantity=quantity,
        average_price=notional / abs(quantity),
        fees=position.fees + fill.commission,
        opened_quantity=position.opened_quantity + fill.quantity,
        opened_notional=position.opened_notional + fill.price * fill.quantity,
    )


def _reduce(position: Position, signed: Decimal, fill: Fill) -> Position:
    closing = min(fill.quantity, abs(position.quantity)) if position.quantity * signed < 0 else ZERO
    beyond = fill.quantity - closing
    direction = 1 if position.quantity > 0 else -1
    return replace(
        position,
        quantity=position.quantity + signed,
        average_price=fill.price if beyond else position.average_price,
        best_price=fill.price if beyond else position.best_price,
        realized_pnl=position.realized_pnl + (fill.price - position.average_price) * closing * direction,
        fees=position.fees + fill.commission,
        opened_quantity=position.opened_quantity + beyond,
        opened_notional=position.opened_notional + fill.price * beyond,
        closed_notional=position.closed_notional + fill.price * closing,
    )


def _round_trip(position: Position, intent: Intent, fill: Fill) -> ClosedTrade:
    opened = position.opened_quantity
    sign = -1 if fill.side.sign > 0 else 1
    return ClosedTrade(
        position_id=position.position_id,
        strategy=position.strategy,
        symbol=position.symbol,
        quantity=opened * sign,
        entry_time=position.opened_at,
        entry_price=position.opened_notional / opened,
        exit_time=fill.time,
        exit_price=position.closed_notional / opened,
        exit_reason=intent.reason,
        pnl=cents(position.realized_pnl - position.fees),
        fees=position.fees,
    )


def split(position: Position, ratio: Decimal) -> Position:
    """The same position after a stock split of `ratio` new shares for one old: value unchanged."""
    policy = position.policy
    return replace(
        position,
        policy=policy if policy.stop_price is None else replace(policy, stop_price=policy.stop_price / ratio),
        quantity=position.quantity * ratio,
        average_price=position.average_price / ratio,
        best_price=position.best_price / ratio,
        opened_quantity=position.opened_quantity * ratio,
    )


def held(positions: Iterable[Position]) -> dict[str, Decimal]:
    """Signed quantity by symbol over all open lots: what the broker ought to hold for us."""
    total: dict[str, Decimal] = {}
    for position in positions:
        if position.is_open:
            total[position.symbol] = total.get(position.symbol, ZERO) + position.quantity
    return {symbol: quantity for symbol, quantity in total.items() if quantity}
