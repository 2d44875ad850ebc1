"""A runner's parts whose every decision is recorded, and the means to alter one recorded input."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from fakes.trading import World, scheduler_manifest, strategy_manifest
from fakes.values import T0, at, make_fill
from openbell.domain.bars import Bar, BarSeries
from openbell.journal.reading import stored_inputs, stored_runs
from openbell.journal.recorder import Recorder
from openbell.resources.load import Manifest
from openbell.runner.audit import Audit, audit
from openbell.runner.recording import Recording

RISING = (100.0, 101.0, 103.0)
FALLING = (103.0, 101.0, 100.0)
FLAT = (100.0, 100.0, 100.0)


def bars(*closes: float, symbol: str = "AAPL", end: datetime = T0) -> BarSeries:
    """Minute bars of these closes, the last of which ends at `end`."""
    made = []
    for index, close in enumerate(reversed(closes)):
        over = end - timedelta(minutes=index)
        made.append(Bar(symbol, over - timedelta(minutes=1), over, close, close, close, close, 1000.0))
    return BarSeries.from_bars(symbol, 60, list(reversed(made)))


class Story:
    """A world that is recorded: each tick a minute later, with its bars."""

    def __init__(self, folder: Path, epoch: int = 1) -> None:
        self.folder = folder / "journal"
        self.world = World(self.folder, epoch=epoch)
        self.recorder = Recorder(self.folder)
        self.recording = Recording(self.recorder)
        self.world.record(self.recording)
        self.minute = 0

    async def begin(self, *strategies: Manifest, **spec: object) -> Story:
        await self.world.begin()
        self.world.take(scheduler_manifest(**spec), *(strategies or (strategy_manifest(),)))
        return self

    async def tick(self, *closes: float, price: float | None = None, symbol: str = "AAPL") -> None:
        now = at(60 * self.minute)
        self.minute += 1
        self.world.clock.set(now)
        self.world.market.series[symbol, 60] = bars(*closes, symbol=symbol, end=now)
        self.world.market.prices[symbol] = closes[-1] if price is None else price
        control = self.world.situation.control
        assert control is not None
        await self.world.evaluation.run(list(control.entries.values()), now)

    async def look(self, price: float) -> None:
        """The exit loop looks at what is held, at this price."""
        now = at(60 * self.minute)
        self.minute += 1
        self.world.clock.set(now)
        self.world.market.prices["AAPL"] = price
        await self.world.exits.check()

    async def fill(self) -> None:
        """The broker fills the newest order at its reference price."""
        intent = self.world.broker.sent[-1]
        await self.world.desk.on_fill(
            make_fill(
                f"x-{intent.order_ref}",
                order_ref=intent.order_ref,
                symbol=intent.symbol,
                side=intent.side,
                quantity=intent.quantity,
                price=intent.reference_price,
                time=self.world.clock.now(),
            )
        )
        held = {position.symbol: int(position.quantity) for position in self.world.ledger.open_positions()}
        self.world.broker.says(**held)

    async def end(self) -> None:
        """Stop, so that everything is on the disk."""
        self.intents = await self.world.journal.orders(1000)
        self.recorder.close()
        self.world.close()

    def audit(self) -> Audit:
        """Make every recorded decision again."""
        return audit(stored_inputs(self.folder), stored_runs(self.folder), self.intents)

    def alter(self, kind: str, change: Callable[[Any], None], number: int = 0) -> None:
        """Change one recorded document."""
        with closing(sqlite3.connect(self.folder / "inputs.db")) as raw:
            rows = raw.execute("SELECT id, body FROM documents WHERE kind = ? ORDER BY id", (kind,)).fetchall()
            key, body = rows[number]
            if kind == "bars":
                values = np.frombuffer(zlib.decompress(body), dtype="<f8").reshape(-1, 7).copy()
                change(values)
                content = values.tobytes()
            else:
                document = json.loads(zlib.decompress(body))
                change(document)
                content = json.dumps(document).encode()
            raw.execute("UPDATE documents SET body = ? WHERE id = ?", (zlib.compress(content), key))
            raw.commit()


async def told(folder: Path, **spec: object) -> Story:
    """Nothing, a purchase, nothing to add, a sale by signal, a purchase again, and an exit by the stop."""
    story = await Story(folder).begin(**spec)
    await story.tick(*FLAT)
    await story.tick(*RISING)
    await story.fill()
    await story.tick(*RISING)
    await story.tick(*FALLING)
    await story.fill()
    await story.tick(*RISING)
    await story.fill()
    await story.look(102.5)
    await story.look(90.0)
    await story.fill()
    await story.tick(*FLAT)
    await story.end()
    return story
