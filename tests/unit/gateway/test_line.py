"""The way of replies to a client: nothing is lost on it but what is meant to be, and nothing overtakes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openbell.gateway.faults import Fault, FaultPlan, Kind
from openbell.gateway.line import HOLD_SECONDS, Line
from openbell.gateway.wire.replies import CommissionReport, CurrentTime, ExecutionDetails, OrderStatus, Reply


def status(order_id: int) -> OrderStatus:
    return OrderStatus(order_id, "Submitted", 0, 1, 0, 1, 0, 0, 1, "")


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0.0, 0.5)), max_size=30),
    st.floats(0.1, 1.0),
    st.integers(0, 100),
    st.booleans(),
)
def test_reordered_and_late_messages_all_arrive_once(
    steps: list[tuple[bool, float]], chance: float, seed: int, slow: bool
) -> None:
    line = Line(FaultPlan([Fault(Kind.REORDER, chance=chance)], seed))
    now, told, came = 0.0, 0, []
    for number, (asked, wait) in enumerate(steps):
        if slow and number == len(steps) // 2:
            line.slow(now, 0.3)
        reply: Reply = CurrentTime(number) if asked else status(number)
        came += (line.answer if asked else line.tell)([reply], now)
        told += 1
        now += wait
        came += line.due(now)
    came += line.due(now + HOLD_SECONDS + 1.0)
    came += line.due(now + HOLD_SECONDS + 2.0)
    numbers = [reply.epoch if isinstance(reply, CurrentTime) else reply.order_id for reply in came]
    assert sorted(numbers) == list(range(told))


def test_late_answers_keep_their_order_also_with_what_follows() -> None:
    line = Line(FaultPlan())
    line.slow(0.0, 1.0)
    assert line.answer([CurrentTime(1)], 0.0) == []
    assert line.answer([CurrentTime(2)], 0.9) == []
    assert line.answer([CurrentTime(3)], 1.5) == []  # not slow any more, but 2 is still on its way
    assert line.due(1.0) == [CurrentTime(1)]
    assert line.due(1.9) == [CurrentTime(2), CurrentTime(3)]
    assert line.answer([CurrentTime(4)], 2.0) == [CurrentTime(4)]


def test_of_a_muted_order_neither_status_nor_fill_nor_fee_is_told() -> None:
    line = Line(FaultPlan())
    line.mute(7)
    contract = object()
    fill = ExecutionDetails(-1, 7, contract, "e1", "", "", "", "BOT", 1, 1, 1, 1, 1, 1, "")  # type: ignore[arg-type]
    assert line.tell([status(7), status(8), fill, CommissionReport("e1", 1, "USD", None)], 0.0) == [status(8)]
    assert line.answer([status(7)], 0.0) == [status(7)]  # when it is asked for


def test_a_frozen_line_is_silent() -> None:
    line = Line(FaultPlan())
    line.frozen = True
    assert line.answer([CurrentTime(1)], 0.0) == line.tell([status(1)], 0.0) == line.due(9.0) == []
