"""What kind of filesystem a folder is on: SQLite's write-ahead log and our lock need a local one."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

# Filesystems where a lock or a shared memory map of one machine means nothing to another.
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre", "glusterfs", "ocfs2", "gfs2"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.juicefs"}
)


def filesystem_of(folder: Path, mounts: str) -> str:
    """The type of the filesystem that holds `folder` (absolute), from the text of mountinfo; "" where it says nothing.

    The fields of a line are described in proc_pid_mountinfo(5): the fifth is the mount point with blanks as octal
    escapes, and the type follows a lone hyphen. Of two mounts on one point, the later covers the earlier.
    """
    found, depth = "", -1
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 5 or "-" not in fields[:-1]:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), fields[4]))
        if folder.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = fields[fields.index("-") + 1], len(point.parts)
    return found


def network_filesystem(folder: Path) -> str | None:
    """The type of the network filesystem that `folder` is on; None for a local one, or where it cannot be told."""
    try:
        mounts = MOUNTS.read_text(errors="surrogateescape")
    except OSError:
        return None  # no Linux: there is no such list
    found = filesystem_of(folder.resolve(), mounts)
    return found if found in NETWORK else None
