"""The journal as CSV files: what it says, no more, while whoever uses it goes on."""

from __future__ import annotations

import asyncio
import csv
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fakes.values import T0, at, make_fill, make_intent, make_position, make_trade, ref
from openbell.cli import main
from openbell.domain.clock import SimulatedClock
from openbell.domain.limits import LockScope
from openbell.domain.orders import OrderType, Side
from openbell.domain.reasons import Reason
from openbell.journal import Journal, export, schema
from openbell.journal.export import COLUMNS, export_journal
from openbell.risk.intraday_margin import Deficit
from openbell.risk.locks import Lock, lift

TESTS = Path(__file__).parents[2]
DOCUMENTED = TESTS.parent / "docs" / "reference" / "export.md"


def exported(journal: Path, folder: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["export", str(journal), "--to", str(folder), *more])


def read(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


async def traded(journal: Journal) -> None:
    await journal.begin_epoch(2)
    said = 'cheap, "very";\nand rising'
    limited = make_intent("b", epoch=2, order_type=OrderType.LIMIT, limit_price=Decimal("90.50"), created_at=at(1))
    await journal.commit_intents([make_intent("a", epoch=2, reason=said, confidence=0.1), limited])
    await journal.record_fill(make_fill(time=at(0.000001)), make_position(), None)
    flat = make_position(quantity=Decimal(0), realized_pnl=Decimal("40.00"), fees=Decimal(2))
    await journal.record_fill(make_fill("x2", "c", side=Side.SELL, time=at(60)), flat, make_trade())
    short = make_position("s", quantity=Decimal("-0.0000001"), opened_at=at(5))
    await journal.record_fill(make_fill("x3", "s", quantity=Decimal("0.0000001"), time=at(70)), short, None)


async def test_the_files_say_what_the_journal_says(journal: Journal, tmp_path: Path) -> None:
    await traded(journal)
    done = exported(tmp_path, tmp_path / "out")
    assert (done.exit_code, done.output.splitlines()) == (
        0,
        [
            f"{tmp_path}/out/intents.csv: 2 rows",
            f"{tmp_path}/out/fills.csv: 3 rows",
            f"{tmp_path}/out/trades.csv: 1 row",
            f"{tmp_path}/out/positions.csv: 2 rows",
            f"{tmp_path}/out/adjustments.csv: 0 rows",
            f"{tmp_path}/out/locks.csv: 0 rows",
            f"{tmp_path}/out/cash_movements.csv: 0 rows",
            f"{tmp_path}/out/deficits.csv: 0 rows",
            f"{tmp_path}/out/peaks.csv: 0 rows",
            f"{tmp_path}/out/day_starts.csv: 0 rows",
            f"{tmp_path}/out/gateway_client.csv: 0 rows",
            f"{tmp_path}/out/parameters.csv: 0 rows",
            f"{tmp_path}/out/statistics.csv: 0 rows",
            f"{tmp_path}/out/journal.csv: 1 row",
        ],
    )
    found = read(tmp_path / "out", "intents")
    records = sorted(await journal.orders(9), key=lambda record: record.intent.created_at)
    assert [row["order_ref"] for row in found] == [ref("a"), ref("b")]
    for row, record in zip(found, records, strict=True):
        intent = record.intent
        assert (row["reason"], row["state"], row["kind"]) == (intent.reason, record.state, intent.kind)
        assert (Decimal(row["quantity"]), Decimal(row["filled"])) == (intent.quantity, record.filled)
        assert float(row["confidence"]) == intent.confidence
        assert datetime.fromisoformat(row["created_at"]) == intent.created_at
    assert (found[0]["limit_price"], found[1]["limit_price"]) == ("", "90.50")

    fills = read(tmp_path / "out", "fills")
    assert [(row["execution_id"], row["strategy"], row["time"], row["realized"]) for row in fills] == [
        ("x1", "trend", "2026-03-02T15:00:00.000001Z", "0"),
        ("x2", "trend", "2026-03-02T15:01:00.000000Z", "40.00"),
        ("x3", "trend", "2026-03-02T15:01:10.000000Z", "0"),
    ]
    (trade,) = read(tmp_path / "out", "trades")
    assert (trade["closed_by"], trade["pnl"], trade["exit_reason"]) == ("x2", "38", "TAKE_PROFIT")
    flat, short = read(tmp_path / "out", "positions")
    assert (flat["quantity"], flat["realized_pnl"], short["quantity"]) == ("0", "40.00", "-0.0000001")


async def test_the_files_are_as_rfc_4180_says(journal: Journal, tmp_path: Path) -> None:
    await traded(journal)
    export_journal(tmp_path, tmp_path / "out")
    text = (tmp_path / "out" / "intents.csv").read_bytes().decode()
    lines = text.split("\r\n")
    assert lines[0] == ",".join(COLUMNS["intents"])
    assert '"cheap, ""very"";\nand rising"' in lines[1]
    assert (len(lines), lines[3]) == (4, "")


def test_every_table_of_the_journal_has_its_file() -> None:
    assert set(COLUMNS) == set(schema.metadata.tables)


async def test_what_risk_keeps_is_written_too(journal: Journal, tmp_path: Path) -> None:
    lock = Lock("k1", LockScope.SYMBOL, "AAPL", Reason.COOLDOWN, "AAPL was left", T0, at(60), "Cooldown#0")
    endless = Lock("k2", LockScope.GLOBAL, "", Reason.LOCKED, "news", at(-1), None, "REST")
    await journal.save_locks([lock, lift(endless, by="ada", at=at(5))])
    await journal.save_peak(Decimal("100000.10"), at(2))
    await journal.save_deficit(Deficit(date(2026, 3, 2), Decimal("12.5"), Decimal(9000)))
    await journal.remember_parameters("trend", "Momentum", {"lookback": 3})
    counts = export_journal(tmp_path, tmp_path / "out")
    assert (counts["locks"], counts["peaks"], counts["deficits"], counts["parameters"]) == (2, 1, 1, 1)
    first, second = read(tmp_path / "out", "locks")
    assert (first["lock_id"], first["until"], first["lifted_by"]) == ("k2", "", "ada")
    assert first["lifted_at"] == "2026-03-02T15:00:05.000000Z"
    assert tuple(second.values()) == (
        *("k1", "Symbol", "AAPL", "COOLDOWN", "AAPL was left", "2026-03-02T15:00:00.000000Z"),
        *("2026-03-02T15:01:00.000000Z", "Cooldown#0", "", ""),
    )
    assert read(tmp_path / "out", "peaks") == [{"equity": "100000.10", "since": "2026-03-02T15:00:02.000000Z"}]
    (deficit,) = read(tmp_path / "out", "deficits")
    assert deficit == {"day": "2026-03-02", "amount": "12.5", "equity": "9000", "satisfied_on": ""}
    (kept,) = read(tmp_path / "out", "parameters")
    assert (kept["strategy"], kept["type"], json.loads(kept["document"])) == ("trend", "Momentum", {"lookback": 3})
    (itself,) = read(tmp_path / "out", "journal")
    assert itself["schema_version"] == str(schema.SCHEMA_VERSION)


async def test_an_empty_journal_gives_headers_alone(journal: Journal, tmp_path: Path) -> None:
    counts = export_journal(tmp_path / "journal.db", tmp_path)
    assert {name for name, count in counts.items() if count} == {"journal"}
    assert list(counts) == list(COLUMNS)
    assert (tmp_path / "fills.csv").read_bytes().decode() == ",".join(COLUMNS["fills"]) + "\r\n"


async def test_it_needs_no_lock_and_takes_none_from_a_runner_that_is_writing(journal: Journal, tmp_path: Path) -> None:
    await traded(journal)
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE intents SET detail = 'not committed'")
        counts = export_journal(tmp_path, tmp_path / "out")
        writer.execute("ROLLBACK")
    assert counts["intents"] == 2
    assert {row["detail"] for row in read(tmp_path / "out", "intents")} == {""}
    assert await journal.commit_intents([make_intent("z", epoch=2)]) == {ref("z")}


def test_all_files_show_one_moment_while_another_process_writes(tmp_path: Path) -> None:
    script = (
        f"import asyncio, sys\nfrom pathlib import Path\nsys.path.insert(0, {str(TESTS)!r})\n"
        "from fakes.values import *\nfrom openbell.domain.clock import SystemClock\n"
        "from openbell.journal import Journal\n"
        "async def main(journal):\n"
        "    await journal.begin_epoch(1)\n"
        "    for number in range(100000):\n"
        "        name = f'n{number}'\n"
        "        await journal.commit_intents([make_intent(name)])\n"
        "        await journal.record_fill(make_fill(name, name), make_position(name), None)\n"
        "        if number == 20:\n"
        "            print('writing', flush=True)\n"
        f"asyncio.run(main(Journal.open(Path({str(tmp_path)!r}), clock=SystemClock())))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "writing\n"
            seen = [export_journal(tmp_path, tmp_path / "out")]
            while len(seen) < 10 or seen[-1] == seen[0]:  # until it has written meanwhile
                seen.append(export_journal(tmp_path, tmp_path / "out", force=True))
        finally:
            writer.kill()
    assert seen[0]["intents"] > 20
    for counts in seen:
        assert counts["fills"] == counts["positions"]
        assert counts["intents"] - counts["fills"] in {0, 1}


def test_nothing_is_left_beside_a_journal_that_nobody_uses(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, clock=SimulatedClock(T0))
    asyncio.run(traded(journal))
    journal.close()
    before = {each.name: each.stat().st_mtime_ns for each in tmp_path.iterdir()}
    with tempfile.TemporaryDirectory() as out:
        assert export_journal(tmp_path, Path(out))["fills"] == 3
    assert {each.name: each.stat().st_mtime_ns for each in tmp_path.iterdir()} == before


def test_a_journal_that_comes_into_use_meanwhile_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(tmp_path, clock=SimulatedClock(T0))
    asyncio.run(traded(journal))
    journal.close()
    used: list[Journal] = []
    write_all = export._write_all

    def written(path: Path, files: Mapping[str, Path], how: str) -> dict[str, int]:
        counts = write_all(path, files, how)
        if not used:
            used.append(Journal.open(tmp_path, clock=SimulatedClock(T0)))
            asyncio.run(used[0].commit_intents([make_intent("z", epoch=2)]))
        return counts

    monkeypatch.setattr(export, "_write_all", written)
    assert export_journal(tmp_path, tmp_path / "out")["intents"] == 3
    used[0].close()


async def test_files_that_are_there_are_written_anew_when_told_to_only(journal: Journal, tmp_path: Path) -> None:
    await traded(journal)
    out = tmp_path / "out"
    out.mkdir()
    (out / "fills.csv").write_text("mine")
    done = exported(tmp_path, out)
    assert (done.exit_code, done.output) == (2, f"Error: {out}/fills.csv exists already; --force writes it anew.\n")
    assert [(each.name, each.read_text()) for each in out.iterdir()] == [("fills.csv", "mine")]
    assert exported(tmp_path, out, "--force").exit_code == 0
    assert sorted(each.name for each in out.iterdir()) == sorted(f"{name}.csv" for name in COLUMNS)


def test_a_wrong_path_is_one_sentence(tmp_path: Path) -> None:
    wrong = {
        tmp_path / "no.db": f"There is no journal at {tmp_path}/no.db.",
        tmp_path: f"There is no journal at {tmp_path}/journal.db.",
        tmp_path / "text": f"{tmp_path}/text is not a journal of Openbell.",
        tmp_path / "other": f"{tmp_path}/other is not a journal of Openbell.",
    }
    (tmp_path / "text").write_text("not a database, but long enough to be looked at as one" * 20)
    with closing(sqlite3.connect(tmp_path / "other")) as raw:
        raw.execute("CREATE TABLE other (x)")
    for path, sentence in wrong.items():
        done = exported(path, tmp_path / "out")
        assert (done.exit_code, done.output) == (2, f"Error: {sentence}\n")
    assert not (tmp_path / "out").exists()


async def test_a_newer_journal_and_a_folder_that_cannot_be_made_are_refused(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = exported(tmp_path, tmp_path / "file" / "out")
    assert (done.exit_code, done.output.startswith("Error: The export cannot be written: Not a directory")) == (2, True)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as raw:
        raw.execute("UPDATE journal SET schema_version = ?", (schema.SCHEMA_VERSION + 1,))
        raw.commit()
    done = exported(tmp_path, tmp_path / "out")
    assert done.exit_code == 2
    assert "newer than" in done.output


def test_a_journal_of_the_first_version_needs_no_migration_for_it(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db")) as raw:
        raw.executescript(Path(__file__).with_name("journal_v1.sql").read_text())
    before = (tmp_path / "journal.db").read_bytes()
    counts = export_journal(tmp_path, tmp_path / "out")
    assert {"intents": 3, "fills": 3, "trades": 1, "positions": 2, "locks": 0, "peaks": 0, "deficits": 0}.items() <= (
        counts.items()
    )
    assert {row["ratio"] for row in read(tmp_path / "out", "adjustments")} == {""}  # it had no such column
    assert (tmp_path / "out" / "locks.csv").read_bytes().decode() == ",".join(COLUMNS["locks"]) + "\r\n"
    assert (tmp_path / "journal.db").read_bytes() == before


async def test_rows_of_the_same_time_come_in_the_order_of_their_keys(journal: Journal, tmp_path: Path) -> None:
    await journal.begin_epoch(1)
    await journal.commit_intents([make_intent(name) for name in "cab"])
    for name in "zxy":
        await journal.record_fill(make_fill(name, "lost"), make_position(name), None)
    export_journal(tmp_path, tmp_path / "out")
    assert [row["order_ref"] for row in read(tmp_path / "out", "intents")] == [ref(name) for name in "abc"]
    assert [row["execution_id"] for row in read(tmp_path / "out", "fills")] == ["x", "y", "z"]


def test_every_column_is_documented() -> None:
    sections = DOCUMENTED.read_text(encoding="utf-8").split("\n## ")[1:]
    assert [section.split("`")[1] for section in sections] == [f"{name}.csv" for name in COLUMNS]
    for section, columns in zip(sections, COLUMNS.values(), strict=True):
        assert [column for column in columns if f"`{column}`" not in section] == []


def test_the_conversion_of_a_position_keeps_every_digit(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, clock=SimulatedClock(T0))
    exact = replace(make_position(), average_price=Decimal("33.3333333333333333333333333"))
    asyncio.run(journal.record_fill(make_fill(), exact, None))
    journal.close()
    export_journal(tmp_path, tmp_path / "out")
    assert read(tmp_path / "out", "positions")[0]["average_price"] == "33.3333333333333333333333333"
