"""Watches through cut connections, refused resource versions and a server that is away: nothing is missed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from apiserver import ApiServer
from operating import World, condition_of, grant, operating

from openbell.kube.client import CONFIG_MAPS, KubeClient
from openbell.kube.watch import WatchEvent, WatchType, watch

STRATEGY = {"schedulerRef": {"name": "alpha"}, "type": "Momentum", "symbols": ["AAPL"]}


class Proxy:
    """A TCP proxy in front of the API server that can cut every connection and refuse new ones."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.refuses = False
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self) -> None:
        for writer in tuple(self._open):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        both = {writer, there_writer}
        self._open |= both
        try:
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
        finally:
            self._open -= both
            for each in both:
                each.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@pytest.fixture
async def proxy(api_server: ApiServer) -> AsyncIterator[Proxy]:
    host, _, port = api_server.url.removeprefix("https://").partition(":")
    made = Proxy((host, int(port)))
    await made.start()
    yield made
    await made.stop()


def through(proxy: Proxy, kubeconfig: Path, folder: Path) -> Path:
    config: dict[str, Any] = json.loads(kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
    path = folder / "proxied"
    path.write_text(json.dumps(config))
    return path


class Watching:
    """A watch of the ConfigMaps of a namespace, whose events can be waited for."""

    def __init__(self, client: KubeClient, namespace: str, **options: Any) -> None:
        self.events: asyncio.Queue[WatchEvent] = asyncio.Queue()
        self._task = asyncio.create_task(self._run(client, namespace, options))

    async def _run(self, client: KubeClient, namespace: str, options: dict[str, Any]) -> None:
        async with contextlib.aclosing(watch(client, CONFIG_MAPS, namespace, **options)) as events:
            async for event in events:
                await self.events.put(event)

    async def next(self, kind: WatchType) -> WatchEvent:
        """The next event of a kind; others before it are passed over."""
        async with asyncio.timeout(20):
            while True:
                event = await self.events.get()
                if event.type is kind:
                    return event

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


def config_map(namespace: str, name: str, value: str = "1") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}


def name_of(event: WatchEvent) -> str:
    return str(event.object["metadata"]["name"])


async def test_a_watch_lists_then_tells_every_change_in_order(api_server: ApiServer, namespace: str) -> None:
    client = await KubeClient.connect(api_server.kubeconfig)
    await client.create(config_map(namespace, "before"))
    watching = Watching(client, namespace)
    assert name_of(await watching.next(WatchType.LISTED)) == "before"
    await watching.next(WatchType.SYNCED)
    await client.create(config_map(namespace, "large", "x" * 300_000))
    added = await watching.next(WatchType.ADDED)
    assert (name_of(added), len(added.object["data"]["value"])) == ("large", 300_000)
    await client.apply(config_map(namespace, "before", "2"), field_manager="test")
    assert (await watching.next(WatchType.MODIFIED)).object["data"] == {"value": "2"}
    await client.delete(CONFIG_MAPS, namespace, "before")
    assert name_of(await watching.next(WatchType.DELETED)) == "before"
    await watching.stop()
    await client.close()


async def test_a_watch_of_one_object_hears_of_no_other(api_server: ApiServer, namespace: str) -> None:
    client = await KubeClient.connect(api_server.kubeconfig)
    watching = Watching(client, namespace, name="mine")
    await watching.next(WatchType.SYNCED)
    await client.create(config_map(namespace, "other"))
    await client.create(config_map(namespace, "mine"))
    assert name_of(await watching.next(WatchType.ADDED)) == "mine"
    await watching.stop()
    await client.close()


async def test_a_lost_server_is_told_and_what_happened_meanwhile_is_caught_up(
    api_server: ApiServer, namespace: str, proxy: Proxy, tmp_path: Path
) -> None:
    direct = await KubeClient.connect(api_server.kubeconfig)
    client = await KubeClient.connect(through(proxy, api_server.kubeconfig, tmp_path))
    for name in ("stays", "goes"):
        await direct.create(config_map(namespace, name))
    watching = Watching(client, namespace)
    await watching.next(WatchType.SYNCED)
    proxy.refuses = True
    proxy.cut()
    lost = await watching.next(WatchType.LOST)
    assert lost.since > 0
    await direct.delete(CONFIG_MAPS, namespace, "goes")
    await direct.create(config_map(namespace, "comes"))
    proxy.refuses = False
    await watching.next(WatchType.SYNCED)
    assert name_of(await watching.next(WatchType.DELETED)) == "goes"
    assert name_of(await watching.next(WatchType.ADDED)) == "comes"
    await watching.stop()
    await client.close()
    await direct.close()


