"""The folder's lock: one holder, whose id it names."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from openbell.domain.errors import JournalError, JournalLockedError
from openbell.journal.lock import FolderLock


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_the_folder_is_made_and_the_lock_says_who_holds_it_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "lock").write_text("1234567890 and more that somebody else wrote\n")
    FolderLock(folder).release()
    assert (folder / "lock").read_text() == f"{os.getpid()}\n"
    FolderLock(tmp_path / "c" / "d").release()
    made = tmp_path / "c" / "d" / "lock"
    assert made.read_text() == f"{os.getpid()}\n"
    assert made.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("written", "holder"), [(b"4711\n", "4711"), (b"", "unknown"), (b"\xff7", "\ufffd7"), (b"9" * 33, "9" * 32)]
)
def test_who_comes_second_is_told_the_holder(tmp_path: Path, written: bytes, holder: str) -> None:
    first = FolderLock(tmp_path)
    (tmp_path / "lock").write_bytes(written)
    with pytest.raises(JournalLockedError) as refused:
        FolderLock(tmp_path)
    assert str(refused.value) == (
        f"the journal folder {tmp_path} is locked by another process (id {holder}); only one may use it"
    )
    first.release()
    FolderLock(tmp_path).release()


def test_a_refused_lock_leaves_no_file_open(tmp_path: Path) -> None:
    first = FolderLock(tmp_path)
    before = open_files()
    with pytest.raises(JournalLockedError):
        FolderLock(tmp_path)
    assert open_files() == before
    first.release()
    assert open_files() == before - 1


def test_a_process_that_was_started_meanwhile_does_not_hold_the_lock(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    script, pipe = "print('started', flush=True); input()", subprocess.PIPE
    with subprocess.Popen([sys.executable, "-S", "-c", script], stdin=pipe, stdout=pipe, close_fds=False) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"started\n"
        lock.release()
        FolderLock(tmp_path).release()
        started.kill()


def test_a_filesystem_without_locks_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, how: int) -> None:
        assert how == fcntl.LOCK_EX | fcntl.LOCK_NB
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(JournalError) as refused:
        FolderLock(tmp_path)
    assert type(refused.value) is JournalError
    assert str(refused.value) == f"the journal folder {tmp_path} cannot be locked: No locks available"


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError) as refused:
        FolderLock(tmp_path / "file" / "below")
    assert str(refused.value) == f"the journal folder {tmp_path}/file/below cannot be used: Not a directory"


def test_the_lock_holds_where_the_disk_is_too_full_to_say_by_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    lock = FolderLock(tmp_path)
    with pytest.raises(JournalLockedError, match=r"\(id unknown\)"):
        FolderLock(tmp_path)
    lock.release()
