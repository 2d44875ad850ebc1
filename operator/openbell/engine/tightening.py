"""What strategies say of the exits of their own positions: leave, or tighten the stop. Never to loosen one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from openbell.domain.money import price
from openbell.domain.positions import ExitPolicy, Position
from openbell.engine.exits import levels
from openbell.strategies.api import HeldPosition


@dataclass(frozen=True, slots=True)
class Tightening:
    """A stop price that a strategy asks for, for its position in a symbol."""

    strategy: str
    symbol: str
    stop: float
    reason: str = ""


Holdings: TypeAlias = Mapping[tuple[str, str], HeldPosition]


def holdings(positions: Iterable[Position]) -> Holdings:
    """What strategies see of their positions, by strategy and symbol."""
    return {(each.strategy, each.symbol): seen(each) for each in positions if each.is_open}


def seen(position: Position) -> HeldPosition:
    """What a strategy sees of its position."""
    stop = levels(position).stop
    return HeldPosition(
        position.quantity,
        float(position.average_price),
        position.opened_at,
        None if stop is None else float(stop),
    )


def tightened(positions: Iterable[Position], asked: Iterable[Tightening]) -> Iterator[Position]:
    """The positions whose stop moves, with it; one that would be loosened stays as it is."""
    stops = {(each.strategy, each.symbol): each.stop for each in asked}
    for position in positions:
        stop = stops.get((position.strategy, position.symbol))
        if stop is None or not position.is_open:
            continue
        wanted = price(stop)
        now = levels(position).stop
        if now is None or (wanted > now if position.is_long else wanted < now):
            yield replace(position, policy=replace(position.policy, stop_price=wanted))


def renewed(position: Position, policy: ExitPolicy) -> ExitPolicy:
    """A strategy's newest policy for an open position, which keeps the stop that was tightened."""
    return replace(policy, stop_price=position.policy.stop_price)
