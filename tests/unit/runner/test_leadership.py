"""Leadership: the lease is not enough, the journal must know the epoch too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from fakes.trading import World, until
from fakes.values import make_intent
from openbell.domain.errors import NotLeadingError, StaleEpochError
from openbell.domain.orders import IntentKind, Side
from openbell.runner.leadership import Leadership


@dataclass
class FakeContender:
    """A fence that a test gives leadership and takes it from."""

    epoch: int = 0
    held: bool = False
    is_preempted: bool = False
    holder: str = ""
    is_stopped: bool = False
    tell: Callable[[], None] = field(default=lambda: None)

    def holds(self) -> bool:
        return self.held

    def start(self, on_change: Callable[[], None]) -> None:
        self.tell = on_change
        on_change()

    async def stop(self) -> None:
        self.is_stopped = True

    def give(self, epoch: int) -> None:
        self.epoch, self.held = epoch, True
        self.tell()

    def take(self) -> None:
        self.held = False
        self.tell()


@dataclass
class Contest:
    contender: FakeContender
    leadership: Leadership
    led: list[int]
    running: asyncio.Task[None]
    changes: list[bool]


@pytest.fixture
async def contest(world: World) -> AsyncIterator[Contest]:
    """A contender for a journal that knows epoch 1."""
    contender, led, changes = FakeContender(), [], []

    async def on_lead() -> None:
        led.append(leadership.epoch)

    leadership = Leadership(contender, world.metrics, lambda: changes.append(leadership.holds()))
    running = asyncio.create_task(leadership.run(world.desk.begin_epoch, on_lead))
    await until(lambda: len(changes) > 0)
    yield Contest(contender, leadership, led, running, changes)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_nothing_is_led_before_the_lease_is_ours(contest: Contest) -> None:
    assert (contest.leadership.holds(), contest.leadership.epoch, contest.led) == (False, 0, [])


async def test_leadership_begins_when_the_journal_has_the_epoch(contest: Contest, world: World) -> None:
    seen: list[bool] = []
    contest.contender.epoch, contest.contender.held = 2, True
    world.journal.before["writing its epoch"] = lambda: seen.append(contest.leadership.holds())
    contest.contender.tell()
    await asyncio.wait_for(contest.leadership.led.wait(), 5)
    assert seen == [False]
    assert (await world.journal.load()).epoch == 2
    assert (contest.leadership.holds(), contest.led) == (True, [2])


async def test_a_lease_lost_and_held_again_under_its_epoch_is_led_without_beginning_anew(contest: Contest) -> None:
    contest.contender.give(2)
    await until(contest.leadership.holds)
    contest.contender.take()
    await until(lambda: contest.changes[-1] is False)
    contest.contender.give(2)
    await until(lambda: contest.changes[-1] is True)
    assert contest.led == [2]


async def test_a_journal_that_cannot_be_written_leads_for_exits_and_learns_of_the_epoch_later(
    contest: Contest, world: World
) -> None:
    await world.hold()
    world.journal.is_failing = True
    contest.contender.give(2)
    await until(contest.leadership.holds)
    assert (world.gate.journal_open, contest.led) == (False, [2])
    world.fence.epoch = 2
    await world.desk.place([make_intent("leave", kind=IntentKind.EXIT, position_id="p-a", side=Side.SELL, epoch=2)])
    assert len(world.broker.sent) == 2, "the exit went out"
    world.journal.is_failing = False
    await world.desk.save_statistics()
    state = await world.journal.load()
    assert (state.epoch, len(state.open_intents), world.gate.journal_open) == (2, 1, True)


async def test_each_new_epoch_is_begun_once(contest: Contest) -> None:
    for epoch in (2, 3):
        contest.contender.give(epoch)
        await until(lambda epoch=epoch: contest.leadership.epoch == epoch)
        contest.contender.take()
    assert contest.led == [2, 3]


async def test_a_lease_that_counts_from_an_older_number_is_refused_also_while_the_journal_cannot_be_written(
    contest: Contest, world: World
) -> None:
    world.journal.is_failing = True
    contest.contender.give(3)
    await until(contest.leadership.holds)
    contest.contender.take()
    contest.contender.give(2)
    with pytest.raises(StaleEpochError, match="counts from epoch 2; this process has led in 3"):
        await contest.running


async def test_an_epoch_that_the_contender_has_and_the_journal_has_not_is_not_led(contest: Contest) -> None:
    contest.contender.give(2)
    await until(contest.leadership.holds)
    contest.contender.epoch = 3  # taken anew in the other thread, not told yet
    assert not contest.leadership.holds()


async def test_a_lease_that_another_took_ends_the_process(contest: Contest) -> None:
    contest.contender.give(2)
    await until(contest.leadership.holds)
    contest.contender.held, contest.contender.is_preempted, contest.contender.holder = False, True, "pod-2"
    contest.contender.tell()
    with pytest.raises(NotLeadingError, match="taken by pod-2"):
        await contest.running


async def test_an_epoch_that_the_journal_has_passed_ends_the_process(contest: Contest) -> None:
    contest.contender.give(1)
    with pytest.raises(StaleEpochError):
        await contest.running
    assert not contest.leadership.holds()


async def test_after_the_stop_nothing_is_led_whatever_the_contender_says(contest: Contest) -> None:
    contest.contender.give(2)
    await until(contest.leadership.holds)
    await contest.leadership.stop()
    assert contest.contender.is_stopped
    assert contest.contender.holds()
    assert not contest.leadership.holds()


async def test_leadership_is_a_metric(contest: Contest, world: World) -> None:
    contest.contender.give(2)
    await until(contest.leadership.holds)
    await until(lambda: b"openbell_leading 1.0" in world.metrics.exposition())
    contest.contender.take()
    await until(lambda: b"openbell_leading 0.0" in world.metrics.exposition())
