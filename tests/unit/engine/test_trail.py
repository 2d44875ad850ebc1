"""The trail says why, once for as long as it stays the same."""

from __future__ import annotations

import itertools
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.values import T0, at, make_position, make_signal
from openbell.domain.reasons import ExitReason, HoldReason, Reason, reason_text
from openbell.domain.signals import Action
from openbell.engine.trail import (
    MAX_DETAIL,
    Note,
    Outcome,
    Run,
    Silence,
    TrailKind,
    begun,
    entry_notes,
    essence,
    exit_note,
    extended,
    held_or_left,
    same_for_all,
)


def note(seconds: float = 0, reason: str = "NO_SIGNAL", detail: str = "", order_ref: str = "", **rest: str) -> Note:
    return Note(
        at(seconds), rest.get("strategy", "trend"), rest.get("symbol", "AAPL"), TrailKind.ENTRY, reason, detail,
        order_ref,
    )  # fmt: skip


def runs_of(notes: list[Note]) -> list[Run]:
    """As a store keeps them."""
    runs: list[Run] = []
    for each in notes:
        longer = extended(runs[-1], each) if runs else None
        if longer is None:
            runs.append(begun(each))
        else:
            runs[-1] = longer
    return runs


def test_the_same_reason_again_is_one_row_that_grows() -> None:
    (run,) = runs_of([note(0), note(60), note(120)])
    assert (run.reason, run.since, run.until, run.count) == ("NO_SIGNAL", T0, at(120), 3)


@pytest.mark.parametrize(
    "other",
    [
        note(60, "WARMUP"),
        note(60, detail="another thing"),
        note(60, order_ref="ob1.x"),
        note(60, symbol="IBM"),
        note(60, strategy="other"),
        note(-60),
        replace(note(60), kind=TrailKind.EXIT),
    ],
)
def test_anything_that_is_not_the_same_begins_a_new_row(other: Note) -> None:
    assert extended(begun(note(0)), other) is None


def test_numbers_that_move_are_the_same_and_the_newest_ones_are_kept() -> None:
    (run,) = runs_of([note(0, detail="price 101.25, stop -98"), note(60, detail="price 1,099.5, stop +98.5e3")])
    assert run.detail == "price 1,099.5, stop +98.5e3"
    assert essence(run.detail) == essence("price 656, stop 98") == "price #, stop #"


def test_a_detail_of_any_length_is_cut_and_still_the_same() -> None:
    (run,) = runs_of([note(0, detail="x" * 2000), note(60, detail="x" * 3000)])
    assert len(run.detail) == MAX_DETAIL


REASONS = st.sampled_from(["NO_SIGNAL", "ORDERED", "WARMUP"])
DETAILS = st.sampled_from(["", "1 of 2", "3 of 4", "none"])


@given(st.lists(st.builds(note, st.just(0), REASONS, DETAILS)))
def test_rows_cover_every_tick_once_and_no_two_neighbours_say_the_same(notes: list[Note]) -> None:
    timed = [replace(each, time=at(60 * index)) for index, each in enumerate(notes)]
    runs = runs_of(timed)
    assert sum(run.count for run in runs) == len(timed)
    said = iter(timed)
    for run in runs:
        for _ in range(run.count):
            each = next(said)
            assert run.since <= each.time <= run.until
            assert (run.reason, essence(run.detail)) == (each.reason, essence(each.detail))
    for before, after in itertools.pairwise(runs):
        assert before.until < after.since
        assert (before.reason, essence(before.detail)) != (after.reason, essence(after.detail))


def test_a_signal_and_what_came_of_it_are_one_note() -> None:
    bought = Outcome(make_signal(), Reason.BUYING_POWER, "the order needs 900.00, 10.00 is left")
    (made,) = entry_notes(T0, [], [bought])
    assert made == Note(
        T0,
        "trend",
        "AAPL",
        TrailKind.ENTRY,
        "BUYING_POWER",
        "Buy with confidence 0.80 (rising), the order needs 900.00, 10.00 is left",
    )


def test_of_two_signals_the_one_that_was_ordered_speaks() -> None:
    sell = Outcome(make_signal(action=Action.SELL, reason="falling"), Reason.CONFLICT)
    buy = Outcome(make_signal(), Reason.ORDERED, order_ref="ob1.x")
    (made,) = entry_notes(T0, [], [sell, buy])
    assert (made.reason, made.order_ref) == ("ORDERED", "ob1.x")
    assert made.detail.endswith("also Sell with confidence 0.80 (falling): CONFLICT")
    (first,) = entry_notes(T0, [], [sell, replace(buy, order_ref="", reason=Reason.PAUSED)])
    assert first.reason == "CONFLICT"


def test_silence_and_ticks_without_an_evaluation_have_their_reasons() -> None:
    (silent,) = entry_notes(T0, [Silence("trend", "IBM", Reason.WARMUP, "2 of 3 bars")], [])
    assert (silent.symbol, silent.reason, silent.detail) == ("IBM", "WARMUP", "2 of 3 bars")
    closed = list(same_for_all(T0, [("a", ["X", "Y"]), ("b", ["X"])], Reason.MARKET_CLOSED))
    assert [(each.strategy, each.symbol, each.reason) for each in closed] == [
        ("a", "X", "MARKET_CLOSED"),
        ("a", "Y", "MARKET_CLOSED"),
        ("b", "X", "MARKET_CLOSED"),
    ]


def test_a_signal_that_waited_speaks_for_a_strategy_that_is_silent_now() -> None:
    waited = Outcome(make_signal(), Reason.ORDERED, order_ref="ob1.x")
    (made,) = entry_notes(T0, [Silence("trend", "AAPL", Reason.NO_SIGNAL)], [waited])
    assert (made.reason, made.order_ref) == ("ORDERED", "ob1.x")


def test_a_position_is_held_with_its_price_and_the_levels_around_it() -> None:
    held = held_or_left(make_position(), T0, Decimal("101.5000"), leaving=False)
    assert (held.kind, held.reason, held.detail) == (
        TrailKind.EXIT,
        "HOLD",
        "10 held, price 101.5, stop 98, target 104",
    )
    blind = held_or_left(make_position(), T0, None, leaving=False)
    assert (blind.reason, blind.detail) == ("NO_PRICE", "10 held, stop 98, target 104")
    assert held_or_left(make_position(), T0, None, leaving=True).reason == "LEAVING"
    assert exit_note(make_position(), T0, ExitReason.STOP_LOSS, order_ref="ob1.x").order_ref == "ob1.x"


@pytest.mark.parametrize("reason", [*Reason, *ExitReason, *HoldReason])
def test_every_reason_has_words(reason: Reason | ExitReason | HoldReason) -> None:
    assert reason_text(reason.value) == reason.text


def test_names_of_reasons_mean_one_thing() -> None:
    names = [reason.value for reason in (*Reason, *ExitReason, *HoldReason)]
    assert len(names) == len(set(names))
    assert reason_text("OF_ANOTHER_VERSION") == "OF_ANOTHER_VERSION"
