"""The mark that orders may have left which the journal does not have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from openbell.journal.unwritten import CLEAR, NAME, SET, Unwritten


def test_beside_a_new_journal_there_is_none(tmp_path: Path) -> None:
    assert not Unwritten(tmp_path, is_new=True).is_inherited
    assert not Unwritten(tmp_path, is_new=False).is_inherited


def test_it_outlives_the_process_that_made_it(tmp_path: Path) -> None:
    Unwritten(tmp_path, is_new=True).set()

    assert Unwritten(tmp_path, is_new=False).is_inherited
    assert Unwritten(tmp_path, is_new=False).is_inherited, "reading it does not take it away"


def test_what_was_made_up_for_in_the_same_process_is_not_inherited(tmp_path: Path) -> None:
    mark = Unwritten(tmp_path, is_new=True)
    mark.set()
    mark.clear()

    assert not Unwritten(tmp_path, is_new=False).is_inherited


def test_what_was_inherited_stays_until_the_broker_has_told(tmp_path: Path) -> None:
    Unwritten(tmp_path, is_new=True).set()
    mark = Unwritten(tmp_path, is_new=False)

    mark.clear()
    assert Unwritten(tmp_path, is_new=False).is_inherited

    mark.settle()
    mark.clear()
    assert not Unwritten(tmp_path, is_new=False).is_inherited


@pytest.mark.parametrize("content", [None, b"", b"?"])
def test_a_journal_without_a_mark_that_can_be_read_counts_as_marked(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / NAME).write_bytes(content)

    assert Unwritten(tmp_path, is_new=False).is_inherited


def test_making_it_takes_no_room(tmp_path: Path) -> None:
    mark = Unwritten(tmp_path, is_new=True)
    before = (tmp_path / NAME).stat()
    mark.set()
    after = (tmp_path / NAME).stat()

    assert (after.st_ino, after.st_size, after.st_blocks) == (before.st_ino, 1, before.st_blocks)


def test_it_is_its_owners_alone(tmp_path: Path) -> None:
    Unwritten(tmp_path, is_new=True)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_what_stands_there_already_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    write = os.pwrite

    def count(descriptor: int, mark: bytes, offset: int) -> int:
        written.append(mark)
        return write(descriptor, mark, offset)

    monkeypatch.setattr(os, "pwrite", count)
    mark = Unwritten(tmp_path, is_new=True)
    for change in (mark.clear, mark.set, mark.set, mark.clear, mark.clear):
        change()
    assert written == [CLEAR, SET, CLEAR]


def test_one_that_could_not_be_made_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = Unwritten(tmp_path, is_new=True)

    def fails(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", fails)
        mark.set()
    assert not Unwritten(tmp_path, is_new=False).is_inherited

    mark.set()
    assert Unwritten(tmp_path, is_new=False).is_inherited
