"""Room that is kept for a start on a full disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbell.journal import reserve


def test_the_reserve_takes_its_room_once(tmp_path: Path) -> None:
    reserve.keep(tmp_path)
    made = (tmp_path / reserve.NAME).stat()
    assert made.st_blocks * 512 >= reserve.SIZE, "blocks, not a hole"
    reserve.keep(tmp_path)
    assert (tmp_path / reserve.NAME).stat() == made


def test_a_disk_that_is_nearly_full_gets_no_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserve, "ROOM", 1 << 60)
    reserve.keep(tmp_path)
    assert not reserve.give_up(tmp_path)


def test_giving_up_frees_it_once(tmp_path: Path) -> None:
    reserve.keep(tmp_path)
    assert reserve.give_up(tmp_path)
    assert not reserve.give_up(tmp_path)
