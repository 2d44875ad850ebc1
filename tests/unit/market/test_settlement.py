"""When trades settle, by the published schedules and rules."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.domain.errors import CalendarError
from openbell.market.bank_holidays import canadian_bank_holidays, us_bank_holidays
from openbell.market.calendar import calendar_for
from openbell.market.sessions import VENUES
from openbell.market.settlement import settled_from, settles_on, trade_date_of


def day(text: str) -> date:
    return date.fromisoformat(text)


def local(zone: str, text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


# The Federal Reserve's own schedules (K.8) of these years. A holiday that falls on a Saturday is not kept.
FEDERAL_RESERVE = {
    1999: "01-01 01-18 02-15 05-31 07-05 09-06 10-11 11-11 11-25",  # Christmas: Saturday
    2005: "01-17 02-21 05-30 07-04 09-05 10-10 11-11 11-24 12-26",  # New Year: Saturday
    2006: "01-02 01-16 02-20 05-29 07-04 09-04 10-09 11-23 12-25",  # Veterans Day: Saturday
    2009: "01-01 01-19 02-16 05-25 09-07 10-12 11-11 11-26 12-25",  # Independence Day: Saturday
    2010: "01-01 01-18 02-15 05-31 07-05 09-06 10-11 11-11 11-25",  # Christmas: Saturday
    2018: "01-01 01-15 02-19 05-28 07-04 09-03 10-08 11-12 11-22 12-25",  # Veterans Day: Sunday
    2021: "01-01 01-18 02-15 05-31 07-05 09-06 10-11 11-11 11-25",  # Juneteenth and Christmas: Saturday
    2022: "01-17 02-21 05-30 06-20 07-04 09-05 10-10 11-11 11-24 12-26",  # New Year: Saturday
    2023: "01-02 01-16 02-20 05-29 06-19 07-04 09-04 10-09 11-23 12-25",  # Veterans Day: Saturday
    2024: "01-01 01-15 02-19 05-27 06-19 07-04 09-02 10-14 11-11 11-28 12-25",
    2025: "01-01 01-20 02-17 05-26 06-19 07-04 09-01 10-13 11-11 11-27 12-25",
    2026: "01-01 01-19 02-16 05-25 06-19 09-07 10-12 11-11 11-26 12-25",  # Independence Day: Saturday
    2027: "01-01 01-18 02-15 05-31 07-05 09-06 10-11 11-11 11-25",  # Juneteenth and Christmas: Saturday
}


@pytest.mark.parametrize("year", FEDERAL_RESERVE)
def test_bank_holidays_are_those_of_the_federal_reserves_schedules(year: int) -> None:
    assert us_bank_holidays(year) == {day(f"{year}-{each}") for each in FEDERAL_RESERVE[year].split()}


def test_the_only_sessions_on_which_nothing_settles_are_columbus_day_and_veterans_day() -> None:
    calendar = calendar_for("XNYS")
    for year in range(1998, 2029):
        dates = {session.date for session in calendar.sessions(date(year, 1, 1), date(year, 12, 31))}
        kept = us_bank_holidays(year) & dates
        assert {each.month for each in kept} <= {10, 11}
        assert len(kept) == (1 if date(year, 11, 11).weekday() == 5 else 2)


@pytest.mark.parametrize(
    ("traded", "settled"),
    [
        # NASD Notice to Members 99-83, T+3
        ("1999-10-05", "1999-10-08"), ("1999-10-06", "1999-10-12"), ("1999-10-07", "1999-10-13"),
        ("1999-10-08", "1999-10-14"), ("1999-10-11", "1999-10-14"), ("1999-10-12", "1999-10-15"),
    ],
)  # fmt: skip
def test_trades_around_columbus_day_1999_settle_as_the_nasd_published(traded: str, settled: str) -> None:
    assert settles_on("XNYS", day(traded)) == day(settled)
    assert settles_on("XNAS", day(traded)) == day(settled)


@pytest.mark.parametrize(
    ("traded", "settled"),
    [
        ("2017-09-01", "2017-09-07"),  # a Friday, T+3 over Labor Day
        ("2017-09-05", "2017-09-07"),  # the first day of T+2: two days' trades settle together
        ("2024-05-24", "2024-05-29"),  # a Friday, T+2 over Memorial Day
        ("2024-05-28", "2024-05-29"),  # the first day of T+1
    ],
)
def test_the_cycle_is_the_one_of_the_trade_date(traded: str, settled: str) -> None:
    assert settles_on("XNYS", day(traded)) == day(settled)


@pytest.mark.parametrize(
    ("before", "holiday", "settled"),
    [
        ("2018-10-05", "2018-10-08", "2018-10-10"),  # Columbus Day, T+2
        ("2025-10-10", "2025-10-13", "2025-10-14"),  # Columbus Day, T+1
        ("2018-11-09", "2018-11-12", "2018-11-14"),  # Veterans Day, kept on a Monday, T+2
        ("2025-11-10", "2025-11-11", "2025-11-12"),  # Veterans Day, T+1
    ],
)
def test_trades_of_a_bank_holiday_settle_with_those_of_the_business_day_before(
    before: str, holiday: str, settled: str
) -> None:
    assert settles_on("XNYS", day(before)) == settles_on("XNYS", day(holiday)) == day(settled)


def test_nothing_settles_on_good_friday() -> None:
    assert settles_on("XNYS", day("2026-04-02")) == day("2026-04-06")


def test_a_veterans_day_on_a_saturday_takes_no_settlement_day() -> None:
    assert settles_on("XNYS", day("2023-11-08")) == day("2023-11-10")


@pytest.mark.parametrize(
    ("venue", "traded", "settled"),
    [
        ("XLON", "2001-02-02", "2001-02-09"),  # the last day of T+5
        ("XLON", "2001-02-05", "2001-02-08"),
        ("XLON", "2014-10-03", "2014-10-08"),  # the last day of T+3
        ("XLON", "2014-10-06", "2014-10-08"),
        ("XLON", "2026-04-02", "2026-04-08"),  # over Good Friday and Easter Monday
        ("XETR", "2014-10-02", "2014-10-07"),
        ("XETR", "2026-04-02", "2026-04-08"),
        ("XTKS", "2019-07-12", "2019-07-18"),  # the last day of T+3, over Marine Day
        ("XTKS", "2019-07-16", "2019-07-18"),
        ("XHKG", "2026-02-16", "2026-02-23"),  # the eve of the lunar new year, a half day: 17 to 19 closed
        ("XTSE", "2017-09-01", "2017-09-07"),
        ("XTSE", "2024-05-24", "2024-05-28"),
        ("XTSE", "2024-05-27", "2024-05-28"),
        ("CMES", "2026-11-24", "2026-11-25"),
        ("CMES", "2026-01-16", "2026-01-20"),  # Monday is a session, and a holiday of the banks
    ],
)
def test_each_venue_has_its_cycle(venue: str, traded: str, settled: str) -> None:
    assert settles_on(venue, day(traded)) == day(settled)


@pytest.mark.parametrize(
    ("traded", "settled"),
    [("2022-09-28", "2022-10-03"), ("2022-09-29", "2022-10-04"), ("2022-09-30", "2022-10-04")],
)
def test_toronto_settles_around_a_bank_holiday_as_its_notice_2022_021_says(traded: str, settled: str) -> None:
    assert settles_on("XTSE", day(traded)) == day(settled)


def test_canadian_bank_holidays_on_a_weekend_are_kept_on_monday() -> None:
    assert canadian_bank_holidays(2023) == {day("2023-10-02"), day("2023-11-13")}
    assert canadian_bank_holidays(2018) == {day("2018-11-12")}


@pytest.mark.parametrize(
    ("venue", "traded", "moment"),
    [
        ("XNYS", "2025-11-10", local("America/New_York", "2025-11-13T09:30")),  # settled on the 12th
        ("XNYS", "2026-11-25", local("America/New_York", "2026-11-30T09:30")),  # on the 27th, a half day
        ("XTKS", "2026-11-24", local("Asia/Tokyo", "2026-11-27T09:00")),
        ("CMES", "2026-11-24", local("America/Chicago", "2026-11-25T17:00")),  # the evening session of the 26th
    ],
)
def test_proceeds_count_from_the_session_after_settlement_day(venue: str, traded: str, moment: datetime) -> None:
    assert settled_from(venue, day(traded)) == moment


def test_a_market_that_is_always_open_settles_at_once() -> None:
    saturday = day("2026-11-28")
    assert settles_on("Always", saturday) == saturday
    assert settled_from("Always", saturday) == datetime(2026, 11, 28, tzinfo=UTC)
    moment = datetime(2026, 11, 28, 17, 3, tzinfo=UTC)
    assert settled_from("Always", trade_date_of("Always", moment)) <= moment


def test_the_trade_date_is_the_sessions_and_outside_of_sessions_the_next_ones() -> None:
    assert trade_date_of("XNYS", local("America/New_York", "2026-11-24T15:59")) == day("2026-11-24")
    assert trade_date_of("XNYS", local("America/New_York", "2026-11-24T16:00")) == day("2026-11-25")
    assert trade_date_of("XTKS", local("Asia/Tokyo", "2026-11-24T12:00")) == day("2026-11-24")  # at lunch
    assert trade_date_of("CMES", local("America/Chicago", "2026-11-22T18:00")) == day("2026-11-23")  # a Sunday
    assert settles_on("XNYS", day("2026-11-28")) == day("2026-12-01")  # a Saturday counts as Monday


def test_a_closure_of_the_resource_postpones_settlement() -> None:
    closed = calendar_for("XNYS", {day("2026-11-25")})
    assert settles_on("XNYS", day("2026-11-24"), closed) == day("2026-11-27")
    assert settled_from("XNYS", day("2026-11-24"), closed) == local("America/New_York", "2026-11-30T09:30")


@pytest.mark.parametrize("traded", ["1997-12-31", "2028-12-29", "2029-01-02"])
def test_settlement_outside_of_the_table_is_refused_in_one_sentence(traded: str) -> None:
    with pytest.raises(
        CalendarError,
        match=f"^when a trade of {traded} settles is not known: the XNYS sessions are known from 1998-01-01 to "
        "2028-12-31 only$",
    ):
        settles_on("XNYS", day(traded))


def test_what_lies_at_the_tables_end_is_not_guessed() -> None:
    assert settles_on("XNYS", day("2028-12-28")) == day("2028-12-29")
    with pytest.raises(CalendarError, match=r"^the session after 2028-12-29 is not known: the XNYS sessions are"):
        settled_from("XNYS", day("2028-12-28"))
    with pytest.raises(CalendarError, match=r"^the trade date of 2031-05-01 12:00 UTC is not known: the XNYS"):
        trade_date_of("XNYS", datetime(2031, 5, 1, 12, tzinfo=UTC))


@given(st.sampled_from(VENUES), st.dates(date(2000, 1, 10), date(2028, 11, 30)))
def test_settlement_comes_after_the_trade_and_never_runs_backwards(venue: str, traded: date) -> None:
    settled = settles_on(venue, traded)
    assert traded < settled <= traded + timedelta(days=16)
    assert calendar_for(venue).session_on(settled) is not None
    assert settles_on(venue, traded + timedelta(days=1)) >= settled
    moment = settled_from(venue, traded)
    session = calendar_for(venue).session_at(moment)
    assert session is not None
    assert session.open == moment
    assert session.date > settled
