"""The quickstart trades at any hour of any day: the runner's own parts, on an injected clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from openbell.brokers.base import ConnectionChanged
from openbell.brokers.simulated.adapter import SimulatedBroker
from openbell.brokers.simulated.book import Book
from openbell.cli.replay import examine
from openbell.domain.clock import SimulatedClock
from openbell.domain.orders import Fill, IntentKind, OrderUpdate
from openbell.domain.reasons import Reason
from openbell.journal import Journal
from openbell.journal.recorder import Recorder
from openbell.market.synthetic import SyntheticMarket
from openbell.runner.assembly import Ground
from openbell.runner.control import understand
from openbell.runner.crew import Crew, Ending, RunnerOptions
from openbell.runner.fence import FolderFence
from openbell.runner.loss import JournalLoss
from openbell.runner.main import restored_ledger
from openbell.runner.settings import SchedulerVariables
from openbell.runner.source import Observed
from openbell.runner.standalone import FileSource
from openbell.telemetry.logs import LogTail
from openbell.telemetry.metrics import RunnerMetrics

CUSTOM = Path(__file__).parents[3] / "examples" / "custom-strategy.yaml"
EXAMPLE = Path(__file__).parents[3] / "examples" / "quickstart.yaml"
SYMBOLS = ("AAPL", "MSFT", "NVDA", "GOOG", "IBM", "AMZN")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as open_things:
        yield open_things


async def crew_of(
    moment: datetime, folder: Path, stack: ExitStack, example: Path = EXAMPLE
) -> tuple[Crew, SimulatedBroker, SimulatedClock]:
    """The example's crew at `moment`; nothing of it runs."""
    clock = SimulatedClock(moment)
    source = FileSource([example], folder / "kept", SchedulerVariables())
    observed: Observed = source.read()
    control = understand(observed, {})
    assert control is not None
    synthetic = control.spec.market_data.synthetic
    market = SyntheticMarket(synthetic.seed, synthetic.volatility)
    broker = SimulatedBroker(stack.enter_context(closing(Book.in_memory())), market, clock, polls=False)
    journal = stack.enter_context(closing(Journal.open(folder / "journal", clock=clock)))
    state = await journal.load()
    crew = Crew(
        control,
        Ground(broker, market, clock, folder),
        journal,
        state,
        await restored_ledger(journal, state, clock),
        await journal.adopt_owner("u-1"),
        FolderFence(1),
        source,
        RunnerOptions(folder, "127.0.0.1", 0),
        LogTail(),
        RunnerMetrics(version="test", process=False),
        JournalLoss(folder / "journal"),
        stack.enter_context(closing(Recorder(folder / "journal"))),
    )
    stack.callback(crew.evaluation.close)
    crew.take(observed)
    return crew, broker, clock


async def crew_at(
    moment: datetime, folder: Path, stack: ExitStack, example: Path = EXAMPLE
) -> tuple[Crew, SimulatedBroker, SimulatedClock]:
    """The example's crew, leading and connected, at `moment`."""
    crew, broker, clock = await crew_of(moment, folder, stack, example)
    for work in (broker.run(), crew.leadership.run(crew.desk.begin_epoch, nothing)):
        stack.callback(asyncio.ensure_future(work).cancel)
    await crew.leadership.led.wait()
    await settle(crew, broker)
    await crew.comparison.compare()
    return crew, broker, clock


async def nothing() -> None:
    """Leading changes nothing here that the test does not do itself."""


