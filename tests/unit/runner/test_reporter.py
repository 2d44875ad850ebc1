"""Status writes: at once on a transition, together otherwise, and none that changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from fakes.trading import until
from fakes.values import T0, at
from openbell.domain.clock import SimulatedClock
from openbell.domain.errors import ClusterError
from openbell.runner import reporter as reporting
from openbell.runner.reporter import Reporter
from openbell.telemetry.metrics import RunnerMetrics

MAIN = ("TradingScheduler", "main")
TREND = ("Strategy", "trend")


@dataclass
class FakeStatuses:
    """Takes statuses, unless it is away."""

    written: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    away: set[str] = field(default_factory=set)

    async def write_status(self, kind: str, name: str, status: Mapping[str, Any]) -> None:
        if name in self.away:
            raise ClusterError("away", 503)
        self.written.append((name, status))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.written]


class Desk:
    """A reporter, and what it is to report."""

    def __init__(self) -> None:
        self.statuses = FakeStatuses()
        self.clock = SimulatedClock(T0)
        self.metrics = RunnerMetrics(version="test", process=False)
        self.wanted: dict[tuple[str, str], Mapping[str, Any]] = {MAIN: status()}
        self.reporter = Reporter(
            self.statuses,  # type: ignore[arg-type]
            lambda: dict(self.wanted),
            self.clock,
            self.metrics,
        )


def status(**changes: Any) -> dict[str, Any]:
    condition = {"type": "Paused", "status": "False", "reason": "Running", "observedGeneration": 1, "message": "-"}
    return {
        "state": "Running",
        "canRun": True,
        "brokerConnected": True,
        "runner": {"epoch": 1},
        "stats": {"evaluationsRun": 1},
        "conditions": [condition | changes.pop("condition", {})],
    } | changes


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_the_first_status_is_written_at_once(desk: Desk) -> None:
    assert await desk.reporter.write_due()
    assert desk.statuses.written == [("main", desk.wanted[MAIN])]


async def test_a_transition_of_the_scheduler_tells_its_strategies_too(desk: Desk) -> None:
    desk.wanted[TREND] = status(why="the scheduler: waiting for the lease")
    await desk.reporter.write_due()

    desk.wanted[TREND] = status(why="evaluating every 1 s")
    assert await desk.reporter.write_due()
    assert desk.statuses.names == ["main", "trend"]

    desk.wanted[MAIN] = status(canRun=False)
    assert await desk.reporter.write_due()
    assert desk.statuses.names == ["main", "trend", "main", "trend"]


async def test_a_strategy_that_could_not_be_told_is_told_at_the_next_try(desk: Desk) -> None:
    desk.wanted[TREND] = status(why="the scheduler: waiting for the lease")
    await desk.reporter.write_due()
    desk.wanted |= {MAIN: status(canRun=False), TREND: status(why="evaluating every 1 s")}
    desk.statuses.away = {"trend"}
    assert not await desk.reporter.write_due()

    desk.statuses.away = set()
    assert await desk.reporter.write_due()

    assert desk.statuses.names == ["main", "trend", "main", "trend"]


async def test_what_has_not_changed_is_never_written_again(desk: Desk) -> None:
    await desk.reporter.write_due()
    desk.clock.set(at(3600))
    desk.wanted[MAIN] = status()
    await desk.reporter.write_due()
    await desk.reporter.write_due(everything=True)
    assert desk.statuses.names == ["main"]


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "Paused"},
        {"canRun": False},
        {"brokerConnected": False},
        {"runner": {"epoch": 2}},
        {"condition": {"status": "True"}},
        {"condition": {"reason": "Draining"}},
        {"condition": {"observedGeneration": 2}},
    ],
)
async def test_a_transition_is_written_at_once(desk: Desk, changes: dict[str, Any]) -> None:
    await desk.reporter.write_due()
    desk.wanted[MAIN] = status(**changes)
    await desk.reporter.write_due()
    assert desk.statuses.names == ["main", "main"]


async def test_a_lock_that_came_or_went_is_written_at_once_and_its_wording_is_not(desk: Desk) -> None:
    desk.wanted[MAIN] = status(locks=[{"id": "a", "why": "fallen to 90"}])
    await desk.reporter.write_due()
    desk.wanted[MAIN] = status(locks=[{"id": "a", "why": "fallen to 89"}])
    await desk.reporter.write_due()
    assert len(desk.statuses.written) == 1
    desk.wanted[MAIN] = status()
    await desk.reporter.write_due()
    assert len(desk.statuses.written) == 2


@pytest.mark.parametrize(
    "changes", [{"stats": {"evaluationsRun": 2}}, {"why": "else"}, {"condition": {"message": "126 s old"}}]
)
async def test_anything_else_waits_for_fifteen_seconds(desk: Desk, changes: dict[str, Any]) -> None:
    await desk.reporter.write_due()
    desk.wanted[MAIN] = status(**changes)
    desk.clock.set(at(14.9))
    await desk.reporter.write_due()
    assert desk.statuses.names == ["main"]
    desk.clock.set(at(15))
    await desk.reporter.write_due()
    assert desk.statuses.written[1:] == [("main", status(**changes))]


async def test_at_the_end_everything_that_changed_is_written(desk: Desk) -> None:
    desk.wanted[TREND] = status()
    await desk.reporter.write_due()
    desk.wanted[MAIN] = status(stats={"evaluationsRun": 2})
    await desk.reporter.write_due(everything=True)
    assert desk.statuses.names == ["main", "trend", "main"]


async def test_what_another_wrote_over_is_written_again(desk: Desk) -> None:
    await desk.reporter.write_due()
    desk.reporter.forget()
    await desk.reporter.write_due()
    assert desk.statuses.names == ["main", "main"]


async def test_a_strategy_that_comes_back_is_written_although_it_looks_the_same(desk: Desk) -> None:
    desk.wanted[TREND] = status()
    await desk.reporter.write_due()
    gone = desk.wanted.pop(TREND)
    await desk.reporter.write_due()
    desk.wanted[TREND] = gone
    await desk.reporter.write_due()
    assert desk.statuses.names == ["main", "trend", "trend"]


async def test_a_write_that_fails_is_counted_and_keeps_no_other_from_being_made(desk: Desk) -> None:
    desk.wanted[TREND] = status()
    desk.statuses.away = {"main"}
    assert not await desk.reporter.write_due()
    assert desk.statuses.names == ["trend"]
    assert b'openbell_errors_total{kind="cluster"} 1.0' in desk.metrics.exposition()
    desk.statuses.away = set()
    assert await desk.reporter.write_due()
    assert desk.statuses.names == ["trend", "main"]


@pytest.fixture
async def reporting_desk(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(reporting, "RETRY_SECONDS", 0.005)
    working = asyncio.create_task(desk.reporter.run())
    yield desk
    working.cancel()


async def test_an_announcement_wakes_the_reporter(reporting_desk: Desk) -> None:
    reporting_desk.reporter.announce()
    await until(lambda: reporting_desk.statuses.names == ["main"])
    reporting_desk.wanted[MAIN] = status(state="Paused")
    reporting_desk.reporter.announce()
    await until(lambda: reporting_desk.statuses.names == ["main", "main"])


async def test_a_failed_write_is_tried_again_without_being_asked(reporting_desk: Desk) -> None:
    reporting_desk.statuses.away = {"main"}
    reporting_desk.reporter.announce()
    await asyncio.sleep(0.02)
    assert reporting_desk.statuses.names == []
    reporting_desk.statuses.away = set()
    await until(lambda: reporting_desk.statuses.names == ["main"])
