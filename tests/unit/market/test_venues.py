"""What is particular to each exchange: lunch, changed hours, half days, evenings, and the clocks of its zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from openbell.domain.errors import ManifestError
from openbell.market.calendar import SessionCalendar, calendar_for, next_tick
from openbell.market.recorded import RecordedBars, RecordedDataError
from openbell.market.sessions import VENUES, Session, load_table
from openbell.resources.surroundings import Calendar

MICROSECOND = timedelta(microseconds=1)


def local(venue: str, text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=load_table(venue).zone).astimezone(UTC)


def session_of(venue: str, day: str) -> Session:
    session = calendar_for(venue).session_on(date.fromisoformat(day))
    assert session is not None
    return session


def test_the_resource_offers_every_calendar_that_exists() -> None:
    assert [each.value for each in Calendar] == [*VENUES, "Always"]


# -- lunch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("venue", "begin", "end"), [("XTKS", "11:30", "12:30"), ("XHKG", "12:00", "13:00")])
def test_at_lunch_the_session_goes_on_and_nothing_trades(venue: str, begin: str, end: str) -> None:
    calendar = calendar_for(venue)
    session = session_of(venue, "2026-11-24")
    first, after = local(venue, f"2026-11-24T{begin}"), local(venue, f"2026-11-24T{end}")
    assert session.lunch == (first, after)
    assert session.parts == ((session.open, first), (after, session.close))
    assert calendar.is_open(first - MICROSECOND)
    assert not calendar.is_open(first)
    assert not calendar.is_open(after - MICROSECOND)
    assert calendar.is_open(after)
    for moment in (first, after - MICROSECOND):
        assert calendar.session_at(moment) == session
        assert calendar.next_open(moment) == after
        assert calendar.next_close(moment) == session.close  # an order for the day outlives lunch
    following = calendar.next_session(first)
    assert following is not None
    assert following.date == date(2026, 11, 25)


@pytest.mark.parametrize(
    ("moment", "clause"),
    [
        ("2026-11-24T08:00", "market closed until 09:00 JST"),
        ("2026-11-24T10:00", "market open until 15:30 JST, lunch 11:30–12:30"),
        ("2026-11-24T11:30", "market closed for lunch until 12:30 JST"),
        ("2026-11-24T12:30", "market open until 15:30 JST"),
        ("2026-11-24T15:30", "market closed until 09:00 JST Wed"),
    ],
)
def test_people_are_told_of_lunch(moment: str, clause: str) -> None:
    assert calendar_for("XTKS").describe(local("XTKS", moment)) == clause


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (60, ["11:28", "11:29", "12:30", "12:31"]),
        (420, ["11:20", "11:27", "12:30", "12:37"]),  # 12:30 is on this grid too
        (660, ["11:12", "11:23", "12:40", "12:51"]),  # and not on this: the first tick of the afternoon is the grid's
    ],
)
def test_ticks_leave_lunch_out_and_stay_on_the_grid_of_the_open(seconds: int, expected: list[str]) -> None:
    now, found = local("XTKS", f"2026-11-24T{expected[0]}") - MICROSECOND, []
    for _ in expected:
        now = next_tick(calendar_for("XTKS"), True, seconds, 0.0, now)
        found.append(f"{now.astimezone(ZoneInfo('Asia/Tokyo')):%H:%M}")
    assert found == expected


def test_an_interval_of_a_day_ticks_at_the_open_and_not_after_lunch() -> None:
    opening = session_of("XTKS", "2026-11-24").open
    assert next_tick(calendar_for("XTKS"), True, 86_400, 0.0, opening) == session_of("XTKS", "2026-11-25").open


def test_a_settle_delay_pushes_no_tick_into_lunch() -> None:
    calendar, opening = calendar_for("XTKS"), session_of("XTKS", "2026-11-24").open
    fifth = opening + timedelta(seconds=5 * 1799)  # 11:29:55, with the delay 11:30:01
    assert calendar.is_open(fifth)
    assert next_tick(calendar, True, 1799, 6.0, fifth) == opening + timedelta(seconds=8 * 1799 + 6)  # 12:59:58


def test_who_trades_at_any_hour_ticks_through_lunch() -> None:
    noon = local("XTKS", "2026-11-24T12:00")
    assert next_tick(calendar_for("XTKS"), False, 60, 0.0, noon) == noon + timedelta(seconds=60)


# -- hours that changed, half days -----------------------------------------------------------------------------------


def test_tokyo_closes_half_an_hour_later_since_november_2024() -> None:
    assert session_of("XTKS", "2024-11-01").close == local("XTKS", "2024-11-01T15:00")
    assert session_of("XTKS", "2024-11-05").close == local("XTKS", "2024-11-05T15:30")
    assert not session_of("XTKS", "2024-11-01").early


def test_hong_kong_opens_half_an_hour_earlier_since_march_2011() -> None:
    assert session_of("XHKG", "2011-03-04").open == local("XHKG", "2011-03-04T10:00")
    assert session_of("XHKG", "2011-03-07").open == local("XHKG", "2011-03-07T09:30")


@pytest.mark.parametrize(
    ("venue", "day", "close"),
    [
        ("XNAS", "2026-11-27", "13:00"),
        ("XLON", "2026-12-24", "12:30"),
        ("XHKG", "2026-02-16", "12:00"),  # the eve of the lunar new year
        ("XHKG", "2010-12-24", "12:30"),
        ("XETR", "2026-12-30", "14:00"),
        ("XTSE", "2026-12-24", "13:00"),
        ("CMES", "2026-11-26", "12:00"),  # Thanksgiving
    ],
)
def test_half_days_close_early_and_have_no_lunch(venue: str, day: str, close: str) -> None:
    session = session_of(venue, day)
    assert session.close == local(venue, f"{day}T{close}")
    assert session.early
    assert session.lunch is None


@pytest.mark.parametrize(
    ("venue", "day"),
    [
        ("XNAS", "2001-09-11"), ("XNAS", "2012-10-29"), ("XTSE", "2001-09-12"),
        ("XLON", "2022-09-19"),  # the Queen's funeral
        ("XLON", "2026-12-28"),  # Boxing Day on a Saturday, kept on Monday
        ("XTKS", "2019-05-01"), ("XTKS", "2020-07-24"), ("XTKS", "2026-12-31"),
        ("XHKG", "2023-07-17"),  # a typhoon
        ("XHKG", "2026-02-17"),
        ("XETR", "2026-05-01"), ("XETR", "2026-12-24"),
        ("CMES", "2026-04-03"), ("CMES", "2026-11-28"), ("CMES", "2026-11-29"),
    ],
)  # fmt: skip
def test_holidays_and_special_closures_are_closed(venue: str, day: str) -> None:
    assert calendar_for(venue).session_on(date.fromisoformat(day)) is None
    noon = local(venue, f"{day}T12:00")
    assert not calendar_for(venue).is_open(noon)


# -- the evening before ----------------------------------------------------------------------------------------------


def test_the_cmes_session_opens_on_the_evening_before_its_date() -> None:
    calendar = calendar_for("CMES")
    monday = session_of("CMES", "2026-11-23")
    assert monday.open == local("CMES", "2026-11-22T17:00")  # a Sunday
    assert monday.close == local("CMES", "2026-11-23T16:00")
    assert monday.close - monday.open == timedelta(hours=23)
    assert not calendar.is_open(monday.open - MICROSECOND)
    assert calendar.session_at(monday.open) == monday
    assert calendar.session_at(local("CMES", "2026-11-23T00:00")) == monday
    assert not calendar.is_open(monday.close)
    tuesday = calendar.next_session(monday.close)
    assert tuesday is not None
    assert (tuesday.date, tuesday.open) == (date(2026, 11, 24), local("CMES", "2026-11-23T17:00"))
    assert calendar.next_open(monday.close) == tuesday.open


@pytest.mark.parametrize(
    ("moment", "clause"),
    [
        ("2026-11-22T16:00", "market closed until 17:00 CT"),
        ("2026-11-22T17:00", "market open until 16:00 CT Mon"),
        ("2026-11-23T09:00", "market open until 16:00 CT"),
        ("2026-11-23T16:30", "market closed until 17:00 CT"),
        ("2026-11-27T12:00", "market closed until 17:00 CT Sun"),
    ],
)
def test_people_are_told_of_the_day_that_an_evening_session_ends_on(moment: str, clause: str) -> None:
    assert calendar_for("CMES").describe(local("CMES", moment)) == clause


def test_closing_an_evening_session_closes_its_evening_too() -> None:
    calendar = calendar_for("CMES", {date(2026, 11, 24)}, {date(2026, 11, 25): time(9, 0)})
    assert not calendar.is_open(local("CMES", "2026-11-23T18:00"))
    assert calendar.is_open(local("CMES", "2026-11-24T18:00"))
    assert not calendar.is_open(local("CMES", "2026-11-25T09:00"))


@pytest.mark.parametrize(
    ("venue", "at", "message"),
    [
        ("CMES", time(16, 0), r"16:00 on 2026-11-25 .* between 00:00 and 16:00 CT$"),
        ("XTKS", time(12, 0), r"between 09:00 and 15:30 JST, not in the lunch break 11:30–12:30$"),
        ("XTKS", time(12, 30), r"not in the lunch break"),
        ("XTKS", time(15, 30), r"between 09:00 and 15:30"),
    ],
)
def test_an_early_close_outside_of_trading_is_refused(venue: str, at: time, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        calendar_for(venue, (), {date(2026, 11, 25): at})


def test_an_early_close_before_or_after_lunch_keeps_what_is_left() -> None:
    day = date(2026, 11, 25)
    morning = calendar_for("XTKS", (), {day: time(11, 30)}).session_on(day)
    short = calendar_for("XTKS", (), {day: time(14, 0)}).session_on(day)
    assert morning is not None
    assert short is not None
    assert (morning.lunch, morning.close) == (None, local("XTKS", "2026-11-25T11:30"))
    assert (short.lunch, short.close) == (session_of("XTKS", "2026-11-25").lunch, local("XTKS", "2026-11-25T14:00"))


def test_an_early_close_is_held_against_the_hours_of_its_own_year() -> None:
    assert calendar_for("XTKS", (), {date(2026, 11, 25): time(15, 15)}) is not None
    with pytest.raises(ManifestError, match="between 09:00 and 15:00 JST"):
        calendar_for("XTKS", (), {date(2020, 11, 25): time(15, 15)})


# -- the clocks of each zone -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("venue", "friday", "monday", "shift"),
    [
        ("XNYS", "2026-03-06", "2026-03-09", -1), ("XNYS", "2026-10-30", "2026-11-02", 1),
        ("XNAS", "2026-03-06", "2026-03-09", -1), ("XNAS", "2026-10-30", "2026-11-02", 1),
        ("XTSE", "2026-03-06", "2026-03-09", -1), ("XTSE", "2026-10-30", "2026-11-02", 1),
        ("CMES", "2026-03-06", "2026-03-09", -1), ("CMES", "2026-10-30", "2026-11-02", 1),
        ("XLON", "2026-03-27", "2026-03-30", -1), ("XLON", "2026-10-23", "2026-10-26", 1),
        ("XETR", "2026-03-27", "2026-03-30", -1), ("XETR", "2026-10-23", "2026-10-26", 1),
        ("XNYS", "2006-03-31", "2006-04-03", -1),  # the rule before 2007
        ("XTKS", "2026-03-27", "2026-03-30", 0), ("XHKG", "2026-10-23", "2026-10-26", 0),
    ],
)  # fmt: skip
def test_sessions_follow_the_clocks_of_their_zone(venue: str, friday: str, monday: str, shift: int) -> None:
    before, after = session_of(venue, friday), session_of(venue, monday)
    assert before.close - before.open == after.close - after.open
    assert after.open - before.open == timedelta(days=3, hours=shift)
    for opening in (before.open, after.open):
        assert opening.astimezone(load_table(venue).zone).time() == load_table(venue).hours_on(before.date).open


@pytest.mark.parametrize("venue", VENUES)
def test_sessions_never_overlap(venue: str) -> None:
    table = load_table(venue)
    for before, after in pairwise(calendar_for(venue).sessions(table.first, table.last)):
        assert before.open < before.close < after.open
        assert not before.lunch or before.open < before.lunch[0] < before.lunch[1] < before.close


# -- beyond the table ------------------------------------------------------------------------------------------------


def beyond(calendar: SessionCalendar) -> str:
    return f"the {calendar.name} sessions are known from {load_table(calendar.name).first} to 2028-12-31 only"


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("day", ["1997-06-02", "2029-01-02"])
def test_beyond_its_table_each_venue_says_so_and_guesses_nothing(venue: str, day: str) -> None:
    calendar, noon = calendar_for(venue), local(venue, f"{day}T12:00")
    assert calendar.beyond(date.fromisoformat(day)) == beyond(calendar)
    assert calendar.describe(noon) == f"market closed: {beyond(calendar)}"
    assert not calendar.is_open(noon)
    assert calendar.next_session(noon) is calendar.next_open(noon) is calendar.next_close(noon) is None
    assert calendar.beyond(date(2026, 11, 24)) == ""


def test_a_bar_beyond_the_table_is_refused_for_that_reason() -> None:
    bars = {"IBM": [(date(2031, 1, 2), (1.0, 1.0, 1.0, 1.0, 1.0))]}
    with pytest.raises(RecordedDataError, match=r"^IBM has a bar on 2031-01-02, the XNYS sessions are known from 1998"):
        RecordedBars(bars, calendar_for("XNYS"))
