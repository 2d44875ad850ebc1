"""The bodies' base: made from a view's values. Money is a decimal string, times ISO 8601 in UTC."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from openbell.domain.money import text
from openbell.domain.state import TradingState

Money = Annotated[
    Decimal,
    PlainSerializer(text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}, mode="serialization"),
]


State = Annotated[
    Literal["running", "paused", "stopped"], Field(description="Derived for people from `enabled` and `paused`.")
]


class Body(BaseModel):
    """Base of the API's bodies: made from attributes of a view, never changed afterwards."""

    model_config = ConfigDict(from_attributes=True, frozen=True, ser_json_timedelta="float")


class ErrorBody(Body):
    """What went wrong, in one sentence that names the field, the value and what is allowed."""

    status: Literal["error"] = "error"
    message: str


class Answer(Body):
    """Every good answer says so."""

    status: Literal["success"] = "success"


def state_text(state: TradingState) -> State:
    """The state as REST spells it."""
    texts: dict[TradingState, State] = {
        TradingState.RUNNING: "running",
        TradingState.PAUSED: "paused",
        TradingState.STOPPED: "stopped",
    }
    return texts[state]
