"""A world of a runner's parts, on a disk that is memory where there is one."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fakes.trading import World

MEMORY = Path("/dev/shm")  # noqa: S108 - only its speed is wanted


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as made:
        yield Path(made)


@pytest.fixture
async def world(folder: Path) -> AsyncIterator[World]:
    made = await World(folder / "journal").begin()
    yield made
    made.close()
