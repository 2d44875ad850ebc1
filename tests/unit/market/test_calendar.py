"""Sessions by the exchange's wall clock, and ticks that never drift from them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.domain.errors import ManifestError
from openbell.market.calendar import AlwaysCalendar, SessionCalendar, calendar_for, next_tick
from openbell.market.sessions import VENUES

NEW_YORK = ZoneInfo("America/New_York")
XNYS = calendar_for("XNYS")
ALWAYS = AlwaysCalendar()


def new_york(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)


@pytest.mark.parametrize(
    "day",
    [
        "2001-09-11", "2001-09-12", "2001-09-13", "2001-09-14",  # the attacks
        "2004-06-11", "2007-01-02", "2018-12-05", "2025-01-09",  # presidents' funerals
        "2012-10-29", "2012-10-30",  # Sandy
        "2026-11-26", "2026-12-25", "2026-04-03", "2026-07-03", "2022-06-20",  # holidays
        "2026-11-28", "2026-11-29",  # a weekend
    ],
)  # fmt: skip
def test_days_without_trading_are_closed_all_day(day: str) -> None:
    assert XNYS.session_on(date.fromisoformat(day)) is None
    assert not XNYS.is_open(new_york(f"{day}T11:00"))


@pytest.mark.parametrize("day", ["2001-09-10", "2001-09-17", "2026-10-12", "2026-11-11", "2023-12-29"])
def test_days_between_and_bank_holidays_trade(day: str) -> None:
    session = XNYS.session_on(date.fromisoformat(day))
    assert session is not None
    assert (session.open, session.close) == (new_york(f"{day}T09:30"), new_york(f"{day}T16:00"))
    assert not session.early


@pytest.mark.parametrize("day", ["2026-11-27", "2026-12-24", "2025-07-03", "1999-11-26"])
def test_half_days_close_at_one(day: str) -> None:
    session = XNYS.session_on(date.fromisoformat(day))
    assert session is not None
    assert session.early
    assert session.close == new_york(f"{day}T13:00")
    assert not XNYS.is_open(new_york(f"{day}T13:00"))
    assert XNYS.is_open(new_york(f"{day}T12:59"))


def test_a_session_is_open_at_its_first_instant_and_closed_at_its_last() -> None:
    assert XNYS.is_open(new_york("2026-11-24T09:30"))
    assert not XNYS.is_open(new_york("2026-11-24T09:30") - timedelta(microseconds=1))
    assert XNYS.is_open(new_york("2026-11-24T16:00") - timedelta(microseconds=1))
    assert not XNYS.is_open(new_york("2026-11-24T16:00"))


def test_the_open_moves_by_an_hour_of_utc_when_the_clocks_change() -> None:
    before, after = XNYS.session_on(date(2026, 3, 6)), XNYS.session_on(date(2026, 3, 9))
    assert before is not None
    assert after is not None
    assert (before.open.hour, after.open.hour) == (14, 13)


def test_the_next_open_crosses_weekend_and_holiday() -> None:
    friday_evening = new_york("2026-09-04T18:00")  # Labor Day follows
    assert XNYS.next_open(friday_evening) == new_york("2026-09-08T09:30")
    assert XNYS.next_close(friday_evening) == new_york("2026-09-08T16:00")
    assert XNYS.next_close(new_york("2026-09-04T12:00")) == new_york("2026-09-04T16:00")


@pytest.mark.parametrize(
    ("moment", "clause"),
    [
        ("2026-11-22T03:00", "market closed until 09:30 ET Mon"),  # a Sunday
        ("2026-11-24T03:00", "market closed until 09:30 ET"),
        ("2026-11-26T12:00", "market closed until 09:30 ET Fri"),  # Thanksgiving
        ("2026-11-27T12:00", "market open until 13:00 ET"),
        ("2001-09-10T17:00", "market closed until 09:30 ET Mon 2001-09-17"),
        ("2030-01-02T12:00", "market closed: the XNYS sessions are known from 1998-01-01 to 2028-12-31 only"),
        ("1997-06-02T12:00", "market closed: the XNYS sessions are known from 1998-01-01 to 2028-12-31 only"),
    ],
)
def test_people_are_told_why_and_until_when(moment: str, clause: str) -> None:
    assert XNYS.describe(new_york(moment)) == clause


@pytest.mark.parametrize("moment", ["2029-01-02T12:00", "1997-06-02T12:00"])
def test_beyond_the_table_everything_is_closed_and_nothing_is_guessed(moment: str) -> None:
    assert not XNYS.is_open(new_york(moment))
    assert XNYS.next_open(new_york(moment)) is None
    assert XNYS.next_close(new_york(moment)) is None


def test_a_person_can_close_a_day_and_shorten_another() -> None:
    calendar = calendar_for("XNYS", {date(2026, 11, 24)}, {date(2026, 11, 25): time(12, 0)})
    assert calendar.session_on(date(2026, 11, 24)) is None
    session = calendar.session_on(date(2026, 11, 25))
    assert session is not None
    assert session.early
    assert session.close == new_york("2026-11-25T12:00")
    assert XNYS.session_on(date(2026, 11, 24)) is not None


@pytest.mark.parametrize("at", [time(9, 30), time(16, 0), time(3, 0)])
def test_an_early_close_outside_the_session_is_refused(at: time) -> None:
    with pytest.raises(ManifestError, match=r"earlyCloses: .* must lie between 09:30 and 16:00 ET"):
        calendar_for("XNYS", (), {date(2026, 11, 25): at})


def test_unknown_calendars_and_overrides_without_sessions_are_refused() -> None:
    with pytest.raises(ManifestError, match=r"'XPAR' is not known; allowed are XNYS, XNAS, XLON, .*CMES and Always"):
        calendar_for("XPAR")
    with pytest.raises(ManifestError, match=r"Always has no sessions to close; .* need an exchange's calendar: XNYS"):
        calendar_for("Always", {date(2026, 11, 24)})


def test_always_is_open_at_any_hour_of_any_day() -> None:
    calendar = calendar_for("Always")
    for moment in (new_york("2026-11-22T03:00"), new_york("2026-12-25T12:00"), new_york("2040-01-01T00:00")):
        assert calendar.is_open(moment)
        session = calendar.session_at(moment)
        assert session is not None
        assert session.contains(moment)
        assert calendar.next_open(moment) == session.close
    assert [s.date.day for s in calendar.sessions(date(2026, 2, 27), date(2026, 3, 1))] == [27, 28, 1]


moments = st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
intervals = st.sampled_from([1, 5, 30, 60, 97, 300, 3600, 7000, 86400])
settles = st.sampled_from([0.0, 0.25, 2.0])
calendars = st.sampled_from([ALWAYS, *map(calendar_for, VENUES)])


@given(calendars, st.booleans(), intervals, settles, moments)
def test_a_tick_lies_in_the_future_and_on_the_grid_of_its_session(
    calendar: SessionCalendar, hours_only: bool, interval: int, settle: float, now: datetime
) -> None:
    tick = next_tick(calendar, hours_only, interval, settle, now)
    assert tick > now
    session = calendar.session_at(tick)
    if hours_only:
        assert calendar.is_open(tick)
    base = datetime.combine(tick.date(), time(0), UTC) if session is None else session.open
    assert (tick - base - timedelta(seconds=settle)) % timedelta(seconds=interval) == timedelta(0)


@given(calendars, st.booleans(), intervals, settles, moments)
def test_ticks_do_not_depend_on_when_one_asks(
    calendar: SessionCalendar, hours_only: bool, interval: int, settle: float, now: datetime
) -> None:
    """A clock stepped back or forward, or a late wake-up, changes nothing: the grid is the wall clock's."""
    tick = next_tick(calendar, hours_only, interval, settle, now)
    between = now + (tick - now) / 2
    if between < tick:
        assert next_tick(calendar, hours_only, interval, settle, between) == tick
    assert next_tick(calendar, hours_only, interval, settle, tick) > tick


