"""The library that is installed here, and a simulated gateway. The tests need an environment of hack/ibkr.sh."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fakes.gateways import Worlds
from openbell.brokers.ibkr.library import installed
from openbell.domain.money import ZERO

sys.path.append(str(Path(__file__).parents[1] / "contract"))

LIBRARIES = installed()
collect_ignore_glob = [] if LIBRARIES else ["test_*.py"]


@pytest.fixture(params=LIBRARIES)
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Worlds:
    monkeypatch.setattr("openbell.gateway.exchange.commission", lambda shares, price: ZERO)
    return Worlds(request.param)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "book.db"
