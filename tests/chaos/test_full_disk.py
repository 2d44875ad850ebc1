"""A full disk stops entries, never exits, also across a restart: on a small filesystem, filled to the last byte."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lives import Broker, Launcher, Lives, Venue

SIZE_MIB = 24


@pytest.fixture
def broker_side(request: pytest.FixtureRequest) -> bool:
    """Whether positions are protected by orders at the broker, which may leave them without a word of ours."""
    return getattr(request, "param", False)


@pytest.fixture
def lives(tmp_path: Path, chaos_seed: int, *, broker_side: bool) -> Iterator[Lives]:
    """A runner whose data folder is a filesystem of its own."""
    data = tmp_path / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(data)], check=True)
    launcher = Launcher.start()
    venue = Venue(tmp_path, chaos_seed % 1_000_000)
    yield Lives(tmp_path, venue, launcher, broker_side=broker_side)
    venue.close()
    launcher.close()
    subprocess.run(["umount", str(data)], check=True)


def fill(disk: Path) -> None:
    """Leave no byte free."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    assert os.statvfs(disk).f_bavail == 0


def held(broker: Broker) -> dict[str, int]:
    """What the broker holds for us by symbol."""
    total: dict[str, int] = {}
    for execution in broker.executions():
        total[execution.symbol] = total.get(execution.symbol, 0) + int(execution.signed)
    return {symbol: quantity for symbol, quantity in total.items() if quantity}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("orderly", "broker_side"),
    [(False, False), (True, False), (False, True)],
    ids=["after a kill", "after an orderly end", "with orders at the broker"],
    indirect=["broker_side"],
)
def test_exits_go_out_on_a_full_disk_and_are_taken_up_when_there_is_room(
    lives: Lives, *, orderly: bool, broker_side: bool
) -> None:
    lives.start()
    lives.run_until(lambda: len(held(lives.broker)) >= 2, "nothing was bought")
    if orderly:
        lives.end()
    else:
        lives.kill()
    lives.check()
    disk = lives.folder / "data"
    fill(disk)
    bought = len(lives.broker.arrivals())
    assert held(lives.broker)
    lives.start()
    lives.run_until(lambda: not held(lives.broker), "positions were not left")
    lives.kill()
    after = lives.broker.arrivals()[bought:]
    assert {order.side for order in after} <= {"Sell"}, "exits alone"
    assert after or broker_side

    (disk / "filler").unlink()
    lives.drain()
    assert lives.trades() >= 2
