"""The engine with the simulated broker holds its promises through any history, and planted bugs do not survive one.

`--engine-histories` makes it long and `--chaos-seed` replays a run; a history that fails is printed step by step.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import engine_bugs
import pytest
import structlog
from engine_machine import EngineMachine
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from lives import FoundError

STEPS = 40
AT_MOST = 150
"""Histories within which each planted bug is found."""


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """A history logs more than anybody reads."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


def run(histories: int, chaos_seed: int, *, replays_every: int, shrinks: bool) -> int:
    """Run so many histories; how many came to their end. Raises FoundError for the first that breaks a promise."""
    machine = seed(chaos_seed)(type("Histories", (EngineMachine,), {"replays_every": replays_every, "ended": 0}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=histories,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink] if shrinks else [Phase.generate],
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.normal if shrinks else Verbosity.quiet,
            report_multiple_bugs=False,
        ),
    )
    return int(machine.ended)


@pytest.mark.timeout(36_000)
def test_any_history_holds_what_is_promised(engine_histories: int, chaos_seed: int) -> None:
    print(f"engine: seed {chaos_seed}, {engine_histories} histories; replay with --chaos-seed {chaos_seed}")
    assert run(engine_histories, chaos_seed, replays_every=5, shrinks=True) >= engine_histories


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", engine_bugs.BUGS)
def test_a_planted_bug_is_found_by_a_history(monkeypatch: pytest.MonkeyPatch, name: str, chaos_seed: int) -> None:
    bug = engine_bugs.BUGS[name]
    bug.plant(monkeypatch)
    with pytest.raises(FoundError, match=bug.shows or None):
        run(AT_MOST, chaos_seed, replays_every=10**9, shrinks=False)
