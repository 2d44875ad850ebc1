"""A PostgreSQL of this session's own, in a folder of its own, reached by a socket."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[URL]:
    """The address of an empty database. The server runs as nobody of importance: it refuses to be root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        subprocess.run([ROOT / "hack" / "tools.sh", "postgresql"], check=True, timeout=600)
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    programs = found[-1].parent
    account = pwd.getpwnam("postgres") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    folder = Path(tempfile.mkdtemp(prefix="openbell-pg-", dir="/tmp"))  # a socket's path must be short
    os.chown(folder, account.pw_uid, account.pw_gid)

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), "-D", str(folder / "data"), *arguments]
        subprocess.run(
            command,
            check=True,
            timeout=60,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[] if os.getuid() == 0 else None,
        )

    try:
        run("initdb", "--username=openbell", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        settings = f"-k {folder} -c listen_addresses='' -c fsync=off -c shared_buffers=16MB"
        run("pg_ctl", "start", "-w", "-l", str(folder / "log"), "-o", settings)
        try:
            socket = str(folder / ".s.PGSQL.5432")
            yield URL.create("postgresql+pg8000", "openbell", database="postgres", query={"unix_sock": socket})
        finally:
            run("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder)
