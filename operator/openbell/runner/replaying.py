"""A replay: the same evaluation and exit check, stepped by recorded bars on simulated time.

Leases, deadlines and the gate stay on real time: while this process may not trade, or the scheduler is paused or
stopped, the simulated time stands still. A replay is a computation: one that was cut short begins anew, and one that
has ended is not run again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from openbell.brokers.base import ConnectionChanged
from openbell.brokers.simulated.adapter import SimulatedBroker
from openbell.domain.bars import Quote
from openbell.domain.clock import SimulatedClock
from openbell.domain.orders import Fill, OrderUpdate
from openbell.domain.positions import ClosedTrade
from openbell.domain.state import TradingState
from openbell.engine.digest import NO_TRADES, TradeDigest
from openbell.engine.portfolio import split as split_position
from openbell.market.recorded import Split
from openbell.market.replay import BarsStep, CloseStep, OpenStep, PathStep, RepeatStep, ReplayDriver, SplitStep
from openbell.runner.control import Control
from openbell.runner.desk import Told
from openbell.runner.entry import StrategyEntry
from openbell.runner.evaluation import Evaluation
from openbell.runner.exiting import Exits
from openbell.runner.situation import Situation
from openbell.web.values import ReplayView

log = structlog.get_logger("openbell.replay")

RESULT = "result.json"
STAND_STILL_SECONDS = 0.2
TRAIL_SECONDS = 0.002
SHOWN_DIGITS = 16


@dataclass(slots=True)
class ReplayResult:
    """The trades so far and their digest, which is over every round trip in the order in which they closed."""

    trades: int = 0
    finished: bool = False
    digest: str = NO_TRADES

    def add(self, trade: ClosedTrade) -> None:
        """Chain one more round trip into the digest."""
        chain = TradeDigest(self.trades, self.digest)
        chain.add(trade)
        self.trades, self.digest = chain.trades, chain.digest

    def sentence(self) -> str:
        """What the status says of it."""
        return f"replay finished: {self.trades} trades, digest {self.digest[:SHOWN_DIGITS]}"

    def view(self) -> ReplayView:
        return ReplayView(self.finished, self.trades, self.digest)


def manifest_of(control: Control) -> str:
    """Everything in the manifests that decides a replay's trades, as canonical JSON."""
    aside = {"adaptive", "enabled", "paused", "pause_policy", "stop_policy", "runner", "api", "journal"}
    manifest = {
        "scheduler": control.spec.model_dump(mode="json", exclude=aside),
        "strategies": {name: _deciding(entry) for name, entry in control.entries.items()},
    }
    return json.dumps(manifest, sort_keys=True)


def _deciding(entry: StrategyEntry) -> dict[str, Any]:
    spec = entry.spec.model_dump(mode="json", exclude={"scheduler_ref"})
    return spec | ({"code": entry.code.digest} if entry.code else {})


def identity_of(control: Control, bars: bytes) -> str:
    """What makes a replay the same one: its manifests and the recorded bars."""
    content = manifest_of(control).encode() + hashlib.sha256(bars).digest()
    return hashlib.sha256(content).hexdigest()[:SHOWN_DIGITS]


def prepare_folder(root: Path, identity: str) -> tuple[Path, ReplayResult]:
    """The folder of this replay, empty unless it has ended; those of other replays are removed."""
    root.mkdir(parents=True, exist_ok=True)
    folder = root / identity
    for other in root.iterdir():
        if other.is_dir() and not (other == folder and (folder / RESULT).exists()):
            shutil.rmtree(other)
    folder.mkdir(exist_ok=True)
    result = folder / RESULT
    if not result.exists():
        return folder, ReplayResult()
    stored: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return folder, ReplayResult(**stored)