def ticks(calendar: SessionCalendar, hours_only: bool, interval: float, start: datetime, count: int) -> list[datetime]:
    found, now = [], start
    for _ in range(count):
        now = next_tick(calendar, hours_only, interval, 1.0, now)
        found.append(now)
    return found


def test_ticks_over_a_year_start_at_the_wall_clock_open_of_every_session() -> None:
    start, found = new_york("2026-01-01T00:00"), []
    now = start
    while now < new_york("2027-01-01T00:00"):
        now = next_tick(XNYS, True, 1800, 1.0, now)
        found.append(now.astimezone(NEW_YORK))
    days = {tick.date() for tick in found}
    assert days >= {session.date for session in XNYS.sessions(date(2026, 1, 1), date(2026, 12, 31))}
    assert {tick.time().replace(hour=0) for tick in found} == {time(0, 30, 1), time(0, 0, 1)}
    by_day = {day: sum(tick.date() == day for tick in found) for day in days}
    assert by_day[date(2026, 3, 6)] == by_day[date(2026, 3, 9)] == 13  # on both sides of the clock change
    assert by_day[date(2026, 11, 27)] == 7  # a half day


def test_outside_sessions_the_loop_ticks_on_only_where_hours_do_not_matter() -> None:
    close = new_york("2026-11-24T16:00")
    assert ticks(XNYS, True, 60, close - timedelta(seconds=90), 3) == [
        close - timedelta(seconds=59),
        new_york("2026-11-25T09:30") + timedelta(seconds=1),
        new_york("2026-11-25T09:31") + timedelta(seconds=1),
    ]
    assert ticks(XNYS, False, 60, close - timedelta(seconds=90), 3) == [
        close + timedelta(seconds=seconds) for seconds in (-59, 1, 61)
    ]


def test_beyond_the_table_the_loop_still_wakes() -> None:
    now = datetime(2031, 5, 1, 12, 0, tzinfo=UTC)
    assert next_tick(XNYS, True, 60, 1.0, now) == now + timedelta(seconds=1)
