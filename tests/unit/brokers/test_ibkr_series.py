"""Closed bars out of what IBKR tells: none that forms, none twice, none changed, no hole."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.brokers.ibkr.history import DAY_SECONDS, Row, midnight
from openbell.brokers.ibkr.series import DAY_FINAL_SECONDS, FINAL_SECONDS, Grid, Series
from openbell.domain.bars import BarSeries
from openbell.market.calendar import RESOLUTION, calendar_for

XNYS, ALWAYS = calendar_for("XNYS"), calendar_for("Always")
HOURS = Grid(XNYS)
OPEN = datetime(2026, 3, 3, 14, 30, tzinfo=UTC)  # Tuesday 09:30 in New York
CLOSE = datetime(2026, 3, 3, 21, 0, tzinfo=UTC)
BEFORE = datetime(2026, 3, 2, 21, 0, tzinfo=UTC)  # Monday's close
MINUTE = timedelta(minutes=1)
FINAL = timedelta(seconds=FINAL_SECONDS)


def row(start: datetime, close: float = 100.0, volume: float = 10.0) -> Row:
    return Row(start, 100.0, max(100.0, close), min(100.0, close), close, volume)


def minutes(first: datetime, count: int) -> list[Row]:
    return [row(first + number * MINUTE, 100.0 + number) for number in range(count)]


def series(seconds: int = 60, grid: Grid = HOURS) -> Series:
    return Series("AAPL", seconds, grid)


def live(rows: list[Row], now: datetime, seconds: int = 60, grid: Grid = HOURS) -> Series:
    found = series(seconds, grid)
    found.answered(rows)
    found.settle(now)
    return found


def bars(found: Series, now: datetime) -> BarSeries:
    found.settle(now)
    return found.bars(now)


def ends(found: Series, now: datetime) -> list[datetime]:
    return [datetime.fromtimestamp(end, UTC) for end in bars(found, now).end]


# --- the grid -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "seconds", "start", "end"),
    [
        (OPEN, 60, OPEN, OPEN + MINUTE),
        (OPEN + 90 * MINUTE, 3_600, OPEN + 60 * MINUTE, OPEN + 120 * MINUTE),
        (CLOSE - MINUTE, 3_600, CLOSE - 30 * MINUTE, CLOSE),
        (CLOSE - MINUTE, DAY_SECONDS, midnight(date(2026, 3, 3)), CLOSE),
        (
            datetime(2026, 11, 27, 17, 30, tzinfo=UTC),
            DAY_SECONDS,
            midnight(date(2026, 11, 27)),
            datetime(2026, 11, 27, 18, 0, tzinfo=UTC),
        ),
        (datetime(2026, 3, 3, 13, 0, tzinfo=UTC), 14_400, datetime(2026, 3, 3, 12, 0, tzinfo=UTC), OPEN),
    ],
    ids=["minute", "hour from the open", "cut by the close", "a day", "a half day", "cut by the open"],
)
def test_a_bar_ends_on_the_sessions_grid(moment: datetime, seconds: int, start: datetime, end: datetime) -> None:
    assert HOURS.bucket(moment, seconds) == (start, end)


def test_a_day_without_sessions_of_new_york_ends_at_its_midnight() -> None:
    for grid in (Grid(ALWAYS), Grid(XNYS, hours_only=False)):
        assert grid.bucket(CLOSE, DAY_SECONDS) == (midnight(date(2026, 3, 3)), midnight(date(2026, 3, 4)))


def test_a_night_and_a_weekend_are_no_hole_and_a_traded_minute_is() -> None:
    assert not HOURS.is_hole(BEFORE, OPEN)
    assert HOURS.is_hole(BEFORE, OPEN + MINUTE)
    assert not HOURS.is_hole(OPEN + MINUTE, OPEN + MINUTE)
    assert not HOURS.is_hole(datetime(2026, 3, 6, 21, 0, tzinfo=UTC), datetime(2026, 3, 9, 13, 30, tzinfo=UTC))
    assert Grid(XNYS, hours_only=False).is_hole(BEFORE, OPEN)
    assert Grid(ALWAYS).is_hole(BEFORE, OPEN)


def test_outside_of_a_session_the_last_trade_was_at_its_close() -> None:
    assert HOURS.last_traded(OPEN - MINUTE) == BEFORE
    assert HOURS.last_traded(OPEN) == BEFORE
    assert HOURS.last_traded(OPEN + MINUTE) == OPEN + MINUTE
    assert HOURS.last_traded(CLOSE + MINUTE) == CLOSE
    assert Grid(ALWAYS).last_traded(OPEN - MINUTE) == OPEN - MINUTE


@given(st.integers(0, 86_400 * 20), st.sampled_from([5, 60, 300, 420, 3_600, 14_400]), st.booleans())
def test_every_moment_lies_in_its_bar_and_the_last_one_that_ended_is_over(
    seconds: int, length: int, hours_only: bool
) -> None:
    grid, moment = Grid(XNYS, hours_only), OPEN + timedelta(seconds=seconds)
    start, end = grid.bucket(moment, length)
    assert start <= moment < end
    assert end - start <= timedelta(seconds=length)
    last = grid.last_end(moment, length)
    assert last <= moment
    is_open = XNYS.session_at(moment - RESOLUTION) is not None
    assert not hours_only or not is_open or moment - last < timedelta(seconds=length)


# --- closing --------------------------------------------------------------------------------------------------------


def test_the_bar_that_forms_is_not_given_until_the_next_one_begins() -> None:
    now = OPEN + 3 * MINUTE + timedelta(seconds=1)
    found = live(minutes(OPEN, 3), now)
    assert ends(found, now) == [OPEN + MINUTE, OPEN + 2 * MINUTE], "the third ended a second ago and may change yet"
    found.grown(row(OPEN + 2 * MINUTE, 77.0))
    found.grown(row(OPEN + 3 * MINUTE))
    assert ends(found, now)[-1] == OPEN + 3 * MINUTE
    assert bars(found, now).close[-1] == 77.0


def test_a_bar_after_which_nothing_was_traded_is_over_some_seconds_after_its_end() -> None:
    end = OPEN + 3 * MINUTE
    found = live(minutes(OPEN, 3), end)
    assert found.missing_for(end) == FINAL_SECONDS
    assert len(bars(found, end + FINAL - timedelta(milliseconds=1))) == 2
    assert len(bars(found, end + FINAL)) == 3
    assert found.missing_for(end + FINAL) == 0.0


def test_a_bar_of_a_day_is_over_a_quarter_of_an_hour_after_the_close() -> None:
    found = live([row(midnight(date(2026, 3, day))) for day in (2, 3)], CLOSE, DAY_SECONDS)
    assert ends(found, CLOSE + timedelta(seconds=DAY_FINAL_SECONDS - 1)) == [BEFORE]
    assert ends(found, CLOSE + timedelta(seconds=DAY_FINAL_SECONDS)) == [BEFORE, CLOSE]


def test_a_clock_of_ours_that_is_behind_never_gives_a_bar_before_its_end() -> None:
    now = OPEN + 3 * MINUTE - timedelta(seconds=1)
    found = live(minutes(OPEN, 3), now)
    found.grown(row(OPEN + 3 * MINUTE))
    assert ends(found, now)[-1] == OPEN + 2 * MINUTE
    assert ends(found, now + timedelta(seconds=1))[-1] == OPEN + 3 * MINUTE


def test_what_was_given_stays_as_it_was() -> None:
    now = OPEN + 5 * MINUTE
    found = live(minutes(OPEN, 5), now)
    before = bars(found, now).close.tolist()
    found.grown(row(OPEN + MINUTE, 55.0))
    found.answered([replace(each, volume=99.0) for each in minutes(OPEN, 5)])
    assert bars(found, now).close.tolist() == before
    assert bars(found, now).volume.tolist() == [10.0] * 4


def test_words_that_waited_in_the_socket_are_all_heard_before_a_bar_is_over() -> None:
    """This process stood still for a minute: the first of the words is as late as the last, and not the last."""
    found = live(minutes(OPEN, 2), OPEN + 2 * MINUTE)
    for close in (41.0, 42.0, 43.0):
        found.grown(row(OPEN + MINUTE, close))
    found.settle(OPEN + 3 * MINUTE)
    assert found.bars(OPEN + 3 * MINUTE).close[-1] == 43.0


def test_a_word_on_a_bar_that_comes_after_it_was_closed_is_passed_over() -> None:
    now = OPEN + 2 * MINUTE + FINAL
    found = live(minutes(OPEN, 2), now)
    assert len(bars(found, now)) == 2
    found.grown(row(OPEN + MINUTE, 55.0))
    found.grown(row(OPEN, 55.0))
    found.grown(row(OPEN + 2 * MINUTE))
    assert bars(found, now).close.tolist() == [100.0, 101.0]


def test_after_an_interruption_the_bar_that_formed_is_taken_from_the_next_answer() -> None:
    now = OPEN + 2 * MINUTE + timedelta(seconds=30)
    found = live(minutes(OPEN, 3), now)
    found.interrupted()
    found.grown(row(OPEN + 2 * MINUTE, 1.0))
    later = OPEN + 3 * MINUTE
    assert found.missing_for(later) is None, "nobody can tell what the third minute came to"
    found.answered([row(OPEN + MINUTE), row(OPEN + 2 * MINUTE, 42.0), row(later)])
    assert bars(found, later).close.tolist() == [100.0, 101.0, 42.0]


def test_an_answer_that_leaves_a_hole_starts_anew_and_one_over_night_does_not() -> None:
    yesterday = minutes(BEFORE - 3 * MINUTE, 3)
    found = live(yesterday, BEFORE + MINUTE)
    found.interrupted()
    found.answered(minutes(OPEN, 2))
    assert len(bars(found, OPEN + MINUTE + FINAL)) == 4
    found.interrupted()
    now = OPEN + 31 * MINUTE
    found.answered(minutes(OPEN + 29 * MINUTE, 2))
    assert ends(found, now) == [OPEN + 30 * MINUTE]
    assert not found.has_all


def test_older_pages_are_put_before_and_an_empty_one_is_the_end() -> None:
    now = OPEN + MINUTE + FINAL
    found = live(minutes(OPEN, 2), now)
    found.paged(minutes(BEFORE - 2 * MINUTE, 2) + minutes(OPEN, 2), now)
    assert ends(found, now) == [BEFORE - MINUTE, BEFORE, OPEN + MINUTE]
    assert not found.has_all
    found.paged([], now)
    assert found.has_all


def test_bars_that_cannot_be_are_passed_over() -> None:
    now = OPEN + 4 * MINUTE
    wrong = replace(row(OPEN + MINUTE), low=-1.0)
    found = live([row(OPEN), wrong, row(OPEN + 2 * MINUTE), row(OPEN + 3 * MINUTE)], now)
    found.grown(replace(row(OPEN + 3 * MINUTE), high=0.0))
    assert ends(found, now) == [OPEN + MINUTE, OPEN + 3 * MINUTE]


def test_a_long_life_keeps_what_is_asked_for_and_not_much_more() -> None:
    found = live(minutes(OPEN, 380), OPEN + 379 * MINUTE)
    found.trim(50)
    assert 50 <= len(found.closed) <= 150
    assert not found.has_all


# --- bars made of shorter ones --------------------------------------------------------------------------------------


def halves(first: datetime, count: int) -> list[Row]:
    return [row(first + number * 30 * MINUTE, 100.0 + number) for number in range(count)]


def test_hours_are_made_from_the_open_and_the_last_one_ends_with_the_session() -> None:
    now = CLOSE + MINUTE
    found = live(halves(OPEN, 13), now, 3_600)
    found.has_all = True
    made = bars(found, now)
    assert ends(found, now) == [OPEN + 60 * MINUTE * n for n in range(1, 7)] + [CLOSE]
    assert made.open.tolist() == [100.0] * 7
    assert made.close.tolist() == [101.0, 103.0, 105.0, 107.0, 109.0, 111.0, 112.0]
    assert made.volume.tolist() == [20.0] * 6 + [10.0]


def test_an_hour_that_may_lack_its_beginning_or_its_end_is_not_given() -> None:
    now = OPEN + 90 * MINUTE + FINAL
    found = live(halves(OPEN + 30 * MINUTE, 2), now, 3_600)
    assert ends(found, now) == []
    found.answered(halves(OPEN + 30 * MINUTE, 4))
    assert ends(found, OPEN + 121 * MINUTE) == [OPEN + 120 * MINUTE]
    found.paged([row(OPEN)], OPEN + 121 * MINUTE)
    assert ends(found, OPEN + 121 * MINUTE) == [OPEN + 60 * MINUTE, OPEN + 120 * MINUTE]


def test_an_hour_is_whole_once_its_last_part_is_over() -> None:
    end = OPEN + 60 * MINUTE
    found = live(halves(OPEN, 2), end, 3_600)
    assert ends(found, end) == []
    found.grown(row(end))
    assert ends(found, end + timedelta(seconds=1)) == [end]


# --- whatever happens -----------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.sampled_from(["wait", "tell", "cut", "answer", "page"]), st.integers(1, 200)), min_size=1, max_size=60
)


@settings(max_examples=60)
@given(STEPS, st.sampled_from([60, 300, 420, 3_600]))
def test_whatever_is_told_and_lost_the_bars_are_the_markets_own(steps: list[tuple[str, int]], seconds: int) -> None:
    """A market whose every minute trades at its own price: no bar may be of another, come early, or be left out."""
    found, now = series(seconds), OPEN
    base, given_bars = timedelta(seconds=found.base), {}

    def at(start: datetime, until: datetime) -> Row:
        """What is known of a base bar by `until`: its price rises with each second of it."""
        elapsed = min(until - start, base).total_seconds()
        return Row(start, 100.0, 100.0 + elapsed, 100.0, 100.0 + elapsed, elapsed)

    def begun(until: datetime) -> list[datetime]:
        return [
            OPEN + number * base for number in range(int((until - OPEN) / base) + 1) if OPEN + number * base < until
        ]

    for what, amount in steps:
        until = now + timedelta(seconds=amount)
        while now < until:
            now = min(until, now + timedelta(seconds=5))  # IBKR tells of a bar that grows every five seconds
            for start in begun(min(now, CLOSE))[-2:]:
                found.grown(at(start, now))
        starts = begun(min(now, CLOSE))
        match what:
            case "tell":
                for start in starts[-3:]:
                    found.grown(at(start, now))
            case "cut":
                found.interrupted()
            case "answer":
                found.answered([at(start, now) for start in starts[-1 - amount % 40 :]])
            case "page" if found.oldest is not None:
                older = [start for start in starts if start < found.oldest]
                found.paged([at(start, now) for start in older[-1 - amount % 40 :]], now)
        made = bars(found, now)
        told = [datetime.fromtimestamp(end, UTC) for end in made.end]
        assert all(earlier < later for earlier, later in pairwise(told))
        assert all(end <= now for end in told)
        for end, high, volume in zip(told, made.high, made.volume, strict=True):
            start = HOURS.bucket(end - timedelta(seconds=1), seconds)[0]
            length = (end - start).total_seconds()
            assert volume == length, "a bar is whole"
            assert high == 100.0 + min(length, base.total_seconds())
            assert given_bars.setdefault(end, volume) == volume
        for earlier, later in pairwise(told):
            assert HOURS.bucket(later - timedelta(seconds=1), seconds)[0] == earlier, "and none is left out"
