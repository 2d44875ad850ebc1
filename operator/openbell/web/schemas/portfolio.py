"""What is held, and the money: positions, lots, profit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from openbell.web.schemas.base import Answer, Body, Money
from openbell.web.values import (
    LotView,
    PositionView,
)


class PositionClosing(Answer):
    """A position that is being closed."""

    position_id: str
    message: str = Field(description="What happens now, in one sentence.")


class Position(Body):
    """One open lot; quantity is signed, prices in the account's currency."""

    position_id: str
    strategy: str
    symbol: str
    quantity: Money
    average_price: Money
    opened_at: datetime
    price: Money | None
    stop: Money | None
    target: Money | None
    unrealized_pnl: Money | None
    is_exiting: bool
    is_protected: bool = Field(
        description="Whether a stop for it rests at the broker, by the broker's word; it works without the runner."
    )
    broker_side: bool = Field(description="Whether one is wanted there, by `exits.brokerSide`.")


class Lot(Body):
    """Shares bought, or sold short where the quantity is negative, at one price and time."""

    quantity: Money
    price: Money
    opened_at: datetime


LOTS_SHOWN = 100


class HeldPosition(Position):
    """An open position and its lots by FIFO."""

    lots: list[Lot] | None = Field(
        description=f"At most {LOTS_SHOWN}, the oldest first; null while the journal does not say."
    )


class MoneyAnswer(Answer):
    """Money now, profit since the first start and since the trading day began, at average cost and by FIFO.

    What was realised is after all fees; what is unrealised is at the last prices. null = not known.
    """

    time: datetime
    currency: str
    equity: Money | None
    cash: Money | None
    buying_power: Money | None
    pnl_day: Money | None = Field(description="Change of the equity since the trading day began.")
    pnl_total: Money = Field(description="Realised and unrealised, the same by either way of counting.")
    fees_total: Money
    realized_today: Money | None
    realized_today_fifo: Money | None
    realized_total: Money
    realized_total_fifo: Money | None
    unrealized: Money
    unrealized_fifo: Money | None


class Portfolio(Body):
    """Money and open lots at one time; null = not known."""

    time: datetime
    currency: str
    equity: Money | None
    cash: Money | None
    buying_power: Money | None
    pnl_day: Money | None
    pnl_total: Money | None
    positions: list[Position]


class EquityPointBody(Body):
    """One point of the equity line."""

    time: datetime
    equity: Money


class PositionList(Answer):
    positions: list[HeldPosition]


def held_position(view: PositionView, lots: Sequence[LotView] | None) -> HeldPosition:
    """One position with its lots, where they are known."""
    shown = None if lots is None else [Lot.model_validate(lot) for lot in lots[:LOTS_SHOWN]]
    return HeldPosition(**Position.model_validate(view).model_dump(), lots=shown)
