"""An order's story in sentences, whatever became of it and however much is known."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from fakes.values import T0, at, make_fill, make_trade
from openbell.domain.orders import IntentKind, IntentState, Side
from openbell.engine.explain import SHOWN_RUNS, OrderStory, PositionStory, explain_order, explain_runs
from openbell.engine.trail import Run, TrailKind

ENTRY = OrderStory(
    order_ref="ob1.o.a",
    kind=IntentKind.ENTRY,
    strategy="trend",
    symbol="AAPL",
    side=Side.BUY,
    quantity=Decimal(10),
    filled=Decimal(0),
    average_price=None,
    state=IntentState.WORKING,
    reason="rising",
    created_at=T0,
)
EXIT = replace(
    ENTRY, order_ref="ob1.o.b", kind=IntentKind.EXIT, side=Side.SELL, reason="STOP_LOSS", created_at=at(90.5)
)


def run(reason: str = "HOLD", kind: TrailKind = TrailKind.EXIT, start: float = 0, **rest: object) -> Run:
    values = {"detail": "", "order_ref": "", "since": at(start), "until": at(start + 60), "count": 2} | rest
    return Run("trend", "AAPL", kind, reason, **values)  # type: ignore[arg-type]


def said(order: OrderStory, position: PositionStory | None = None) -> str:
    return "\n".join(explain_order(order, position or PositionStory()))


def test_an_entry_of_which_everything_is_known() -> None:
    known = replace(
        ENTRY,
        state=IntentState.FILLED,
        broker_order_id="1007",
        confidence=0.71,
        reference_price=Decimal("100.2500"),
        bar_time=T0,
        epoch=4,
        fills=(make_fill(time=at(2)),),
    )
    assert said(known, PositionStory((known,), None, run(detail="10 held"))).splitlines() == [
        "Order ob1.o.a: Buy 10 AAPL, an entry of trend.",
        "2026-03-02 15:00:00 UTC: trend said Buy with confidence 0.71 (rising) on the bar that ended at "
        "2026-03-02 15:00:00 UTC.",
        "No rule of risk spoke against it; its size came to 10 shares at a price of 100.25, 1002.50 in all.",
        "It was written to the journal before anything was sent, under epoch 4.",
        "The broker took it and filled it as its order 1007.",
        "2026-03-02 15:00:02 UTC: 10 filled at 100, commission 1.00.",
        "The position is looked at since 2026-03-02 15:00:00 to 15:01:00 UTC, 2 ticks: "
        "HOLD, no rule to leave it was reached (10 held).",
    ]


def test_an_entry_of_which_only_the_api_tells() -> None:
    told = replace(ENTRY, filled=Decimal(4), average_price=Decimal("100.5"))
    assert said(told).splitlines()[1:] == [
        "2026-03-02 15:00:00 UTC: trend said rising.",
        "No rule of risk spoke against it; its size came to 10 shares.",
        "The broker works on it.",
        "4 of 10 are filled, at 100.5 on average.",
    ]


def test_what_the_trail_says_of_the_signal_is_preferred() -> None:
    decision = run("ORDERED", TrailKind.ENTRY, detail="Buy with confidence 0.80 (rising)")
    assert "trend said Buy with confidence 0.80 (rising)." in said(replace(ENTRY, decision=decision))


def test_the_way_out_is_told_with_the_way_in() -> None:
    left = replace(EXIT, fills=(make_fill("x2", side=Side.SELL, price=Decimal(98), time=at(91)),))
    story = PositionStory((ENTRY, left), make_trade())
    text = said(ENTRY, story)
    assert "The position was left at 2026-03-02 15:01:30 UTC by order ob1.o.b: STOP_LOSS, the " in text
    assert "2026-03-02 15:01:31 UTC: 10 filled at 98, commission 1.00." in text
    assert "in at 100.00 and out at 104.00, with a profit of 38.00 after fees of 2.00." in text
    back = said(left, story)
    assert "the position was to be left: STOP_LOSS" in back
    assert "The position was opened by order ob1.o.a: Buy 10 AAPL at 2026-03-02 15:00:00 UTC." in back


@pytest.mark.parametrize(
    ("state", "detail", "words"),
    [
        (IntentState.INTENDED, "", "the broker has not answered."),
        (IntentState.DOUBTFUL, "", "the broker has not answered for certain."),
        (IntentState.CANCELLED, "", "The broker confirmed that it is cancelled."),
        (IntentState.REJECTED, "halted", "The broker refused it: halted."),
        (IntentState.WITHDRAWN, "the scheduler is paused", "It was not sent: the scheduler is paused."),
        (IntentState.WITHDRAWN, "", "It was not sent: it was withdrawn."),
    ],
)
def test_every_state_has_its_sentence(state: IntentState, detail: str, words: str) -> None:
    assert words in said(replace(ENTRY, state=state, detail=detail))


def test_what_the_gate_said_is_told_where_the_journal_does_not() -> None:
    held_back = replace(ENTRY, state=IntentState.WITHDRAWN, decision=run("PAUSED", TrailKind.ENTRY))
    assert "It was not sent: the scheduler is paused." in said(held_back)


def test_runs_are_told_by_strategy_and_symbol_newest_first_and_not_for_ever() -> None:
    runs = [
        run("NO_SIGNAL", TrailKind.ENTRY, 600, count=1, until=at(600)),
        run("HOLD", start=500),
        *(run(f"R{number}", TrailKind.ENTRY, 400 - number) for number in range(SHOWN_RUNS + 2)),
        run("WARMUP", TrailKind.ENTRY, 0, until=at(90_000)),
    ]
    lines = list(explain_runs([replace(runs[0], strategy="other"), *runs]))
    assert lines[:2] == [
        "other/AAPL",
        "  strategy: 2026-03-02 15:10:00 UTC: NO_SIGNAL, the strategy had nothing to say.",
    ]
    assert lines[2:6] == [
        "trend/AAPL",
        "  strategy: 2026-03-02 15:10:00 UTC: NO_SIGNAL, the strategy had nothing to say.",
        "  position: 2026-03-02 15:08:20 to 15:09:20 UTC, 2 ticks: HOLD, no rule to leave it was reached.",
        "    before, 2026-03-02 15:06:40 to 15:07:40 UTC, 2 ticks: R0, R0.",
    ]
    assert lines[-1] == "    and 3 earlier ones."
    (_, only) = explain_runs([runs[-1]])
    assert "2026-03-02 15:00:00 UTC to 2026-03-03 16:00:00 UTC, 2 ticks: WARMUP" in only
