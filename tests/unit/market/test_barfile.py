"""Files of bars that are shorter than a day, and Parquet: what is read, and what is refused by row and column."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from openbell.market.barfile import RecordedDataError, read_bars
from openbell.market.calendar import calendar_for
from openbell.market.recorded import RecordedBars

XNYS = calendar_for("XNYS")
OPEN = datetime(2001, 9, 17, 13, 30, tzinfo=UTC)
VALUES = (10.0, 12.0, 9.0, 11.0, 5.0)
NAMES = ("open", "high", "low", "close", "volume")


def timed(tmp_path: Path, *times: str, header: str = "time,symbol,open,high,low,close,volume") -> Path:
    path = tmp_path / "bars.csv"
    path.write_text("\n".join([header, *(f"{time},IBM,10,12,9,11,5" for time in times)]) + "\n", "utf-8")
    return path


def parquet(tmp_path: Path, **columns: Any) -> Path:
    path = tmp_path / "bars.parquet"
    given: dict[str, Any] = {
        "date": [date(2001, 9, 17)],
        "symbol": ["IBM"],
        **{name: [v] for name, v in zip(NAMES, VALUES, strict=True)},
    }
    table = {name: values for name, values in (given | columns).items() if values is not None}
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    return path


def minutes(*numbers: int) -> list[tuple[datetime, tuple[float, ...]]]:
    return [(OPEN + timedelta(minutes=number), VALUES) for number in numbers]


def test_a_time_is_read_with_its_zone(tmp_path: Path) -> None:
    path = timed(tmp_path, "2001-09-17T09:31:00-04:00", "2001-09-17T13:30:00Z")
    assert read_bars(path) == {"IBM": minutes(0, 1)}
    assert read_bars(timed(tmp_path, "2001-09-17T13:30Z", header="Timestamp,Ticker,Open,High,Low,Close,Volume"))


@pytest.mark.parametrize(
    ("time", "message"),
    [
        ("2001-09-17T13:30:00", "bars.csv line 2, column time: '2001-09-17T13:30:00' has no zone; give it a time such"),
        ("noon", "bars.csv line 2, column time: 'noon' is not a time such as"),
    ],
)
def test_a_time_that_is_none_or_has_no_zone_is_refused(tmp_path: Path, time: str, message: str) -> None:
    with pytest.raises(RecordedDataError, match=message):
        read_bars(timed(tmp_path, time))


def test_a_second_bar_at_one_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordedDataError, match="line 3, column time: IBM has a second bar on 2001-09-17 13:30"):
        read_bars(timed(tmp_path, "2001-09-17T13:30Z", "2001-09-17T15:30+02:00"))


def test_parquet_is_read_with_dates_or_times(tmp_path: Path) -> None:
    assert read_bars(parquet(tmp_path)) == {"IBM": [(date(2001, 9, 17), VALUES)]}
    assert read_bars(parquet(tmp_path, date=["2001-09-17"])) == {"IBM": [(date(2001, 9, 17), VALUES)]}
    times = pyarrow.array([OPEN], pyarrow.timestamp("us", tz="America/New_York"))
    assert read_bars(parquet(tmp_path, date=None, time=times)) == {"IBM": [(OPEN, VALUES)]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"open": [None]}, "bars.parquet row 1, column open: None is not a number"),
        ({"low": [10.5]}, "bars.parquet row 1, column open: 10.0 does not lie between low 10.5 and high 12.0"),
        ({"close": None}, "bars.parquet: column close is missing; needed are date, symbol"),
        ({"symbol": [None]}, "bars.parquet row 1, column symbol: the value is empty"),
    ],
)
def test_parquet_that_is_wrong_names_row_and_column(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordedDataError, match=message):
        read_bars(parquet(tmp_path, **columns))


def test_parquet_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RecordedDataError, match=r"bars\.parquet: the file cannot be read"):
        read_bars(path)


def test_without_the_extra_package_parquet_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = parquet(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RecordedDataError, match=r"pip install 'openbell\[parquet\]'"):
        read_bars(path)


def test_the_length_of_a_bar_is_the_least_distance_of_two() -> None:
    recorded = RecordedBars({"IBM": minutes(0, 5, 15), "AAPL": minutes(10)}, XNYS)
    assert recorded.bar_seconds == 300
    ends = [session.close - session.open for session in recorded.sessions_of("IBM")]
    assert set(ends) == {timedelta(minutes=5)}
    assert recorded.series("IBM", 9, OPEN + timedelta(minutes=9)).bar_seconds == 300
    assert len(recorded.series("IBM", 9, OPEN + timedelta(minutes=9))) == 1
    assert len(recorded.series("IBM", 9, OPEN + timedelta(minutes=10))) == 2


def test_the_last_bar_of_a_day_ends_with_the_session() -> None:
    recorded = RecordedBars({"IBM": minutes(0, 240, 480 - 240 + 120)}, XNYS)
    assert recorded.bar_seconds == 120 * 60
    assert recorded.sessions_of("IBM")[-1].close == OPEN + timedelta(minutes=390)


@pytest.mark.parametrize(
    ("bars", "message"),
    [
        (minutes(0, 1, -5), "IBM has a bar on 2001-09-17 13:25:00.*, which is no XNYS session"),
        ([*minutes(0, 2), (OPEN + timedelta(minutes=9), VALUES)], "no multiple of 120 s after the session's open"),
        (minutes(0), "one bar alone does not tell how long a bar is"),
    ],
)
def test_a_bar_outside_of_sessions_or_off_the_grid_is_refused(bars: list[Any], message: str) -> None:
    with pytest.raises(RecordedDataError, match=message):
        RecordedBars({"IBM": sorted(bars)}, XNYS)
