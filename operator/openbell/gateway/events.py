"""What happened at the exchange, for sessions to tell their clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from openbell.gateway.orders import Execution, Order


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """An order as it is now: told as an openOrder with its orderStatus."""

    order: Order


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """The status of an order alone, as for a cancellation."""

    order: Order


@dataclass(frozen=True, slots=True)
class Tried:
    """What an order would do to the account (whatIf)."""

    order: Order
    margin: dict[str, str]


@dataclass(frozen=True, slots=True)
class Executed:
    execution: Execution


@dataclass(frozen=True, slots=True)
class Charged:
    """The commission of an execution."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class Notice:
    """An error message for one client; `request_id` is an order's or a request's."""

    client_id: int
    request_id: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Broadcast:
    """An error message without a request, for all clients."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class PositionChanged:
    account: str
    con_id: int


Event: TypeAlias = OrderChanged | StatusChanged | Tried | Executed | Charged | Notice | Broadcast | PositionChanged
