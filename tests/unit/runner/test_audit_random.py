"""Whatever happens, in any order: every decision that was recorded follows from its recorded inputs."""

from __future__ import annotations

import asyncio
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from fakes.recorded import FALLING, FLAT, RISING, Story
from fakes.trading import scheduler_manifest, strategy_manifest
from openbell.domain.state import TradingState
from openbell.runner.audit import Audit

SCHEDULERS = (
    {},
    {"minConfidence": 0.9},
    {"exits": {"stopLoss": 0.01, "trailing": {"activation": 0.001, "distance": 0.005}}},
    {"maxConcurrentTrades": 1, "risk": {"allowShort": True, "maxOrdersPerMinute": 2}},
    {
        "risk": {
            "symbolCooldownSeconds": 120,
            "oppositeOrderSeconds": 60,
            "maxRoundTripsPerDay": 2,
            "maxStrategyOrdersPerMinute": 1,
            "maxSymbolExposure": 0.1,
            "maxDataAgeSeconds": 60,
            "dayTrading": {"regime": "LegacyPDT"},
        }
    },
)
STRATEGIES = (
    strategy_manifest(),
    strategy_manifest("other", priority=3, symbols=["AAPL", "IBM"]),
    strategy_manifest("cross", type="Crossover", parameters={"fast": 2, "slow": 3, "average": "SMA", "atr": 2}),
    strategy_manifest("watch", execution="Shadow"),
)

ACTIONS = st.one_of(
    st.tuples(st.just("trade"), st.sampled_from([RISING, RISING, FALLING])),
    st.tuples(st.just("trade"), st.just(RISING)),
    st.tuples(st.just("tick"), st.sampled_from([RISING, FALLING, FLAT, RISING[:2], (100.0, 99.0, 98.0, 97.0, 103.0)])),
    st.tuples(st.just("symbol"), st.sampled_from([RISING, FALLING])),
    st.tuples(st.just("look"), st.sampled_from([90.0, 99.5, 102.0, 104.0, 120.0])),
    st.tuples(st.just("look"), st.sampled_from([90.0, 120.0])),
    st.tuples(st.just("fill"), st.none()),
    st.tuples(st.just("split"), st.sampled_from([2, 3])),
    st.tuples(st.just("spec"), st.sampled_from(SCHEDULERS)),
    st.tuples(st.just("restart"), st.none()),
)
DISTURBANCES = st.one_of(
    st.tuples(st.just("state"), st.sampled_from([TradingState.PAUSED, TradingState.STOPPED])),
    st.tuples(st.just("strategy"), st.sampled_from([TradingState.PAUSED, TradingState.STOPPED])),
    st.tuples(st.just("broker"), st.just(False)),
    st.tuples(st.just("known"), st.just(False)),
    st.tuples(st.just("journal"), st.just(True)),
    st.tuples(st.just("leading"), st.just(False)),
    st.tuples(st.just("flattening"), st.just(True)),
)
Step = tuple[tuple[str, Any] | None, tuple[str, Any], bool]
STEPS: st.SearchStrategy[Step] = st.tuples(
    st.none() | st.none() | DISTURBANCES, ACTIONS, st.sampled_from([True, True, True, False])
)
"""What is wrong, what happens meanwhile, and whether it is set right afterwards."""


class History:
    """Carries operations out on a story, and over its restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.story = Story(folder)
        self.epoch = 1

    async def run(self, steps: list[Step]) -> Audit:
        await self.story.begin(*STRATEGIES)
        await self.do_tick(FLAT)
        for disturbance, action, is_set_right in steps:
            for name, value in (disturbance, action) if disturbance else (action,):
                await getattr(self, f"do_{name}")(value)
            if is_set_right:
                await self.set_right()
        self.story.world.journal.is_failing = False
        await self.story.end()
        return self.story.audit()

    async def set_right(self) -> None:
        for name, value in (("state", TradingState.RUNNING), ("strategy", TradingState.RUNNING), ("leading", True)):
            await getattr(self, f"do_{name}")(value)
        await self.do_broker(True)
        await self.do_known(True)
        await self.do_journal(False)
        await self.do_flattening(False)

    async def do_tick(self, closes: tuple[float, ...]) -> None:
        await self.story.tick(*closes)

    async def do_symbol(self, closes: tuple[float, ...]) -> None:
        await self.story.tick(*closes, symbol="IBM")

    async def do_trade(self, closes: tuple[float, ...]) -> None:
        await self.story.tick(*closes)
        await self.do_fill(None)

    async def do_fill(self, _: None) -> None:
        if self.story.world.broker.sent:
            await self.story.fill()

    async def do_look(self, price: float) -> None:
        await self.story.look(price)

    async def do_state(self, state: TradingState) -> None:
        self.story.world.gate.asked = state

    async def do_strategy(self, state: TradingState) -> None:
        gate = self.story.world.gate
        gate.strategies = {**gate.strategies, "trend": state}

    async def do_broker(self, connected: bool) -> None:
        self.story.world.broker.is_connected = self.story.world.gate.broker_connected = connected
        self.story.world.gate.broker_required = not connected

    async def do_known(self, known: bool) -> None:
        held = {position.symbol: int(position.quantity) for position in self.story.world.ledger.open_positions()}
        self.story.world.broker.says(**held) if known else self.story.world.broker.mute()

    async def do_journal(self, failing: bool) -> None:
        self.story.world.journal.is_failing = failing

    async def do_leading(self, held: bool) -> None:
        self.story.world.fence.held = held

    async def do_flattening(self, asked: bool) -> None:
        self.story.world.gate.flattening = asked

    async def do_split(self, ratio: int) -> None:
        world = self.story.world
        if world.journal.is_failing:
            return  # splits are of replays, whose disk does not fill up unnoticed
        await world.desk.split("AAPL", Decimal(ratio))
        self.story.recording.split(world.clock.now(), "AAPL", Decimal(ratio))

    async def do_spec(self, spec: dict[str, Any]) -> None:
        world = self.story.world
        state = world.gate.asked
        world.take(scheduler_manifest(**spec), *STRATEGIES)
        world.gate.asked = state

    async def do_restart(self, _: None) -> None:
        before = self.story
        before.world.journal.is_failing = False
        positions = before.world.ledger.open_positions()
        flying = dict(before.world.desk.in_flight)
        await before.end()
        self.epoch += 1
        self.story = Story(self.folder, self.epoch)
        self.story.minute = before.minute
        self.story.world.clock.set(before.world.clock.now())
        await self.story.begin(*STRATEGIES)
        for position in positions:
            self.story.world.ledger.put_position(position)
        self.story.world.desk.restore([each.record for each in flying.values()])


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, min_size=12, max_size=25))
def test_nothing_differs_whatever_happened(steps: list[Step]) -> None:
    note(str(steps))
    memory = Path("/dev/shm")  # noqa: S108 - only its speed is wanted
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        found = asyncio.run(History(Path(folder)).run(steps))
    assert [difference.sentence() for difference in found.differences] == []
    named = {"orders: the journal does not have them, for it could not be written then"}
    assert set(found.untested) <= named, found.untested
