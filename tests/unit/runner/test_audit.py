"""Every recorded decision is made again from recorded inputs alone, and one altered input is told."""

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
import pytest

from fakes.trading import World, scheduler_manifest, strategy_manifest
from fakes.values import T0, at
from openbell.domain.bars import Bar, BarSeries
from openbell.journal.inputs import read_inputs
from openbell.journal.recorder import Recorder
from openbell.journal.relaxed import read_only
from openbell.journal.trail import all_runs
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

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "journal"
        self.world = World(self.folder)
        self.recorder = Recorder(self.folder)
        self.world.record(Recording(self.recorder))
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

    async def fill(self, quantity: int | None = None) -> None:
        """The broker fills the newest order at its reference price."""
        from fakes.values import make_fill

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
        with (
            closing(read_only(self.folder / "trail.db")) as trail,
            closing(read_only(self.folder / "inputs.db")) as raw,
        ):
            return audit(read_inputs(raw), all_runs(trail), self.intents)

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


@pytest.fixture
def folder_of(folder: Path) -> Path:
    return folder


async def told(folder: Path, **spec: object) -> Story:
    """A purchase, a look at what is held, a sale by signal, and nothing."""
    story = await Story(folder).begin(**spec)
    await story.tick(*FLAT)
    await story.tick(*RISING)
    await story.fill()
    await story.tick(*RISING)
    await story.tick(*FALLING)
    await story.fill()
    await story.tick(*FLAT)
    await story.end()
    return story


async def test_a_run_of_the_real_evaluation_is_made_again_with_nothing_different(folder: Path) -> None:
    story = await told(folder)
    found = story.audit()
    assert [difference.sentence() for difference in found.differences] == []
    assert dict(found.untested) == {}
    assert (found.evaluations, found.decisions, found.orders) == (5, 5, 2)
