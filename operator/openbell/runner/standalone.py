"""Resources without a cluster: manifests in files, which are watched, and a folder that keeps what REST said.

Objects of other APIs in the files, such as a Deployment, are for a cluster, and passed over.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import structlog
import yaml

from openbell.domain.errors import ManifestError
from openbell.resources import scheduler, strategy
from openbell.resources.common import API_VERSION
from openbell.resources.load import Manifest, documents, is_foreign, parse_manifest
from openbell.runner.settings import SchedulerVariables
from openbell.runner.source import Observed
from openbell.runner.sources import CONFIG_MAP, ConfigMaps, config_map_texts

log = structlog.get_logger("openbell.standalone")

LOOK_SECONDS = 1.0
DEFAULT_NAME = "scheduler"
_KINDS = (scheduler.KIND, strategy.KIND, CONFIG_MAP)


class FileSource:
    """One scheduler and its strategies, from files and from what was added by REST (kept in `folder`).

    A lifecycle call by REST outweighs the file until the file's own `enabled` or `paused` changes. Every change that
    alters the scheduler raises its generation, which is kept, as the API server's would be.
    """

    def __init__(self, files: Sequence[Path], folder: Path, variables: SchedulerVariables) -> None:
        self._files = tuple(files)
        self._folder = folder
        self._variables = variables
        self._kept = folder / "standalone.json"
        self._added = folder / "strategies"
        self._seen: tuple[object, ...] = ()
        self._observed: Observed | None = None
        self._on_change: Callable[[Observed], None] = lambda _: None

    def read(self) -> Observed:
        """Read everything once. Raises ManifestError for the first thing that is wrong."""
        found = [document for path in (*self._files, *sorted(self._added.glob("*.yaml"))) for document in _read(path)]
        config_maps = dict(config_map_texts(item) for item in found if item.get("kind") == CONFIG_MAP)
        schedulers = [item for item in found if item.get("kind") == scheduler.KIND]
        if len(schedulers) > 1:
            names = ", ".join(str(item["metadata"]["name"]) for item in schedulers)
            raise ManifestError(f"the files have {len(schedulers)} schedulers ({names}); a runner has exactly one")
        document = schedulers[0] if schedulers else _default_scheduler()
        spec = self._variables.over(document.get("spec") or {})
        main = parse_manifest({**document, "spec": self._overlaid(spec)})
        strategies: dict[str, Manifest] = {}
        for item in found:
            if item.get("kind") != strategy.KIND:
                continue
            manifest = parse_manifest(item)
            if item["spec"]["schedulerRef"]["name"] != main.name:
                raise ManifestError(
                    f"Strategy {manifest.name}: spec.schedulerRef.name is "
                    f"{item['spec']['schedulerRef']['name']!r}; the scheduler here is {main.name}"
                )
            if manifest.name in strategies:
                raise ManifestError(f"the files have two strategies called {manifest.name!r}; a name is given once")
            strategies[manifest.name] = manifest
        return Observed(self._numbered(main), MappingProxyType(strategies), config_maps=ConfigMaps(config_maps))

    async def run(self, on_change: Callable[[Observed], None]) -> None:
        self._on_change = on_change
        while True:
            stamp = self._stamp()
            if stamp != self._seen:
                self._seen = stamp
                self._look()
            await asyncio.sleep(LOOK_SECONDS)

    def _look(self) -> bool:
        """Read anew and tell; whether everything was right. What was right last stays in force."""
        try:
            self._observed = self.read()
        except ManifestError as error:
            log.error("manifest.refused", error=str(error))
            return False
        self._on_change(self._observed)
        return True

    def _stamp(self) -> tuple[object, ...]:
        paths = (*self._files, self._kept, *sorted(self._added.glob("*.yaml")))
        return tuple((path, path.stat().st_mtime_ns) if path.exists() else path for path in paths)

    async def patch_scheduler(self, spec: Mapping[str, Any]) -> int:
        kept = self._load()
        kept["spec"] = {**kept.get("spec", {}), **spec}
        self._store(kept)
        if not self._look():
            self._patch_last_good(spec)
        if self._observed is None or self._observed.scheduler is None:
            raise ManifestError("the scheduler's manifest cannot be read")
        return self._observed.scheduler.generation

    def _patch_last_good(self, spec: Mapping[str, Any]) -> None:
        """A file that is wrong just now does not keep a person from pausing what still runs."""
        last = self._observed
        if last is None or last.scheduler is None:
            return
        patched = replace(last.scheduler, spec=last.scheduler.spec.model_copy(update=dict(spec)))
        self._observed = replace(last, scheduler=self._numbered(patched))
        self._on_change(self._observed)

    async def create_strategy(self, document: Mapping[str, Any]) -> Manifest:
        manifest = parse_manifest(dict(document))
        path = self._added / f"{manifest.name}.yaml"
        if path.exists() or (self._observed and manifest.name in self._observed.strategies):
            raise ManifestError(f"metadata.name is {manifest.name!r}; a Strategy of that name exists")
        self._added.mkdir(parents=True, exist_ok=True)
        _write(path, yaml.safe_dump(dict(document), sort_keys=False))
        self._look()
        return manifest

    async def write_status(self, kind: str, name: str, status: Mapping[str, Any]) -> None:
        """Without a cluster the status is what REST, the page and the log tell."""

    # -- what is kept ------------------------------------------------------------------------------------------

    def _load(self) -> dict[str, Any]:
        if not self._kept.exists():
            return {}
        loaded: dict[str, Any] = json.loads(self._kept.read_text(encoding="utf-8"))
        return loaded

    def _store(self, kept: Mapping[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        _write(self._kept, json.dumps(kept, indent=1, sort_keys=True))

    def _overlaid(self, spec: dict[str, Any]) -> dict[str, Any]:
        kept = self._load()
        asked = {key: spec.get(key, False) for key in ("enabled", "paused")}
        if kept.get("file") != asked:
            # The file's own word on the lifecycle is newer than what REST said before.
            changed = "file" in kept
            kept = {**kept, "file": asked, **({"spec": {}} if changed else {})}
            self._store(kept)
        return {**spec, **kept.get("spec", {})}

    def _numbered(self, manifest: Manifest) -> Manifest:
        kept = self._load()
        content = manifest.spec.model_dump_json()
        if kept.get("content") != content:
            kept = {**kept, "content": content, "generation": int(kept.get("generation", 0)) + 1}
            self._store(kept)
        return replace(manifest, generation=int(kept["generation"]))


def _default_scheduler() -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": scheduler.KIND, "metadata": {"name": DEFAULT_NAME}, "spec": {}}


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read: {error}") from error
    found = []
    for document in documents(content, source=str(path)):
        kind = document.get("kind") if isinstance(document, dict) else None
        if kind not in _KINDS and is_foreign(document):
            continue
        if kind not in _KINDS:
            raise ManifestError(f"{path}: kind is {kind!r}; it must be {', '.join(_KINDS[:-1])} or {_KINDS[-1]}")
        try:
            if kind == CONFIG_MAP:
                config_map_texts(document)
            else:
                parse_manifest(document)
        except ManifestError as error:
            raise ManifestError(f"{path}: {error}") from error
        found.append(document)
    return found


def _write(path: Path, content: str) -> None:
    """Replace a file as a whole: a crash leaves the old one or the new one."""
    partial = path.with_suffix(path.suffix + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
