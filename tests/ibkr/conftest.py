"""The library that is installed here, and a simulated gateway. The tests need an environment of hack/ibkr.sh."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fakes.gateways import Worlds
from openbell.brokers.ibkr.library import installed
from openbell.domain.money import ZERO

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("contract", "chaos")]

LIBRARIES = installed()
collect_ignore_glob = [] if LIBRARIES else ["test_*.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gateway-scenarios", type=int, default=8, help="Scenarios of a runner at a gateway.")
    parser.addoption("--gateway-seed", type=int, default=1, help="Of the first scenario; each has the next one.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "scenario_seed" in metafunc.fixturenames:
        first = int(metafunc.config.getoption("--gateway-seed", 1))
        count = int(metafunc.config.getoption("--gateway-scenarios", 8))
        metafunc.parametrize("scenario_seed", range(first, first + count))


@pytest.fixture(params=LIBRARIES)
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Worlds:
    monkeypatch.setattr("openbell.gateway.exchange.commission", lambda shares, price: ZERO)
    return Worlds(request.param)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "book.db"
