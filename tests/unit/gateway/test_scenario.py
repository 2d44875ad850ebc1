"""Scenarios: what may be written, what each mistake is told, and that a seed repeats itself."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.domain.errors import ManifestError
from openbell.gateway.faults import Fault, FaultPlan, Kind
from openbell.gateway.scenario import parse


def test_a_scenario_says_what_the_gateway_is_and_what_goes_wrong() -> None:
    scenario = parse("""
        seed: 7
        accounts: [DU1, DU2]
        startingCash: "5000.50"
        faults:
          - kind: DropAcknowledgement
            nth: 2
          - kind: ConnectivityLost
            afterSeconds: 30
            seconds: 5
            dataLost: true
    """)
    settings = scenario.settings("127.0.0.1", 4002)
    assert (settings.exchange.seed, settings.exchange.accounts) == (7, ("DU1", "DU2"))
    assert settings.exchange.starting_cash == Decimal("5000.50")
    assert settings.faults == (
        Fault(Kind.DROP_ACKNOWLEDGEMENT, nth=2),
        Fault(Kind.CONNECTIVITY_LOST, after_seconds=30, seconds=5, data_lost=True),
    )


def test_an_empty_scenario_is_a_gateway_without_faults() -> None:
    assert parse("").settings().faults == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("faults: [{kind: Nonsense}]", "faults.0.kind: Input should be 'DropAcknowledgement'"),
        ("faults: [{kind: Reject, nth: 0}]", "faults.0.nth: Input should be greater than or equal to 1"),
        ("faults: [{kind: Reject, nth: 1, chance: 0.5}]", "faults.0: nth and chance exclude each other"),
        ("faults: [{kind: Restart}]", "Restart happens at a time: say afterSeconds or everySeconds"),
        ("faults: [{kind: Reject, afterSeconds: 3}]", "Reject happens at an opportunity"),
        ("colour: red", "colour: Extra inputs are not permitted"),
        ("accounts: []", "accounts: Tuple should have at least 1 item"),
        ("- 1", "is not a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_mistake_is_told_where_it_is(text: str, said: str) -> None:
    with pytest.raises(ManifestError, match="scenario") as wrong:
        parse(text)
    assert said in str(wrong.value)


@given(st.integers(0, 1_000), st.floats(0.05, 0.95), st.integers(1, 200))
def test_the_same_seed_gives_the_same_faults(seed: int, chance: float, count: int) -> None:
    faults = [Fault(Kind.DUPLICATE, chance=chance), Fault(Kind.REORDER, chance=chance)]
    one, two = FaultPlan(faults, seed), FaultPlan(faults, seed)
    first = [one.strike(kind) is not None for _ in range(count) for kind in (Kind.DUPLICATE, Kind.REORDER)]
    alone = [two.strike(Kind.REORDER) is not None for _ in range(count)]
    assert first[1::2] == alone  # whatever other kinds count


def test_faults_strike_by_number_and_by_rhythm() -> None:
    plan = FaultPlan([Fault(Kind.REJECT, nth=2), Fault(Kind.LOSE_CANCEL, every=3)])
    assert [plan.strike(Kind.REJECT) is not None for _ in range(4)] == [False, True, False, False]
    assert [plan.strike(Kind.LOSE_CANCEL) is not None for _ in range(6)] == [False, False, True] * 2
    assert list(plan.struck) == [Kind.REJECT, Kind.LOSE_CANCEL, Kind.LOSE_CANCEL]


def test_a_timed_fault_comes_once_or_again_and_again() -> None:
    once = Fault(Kind.DISCONNECT, after_seconds=5)
    again = Fault(Kind.RESTART, every_seconds=4)
    plan = FaultPlan([once, again])
    assert [[fault.kind.value for fault in plan.due(at)] for at in (3, 4, 6, 8, 9)] == [
        [],
        ["Restart"],
        ["Disconnect"],
        ["Restart"],
        [],
    ]
