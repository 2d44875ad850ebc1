"""Room that is kept for a start on a full disk."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from openbell.journal import reserve


def test_the_reserve_takes_its_room_once(tmp_path: Path) -> None:
    reserve.keep(tmp_path)
    made = (tmp_path / reserve.NAME).stat()
    assert made.st_size == reserve.SIZE
    assert made.st_blocks * 512 >= reserve.SIZE, "blocks, not a hole"
    reserve.keep(tmp_path)
    assert (tmp_path / reserve.NAME).stat() == made


def test_a_disk_that_is_nearly_full_gets_no_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserve, "ROOM", 1 << 60)
    reserve.keep(tmp_path)
    assert not reserve.give_up(tmp_path)


def test_a_filesystem_that_cannot_promise_room_has_an_empty_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    reserve.keep(tmp_path)
    assert not reserve.give_up(tmp_path)


def test_giving_up_frees_it_once(tmp_path: Path) -> None:
    reserve.keep(tmp_path)
    assert reserve.give_up(tmp_path)
    assert not reserve.give_up(tmp_path)


@pytest.mark.parametrize(("size", "had"), [(0, False), (1, True)])
def test_a_reserve_without_room_is_none(tmp_path: Path, size: int, had: bool) -> None:
    (tmp_path / reserve.NAME).write_bytes(b"x" * size)
    assert reserve.give_up(tmp_path) is had
    assert not (tmp_path / reserve.NAME).exists()


@pytest.mark.parametrize(("blocks", "kept"), [(16 * 256, True), (16 * 256 - 1, False)])
def test_the_reserve_is_made_where_enough_is_left_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, kept: bool
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=blocks, f_frsize=4096, f_bfree=1 << 60))
    reserve.keep(tmp_path)
    assert (tmp_path / reserve.NAME).exists() is kept


def test_the_reserve_is_its_owners_alone(tmp_path: Path) -> None:
    reserve.keep(tmp_path)
    assert (tmp_path / reserve.NAME).stat().st_mode & 0o777 == 0o600