class _GoneResponse:
    """The one line of a watch whose resource version is too old, as the API server writes it."""

    @property
    def content(self) -> _GoneResponse:
        return self

    async def iter_any(self) -> AsyncIterator[bytes]:
        status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 1 (7)"}
        yield json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"


@contextlib.asynccontextmanager
async def gone() -> AsyncIterator[_GoneResponse]:
    yield _GoneResponse()


async def test_a_version_that_is_too_old_leads_to_a_new_list_and_deletions_are_inferred(
    api_server: ApiServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await KubeClient.connect(api_server.kubeconfig)
    for name in ("stays", "goes"):
        await client.create(config_map(namespace, name))
    stream = client.stream
    streams: list[str] = []

    def too_old(resource: Any, where: Any, query: Any, **options: Any) -> Any:
        streams.append(query["resourceVersion"])
        # What a watcher hears that slept while etcd was compacted; here that would take five minutes.
        return gone() if len(streams) == 1 else stream(resource, where, query, **options)

    monkeypatch.setattr(client, "stream", too_old)
    listed: list[str] = []
    pages = client.pages

    async def deleting_between_the_lists(*args: Any, **options: Any) -> Any:
        async for page in pages(*args, **options):
            yield page
        listed.append("once more")
        if len(listed) == 1:
            await client.delete(CONFIG_MAPS, namespace, "goes")

    monkeypatch.setattr(client, "pages", deleting_between_the_lists)
    watching = Watching(client, namespace)
    await watching.next(WatchType.SYNCED)
    deleted = await watching.next(WatchType.DELETED)
    assert name_of(deleted) == "goes"
    assert "data" not in deleted.object  # inferred, not told
    assert len(listed) == 2
    await client.create(config_map(namespace, "later"))
    assert name_of(await watching.next(WatchType.ADDED)) == "later"
    await watching.stop()
    await client.close()


async def test_the_operator_catches_up_after_all_its_connections_were_cut(
    api_server: ApiServer, namespace: str, proxy: Proxy, tmp_path: Path
) -> None:
    world = World(api_server, namespace, grant(api_server, namespace, tmp_path))
    async with operating(world, through(proxy, world.kubeconfig, tmp_path)):
        await world.create("TradingScheduler", "alpha", spec={"enabled": True})
        await world.until("Deployment", "alpha-runner", lambda obj: obj and obj["spec"]["replicas"] == 1)
        service = await world.until("Service", "alpha-api", bool)
        proxy.refuses = True
        proxy.cut()
        await world.delete("Service", "alpha-api")
        await world.create("Strategy", "mom", spec=STRATEGY)
        await asyncio.sleep(1.0)
        proxy.refuses = False
        await world.condition("Strategy", "mom", "Accepted", "True", "Accepted")
        again = await world.until("Service", "alpha-api", bool)
        assert again["metadata"]["uid"] != service["metadata"]["uid"]
        summary = await world.until(
            "TradingScheduler", "alpha", lambda obj: obj and obj["status"].get("strategies", {}).get("total") == 1
        )
        assert condition_of(summary, "Ready")["observedGeneration"] == 1
    assert world.ended == []


async def test_an_operator_that_cannot_renew_in_time_ends_itself(
    api_server: ApiServer, namespace: str, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openbell.kube.lease.RENEW_INTERVAL_SECONDS", 0.2)
    monkeypatch.setattr("openbell.kube.lease.deadline_of", lambda started, seconds=1.5: started + seconds)
    world = World(api_server, namespace, grant(api_server, namespace, tmp_path))
    async with operating(world, through(proxy, world.kubeconfig, tmp_path)):
        proxy.refuses = True
        proxy.cut()
        for _ in range(200):
            if world.ended:
                break
            await asyncio.sleep(0.05)
    assert world.ended == [1]
