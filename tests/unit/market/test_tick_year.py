"""A simulated year of ticks of every calendar: none drifts, none is missed or doubled, none falls into a break.

The expected ticks are counted from each session's own open, and compared with what `next_tick` says when it is asked
again and again, as the loops ask it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest

from openbell.market.calendar import SessionCalendar, calendar_for, next_tick
from openbell.market.sessions import VENUES, Session, load_table

FIRST, LAST = date(2026, 1, 1), date(2026, 12, 31)
MICROSECOND = timedelta(microseconds=1)
LONG_DAYS = ("CMES", "Always")  # with half a million minutes a year: of these, days of each kind
DAYS_OF_A_KIND = 8


def expected(session: Session, seconds: int) -> Iterator[datetime]:
    """Open + k × interval, where the market trades."""
    for k in range(int((session.close - session.open).total_seconds()) // seconds + 1):
        tick = session.open + timedelta(seconds=k * seconds)
        if any(begin <= tick < end for begin, end in session.parts):
            yield tick


def walked(calendar: SessionCalendar, seconds: int, start: datetime, end: datetime) -> Iterator[datetime]:
    now = start
    while (now := next_tick(calendar, True, seconds, 0.0, now)) < end:
        yield now


def offset(calendar: SessionCalendar, session: Session) -> timedelta | None:
    return None if calendar.name == "Always" else session.open.astimezone(load_table(calendar.name).zone).utcoffset()


def kinds(calendar: SessionCalendar, sessions: list[Session]) -> Iterator[list[Session]]:
    """Sessions that differ from their neighbours, each kind apart: half days, around holidays and clock changes."""
    yield [session for session in sessions if session.early]
    yield [one for pair in pairwise(sessions) if (pair[1].date - pair[0].date).days not in (1, 3) for one in pair]
    yield [one for pair in pairwise(sessions) if offset(calendar, pair[0]) != offset(calendar, pair[1]) for one in pair]
    yield sessions[:: len(sessions) // 4]


@pytest.mark.parametrize(
    ("name", "seconds"),
    [(name, 420) for name in (*VENUES, "Always")] + [(name, 60) for name in VENUES if name not in LONG_DAYS],
)
def test_every_tick_of_a_year(name: str, seconds: int) -> None:
    calendar = calendar_for(name)
    sessions = list(calendar.sessions(FIRST, LAST))
    assert len(sessions) >= 240
    wanted = [tick for session in sessions for tick in expected(session, seconds)]
    assert list(walked(calendar, seconds, sessions[0].open - MICROSECOND, sessions[-1].close)) == wanted


@pytest.mark.parametrize("name", LONG_DAYS)
def test_every_minute_of_the_particular_days_of_a_year(name: str) -> None:
    calendar = calendar_for(name)
    sessions = list(calendar.sessions(FIRST, LAST))
    sampled = {one.date: one for kind in kinds(calendar, sessions) for one in kind[:DAYS_OF_A_KIND]}
    for session in sampled.values():
        wanted = list(expected(session, 60))
        assert list(walked(calendar, 60, session.open - MICROSECOND, session.close)) == wanted
        following = calendar.next_session(session.open)
        assert following is not None
        assert next_tick(calendar, True, 60, 0.0, wanted[-1]) == following.open


@pytest.mark.parametrize("seconds", [60, 420])
def test_the_year_holds_half_days_holidays_and_clock_changes(seconds: int) -> None:
    """The year under test has what it is to be tested for, and a half day has fewer ticks than a whole one."""
    calendar = calendar_for("XNYS")
    sessions = list(calendar.sessions(FIRST, LAST))
    half_days, holidays, changes, _ = kinds(calendar, sessions)
    assert {one.date for one in half_days} == {date(2026, 11, 27), date(2026, 12, 24)}
    assert {date(2026, 4, 2), date(2026, 4, 6), date(2026, 7, 2), date(2026, 7, 6)} <= {one.date for one in holidays}
    assert [one.date for one in changes] == [
        date(2026, 3, 6), date(2026, 3, 9), date(2026, 10, 30), date(2026, 11, 2),
    ]  # fmt: skip
    assert len(list(expected(half_days[0], seconds))) == -(-210 * 60 // seconds)
    assert len(list(expected(changes[0], seconds))) == -(-390 * 60 // seconds)