async def follow_split(situation: Situation, exits: Exits, each: Split, now: datetime) -> None:
    """Apply a split that the broker has applied: orders under way, open lots with their levels, journal and trail."""
    await situation.desk.split(each.symbol, each.ratio)
    if exits.recording is not None:
        exits.recording.split(now, each.symbol, each.ratio)
    for position in situation.ledger.open_positions():
        if position.symbol == each.symbol:
            after = split_position(position, each.ratio)
            name = f"split:{position.position_id}:{each.date.isoformat()}"
            await exits.journal.adjust_position(name, after, ratio=each.ratio)
            situation.ledger.put_position(after)


class ReplayLoop:
    """Consumes the driver's steps with the engine that trades live."""

    def __init__(
        self,
        situation: Situation,
        evaluation: Evaluation,
        exits: Exits,
        broker: SimulatedBroker,
        clock: SimulatedClock,
        driver: ReplayDriver,
        folder: Path,
        result: ReplayResult,
        on_session: Callable[[], None],
    ) -> None:
        self._situation = situation
        self._evaluation = evaluation
        self._exits = exits
        self._broker = broker
        self._clock = clock
        self._driver = driver
        self._folder = folder
        self._on_session = on_session
        self.result = result

    def on_told(self, told: Told) -> None:
        """Count a round trip."""
        if told.closed is not None:
            self.result.add(told.closed)

    async def run(self) -> None:
        """Step to the end, then keep the result; returns at once where the replay has ended before."""
        if not self.result.finished:
            for step in self._driver:
                await self._stand_still()
                await self._let_the_trail_follow()
                self._clock.set(step.time)
                await self._step(step)
            self.result.finished = True
            partial = self._folder / (RESULT + ".partial")
            partial.write_text(json.dumps(asdict(self.result)), encoding="utf-8")
            partial.replace(self._folder / RESULT)
            log.info("replay.finished", trades=self.result.trades, digest=self.result.digest)
        self._situation.finished = self.result.sentence()
        self._on_session()

    async def _let_the_trail_follow(self) -> None:
        """Simulated time has no hurry: a replay's trail is whole, however fast it is stepped."""
        recording = self._exits.recording
        while recording is not None and recording.is_behind:  # noqa: ASYNC110 - a thread is waited for
            await asyncio.sleep(TRAIL_SECONDS)

    async def _step(self, step: object) -> None:
        match step:
            case SplitStep(splits=splits):
                for each in splits:
                    await self._split(each)
            case OpenStep(quotes=quotes, time=moment):
                await self._match(quotes)
                await self._evaluation.refresh_account(moment)
                await self._check()
            case PathStep(quotes=quotes) | CloseStep(quotes=quotes):
                await self._match(quotes)
                await self._check()
            case RepeatStep(quotes=quotes):
                await self._match(quotes)
            case BarsStep(time=moment):
                control = self._situation.control
                if control is not None:
                    await self._evaluation.run(list(control.entries.values()), moment)
                await self._drain()
                self._on_session()

    async def _match(self, quotes: tuple[Quote, ...]) -> None:
        for quote in quotes:
            self._broker.on_quote(quote)
            self._situation.ledger.quotes[quote.symbol] = quote
        await self._drain()

    async def _check(self) -> None:
        await self._exits.check()
        await self._drain()

    async def _drain(self) -> None:
        for event in self._broker.drain():
            if isinstance(event, Fill):
                await self._situation.desk.on_fill(event)
            elif isinstance(event, OrderUpdate):
                await self._situation.desk.on_update(event)
            elif isinstance(event, ConnectionChanged):
                self._situation.comparison.on_connection(event)

    async def _split(self, each: Split) -> None:
        self._broker.apply_split(each.symbol, each.date, each.ratio)
        await follow_split(self._situation, self._exits, each, self._clock.now())

    async def _stand_still(self) -> None:
        """Wait while nothing may be traded. Between steps the broker's events are all taken in."""
        await self._drain()
        situation = self._situation
        while True:
            if situation.fence.holds() and situation.gate.state is TradingState.RUNNING:
                if situation.gate.in_sync:
                    return
                await situation.comparison.compare()
                await self._drain()
                if situation.gate.in_sync:
                    return
            await asyncio.sleep(STAND_STILL_SECONDS)
