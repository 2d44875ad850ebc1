"""The operator in a test's own event loop, with no more rights than its chart gives it, on a namespace of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apiserver import Answer, ApiServer

from openbell.controller import rbac
from openbell.controller.main import Operator
from openbell.controller.metrics import OperatorMetrics
from openbell.controller.settings import OperatorSettings
from openbell.kube.client import KubeClient, Object

GROUP = "/apis/openbell.dev/v1alpha1"
PATHS = {
    "TradingScheduler": f"{GROUP}/namespaces/{{}}/tradingschedulers",
    "Strategy": f"{GROUP}/namespaces/{{}}/strategies",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Service": "/api/v1/namespaces/{}/services",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Event": "/apis/events.k8s.io/v1/namespaces/{}/events",
}
CHILDREN = {
    "ServiceAccount": "alpha-runner",
    "Role": "alpha-runner",
    "RoleBinding": "alpha-runner",
    "Service": "alpha-api",
    "PersistentVolumeClaim": "alpha-journal",
    "Lease": "alpha-runner",
    "Deployment": "alpha-runner",
}
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"


@dataclass
class World:
    """One namespace, as an administrator sees it."""

    server: ApiServer
    namespace: str
    kubeconfig: Path
    ended: list[int] = field(default_factory=list)

    async def request(self, method: str, kind: str, name: str = "", body: Any = None, content: str = MERGE) -> Answer:
        path = PATHS[kind].format(self.namespace) + (f"/{name}" if name else "")
        if method == "POST":
            content = "application/json"
        return await asyncio.to_thread(self.server.request, method, path, body, content=content)

    async def get(self, kind: str, name: str) -> Object | None:
        answer = await self.request("GET", kind, name)
        return answer.body if answer.status == 200 else None

    async def create(self, kind: str, name: str, **content: Any) -> Object:
        api_version = "openbell.dev/v1alpha1" if kind in ("TradingScheduler", "Strategy") else "v1"
        metadata = content.pop("metadata", {})
        body = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **metadata}, **content}
        answer = await self.request("POST", kind, body=body)
        assert answer.status == 201, answer.message
        return answer.body

    async def patch(self, kind: str, name: str, body: Any, *, content: str = MERGE) -> Answer:
        return await self.request("PATCH", kind, name, body, content)

    async def patch_status(self, kind: str, name: str, status: dict[str, Any]) -> None:
        answer = await self.request("PATCH", kind, f"{name}/status", {"status": status})
        assert answer.status == 200, answer.message

    async def delete(self, kind: str, name: str) -> None:
        answer = await self.request("DELETE", kind, name, {"gracePeriodSeconds": 0}, "application/json")
        assert answer.status in (200, 202), answer.message

    async def until(self, kind: str, name: str, holds: Callable[[Object | None], Any], seconds: float = 15.0) -> Object:
        """The object, as soon as it is as wanted; what it was instead, when it is not in time."""
        limit = asyncio.get_running_loop().time() + seconds
        while True:
            obj = await self.get(kind, name)
            if holds(obj):
                return obj or {}
            if asyncio.get_running_loop().time() > limit:
                raise AssertionError(f"{kind} {name} is not as wanted after {seconds} s: {json.dumps(obj)}")
            await asyncio.sleep(0.05)

    async def condition(self, kind: str, name: str, type_: str, status: str, reason: str, seconds: float = 15.0) -> str:
        """The message of a condition, as soon as it has this status and reason."""

        def found(obj: Object | None) -> bool:
            each = condition_of(obj, type_)
            return each.get("status") == status and each.get("reason") == reason

        return str(condition_of(await self.until(kind, name, found, seconds), type_)["message"])

    async def writes(self) -> int:
        """Mutating requests that the server has answered so far; operators' Leases left out."""
        answer = await asyncio.to_thread(self.server.request, "GET", "/metrics")
        total = 0.0
        for line in str(answer.body["content"]).splitlines():
            counted = line.startswith("apiserver_request_total") and any(
                f'verb="{verb}"' in line for verb in ("APPLY", "POST", "PUT", "PATCH", "DELETE")
            )
            if counted and not ('resource="leases"' in line and 'verb="APPLY"' not in line):
                total += float(line.rsplit(" ", 1)[1])
        return int(total)


