"""The file of recorded inputs: `inputs.db` beside the journal. What decisions were made from, never a decision.

Documents stand in the order in which they were recorded, compressed, in segments that each stand alone: specs and bars
that a segment refers to are in it. So the oldest segment can go as a whole when the file has its size, and what is
left can be replayed. A segment begins with each start of the program, and when the one before has its size.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from openbell.domain.bars import BarSeries
from openbell.engine.recorded import EvaluationRecord, ExitRecord, Roster, SeriesRef, SplitRecord
from openbell.journal.bars import BarHistory, matrix_of, ref_of
from openbell.journal.columns import from_micros, to_micros
from openbell.journal.exact import InexactError, decode, encode
from openbell.journal.relaxed import open_relaxed, transaction

INPUTS = "inputs.db"
VERSION = 1
MAX_BYTES = 64 * 1024 * 1024
"""Compressed documents that are kept, in all segments: days to weeks of a usual scheduler."""
SEGMENT_BYTES = 4 * 1024 * 1024
LEVEL = 6

_TABLES = """
CREATE TABLE documents (
  id INTEGER PRIMARY KEY,
  segment INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, time INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX documents_segment ON documents (segment)
"""
_INSERT = "INSERT INTO documents (segment, kind, name, time, body) VALUES (?, ?, ?, ?, ?)"


class DocumentKind(StrEnum):
    SPEC = "spec"
    ROSTER = "roster"
    BARS = "bars"
    EVALUATION = "evaluation"
    EXIT = "exit"
    SPLIT = "split"


_RECORDS: Mapping[DocumentKind, type[Any]] = {
    DocumentKind.EVALUATION: EvaluationRecord,
    DocumentKind.EXIT: ExitRecord,
    DocumentKind.SPLIT: SplitRecord,
}


class InputsFile:
    """Owned by one thread. One `with file.recording(time):` is one commit; what it raises leaves nothing behind."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._raw = open_relaxed(path, _TABLES, VERSION)
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._sizes: dict[int, int] = dict(
            self._raw.execute("SELECT segment, sum(length(body)) FROM documents GROUP BY segment ORDER BY segment")
        )
        self._segment = max(self._sizes, default=0)
        self._begin_segment()

    def close(self) -> None:
        self._raw.close()

    def evaluation(self, record: EvaluationRecord, roster: Roster, bars: Mapping[Any, BarSeries]) -> None:
        """Record an evaluation with the specs and bars that are new; `record.roster` and `.bars` are filled in here."""
        refs = tuple(ref_of(series) for series in bars.values())
        with self._recording() as pending:
            for series in bars.values():
                chunk = self._bars.difference((series.symbol, series.bar_seconds), matrix_of(series))
                if chunk:
                    pending.add(DocumentKind.BARS, f"{series.bar_seconds}/{series.symbol}", record.now, chunk)
            names = {name: self._spec(pending, spec, record.now) for name, spec in roster.strategies.items()}
            listed = {"scheduler": self._spec(pending, roster.scheduler, record.now), "strategies": names}
            known_as = self._once(pending, DocumentKind.ROSTER, json.dumps(listed, sort_keys=True), record.now)
            document = encode(record) | {"roster": known_as, "bars": encode(refs)}
            pending.add(DocumentKind.EVALUATION, "", record.now, _bytes(document))

    def exit(self, record: ExitRecord) -> None:
        """Record a look at a position that was left."""
        with self._recording() as pending:
            pending.add(DocumentKind.EXIT, record.position.position_id, record.now, _bytes(encode(record)))

    def split(self, record: SplitRecord) -> None:
        """Record a stock split."""
        with self._recording() as pending:
            pending.add(DocumentKind.SPLIT, record.symbol, record.now, _bytes(encode(record)))

    def _spec(self, pending: _Pending, text: str, now: datetime) -> str:
        return self._once(pending, DocumentKind.SPEC, text, now)

    def _once(self, pending: _Pending, kind: DocumentKind, text: str, now: datetime) -> str:
        name = self._names.get(text)
        if name is None:
            name = self._names[text] = hashlib.sha256(text.encode()).hexdigest()
            pending.add(kind, name, now, text.encode())
        return name

    def _recording(self) -> _Pending:
        if self._sizes[self._segment] >= self._full_at:
            self._begin_segment()
        return _Pending(self)

    def _begin_segment(self) -> None:
        self._segment += 1
        self._sizes[self._segment] = 0
        self._full_at = self._segment_bytes
        self._bars = BarHistory()
        self._names: dict[str, str] = {}

    def _write(self, rows: list[tuple[str, str, int, bytes]]) -> None:
        with transaction(self._raw):
            self._raw.executemany(_INSERT, [(self._segment, *row) for row in rows])
            is_first = self._sizes[self._segment] == 0
            self._sizes[self._segment] += sum(len(row[3]) for row in rows)
            if is_first:  # where many long series begin it, a segment is to be worth them
                self._full_at = max(self._segment_bytes, min(4 * self._sizes[self._segment], self._max_bytes // 2))
            while sum(self._sizes.values()) > self._max_bytes and len(self._sizes) > 1:
                oldest = min(self._sizes)
                self._raw.execute("DELETE FROM documents WHERE segment = ?", (oldest,))
                del self._sizes[oldest]


class _Pending:
    """The documents of one commit. After a failure a new segment begins: what is known of bars may be ahead of it."""

    def __init__(self, file: InputsFile) -> None:
        self._file = file
        self._rows: list[tuple[str, str, int, bytes]] = []

    def add(self, kind: DocumentKind, name: str, now: datetime, body: bytes) -> None:
        self._rows.append((kind.value, name, to_micros(now), zlib.compress(body, LEVEL)))

    def __enter__(self) -> _Pending:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._file._write(self._rows)
        except BaseException:
            self._file._begin_segment()
            raise
        if kind is not None:
            self._file._begin_segment()


def _bytes(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


# -- reading ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded thing in its surroundings: the bars of an evaluation's series (None: not all are there)."""

    record: EvaluationRecord | ExitRecord | SplitRecord
    roster: Roster | None = None
    bars: tuple[tuple[SeriesRef, BarSeries | None], ...] = ()


def read_inputs(raw: sqlite3.Connection) -> Iterator[Recorded]:
    """Everything recorded, in order. Raises InexactError for a document that cannot be read, sqlite3.Error."""
    segment: int | None = None
    history = BarHistory()
    texts: dict[str, str] = {}
    for number, name, kind_name, time, body in raw.execute(
        "SELECT segment, name, kind, time, body FROM documents ORDER BY id"
    ):
        if number != segment:
            segment, history, texts = number, BarHistory(), {}
        where = f"the {kind_name} recorded at {from_micros(time):%Y-%m-%d %H:%M:%S}"
        try:
            kind, plain = DocumentKind(kind_name), zlib.decompress(body)
        except (ValueError, zlib.error) as error:
            raise InexactError(f"{where} cannot be read: {error}") from error
        if kind is DocumentKind.BARS:
            bar_seconds, _, symbol = name.partition("/")
            history.apply((symbol, int(bar_seconds)), plain)
        elif kind in {DocumentKind.SPEC, DocumentKind.ROSTER}:
            texts[name] = plain.decode()
        else:
            yield _recorded(_record(kind, plain, where), texts, history)


def _record(kind: DocumentKind, plain: bytes, where: str) -> EvaluationRecord | ExitRecord | SplitRecord:
    try:
        record: EvaluationRecord | ExitRecord | SplitRecord = decode(_RECORDS[kind], json.loads(plain))
    except ValueError as error:
        raise InexactError(f"{where} is no JSON: {error}") from error
    except InexactError as error:
        raise InexactError(f"{where} cannot be understood: {error}") from error
    return record


def _recorded(
    record: EvaluationRecord | ExitRecord | SplitRecord, texts: Mapping[str, str], history: BarHistory
) -> Recorded:
    if not isinstance(record, EvaluationRecord):
        return Recorded(record)
    return Recorded(record, _roster(record.roster, texts), tuple((ref, history.series(ref)) for ref in record.bars))


def _roster(name: str, texts: Mapping[str, str]) -> Roster | None:
    try:
        listed = json.loads(texts[name])
        return Roster(
            texts[listed["scheduler"]], {strategy: texts[spec] for strategy, spec in listed["strategies"].items()}
        )
    except (KeyError, ValueError):
        return None
