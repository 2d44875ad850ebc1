"""How long the long suites run, and from which seed."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-kills", type=int, default=25, help="Kills at random times of the runner.")
    parser.addoption("--engine-histories", type=int, default=50, help="Random histories of the engine.")
    parser.addoption("--chaos-seed", type=int, default=20261124, help="Of everything random in the chaos tests.")


@pytest.fixture(scope="session")
def chaos_kills(pytestconfig: pytest.Config) -> int:
    return int(pytestconfig.getoption("--chaos-kills", 25))


@pytest.fixture(scope="session")
def chaos_seed(pytestconfig: pytest.Config) -> int:
    return int(pytestconfig.getoption("--chaos-seed", 20261124))


@pytest.fixture(scope="session")
def engine_histories(pytestconfig: pytest.Config) -> int:
    return int(pytestconfig.getoption("--engine-histories", 50))
