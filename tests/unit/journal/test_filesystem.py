"""A journal stays off filesystems whose locks do not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.values import T0
from openbell.domain.clock import SimulatedClock
from openbell.domain.errors import JournalError
from openbell.journal import Journal, filesystem
from openbell.journal.filesystem import filesystem_of

MOUNTS = r"""22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
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


def test_nothing_is_said_of_a_folder_without_a_mount() -> None:
    assert filesystem_of(Path("/x"), "") == ""


def test_a_journal_on_a_network_filesystem_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    folder = tmp_path / "journal"
    mounts.write_text(f"30 22 0:40 / {tmp_path.resolve()} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(filesystem, "MOUNTS", mounts)
    with pytest.raises(JournalError, match=r"is on nfs4, a network filesystem, .* use a volume on a local disk"):
        Journal.open(folder, clock=SimulatedClock(T0))
    assert not folder.exists()


def test_where_mounts_cannot_be_read_the_journal_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "none")
    Journal.open(tmp_path, clock=SimulatedClock(T0)).close()
