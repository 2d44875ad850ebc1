"""What the API may ask of a runner: gate before patch, held while the API server is away, and never opened here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from fakes.trading import World, scheduler_manifest, strategy_manifest, until
from fakes.values import T0, make_intent, make_signal, make_update
from openbell.domain.errors import ClusterError, ManifestError
from openbell.domain.orders import IntentState
from openbell.domain.reasons import Reason
from openbell.domain.state import TradingState
from openbell.resources.load import Manifest, parse_manifest
from openbell.runner import view as viewing
from openbell.runner.ledger import SignalRecord
from openbell.runner.pulse import Pulse
from openbell.runner.view import View
from openbell.telemetry.logs import LogTail
from openbell.web.hub import Hub
from openbell.web.view import LifecycleResult, StrategyRequest

RUNNING, PAUSED, STOPPED = TradingState.RUNNING, TradingState.PAUSED, TradingState.STOPPED


@dataclass
class FakeSource:
    """The API server: merges patches, counts generations, and tells the runner unless `is_silent`."""

    tell: Callable[[int, Mapping[str, Any]], object]
    spec: dict[str, Any] = field(default_factory=lambda: {"enabled": True, "paused": False})
    generation: int = 1
    failing: ClusterError | None = None
    is_silent: bool = False
    patches: list[Mapping[str, Any]] = field(default_factory=list)
    created: list[Mapping[str, Any]] = field(default_factory=list)
    while_patching: Callable[[], object] = lambda: None

    async def patch_scheduler(self, spec: Mapping[str, Any]) -> int:
        self.while_patching()
        if self.failing is not None:
            raise self.failing
        self.patches.append(spec)
        changed = {**self.spec, **spec}
        if changed != self.spec:
            self.spec, self.generation = changed, self.generation + 1
        if not self.is_silent:
            self.tell(self.generation, self.spec)
        return self.generation

    async def create_strategy(self, document: Mapping[str, Any]) -> Manifest:
        self.created.append(document)
        return parse_manifest({**document, "metadata": {**document["metadata"], "namespace": "default"}})


@dataclass
class Desk:
    world: World
    source: FakeSource
    view: View

    @property
    def state(self) -> TradingState:
        return self.world.gate.state


@pytest.fixture
async def desk(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """A running scheduler with one strategy."""
    monkeypatch.setattr(viewing, "PATCH_RETRY_SECONDS", 0.002)
    world.take(scheduler_manifest(), strategy_manifest())
    source = FakeSource(
        lambda generation, spec: world.take(scheduler_manifest(generation=generation, **spec), strategy_manifest())
    )
    view = View(
        situation=world.situation,
        source=source,  # type: ignore[arg-type]
        journal=world.journal,
        clock=world.clock,
        real_clock=world.clock,
        metrics_registry=world.metrics,
        tail=LogTail(),
        pulse=Pulse(world.clock),
        hub=Hub(clock=world.clock),
    )
    yield Desk(world, source, view)
    await view._forget_patching()


@pytest.mark.parametrize(("call", "state"), [("pause", PAUSED), ("stop", STOPPED)])
async def test_the_gate_closes_before_the_resource_is_patched(desk: Desk, call: str, state: TradingState) -> None:
    seen: list[TradingState] = []
    desk.source.while_patching = lambda: seen.append(desk.state)
    result = await getattr(desk.view, call)(0)
    assert (seen, desk.state) == ([state], state)
    assert result == LifecycleResult(2, acknowledged=True)
    assert desk.world.gate.held is RUNNING, "the resource says it by now"


@pytest.mark.parametrize(("call", "before"), [("resume", {"paused": True}), ("start", {"enabled": False})])
async def test_opening_is_never_local(desk: Desk, call: str, before: dict[str, bool]) -> None:
    await desk.source.patch_scheduler(before)
    closed = desk.state
    desk.source.is_silent = True
    result = await getattr(desk.view, call)(0)
    assert result == LifecycleResult(3, acknowledged=False)
    assert desk.state is closed, "until the resource itself says it"
    desk.source.tell(3, desk.source.spec)
    assert desk.state is RUNNING


async def test_opening_while_the_api_server_is_away_is_an_error(desk: Desk) -> None:
    await desk.view.pause(0)
    desk.source.failing = ClusterError("away")
    with pytest.raises(ClusterError):
        await desk.view.resume(0)
    assert desk.state is PAUSED


@pytest.mark.parametrize("status", [None, 500, 503, 429, 409])
async def test_a_pause_while_the_api_server_is_away_is_held_and_told_later(desk: Desk, status: int | None) -> None:
    desk.source.failing = ClusterError("away", status)
    assert await desk.view.pause(0) == LifecycleResult(None, acknowledged=False)
    assert (desk.state, desk.source.patches) == (PAUSED, [])
    desk.source.failing = None
    await until(lambda: desk.source.patches == [{"paused": True}])
    await until(lambda: desk.world.gate.held is RUNNING)
    assert desk.state is PAUSED
    assert desk.world.supervisor.acknowledged is not None
    assert desk.world.supervisor.acknowledged.generation == 2


async def test_a_pause_that_is_refused_is_told_and_the_gate_stays_closed(desk: Desk) -> None:
    desk.source.failing = ClusterError("forbidden", 403)
    with pytest.raises(ClusterError, match="forbidden"):
        await desk.view.pause(0)
    assert desk.state is PAUSED
    desk.source.failing = None
    await asyncio.sleep(0.01)
    assert desk.source.patches == [], "a refusal is not tried again"
    await desk.view.resume(0)
    assert desk.state is RUNNING


async def test_a_held_pause_outlives_generations_from_before_it(desk: Desk) -> None:
    desk.source.is_silent = True
    await desk.view.pause(0)
    desk.world.take(scheduler_manifest(generation=1, minConfidence=0.6), strategy_manifest())
    assert desk.state is PAUSED


async def test_a_stop_and_a_pause_that_wait_are_both_said(desk: Desk) -> None:
    desk.source.failing = ClusterError("away")
    await desk.view.stop(0)
    await desk.view.pause(0)
    assert desk.state is STOPPED, "a pause opens nothing"
    desk.source.failing = None
    await until(lambda: desk.source.patches == [{"enabled": False, "paused": True}])
    assert desk.state is STOPPED


async def test_a_pause_after_a_stop_that_has_not_come_back_yet_opens_nothing(desk: Desk) -> None:
    desk.source.is_silent = True
    await desk.view.stop(0)
    await desk.view.pause(0)
    assert desk.state is STOPPED


async def test_a_start_replaces_a_stop_that_waits_and_keeps_a_pause_that_waits(desk: Desk) -> None:
    desk.source.failing = ClusterError("away")
    await desk.view.pause(0)
    await desk.view.stop(0)
    desk.source.failing = None
    await desk.view.start(0)
    assert desk.source.patches[-1] in ({"paused": True, "enabled": True}, {"enabled": True})
    assert desk.source.spec == {"paused": True, "enabled": True}
    assert desk.state is PAUSED


async def test_a_resume_that_fails_leaves_the_pause_to_be_told(desk: Desk) -> None:
    desk.source.failing = ClusterError("away")
    await desk.view.pause(0)
    with pytest.raises(ClusterError):
        await desk.view.resume(0)
    desk.source.failing = None
    await until(lambda: desk.source.patches == [{"paused": True}])
    assert desk.state is PAUSED


async def test_a_pause_that_is_refused_does_not_forget_the_stop_that_waits(desk: Desk) -> None:
    desk.source.failing = ClusterError("away")
    await desk.view.stop(0)
    desk.source.failing = ClusterError("forbidden", 403)
    with pytest.raises(ClusterError):
        await desk.view.pause(0)
    desk.source.failing = None
    await until(lambda: desk.source.patches == [{"enabled": False}])


async def test_a_call_that_waits_returns_when_the_pause_is_acknowledged(desk: Desk) -> None:
    supervising = asyncio.create_task(desk.world.supervisor.run())
    await desk.world.desk.place([make_intent("a")])
    waiting = asyncio.create_task(desk.view.pause(5))
    await until(lambda: desk.source.patches == [{"paused": True}])
    assert not waiting.done()
    await desk.world.desk.on_update(make_update(IntentState.REJECTED))
    assert await waiting == LifecycleResult(2, acknowledged=True)
    supervising.cancel()


async def test_a_call_that_does_not_wait_says_that_it_drains(desk: Desk) -> None:
    await desk.world.desk.place([make_intent("a")])
    assert await desk.view.pause(0) == LifecycleResult(2, acknowledged=False)


# -- strategies


def request(**changes: Any) -> StrategyRequest:
    values: dict[str, Any] = {"type": "Momentum", "symbols": ("BRK.B", "AAPL"), "parameters": {"lookback": 5}}
    return StrategyRequest(**(values | changes))


async def test_a_strategy_is_added_under_this_scheduler_with_what_was_asked(desk: Desk) -> None:
    shown = await desk.view.add_strategy(request(name="mine", min_confidence=0.7, bar_seconds=300))
    (document,) = desk.source.created
    assert document["metadata"] == {"name": "mine"}
    assert document["spec"] == {
        "schedulerRef": {"name": "main"},
        "enabled": True,
        "type": "Momentum",
        "parameters": {"lookback": 5},
        "symbols": ["BRK.B", "AAPL"],
        "barSeconds": 300,
        "minConfidence": 0.7,
    }
    assert (shown.name, shown.bar_seconds, shown.parameters["lookback"]) == ("mine", 300, 5)


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        ((), "momentum-brk-b"),
        (("momentum-brk-b",), "momentum-brk-b-2"),
        (("momentum-brk-b", "momentum-brk-b-2"), "momentum-brk-b-3"),
    ],
)
async def test_a_name_is_made_up_that_is_not_taken(desk: Desk, taken: tuple[str, ...], name: str) -> None:
    desk.world.take(scheduler_manifest(), *(strategy_manifest(each) for each in taken))
    await desk.view.add_strategy(request())
    assert desk.source.created[0]["metadata"]["name"] == name


async def test_wrong_parameters_are_refused_before_anything_is_made(desk: Desk) -> None:
    with pytest.raises(ManifestError, match=r"spec\.parameters\.lookbak is not a parameter of Momentum"):
        await desk.view.add_strategy(request(parameters={"lookbak": 5}))
    assert desk.source.created == []


async def test_before_the_scheduler_is_known_no_strategy_is_added(desk: Desk) -> None:
    desk.world.situation.control = None
    with pytest.raises(ManifestError, match="not been read yet"):
        await desk.view.add_strategy(request())


# -- what is shown


async def test_the_status_shows_what_is_asked_and_what_is_acknowledged(desk: Desk) -> None:
    await desk.world.desk.place([make_intent("a")])
    await desk.view.pause(0)
    shown = desk.view.status()
    assert (shown.state, shown.paused, shown.generation, shown.observed_generation) == (PAUSED, True, 2, 1)
    assert shown.why.startswith("waiting for the broker's answer")


async def test_a_signal_whose_confidence_is_none_can_still_be_shown(desk: Desk) -> None:
    record = SignalRecord(make_signal(confidence=float("nan")), T0, Reason.INVALID_SIGNAL, "")
    desk.world.ledger.note_signal(record)
    (shown,) = desk.view.signals(10)
    assert json.dumps(shown.confidence, allow_nan=False) == "0.0"


async def test_signals_come_newest_first_and_no_more_than_asked(desk: Desk) -> None:
    for number in range(5):
        record = SignalRecord(make_signal(reason=str(number)), T0, Reason.PAUSED, "")
        desk.world.ledger.note_signal(record)
    assert [shown.reason for shown in desk.view.signals(2)] == ["4", "3"]
    assert desk.view.signals(0) == []


async def test_the_page_is_ready_while_the_journal_can_be_written(desk: Desk) -> None:
    assert desk.view.readiness().checks[0].ok
    desk.world.gate.journal_open = False
    assert not desk.view.readiness().checks[0].ok
