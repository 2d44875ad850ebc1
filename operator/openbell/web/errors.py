"""Every error as `{"status": "error", "message": one sentence}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from openbell.domain.errors import ClusterError, ManifestError, NotAllowedError, OpenbellError
from openbell.web.auth import ForbiddenError, UnauthorizedError
from openbell.web.schemas.base import ErrorBody


class NotThereError(OpenbellError):
    """What was asked for is not there in this kind of runner. Answered with 404."""


_PASSED_ON = frozenset({403, 404, 409})
NOT_JSON = "The body is not valid JSON."
_SHOWN_LENGTH = 80
_PLACES = frozenset({"body", "query", "path", "header"})


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error in our shape."""
    return JSONResponse(ErrorBody(message=message).model_dump(), status, dict(headers) if headers else None)


def describe(errors: Sequence[Any]) -> str:
    """Validation errors of pydantic as one sentence about the first, and how many more there are."""
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"] if part not in _PLACES) or "the body"
    if first["type"] == "json_invalid":
        return NOT_JSON
    message = str(first["msg"]).removeprefix("Value error, ").removesuffix(".")
    more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    if first["type"] == "missing":
        return f"Field {field} is missing and required{more}."
    if first["type"] == "extra_forbidden":
        return f"Field {field} is not one that this call knows{more}."
    shown = repr(first.get("input"))
    if len(shown) > _SHOWN_LENGTH:
        shown = shown[:_SHOWN_LENGTH] + "…"
    return f"Field {field} cannot be {shown}: {message[:1].lower()}{message[1:]}{more}."


def _status_of(error: OpenbellError) -> int:
    if isinstance(error, UnauthorizedError):
        return 401
    if isinstance(error, ForbiddenError):
        return 403
    if isinstance(error, NotThereError):
        return 404
    if isinstance(error, NotAllowedError):
        return 409
    if isinstance(error, ManifestError):
        return 422
    if isinstance(error, ClusterError) and error.status in _PASSED_ON:
        return error.status
    return 503


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class alone
    return error_response(422, describe(error.errors()))


async def _ours(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OpenbellError)  # noqa: S101 - registered for this class alone
    status = _status_of(error)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return error_response(status, str(error), headers)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class alone
    path = request.url.path
    if error.status_code == 400:  # FastAPI's word for a body whose bytes are no text
        return error_response(422, NOT_JSON)
    if error.status_code == 404:
        message = f"Path {path!r} is not one of this API; see /openapi.json."
    elif error.status_code == 405:
        allowed = _allowed(request, (error.headers or {}).get("Allow", ""))
        message = f"Method {request.method} is not allowed on {path}; allowed is {allowed}."
        return error_response(405, message, {"Allow": allowed})
    else:
        message = str(error.detail or HTTPStatus(error.status_code).phrase)
    return error_response(error.status_code, message, error.headers)


def _allowed(request: Request, told: str) -> str:
    """Every method that the document has for this path: Starlette tells those of the first route alone."""
    operations = request.app.openapi()["paths"].get(request.scope["path"], {})
    return ", ".join(sorted({method.upper() for method in operations} | {each.strip() for each in told.split(",")}))


async def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
    # The server logs the traceback; a stranger gets no inside view.
    return error_response(500, "The server failed to answer this; its log says why.")


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(OpenbellError, _ours)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)
