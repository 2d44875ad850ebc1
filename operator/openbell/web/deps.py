"""What routes are given."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import HTTPConnection

from openbell.web.schemas.base import ErrorBody
from openbell.web.view import RunnerView

MAX_WAIT_SECONDS = 60


def runner_view(request: Request) -> RunnerView:
    """The runner that this application shows."""
    return view_of(request)


def view_of(connection: HTTPConnection) -> RunnerView:
    """The same for a request or a WebSocket."""
    view: RunnerView = connection.app.state.view
    return view


View = Annotated[RunnerView, Depends(runner_view)]


class NoOther(BaseModel):
    """Base of query parameters: a misspelt one is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LimitQuery(NoOther):
    """How many to list."""

    limit: Annotated[int, Field(ge=1, le=500, description="At most so many, the newest.")] = 100


Limit = Annotated[LimitQuery, Query()]


class WaitQuery(NoOther):
    """Whether to wait."""

    wait: Annotated[
        float,
        Field(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for the runner's acknowledgement; 0 = do not."),
    ] = 0.0


Wait = Annotated[WaitQuery, Query()]


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of error answers."""
    texts = {
        401: "The token is missing or wrong.",
        403: "Not allowed from here, or to this runner.",
        404: "There is no such thing.",
        409: "It exists already, changed meanwhile, or is held back by a state; the message says which.",
        413: "The body is too large.",
        422: "A field is missing, unknown or out of bounds; the message names it.",
        503: "The journal or the API server cannot be reached.",
    }
    return {status: {"model": ErrorBody, "description": texts[status]} for status in statuses}
