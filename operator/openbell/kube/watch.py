"""List and watch one kind for as long as the consumer wants, through 410s, cut connections and silence."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum

import aiohttp

from openbell.domain.errors import ClusterError
from openbell.kube.client import KubeClient, selectors
from openbell.kube.resources import Object, Resource

SERVER_TIMEOUT_SECONDS = 300
SILENCE_TIMEOUT_SECONDS = 70.0
"""The API server sends a bookmark every 60 s, so a longer silence is a dead connection."""
FIRST_BACKOFF_SECONDS = 0.1
LAST_BACKOFF_SECONDS = 5.0


class WatchType(StrEnum):
    LISTED = "Listed"
    ADDED = "Added"
    MODIFIED = "Modified"
    DELETED = "Deleted"
    SYNCED = "Synced"
    LOST = "Lost"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """What happened to one object, or to the watch itself.

    Listed: one object of a list (the first, or one after a loss). Synced: a list is complete, or the stream is back.
    Lost: the kind cannot be read now; `since` is the monotonic time of the last sign of life. It comes once per loss,
    and the next Synced ends it. A Deleted that was inferred from a list carries metadata only.
    """

    type: WatchType
    object: Object = field(default_factory=dict)
    since: float = 0.0


class _GoneError(Exception):
    """The resource version is too old (410): only a new list helps."""


async def watch(
    client: KubeClient,
    resource: Resource,
    namespace: str | None = None,
    *,
    name: str | None = None,
    labels: str | None = None,
    fields: str | None = None,
    server_timeout_seconds: int = SERVER_TIMEOUT_SECONDS,
    silence_timeout_seconds: float = SILENCE_TIMEOUT_SECONDS,
) -> AsyncGenerator[WatchEvent, None]:
    """Events of one kind, for ever; every failure is retried with backoff and jitter, none is raised.

    A shorter `server_timeout_seconds` makes the server end each stream sooner, so that a loss is noticed sooner:
    a failed reconnection is told as Lost at once.
    """
    if name is not None:
        fields = f"metadata.name={name}" + (f",{fields}" if fields else "")
    known: dict[str, Object] = {}  # uid to the little of an object that a Deleted needs
    version = ""
    alive = time.monotonic()
    lost = False
    backoff = FIRST_BACKOFF_SECONDS
    while True:
        try:
            if not version:
                async for event in _list(client, resource, namespace, labels, fields, known):
                    alive = time.monotonic()
                    if event.type is WatchType.SYNCED:
                        version, lost, backoff = event.object["resourceVersion"], False, FIRST_BACKOFF_SECONDS
                        event = WatchEvent(WatchType.SYNCED)
                    yield event
            query = selectors(labels, fields) | {
                "watch": "true",
                "allowWatchBookmarks": "true",
                "resourceVersion": version,
                "timeoutSeconds": str(server_timeout_seconds),
            }
            async with client.stream(
                resource, namespace, query, silence_timeout_seconds=silence_timeout_seconds
            ) as response:
                alive = time.monotonic()
                if lost:
                    lost = False
                    yield WatchEvent(WatchType.SYNCED)
                async for line in _lines(response):
                    alive = time.monotonic()
                    backoff = FIRST_BACKOFF_SECONDS
                    message = json.loads(line)
                    kind, obj = message["type"], message["object"]
                    if kind == "ERROR":
                        raise _error(resource, obj)
                    version = obj["metadata"]["resourceVersion"]
                    if kind != "BOOKMARK":
                        _remember(known, kind, obj)
                        yield WatchEvent(WatchType(kind.capitalize()), obj)
            # A stream that the server ends in time is not a loss; a little jitter spreads the reconnections.
            await asyncio.sleep(random.uniform(0, FIRST_BACKOFF_SECONDS))
        except _GoneError:
            version = ""
        except (ClusterError, TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, ClusterError) and error.status == 410:
                version = ""
            if not lost:
                lost = True
                yield WatchEvent(WatchType.LOST, since=alive)
            await asyncio.sleep(random.uniform(backoff / 2, backoff))
            backoff = min(backoff * 2, LAST_BACKOFF_SECONDS)


async def _list(
    client: KubeClient,
    resource: Resource,
    namespace: str | None,
    labels: str | None,
    fields: str | None,
    known: dict[str, Object],
) -> AsyncIterator[WatchEvent]:
    seen: set[str] = set()
    version = ""
    async for page, version in client.pages(resource, namespace, labels=labels, fields=fields):  # noqa: B007
        for obj in page:
            seen.add(obj["metadata"]["uid"])
            _remember(known, "ADDED", obj)
            yield WatchEvent(WatchType.LISTED, obj)
    for uid in [uid for uid in known if uid not in seen]:
        yield WatchEvent(WatchType.DELETED, known.pop(uid))
    yield WatchEvent(WatchType.SYNCED, {"resourceVersion": version})


def _remember(known: dict[str, Object], kind: str, obj: Object) -> None:
    metadata = obj["metadata"]
    if kind == "DELETED":
        known.pop(metadata["uid"], None)
        return
    kept = {key: metadata[key] for key in ("name", "namespace", "uid", "labels") if key in metadata}
    known[metadata["uid"]] = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": kept}


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    # aiohttp's own line reader refuses lines above 128 KiB, and an object may be larger.
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


def _error(resource: Resource, status: Object) -> Exception:
    if status.get("code") == 410:
        return _GoneError()
    return ClusterError(
        f"The watch of {resource} ended: {status.get('message', 'no message')}", status=status.get("code")
    )
