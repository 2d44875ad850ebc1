"""A cluster under test: what a person does with kubectl, and what the tests have to see.

Requests go through `kubectl proxy`, so whatever credentials the kubeconfig names are used.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

ROOT = Path(__file__).resolve().parents[2]
RELEASE, SYSTEM = "openbell", "openbell-system"
OPERATOR = "openbell-operator"
GROUP = "openbell.dev/v1alpha1"
APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
MUTATING = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})

Object = dict[str, Any]

KINDS = {
    "TradingScheduler": (f"/apis/{GROUP}", "tradingschedulers"),
    "Strategy": (f"/apis/{GROUP}", "strategies"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "StatefulSet": ("/apis/apps/v1", "statefulsets"),
    "Pod": ("/api/v1", "pods"),
    "Service": ("/api/v1", "services"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "Secret": ("/api/v1", "secrets"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Event": ("/api/v1", "events"),
    "Namespace": ("/api/v1", "namespaces"),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
}


class RefusedError(Exception):
    """The API server refused; the message is its own, as kubectl shows it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def run(*command: str, stdin: str | None = None, timeout: float = 120, check: bool = True) -> str:
    """The standard output of a program; an AssertionError with everything it said when it fails."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT, env=environment()
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def cache() -> Path:
    """Where the scripts of hack/ keep binaries and the local cluster's kubeconfig."""
    base = (
        os.environ.get("OPENBELL_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "openbell"
    )
    return Path(base)


def environment() -> dict[str, str]:
    """Our binaries first on the path, and the cluster that the scripts of hack/ use."""
    kubeconfig = os.environ.get("OPENBELL_KUBECONFIG") or str(cache() / "kubeconfig")
    return {**os.environ, "PATH": f"{cache() / 'bin'}{os.pathsep}{os.environ['PATH']}", "KUBECONFIG": kubeconfig}


def kubectl(*arguments: str, stdin: str | None = None, timeout: float = 120, check: bool = True) -> str:
    """What kubectl prints."""
    return run("kubectl", *arguments, stdin=stdin, timeout=timeout, check=check)


def path_of(kind: str, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    """The URL path of a collection, or of one object of it."""
    prefix, plural = KINDS[kind]
    parts = [prefix, *(("namespaces", namespace) if namespace else ()), plural]
    return "/".join([*parts, *(part for part in (name, subresource) if part)])


def condition(resource: Object | None, kind: str) -> Object:
    """One condition of a resource; an empty one where it is not set."""
    conditions = ((resource or {}).get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == kind), {})


def says(resource: Object | None, kind: str, status: str, reason: str | None = None) -> bool:
    """Whether a condition has this status (and reason) for the resource's newest generation."""
    found = condition(resource, kind)
    return (
        found.get("status") == status
        and found.get("observedGeneration") == (resource or {})["metadata"]["generation"]
        and (reason is None or found.get("reason") == reason)
    )


def stats(resource: Object | None, name: str) -> int:
    """One counter of a status; 0 where it is not written yet."""
    return int((((resource or {}).get("status") or {}).get("stats") or {}).get(name) or 0)


@dataclass
class Api:
    """The API server by plain requests."""

    http: httpx.Client

    def call(self, method: str, path: str, *, body: Any = None, **request: Any) -> Any:
        content = None if body is None else json.dumps(body)
        answer = self.http.request(method, path, content=content, **request)
        if answer.is_error:
            try:
                message = answer.json()["message"]
            except (ValueError, KeyError):
                message = answer.text
            raise RefusedError(answer.status_code, message)
        return answer.json() if "json" in answer.headers.get("content-type", "") else answer.text

    def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        try:
            found: Object = self.call("GET", path_of(kind, namespace, name))
        except RefusedError as refused:
            if refused.status == 404:
                return None
            raise
        return found

    def list_of(self, kind: str, namespace: str | None, labels: str = "") -> list[Object]:
        items: list[Object] = self.call("GET", path_of(kind, namespace), params={"labelSelector": labels})["items"]
        return items

    def apply(self, *objects: Object, dry_run: bool = False, manager: str = "test") -> Object:
        """Server-side apply, with strict field validation as kubectl asks for; the last object's answer."""
        applied: Object = {}
        for each in objects:
            metadata = each["metadata"]
            params = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict"}
            applied = self.call(
                "PATCH",
                path_of(each["kind"], metadata.get("namespace"), metadata["name"]),
                body=each,
                params=params | ({"dryRun": "All"} if dry_run else {}),
                headers={"Content-Type": APPLY},
            )
        return applied

    def patch(self, kind: str, namespace: str, name: str, body: Mapping[str, Any], subresource: str = "") -> Object:
        """A merge patch, as `kubectl patch --type merge` sends it."""
        patched: Object = self.call(
            "PATCH", path_of(kind, namespace, name, subresource), body=body, headers={"Content-Type": MERGE}
        )
        return patched

    def delete(self, kind: str, namespace: str | None, name: str, *, grace: int | None = None) -> None:
        options = {"propagationPolicy": "Background"} | ({} if grace is None else {"gracePeriodSeconds": grace})
        with contextlib.suppress(RefusedError):
            self.call("DELETE", path_of(kind, namespace, name), body=options)

    def versions(self, kind: str, namespace: str, name: str, seconds: float) -> Generator[Object | None, None, None]:
        """The object now and after each of its changes (None: it is not there), for so many seconds."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            listed = self.call("GET", path_of(kind, namespace), params={"fieldSelector": f"metadata.name={name}"})
            yield listed["items"][0] if listed["items"] else None
            params = {
                "watch": "1",
                "fieldSelector": f"metadata.name={name}",
                "resourceVersion": listed["metadata"]["resourceVersion"],
                "timeoutSeconds": str(max(1, int(left + 1))),
            }
            timeout = httpx.Timeout(10, read=max(0.1, ends - time.monotonic()))
            try:
                with self.http.stream("GET", path_of(kind, namespace), params=params, timeout=timeout) as answer:
                    for line in answer.iter_lines():
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            break
                        yield None if event["type"] == "DELETED" else event["object"]
            except httpx.ReadTimeout:
                return
            except httpx.TransportError:
                continue

    def wait(
        self, kind: str, namespace: str, name: str, until: Callable[[Object | None], object], seconds: float = 60
    ) -> Object:
        """The object as soon as it is so; an AssertionError with its last state when it is not in time."""
        last: Object | None = None
        with contextlib.closing(self.versions(kind, namespace, name, seconds)) as versions:
            for last in versions:
                if until(last):
                    return last or {}
        shown = {key: (last or {}).get(key) for key in ("spec", "status")} if kind != "Secret" else {}
        raise AssertionError(f"{kind} {name}: not within {seconds} s; last seen:\n{yaml.safe_dump(shown)}")

    def wait_for(
        self, namespace: str, name: str, kind: str, status: str = "True", reason: str | None = None, seconds: float = 60
    ) -> Object:
        """A scheduler as soon as one of its conditions has this status for the newest generation."""
        return self.wait(
            "TradingScheduler", namespace, name, lambda found: found and says(found, kind, status, reason), seconds
        )

    def wait_gone(self, kind: str, namespace: str, name: str, seconds: float = 60) -> None:
        self.wait(kind, namespace, name, lambda found: found is None, seconds)

    def ask(self, namespace: str, name: str, **spec: Any) -> Object:
        """A change of a scheduler's spec."""
        return self.patch("TradingScheduler", namespace, name, {"spec": spec})

    def pods(self, namespace: str, scheduler: str) -> list[Object]:
        return self.list_of("Pod", namespace, f"openbell.dev/scheduler={scheduler}")

    def runner(self, namespace: str, name: str, *, not_uid: str = "", seconds: float = 90) -> Object:
        """The scheduler's ready pod, another one than `not_uid`."""
        ends = time.monotonic() + seconds
        pods: list[Object] = []
        # Which pod it will be is not known, so its Deployment's changes are the events to look at.
        with contextlib.closing(self.versions("Deployment", namespace, f"{name}-runner", seconds)) as versions:
            for _ in versions:
                pods = self.pods(namespace, name)
                for pod in pods:
                    if pod["metadata"]["uid"] != not_uid and not pod["metadata"].get("deletionTimestamp"):
                        left = max(1.0, ends - time.monotonic())
                        try:
                            return self.wait("Pod", namespace, pod["metadata"]["name"], is_ready, left)
                        except AssertionError:
                            continue
        raise AssertionError(
            f"no ready runner of {name} within {seconds} s; pods: {[p['metadata']['name'] for p in pods]}"
        )

    def mutations(self, *resources: str) -> dict[str, int]:
        """How many mutating requests of these resources the API server has taken, by resource and verb."""
        counts: dict[str, int] = {}
        for line in str(self.call("GET", "/metrics", timeout=60)).splitlines():
            if not line.startswith("apiserver_request_total{"):
                continue
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            if labels["resource"] in resources and labels["verb"] in MUTATING and not labels["dry_run"]:
                what = f"{labels['verb']} {labels['resource']}/{labels['subresource']}".rstrip("/")
                counts[what] = counts.get(what, 0) + int(float(line.rsplit(" ", 1)[1]))
        return counts


def is_ready(pod: Object | None) -> bool:
    """Whether a pod says that it is ready."""
    return condition(pod, "Ready").get("status") == "True"


def is_available(deployment: Object | None) -> bool:
    """Whether a Deployment has rolled out what its newest generation asks for."""
    status = (deployment or {}).get("status") or {}
    wanted = ((deployment or {}).get("spec") or {}).get("replicas", 1)
    return (
        bool(deployment)
        and status.get("observedGeneration", 0) >= (deployment or {})["metadata"]["generation"]
        and status.get("availableReplicas", 0) == wanted == status.get("updatedReplicas", 0)
        and status.get("replicas", 0) == wanted
    )


@contextlib.contextmanager
def proxy() -> Iterator[Api]:
    """An API client for as long as it is needed."""
    process = subprocess.Popen(
        ["kubectl", "proxy", "--port=0", "--address=127.0.0.1"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:\d+", line)
        assert found, f"kubectl proxy does not start: {line}"
        with httpx.Client(base_url=f"http://{found.group()}", timeout=30) as http:
            yield Api(http)
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def port_forward(namespace: str, target: str, port: int) -> Iterator[str]:
    """The address, host:port, at which a pod's or service's port is reached from here."""
    process = subprocess.Popen(
        ["kubectl", "-n", namespace, "port-forward", "--address=127.0.0.1", target, f":{port}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:\d+", line)
        assert found, f"kubectl port-forward does not start: {line}"
        yield found.group()
    finally:
        process.terminate()
        process.wait(10)


def kill_container(pod: Object) -> None:
    """SIGKILL to the pod's first container, from its node, which Kubernetes itself cannot send."""
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    script = '. hack/cluster/env.sh && docker exec "$0" ctr -n k8s.io tasks kill -s SIGKILL "$1"'
    run("bash", "-c", script, pod["spec"]["nodeName"], container)


# manifests


@dataclass
class Place:
    """A namespace for one test, and the manifests that belong into it."""

    api: Api
    namespace: str
    seed: int = 7
    made: list[str] = field(default_factory=list)

    def scheduler(self, name: str = "lab", **spec: Any) -> Object:
        """A scheduler that trades at any hour: a market without sessions, short intervals."""
        defaults: Object = {
            "enabled": True,
            "evaluationIntervalSeconds": 1,
            "exitCheckIntervalSeconds": 1,
            "market": {"calendar": "Always"},
        }
        return {
            "apiVersion": GROUP,
            "kind": "TradingScheduler",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": defaults | spec,
        }

    def strategy(self, name: str = "momentum", scheduler: str = "lab", **spec: Any) -> Object:
        defaults: Object = {
            "schedulerRef": {"name": scheduler},
            "type": "Momentum",
            "symbols": ["AAPL", "MSFT", "IBM", "GOOG"],
            "barSeconds": 1,
        }
        return {
            "apiVersion": GROUP,
            "kind": "Strategy",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": defaults | spec,
        }

    def get(self, name: str = "lab") -> Object:
        return self.api.get("TradingScheduler", self.namespace, name) or {}
