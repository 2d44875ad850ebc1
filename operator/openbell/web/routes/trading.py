"""What was decided and what came of it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from openbell.web.auth import require_write
from openbell.web.deps import Limit, View, errors
from openbell.web.errors import NotThereError
from openbell.web.schemas.portfolio import MoneyAnswer, PositionClosing, PositionList, held_position
from openbell.web.schemas.trading import Order, OrderAnswer, OrderList, ReplayAnswer, SignalList, signal_body

router = APIRouter(prefix="/api", tags=["trading"])

OrderRef = Annotated[str, Path(min_length=1, max_length=32, pattern=r"^[a-z0-9.]+$")]


class ResolveOrder(BaseModel):
    """What became of an order in doubt."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [{"as": "lost"}]})

    outcome: Annotated[Literal["sent", "lost"], Field(alias="as")]


PositionId = Annotated[str, Path(min_length=1, max_length=64, description="As `GET /api/positions` names it.")]


@router.get("/positions")
async def positions(view: View) -> PositionList:
    """Open positions with their stops and targets, and the lots that they are made of."""
    lots = await view.lots()
    held = view.portfolio().positions
    return PositionList(positions=[held_position(each, lots.get(each.position_id)) for each in held])


@router.get("/portfolio")
async def portfolio(view: View) -> MoneyAnswer:
    """Cash, fees, and profit at average cost and by FIFO."""
    return MoneyAnswer.model_validate(await view.money())


@router.post(
    "/positions/{position_id}/close",
    status_code=202,
    dependencies=[Depends(require_write)],
    responses=errors(401, 403, 404, 409, 413, 422),
)
async def close_position(view: View, position_id: PositionId) -> PositionClosing:
    """Leave one position at the market, also while paused. Asked for twice, it is left once."""
    closing = view.close_position(position_id)
    if closing is None:
        raise NotThereError(f"Position {position_id!r} is not open; GET /api/positions lists those that are.")
    return PositionClosing(position_id=closing.position_id, message=closing.message)


@router.get("/signals", responses=errors(422))
async def signals(view: View, query: Limit) -> SignalList:
    """The newest signals, each with what was done or why nothing was."""
    return SignalList(signals=[signal_body(each) for each in view.signals(query.limit)])


@router.get("/orders", responses=errors(422, 503))
async def orders(view: View, query: Limit) -> OrderList:
    """The newest orders and their states."""
    return OrderList(orders=[Order.model_validate(each) for each in await view.orders(query.limit)])


@router.post(
    "/orders/{order_ref}/resolve",
    dependencies=[Depends(require_write)],
    responses=errors(401, 403, 404, 409, 413, 422, 503),
)
async def resolve_order(view: View, order_ref: OrderRef, body: ResolveOrder) -> OrderAnswer:
    """Say what became of an order that the broker has no certain word on, and that holds entries for that reason.

    `sent`: it was at the broker and is over, with the fills that are known. `lost`: it never got there.
    """
    resolved = await view.resolve_order(order_ref, was_sent=body.outcome == "sent")
    return OrderAnswer(order=Order.model_validate(resolved))


@router.get("/replay", responses=errors(404))
async def replay(view: View) -> ReplayAnswer:
    """How far the replay is, and the digest of its trades."""
    progress = view.replay()
    if progress is None:
        kind = view.status().market_data
        raise NotThereError(f"This scheduler is no replay: its spec.marketData.type is {kind}, not Replay.")
    return ReplayAnswer.model_validate(progress)
