"""Never faster than the gateway allows."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from openbell.brokers.ibkr.pacing import BURST, HistoricalPacer, HistoricalRequest, TokenBucket, Urgency

STEPS = st.lists(st.floats(0.0, 0.2), min_size=1, max_size=400)


def most_within(times: list[float], seconds: float) -> int:
    return max((sum(1 for other in times if at <= other < at + seconds) for at in times), default=0)


@given(STEPS, st.sampled_from(list(Urgency)))
def test_in_no_second_do_more_than_45_messages_leave(steps: Iterable[float], urgency: Urgency) -> None:
    bucket, now, sent = TokenBucket(), 0.0, []
    for step in steps:
        now += step
        if bucket.take(now, urgency):
            sent.append(now)
    assert most_within(sent, 1.0) <= 45


@given(STEPS, st.sampled_from(list(Urgency)))
def test_after_the_delay_that_was_told_a_message_may_leave(steps: Iterable[float], urgency: Urgency) -> None:
    bucket, now = TokenBucket(), 0.0
    for step in steps:
        now += step
        delay = bucket.delay(now, urgency)
        taken = bucket.take(now, urgency)
        assert taken == (delay == 0.0)
        if not taken:
            now += delay + 1e-6
            assert bucket.take(now, urgency)


def test_questions_leave_messages_for_entries_and_these_for_what_leaves_a_position() -> None:
    bucket = TokenBucket()
    asked = sum(bucket.take(0.0, Urgency.QUESTION) for _ in range(100))
    entered = sum(bucket.take(0.0, Urgency.ENTRY) for _ in range(100))
    left = sum(bucket.take(0.0, Urgency.EXIT) for _ in range(100))
    assert (asked, entered, left) == (BURST - 10, 5, 5)


def test_a_clock_that_goes_back_gives_no_messages() -> None:
    bucket = TokenBucket()
    assert all(bucket.take(100.0) for _ in range(BURST))
    assert not bucket.take(0.0)
    assert not bucket.take(100.0)
    assert bucket.take(100.05)


def test_after_a_complaint_nothing_leaves_for_a_moment() -> None:
    bucket = TokenBucket()
    bucket.drain(5.0)
    assert not bucket.take(5.0)
    assert bucket.take(5.05)


REQUESTS = st.builds(
    HistoricalRequest,
    key=st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"]),
    contract=st.sampled_from(["AAPL", "IBM"]),
    exchange=st.just("SMART"),
    kind=st.sampled_from(["TRADES", "BID_ASK"]),
)


@given(st.lists(st.tuples(REQUESTS, st.floats(0.0, 20.0)), max_size=150))
def test_historical_requests_keep_all_four_rules(asked: list[tuple[HistoricalRequest, float]]) -> None:
    pacer, now, open_ = HistoricalPacer(), 0.0, 0
    sent: list[tuple[float, HistoricalRequest]] = []
    for request, step in asked:
        now += step
        delay = pacer.delay(request, now)
        if delay is None:
            assert open_ >= 45
            pacer.end()
            open_ -= 1
            delay = pacer.delay(request, now)
        assert delay is not None
        now += delay
        assert pacer.delay(request, now) in {0.0, None} or pacer.delay(request, now) < 1e-6  # type: ignore[operator]
        pacer.begin(request, now)
        open_ += 1
        sent.append((now, request))
    assert open_ <= 50
    for at, request in sent:
        identical = [t for t, other in sent if other.key == request.key and at <= t < at + 15]
        alike = [t for t, other in sent if other.alike == request.alike and at <= t < at + 2]
        window = sum(other.weight for t, other in sent if at <= t < at + 600)
        assert len(identical) == 1
        assert len(alike) < 6
        assert window <= 60


def test_after_a_violation_nothing_is_asked_for_a_minute() -> None:
    pacer, request = HistoricalPacer(), HistoricalRequest("a", "AAPL", "SMART", "TRADES")
    pacer.violated(10.0)
    assert pacer.delay(request, 10.0) == 60.0
    assert pacer.delay(request, 70.0) == 0.0


def test_of_longer_bars_only_so_many_may_be_open_at_a_time() -> None:
    """IBKR has lifted the other three rules for bars of a minute and more."""
    pacer, request = HistoricalPacer(), HistoricalRequest("a", "AAPL", "SMART", "TRADES", 60)
    for _ in range(45):
        assert pacer.delay(request, 0.0) == 0.0
        pacer.begin(request, 0.0)
    assert pacer.delay(request, 0.0) is None
    pacer.end()
    assert pacer.delay(request, 0.0) == 0.0
    pacer.violated(0.0)
    assert pacer.delay(request, 10.0) == 50.0
    assert pacer.delay(HistoricalRequest("a", "AAPL", "SMART", "TRADES", 30), 60.0) == 0.0, "and they are not counted"
