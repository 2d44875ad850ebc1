"""Bars as recorded inputs: each bar once, a corrected one again, one that went missing as missing.

A matrix has a row for each bar, ordered by its end: end (seconds since 1970 UTC), open, high, low, close, volume, all
float64. Equal means the same bits.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from openbell.domain.bars import BarSeries
from openbell.engine.recorded import SeriesRef
from openbell.journal.exact import InexactError

Matrix: TypeAlias = npt.NDArray[np.float64]
Key: TypeAlias = tuple[str, int]
"""Symbol and bar seconds."""

COLUMNS = 6
_GONE = COLUMNS  # a seventh column of a chunk: 1 where the bar is there no longer


def matrix_of(series: BarSeries) -> Matrix:
    """A series as a matrix."""
    columns = (series.end, series.open, series.high, series.low, series.close, series.volume)
    return np.ascontiguousarray(np.column_stack(columns), dtype="<f8")


def ref_of(series: BarSeries) -> SeriesRef:
    """What to remember of a series beside its bars."""
    if len(series) == 0:
        return SeriesRef(series.symbol, series.bar_seconds, 0, None, None)
    first, last = float(series.end[0]), float(series.end[-1])
    return SeriesRef(series.symbol, series.bar_seconds, len(series), first, last)


class BarHistory:
    """The bars known so far, by symbol and length; the writer's and the reader's are changed by the same chunks."""

    def __init__(self) -> None:
        self._known: dict[Key, Matrix] = {}

    def difference(self, key: Key, seen: Matrix) -> bytes:
        """The chunk that makes the known bars from the first to the last of `seen` be exactly `seen`; b"" for none.

        The chunk is applied here, too. `seen` is ordered by end, no end twice.
        """
        if len(seen) == 0:
            return b""
        window = self._window(key, seen[0, 0], seen[-1, 0])
        if window.tobytes() == seen.tobytes():
            return b""
        at = np.minimum(np.searchsorted(window[:, 0], seen[:, 0]), max(len(window) - 1, 0))
        if len(window):
            is_same = (window.view(np.int64)[at] == seen.view(np.int64)).all(axis=1)
        else:
            is_same = np.zeros(len(seen), dtype=bool)
        fresh = seen[~is_same]
        gone = window[~np.isin(window[:, 0], seen[:, 0])]
        rows = np.zeros((len(fresh) + len(gone), COLUMNS + 1), dtype="<f8")
        rows[: len(fresh), :COLUMNS] = fresh
        rows[len(fresh) :, :COLUMNS] = gone
        rows[len(fresh) :, _GONE] = 1.0
        self._merge(key, rows)
        return rows.tobytes()

    def apply(self, key: Key, chunk: bytes) -> None:
        """Take in what `difference` gave. Raises InexactError for other bytes."""
        if len(chunk) % (8 * (COLUMNS + 1)):
            raise InexactError(f"recorded bars of {key[0]} are {len(chunk)} bytes, which is no whole number of bars")
        self._merge(key, np.frombuffer(chunk, dtype="<f8").reshape(-1, COLUMNS + 1))

    def series(self, ref: SeriesRef) -> BarSeries | None:
        """The series as it was, or None where its bars are not all known."""
        key = (ref.symbol, ref.bar_seconds)
        if ref.first_end is None or ref.last_end is None:
            found = np.zeros((0, COLUMNS), dtype="<f8")
        else:
            found = self._window(key, ref.first_end, ref.last_end)
        if len(found) != ref.count:
            return None
        columns = [np.ascontiguousarray(found[:, index]) for index in range(COLUMNS)]
        for column in columns:
            column.setflags(write=False)
        return BarSeries(ref.symbol, ref.bar_seconds, *columns)

    def _window(self, key: Key, first: float, last: float) -> Matrix:
        known = self._known.get(key)
        if known is None:
            return np.zeros((0, COLUMNS), dtype="<f8")
        ends = known[:, 0]
        return known[np.searchsorted(ends, first, "left") : np.searchsorted(ends, last, "right")]

    def _merge(self, key: Key, rows: Matrix) -> None:
        known = self._known.get(key, np.zeros((0, COLUMNS), dtype="<f8"))
        kept = known[~np.isin(known[:, 0], rows[:, 0])]
        fresh = rows[rows[:, _GONE] == 0.0][:, :COLUMNS]
        merged = np.concatenate([kept, fresh])
        self._known[key] = np.ascontiguousarray(merged[np.argsort(merged[:, 0], kind="stable")])
