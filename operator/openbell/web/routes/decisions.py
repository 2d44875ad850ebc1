"""Why something was or was not done."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BeforeValidator, Field

from openbell.engine.trail import DecisionQuery
from openbell.web.deps import LimitQuery, View, errors
from openbell.web.schemas.trading import DecisionList, decision_body

router = APIRouter(prefix="/api", tags=["trading"])

# Without this a number would be taken for seconds since 1970, and a date for its midnight.
RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _written_out(given: object) -> object:
    if isinstance(given, str) and not RFC3339.fullmatch(given):
        raise ValueError("should be a time with its zone, like 2026-03-02T15:00:00Z")
    return given


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
Name = Annotated[str, Field(min_length=1, max_length=64)]


class DecisionsQuery(LimitQuery):
    """Which decisions to list; what is left out is any."""

    strategy: Annotated[Name | None, Field(description="Name of a strategy.")] = None
    symbol: Annotated[Name | None, Field(description="A symbol.")] = None
    reason: Annotated[Name | None, Field(description="A reason, like LOW_CONFIDENCE.")] = None
    order_ref: Annotated[Name | None, Field(description="The reference of an order that was decided.")] = None
    since: Annotated[Moment | None, Field(description="Those that still went on at this time, or later.")] = None


@router.get("/decisions", responses=errors(422, 503))
async def decisions(view: View, query: Annotated[DecisionsQuery, Query()]) -> DecisionList:
    """Why something was or was not done, newest first: ticks in a row with the same reason are one entry."""
    asked = DecisionQuery(query.strategy, query.symbol, query.reason, query.since, query.order_ref, query.limit)
    return DecisionList(decisions=[decision_body(run) for run in await view.decisions(asked)])
