"""Which bars a request for history means, and how often one may be asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.hours import RegularHours
from openbell.gateway.errors import FieldError
from openbell.gateway.history import HistoryPlan, plan
from openbell.gateway.hours import AroundTheClock
from openbell.gateway.pacing import HistoryPacer, MessageRate
from openbell.gateway.wire.requests import ContractQuery, HistoryWanted

HOURS = RegularHours()
TUESDAY = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)  # ten o'clock in New York
ASKED = HistoryWanted(
    1, ContractQuery(symbol="AAPL"), False, "", "5 mins", "1 D", True, "TRADES", 1, keep_up_to_date=False
)


def starts(asked: HistoryWanted, now: datetime = TUESDAY) -> list[str]:
    made: HistoryPlan = plan(asked, now, HOURS)
    return [f"{start:%d %H:%M}" for start in made.starts(HOURS if asked.regular_hours else None)]


def test_a_day_is_the_session_that_goes_on() -> None:
    assert starts(ASKED) == ["24 14:30", "24 14:35", "24 14:40", "24 14:45", "24 14:50", "24 14:55"]


def test_before_the_opening_a_day_is_the_session_before() -> None:
    found = starts(ASKED, TUESDAY.replace(hour=12))
    assert (found[0], found[-1], len(found)) == ("23 14:30", "23 20:55", 78)


def test_on_a_monday_two_days_reach_over_the_weekend() -> None:
    found = starts(replace(ASKED, duration="2 D"), datetime(2026, 11, 23, 15, 0, tzinfo=UTC))
    assert (found[0], found[-1]) == ("20 14:30", "23 14:55")


def test_days_that_are_not_traded_have_no_daily_bar() -> None:
    daily = replace(ASKED, bar_size="1 day", duration="1 W")
    assert [text[:2] for text in starts(daily)] == ["17", "18", "19", "20", "23", "24"]


def test_daily_bars_are_as_many_as_were_asked_for() -> None:
    daily = replace(ASKED, bar_size="1 day", duration="5 D")
    assert [text[:2] for text in starts(daily)] == ["18", "19", "20", "23", "24"]


def test_an_end_in_the_past_ends_the_bars() -> None:
    found = starts(replace(ASKED, end="20261123 11:00:00 US/Eastern", duration="1800 S"))
    assert found == ["23 15:30", "23 15:35", "23 15:40", "23 15:45", "23 15:50", "23 15:55"]


def test_outside_of_hours_there_are_bars_only_when_they_are_wanted() -> None:
    night = TUESDAY.replace(hour=6)
    asked = replace(ASKED, duration="600 S")
    assert starts(asked, night) == []
    assert starts(replace(asked, regular_hours=False), night) == ["24 05:50", "24 05:55"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bar_size": "7 mins"}, "bar size"),
        ({"duration": "1 X"}, "duration"),
        ({"duration": ""}, "duration"),
        ({"what": "GOSSIP"}, "what to show"),
        ({"date_format": 3}, "date format"),
        ({"end": "yesterday"}, "endDateTime"),
        ({"bar_size": "1 secs", "duration": "1 Y"}, "too many bars"),
        ({"keep_up_to_date": True, "end": "20261123 11:00:00"}, "must be empty"),
    ],
)
def test_what_cannot_be_asked_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(FieldError, match=said):
        plan(replace(ASKED, **change), TUESDAY, HOURS)  # type: ignore[arg-type]


@given(
    st.text(max_size=12) | st.sampled_from(["60 S", "1 D", "2 W", "1 M", "1 Y"]),
    st.text(max_size=20) | st.sampled_from(["", "20261123 11:00:00 US/Eastern", "20200101-00:00:00"]),
    st.sampled_from(["30 secs", "1 day"]),
    st.integers(1_600_000_000, 1_900_000_000),
)
def test_any_duration_and_end_are_a_plan_or_one_kind_of_error(duration: str, end: str, size: str, epoch: int) -> None:
    asked = replace(ASKED, duration=duration, end=end, bar_size=size)
    try:
        made = plan(asked, datetime.fromtimestamp(epoch, UTC), AroundTheClock())
    except FieldError:
        return
    assert made.begin <= made.end


SMALL = replace(ASKED, bar_size="5 secs", duration="60 S")


def test_the_same_question_is_refused_for_fifteen_seconds() -> None:
    pacer = HistoryPacer()
    assert pacer.allow(SMALL, 0.0)
    assert not pacer.allow(SMALL, 14.9)
    assert pacer.allow(SMALL, 15.0)


def test_six_questions_on_one_contract_within_two_seconds_are_too_many() -> None:
    pacer = HistoryPacer()
    questions = [replace(SMALL, duration=f"{60 + number} S") for number in range(7)]
    assert [pacer.allow(question, 0.1) for question in questions[:6]] == [True] * 5 + [False]
    assert pacer.allow(questions[6], 2.2)


def test_sixty_questions_in_ten_minutes_are_the_most_and_bid_ask_counts_twice() -> None:
    pacer = HistoryPacer()
    answers = [pacer.allow(replace(SMALL, duration=f"{60 + n} S"), n * 3.0) for n in range(58)]
    assert all(answers)
    assert pacer.allow(replace(SMALL, what="BID_ASK"), 180.0)
    assert not pacer.allow(replace(SMALL, duration="5 S"), 183.0)
    assert pacer.allow(replace(SMALL, duration="5 S"), 601.0)


def test_bars_above_thirty_seconds_are_not_paced() -> None:
    pacer = HistoryPacer()
    assert all(pacer.allow(ASKED, 0.0) for _ in range(100))


def test_messages_are_counted_over_the_last_second() -> None:
    rate = MessageRate(2)
    assert [rate.count(at) for at in (0.0, 0.5, 0.9, 1.6, 1.7)] == [0, 0, 3, 0, 3]
