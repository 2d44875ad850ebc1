"""The gate's truth table: exits win."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.domain.orders import IntentKind
from openbell.domain.reasons import Reason
from openbell.domain.state import TradingState
from openbell.runner.gate import Gate

RUNNING, PAUSED, STOPPED = TradingState.RUNNING, TradingState.PAUSED, TradingState.STOPPED


@dataclass
class Held:
    """A fence that is held or not."""

    held: bool = True
    epoch: int = 1

    def holds(self) -> bool:
        return self.held


def open_gate(**changes: object) -> Gate:
    """Everything allows, except what is changed."""
    fence = Held(bool(changes.pop("leads", True)))
    values: dict[str, object] = {
        "asked": RUNNING,
        "strategies": {"trend": RUNNING},
        "broker_connected": True,
        "in_sync": True,
    }
    return Gate(fence, **(values | changes))  # type: ignore[arg-type]


gates = st.builds(
    open_gate,
    leads=st.booleans(),
    asked=st.sampled_from(TradingState),
    held=st.sampled_from(TradingState),
    strategies=st.dictionaries(st.sampled_from(["trend", "other"]), st.sampled_from(TradingState)),
    exits_halted_while_paused=st.booleans(),
    killed=st.booleans(),
    flattening=st.booleans(),
    broker_connected=st.booleans(),
    broker_required=st.booleans(),
    broker_released=st.booleans(),
    in_sync=st.booleans(),
    journal_open=st.booleans(),
    journal_lost=st.booleans(),
    state_is_stale=st.booleans(),
    live_refused=st.booleans(),
    closing=st.booleans(),
)


def test_an_open_gate_lets_entries_and_exits_through() -> None:
    gate = open_gate()
    assert gate.blocked(IntentKind.ENTRY, "trend") is None
    assert gate.blocked(IntentKind.EXIT, "trend") is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"leads": False}, Reason.NOT_LEADING),
        ({"closing": True}, Reason.NOT_LEADING),
        ({"asked": STOPPED}, Reason.STOPPED),
        ({"held": STOPPED}, Reason.STOPPED),
        ({"asked": PAUSED}, Reason.PAUSED),
        ({"held": PAUSED}, Reason.PAUSED),
        ({"journal_lost": True}, Reason.JOURNAL_LOST),
        ({"journal_open": False}, Reason.JOURNAL_FAILED),
        ({"state_is_stale": True}, Reason.STALE_STATE),
        ({"live_refused": True}, Reason.LIVE_NOT_ALLOWED),
        ({"broker_connected": False}, Reason.BROKER_DISCONNECTED),
        ({"broker_released": True, "broker_required": False}, Reason.BROKER_DISCONNECTED),
        ({"in_sync": False}, Reason.RECONCILING),
        ({"strategies": {"trend": PAUSED}}, Reason.STRATEGY_PAUSED),
        ({"strategies": {"trend": STOPPED}}, Reason.STRATEGY_PAUSED),
        ({"strategies": {}}, Reason.STRATEGY_PAUSED),
    ],
)
def test_one_thing_that_is_wrong_blocks_an_entry_and_names_itself(change: dict[str, object], reason: Reason) -> None:
    assert open_gate(**change).blocked(IntentKind.ENTRY, "trend") is reason


def test_a_lost_connection_holds_entries_until_the_next_one_was_compared() -> None:
    gate = open_gate()
    gate.lose_connection()
    assert gate.entry_blocked("trend") is Reason.BROKER_DISCONNECTED
    gate.broker_connected = True
    assert gate.entry_blocked("trend") is Reason.RECONCILING
    assert gate.exit_blocked() is None


def test_without_a_required_connection_the_broker_may_be_away() -> None:
    assert open_gate(broker_connected=False, broker_required=False).entry_blocked() is None


def test_a_strategy_that_is_off_does_not_block_the_others() -> None:
    gate = open_gate(strategies={"trend": PAUSED, "other": RUNNING})
    assert gate.entry_blocked("other") is None
    assert gate.entry_blocked() is None


@given(gates)
def test_nothing_but_lease_stop_and_halt_stops_an_exit(gate: Gate) -> None:
    leads = gate.fence.holds()
    stopped = gate.state is STOPPED and not gate.flattening
    halted = gate.state is PAUSED and gate.exits_halted_while_paused and not gate.flattening
    expected = Reason.NOT_LEADING if not leads else Reason.STOPPED if stopped else Reason.PAUSED if halted else None
    assert gate.blocked(IntentKind.EXIT, "trend") is expected
    assert gate.blocked(IntentKind.EXIT, "a strategy that is gone") is expected


@given(gates)
def test_an_entry_never_goes_where_the_scheduler_does_not_run(gate: Gate) -> None:
    if gate.blocked(IntentKind.ENTRY, "trend") is None:
        assert gate.fence.holds()
        assert gate.state is RUNNING
        assert gate.state_of("trend") is RUNNING
        assert gate.in_sync
        assert gate.journal_open


@given(gates)
def test_a_local_hold_only_ever_makes_the_state_safer(gate: Gate) -> None:
    held = gate.state
    gate.held = RUNNING
    order = [RUNNING, PAUSED, STOPPED]
    assert order.index(held) >= order.index(gate.state)
    assert gate.state is gate.asked
