"""The canary, the probes and the recorder: what tells that something is wrong, and what must not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import aiohttp
import pytest
from fake_cluster import FakeCluster
from structlog.testing import capture_logs

from openbell.controller.canary import NAME, TOUCH_ANNOTATION, Canary, canary
from openbell.controller.desired.owner import CANARY_LABEL
from openbell.controller.ending import is_expected
from openbell.controller.health import Health, Heartbeat, serve
from openbell.controller.recorder import Recorder
from openbell.domain.errors import ClusterError
from openbell.kube.client import KubeClient
from openbell.kube.lease import micro_time
from openbell.resources.conditions import Condition
from openbell.resources.load import parse_spec

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
AWAY = ClusterError("the server is away", reason="NoAnswer")
ENDING = ClusterError(
    'POST /apis was refused with 403: events "x" is forbidden: unable to create new content in namespace n '
    "because it is being terminated",
    status=403,
    reason="Forbidden",
)
FORBIDDEN = ClusterError('POST /apis was refused with 403: User "x" cannot create', status=403, reason="Forbidden")


class Touched:
    """A canary with a clock that a test moves."""

    def __init__(self) -> None:
        self.cluster, self.now, self.count = FakeCluster(), 100.0, 0
        self.canary = Canary(cast(KubeClient, self.cluster), "n", 0.001, self._touch, monotonic=lambda: self.now)

    def _touch(self) -> None:
        self.count += 1


async def test_a_touch_is_pending_until_it_comes_back_through_the_watch() -> None:
    it = Touched()
    assert it.canary.pending_seconds() == 0
    await it.canary.touch()
    it.now += 7
    assert it.canary.pending_seconds() == 7
    it.canary.seen(it.cluster.objects[NAME])
    assert it.canary.pending_seconds() == 0


async def test_the_canary_says_once_what_it_is_for_so_that_a_list_of_schedulers_has_no_empty_row() -> None:
    it = Touched()
    await it.canary.touch()
    said = it.cluster.objects[NAME]["status"]
    assert said["state"] == "Stopped"
    assert "nobody trades here" in said["why"]
    written = len(it.cluster.writes)
    await it.canary.touch()
    assert len(it.cluster.writes) == written + 1, "the touch alone"


async def test_an_older_touch_that_comes_back_proves_nothing_of_the_newest() -> None:
    it = Touched()
    await it.canary.touch()
    older = it.cluster.objects[NAME]
    it.now += 30
    await it.canary.touch()
    it.canary.seen(older)
    assert it.canary.pending_seconds() == 30  # since the first touch that is not back
    it.canary.seen(it.cluster.objects[NAME])
    assert it.canary.pending_seconds() == 0


async def test_a_touch_that_the_server_did_not_take_is_not_waited_for_and_the_next_one_is() -> None:
    it = Touched()
    it.cluster.refusal = AWAY
    with capture_logs() as logs:
        running = asyncio.create_task(it.canary.run())
        async with asyncio.timeout(5):
            while not logs:  # noqa: ASYNC110 - a log line wakes nobody
                await asyncio.sleep(0.001)
        it.now += 60
        assert it.canary.pending_seconds() == 0
        assert it.count == 0
        it.cluster.refusal = None
        async with asyncio.timeout(5):
            while not it.count:  # noqa: ASYNC110 - neither does a count
                await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert {each["event"] for each in logs} == {"canary.untouched"}


def test_the_canary_is_disabled_marked_and_valid() -> None:
    made = canary("n", "1.0")
    assert made["metadata"]["labels"][CANARY_LABEL] == "true"
    assert made["metadata"]["annotations"] == {TOUCH_ANNOTATION: "1.0"}
    assert made["spec"]["enabled"] is False
    parse_spec(made["kind"], made["spec"])


async def test_the_probes_answer_by_their_verdicts_and_say_what_is_wrong() -> None:
    problems: dict[str, str | None] = {"live": None, "ready": "the cluster is still being listed"}
    health = Health(lambda: problems["live"], lambda: problems["ready"], lambda: b"# metrics\n")
    server, port = await serve(health, "127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

            async def get(path: str) -> tuple[int, str]:
                async with session.get(path) as answer:
                    return answer.status, await answer.text()

            assert await get("/livez") == (200, "ok\n")
            assert await get("/readyz") == (503, "the cluster is still being listed\n")
            problems |= {"live": "the event loop is 9.0 s late", "ready": None}
            assert await get("/livez") == (503, "the event loop is 9.0 s late\n")
            assert await get("/readyz") == (200, "ok\n")
            assert await get("/metrics") == (200, "# metrics\n")
            assert (await get("/other"))[0] == 404
    finally:
        await server.cleanup()


async def test_the_heartbeat_tells_how_late_it_is_and_is_never_early() -> None:
    now, observed = [50.0], asyncio.Queue[float]()
    heartbeat = Heartbeat(observed.put_nowait, monotonic=lambda: now[0])
    assert heartbeat.lag_seconds() == 0
    beating = asyncio.create_task(heartbeat.run())
    assert await asyncio.wait_for(observed.get(), 5) == 0  # the clock stood still: as early as can be
    now[0] += 3.25
    assert heartbeat.lag_seconds() == pytest.approx(3.0)
    assert await asyncio.wait_for(observed.get(), 5) == pytest.approx(3.0)
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)


REGARDING: dict[str, Any] = {
    "apiVersion": "openbell.dev/v1alpha1",
    "kind": "TradingScheduler",
    "metadata": {"name": "alpha", "namespace": "n", "uid": "u"},
}
TURNED = [
    Condition.of("Ready", False, "VolumeMissing", "gone", 1),
    Condition.of("Available", False, "NoRunner", "not told", 1),
    Condition.of("Stalled", True, "VolumeMissing", "gone", 1),
]


async def told(refusal: ClusterError | None) -> tuple[FakeCluster, int, list[str]]:
    cluster, lost = FakeCluster(), []
    cluster.refusal = refusal
    recorder = Recorder(cast(KubeClient, cluster), "operator-0", lambda: NOW, lambda: lost.append(1))
    with capture_logs() as logs:
        await recorder.tell(REGARDING, TURNED)
    return cluster, len(lost), [each["log_level"] for each in logs if each["event"].startswith("event.")]


async def test_each_turn_that_people_want_to_hear_of_becomes_one_event() -> None:
    cluster, lost, levels = await told(None)
    assert [each["reason"] for each in cluster.writes] == ["VolumeMissing", "VolumeMissing"]
    assert {each["eventTime"] for each in cluster.writes} == {micro_time(NOW)}
    assert (lost, levels) == (0, [])


@pytest.mark.parametrize("refusal", [AWAY, FORBIDDEN])
async def test_an_event_that_cannot_be_written_is_counted_told_and_does_not_stop_the_next(
    refusal: ClusterError,
) -> None:
    cluster, lost, levels = await told(refusal)
    assert cluster.writes == []
    assert (lost, levels) == (2, ["warning", "warning"])


async def test_an_event_in_a_namespace_that_is_ending_is_not_missed() -> None:
    _, lost, levels = await told(ENDING)
    assert lost == 0
    assert set(levels) <= {"debug"}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ENDING, True),
        (ClusterError('PATCH /x was refused with 404: namespaces "n" not found', status=404), True),
        (ClusterError('PATCH /x was refused with 404: strategies.openbell.dev "m" not found', status=404), True),
        (ClusterError("PATCH /x: the server could not find the requested resource", status=404), False),
        (FORBIDDEN, False),
        (AWAY, False),
        (ClusterError("because it is being terminated", status=409), False),
    ],
)
def test_only_what_a_deletion_brings_with_it_is_expected(error: ClusterError, expected: bool) -> None:
    assert is_expected(error) is expected
