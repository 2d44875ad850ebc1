"""Files of recorded bars: CSV, gzipped or not, and Parquet, checked row by row.

Columns are found by name, in any order and case; other columns are left alone. A daily bar has a `date`; a shorter one
has a `time`, its start, with the zone in it (ISO 8601).
"""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeAlias

from openbell.domain.errors import ManifestError

PRICE_COLUMNS = ("open", "high", "low", "close")
ALIASES = {"ticker": "symbol", "timestamp": "time", "datetime": "time"}
VALUES = (*PRICE_COLUMNS, "volume")
PARQUET = b"PAR1"

When: TypeAlias = date | datetime
"""A date, of a daily bar, or the aware start of a shorter one."""
Row: TypeAlias = tuple[When, tuple[float, ...]]
"""When a bar was, and its (open, high, low, close, volume)."""


class RecordedDataError(ManifestError):
    """A file of bars or a split that belongs to it is not well formed. Names the line, the column and the value."""


def read_bars(path: Path) -> dict[str, list[Row]]:
    """Bars of a file by symbol, ordered by time. Raises RecordedDataError at the first line that is wrong."""
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        text = "" if raw[:4] == PARQUET else raw.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise RecordedDataError(f"{path.name}: the file cannot be read ({error})") from error
    rows = _parquet_rows(path.name, raw) if raw[:4] == PARQUET else _csv_rows(path.name, text)
    found: dict[str, dict[When, tuple[float, ...]]] = {}
    kind: type | None = None
    for where, symbol, when, values in rows:
        kind = kind or type(when)
        if type(when) is not kind:
            raise RecordedDataError(f"{where}: a date among times; a file has daily bars or shorter ones")
        if found.setdefault(symbol, {}).setdefault(when, values) is not values:
            column = "date" if kind is date else "time"
            raise RecordedDataError(f"{where}, column {column}: {symbol} has a second bar on {when}")
    if not found:
        raise RecordedDataError(f"{path.name}: there is no bar in the file")
    return {symbol: sorted(bars.items()) for symbol, bars in sorted(found.items())}


Read: TypeAlias = tuple[str, str, When, tuple[float, ...]]
"""Where it stands, its symbol, when it was, its values."""


def _csv_rows(name: str, text: str) -> Iterator[Read]:
    lines = csv.reader(io.StringIO(text))
    header = [_known(column) for column in next(lines, [])]
    places = _places(f"{name} line 1", header)
    for number, row in enumerate(lines, start=2):
        where = f"{name} line {number}"
        if not row:
            continue
        if len(row) != len(header):
            raise RecordedDataError(f"{where}: {len(row)} values where the header names {len(header)}")
        yield (where, *_parse(where, {column: row[place] for column, place in places.items()}))


def _parquet_rows(name: str, raw: bytes) -> Iterator[Read]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise RecordedDataError(
            f"{name} is a Parquet file, which needs the extra package: pip install 'openbell[parquet]'"
        ) from error
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(raw))
        header = [_known(column) for column in table.column_names]
        places = _places(name, header)
        columns = {column: table.column(place).to_pylist() for column, place in places.items()}
    except (pyarrow.ArrowException, OSError) as error:
        raise RecordedDataError(f"{name}: the file cannot be read ({error})") from error
    for number in range(table.num_rows):
        where = f"{name} row {number + 1}"
        yield (where, *_parse(where, {column: values[number] for column, values in columns.items()}))


def _known(column: str) -> str:
    lowered = column.strip().lower()
    return ALIASES.get(lowered, lowered)


def _places(where: str, header: Sequence[str]) -> dict[str, int]:
    when = "time" if "time" in header and "date" not in header else "date"
    needed = (when, "symbol", *VALUES)
    missing = [name for name in needed if name not in header]
    if missing:
        raise RecordedDataError(f"{where}: column {missing[0]} is missing; needed are {', '.join(needed)}")
    return {name: header.index(name) for name in needed}


def _parse(where: str, row: Mapping[str, Any]) -> tuple[str, When, tuple[float, ...]]:
    symbol = str(row["symbol"] or "").strip()
    if not symbol:
        raise RecordedDataError(f"{where}, column symbol: the value is empty")
    when = _moment(where, row["time"]) if "time" in row else _day(where, row["date"])
    values = {name: _number(where, name, row[name]) for name in VALUES}
    for name in PRICE_COLUMNS:
        if values[name] <= 0:
            raise RecordedDataError(f"{where}, column {name}: {values[name]} is not allowed; a price is above 0")
        if not values["low"] <= values[name] <= values["high"]:
            raise RecordedDataError(
                f"{where}, column {name}: {values[name]} does not lie between low {values['low']} "
                f"and high {values['high']}"
            )
    if values["volume"] < 0:
        raise RecordedDataError(f"{where}, column volume: {values['volume']} is not allowed; it is 0 or more")
    return symbol, when, tuple(values.values())


def _day(where: str, value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(str(value).strip())
    except ValueError as error:
        raise RecordedDataError(f"{where}, column date: {str(value)!r} is not a date such as 2000-03-01") from error


def _moment(where: str, value: object) -> datetime:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
    except ValueError as error:
        raise RecordedDataError(f"{where}, column time: {str(value)!r} is not {_EXAMPLE}") from error
    if moment.tzinfo is None:
        raise RecordedDataError(f"{where}, column time: {str(value)!r} has no zone; give it {_EXAMPLE}")
    return moment.astimezone(UTC)


_EXAMPLE = "a time such as 2026-11-24T14:30:00Z"


def _number(where: str, name: str, given: object) -> float:
    try:
        value = float(given)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        value = math.nan
    if not math.isfinite(value):
        raise RecordedDataError(f"{where}, column {name}: {given!r} is not a number")
    return value
