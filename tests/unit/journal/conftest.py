"""A journal in a folder of its own, on a clock that stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.values import T0
from openbell.domain.clock import SimulatedClock
from openbell.journal import Journal


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(T0)


@pytest.fixture
def journal(tmp_path: Path, clock: SimulatedClock) -> Iterator[Journal]:
    opened = Journal.open(tmp_path, clock=clock)
    yield opened
    opened.close()