async def settle(crew: Crew, broker: SimulatedBroker) -> None:
    for event in broker.drain():
        if isinstance(event, Fill):
            await crew.desk.on_fill(event)
        elif isinstance(event, OrderUpdate):
            await crew.desk.on_update(event)
        elif isinstance(event, ConnectionChanged):
            crew.comparison.on_connection(event)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(datetime(2026, 11, 22, 3, 0, tzinfo=UTC), id="Sunday, 03:00"),
        pytest.param(datetime(2026, 12, 25, 15, 0, tzinfo=UTC), id="a holiday"),
        pytest.param(datetime(2026, 12, 31, 23, 59, tzinfo=UTC), id="over the new year"),
        pytest.param(datetime(2026, 3, 8, 6, 59, 30, tzinfo=UTC), id="as the clocks go forward in New York"),
        pytest.param(datetime(2026, 11, 24, 15, 0, tzinfo=UTC), id="a session"),
    ],
)
async def test_the_quickstart_enters_and_leaves_within_two_minutes(
    moment: datetime, tmp_path: Path, stack: ExitStack
) -> None:
    crew, broker, clock = await crew_at(moment, tmp_path, stack)
    await trade_two_minutes(crew, broker, clock, moment)
    total = crew.ledger.statistics.total
    assert total.trades_executed > 0
    assert total.exits_executed > 0
    assert total.errors == 0
    assert crew.gate.in_sync
    stack.close()
    again = examine(tmp_path)
    assert [difference.sentence() for difference in again.differences] == []
    assert (again.evaluations, dict(again.untested)) == (60, {})
    resting = [each for each in crew.ledger.orders.values() if each.intent.kind is IntentKind.PROTECTIVE]
    by_broker = sum(1 for each in resting if each.filled)  # no decision of ours made it just then
    assert again.orders >= total.trades_executed + total.exits_executed - by_broker


async def test_a_lost_connection_closes_the_gate_before_its_event_is_heard(tmp_path: Path, stack: ExitStack) -> None:
    crew, broker, _ = await crew_at(datetime(2026, 11, 24, 15, 0, tzinfo=UTC), tmp_path, stack)
    assert crew.gate.entry_blocked() is None
    broker.on_lost()
    assert crew.gate.entry_blocked() is Reason.BROKER_DISCONNECTED


async def test_a_crew_ends_in_order_in_the_middle_of_an_evaluation(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew, _, clock = await crew_of(datetime(2026, 11, 24, 15, 0, tzinfo=UTC), tmp_path, stack)
    market, write, reading, has_read = crew.exits.market, crew.reporter.write_due, asyncio.Event(), asyncio.Event()
    read = market.bars

    async def bars(*asked: Any) -> Any:
        reading.set()
        await has_read.wait()
        return await read(*asked)

    async def write_due(*, everything: bool = False) -> bool:
        if crew.gate.closing:
            has_read.set()  # the last status takes its time, and the evaluation goes on meanwhile
            await asyncio.sleep(0.1)
        return await write(everything=everything)

    monkeypatch.setattr(market, "bars", bars)
    monkeypatch.setattr(crew.reporter, "write_due", write_due)
    running = asyncio.create_task(crew.run())
    while not reading.is_set():
        clock.set(clock.now() + timedelta(seconds=1))
        await asyncio.sleep(0.001)
    crew.end()
    assert await running is Ending.STOPPED


async def test_the_example_of_an_own_strategy_trades_too(tmp_path: Path, stack: ExitStack) -> None:
    moment = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
    crew, broker, clock = await crew_at(moment, tmp_path, stack, CUSTOM)
    try:
        bench = crew.workshop.bench("streak")
        assert bench is not None
        assert await bench.ready(None) is not None, bench.why()
        await trade_two_minutes(crew, broker, clock, moment)
    finally:
        await crew.workshop.close()
    counters = crew.ledger.statistics.of("streak")
    assert counters.trades_executed > 0
    assert counters.exits_executed > 0
    assert counters.errors == 0
    assert {trade.exit_reason for trade in crew.ledger.trades} & {"SIGNAL"}, "it closes by its own rule"
    stack.close()
    again = examine(tmp_path)
    assert [difference.sentence() for difference in again.differences] == []
    assert list(again.untested) == [
        "evaluations of streak: it is not part of this program; what it said is taken as given"
    ]
    assert again.orders >= counters.trades_executed + counters.exits_executed


async def trade_two_minutes(crew: Crew, broker: SimulatedBroker, clock: SimulatedClock, moment: datetime) -> None:
    assert crew.situation.can_run(), crew.situation.why()
    market = crew.exits.market
    for second in range(1, 121):
        now = moment + timedelta(seconds=second)
        clock.set(now)
        for symbol in SYMBOLS:
            answer = await market.quote(symbol, now)
            broker.on_quote(answer.value)  # type: ignore[union-attr]
        await settle(crew, broker)
        await crew.exits.check()
        if second % 2 == 0:
            control = crew.situation.control
            assert control is not None
            await crew.evaluation.run(list(control.entries.values()), now)
        await settle(crew, broker)
