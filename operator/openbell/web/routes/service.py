"""What operators of the service look at: logs, probes, metrics."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from openbell.web.deps import NoOther, View, errors
from openbell.web.schemas.service import CheckBody, Health, LogList, log_entry
from openbell.web.values import HealthView

METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class LinesQuery(NoOther):
    """How much of the log to show."""

    lines: Annotated[int, Field(ge=1, le=1000, description="At most so many, the newest.")] = 200


router = APIRouter(tags=["service"])
_PROBE_RESPONSES: dict[int | str, dict[str, Any]] = {
    503: {"model": Health, "description": "A check failed; the message names it."}
}


@router.get("/api/logs", responses=errors(422))
async def logs(view: View, query: Annotated[LinesQuery, Query()]) -> LogList:
    """The newest log events, oldest first."""
    return LogList(logs=[log_entry(each) for each in view.log_tail(query.lines)])


def _probe(health: HealthView) -> Response:
    failed = [check for check in health.checks if not check.ok]
    message = "; ".join(f"{check.name}: {check.detail or 'failed'}" for check in failed) or "every check is good"
    body = Health(
        status="success" if health.ok else "error",
        message=message,
        checks=[CheckBody.model_validate(check) for check in health.checks],
    )
    return JSONResponse(body.model_dump(), 200 if health.ok else 503)


@router.get("/livez", response_model=Health, responses=_PROBE_RESPONSES)
async def livez(view: View) -> Response:
    """Whether this process works; 503 asks for a restart."""
    return _probe(view.liveness())


@router.get("/readyz", response_model=Health, responses=_PROBE_RESPONSES)
async def readyz(view: View) -> Response:
    """Whether the API can serve. Broker and leadership do not matter here: they are conditions."""
    return _probe(view.readiness())


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {METRICS_CONTENT_TYPE: {"schema": {"type": "string"}}}}},
)
async def metrics(view: View) -> Response:
    """The Prometheus text format."""
    return Response(view.metrics(), media_type=METRICS_CONTENT_TYPE)
