"""The fence: a Lease held from a thread of its own, a deadline that no failure can move, and an end when it must be."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from fakes.trading import until
from openbell.domain.errors import ClusterError
from openbell.kube import lease
from openbell.kube.resources import Object, Resource
from openbell.runner import fence as fencing
from openbell.runner.fence import EXIT_NOT_HALTED, FolderFence, LeaseFence, LeaseTerms

NAME = "main-runner"


@dataclass
class BootClock:
    """CLOCK_BOOTTIME, moved by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeLeases:
    """An API server with one Lease. `failing` refuses all, `hanging` answers nothing."""

    lease: Object | None = None
    version: int = 1
    failing: Exception | None = None
    hanging: bool = False
    asked: int = 0
    writes: int = 0
    reads: int = 0
    is_closed: bool = False

    def put(self, holder: str, epoch: int, *, renewed: str | None = "2026-03-02T15:00:00.000000Z") -> None:
        """What another writer makes of it."""
        self.version += 1
        self.lease = {
            "metadata": {
                "name": NAME,
                "annotations": {lease.EPOCH_ANNOTATION: str(epoch)},
                "resourceVersion": str(self.version),
            },
            "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15},
        }

    async def _answer(self) -> None:
        self.asked += 1
        while self.hanging:  # noqa: ASYNC110 - the flag is set from another thread
            await asyncio.sleep(0.001)
        if self.failing is not None:
            raise self.failing

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        await self._answer()
        self.reads += 1
        return self.lease

    async def create(self, obj: Object, *, field_manager: str) -> Object:
        await self._answer()
        self.writes += 1
        self.version += 1
        self.lease = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        return self.lease

    async def merge_patch(
        self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any], *, field_manager: str
    ) -> Object:
        await self._answer()
        if self.lease is None:
            raise ClusterError("there is none", 404)
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ClusterError("it has changed", 409)
        self.writes += 1
        self.version += 1
        annotations = self.lease["metadata"].get("annotations", {}) | body["metadata"].get("annotations", {})
        self.lease = {
            "metadata": {"name": NAME, "annotations": annotations, "resourceVersion": str(self.version)},
            "spec": {**self.lease["spec"], **body["spec"]},
        }
        return self.lease

    async def close(self) -> None:
        self.is_closed = True

    @property
    def holder(self) -> str:
        return self.lease["spec"]["holderIdentity"] if self.lease else ""


@dataclass
class Ground:
    """A fence, what it stands on, and what it said."""

    clock: BootClock = field(default_factory=BootClock)
    leases: FakeLeases = field(default_factory=FakeLeases)
    terms: LeaseTerms = field(default_factory=lambda: LeaseTerms("default", NAME, "pod-1", 0, ever_ran=False))
    ended: list[int] = field(default_factory=list)
    changes: list[tuple[bool, bool]] = field(default_factory=list)
    fence: LeaseFence = field(init=False)

    def begin(self, connect: Callable[[], Awaitable[Any]] | None = None) -> LeaseFence:
        async def connected() -> Any:
            return self.leases

        self.fence = LeaseFence(connect or connected, self.terms, boot_time=self.clock, end_process=self.ended.append)
        loop = threading.get_ident()

        def changed() -> None:
            assert threading.get_ident() == loop
            self.changes.append((self.fence.holds(), self.fence.is_preempted))

        self.fence.start(changed)
        return self.fence

    async def leading(self) -> LeaseFence:
        made = self.begin()
        await until(lambda: self.changes != [] and self.changes[-1] == (True, False))
        return made

    async def in_time(self, reached: Callable[[], bool]) -> float:
        """Let time pass in small steps until it is so; how much has passed."""
        began = self.clock.now
        for _ in range(2000):
            if reached():
                return self.clock.now - began
            self.clock.now += 0.25
            await asyncio.sleep(0.003)
        raise AssertionError("it has not come in 500 seconds")


