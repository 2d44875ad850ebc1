"""SIGKILL of the runner at any moment loses nothing, and no order is sent twice.

The runner is the real command line in a process of its own; so is the venue, which survives and loses
acknowledgements. `--chaos-seed` replays a run, `--chaos-kills` makes it long.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import planted
import pytest
from lives import FoundError, Launcher, Lives, Venue

from openbell.journal.killpoints import JOURNAL_POINTS

DESK_POINTS = (
    "desk.before-commit",
    "desk.committed",  # intent → send
    "desk.sent",  # send → acknowledgement, some orders of the tick sent and some not
    "desk.handed-over",  # send → acknowledgement
    "desk.fill-booked",
    "desk.cancel-sent",
    "desk.modify-sent",
    "comparison.answered",
    "comparison.applied",
)
AT_FIRST_START = ("schema", "owner")
TOLD_BADLY = (
    "--fault", "lose-ack:every=7", "--fault", "duplicate-fills:every=3", "--fault", "reorder-fills:every=5",
    "--fault", "lose-cancel:every=6", "--fault", "lose-modify:every=4",
)  # fmt: skip

Begin = Callable[..., Lives]


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    started = Launcher.start()
    yield started
    started.close()


@pytest.fixture
def begin(tmp_path: Path, launcher: Launcher, chaos_seed: int) -> Iterator[Begin]:
    """Start a venue; gives a runner's lives on it."""
    venues: list[Venue] = []

    def begun(*options: str, planted: Sequence[str] = (), broker_side: bool = True) -> Lives:
        venues.append(Venue(tmp_path, chaos_seed % 1_000_000, *options))
        return Lives(tmp_path, venues[0], launcher, planted, broker_side)

    yield begun
    for venue in venues:
        venue.close()


@pytest.mark.timeout(600)
def test_a_kill_at_every_named_point_loses_nothing(begin: Begin) -> None:
    lives = begin("--partial-fills", *TOLD_BADLY)
    once = [point for point in JOURNAL_POINTS if point.split(".")[1] in AT_FIRST_START]
    for point in (*once, *(point for point in JOURNAL_POINTS if point not in once), *DESK_POINTS):
        lives.killed_at(f"{point}:1")
    for point in ("desk.committed", "desk.sent", "journal.fill.written", "journal.update.written"):
        lives.killed_at(f"{point}:4")
    lives.drain()
    assert lives.trades() > 5


@pytest.mark.timeout(7200)
def test_kills_at_random_times_lose_nothing(begin: Begin, chaos_kills: int, chaos_seed: int) -> None:
    print(f"chaos: seed {chaos_seed}, {chaos_kills} kills; replay with --chaos-seed {chaos_seed}")
    lives = begin("--partial-fills", *TOLD_BADLY)
    times = random.Random(chaos_seed)
    for number in range(chaos_kills):
        # How long a start takes is the machine's affair: every other life is counted from its leadership.
        seconds, led = times.uniform(0.0, 2.0), partial(leads_beyond, lives, lives.epoch())
        lives.killed_after(seconds, begun=led if number % 2 else lambda: True)
        if number % 100 == 99:
            lives.drain()
            print(f"chaos: {number + 1} kills, {lives.trades()} round trips, nothing lost", flush=True)
    lives.drain()
    assert lives.trades() > chaos_kills // 20, "lives that do not trade lose nothing"


def leads_beyond(lives: Lives, epoch: int) -> bool:
    """Whether a leadership after this one has begun."""
    return lives.epoch() > epoch


@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", planted.names())
def test_a_planted_bug_is_found(begin: Begin, bug: str) -> None:
    scenario = planted.BUGS[bug]
    faults = [part for fault in scenario.faults for part in ("--fault", fault)]
    lives = begin(*faults, *scenario.venue, planted=[scenario.name], broker_side=scenario.broker_side)
    with pytest.raises(FoundError) as error:
        hunt(lives, scenario)
    assert "TypeError" not in str(error.value), "the bug does not fit the code any more"


def hunt(lives: Lives, scenario: planted.Bug) -> None:
    """A short life in which the bug has its chance to show."""
    if scenario.kill_point:
        for _ in range(2):
            lives.killed_at(scenario.kill_point)
    else:
        lives.start()
        lives.run_until(lambda: lives.trades() >= scenario.trades, "too few round trips were made")
        lives.kill()
        lives.check()
    lives.drain()
