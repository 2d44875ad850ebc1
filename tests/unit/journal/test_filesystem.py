"""A journal stays off filesystems whose locks do not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.values import T0
from openbell.domain.clock import SimulatedClock
from openbell.domain.errors import JournalError
from openbell.journal import Journal, filesystem
from openbell.journal.filesystem import filesystem_of, network_filesystem

MOUNTS = r"""22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
another broken line
23 22 0:20 / /proc rw,nosuid - proc proc rw
30 22 0:40 / /data rw,relatime shared:9 master:3 - nfs4 server:/export rw,vers=4.2
31 30 0:41 / /data/local rw,relatime - xfs /dev/vdb rw
32 22 0:42 / /with\040blank rw,relatime - cifs //server/share rw
33 22 0:43 / /twice rw - nfs server:/x rw
34 22 0:44 / /twice rw - tmpfs tmpfs rw
broken line
"""


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/", "ext4"),
        ("/var/lib/openbell", "ext4"),
        ("/data", "nfs4"),
        ("/data/journal", "nfs4"),
        ("/database", "ext4"),
        ("/data/local/journal", "xfs"),
        ("/with blank/x", "cifs"),
        ("/twice/x", "tmpfs"),
    ],
)
def test_the_innermost_and_latest_mount_holds_the_folder(folder: str, expected: str) -> None:
    assert filesystem_of(Path(folder), MOUNTS) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1 2 3 / / - ext4", "ext4"),
        ("1 2 3 / /", ""),  # no type
        ("1 2 3 / / -", ""),
        ("1 2 3 -", ""),
        ("- 2 3", ""),
        (r"1 2 3 / /\134x - ext4", ""),  # the folder is another
    ],
)
def test_a_line_without_a_mount_point_and_a_type_says_nothing(line: str, expected: str) -> None:
    assert filesystem_of(Path("/data"), line) == expected


@pytest.mark.parametrize(("kind", "expected"), [("nfs", "nfs"), ("fuse.sshfs", "fuse.sshfs"), ("ext4", None)])
def test_a_network_filesystem_is_named_and_a_local_one_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, expected: str | None
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(b"1 2 3 / /\xff rw - xfs x\n" + f"1 2 3 / {tmp_path.resolve()} rw - {kind} x\n".encode())
    monkeypatch.setattr(filesystem, "MOUNTS", mounts)
    monkeypatch.chdir(tmp_path)
    assert network_filesystem(Path("journal")) == expected


def test_nothing_is_said_of_a_folder_without_a_mount() -> None:
    assert filesystem_of(Path("/x"), "") == ""


def test_a_journal_on_a_network_filesystem_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    folder = tmp_path / "journal"
    mounts.write_text(f"30 22 0:40 / {tmp_path.resolve()} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(filesystem, "MOUNTS", mounts)
    with pytest.raises(JournalError, match="a network filesystem") as refused:
        Journal.open(folder, clock=SimulatedClock(T0))
    assert str(refused.value) == (
        f"the journal folder {folder} is on nfs4, a network filesystem, "
        "where locks do not hold; use a volume on a local disk"
    )
    assert not folder.exists()


def test_where_mounts_cannot_be_read_the_journal_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "none")
    Journal.open(tmp_path, clock=SimulatedClock(T0)).close()
