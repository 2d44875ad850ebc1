"""The page on the API names every route, every field of a position and every event of the stream."""

from __future__ import annotations

import re
from pathlib import Path

from fakes.runner_view import busy_runner
from openbell.web.app import create_app
from openbell.web.schemas.portfolio import HeldPosition, Portfolio
from openbell.web.stream import snapshot

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "api.md").read_text(encoding="utf-8")


def section(title: str) -> set[str]:
    """What stands in code in a section's table."""
    text = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return set(re.findall(r"`([^`]+)`", "\n".join(line for line in text.splitlines() if line.startswith("|"))))


def test_every_route_is_on_the_page_and_no_other() -> None:
    paths = create_app(busy_runner(), token=None).openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, operations in paths.items() for method in operations}
    assert {each for each in section("Routes") if re.match("[A-Z]+ /", each)} == routes


def test_every_field_of_a_position_is_on_the_page() -> None:
    assert set(HeldPosition.model_fields) <= section("A position")


async def test_every_part_of_the_stream_is_on_the_page() -> None:
    said = section("The stream")
    assert set((await snapshot(busy_runner(), 0))["data"]) <= said
    assert {"snapshot", "state", "portfolio", "signal", "trade", "lagged"} | set(Portfolio.model_fields) <= said
