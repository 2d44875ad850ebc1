"""Kopf as an event source and nothing more: handlers take an object in and put keys on the queue.

Only `on.event` handlers: any other kind makes Kopf write its own annotations or finalizers on objects. It keeps no
memory of an object for us, compares nothing, posts no Events, and elects nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import kopf
from kopf._cogs.structs import ephemera
from kopf._core.reactor import inventory

from openbell.controller.desired.owner import MANAGED_SELECTOR
from openbell.kube.credentials import Credentials
from openbell.kube.resources import (
    DEPLOYMENTS,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    SERVICES,
    STRATEGIES,
    TRADING_SCHEDULERS,
    VOLUME_CLAIMS,
    Object,
    Resource,
)

CHILDREN = (SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, SERVICES, VOLUME_CLAIMS, DEPLOYMENTS, PODS)
WATCHED = (TRADING_SCHEDULERS, STRATEGIES, *CHILDREN)
STOP_SECONDS = 5.0

Taken = Callable[[Resource, str | None, Object], None]
"""Called with kind, event type (None: from a list) and object."""


class _NoDiff(kopf.DiffBaseStorage):
    """Kopf compares objects with what it last saw even where nobody asks; this makes the comparison free."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        raise AssertionError("no changing handler exists, so Kopf has nothing to store")


class _NoMemories(inventory.ResourceMemories):
    """Kopf remembers 3 KB of every object for handlers that we do not have."""

    async def recall(self, raw_body: Any, **_: Any) -> inventory.ResourceMemory:
        return inventory.ResourceMemory(memo=ephemera.AnyMemo(_MEMO))


_MEMO = kopf.Memo()


def kopf_settings() -> kopf.OperatorSettings:
    """The settings that keep Kopf an event source, and its watches from going deaf."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = 100  # a page is parsed as a whole, and sets the peak of memory
    for resource in CHILDREN:
        settings.watching.label_selectors[resource.group, resource.version, resource.plural] = MANAGED_SELECTOR
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = (0.2, 0.5, 1, 2, 5)
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = 0.1  # a worker is a task for each object; 13,000 must not idle together
    settings.process.ultimate_exiting_timeout = 20
    settings.persistence.finalizer = "kopf.openbell.dev/unused"
    settings.persistence.diffbase_storage = _NoDiff()
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="kopf.openbell.dev")
    return settings


def registry_of(take: Taken, credentials: Credentials) -> kopf.OperatorRegistry:
    """One `on.event` handler for each kind, and our own login, whose token never grows old."""
    registry = kopf.OperatorRegistry()

    def handler(resource: Resource) -> Callable[..., Any]:
        async def handle(event: Any, **_: Any) -> None:
            take(resource, event["type"], event["object"])

        return handle

    for resource in WATCHED:
        kopf.on.event(
            resource.group, resource.version, resource.plural, id=f"take-{resource.plural}", registry=registry
        )(handler(resource))

    async def authorize(request: aiohttp.ClientRequest, call: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        authorization = await credentials.authorization()
        if authorization:
            request.headers["Authorization"] = authorization
        response = await call(request)
        if response.status == 401:
            await credentials.authorization(refresh=True)  # Kopf repeats the request after a new login
        return response

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=credentials.tls if credentials.tls else True),
            middlewares=(authorize,),
            proxy=credentials.proxy,
        )
        return kopf.AiohttpSession(
            aiohttp_session=session, server=credentials.server, default_namespace=credentials.namespace
        )

    return registry


@dataclass(slots=True)
class Source:
    """Runs Kopf until it is stopped. It never ends by itself: if it does, its watches are gone and so must we be."""

    take: Taken
    credentials: Credentials
    namespaces: tuple[str, ...] = ()
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        # Kopf logs each call of each handler, with all its settings.
        logging.getLogger("kopf").setLevel(logging.WARNING)
        await kopf.operator(
            registry=registry_of(self.take, self.credentials),
            settings=kopf_settings(),
            memories=_NoMemories(),
            clusterwide=not self.namespaces,
            namespaces=list(self.namespaces),
            stop_flag=self._stop,
            ready_flag=self.ready,
        )

    def stop(self) -> None:
        self._stop.set()
