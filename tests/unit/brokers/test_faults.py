"""Faults by script and by seeded chance."""

from __future__ import annotations

import pytest

from openbell.brokers.simulated.faults import Fault, FaultKind, FaultPlan, parse_fault
from openbell.domain.errors import ManifestError


def struck(text: str, seed: int = 1, times: int = 12) -> list[int]:
    plan = FaultPlan([parse_fault(text)], seed)
    kind = parse_fault(text).kind
    return [number for number in range(1, times + 1) if plan.strikes(kind) is not None]


def test_a_fault_strikes_at_the_opportunities_it_names() -> None:
    assert struck("lose-ack:nth=3") == [3]
    assert struck("lose-ack:every=5") == [5, 10]
    assert struck("lose-ack") == list(range(1, 13))
    assert struck("lose-ack:chance=0") == []
    assert struck("lose-ack:chance=1") == list(range(1, 13))


def test_chance_is_the_seed_s() -> None:
    seen = {tuple(struck("reject:chance=0.5", seed, 40)) for seed in range(10)}
    assert len(seen) == 10
    assert struck("reject:chance=0.5", 4, 40) == struck("reject:chance=0.5", 4, 40)
    assert 100 < len(struck("reject:chance=0.5", 4, 300)) < 200


def test_each_kind_counts_its_own_opportunities() -> None:
    plan = FaultPlan([parse_fault("reject:nth=2"), parse_fault("delay:nth=1:seconds=0.5")])
    assert plan.strikes(FaultKind.REJECT) is None
    assert plan.strikes(FaultKind.DELAY) == Fault(FaultKind.DELAY, nth=1, seconds=0.5)
    assert plan.strikes(FaultKind.REJECT) is not None
    assert plan.strikes(FaultKind.FREEZE) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hiccup", "'hiccup' is not known; allowed are lose-ack, reject"),
        ("reject:nth=0", "'nth=0' is not allowed"),
        ("reject:every=1.5", "'every=1.5' is not allowed"),
        ("reject:chance=2", "'chance=2' is not allowed"),
        ("delay:seconds=soon", "'seconds=soon' is not allowed"),
        ("delay:seconds=inf", "'seconds=inf' is not allowed"),
        ("delay:length=1", "'length=1' is not allowed"),
    ],
)
def test_a_wrong_fault_is_named(text: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_fault(text)
    assert message in str(caught.value)
