"""Signals that wait: bounded, by rank, each until its first answer that is not passing, and no longer than it lives."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fakes.values import at, make_intent, make_signal
from openbell.domain.reasons import PASSING, Reason
from openbell.domain.signals import Action, Signal
from openbell.engine.cycle import Decision
from openbell.engine.exits import is_exit
from openbell.engine.queue import CAPACITY, Joined, SignalQueue, join, keep

STANDINGS = {"trend": (1,), "other": (1,)}
NO_LOTS: dict[tuple[str, str], Decimal] = {}
LONG = {("trend", "AAPL"): Decimal(10)}
WAITS = Reason.ORDER_RATE_MINUTE


def queued(*signals: Signal, reason: Reason = WAITS, capacity: int = CAPACITY, **more: Any) -> SignalQueue:
    queue, full = keep(
        [Decision(signal, reason) for signal in signals],
        **({"standings": STANDINGS, "lots": NO_LOTS, "capacity": capacity} | more),
    )
    assert not full
    return queue


def joined(queue: SignalQueue, *fresh: Signal, **more: Any) -> Joined:
    return join(queue, fresh, **({"now": at(1), "standings": STANDINGS, "lots": NO_LOTS} | more))


def gone(result: Joined) -> list[tuple[Signal, Reason]]:
    return [(each.signal, each.reason) for each in result.gone]


def test_what_is_denied_for_a_passing_reason_is_decided_again_with_what_is_new() -> None:
    waits, fresh = make_signal(), make_signal(symbol="MSFT")
    result = joined(queued(waits), fresh)
    assert (set(result.signals), dict(result.known), result.gone) == ({waits, fresh}, {waits.key: WAITS}, ())


@pytest.mark.parametrize("reason", sorted(set(Reason) - PASSING))
def test_any_other_reason_is_the_last_word(reason: Reason) -> None:
    assert queued(make_signal(), reason=reason) == ()


def test_a_pause_a_stop_and_a_persons_limits_are_no_passing_reasons() -> None:
    held = {Reason.PAUSED, Reason.STRATEGY_PAUSED, Reason.STOPPED, Reason.NOT_LEADING, Reason.DAILY_LOSS}
    assert not any(reason.is_passing for reason in held | {Reason.ORDER_RATE_DAY, Reason.JOURNAL_LOST, Reason.ORDERED})


def test_a_signal_with_an_order_does_not_wait_whatever_its_reason() -> None:
    queue, _ = keep([Decision(make_signal(), WAITS, intent=make_intent())], standings=STANDINGS, lots=NO_LOTS)
    assert queue == ()


def test_a_signal_waits_until_its_lifetime_is_over_and_says_what_for() -> None:
    waits = make_signal(valid_until=at(60))
    assert joined(queued(waits), now=at(59.999)).signals == (waits,)
    result = joined(queued(waits), now=at(60))
    assert (result.signals, gone(result)) == ((), [(waits, Reason.EXPIRED)])
    assert WAITS.text in result.gone[0].detail


def test_an_opening_waits_no_longer_than_its_bar_may_age_and_a_closing_signal_all_of_its_lifetime() -> None:
    opens, leaves = make_signal(symbol="MSFT"), make_signal(action=Action.CLOSE)
    queue = queued(opens, leaves, lots=LONG, until=lambda signal: at(30))
    assert set(joined(queue, now=at(29.999), lots=LONG).signals) == {opens, leaves}
    result = joined(queue, now=at(30), lots=LONG)
    assert (result.signals, gone(result)) == ((leaves,), [(opens, Reason.EXPIRED)])


def test_when_a_wait_ends_is_kept_from_one_evaluation_to_the_next_until_it_is_said_again() -> None:
    waits = make_signal()
    queue = queued(waits, until=lambda signal: at(30))
    assert joined(queue).until == {waits.key: at(30)}
    assert joined(queue, make_signal(confidence=0.9)).until == {}


def test_a_newer_signal_of_the_strategy_on_the_symbol_takes_the_place_of_the_older() -> None:
    older, newer = make_signal(), make_signal(bar_time=at(60), valid_until=at(120))
    result = joined(queued(older), newer)
    assert (result.signals, gone(result), dict(result.known)) == ((newer,), [(older, Reason.SUPERSEDED)], {})


def test_the_strategys_change_of_mind_takes_the_place_of_what_it_said_before() -> None:
    buy, close = make_signal(), make_signal(action=Action.CLOSE)
    result = joined(queued(buy), close)
    assert (result.signals, gone(result)) == ((close,), [(buy, Reason.SUPERSEDED)])


def test_the_same_entry_said_again_goes_on_waiting_with_the_newer_words() -> None:
    older, again = make_signal(), make_signal(confidence=0.9, valid_until=at(90))
    result = joined(queued(older), again)
    assert (result.signals, dict(result.known), result.gone) == ((again,), {older.key: WAITS}, ())


def test_other_strategies_and_symbols_leave_it_alone() -> None:
    waits = make_signal()
    result = joined(queued(waits), make_signal(strategy="other"), make_signal(symbol="MSFT"))
    assert waits in result.signals


@pytest.mark.parametrize("standings", [{"trend": 2}, {"other": 1}], ids=["changed", "gone"])
def test_an_opening_does_not_outlive_what_it_was_said_under(standings: dict[str, int]) -> None:
    waits = make_signal()
    result = joined(queued(waits), standings=standings)
    assert (result.signals, gone(result)) == ((), [(waits, Reason.SUPERSEDED)])


def test_the_same_entry_said_anew_after_a_change_is_a_new_opinion() -> None:
    result = joined(queued(make_signal()), make_signal(), standings={"trend": 2})
    assert (len(result.signals), dict(result.known), len(result.gone)) == (1, {}, 1)


def test_an_exit_outlives_a_pause() -> None:
    leave = make_signal(action=Action.CLOSE)
    queue = queued(leave, reason=Reason.BROKER_DISCONNECTED, lots=LONG)
    assert joined(queue, standings={"trend": 2}, lots=LONG).signals == (leave,)


def test_where_there_is_no_room_the_lowest_rank_goes() -> None:
    signals = [make_signal(symbol=f"S{number}", confidence=number / 10) for number in (5, 9, 7)]
    queue, full = keep([Decision(each, WAITS) for each in signals], standings=STANDINGS, lots=NO_LOTS, capacity=2)
    assert [each.signal.symbol for each in queue] == ["S9", "S7"]
    assert [(each.signal.symbol, each.reason) for each in full] == [("S5", Reason.QUEUE_FULL)]


def test_priority_outweighs_confidence_in_the_queue() -> None:
    sure, first = make_signal(confidence=1.0), make_signal(strategy="other", confidence=0.6, priority=1)
    queue, _ = keep([Decision(sure, WAITS), Decision(first, WAITS)], standings=STANDINGS, lots=NO_LOTS, capacity=1)
    assert [each.signal for each in queue] == [first]


def test_exits_always_have_room() -> None:
    leave = make_signal(action=Action.CLOSE, confidence=0.0)
    opens = make_signal(symbol="MSFT", confidence=1.0, priority=100)
    queue, full = keep([Decision(opens, WAITS), Decision(leave, WAITS)], standings=STANDINGS, lots=LONG, capacity=0)
    assert [each.signal for each in queue] == [leave]
    assert [each.signal for each in full] == [opens]


# -- any history

signals = st.builds(
    make_signal,
    strategy=st.sampled_from(["trend", "other"]),
    symbol=st.sampled_from(["AAPL", "MSFT", "IBM"]),
    action=st.sampled_from(Action),
    confidence=st.floats(0, 1),
    priority=st.integers(0, 2),
    bar_time=st.sampled_from([at(0), at(60)]),
    valid_until=st.floats(1, 200).map(at),
)
reasons = st.sampled_from([*sorted(PASSING), Reason.ORDERED, Reason.PAUSED, Reason.ALREADY_HELD])


@given(st.lists(signals, max_size=8), st.randoms(use_true_random=False))
def test_the_order_in_which_decisions_come_decides_nothing(said: list[Signal], random: Any) -> None:
    unique = list({each.key[:2]: each for each in said}.values())
    shuffled = [*unique]
    random.shuffle(shuffled)
    queues = [
        keep([Decision(each, WAITS) for each in each_order], standings=STANDINGS, lots=NO_LOTS, capacity=2)
        for each_order in (unique, shuffled)
    ]
    assert queues[0] == queues[1]


class Evaluations(RuleBasedStateMachine):
    """Evaluations one after another: strategies speak, answers come, resources change, time passes."""

    CAPACITY = 2

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.standings = {"trend": 1, "other": 1}
        self.queue: SignalQueue = ()
        self.ordered: set[object] = set()
        self.said_under: dict[object, int] = {}

    @rule(seconds=st.floats(0.1, 80))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(strategy=st.sampled_from(["trend", "other"]))
    def a_resource_changes(self, strategy: str) -> None:
        self.standings = self.standings | {strategy: self.standings[strategy] + 1}

    @rule(
        fresh=st.lists(signals, max_size=3, unique_by=lambda each: each.key[:2]),
        answers=st.lists(reasons, min_size=1, max_size=4),
    )
    def evaluate(self, fresh: list[Signal], answers: list[Reason]) -> None:
        alive = tuple(replace(each, valid_until=at(self.now + 30)) for each in fresh)
        was = {each.signal.key for each in self.queue}
        self.ordered -= {each.key for each in alive}  # said once more, it is for the journal to know
        result = join(self.queue, alive, now=at(self.now), standings=self.standings, lots=LONG)
        for signal in result.signals:
            assert signal in alive or signal.key in result.known
            assert signal in alive or signal.key not in self.ordered  # what was ordered is not brought up again
            if signal not in alive:
                assert at(self.now) < signal.valid_until
                is_leaving = is_exit(signal, LONG.get((signal.strategy, signal.symbol), Decimal(0)))
                assert is_leaving or self.said_under[signal.key] == self.standings[signal.strategy]
        # Each that waited either goes on or is told of, once.
        assert was == set(result.known) | {each.signal.key for each in result.gone}
        assert not set(result.known) & {each.signal.key for each in result.gone}
        decisions = [Decision(each, reason) for each, reason in zip(result.signals, cycle(answers), strict=False)]
        self.ordered |= {each.signal.key for each in decisions if each.reason is Reason.ORDERED}
        for each in alive:
            self.said_under[each.key] = self.standings[each.strategy]
        self.queue, full = keep(decisions, standings=self.standings, lots=LONG, capacity=self.CAPACITY)
        told = {each.signal.key for each in self.queue} | {each.signal.key for each in full}
        assert told == {each.signal.key for each in decisions if each.reason.is_passing}

    @invariant()
    def the_queue_is_bounded_and_ordered(self) -> None:
        openings = [each.signal for each in self.queue if not self._leaves(each.signal)]
        assert len(openings) <= self.CAPACITY
        assert [each.rank for each in openings] == sorted((each.rank for each in openings), reverse=True)
        places = [each.signal.key[:2] for each in self.queue if not self._leaves(each.signal)]
        assert len(places) == len(set(places))

    def _leaves(self, signal: Signal) -> bool:
        return is_exit(signal, LONG.get((signal.strategy, signal.symbol), Decimal(0)))


TestEvaluations = Evaluations.TestCase
TestEvaluations.settings = settings(max_examples=40, stateful_step_count=15)
