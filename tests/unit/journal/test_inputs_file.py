"""Inputs are read back as they were, within a bound, and each segment of the file stands alone."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.values import OWNER, T0, at, make_position, make_signal
from openbell.domain.bars import BarSeries, Quote
from openbell.engine.recorded import EvaluationRecord, ExitRecord, Roster, SplitRecord
from openbell.journal.bars import BarHistory, matrix_of, ref_of
from openbell.journal.exact import InexactError
from openbell.journal.inputs import InputsFile, Recorded, read_inputs
from openbell.journal.relaxed import read_only

ROSTER = Roster('{"kind":"TradingScheduler"}', MappingProxyType({"trend": '{"kind":"Strategy"}'}))


def series(*closes: float, first: int = 0, symbol: str = "AAPL") -> BarSeries:
    """A bar a minute, the first of which ends `first` minutes after T0."""
    column = np.array(closes, dtype=np.float64)
    ends = T0.timestamp() + 60.0 * (first + np.arange(len(closes)))
    return BarSeries(symbol, 60, ends, column, column + 1, column - 1, column, column * 100)


def same(one: BarSeries | None, other: BarSeries) -> bool:
    return one is not None and matrix_of(one).tobytes() == matrix_of(other).tobytes()


def evaluation(seconds: float = 0) -> EvaluationRecord:
    return EvaluationRecord(
        now=at(seconds),
        owner=OWNER,
        epoch=3,
        roster="",
        asked=("trend",),
        bars=(),
        lots=MappingProxyType({("trend", "AAPL"): Decimal(10)}),
        given=MappingProxyType({"custom": (make_signal(strategy="custom"),)}),
    )


def stored(path: Path) -> list[Recorded]:
    with closing(read_only(path)) as raw:
        return list(read_inputs(raw))


def bodies(path: Path, kind: str) -> list[bytes]:
    with closing(read_only(path)) as raw:
        return [row[0] for row in raw.execute("SELECT body FROM documents WHERE kind = ?", (kind,))]


def test_everything_that_is_recorded_is_read_back_in_order(tmp_path: Path) -> None:
    file = InputsFile(tmp_path / "inputs.db")
    left = ExitRecord(at(1), OWNER, 3, make_position(), Quote("AAPL", at(1), 97.5, 97.4, 97.6), None, Decimal(10))
    split = SplitRecord(at(2), "AAPL", Decimal(2))
    seen = series(100.0, 101.0, 103.0)
    file.evaluation(evaluation(), ROSTER, {"any": seen})
    file.exit(left)
    file.split(split)
    file.close()
    first, second, third = stored(tmp_path / "inputs.db")
    assert (second.record, third.record) == (left, split)
    assert isinstance(first.record, EvaluationRecord)
    assert first.roster == ROSTER
    assert (first.record.lots, first.record.given) == (evaluation().lots, evaluation().given)
    ((ref, bars),) = first.bars
    assert ref == ref_of(seen)
    assert same(bars, seen)


def test_a_bar_and_a_spec_are_written_once(tmp_path: Path) -> None:
    path = tmp_path / "inputs.db"
    file = InputsFile(path)
    for minute in range(5):
        file.evaluation(
            evaluation(60 * minute), ROSTER, {"any": series(*np.arange(100.0, 150.0) + minute, first=minute)}
        )
    assert [len(chunk) for chunk in map(_unpacked, bodies(path, "bars"))] == [50 * 56] + [56] * 4
    assert (len(bodies(path, "spec")), len(bodies(path, "roster"))) == (2, 1)
    file.evaluation(evaluation(300), ROSTER, {"any": series(*np.arange(104.0, 154.0), first=4)})
    assert len(bodies(path, "bars")) == 5, "the same bars again"
    file.close()


def _unpacked(body: bytes) -> bytes:
    return zlib.decompress(body)


PRICES = st.sampled_from([1.0, 2.0, 0.0, -0.0, float("nan"), 1e300])
HISTORIES = st.lists(
    st.tuples(st.integers(0, 6), st.lists(PRICES, max_size=6), st.sets(st.integers(0, 5), max_size=2)), max_size=8
)


def holey(first: int, prices: list[float], holes: set[int]) -> BarSeries:
    """A series of which some bars are missing."""
    whole = series(*prices, first=first)
    keep = np.array([index not in holes for index in range(len(prices))], dtype=bool)
    columns = [column[keep] for column in (whole.end, whole.open, whole.high, whole.low, whole.close, whole.volume)]
    return BarSeries(whole.symbol, whole.bar_seconds, *columns)


@given(HISTORIES)
def test_any_series_is_read_back_bit_by_bit_whatever_was_corrected_or_went_missing(
    histories: list[tuple[int, list[float], set[int]]],
) -> None:
    writer, reader = BarHistory(), BarHistory()
    for first, prices, holes in histories:
        seen = holey(first, prices, holes)
        reader.apply(("AAPL", 60), writer.difference(("AAPL", 60), matrix_of(seen)))
        assert same(reader.series(ref_of(seen)), seen)
        assert writer.difference(("AAPL", 60), matrix_of(seen)) == b""


@settings(max_examples=20)
@given(HISTORIES, st.sets(st.integers(0, 7)))
def test_series_in_a_file_are_read_back_bit_by_bit_over_segments_and_restarts(
    tmp_path_factory: pytest.TempPathFactory, histories: list[tuple[int, list[float], set[int]]], restarts: set[int]
) -> None:
    path = tmp_path_factory.mktemp("inputs") / "inputs.db"
    file = InputsFile(path, segment_bytes=2500)
    seen = [holey(*each) for each in histories]
    for index, each in enumerate(seen):
        file.evaluation(evaluation(index), ROSTER, {"any": each})
        if index in restarts:
            file.close()
            file = InputsFile(path, segment_bytes=2500)
    file.close()
    found = stored(path)
    assert len(found) == len(seen)
    for recorded, each in zip(found, seen, strict=True):
        assert recorded.roster == ROSTER
        assert same(recorded.bars[0][1], each)


def test_the_oldest_segment_makes_room_and_what_is_left_can_still_be_read(tmp_path: Path) -> None:
    path = tmp_path / "inputs.db"
    file = InputsFile(path, max_bytes=20_000, segment_bytes=4_000)
    rng = np.random.default_rng(1)
    prices = rng.random(400)
    for index in range(300):
        file.evaluation(evaluation(index), ROSTER, {"any": series(*prices[index : index + 20], first=index)})
    file.close()
    with closing(read_only(path)) as raw:
        assert raw.execute("SELECT sum(length(body)) FROM documents").fetchone()[0] <= 20_000
    found = stored(path)
    assert 10 < len(found) < 300
    assert found[-1].record.now == at(299)
    for recorded in found:
        index = int((recorded.record.now - T0).total_seconds())
        assert same(recorded.bars[0][1], series(*prices[index : index + 20], first=index))


def test_a_bar_that_cannot_be_written_costs_no_later_one(tmp_path: Path) -> None:
    path = tmp_path / "inputs.db"
    file = InputsFile(path)
    file.evaluation(evaluation(), ROSTER, {"any": series(1.0, 2.0)})
    broken = Roster("x", MappingProxyType({"trend": object()}))  # type: ignore[dict-item]
    with pytest.raises(AttributeError):
        file.evaluation(evaluation(60), broken, {"any": series(1.0, 2.0, 3.0)})
    file.evaluation(evaluation(120), ROSTER, {"any": series(1.0, 2.0, 3.0)})
    file.close()
    found = stored(path)
    assert [each.record.now for each in found] == [T0, at(120)]
    assert same(found[1].bars[0][1], series(1.0, 2.0, 3.0))


def alter(path: Path, kind: str, change: Callable[[bytes], bytes]) -> None:
    with closing(sqlite3.connect(path)) as raw:
        ((number, body),) = raw.execute("SELECT id, body FROM documents WHERE kind = ?", (kind,)).fetchall()
        raw.execute("UPDATE documents SET body = ? WHERE id = ?", (change(body), number))
        raw.commit()


def _packed(text: bytes) -> bytes:
    return zlib.compress(text)


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("evaluation", b"no zlib", "the evaluation recorded at 2026-03-02 15:00:00 cannot be read"),
        ("evaluation", _packed(b"{"), "is no JSON"),
        ("evaluation", _packed(b"{}"), "cannot be understood"),
        ("bars", _packed(b"123"), "recorded bars of AAPL are 3 bytes"),
    ],
)
def test_a_document_that_cannot_be_read_is_named(tmp_path: Path, kind: str, content: bytes, said: str) -> None:
    path = tmp_path / "inputs.db"
    file = InputsFile(path)
    file.evaluation(evaluation(), ROSTER, {"any": series(1.0)})
    file.close()
    alter(path, kind, lambda _: content)
    with pytest.raises(InexactError, match=said):
        stored(path)


def test_bars_that_are_missing_are_told_and_a_series_of_none_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "inputs.db"
    file = InputsFile(path)
    file.evaluation(evaluation(), ROSTER, {"a": series(1.0, 2.0), "b": series(symbol="IBM")})
    file.close()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("DELETE FROM documents WHERE kind = 'bars'")
        raw.execute("DELETE FROM documents WHERE kind = 'spec'")
        raw.commit()
    (found,) = stored(path)
    assert found.roster is None
    assert [None if bars is None else len(bars) for _, bars in found.bars] == [None, 0]
