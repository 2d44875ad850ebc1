"""A cluster under test: what a person does with kubectl, and what the tests have to see.

Requests go through `kubectl proxy`, so whatever credentials the kubeconfig names are used.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
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


def positions(resource: Object | None) -> list[Object]:
    """What a scheduler's status says that it holds."""
    held: list[Object] = ((((resource or {}).get("status") or {}).get("positions") or {}).get("items")) or []
    return held


def epoch(resource: Object | None) -> int:
    """The number of the runner's leadership; 0 before the first."""
    return int(((((resource or {}).get("status") or {}).get("runner")) or {}).get("epoch") or 0)


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

    def wait_gone(self, kind: str, namespace: str, name: str, seconds: float = 60) -> None:
        self.wait(kind, namespace, name, lambda found: found is None, seconds)

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
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:\d+", line)
        assert found, f"kubectl proxy does not start: {line}"
        with httpx.Client(base_url=f"http://{found.group()}", timeout=30) as http:
            yield Api(http)
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@contextlib.contextmanager
def port_forward(namespace: str, target: str, port: int) -> Iterator[str]:
    """The address, host:port, at which a pod's or service's port is reached from here."""
    process = subprocess.Popen(
        ["kubectl", "-n", namespace, "port-forward", "--address=127.0.0.1", target, f":{port}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:\d+", line)
        assert found, f"kubectl port-forward does not start: {line}"
        yield found.group()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def freeze_container(pod: Object, *, frozen: bool) -> None:
    """Stop every process of the pod's first container where it stands, or let it go on."""
    verb = "pause" if frozen else "resume"
    _on_node(pod, f"ctr -n k8s.io tasks {verb} {_container(pod)}")


def kill_container(pod: Object) -> None:
    """SIGKILL to the pod's first container, from its node, which Kubernetes itself cannot send."""
    _on_node(pod, f"ctr -n k8s.io tasks kill -s SIGKILL {_container(pod)}")


def _container(pod: Object) -> str:
    identity: str = pod["status"]["containerStatuses"][0]["containerID"]
    return identity.removeprefix("containerd://")


def _on_node(pod: Object, command: str) -> None:
    run("bash", "-c", f'. hack/cluster/env.sh && docker exec "$0" {command}', pod["spec"]["nodeName"])


def install(image: str, *settings: str) -> None:
    """The chart with this image; what is installed already and is the same is left alone."""
    repository, tag = image.rsplit(":", 1)
    kubectl("create", "namespace", SYSTEM, check=False)
    kubectl("label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    run(
        "helm", "upgrade", "--install", RELEASE, str(ROOT / "charts" / "openbell"), "--namespace", SYSTEM,
        "--set", f"image.repository={repository},image.tag={tag}", *settings, "--wait", "--timeout", "4m",
        timeout=300,
    )  # fmt: skip


# manifests

VENUE_PORT = 8400
# A market that moves far more than any real one, and rules that follow it at once, so that something happens soon.
LIVELY = {"type": "Synthetic", "synthetic": {"seed": 7, "volatility": 20}}
QUICK_EXITS = {"stopLoss": 0.02, "takeProfit": 0.02, "maxHoldingSeconds": 5}
HOLDING = {"stopLoss": 0, "takeProfit": 0}
EAGER = {"lookback": 2, "threshold": 0.0001, "exitThreshold": 1}


@dataclass
class Place:
    """A namespace for one test, and what belongs into it."""

    api: Api
    namespace: str
    image: str

    def scheduler(self, name: str = "lab", **spec: Any) -> Object:
        """A scheduler that trades at any hour: a market without sessions, short intervals."""
        defaults: Object = {
            "enabled": True,
            "evaluationIntervalSeconds": 1,
            "exitCheckIntervalSeconds": 1,
            "market": {"calendar": "Always"},
            "marketData": LIVELY,
            "exits": QUICK_EXITS,
        }
        if spec.get("broker"):
            del defaults["marketData"]
        return self._object("TradingScheduler", name, defaults | spec)

    def strategy(self, name: str = "momentum", scheduler: str = "lab", **spec: Any) -> Object:
        """A strategy that buys on the slightest rise."""
        defaults: Object = {
            "schedulerRef": {"name": scheduler},
            "type": "Momentum",
            "parameters": EAGER,
            "symbols": ["AAPL", "MSFT", "IBM", "GOOG"],
            "barSeconds": 1,
        }
        return self._object("Strategy", name, defaults | spec)

    def _object(self, kind: str, name: str, spec: Object) -> Object:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": GROUP, "kind": kind, "metadata": metadata, "spec": spec}

    def get(self, name: str = "lab") -> Object:
        return self.api.get("TradingScheduler", self.namespace, name) or {}

    def wait(self, until: Callable[[Object], object], name: str = "lab", seconds: float = 60) -> Object:
        """The scheduler as soon as it is so."""
        return self.api.wait("TradingScheduler", self.namespace, name, lambda it: it and until(it), seconds)

    def wait_for(
        self, kind: str, status: str = "True", reason: str | None = None, *, name: str = "lab", seconds: float = 60
    ) -> Object:
        """One of the scheduler's conditions as soon as it says so of the newest generation."""
        return condition(self.wait(lambda it: says(it, kind, status, reason), name, seconds), kind)

    def ask(self, name: str = "lab", **spec: Any) -> Object:
        """A change of a scheduler's spec."""
        return self.api.patch("TradingScheduler", self.namespace, name, {"spec": spec})

    def runner(self, name: str = "lab", **options: Any) -> Object:
        return self.api.runner(self.namespace, name, **options)

    def venue(self, name: str = "venue") -> Venue:
        """A broker that outlives runners: its own pod, its book on a volume of its own. Ready when this returns."""
        labels = {"openbell.dev/test-venue": name}
        metadata = {"name": name, "namespace": self.namespace, "labels": labels}
        restricted = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        arguments = ["venue", "--listen", f"0.0.0.0:{VENUE_PORT}", "--book", "/data/book.db", "--admin",
                     "--volatility", "20", "--starting-cash", "1000000"]  # fmt: skip
        container = {
            "name": "venue",
            "image": self.image,
            "args": arguments,
            "ports": [{"name": "venue", "containerPort": VENUE_PORT}],
            "readinessProbe": {"tcpSocket": {"port": "venue"}, "periodSeconds": 1},
            "securityContext": restricted,
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
        pod = {
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        }
        claim = {
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
        }
        self.api.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata,
                "spec": {"selector": labels, "ports": [{"name": "venue", "port": VENUE_PORT, "targetPort": "venue"}]},
            },
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": metadata,
                "spec": {
                    "serviceName": name,
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": pod},
                    "volumeClaimTemplates": [claim],
                },
            },
        )
        venue = Venue(self, name)
        venue.wait_ready()
        return venue


