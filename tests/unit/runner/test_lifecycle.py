"""What people may ask of a runner: gate before patch, held while the API server is away, and never opened here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fakes.source import FakeSource
from fakes.trading import World, scheduler_manifest, strategy_manifest, until
from fakes.values import make_intent, make_update
from openbell.domain.errors import ClusterError
from openbell.domain.orders import IntentState
from openbell.domain.state import TradingState
from openbell.runner import lifecycle as lifecycles
from openbell.runner.lifecycle import Lifecycle
from openbell.web.values import LifecycleResult

RUNNING, PAUSED, STOPPED = TradingState.RUNNING, TradingState.PAUSED, TradingState.STOPPED


@dataclass
class Desk:
    world: World
    source: FakeSource
    lifecycle: Lifecycle
    folder: Path

    @property
    def state(self) -> TradingState:
        return self.world.gate.state

    async def restart(self) -> None:
        """The process is gone; another one begins with what the folder and the resource say."""
        await self.lifecycle.close()
        self.world.gate.held = RUNNING
        self.lifecycle = Lifecycle(self.source, self.world.supervisor, self.folder)  # type: ignore[arg-type]
        self.lifecycle.restore()


@pytest.fixture
async def desk(world: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """A running scheduler with one strategy."""
    monkeypatch.setattr(lifecycles, "PATCH_RETRY_SECONDS", 0.002)
    world.take(scheduler_manifest(), strategy_manifest())
    source = FakeSource(
        lambda generation, spec: world.take(scheduler_manifest(generation=generation, **spec), strategy_manifest())
    )
    lifecycle = Lifecycle(source, world.supervisor, folder)  # type: ignore[arg-type]
    made = Desk(world, source, lifecycle, folder)
    yield made
    await made.lifecycle.close()


@pytest.mark.parametrize(("call", "state"), [("pause", PAUSED), ("stop", STOPPED)])
async def test_the_gate_closes_before_the_resource_is_patched(desk: Desk, call: str, state: TradingState) -> None:
    seen: list[TradingState] = []
    desk.source.while_patching = lambda: seen.append(desk.state)
    result = await getattr(desk.lifecycle, call)(0)
    assert (seen, desk.state) == ([state], state)
    assert result == LifecycleResult(2, acknowledged=True)
    assert desk.world.gate.held is RUNNING, "the resource says it by now"


@pytest.mark.parametrize(("call", "before"), [("resume", {"paused": True}), ("start", {"enabled": False})])
async def test_opening_is_never_local(desk: Desk, call: str, before: dict[str, bool]) -> None:
    await desk.source.patch_scheduler(before)
    closed = desk.state
    desk.source.is_silent = True
    result = await getattr(desk.lifecycle, call)(0)
    assert result == LifecycleResult(3, acknowledged=False)
    assert desk.state is closed, "until the resource itself says it"
    desk.source.tell(3, desk.source.spec)
    assert desk.state is RUNNING


async def test_opening_while_the_api_server_is_away_is_an_error(desk: Desk) -> None:
    await desk.lifecycle.pause(0)
    desk.source.failing = ClusterError("away")
    with pytest.raises(ClusterError):
        await desk.lifecycle.resume(0)
    assert desk.state is PAUSED


@pytest.mark.parametrize("status", [None, 500, 503, 429, 409])
async def test_a_pause_while_the_api_server_is_away_is_held_and_told_later(desk: Desk, status: int | None) -> None:
    desk.source.failing = ClusterError("away", status)
    assert await desk.lifecycle.pause(0) == LifecycleResult(None, acknowledged=False)
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
        await desk.lifecycle.pause(0)
    assert desk.state is PAUSED
    desk.source.failing = None
    await asyncio.sleep(0.01)
    assert desk.source.patches == [], "a refusal is not tried again"
    await desk.lifecycle.resume(0)
    assert desk.state is RUNNING


async def test_a_held_pause_outlives_generations_from_before_it(desk: Desk) -> None:
    desk.source.is_silent = True
    await desk.lifecycle.pause(0)
    desk.world.take(scheduler_manifest(generation=1, minConfidence=0.6), strategy_manifest())
    assert desk.state is PAUSED


async def test_a_stop_and_a_pause_that_wait_are_both_said(desk: Desk) -> None:
    desk.source.failing = ClusterError("away")
    await desk.lifecycle.stop(0)
    await desk.lifecycle.pause(0)
    assert desk.state is STOPPED, "a pause opens nothing"
    desk.source.failing = None
    await until(lambda: desk.source.patches == [{"enabled": False, "paused": True}])
    assert desk.state is STOPPED


async def test_a_pause_after_a_stop_that_has_not_come_back_yet_opens_nothing(desk: Desk) -> None:
    desk.source.is_silent = True
    await desk.lifecycle.stop(0)
    await desk.lifecycle.pause(0)
    assert desk.state is STOPPED


async def test_a_start_replaces_a_stop_that_waits_and_keeps_a_pause_that_waits(desk: Desk) -> None:
    desk.source.failing = ClusterError("away")
    await desk.lifecycle.pause(0)
    await desk.lifecycle.stop(0)
    desk.source.failing = None
    await desk.lifecycle.start(0)
    assert desk.source.patches[-1] in ({"paused": True, "enabled": True}, {"enabled": True})
    assert desk.source.spec == {"paused": True, "enabled": True}
    assert desk.state is PAUSED


async def test_a_resume_that_fails_leaves_the_pause_to_be_told(desk: Desk) -> None:
    desk.source.failing = ClusterError("away")
    await desk.lifecycle.pause(0)
    with pytest.raises(ClusterError):
        await desk.lifecycle.resume(0)
    desk.source.failing = None
    await until(lambda: desk.source.patches == [{"paused": True}])
    assert desk.state is PAUSED


async def test_a_pause_that_is_refused_does_not_forget_the_stop_that_waits(desk: Desk) -> None:
    desk.source.failing = ClusterError("away")
    await desk.lifecycle.stop(0)
    desk.source.failing = ClusterError("forbidden", 403)
    with pytest.raises(ClusterError):
        await desk.lifecycle.pause(0)
    desk.source.failing = None
    await until(lambda: desk.source.patches == [{"enabled": False}])


async def test_a_call_that_waits_returns_when_the_pause_is_acknowledged(desk: Desk) -> None:
    supervising = asyncio.create_task(desk.world.supervisor.run())
    await desk.world.desk.place([make_intent("a")])
    waiting = asyncio.create_task(desk.lifecycle.pause(5))
    await until(lambda: desk.source.patches == [{"paused": True}])
    assert not waiting.done()
    await desk.world.desk.on_update(make_update(IntentState.REJECTED))
    assert await waiting == LifecycleResult(2, acknowledged=True)
    supervising.cancel()


async def test_a_call_that_does_not_wait_says_that_it_drains(desk: Desk) -> None:
    await desk.world.desk.place([make_intent("a")])
    assert await desk.lifecycle.pause(0) == LifecycleResult(2, acknowledged=False)


# -- across a restart


async def test_a_held_pause_outlives_the_process_until_the_resource_says_it(desk: Desk) -> None:
    desk.source.failing = ClusterError("away")
    await desk.lifecycle.pause(0)
    await desk.restart()
    assert desk.state is PAUSED
    desk.source.failing = None
    await until(lambda: desk.source.patches == [{"paused": True}])
    await until(lambda: desk.world.gate.held is RUNNING)
    await desk.restart()
    assert desk.source.patches == [{"paused": True}], "said once"


async def test_a_stop_and_a_pause_are_both_kept(desk: Desk) -> None:
    desk.source.failing = ClusterError("away")
    await desk.lifecycle.stop(0)
    await desk.lifecycle.pause(0)
    await desk.restart()
    assert desk.state is STOPPED
    desk.source.failing = None
    await until(lambda: desk.source.patches == [{"enabled": False, "paused": True}])


async def test_a_pause_that_the_resource_took_is_not_kept(desk: Desk) -> None:
    await desk.lifecycle.pause(0)
    await desk.source.patch_scheduler({"paused": False})
    await desk.restart()
    assert desk.state is RUNNING


async def test_a_hold_that_cannot_be_written_holds_all_the_same(desk: Desk) -> None:
    desk.lifecycle = Lifecycle(desk.source, desk.world.supervisor, desk.folder / "gone")  # type: ignore[arg-type]
    desk.source.failing = ClusterError("away")
    assert await desk.lifecycle.pause(0) == LifecycleResult(None, acknowledged=False)
    assert desk.state is PAUSED
