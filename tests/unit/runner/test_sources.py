"""ConfigMaps with the classes of custom strategies: from files, and watched by name at the API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes.trading import until
from openbell.domain.errors import ManifestError
from openbell.kube.resources import Resource
from openbell.kube.watch import WatchEvent, WatchType
from openbell.resources.load import parse_manifest
from openbell.resources.strategy import StrategySpec
from openbell.runner.entry import Code
from openbell.runner.settings import SchedulerVariables
from openbell.runner.source import KubeSource, Observed
from openbell.runner.sources import (
    ConfigMaps,
    SourceMissingError,
    SourceUnreadError,
    code_of,
    config_map_texts,
    named_by,
)
from openbell.runner.standalone import FileSource

CONFIG_MAP_SOURCE = {"type": "ConfigMap", "configMap": {"name": "code"}, "class": "Rise"}


def scheduler() -> dict[str, Any]:
    return _resource("TradingScheduler", "main", {"enabled": True})


def strategy(name: str = "own", source: dict[str, Any] | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"schedulerRef": {"name": "main"}, "type": "Custom", "symbols": ["AAPL"]}
    return _resource("Strategy", name, {**spec, "source": source or CONFIG_MAP_SOURCE})


def config_map(text: str, name: str = "code") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"strategy.py": text}}


def _resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "uid": name, "generation": 1}
    return {"apiVersion": "openbell.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def spec_of(document: dict[str, Any]) -> StrategySpec:
    spec = parse_manifest(document).spec
    assert isinstance(spec, StrategySpec)
    return spec


def test_the_code_is_the_text_of_the_named_key() -> None:
    code = code_of(spec_of(strategy()), "default", ConfigMaps({"code": {"strategy.py": "x"}}))
    assert code == Code("ConfigMap code, key strategy.py", "Rise", "x")
    image = spec_of(strategy(source={"type": "Image", "entryPoint": "a.b:C"}))
    assert code_of(image, "default", ConfigMaps({})) == Code("the image", "a.b:C")
    assert (named_by(parse_manifest(strategy())), named_by(parse_manifest(scheduler()))) == ("code", None)


def test_the_digest_changes_with_text_class_and_place() -> None:
    codes = [Code("a", "C", "x"), Code("a", "C", "y"), Code("a", "D", "x"), Code("b", "C", "x"), Code("a", "C")]
    assert len({each.digest for each in codes}) == len(codes)


def test_what_is_not_there_is_named_and_what_is_not_read_yet_is_waited_for() -> None:
    spec = spec_of(strategy())
    with pytest.raises(SourceMissingError, match="there is no ConfigMap code in default"):
        code_of(spec, "default", ConfigMaps({}))
    with pytest.raises(SourceMissingError, match=r"has no key strategy\.py.*it has a\.py, b\.py"):
        code_of(spec, "default", ConfigMaps({"code": {"b.py": "", "a.py": ""}}))
    with pytest.raises(SourceUnreadError, match="has not been read yet"):
        code_of(spec, "default", ConfigMaps({}, frozenset({"code"})))


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"kind": "ConfigMap"}, r"metadata\.name of the ConfigMap is missing"),
        ({"apiVersion": "v2", "metadata": {"name": "a"}}, "ConfigMap a: apiVersion is 'v2'; it must be v1"),
        ({"apiVersion": "v1", "metadata": {"name": "a"}, "data": {"k": 1}}, "ConfigMap a: data must be an object of"),
    ],
)
def test_a_config_map_that_is_none_is_told(document: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ManifestError, match=sentence):
        config_map_texts(document)


# -- from files


def test_a_config_map_in_a_file_is_read_and_its_change_is_told(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"

    def write(text: str) -> Observed:
        file.write_text(yaml.safe_dump_all([config_map(text), scheduler(), strategy()]))
        return FileSource([file], tmp_path / "kept", SchedulerVariables()).read()

    assert write("one").config_maps.texts == {"code": {"strategy.py": "one"}}
    assert write("two").config_maps.texts == {"code": {"strategy.py": "two"}}


# -- from the API server


class Server:
    """Takes the place of `watch`: what is put here is what each watch sees."""

    def __init__(self) -> None:
        self.queues: dict[str, asyncio.Queue[WatchEvent]] = {}
        self.seen: list[Observed] = []

    def queue(self, key: str) -> asyncio.Queue[WatchEvent]:
        return self.queues.setdefault(key, asyncio.Queue())

    async def watch(
        self, _client: object, resource: Resource, _namespace: str, *, name: str | None = None, **_: object
    ) -> AsyncIterator[WatchEvent]:
        key = f"configmaps/{name}" if resource.plural == "configmaps" else resource.plural
        while True:
            yield await self.queue(key).get()

    def put(self, key: str, *events: WatchEvent) -> None:
        for each in events:
            self.queue(key).put_nowait(each)

    async def texts(self, expected: object, unread: frozenset[str] = frozenset()) -> None:
        await until(lambda: bool(self.seen) and self._last() == (expected, unread))

    def _last(self) -> tuple[object, frozenset[str]]:
        maps = self.seen[-1].config_maps
        return dict(maps.texts), maps.unread


def added(document: dict[str, Any]) -> WatchEvent:
    return WatchEvent(WatchType.ADDED, document)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    made = Server()
    monkeypatch.setattr("openbell.runner.source.watch", made.watch)
    source = KubeSource(None, "default", "main")  # type: ignore[arg-type]
    take: Callable[[Observed], None] = made.seen.append
    task = asyncio.create_task(source.run(take))
    made.put("tradingschedulers", added(scheduler()), WatchEvent(WatchType.SYNCED))
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_exactly_the_named_config_maps_are_watched_and_their_changes_told(server: Server) -> None:
    server.put("strategies", added(strategy()), WatchEvent(WatchType.SYNCED))
    await server.texts({}, frozenset({"code"}))
    assert not server.seen[-1].is_stale
    server.put("configmaps/code", added(config_map("one")), WatchEvent(WatchType.SYNCED))
    await server.texts({"code": {"strategy.py": "one"}})
    server.put("configmaps/code", WatchEvent(WatchType.MODIFIED, config_map("two")))
    await server.texts({"code": {"strategy.py": "two"}})
    server.put("configmaps/code", WatchEvent(WatchType.DELETED, config_map("two")))
    await server.texts({})


async def test_a_config_map_that_cannot_be_read_makes_nothing_stale_and_keeps_what_was_read(server: Server) -> None:
    server.put("strategies", added(strategy()), WatchEvent(WatchType.SYNCED))
    server.put("configmaps/code", added(config_map("one")), WatchEvent(WatchType.SYNCED), WatchEvent(WatchType.LOST))
    await server.texts({"code": {"strategy.py": "one"}})
    server.put("tradingschedulers", WatchEvent(WatchType.SYNCED))
    await asyncio.sleep(0.02)
    assert not server.seen[-1].is_stale
    assert server.seen[-1].config_maps.texts == {"code": {"strategy.py": "one"}}


async def test_a_config_map_that_nobody_names_any_more_is_let_go(server: Server) -> None:
    server.put("strategies", added(strategy()), WatchEvent(WatchType.SYNCED))
    server.put("configmaps/code", added(config_map("one")), WatchEvent(WatchType.SYNCED))
    await server.texts({"code": {"strategy.py": "one"}})
    server.put("strategies", WatchEvent(WatchType.DELETED, strategy()))
    await server.texts({})
    changed = len(server.seen)
    server.put("configmaps/code", WatchEvent(WatchType.MODIFIED, config_map("two")))
    await asyncio.sleep(0.02)
    assert len(server.seen) == changed


async def test_a_config_map_that_is_not_there_is_known_to_be_missing(server: Server) -> None:
    server.put("strategies", added(strategy()), WatchEvent(WatchType.SYNCED))
    server.put("configmaps/code", WatchEvent(WatchType.SYNCED))
    await server.texts({})
