"""A real browser on the real page, served with a fake runner in this event loop."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page

from fakes.runner_view import FakeRunner
from openbell.web import server
from openbell.web.app import create_app

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str:
    """Path of the browser; a missing one fails the suite, with the step that installs it."""
    found = os.environ.get("OPENBELL_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.fail("no Chromium: install Debian's package with 'apt-get install chromium', or set OPENBELL_CHROMIUM")
    return found


class Seen:
    """What a page complained of: console errors, uncaught exceptions, failed requests."""

    def __init__(self) -> None:
        self.complaints: list[str] = []

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")


@asynccontextmanager
async def served(runner: FakeRunner, *, port: int = 0, token: str | None = None) -> AsyncIterator[int]:
    """The page and the API on a loopback port."""
    sock = server.listen("127.0.0.1", port)
    async with server.serving(create_app(runner, token=token), sock) as bound:
        yield bound


@asynccontextmanager
async def opened(browser: Browser, port: int, **options: Any) -> AsyncIterator[tuple[Page, Seen]]:
    """The page, loaded and showing facts, in a context of its own."""
    context = await browser.new_context(**{"timezone_id": "UTC", "locale": "en-GB", **options})
    page = await context.new_page()
    page.set_default_timeout(8000)
    seen = Seen()
    seen.watch(page)
    await page.goto(f"http://127.0.0.1:{port}/")
    await page.get_by_test_id("main").wait_for()
    try:
        yield page, seen
    finally:
        await context.close()


SCREENSHOTS = Path(os.environ.get("OPENBELL_SCREENSHOTS", "build/screenshots"))
