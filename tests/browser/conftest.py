"""The browser."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from dashboard_page import ARGUMENTS, chromium
from playwright.async_api import Browser, async_playwright

from openbell.web.routes.page import STATIC


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if not (STATIC / "index.html").is_file():
        pytest.fail("the dashboard is not built: run 'npm ci' and 'npm run build' in operator/dashboard")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield launched
        await launched.close()
