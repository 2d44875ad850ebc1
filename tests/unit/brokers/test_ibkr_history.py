"""Which bars are asked for, and what the rows of an answer say."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.brokers.ibkr.history import (
    DAY_SECONDS,
    SIZES,
    HistoryQuery,
    Row,
    base_seconds,
    duration,
    midnight,
    refusal,
    row_of,
    start_of,
)

# IBKR's table of step sizes, as its page "Historical Data Limitations" has it: from and to in seconds.
MINUTE, HOUR = 60, 3_600
TABLE = {
    "60 S": (1, MINUTE),
    "120 S": (1, 2 * MINUTE),
    "1800 S": (1, 30 * MINUTE),
    "3600 S": (5, HOUR),
    "14400 S": (10, 3 * HOUR),
    "28800 S": (30, 8 * HOUR),
    "1 D": (MINUTE, DAY_SECONDS),
    "2 D": (2 * MINUTE, DAY_SECONDS),
    "1 W": (3 * MINUTE, 7 * DAY_SECONDS),
    "1 M": (30 * MINUTE, 30 * DAY_SECONDS),
    "1 Y": (DAY_SECONDS, 30 * DAY_SECONDS),
}
HELD = {"1 D": 1, "2 D": 2, "1 W": 5, "1 M": 20, "1 Y": 250}


def held(written: str, size: int) -> int:
    """How many bars a duration has, of sessions of six and a half hours."""
    if written.endswith("S"):
        return int(written.split()[0]) // size
    return HELD[written] if size == DAY_SECONDS else HELD[written] * 23_400 // size


@given(st.sampled_from(sorted(SIZES)), st.integers(1, 20_000))
def test_a_duration_is_one_that_the_table_allows_for_the_size(size: int, count: int) -> None:
    first, last = TABLE[duration(size, count)]
    assert first <= size <= last


@given(st.sampled_from(sorted(SIZES)), st.integers(1, 20_000))
def test_no_shorter_allowed_duration_would_hold_the_bars(size: int, count: int) -> None:
    chosen = duration(size, count)
    in_days = size >= MINUTE
    allowed = [
        written for written, (first, last) in TABLE.items() if first <= size <= last and (written[-1] != "S") >= in_days
    ]
    assert chosen in allowed
    shorter = allowed[: allowed.index(chosen)]
    assert all(held(written, size) < count for written in shorter)
    assert held(chosen, size) >= count or chosen == allowed[-1]


@pytest.mark.parametrize(
    ("size", "count", "written"),
    [
        (5, 12, "60 S"),
        (5, 500, "3600 S"),
        (5, 5_000, "3600 S"),
        (30, 200, "14400 S"),
        (60, 200, "1 D"),
        (60, 1_000, "1 D"),
        (120, 300, "2 D"),
        (300, 78, "1 D"),
        (300, 79, "2 D"),
        (300, 200, "1 W"),
        (1_800, 100, "1 M"),
        (DAY_SECONDS, 5, "1 W"),
        (DAY_SECONDS, 21, "1 Y"),
    ],
)
def test_durations_that_people_can_follow(size: int, count: int, written: str) -> None:
    assert duration(size, count) == written


@given(st.integers(1, DAY_SECONDS))
def test_bars_are_made_of_the_longest_size_that_fits_or_are_refused_in_one_sentence(bar_seconds: int) -> None:
    base = base_seconds(bar_seconds)
    if base is None:
        assert f"no bars of {bar_seconds} s" in refusal(bar_seconds)
        assert bar_seconds % 5 != 0
        return
    assert refusal(bar_seconds) == ""
    assert bar_seconds % base == 0
    assert all(bar_seconds % size for size in SIZES if base < size < DAY_SECONDS)
    assert (base == DAY_SECONDS) == (bar_seconds == DAY_SECONDS)


def test_every_size_lies_on_the_grid_of_half_hours_at_which_sessions_begin() -> None:
    assert all(1_800 % size == 0 for size in SIZES if size != DAY_SECONDS)
    assert min(SIZES) == 5, "shorter ones are not kept up to date"
    assert base_seconds(HOUR) == 1_800
    assert base_seconds(2 * DAY_SECONDS) is None


def test_a_request_names_its_end_in_utc_or_is_kept_up_to_date() -> None:
    end = datetime(2026, 3, 3, 14, 30, tzinfo=UTC)
    assert HistoryQuery.of(60, 50, hours_only=True, end=end) == HistoryQuery("1 min", "1 D", True, "20260303-14:30:00")
    assert HistoryQuery.of(60, 50, hours_only=False, is_kept=True) == HistoryQuery("1 min", "1 D", False, "", True)


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ("1772548200", datetime(2026, 3, 3, 14, 30, tzinfo=UTC)),
        ("20260303 09:30:00 US/Eastern", datetime(2026, 3, 3, 14, 30, tzinfo=UTC)),
        ("20260303  09:30:00", datetime(2026, 3, 3, 14, 30, tzinfo=UTC)),
        ("20260703", datetime(2026, 7, 3, 4, 0, tzinfo=UTC)),
    ],
)
def test_a_bars_start_is_read_in_every_form(written: str, start: datetime) -> None:
    assert start_of(written) == start


@pytest.mark.parametrize("written", ["", "yesterday", "20261303", "20260303 09:30:00 Mars/Olympus", "2026-03-03"])
def test_what_is_no_time_is_noticed(written: str) -> None:
    with pytest.raises(ValueError):
        start_of(written)


def bar(**changes: Any) -> Any:
    fields = {"date": "1772548200", "open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 100.0}
    return SimpleNamespace(**(fields | changes))


def test_a_row_is_what_the_bar_says_and_a_volume_that_is_not_known_is_none() -> None:
    assert row_of(bar()) == Row(datetime(2026, 3, 3, 14, 30, tzinfo=UTC), 10.0, 11.0, 9.0, 10.5, 100.0)
    assert row_of(bar(volume=-1)).volume == 0.0


@pytest.mark.parametrize(
    "changes", [{"open": -1.0}, {"close": 0.0}, {"high": math.nan}, {"low": 10.2}, {"high": 10.2}, {"low": math.inf}]
)
def test_prices_that_no_bar_can_have_are_seen(changes: dict[str, float]) -> None:
    assert row_of(bar()).is_sane
    assert not row_of(bar(**changes)).is_sane


def test_a_day_begins_at_midnight_of_new_york_in_summer_and_winter() -> None:
    assert midnight(date(2026, 1, 5)) == datetime(2026, 1, 5, 5, 0, tzinfo=UTC)
    assert midnight(date(2026, 7, 6)) == datetime(2026, 7, 6, 4, 0, tzinfo=UTC)
