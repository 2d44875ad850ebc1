"""SIGKILL at every kill point and at random times: what was promised is there, what was not is there whole or absent.

A kill of the process, not of the machine: that a commit is on the disk when it returns is `synchronous=FULL`, whose
setting a unit test checks.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from fakes.values import T0, make_intent, ref
from openbell.domain.clock import SimulatedClock
from openbell.domain.errors import JournalLockedError
from openbell.domain.orders import IntentState
from openbell.journal import IntentRecord, Journal
from openbell.journal.killpoints import JOURNAL_POINTS, VARIABLE

CHILD = Path(__file__).with_name("journal_child.py")
STEPS = ("intents", "update", "half", "whole", "saved", "closed", "counted")


def start(folder: Path, rounds: int, kill_point: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(folder), str(rounds)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {VARIABLE: kill_point},
    )


def killed(child: subprocess.Popen[str]) -> list[str]:
    """The promises of a child that ends by SIGKILL."""
    lines = child.communicate(timeout=60)[0].splitlines()
    assert child.returncode == -signal.SIGKILL, lines[-3:]
    return lines


def check(folder: Path, promises: list[str]) -> None:
    """Everything promised is in the journal, and at most the one next step besides, whole."""
    raw = sqlite3.connect(folder / "journal.db")
    assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    raw.close()
    journal = Journal.open(folder, clock=SimulatedClock(T0))
    try:
        asyncio.run(_check(journal, promises))
    finally:
        journal.close()


async def _check(journal: Journal, promises: list[str]) -> None:
    identity = await journal.identity()
    for line in promises:
        what, number = line.split()
        if what == "owner":
            assert identity.owner_tag is not None
        if what == "epoch":
            assert identity.epoch >= int(number)
    steps = sum(line.split()[0] in STEPS for line in promises)
    found = await _steps_found(journal)
    assert steps <= found <= steps + 1, (promises[-2:], found)


async def _steps_found(journal: Journal) -> int:
    """How many steps of the child's script the journal shows, each checked to be there whole."""
    state = await journal.load()
    fills = {fill.execution_id for fill in state.fills_today}
    trades = len(await journal.trades(10_000))
    orders = {record.intent.order_ref: record for record in await journal.orders(100_000)}
    assert len(orders) % 3 == 0, "a tick's intents were torn"
    rounds = len(orders) // 3
    steps = 0
    for number in range(rounds):
        entry = orders[ref(f"{number}a")]
        position = await journal.position(f"p-{number}a")
        made = [name for name in ("1", "2", "3") if f"x{number}-{name}" in fills]
        assert made == ["1", "2", "3"][: len(made)]
        expected = [(Decimal(0), None), (Decimal(5), Decimal(5)), (Decimal(10), Decimal(10)), (Decimal(10), Decimal(0))]
        assert (entry.filled, position and position.quantity) == expected[len(made)], "a fill was torn"
        assert _state_fits(entry)
        saved = position is not None and position.exit_sequence == 1
        assert not saved or (position is not None and position.best_price == 107)
        assert not saved or len(made) >= 2
        steps += 1 + (entry.state is not IntentState.INTENDED) + len(made) + saved
    assert trades == sum(f"x{number}-3" in fills for number in range(rounds)), "a round trip was torn"
    return steps + state.statistics.total.evaluations_run


def _state_fits(entry: IntentRecord) -> bool:
    if entry.filled == 10:
        return entry.state is IntentState.FILLED
    return entry.state in (IntentState.INTENDED, IntentState.WORKING) if entry.filled == 0 else not entry.state.is_final


@pytest.mark.parametrize("point", JOURNAL_POINTS)
def test_a_kill_at_a_named_point_loses_nothing_promised(tmp_path: Path, point: str) -> None:
    passing = 1 if point.split(".")[1] in ("schema", "owner", "epoch") else 2
    promises = killed(start(tmp_path, 3, f"{point}:{passing}"))
    check(tmp_path, promises)
    asyncio.run(goes_on(tmp_path))


async def goes_on(folder: Path) -> None:
    """The next process can take over and commit what the last one may have left undone."""
    journal = Journal.open(folder, clock=SimulatedClock(T0))
    epoch = (await journal.identity()).epoch + 1
    await journal.begin_epoch(epoch)
    names = ["0a", "0b", "0c", "later"]
    known = {record.intent.order_ref for record in await journal.orders(9)}
    new = await journal.commit_intents([make_intent(name, epoch=epoch) for name in names])
    assert new == {ref(name) for name in names} - known
    journal.close()


def test_kills_at_random_times_lose_nothing_promised(tmp_path: Path) -> None:
    random_times = random.Random(20260302)
    for attempt in range(12):
        folder = tmp_path / str(attempt)
        child = start(folder, 10_000)
        assert child.stdout is not None
        promises = [child.stdout.readline().strip() for _ in range(random_times.randrange(1, 120))]
        child.kill()
        rest = child.stdout.read().splitlines()
        assert child.wait(60) == -signal.SIGKILL
        child.stdout.close()
        check(folder, [line for line in (*promises, *rest) if len(line.split()) == 2])


def test_the_kernel_lets_a_killed_processs_lock_go(tmp_path: Path) -> None:
    child = start(tmp_path, 10_000)
    assert child.stdout is not None
    assert child.stdout.readline() == "opened 0\n"
    with pytest.raises(JournalLockedError, match=f"id {child.pid}"):
        Journal.open(tmp_path, clock=SimulatedClock(T0))
    child.kill()
    child.communicate(timeout=60)
    Journal.open(tmp_path, clock=SimulatedClock(T0)).close()


def test_a_kill_point_that_is_not_understood_stops_the_process(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, str(CHILD), str(tmp_path), "1"],
        capture_output=True,
        text=True,
        env=os.environ | {VARIABLE: "journal.intents.written"},
        timeout=60,
        check=False,
    )
    assert child.returncode == 1
    assert "OPENBELL_KILL_POINT is 'journal.intents.written', but must be name:n with n ≥ 1" in child.stderr
