"""Older files: brought to today's schema, whole or not at all, with a copy of what they were."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update

from fakes.values import T0, at, make_intent, ref
from openbell.domain.clock import SimulatedClock
from openbell.domain.errors import JournalError
from openbell.journal import GatewayClient, Journal, schema
from openbell.journal.database import connect, prepare
from openbell.journal.migrations import STEPS

FIRST = Path(__file__).with_name("journal_v1.sql")
BACKUP = "journal.db.v1.bak"


def opened(folder: Path) -> Journal:
    return Journal.open(folder, clock=SimulatedClock(T0))


def write_first(folder: Path) -> Path:
    path = folder / "journal.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(FIRST.read_text())
    return path


def schema_of(path: Path) -> dict[str, str]:
    """Every table and index in the words that SQLite keeps, less quotes and white space."""
    with closing(sqlite3.connect(path)) as raw:
        found = raw.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: re.sub(r"\s+", " ", sql.replace('"', "")).strip() for name, sql in found}


def rows_of(path: Path) -> dict[str, list[dict[str, object]]]:
    with closing(sqlite3.connect(path)) as raw:
        raw.row_factory = sqlite3.Row
        names = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        return {name: [dict(row) for row in raw.execute(f"SELECT * FROM {name} ORDER BY 1")] for name in names}  # noqa: S608


def version_of(path: Path) -> int:
    return int(str(rows_of(path)["journal"][0]["schema_version"]))


def test_a_file_of_the_first_version_becomes_what_a_new_file_is_and_keeps_its_rows(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
    path = write_first(old)
    before = rows_of(path)
    opened(old).close()
    opened(new).close()
    assert schema_of(path) == schema_of(new / "journal.db")
    after = rows_of(path)
    assert after["journal"] == [before["journal"][0] | {"schema_version": schema.SCHEMA_VERSION}]
    assert {name for name, rows in before.items() if rows} >= {"intents", "fills", "positions", "trades", "adjustments"}
    for name in before.keys() - {"journal"}:
        assert len(after[name]) == len(before[name]), name
        for was, now in zip(before[name], after[name], strict=True):
            assert {key: now[key] for key in was} == was, name
    assert [row["ratio"] for row in after["adjustments"]] == [None]


def test_every_version_after_the_first_migrates_to_the_same_schema(tmp_path: Path) -> None:
    expected = tmp_path / "new"
    opened(expected).close()
    for version in range(1, schema.SCHEMA_VERSION):
        folder = tmp_path / f"v{version}"
        folder.mkdir()
        path = write_first(folder)
        stop_at(path, version)
        opened(folder).close()
        assert schema_of(path) == schema_of(expected / "journal.db"), f"from version {version}"


def stop_at(path: Path, version: int) -> None:
    """Bring a file of version 1 to `version` and no further, as the Openbell of that version left it."""
    from openbell.journal.migrations import upgrade

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upgrade, "STEPS", STEPS[: version - 1])
        connection = connect(path)
        with connection.begin():
            upgrade.upgrade(connection, 1)
            connection.execute(update(schema.journal).values(schema_version=version))
        connection.close()
        connection.engine.dispose()


async def test_a_journal_of_version_5_has_no_client_id_yet_and_keeps_the_first(tmp_path: Path) -> None:
    path = write_first(tmp_path)
    stop_at(path, 5)
    before = rows_of(path)
    assert "gateway_client" not in before
    journal = opened(tmp_path)
    assert await journal.adopt_gateway_client(7) == GatewayClient(7)
    await journal.use_order_ids(100)
    journal.close()
    after = rows_of(path)
    assert after.pop("gateway_client") == [{"id": 1, "client_id": 7, "order_id": 100}]
    assert after.pop("journal") == [before.pop("journal")[0] | {"schema_version": schema.SCHEMA_VERSION}]
    assert after == before


def test_steps_are_named_by_the_version_that_they_lead_to() -> None:
    assert [int(step[1:5]) for step in STEPS] == list(range(2, schema.SCHEMA_VERSION + 1))
    modules = {path.stem for path in (Path(schema.__file__).parent / "migrations").glob("v*.py")}
    assert modules == set(STEPS)


def test_the_file_as_it_was_is_kept_beside_it_and_can_be_read(tmp_path: Path) -> None:
    path = write_first(tmp_path)
    before = schema_of(path), rows_of(path)
    opened(tmp_path).close()
    assert (schema_of(tmp_path / BACKUP), rows_of(tmp_path / BACKUP)) == before
    assert {each.name for each in tmp_path.iterdir()} == {"journal.db", BACKUP, "lock", "reserve"}


def test_a_migrated_journal_goes_on(tmp_path: Path) -> None:
    write_first(tmp_path)
    journal = opened(tmp_path)
    state = asyncio.run(journal.load(since=at(-1)))
    assert (state.epoch, len(state.open_intents), len(state.fills_today)) == (3, 1, 3)
    assert asyncio.run(journal.commit_intents([make_intent("n", epoch=3)])) == {ref("n")}
    journal.close()
    opened(tmp_path).close()  # once migrated, it opens as any other


def test_a_migration_that_finds_no_room_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = write_first(tmp_path)
    before = schema_of(path), rows_of(path)
    connection = connect(path)
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    connection.rollback()
    with pytest.raises(Exception, match="database or disk is full"):
        prepare(connection, path, T0)
    connection.close()
    connection.engine.dispose()
    assert (schema_of(path), rows_of(path)) == before
    opened(tmp_path).close()
    assert version_of(path) == schema.SCHEMA_VERSION


def test_without_room_for_the_copy_nothing_is_migrated_and_one_sentence_says_so(tmp_path: Path) -> None:
    path = write_first(tmp_path)
    before = schema_of(path), rows_of(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32768, hard))  # more than any other file that is written meanwhile
    try:
        with pytest.raises(JournalError) as refused:
            opened(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    sentence, _, why = str(refused.value).rpartition(": ")
    assert sentence == (
        "the journal is of schema version 1 and was not migrated, because it could not be copied "
        f"to {tmp_path / BACKUP} before"
    )
    assert why in {"disk I/O error", "database or disk is full"}
    assert (schema_of(path), rows_of(path)) == before
    assert not [each for each in tmp_path.iterdir() if "bak" in each.name]
    opened(tmp_path).close()


def test_a_copy_that_cannot_take_its_place_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    write_first(tmp_path)
    (tmp_path / BACKUP).mkdir()
    with pytest.raises(JournalError) as refused:
        opened(tmp_path)
    assert str(refused.value) == (
        "the journal is of schema version 1 and was not migrated, because it could not be copied "
        f"to {tmp_path / BACKUP} before: Is a directory"
    )
    assert not [each.name for each in tmp_path.iterdir() if each.name.endswith(".part")]


@pytest.mark.parametrize("point", ["copied", "written", "committed"])
def test_a_process_killed_while_it_migrates_is_followed_by_one_that_finishes(tmp_path: Path, point: str) -> None:
    path = write_first(tmp_path)
    before = rows_of(path)
    script = (
        "from pathlib import Path\nfrom openbell.domain.clock import SystemClock\n"
        "from openbell.journal import Journal\n"
        f"Journal.open(Path({str(tmp_path)!r}), clock=SystemClock())\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"OPENBELL_KILL_POINT": f"journal.migration.{point}:1"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert version_of(path) == (schema.SCHEMA_VERSION if point == "committed" else 1)
    opened(tmp_path).close()
    assert version_of(path) == schema.SCHEMA_VERSION
    assert rows_of(tmp_path / BACKUP) == before
    assert len(rows_of(path)["intents"]) == len(before["intents"])


def test_nothing_of_alembic_is_loaded_for_a_file_of_this_version(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom openbell.domain.clock import SystemClock\n"
        "from openbell.journal import Journal\n"
        f"for _ in range(2):\n    Journal.open(Path({str(tmp_path)!r}), clock=SystemClock()).close()\n"
        "print([name for name in sys.modules if name.startswith(('alembic', 'mako'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