def requests_of(operator: Operator, method: str, code: str) -> float:
    """Requests of an operator that the server has answered so."""
    return sum(
        sample.value
        for family in operator.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "rest_client_requests_total"
        and (sample.labels["method"], sample.labels["code"]) == (method, code)
    )


def condition_of(obj: Object | None, type_: str) -> dict[str, Any]:
    conditions = ((obj or {}).get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == type_), {})


def grant(server: ApiServer, namespace: str, folder: Path) -> Path:
    """A kubeconfig of a service account that may do what the chart lets the operator do, and nothing else."""
    rbac_path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rules = [*rbac.WATCHED_RULES, *rbac.OWN_RULES]
    role = {"metadata": {"name": "operator"}, "rules": rules}
    binding = {
        "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": namespace}],
    }
    for plural, body in (("roles", role), ("rolebindings", binding)):
        answer = server.request("POST", f"{rbac_path}/{plural}", body)
        assert answer.status == 201, answer.message
    return server.kubeconfig_for(server.token(namespace, "operator"), folder / "kubeconfig")


@contextlib.asynccontextmanager
async def operating(world: World, kubeconfig: Path | None = None, **settings: Any) -> AsyncIterator[Operator]:
    """The operator, synced; stopped in order at the end."""
    metrics = OperatorMetrics(version="test", process=False)
    client = await KubeClient.connect(kubeconfig or world.kubeconfig, on_response=metrics.requested)
    lease_client = KubeClient(client.credentials)
    chosen: dict[str, Any] = {
        "identity": "test-operator",
        "runner_image": "openbell:test",
        "canary_seconds": 3600.0,
    } | settings
    operator = Operator(
        client,
        lease_client,
        OperatorSettings(
            namespace=world.namespace,
            namespaces=(world.namespace,),
            host="127.0.0.1",
            port=0,
            **chosen,
        ),
        metrics=metrics,
        end_process=world.ended.append,
    )
    client.before_write = operator.before_write
    running = asyncio.create_task(operator.run())
    try:
        synced = asyncio.create_task(operator.synced.wait())
        await asyncio.wait({running, synced}, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        if running.done():
            running.result()
        assert operator.synced.is_set(), "the operator has not listed everything within 30 s"
        yield operator
    finally:
        operator.stop()
        await asyncio.wait({running}, timeout=20)
        await client.close()
        await lease_client.close()
        running.result()


async def quiet(operator: Operator, seconds: float = 0.5) -> None:
    """Until the operator has had nothing to do for a while."""
    loop = asyncio.get_running_loop()
    since = loop.time()
    while loop.time() - since < seconds:
        if not operator.queue.is_idle:
            since = loop.time()
        await asyncio.sleep(0.02)


def owned_paths(obj: Object, manager: str = "openbell-operator") -> Iterator[tuple[str, Any]]:
    """JSON pointers and values of every field that a manager has applied, by the server's own books."""
    for entry in obj["metadata"]["managedFields"]:
        if entry["manager"] == manager and "subresource" not in entry:
            yield from _leaves(entry["fieldsV1"], obj, "")


def _leaves(fields: dict[str, Any], value: Any, path: str) -> Iterator[tuple[str, Any]]:
    inner = {key: each for key, each in fields.items() if key != "."}
    if not inner:
        yield path, value
        return
    for key, each in inner.items():
        if key.startswith("f:"):
            name = key[2:]
            if isinstance(value, dict) and name in value:
                pointer = name.replace("~", "~0").replace("/", "~1")
                yield from _leaves(each, value[name], f"{path}/{pointer}")
        elif key.startswith("k:") and isinstance(value, list):
            wanted = json.loads(key[2:])
            for index, item in enumerate(value):
                if all(item.get(name) == content for name, content in wanted.items()):
                    # With another key it is another item, and where the first one was says nothing.
                    rest = {field: deeper for field, deeper in each.items() if field[2:] not in wanted}
                    yield from _leaves(rest, item, f"{path}/{index}")
