"""A journal's folder is read beside the process that writes it."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from fakes.values import at, make_fill, make_intent, make_position, make_trade, ref
from openbell.domain.errors import JournalError, ManifestError
from openbell.domain.orders import IntentKind, Side
from openbell.engine.recorded import SplitRecord
from openbell.engine.trail import DecisionQuery, Note, TrailKind
from openbell.journal import Journal
from openbell.journal.inputs import InputsFile
from openbell.journal.reading import JournalReader, find_journal, stored_inputs, stored_runs
from openbell.journal.trail import TrailFile

# which folder


def journal_at(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "journal.db").touch()
    return folder


def test_the_folder_that_was_named_is_the_journals_where_it_has_one(tmp_path: Path) -> None:
    folder = journal_at(tmp_path / "data")
    journal_at(folder / "old")
    assert find_journal(folder) == folder


def test_the_one_journal_below_a_data_folder_is_found_up_to_three_folders_down(tmp_path: Path) -> None:
    journal_at(tmp_path / "a" / "b" / "c" / "d")
    with pytest.raises(ManifestError):
        find_journal(tmp_path)
    assert find_journal(tmp_path / "a") == tmp_path / "a" / "b" / "c" / "d"


def test_no_journal_and_several_are_one_sentence_each(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as none:
        find_journal(tmp_path)
    assert str(none.value) == f"{tmp_path} has no journal: neither it nor a folder in it holds a file journal.db"
    for name in ("two", "one"):
        journal_at(tmp_path / name)
    with pytest.raises(ManifestError) as several:
        find_journal(tmp_path)
    assert str(several.value) == f"{tmp_path} has 2 journals (one, two); name one of them"


# what is in it


async def story(journal: Journal) -> None:
    """An entry in two fills, and two exits of it, of which the second closed the round trip; another entry beside."""
    await journal.begin_epoch(1)
    leaving = {"kind": IntentKind.EXIT, "side": Side.SELL, "position_id": "p-a"}
    await journal.commit_intents(
        [
            make_intent("y", created_at=at(30), **leaving),
            make_intent("a"),
            make_intent("b", symbol="MSFT", created_at=at(10)),
            make_intent("x", created_at=at(20), **leaving),
        ]
    )
    half = Decimal(5)
    await journal.record_fill(make_fill("2", "a", quantity=half, time=at(2)), make_position(quantity=half), None)
    await journal.record_fill(make_fill("1", "a", quantity=half, time=at(1)), make_position(), None)
    flat = make_position(quantity=Decimal(0))
    await journal.record_fill(make_fill("3", "y", side=Side.SELL, time=at(60)), flat, make_trade())


async def test_orders_fills_and_round_trips_are_read_while_the_journal_is_open(
    journal: Journal, tmp_path: Path
) -> None:
    await story(journal)
    with JournalReader(tmp_path) as reader:
        assert reader.folder == tmp_path
        assert [each.intent.order_ref for each in reader.orders()] == [ref(name) for name in "yxba"]
        assert [each.intent.order_ref for each in reader.orders_of("p-a")] == [ref(name) for name in "axy"]
        assert reader.orders_of("p-none") == ()
        entry = reader.order(ref("a"))
        assert entry is not None
        assert (entry.intent, entry.filled) == (make_intent("a"), 10)
        assert reader.order("none") is None
        assert [each.execution_id for each in reader.fills_of(ref("a"))] == ["1", "2"]
        assert reader.fills_of(ref("b")) == ()
        assert reader.trade_of("p-a") == make_trade()
        assert reader.trade_of("p-b") is None


async def test_the_newest_round_trip_of_a_position_is_the_one_that_is_told(journal: Journal, tmp_path: Path) -> None:
    await story(journal)
    again = make_trade(exit_time=at(90), exit_reason="STOP_LOSS")
    flat = make_position(quantity=Decimal(0))
    await journal.record_fill(make_fill("4", "y", side=Side.SELL, time=at(90)), flat, again)
    with JournalReader(tmp_path) as reader:
        assert reader.trade_of("p-a") == again


@pytest.mark.parametrize(
    ("method", "arguments", "table", "doing"),
    [
        ("orders", (), "intents", "reading orders"),
        ("order", ("a",), "intents", "reading an order"),
        ("orders_of", ("p",), "intents", "reading a position's orders"),
        ("fills_of", ("a",), "fills", "reading fills"),
        ("trade_of", ("p",), "trades", "reading a round trip"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_sentence(
    journal: Journal, tmp_path: Path, method: str, arguments: tuple[str, ...], table: str, doing: str
) -> None:
    journal.close()
    raw = sqlite3.connect(tmp_path / "journal.db")
    raw.execute("PRAGMA legacy_alter_table = ON")
    raw.execute(f"ALTER TABLE {table} RENAME TO gone")
    raw.close()
    with JournalReader(tmp_path) as reader, pytest.raises(JournalError) as failed:
        getattr(reader, method)(*arguments)
    assert str(failed.value) == f"the journal failed while {doing}: no such table: {table}"


def test_a_file_that_is_not_there_is_one_sentence_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(JournalError) as failed, JournalReader(tmp_path) as reader:
        reader.orders()
    assert str(failed.value) == "the journal failed while opening for reading: unable to open database file"
    assert list(tmp_path.iterdir()) == []


# what is beside it


def note(symbol: str, seconds: float) -> Note:
    return Note(at(seconds), "trend", symbol, TrailKind.ENTRY, "NO_SIGNAL")


def test_the_trail_is_read_whole_or_as_it_is_asked_for(tmp_path: Path) -> None:
    assert stored_runs(tmp_path) == ()
    trail = TrailFile(tmp_path / "trail.db")
    trail.note([note("AAPL", 0), note("MSFT", 60)])
    trail.close()
    assert [run.symbol for run in stored_runs(tmp_path)] == ["AAPL", "MSFT"]
    assert [run.symbol for run in stored_runs(tmp_path, DecisionQuery())] == ["MSFT", "AAPL"]
    assert [run.symbol for run in stored_runs(tmp_path, DecisionQuery(symbol="AAPL"))] == ["AAPL"]


def test_a_trail_that_is_not_begun_is_empty_and_one_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "trail.db"
    sqlite3.connect(path).close()
    assert stored_runs(tmp_path) == ()
    path.write_bytes(b"no database" * 100)
    with pytest.raises(JournalError) as failed:
        stored_runs(tmp_path)
    assert str(failed.value) == f"{path} cannot be read: file is not a database"


def test_recorded_inputs_are_read_in_their_order(tmp_path: Path) -> None:
    splits = [SplitRecord(at(seconds), "AAPL", Decimal(2)) for seconds in (2, 1)]
    file = InputsFile(tmp_path / "inputs.db")
    for split in splits:
        file.split(split)
    file.close()
    assert [each.record for each in stored_inputs(tmp_path)] == splits


def test_inputs_that_were_not_recorded_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as failed:
        list(stored_inputs(tmp_path))
    assert str(failed.value) == f"{tmp_path} has no recorded inputs: there is no file inputs.db in it"
