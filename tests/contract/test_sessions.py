"""Every session of every venue is the one that the exchange-calendars library knows."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import exchange_calendars
import pandas
import pytest

from openbell.market.calendar import calendar_for
from openbell.market.sessions import VENUES, Session, load_table

# The library uses pandas in ways that the next major pandas will not have.
pytestmark = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")

CHICAGO = ZoneInfo("America/Chicago")
ONE_HOUR = timedelta(hours=1)


def schedule(name: str) -> list[tuple[date, datetime, datetime, tuple[datetime, datetime] | None]]:
    """Date, open, close and lunch of each of the library's sessions in the years of our table."""
    table = load_table(name)
    library: Any = exchange_calendars.get_calendar(name, start=table.first.isoformat(), end=table.last.isoformat())
    columns = ("open", "close", "break_start", "break_end")
    rows = zip(library.schedule.index, *(library.schedule[column] for column in columns), strict=True)
    return [
        (
            session.date(),
            opening.to_pydatetime(),
            closing.to_pydatetime(),
            None if pause is pandas.NaT else (pause.to_pydatetime(), resumption.to_pydatetime()),
        )
        for session, opening, closing, pause, resumption in rows
    ]


def ours(name: str) -> list[Session]:
    table = load_table(name)
    return list(calendar_for(name).sessions(table.first, table.last))


@pytest.mark.parametrize("name", [name for name in VENUES if name != "CMES"])
def test_sessions_opens_closes_and_lunches_are_the_librarys(name: str) -> None:
    assert [(s.date, s.open, s.close, s.lunch) for s in ours(name)] == schedule(name)


def test_the_cmes_session_is_the_librarys_without_its_hour_of_maintenance() -> None:
    """The library lets one session run into the next; Globex does not trade from 16:00 to 17:00 in Chicago."""
    sessions, library = ours("CMES"), schedule("CMES")
    assert [(s.date, s.open, s.lunch) for s in sessions] == [
        (day, opening, lunch) for day, opening, _, lunch in library
    ]
    for session, (_, _, close, _) in zip(sessions, library, strict=True):
        ends = close.astimezone(CHICAGO).time()
        assert ends in (time(17), time(12))
        assert session.close == (close - ONE_HOUR if ends == time(17) else close)
        assert session.early == (ends == time(12))


@pytest.mark.parametrize("name", VENUES)
def test_the_tables_reach_from_2000_to_2028(name: str) -> None:
    table = load_table(name)
    assert table.first <= date(2000, 1, 1)
    assert table.last == date(2028, 12, 31)


def test_the_usual_hours_are_those_that_most_sessions_have() -> None:
    """An early close is marked on the few days that have one, never on the many."""
    for name in VENUES:
        sessions = ours(name)
        assert 0 < sum(session.early for session in sessions) < len(sessions) / 20 or name == "XTKS"
        assert [session.open for session in sessions] == sorted({session.open for session in sessions})
