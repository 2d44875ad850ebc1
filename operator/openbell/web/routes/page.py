"""The dashboard page, where it has been built."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent.parent / "static"
NOT_BUILT = "The dashboard is not built here: run 'npm ci' and 'npm run build' in operator/dashboard.\n"


def install(app: FastAPI, static: Path = STATIC) -> None:
    """Serve the page and its assets from `static`; without an index there, one sentence that says how to make it."""
    index = static / "index.html"

    async def page() -> Response:
        if index.is_file():
            return FileResponse(index, media_type="text/html")
        return PlainTextResponse(NOT_BUILT, 404)

    app.add_api_route("/", page, methods=["GET"], include_in_schema=False, response_class=Response)
    if (static / "assets").is_dir():
        app.mount("/assets", StaticFiles(directory=static / "assets"), name="assets")
