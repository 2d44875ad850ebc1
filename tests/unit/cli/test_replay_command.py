"""`openbell replay` says what it derived again, each difference in a line, and exits as it is told to."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from fakes.recorded import Story, told
from openbell.cli import main


def replay(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["replay", *(str(each) for each in arguments)])


def without_power(document: Any) -> None:
    document["tick"]["risk"].update(buying_power="10")


async def altered(folder: Path) -> Story:
    story = await told(folder)
    story.alter("evaluation", without_power, number=1)
    return story


async def test_a_journal_that_is_derived_again_exits_with_0(tmp_path: Path) -> None:
    story = await told(tmp_path)
    done = replay(story.folder)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        "6 evaluations with 6 decisions, 4 orders and 1 exits were derived again: none differs"
    ]
    assert replay(tmp_path).output == done.output, "the data folder names its one journal"


async def test_an_altered_input_is_a_line_and_exits_with_1(tmp_path: Path) -> None:
    done = replay((await altered(tmp_path)).folder)
    assert done.exit_code == 1
    first, second, last = done.output.splitlines()
    assert first.startswith("differs: 2026-03-02 15:01:00 trend/AAPL: recorded ORDERED by ob1.")
    assert "; its inputs give BUYING_POWER (Buy with confidence" in first
    assert second.endswith("; its inputs give no such order")
    assert last.endswith("were derived again: 2 differ")


async def test_json_has_counts_and_every_difference(tmp_path: Path) -> None:
    done = replay((await altered(tmp_path)).folder, "--output", "json")
    assert done.exit_code == 1
    document = json.loads(done.output)
    assert document["counts"] == {
        "evaluations": 6,
        "decisions": 6,
        "orders": 3,
        "exits": 1,
        "notEvaluated": 0,
        "differences": 2,
        "untested": 0,
    }
    assert document["differences"][0]["time"] == "2026-03-02T15:01:00+00:00"
    assert (document["differences"][0]["strategy"], document["differences"][0]["symbol"]) == ("trend", "AAPL")


async def test_what_is_untested_is_named(tmp_path: Path) -> None:
    story = await told(tmp_path)
    with closing(sqlite3.connect(story.folder / "trail.db")) as raw:
        raw.execute("DELETE FROM runs")
        raw.commit()
    done = replay(story.folder)
    assert done.exit_code == 0
    assert done.output.splitlines()[0] == "untested: 6 decisions of trend: the trail does not have them"


async def test_what_cannot_be_read_is_one_sentence_and_exits_with_2(tmp_path: Path) -> None:
    assert replay(tmp_path / "nowhere").exit_code == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    done = replay(empty)
    assert (done.exit_code, done.output) == (
        2,
        f"Error: {empty} has no journal: neither it nor a folder in it holds a file journal.db\n",
    )
    story = await told(tmp_path / "one")
    shutil.copytree(story.folder, tmp_path / "one" / "second")
    assert "has 2 journals (journal, second); name one of them" in replay(tmp_path / "one").output
    broken = tmp_path / "one" / "second"
    (broken / "inputs.db").write_bytes(b"nothing that is known")
    assert replay(broken).exit_code == 2
    (broken / "inputs.db").unlink()
    assert f"{broken} has no recorded inputs" in replay(broken).output
    (broken / "journal.db").write_bytes(b"nothing that is known")
    assert replay(broken).exit_code == 2
