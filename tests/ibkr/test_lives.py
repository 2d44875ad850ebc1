"""Whole runners at a simulated gateway, by seeds: killed anywhere, while everything goes wrong that a gateway does.

In every scenario nothing is sent twice, no fill is lost, both sides hold the same, and every intent comes to an end. A
seed is replayed by one command, which a failure names. `--gateway-scenarios` makes the run long.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from account import AccountLives, live_through
from gateways import Gateway
from lives import FoundError, Launcher
from planted_here import BUGS
from scenarios import Scenario, scenario

Begin = Callable[..., AccountLives]


@pytest.fixture(scope="module")
def launchers() -> Iterator[tuple[Launcher, Launcher]]:
    """Who starts runners, and who starts gateways: each has one child at a time."""
    started = Launcher.start(Path(__file__).parent), Launcher.start()
    yield started
    for launcher in started:
        launcher.close()


@pytest.fixture
def begin(tmp_path: Path, launchers: tuple[Launcher, Launcher]) -> Iterator[Begin]:
    """Start a gateway; gives a runner's lives on it."""
    begun: list[tuple[Gateway, AccountLives]] = []

    def start(found: Scenario, *planted: str) -> AccountLives:
        gateway = Gateway(tmp_path, launchers[1], found.gateway)
        lives = AccountLives(tmp_path, gateway, launchers[0], found, planted)
        begun.append((gateway, lives))
        return lives

    yield start
    for gateway, lives in begun:
        lives.kill_if_alive()
        gateway.close()


@pytest.mark.timeout(300)
def test_nothing_is_lost_or_doubled_in_any_scenario(
    begin: Begin, scenario_seed: int, record_property: Callable[[str, object], None]
) -> None:
    found = scenario(scenario_seed)
    print(f"replay: hack/chaos.sh --gateway {Path(sys.prefix).name} {scenario_seed}\n{found}")
    for name, number in live_through(begin(found), found).items():
        record_property(name, number)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(begin: Begin, bug: str) -> None:
    found = BUGS[bug].scenario
    lives = begin(found, BUGS[bug].name)
    lives.patience = 15.0
    with pytest.raises(FoundError) as error:
        live_through(lives, found)
    assert "TypeError" not in str(error.value), "the bug does not fit the code any more"
