"""A replay is a computation: the same manifests and bars give the same trades, wherever and as whom it runs."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes.trading import until
from openbell.cli.replay import examine
from openbell.domain.positions import ClosedTrade
from openbell.market.calendar import calendar_for
from openbell.runner import replaying
from openbell.runner.crew import Crew, Ending, RunnerOptions
from openbell.runner.fence import FolderFence
from openbell.runner.leadership import Contender
from openbell.runner.main import Runner
from openbell.runner.replaying import ReplayLoop, ReplayResult
from openbell.runner.settings import SchedulerVariables
from openbell.runner.standalone import FileSource
from openbell.telemetry.logs import LogTail

FIRST, LAST = date(2001, 9, 17), date(2001, 10, 26)
SESSIONS = [session.date for session in calendar_for("XNYS").sessions(FIRST, LAST)]
PERIODS = {"AAPL": 9, "IBM": 13, "MSFT": 17}
Split = tuple[str, date, float]


def waves(splits: tuple[Split, ...] = ()) -> str:
    """Daily bars of three symbols that rise and fall; a split of one divides what is recorded from its date on."""
    lines = ["date,symbol,open,high,low,close,volume"]
    for symbol, period in PERIODS.items():
        for index, day in enumerate(SESSIONS):
            ratio = math.prod(each for name, begins, each in splits if name == symbol and begins <= day)
            opening, close = ((100 + 12 * math.sin(2 * math.pi * at / period)) / ratio for at in (index - 0.5, index))
            high, low = max(opening, close) * 1.004, min(opening, close) * 0.996
            lines.append(f"{day},{symbol},{opening:.4f},{high:.4f},{low:.4f},{close:.4f},1000000")
    return "\n".join(lines) + "\n"


@dataclass
class Replay:
    """A file of bars, a manifest, and runs in folders of one root."""

    root: Path
    splits: tuple[Split, ...] = ()
    exits: dict[str, Any] = field(default_factory=lambda: {"stopLoss": 0.05, "takeProfit": 0.2})
    seed: int = 1
    partial_fills: bool = False
    paused: bool = False

    def manifests(self) -> str:
        scheduler = {
            "apiVersion": "openbell.dev/v1alpha1",
            "kind": "TradingScheduler",
            "metadata": {"name": "replay"},
            "spec": {
                "enabled": True,
                "paused": self.paused,
                "broker": {"simulated": {"seed": self.seed, "slippageBps": 5.0, "partialFills": self.partial_fills}},
                "marketData": {
                    "type": "Replay",
                    "replay": {
                        "file": "bars.csv",
                        "from": FIRST.isoformat(),
                        "to": LAST.isoformat(),
                        "splits": [
                            {"symbol": name, "date": day.isoformat(), "ratio": ratio}
                            for name, day, ratio in self.splits
                        ],
                    },
                },
                "exits": self.exits,
            },
        }
        strategy = {
            "apiVersion": "openbell.dev/v1alpha1",
            "kind": "Strategy",
            "metadata": {"name": "waves"},
            "spec": {
                "schedulerRef": {"name": "replay"},
                "type": "Momentum",
                "parameters": {"lookback": 2, "threshold": 0.02},
                "symbols": list(PERIODS),
                "barSeconds": 86400,
            },
        }
        return yaml.safe_dump_all([scheduler, strategy])

    @asynccontextmanager
    async def running(self, name: str = "data", owner: str = "u-1") -> AsyncIterator[Run]:
        """The runner at work on this replay; halted in order at the end."""
        (self.root / "bars.csv").write_text(waves(self.splits), encoding="utf-8")
        file = self.root / "manifests.yaml"
        file.write_text(self.manifests(), encoding="utf-8")
        source = FileSource([file], self.root / name, SchedulerVariables())

        async def contend(epoch_floor: int, _ever_ran: bool) -> Contender:
            return FolderFence(epoch_floor + 1)

        options = RunnerOptions(data=self.root / name, host="127.0.0.1", port=0, datasets=(self.root,), owner_uid=owner)
        runner = Runner(source, options, LogTail(), contend)
        task = asyncio.create_task(runner.run())
        run = Run(self.root / name, source, runner, task)
        try:
            await until(lambda: task.done() or run.is_begun)
            yield run
        finally:
            runner.stop()
            run.ending = await asyncio.wait_for(task, 20)

    async def run(self, name: str = "data", owner: str = "u-1") -> Done:
        """Run it to its end."""
        async with self.running(name, owner) as run:
            await run.until_finished()
            done = await run.done()
        self.decisions_are_derived_again(name)
        return done

    def decisions_are_derived_again(self, name: str = "data") -> None:
        """Every decision that was recorded follows from its recorded inputs."""
        again = examine(self.root / name)
        assert [difference.sentence() for difference in again.differences] == []
        assert dict(again.untested) == {}
        assert again.orders > 0


@dataclass
class Done:
    """What a replay came to."""

    result: ReplayResult
    trades: list[ClosedTrade]
    evaluations: int
    in_sync: str


@dataclass
class Run:
    folder: Path
    source: FileSource
    runner: Runner
    task: asyncio.Task[Ending]
    ending: Ending | None = None

    @property
    def is_begun(self) -> bool:
        return self.runner._crew is not None

    @property
    def crew(self) -> Crew:
        assert self.runner._crew is not None
        return self.runner._crew

    async def until_finished(self) -> None:
        await until(lambda: self.task.done() or bool(self.crew.situation.finished), 30)

    async def done(self) -> Done:
        await self.crew.comparison.compare()
        view = self.crew.view.replay()
        assert view is not None
        return Done(
            ReplayResult(view.trades, view.finished, view.digest),
            sorted(self.crew.ledger.trades, key=lambda trade: (trade.exit_time, trade.symbol)),
            self.crew.ledger.statistics.total.evaluations_run,
            self.crew.comparison.reason,
        )


@pytest.fixture
def replay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Replay:
    monkeypatch.setattr(replaying, "STAND_STILL_SECONDS", 0.002)
    return Replay(folder)


def stored(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in folder.glob("replay/*/result.json")]


_undisturbed: dict[bool, Done] = {}


async def undisturbed(replay: Replay) -> Done:
    """The replay as it goes without splits and interruptions; run once, for it is always the same."""
    if replay.partial_fills not in _undisturbed:
        _undisturbed[replay.partial_fills] = await replay.run("undisturbed")
    return _undisturbed[replay.partial_fills]


async def test_the_same_replay_gives_the_same_digest_wherever_and_as_whom_it_runs(replay: Replay) -> None:
    first = await replay.run("one", "u-1")
    second = await replay.run("another", "u-2")
    assert first.result.finished
    assert first.result.trades == len(first.trades) > 5
    assert second.result == first.result
    assert first.in_sync == second.in_sync == "InSync"
    assert first.evaluations == len(SESSIONS)
    assert stored(replay.root / "one") == [
        {"trades": first.result.trades, "finished": True, "digest": first.result.digest}
    ]


async def test_another_seed_of_the_broker_gives_another_digest(replay: Replay) -> None:
    first = await replay.run("one")
    replay.seed = 2
    second = await replay.run("two")
    assert second.result.finished
    assert second.result.digest != first.result.digest


@pytest.mark.parametrize("change", [{"brokerSide": False}, {"escalation": {"limitSeconds": 60}}])
async def test_how_an_exit_would_be_ordered_live_changes_no_replay(replay: Replay, change: dict[str, Any]) -> None:
    whole = await undisturbed(replay)
    replay.exits = {**replay.exits, **change}
    assert (await replay.run("other")).result.digest == whole.result.digest


async def test_a_part_is_left_at_its_rung_and_the_round_trip_is_booked_once(replay: Replay) -> None:
    replay.exits = {"stopLoss": 0.05, "takeProfit": 0.2, "scaleOut": [{"profit": 0.04, "fraction": 0.5}]}
    async with replay.running() as run:
        await run.until_finished()
        records = list(reversed(await run.crew._journal.orders(1000)))
        done = await run.done()
    parts = [each for each in records if each.intent.reason == "PARTIAL_TARGET"]
    assert len(parts) > 2
    for part in parts:
        entry = next(each for each in records if each.intent.position_id == part.intent.position_id)
        gain = part.average_price / entry.average_price - 1
        # At the rung, less half the spread and up to five points of slippage; a gap fills further on.
        assert gain > Decimal("0.039")
        assert part.filled == entry.filled // 2
    assert done.in_sync == "InSync"
    assert len({trade.position_id for trade in done.trades}) == len(done.trades)


async def test_a_second_start_tells_the_stored_result_and_trades_nothing(replay: Replay) -> None:
    first = await replay.run()
    again = await replay.run()
    assert (again.result, again.trades, again.evaluations) == (first.result, first.trades, first.evaluations)


async def test_a_replay_that_was_cut_short_begins_anew(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await undisturbed(replay)
    steps = 0
    step = ReplayLoop._step

    async def counted(self: ReplayLoop, each: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 120:
            cut.runner.stop()
        await step(self, each)

    with monkeypatch.context() as patch:
        patch.setattr(ReplayLoop, "_step", counted)
        async with replay.running("cut") as cut:
            await asyncio.wait({cut.task}, timeout=20)
    assert cut.ending is Ending.STOPPED
    assert stored(replay.root / "cut") == []
    again = await replay.run("cut")
    assert again.result == whole.result
    assert again.trades == whole.trades
    assert again.evaluations == len(SESSIONS)


async def test_time_stands_still_while_paused(replay: Replay) -> None:
    whole = await undisturbed(replay)
    replay.paused = True
    async with replay.running("paused") as run:
        await until(lambda: run.crew.leadership.holds())
        begun = run.crew.situation.clock.now()
        await asyncio.sleep(0.03)
        assert (run.crew.situation.clock.now(), run.crew.ledger.statistics.total.evaluations_run) == (begun, 0)
        await run.source.patch_scheduler({"paused": False})
        await until(lambda: run.crew.ledger.statistics.total.evaluations_run > 3)
        await run.source.patch_scheduler({"paused": True})
        await until(lambda: run.crew.gate.state.value == "Paused")
        await asyncio.sleep(0.03)
        stood = run.crew.situation.clock.now()
        await asyncio.sleep(0.03)
        assert run.crew.situation.clock.now() == stood
        await run.source.patch_scheduler({"paused": False})
        await run.until_finished()
        assert (await run.done()).result == whole.result


SPLIT_DAY = SESSIONS[14]


def around(trades: list[ClosedTrade], symbol: str, day: date) -> list[ClosedTrade]:
    """Round trips that a day lies within."""
    return [each for each in trades if each.symbol == symbol and each.entry_time.date() < day < each.exit_time.date()]


def held_through(trades: list[ClosedTrade], symbol: str) -> date:
    """A session on which a position of the symbol is already held and goes on to be."""
    return next(day for day in SESSIONS if around(trades, symbol, day))


@pytest.mark.parametrize("ratio", [2.0, 3.0, 0.5, 0.1])
async def test_a_split_changes_a_position_and_nothing_of_its_outcome(replay: Replay, ratio: float) -> None:
    plain = await undisturbed(replay)
    day = held_through(plain.trades, "AAPL")
    replay.splits = (("AAPL", day, ratio),)
    split = await replay.run("split")
    assert split.in_sync == "InSync"
    before, after = around(plain.trades, "AAPL", day)[0], around(split.trades, "AAPL", day)[0]
    assert after.quantity == before.quantity * Decimal(str(ratio))
    assert (after.exit_time, after.exit_reason) == (before.exit_time, before.exit_reason)
    assert abs(after.pnl - before.pnl) < Decimal("0.005") * before.entry_price * before.quantity
    assert abs(after.entry_price * Decimal(str(ratio)) - before.entry_price) < Decimal("0.01")


def entry_days(trades: list[ClosedTrade]) -> list[date]:
    return sorted({each.entry_time.date() for each in trades if each.symbol == "AAPL"})


@pytest.mark.parametrize("ratio", [2.0, 0.5, 0.1])
@pytest.mark.parametrize("which", ["entry", "exit"])
async def test_an_order_that_waits_for_the_open_is_split_too(replay: Replay, which: str, ratio: float) -> None:
    plain = await undisturbed(replay)
    closed_by_signal = next(each for each in plain.trades if each.symbol == "AAPL" and each.exit_reason == "SIGNAL")
    day = (closed_by_signal.entry_time if which == "entry" else closed_by_signal.exit_time).date()
    replay.splits = (("AAPL", day, ratio),)
    async with replay.running("split") as run:
        await run.until_finished()
        waiting = [each.intent.created_at.date() for each in run.crew.desk.in_flight.values()]
        assert set(waiting) <= {LAST}, "nothing of the split day is still held for unfinished"
        split = await run.done()
    replay.decisions_are_derived_again("split")
    assert split.in_sync == "InSync"
    (after,) = [
        each for each in split.trades if each.symbol == "AAPL" and each.entry_time == closed_by_signal.entry_time
    ]
    assert after.quantity == closed_by_signal.quantity * Decimal(str(ratio))
    assert (after.exit_time, after.exit_reason) == (closed_by_signal.exit_time, "SIGNAL")


@pytest.mark.parametrize(("which", "ratio"), [("exit", 2.0), ("entry", 0.5)])
async def test_an_order_that_fills_in_parts_after_a_split_is_followed_to_its_end(
    replay: Replay, which: str, ratio: float
) -> None:
    replay.partial_fills = True
    plain = await undisturbed(replay)
    trade = next(each for each in plain.trades if each.exit_reason == "SIGNAL")
    moment = trade.exit_time if which == "exit" else trade.entry_time
    replay.splits = ((trade.symbol, moment.date(), ratio),)
    split = await replay.run("split")
    assert split.in_sync == "InSync"
    assert all(each.quantity > 0 for each in split.trades), "nothing was sold twice"
    (after,) = [each for each in split.trades if each.symbol == trade.symbol and each.entry_time == trade.entry_time]
    assert after.quantity == trade.quantity * Decimal(str(ratio))
