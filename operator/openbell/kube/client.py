"""A small client of the Kubernetes API: objects are dicts, writes are server-side apply.

The models of the `kubernetes` package cost 100 MB, so only its configuration and credentials are used.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import aiohttp

from openbell import __version__
from openbell.domain.errors import ClusterError
from openbell.kube.credentials import Credentials, load_credentials
from openbell.kube.resources import (
    ALL,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    EVENTS,
    GROUP,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STRATEGIES,
    TRADING_SCHEDULERS,
    VERSION,
    VOLUME_CLAIMS,
    Object,
    Resource,
    resource_of,
)

__all__ = [
    "ALL",
    "CLUSTER_ROLES",
    "CLUSTER_ROLE_BINDINGS",
    "CONFIG_MAPS",
    "CUSTOM_RESOURCE_DEFINITIONS",
    "DEPLOYMENTS",
    "EVENTS",
    "GROUP",
    "LEASES",
    "NAMESPACES",
    "NODES",
    "PODS",
    "ROLES",
    "ROLE_BINDINGS",
    "SECRETS",
    "SERVICES",
    "SERVICE_ACCOUNTS",
    "STRATEGIES",
    "TRADING_SCHEDULERS",
    "VERSION",
    "VOLUME_CLAIMS",
    "KubeClient",
    "Object",
    "Resource",
    "resource_of",
]

Objects: TypeAlias = list[Object]
Propagation = Literal["Background", "Foreground", "Orphan"]
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PAGE = 500
MUTATING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class KubeClient:
    """One connection pool to one API server; belongs to the event loop that made it and shares nothing.

    `before_write` is awaited before each mutating request (a rate limit, a fence); `on_response` is told method,
    status (0 when there was no answer) and host of every request but a watch.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        timeout_seconds: float = 10.0,
        before_write: Callable[[], Awaitable[None]] | None = None,
        on_response: Callable[[str, int, str], None] | None = None,
        connections: int = 64,
    ) -> None:
        self.credentials = credentials
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, connect=min(5.0, timeout_seconds))
        self.before_write = before_write
        self._on_response = on_response
        self._host = urlsplit(credentials.server).netloc
        connector = aiohttp.TCPConnector(limit=connections, ssl=credentials.tls if credentials.tls else True)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            headers={"User-Agent": f"openbell/{__version__}"},
            proxy=credentials.proxy,
        )

    @classmethod
    async def connect(
        cls,
        kubeconfig: Path | None = None,
        *,
        timeout_seconds: float = 10.0,
        before_write: Callable[[], Awaitable[None]] | None = None,
        on_response: Callable[[str, int, str], None] | None = None,
        connections: int = 64,
    ) -> KubeClient:
        """A client by kubeconfig, service account or KUBECONFIG; ClusterError when there are no credentials."""
        return cls(
            await load_credentials(kubeconfig),
            timeout_seconds=timeout_seconds,
            before_write=before_write,
            on_response=on_response,
            connections=connections,
        )

    @property
    def namespace(self) -> str:
        """The namespace of the pod, or of the kubeconfig's context."""
        return self.credentials.namespace

    async def close(self) -> None:
        await self._session.close()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """The object, or None when the API server says for certain that there is none."""
        try:
            return await self._call("GET", _path(resource, namespace, name))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        metadata_only: bool = False,
    ) -> tuple[Objects, str]:
        """All objects (each with apiVersion and kind) and the list's resourceVersion, read in pages."""
        items: Objects = []
        version = ""
        async for page, version in self.pages(  # noqa: B007 - the last page's version is the answer
            resource, namespace, labels=labels, fields=fields, metadata_only=metadata_only
        ):
            items.extend(page)
        return items, version

    async def pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        metadata_only: bool = False,
    ) -> AsyncIterator[tuple[Objects, str]]:
        """The same list page by page, so that a large one need not be held at once."""
        query = selectors(labels, fields) | {"limit": str(PAGE)}
        headers = {"Accept": METADATA_LIST} if metadata_only else {}
        while True:
            answer = await self._call("GET", _path(resource, namespace), query=query, headers=headers)
            page: Objects = answer.get("items") or []
            for item in page:
                item["apiVersion"], item["kind"] = resource.api_version, resource.kind
            metadata = answer["metadata"]
            yield page, str(metadata.get("resourceVersion", ""))
            if not metadata.get("continue"):
                return
            query = query | {"continue": str(metadata["continue"])}

    async def apply(
        self, obj: Object, *, field_manager: str, subresource: str | None = None, dry_run: bool = False
    ) -> Object:
        """Server-side apply with force: fields that this manager no longer names are removed."""
        query = {"fieldManager": field_manager, "force": "true"} | ({"dryRun": "All"} if dry_run else {})
        return await self._call(
            "PATCH", _path_of(obj, subresource), query=query, body=obj, headers={"Content-Type": APPLY}
        )

    async def merge_patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Mapping[str, Any],
        *,
        field_manager: str,
        subresource: str | None = None,
    ) -> Object:
        """JSON merge patch; with `metadata.resourceVersion` in the body it is a compare-and-swap (409)."""
        return await self._call(
            "PATCH",
            _path(resource, namespace, name, subresource),
            query={"fieldManager": field_manager},
            body=body,
            headers={"Content-Type": MERGE},
        )

    async def create(self, obj: Object, *, field_manager: str = "openbell", dry_run: bool = False) -> Object:
        """Create; ClusterError with status 409 when the name is taken."""
        metadata = obj["metadata"]
        query = {"fieldManager": field_manager} | ({"dryRun": "All"} if dry_run else {})
        return await self._call("POST", _path(resource_of(obj), metadata.get("namespace")), query=query, body=obj)

    async def replace(self, obj: Object, *, field_manager: str = "openbell", subresource: str | None = None) -> Object:
        """PUT; with metadata.resourceVersion it is a compare-and-swap (409 when the object has changed)."""
        return await self._call("PUT", _path_of(obj, subresource), query={"fieldManager": field_manager}, body=obj)

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        propagation: Propagation = "Background",
    ) -> bool:
        """Delete (only the object with this uid, if given); False when it was already gone."""
        body: dict[str, Any] = {"propagationPolicy": propagation}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            await self._call("DELETE", _path(resource, namespace, name), body=body)
        except ClusterError as error:
            if error.status == 404 or (error.status == 409 and uid is not None):
                return False
            raise
        return True

    @asynccontextmanager
    async def stream(
        self,
        resource: Resource,
        namespace: str | None,
        query: Mapping[str, str],
        *,
        connect_timeout_seconds: float = 10.0,
        silence_timeout_seconds: float = 70.0,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An open watch response; ClusterError when it is refused. The caller reads and splits its lines."""
        timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout_seconds, sock_read=silence_timeout_seconds)
        path = _path(resource, namespace)
        headers = await self._headers(refresh=False)
        async with self._session.get(
            self.credentials.server + path, params=dict(query), headers=headers, timeout=timeout
        ) as response:
            if response.status >= 400:
                text = await response.text()
                raise _refusal("WATCH", path, response.status, response.reason, text)
            yield response

    async def raw(self, path: str) -> str:
        """The text of a path that is not a resource, such as /readyz or /metrics of the API server."""
        async with self._session.get(self.credentials.server + path, headers=await self._headers(refresh=False)) as r:
            text = await r.text()
            if r.status >= 400:
                raise _refusal("GET", path, r.status, r.reason, text)
            return text

    async def _headers(self, *, refresh: bool) -> dict[str, str]:
        authorization = await self.credentials.authorization(refresh=refresh)
        return {"Authorization": authorization} if authorization else {}

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Object:
        if self.before_write is not None and method in MUTATING:
            await self.before_write()
        payload = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        status, reason, text = await self._send(method, path, query, payload, headers or {}, refresh=False)
        if status == 401:
            # A rotated token: read the source again, once.
            status, reason, text = await self._send(method, path, query, payload, headers or {}, refresh=True)
        if status >= 400:
            raise _refusal(method, path, status, reason, text.decode(errors="replace"))
        answer: Object = json.loads(text)
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        payload: bytes | None,
        headers: Mapping[str, str],
        *,
        refresh: bool,
    ) -> tuple[int, str | None, bytes]:
        status = 0
        every = {"Content-Type": "application/json", **await self._headers(refresh=refresh), **headers}
        try:
            async with self._session.request(
                method, self.credentials.server + path, params=query, data=payload, headers=every
            ) as response:
                text = await response.read()
                status = response.status
                return status, response.reason, text
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            cause = str(error) or type(error).__name__
            raise ClusterError(f"The Kubernetes API did not answer {method} {path}: {cause}.", reason="NoAnswer") from (
                error
            )
        finally:
            if self._on_response is not None:
                self._on_response(method, status, self._host)


def selectors(labels: str | None, fields: str | None) -> dict[str, str]:
    """The query of a label selector and a field selector."""
    query: dict[str, str] = {}
    if labels:
        query["labelSelector"] = labels
    if fields:
        query["fieldSelector"] = fields
    return query


def _path(resource: Resource, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    parts = [resource.prefix]
    if namespace:
        parts.append(f"namespaces/{namespace}")
    parts.append(resource.plural)
    parts.extend(part for part in (name, subresource) if part)
    return "/".join(parts)


def _path_of(obj: Object, subresource: str | None) -> str:
    metadata = obj["metadata"]
    return _path(resource_of(obj), metadata.get("namespace"), metadata["name"], subresource)


def _refusal(method: str, path: str, status: int, reason: str | None, text: str) -> ClusterError:
    try:
        answer = json.loads(text)
        message = str(answer.get("message") or text)
        code = str(answer.get("reason") or reason or "")
    except (json.JSONDecodeError, AttributeError):
        message, code = text.strip()[:500], reason or ""
    return ClusterError(f"{method} {path} was refused with {status}: {message}", status=status, reason=code)
