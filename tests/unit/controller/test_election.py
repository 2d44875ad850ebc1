"""The operator's election: one leader, and a leader that may have lost is one no longer, said once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fake_cluster import FakeCluster
from structlog.testing import capture_logs

from openbell.controller import election
from openbell.controller.election import LEASE_NAME, Elector
from openbell.controller.main import Operator
from openbell.controller.metrics import OperatorMetrics
from openbell.controller.settings import OperatorSettings
from openbell.domain.errors import ClusterError, NotLeadingError
from openbell.kube.client import KubeClient
from openbell.kube.lease import LEASE_DURATION_SECONDS, RENEW_DEADLINE_SECONDS

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops that wait for milliseconds; what counts as time is `Process.now`."""
    monkeypatch.setattr(election, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(election.lease, "RENEW_INTERVAL_SECONDS", 0.001)


@dataclass
class Process:
    """An elector with a clock of its own."""

    cluster: FakeCluster
    name: str = "one"
    now: float = 1000.0
    lost: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        client = cast(KubeClient, self.cluster)
        self.elector = Elector(client, "n", self.name, lambda: NOW, self.lost.append, boot_time=lambda: self.now)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.elector.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[asyncio.Task[None]]:
        async with self.running() as task:
            await asyncio.wait_for(self.elector.elected.wait(), 5)
            yield task


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - the fake has no event for each of its changes
            await asyncio.sleep(0.001)


def holder(cluster: FakeCluster) -> str:
    return str(cluster.objects[LEASE_NAME]["spec"]["holderIdentity"])


async def test_a_lease_that_is_free_is_taken_and_kept() -> None:
    one = Process(FakeCluster())
    assert not one.elector.leads()
    async with one.leading():
        assert one.elector.leads()
        assert holder(one.cluster) == "one"
        for _ in range(10):
            one.now += 4
            before = len(one.cluster.writes)
            await until(lambda seen=before: len(one.cluster.writes) > seen + 1)
        assert one.elector.leads()
    assert one.lost == []


async def test_another_waits_until_it_has_itself_seen_no_renewal_for_a_whole_duration() -> None:
    cluster = FakeCluster()
    one, two = Process(cluster), Process(cluster, "two")
    async with one.leading():
        pass  # killed without giving the lease back
    async with two.running():
        two.now += LEASE_DURATION_SECONDS - 0.1
        await asyncio.sleep(0.05)
        assert not two.elector.leads()
        # The first look may have been after the clock was moved; a whole duration more is enough in any case.
        two.now += LEASE_DURATION_SECONDS
        await asyncio.wait_for(two.elector.elected.wait(), 5)
    assert holder(cluster) == "two"


async def test_leadership_ends_when_no_renewal_gets_through_in_time() -> None:
    one = Process(FakeCluster())
    async with one.leading() as task:
        one.cluster.refusal = ClusterError("the server is away", status=503)
        one.now += RENEW_DEADLINE_SECONDS - 1
        await asyncio.sleep(0.02)
        assert one.lost == []
        one.now += 1
        await asyncio.wait_for(task, 5)
    assert one.lost == ["the lease could not be renewed in time"]
    assert not one.elector.leads()


async def test_a_renewal_that_is_not_answered_does_not_hide_the_deadline() -> None:
    one = Process(FakeCluster())
    async with one.leading() as task:
        one.now += RENEW_DEADLINE_SECONDS - 0.05
        one.cluster.hangs = True
        await asyncio.sleep(0.2)
        one.now += 0.1
        await asyncio.wait_for(task, 5)
    assert one.lost == ["the lease could not be renewed in time"]


async def test_a_process_that_wakes_too_late_does_not_renew_any_more() -> None:
    one = Process(FakeCluster())
    async with one.leading() as task:
        one.now += RENEW_DEADLINE_SECONDS
        writes = len(one.cluster.writes)
        await asyncio.wait_for(task, 5)
        assert len(one.cluster.writes) == writes
    assert len(one.lost) == 1


async def test_a_stolen_lease_is_lost_at_once_and_its_thief_is_named() -> None:
    one = Process(FakeCluster())
    async with one.leading() as task:
        one.cluster.edit(LEASE_NAME, {"holderIdentity": "thief"})
        await asyncio.wait_for(task, 5)
    assert one.lost == ["the lease was taken by thief"]
    assert holder(one.cluster) == "thief"


async def test_a_deleted_lease_is_lost_too() -> None:
    one = Process(FakeCluster())
    async with one.leading() as task:
        one.cluster.objects.clear()
        await asyncio.wait_for(task, 5)
    assert one.lost == ["the lease is gone"]


async def test_a_lease_given_back_is_taken_at_once_and_was_not_lost() -> None:
    cluster = FakeCluster()
    one, two = Process(cluster), Process(cluster, "two")
    async with one.leading():
        pass
    await one.elector.release()
    assert holder(cluster) == ""
    assert not one.elector.leads()
    one.elector.give_up()
    assert one.lost == []
    async with two.leading():
        assert holder(cluster) == "two"
    writes = len(cluster.writes)
    await one.elector.release()
    assert len(cluster.writes) == writes


async def test_however_many_see_it_a_loss_is_told_once() -> None:
    one = Process(FakeCluster())
    async with one.leading() as task:
        one.now += RENEW_DEADLINE_SECONDS
        for _ in range(3):
            one.elector.give_up()
        await asyncio.wait_for(task, 5)
    assert len(one.lost) == 1


async def test_the_first_write_that_comes_too_late_ends_the_process_with_one_line() -> None:
    ended: list[int] = []
    cluster = cast(KubeClient, SimpleNamespace(credentials=None))
    metrics = OperatorMetrics(version="0", process=False)
    operator = Operator(cluster, cluster, OperatorSettings(), metrics=metrics, end_process=ended.append)
    await operator.before_write()  # nobody has been elected yet
    operator._elector.elected.set()  # and its deadline, never set, has passed
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(NotLeadingError, match="nothing may be written"):
                await operator.before_write()
    assert ended == [1]
    assert [each["event"] for each in logs] == ["operator.lost_leadership"]
