"""Trading and pausing need no operator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab import HOLDING, OPERATOR, QUICK_EXITS, SYSTEM, Place, is_available, positions, stats

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300, func_only=True)]


@pytest.fixture
def operator_away(place: Place) -> Iterator[Place]:
    """A scheduler that holds a position, and no operator any more."""
    place.api.apply(place.scheduler(exits=HOLDING, maxConcurrentTrades=2), place.strategy())
    place.wait(lambda it: positions(it), seconds=120)
    place.api.patch("Deployment", SYSTEM, OPERATOR, {"spec": {"replicas": 0}})
    try:
        place.api.wait("Deployment", SYSTEM, OPERATOR, lambda it: it and not it["status"].get("replicas"), 60)
        for pod in place.api.list_of("Pod", SYSTEM, "app.kubernetes.io/name=openbell-operator"):
            place.api.wait_gone("Pod", SYSTEM, pod["metadata"]["name"])
        yield place
    finally:
        place.api.patch("Deployment", SYSTEM, OPERATOR, {"spec": {"replicas": 1}})
        place.api.wait("Deployment", SYSTEM, OPERATOR, is_available, 120)


def test_with_the_operator_away_pausing_resuming_and_exits_go_on(operator_away: Place) -> None:
    place = operator_away

    place.ask(paused=True)
    paused = place.wait_for("Paused", "True", "Paused", seconds=15)
    exits_before = stats(place.get(), "exitsExecuted")
    place.ask(exits=QUICK_EXITS)
    place.api.patch("Strategy", place.namespace, "momentum", {"spec": {"exits": QUICK_EXITS}})
    flat = place.wait(lambda it: not positions(it) and stats(it, "exitsExecuted") > exits_before, seconds=90)
    trades = stats(flat, "tradesExecuted")
    place.ask(paused=False)
    place.wait_for("Paused", "False", "Running", seconds=15)
    place.wait(lambda it: stats(it, "tradesExecuted") > trades, seconds=60)

    assert paused["message"]
