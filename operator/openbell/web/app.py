"""The application: routes over a view of the runner."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fastapi import FastAPI

from openbell import __version__
from openbell.web import errors, middleware, stream
from openbell.web.auth import Guard
from openbell.web.routes import connection, decisions, locks, page, scheduler, service, strategies, trading
from openbell.web.view import RunnerView

DESCRIPTION = (
    "State, decisions and lifecycle of one trading scheduler. Times are ISO 8601 in UTC, money is a decimal string in "
    "the account's currency, null means not known. Every error is `{status: error, message: one sentence}`. Events "
    "come by WebSocket on `/ws/v1`."
)


def create_app(
    view: RunnerView, *, token: str | None, allowed_hosts: Iterable[str] = (), static: Path = page.STATIC
) -> FastAPI:
    """The API over `view`. With a `token` every write needs it; without one, only IP addresses, localhost and
    `allowed_hosts` are answered on writes and on the stream."""
    # The interactive docs would load their scripts from elsewhere; /openapi.json is what tools need.
    app = FastAPI(
        title="Openbell",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.view = view
    app.state.guard = Guard(token, allowed_hosts)
    app.state.stream_clients = set()
    errors.install(app)
    for each in (scheduler, strategies, trading, connection, decisions, locks, service, stream):
        app.include_router(each.router)
    page.install(app, static)
    app.add_middleware(middleware.BodyLimit)
    app.add_middleware(middleware.SecurityHeaders)
    return app
