"""When a request for market data is out, and when it is ended."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openbell.brokers.ibkr.subscriptions import Patience, Rules, Step, Subscription

RULES = Rules(idle=100.0, answer=20.0, quiet=60.0)


def step(subscription: Subscription, at: float, *, is_trading: bool = True) -> Step:
    return subscription.step(at, RULES, is_trading=is_trading)


def answered(at: float = 0.0) -> Subscription:
    found = Subscription(at)
    found.sent(7, at)
    found.heard(at)
    return found


def test_what_is_asked_for_is_sent_once_and_kept_while_somebody_asks() -> None:
    found = Subscription(0.0)
    assert step(found, 0.0) is Step.SEND
    found.sent(7, 0.0)
    assert step(found, 1.0) is Step.NOTHING
    found.heard(1.0)
    found.asked(50.0)
    assert step(found, 60.0) is Step.NOTHING


def test_what_nobody_has_asked_for_lately_is_forgotten() -> None:
    found = answered()
    found.heard(99.0)
    assert step(found, 99.0) is Step.NOTHING
    assert step(found, 100.0) is Step.FORGET
    assert step(Subscription(0.0), 100.0) is Step.FORGET


def test_a_request_without_an_answer_is_given_up() -> None:
    found = Subscription(0.0)
    found.sent(7, 0.0)
    assert found.is_pending
    assert step(found, 20.0) is Step.GIVE_UP


def test_what_was_refused_is_tried_again_later_and_says_why() -> None:
    found = answered()
    found.refused("no rights", 30.0)
    assert (found.number, found.is_pending, found.why) == (0, False, "no rights")
    assert step(found, 29.0) is Step.NOTHING
    assert step(found, 30.0) is Step.SEND
    found.sent(8, 30.0)
    assert not found.is_pending, "nobody waits for what was refused before"
    found.heard(31.0)
    assert (found.is_refused, found.why) == (False, "")


def test_what_is_quiet_while_the_market_trades_is_asked_for_again() -> None:
    found = answered()
    assert step(found, 59.0) is Step.NOTHING
    assert step(found, 60.0, is_trading=False) is Step.NOTHING
    assert step(found, 60.0) is Step.RENEW


def test_what_is_doubted_is_asked_for_again_unless_it_is_heard_of_before() -> None:
    found = answered()
    found.doubted("data was lost", 5.0)
    assert found.why == "data was lost"
    assert step(found, 4.0) is Step.NOTHING
    assert step(found, 5.0) is Step.RENEW
    found.heard(4.0)
    assert step(found, 5.0) is Step.NOTHING


def test_what_has_no_answer_yet_cannot_be_doubted() -> None:
    found = Subscription(0.0)
    found.sent(7, 0.0)
    found.doubted("data was lost", 5.0)
    assert step(found, 6.0) is Step.NOTHING


def test_after_a_loss_it_is_asked_for_at_once() -> None:
    found = answered()
    found.over("the connection was lost")
    assert (found.number, found.is_pending) == (0, True)
    assert step(found, 0.1) is Step.SEND


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "send", "hear", "refuse", "lose", "doubt"]), st.floats(0.0, 40.0, allow_nan=False)
    ),
    max_size=60,
)


@given(EVENTS)
def test_whatever_happens_no_request_is_sent_twice_and_none_that_is_out_is_lost_sight_of(
    events: list[tuple[str, float]],
) -> None:
    found, at, out, numbers = Subscription(0.0), 0.0, 0, 0
    for event, seconds in events:
        at += seconds
        found.asked(at)
        now = found.step(at, RULES, is_trading=True)
        if now in {Step.RENEW, Step.GIVE_UP}:
            assert found.number == out != 0
            out = 0
            found.over("again") if now is Step.RENEW else found.refused("no answer", at + 30)
        elif now is Step.SEND:
            assert out == 0
            numbers += 1
            out = numbers
            found.sent(out, at)
        match event:
            case "hear" if out:
                found.heard(at)
            case "refuse" if out:
                out = 0
                found.refused("no", at + 30)
            case "lose":
                out = 0
                found.over("lost")
            case "doubt":
                found.doubted("doubt", at + 5)
        assert found.number == out


def test_many_first_answers_are_waited_for_no_longer_than_one() -> None:
    patience = Patience(3.0, again_after=30.0)
    assert patience.left(100.0) == 3.0
    assert patience.left(101.0) == 2.0
    assert patience.left(110.0) == 0.0
    assert patience.left(129.9) == 0.0
    assert patience.left(130.0) == 3.0


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=100))
def test_in_any_half_minute_at_most_the_patience_is_waited(steps: list[float]) -> None:
    patience, now, waited = Patience(3.0, again_after=30.0), 0.0, []
    for pause in steps:
        now += pause
        left = patience.left(now)
        assert 0.0 <= left <= 3.0
        waited.append((now, left))
        now += left
    for start, _ in waited:
        assert sum(left for at, left in waited if start <= at < start + 30) <= 6.0 + 1e-6