@pytest.fixture
async def ground(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ground]:
    monkeypatch.setattr(fencing, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(fencing, "HALT_SECONDS", 5.0)
    made = Ground()
    yield made
    made.leases.hanging = False
    await made.fence.stop()
    assert made.leases.is_closed or made.leases.reads == 0


async def test_a_scheduler_that_never_ran_takes_its_lease_at_once(ground: Ground) -> None:
    fence = await ground.leading()
    assert (fence.epoch, ground.leases.holder) == (1, "pod-1")
    assert fence.holds()


async def test_the_epoch_is_above_everything_that_is_known(ground: Ground) -> None:
    ground.leases.put("", 3)
    ground.terms = replace(ground.terms, epoch_floor=7, ever_ran=True)
    assert (await ground.leading()).epoch == 8


async def test_a_renewal_moves_the_deadline_and_keeps_the_epoch(ground: Ground) -> None:
    fence = await ground.leading()
    written = ground.leases.writes
    assert await ground.in_time(lambda: ground.leases.writes >= written + 5) > 15
    assert (fence.holds(), fence.epoch, ground.changes[-1]) == (True, 1, (True, False))
    assert (False, False) not in ground.changes[1:]


async def test_the_deadline_counts_from_the_start_of_a_renewal_not_from_its_answer(ground: Ground) -> None:
    fence = await ground.leading()
    ground.leases.hanging = True
    asked, deadline = ground.leases.asked, fence._deadline
    ground.clock.now += 4.0  # it starts now
    await until(lambda: ground.leases.asked > asked)
    ground.clock.now += 5.0  # and is answered five seconds later
    ground.leases.hanging = False
    await until(lambda: fence._deadline > deadline)
    ground.leases.hanging = True
    ground.clock.now += 4.9
    assert fence.holds()
    ground.clock.now += 0.2
    assert not fence.holds()


async def test_the_deadline_passes_while_renewals_fail_and_leadership_comes_back_under_the_same_epoch(
    ground: Ground,
) -> None:
    fence = await ground.leading()
    ground.leases.failing = ClusterError("away", 503)
    ground.clock.now += 9.9
    assert fence.holds()
    ground.clock.now += 0.2
    assert not fence.holds()
    await until(lambda: ground.changes[-1] == (False, False))
    ground.leases.failing = None
    await ground.in_time(lambda: ground.changes[-1] == (True, False))
    assert fence.epoch == 1
    assert ground.ended == [], "trading has confirmed that it halted"


async def test_the_deadline_is_seen_to_pass_while_a_renewal_hangs(ground: Ground) -> None:
    await ground.leading()
    ground.leases.hanging = True
    asked = ground.leases.asked
    await ground.in_time(lambda: ground.leases.asked > asked)  # the renewal has begun, and nothing answers
    await ground.in_time(lambda: ground.changes[-1] == (False, False))


async def test_a_lease_that_another_took_is_told_and_not_contended_for(ground: Ground) -> None:
    fence = await ground.leading()
    ground.leases.put("pod-2", 2)
    await ground.in_time(lambda: ground.changes[-1] == (False, True))
    assert (fence.holds(), fence.holder) == (False, "pod-2")
    await fence.stop()
    assert ground.leases.holder == "pod-2", "what is another's is not released"


async def test_a_lease_that_another_took_during_an_outage_is_told_although_it_was_lost_before(ground: Ground) -> None:
    await ground.leading()
    ground.leases.failing = OSError("away")
    await ground.in_time(lambda: ground.changes[-1] == (False, False))
    ground.leases.put("pod-2", 2)
    ground.leases.failing = None
    await ground.in_time(lambda: ground.changes[-1] == (False, True))


async def test_our_own_name_under_another_epoch_is_another_process(ground: Ground) -> None:
    fence = await ground.leading()
    ground.leases.put("pod-1", 2)
    await ground.in_time(lambda: fence.is_preempted)
    assert not fence.holds()


async def test_a_lease_that_another_holds_is_waited_for_a_whole_duration_of_silence(ground: Ground) -> None:
    ground.leases.put("pod-0", 4)
    ground.terms = replace(ground.terms, ever_ran=True)
    fence = ground.begin()
    await until(lambda: ground.leases.reads > 0)
    assert fence.holder == "pod-0"
    assert await ground.in_time(fence.holds) >= 15
    assert fence.epoch == 5


async def test_a_holder_that_shows_life_is_waited_for_anew(ground: Ground) -> None:
    ground.leases.put("pod-0", 4)
    ground.terms = replace(ground.terms, ever_ran=True)
    fence = ground.begin()
    began = ground.clock.now
    await ground.in_time(lambda: ground.clock.now >= began + 12)
    ground.leases.put("pod-0", 4, renewed="2026-03-02T15:00:04.000000Z")
    assert await ground.in_time(fence.holds) >= 15, "as long as if it had only just been seen"


async def test_a_deleted_lease_is_not_taken_again_before_its_silence_is_over(ground: Ground) -> None:
    fence = await ground.leading()
    ground.leases.lease = None
    assert fence.holds(), "until our deadline nobody else can have it"
    assert await ground.in_time(lambda: ground.changes[-1] == (False, False)) >= 10
    assert (fence.epoch, fence.is_preempted) == (1, False)
    await ground.in_time(lambda: fence.epoch == 2)
    await until(fence.holds)
    assert ground.leases.holder == "pod-1"


async def test_stopping_gives_the_lease_back_with_a_short_duration(ground: Ground) -> None:
    fence = await ground.leading()
    await fence.stop()
    assert ground.leases.lease is not None
    assert ground.leases.lease["spec"]["leaseDurationSeconds"] == lease.RELEASED_DURATION_SECONDS
    assert (ground.leases.holder, fence.holds()) == ("", False)


async def test_stopping_before_leading_writes_nothing(ground: Ground) -> None:
    ground.leases.put("pod-0", 4)
    ground.terms = replace(ground.terms, ever_ran=True)
    fence = ground.begin()
    await until(lambda: ground.leases.reads > 0)
    await fence.stop()
    assert (ground.leases.writes, ground.leases.holder) == (0, "pod-0")


async def test_stopping_while_the_api_server_is_away_ends_all_the_same(ground: Ground) -> None:
    fence = await ground.leading()
    ground.leases.failing = ClusterError("away")
    await fence.stop()
    assert (fence.holds(), ground.leases.holder, ground.ended) == (False, "pod-1", [])


async def test_an_api_server_that_is_away_at_the_start_is_tried_again(ground: Ground) -> None:
    ground.leases.failing = ClusterError("away", 503)
    ground.begin()
    await until(lambda: ground.changes == [(False, False)])
    ground.leases.failing = None
    await ground.in_time(lambda: ground.changes[-1] == (True, False))


async def test_an_error_that_nobody_expects_ends_the_process(ground: Ground) -> None:
    fence = await ground.leading()
    ground.leases.failing = RuntimeError("a bug")
    await ground.in_time(lambda: ground.ended == [EXIT_NOT_HALTED])
    assert not fence.holds()


async def test_a_process_whose_event_loop_does_not_confirm_the_halt_is_ended(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ground.leading()
    monkeypatch.setattr(fencing, "HALT_SECONDS", 0.005)
    ground.leases.failing = ClusterError("away")
    ground.clock.now += 10.1
    stuck_until = time.monotonic() + 10
    while not ground.ended and time.monotonic() < stuck_until:
        time.sleep(0.001)  # noqa: ASYNC251 - the event loop hangs: this is what is tested
    assert ground.ended == [EXIT_NOT_HALTED]


async def test_the_fence_of_a_folder_leads_at_once_and_for_good() -> None:
    fence = FolderFence(3)
    told: list[int] = []
    fence.start(lambda: told.append(fence.epoch))
    await fence.stop()
    assert (told, fence.holds(), fence.is_preempted) == ([3], True, False)
