"""The trail's file: bounded, kept over restarts, and no fault of it is anybody else's."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.values import T0, at
from openbell.engine.trail import DecisionQuery, Note, Run, TrailKind, begun, extended
from openbell.journal.relaxed import read_only
from openbell.journal.trail import TrailFile, all_runs, find_runs


def note(seconds: float = 0, reason: str = "NO_SIGNAL", symbol: str = "AAPL", **rest: str) -> Note:
    return Note(at(seconds), rest.pop("strategy", "trend"), symbol, TrailKind.ENTRY, reason, **rest)


def stored(path: Path) -> tuple[Run, ...]:
    raw = read_only(path)
    try:
        return all_runs(raw)
    finally:
        raw.close()


def test_a_run_goes_on_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "trail.db"
    for start in (0, 120):
        file = TrailFile(path)
        file.note([note(start)])
        file.note([note(start + 60)])
        file.close()
    (run,) = stored(path)
    assert (run.since, run.until, run.count) == (T0, at(180), 4)


def test_a_new_reason_is_on_the_disk_at_once_and_a_longer_run_when_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "trail.db"
    file = TrailFile(path)
    file.note([note(0)])
    file.note([note(60)])
    assert [run.count for run in stored(path)] == [1]
    assert [run.count for run in file.find(DecisionQuery())] == [2]
    assert [run.count for run in stored(path)] == [2]
    file.note([note(120)])
    file.note([note(180, "ORDERED", order_ref="ob1.x")])
    assert [(run.reason, run.count) for run in stored(path)] == [("NO_SIGNAL", 3), ("ORDERED", 1)]
    file.close()


def test_runs_are_found_by_everything_they_can_be_asked_for(tmp_path: Path) -> None:
    file = TrailFile(tmp_path / "trail.db")
    file.note([note(0, symbol="AAPL"), note(0, symbol="IBM"), note(0, "WARMUP", strategy="other")])
    file.note([note(60, "ORDERED", symbol="IBM", order_ref="ob1.x"), note(60, symbol="AAPL")])

    def found(**asked: object) -> list[tuple[str, str, str]]:
        return [(run.strategy, run.symbol, run.reason) for run in file.find(DecisionQuery(**asked))]  # type: ignore[arg-type]

    assert found(limit=1) == [("trend", "IBM", "ORDERED")]
    assert found(strategy="other") == [("other", "AAPL", "WARMUP")]
    assert found(symbol="IBM") == [("trend", "IBM", "ORDERED"), ("trend", "IBM", "NO_SIGNAL")]
    assert found(reason="WARMUP", symbol="IBM") == []
    assert found(order_ref="ob1.x") == [("trend", "IBM", "ORDERED")]
    assert found(since=at(30)) == [("trend", "IBM", "ORDERED"), ("trend", "AAPL", "NO_SIGNAL")]
    assert found(symbol="' OR 1=1 --") == []
    file.close()


KEYS = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["X", "Y"]), st.sampled_from(["r", "s"]))


@settings(max_examples=40)
@given(st.lists(st.lists(KEYS, unique_by=lambda key: key[:2], max_size=4), max_size=12), st.sets(st.integers(0, 11)))
def test_the_file_holds_what_plain_run_length_says_whatever_restarts(
    tmp_path_factory: pytest.TempPathFactory, ticks: list[list[tuple[str, str, str]]], restarts: set[int]
) -> None:
    path = tmp_path_factory.mktemp("trail") / "trail.db"
    file = TrailFile(path)
    wanted: dict[tuple[str, str], list[Run]] = {}
    for index, tick in enumerate(ticks):
        notes = [note(index, reason, symbol, strategy=strategy) for strategy, symbol, reason in tick]
        file.note(notes)
        for each in notes:
            runs = wanted.setdefault((each.strategy, each.symbol), [])
            longer = extended(runs[-1], each) if runs else None
            runs[-1:] = [longer] if longer else [*runs[-1:], begun(each)]
        if index in restarts:
            file.close()
            file = TrailFile(path)
    file.close()
    for (strategy, symbol), runs in wanted.items():
        assert [run for run in stored(path) if (run.strategy, run.symbol) == (strategy, symbol)] == runs


def test_the_oldest_rows_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbell.journal.trail.TRIM_EVERY", 1)
    file = TrailFile(tmp_path / "trail.db", max_rows=3)
    file.note([note(0, "STAYS", symbol="IBM")])
    for second in range(10):
        file.note([note(second, f"r{second % 2}"), note(second, "STAYS", symbol="IBM")])
        file.flush()
    reasons = {run.reason for run in file.find(DecisionQuery())}
    assert len(file.find(DecisionQuery())) <= 4
    assert "STAYS" in reasons, "a run that goes on is not old"
    file.close()


def test_rows_of_long_ago_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbell.journal.trail.TRIM_EVERY", 1)
    file = TrailFile(tmp_path / "trail.db", max_age=timedelta(hours=1))
    file.note([note(0, "OLD"), note(0, "OLD", symbol="IBM")])
    file.note([note(7200, "NEW")])
    file.note([note(7260, "NEWER")])
    assert [run.reason for run in file.find(DecisionQuery())] == ["NEWER", "NEW"]
    file.note([note(7300, "OLD", symbol="IBM")])
    assert file.find(DecisionQuery(symbol="IBM"))[0].count == 1
    file.close()


@pytest.mark.parametrize("content", [b"this is no database at all, whatever its name says", b"SQLite format 3\0" * 99])
def test_a_broken_file_is_moved_aside_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trail.db"
    path.write_bytes(content)
    file = TrailFile(path)
    file.note([note(0)])
    file.close()
    assert (tmp_path / "trail.db.broken").read_bytes() == content
    assert len(stored(path)) == 1


def test_a_file_with_a_damaged_page_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "trail.db"
    file = TrailFile(path)
    for index in range(400):
        file.note([note(index, f"r{index}", detail="x" * 100)])
    file.close()
    damaged = bytearray(path.read_bytes())
    damaged[8192:12288] = b"\xff" * 4096
    path.write_bytes(bytes(damaged))
    TrailFile(path).close()
    assert (tmp_path / "trail.db.broken").exists()
    assert stored(path) == ()


def test_a_file_of_another_version_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "trail.db"
    TrailFile(path).close()
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    TrailFile(path).close()
    assert (tmp_path / "trail.db.broken").exists()


def test_a_folder_that_does_not_exist_is_an_error_and_nothing_is_moved(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        TrailFile(tmp_path / "nowhere" / "trail.db")


def test_the_file_is_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "trail.db"
    file = TrailFile(path)
    file.note([replace(note(0), detail="now")])
    raw = read_only(path)
    assert [run.detail for run in find_runs(raw, DecisionQuery())] == ["now"]
    raw.close()
    file.close()