@dataclass
class Venue:
    """The simulated broker in a pod, and its back door."""

    place: Place
    name: str

    @property
    def broker(self) -> Object:
        """What a scheduler's spec says to trade here."""
        return {"type": "Simulated", "simulated": {"address": f"{self.name}:{VENUE_PORT}"}}

    def wait_ready(self) -> None:
        self.place.api.wait("Pod", self.place.namespace, f"{self.name}-0", is_ready, 90)

    def scale(self, replicas: int) -> None:
        """Take the broker away (0), or bring it back with the book that it had (1)."""
        self.place.api.patch("StatefulSet", self.place.namespace, self.name, {"spec": {"replicas": replicas}})
        if replicas:
            self.wait_ready()
        else:
            self.place.api.wait_gone("Pod", self.place.namespace, f"{self.name}-0")

    def ask(self, op: str, **question: Any) -> Any:
        """One question at the back door; an AssertionError with the venue's own words when it refuses."""
        with port_forward(self.place.namespace, f"pod/{self.name}-0", VENUE_PORT) as address:
            host, port = address.split(":")
            with (
                socket.create_connection((host, int(port)), timeout=20) as connection,
                connection.makefile("rw") as lines,
            ):
                for message in ({"op": "admin"}, {"op": op, **question}):
                    lines.write(json.dumps(message) + "\n")
                    lines.flush()
                    answer = json.loads(lines.readline())
        assert "error" not in answer, answer
        return answer.get("value")

    def orders(self) -> list[str]:
        """The reference of every order that ever arrived, in the order of arrival, duplicates included."""
        return [each["order_ref"] for each in self.ask("arrivals") if each["kind"] == "Order"]
