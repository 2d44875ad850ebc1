"""One cluster and one installed chart for all tests; a namespace for each."""

from __future__ import annotations

import fcntl
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import OPERATOR, ROOT, SYSTEM, Api, Place, cache, install, is_available, kubectl, proxy, run


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alone: disturbs the operator, so no other cluster test runs meanwhile")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Fixtures make a cluster and an image, which takes as long as it takes; what a test itself does is bounded.
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(240, func_only=True))


@pytest.fixture(scope="session")
def lock_folder() -> Path:
    folder = cache() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def ensure(lock_folder: Path, *names: str) -> None:
    """Programs in the cache; the script says what it installs, or fails with what is missing."""
    with (lock_folder / "tools").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run(str(ROOT / "hack" / "tools.sh"), *names, timeout=1800)


@pytest.fixture(scope="session")
def tools(lock_folder: Path) -> None:
    ensure(lock_folder, "kubectl", "helm")


@pytest.fixture(scope="session")
def promtool(lock_folder: Path) -> None:
    ensure(lock_folder, "promtool")


@pytest.fixture(scope="session")
def image(tools: None, lock_folder: Path) -> str:
    """The name of our image, present on the nodes of a cluster that is up."""
    with (lock_folder / "install").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run(str(ROOT / "hack" / "cluster" / "up.sh"), timeout=2400)
        return run(str(ROOT / "hack" / "image.sh"), "--load", timeout=1800).split()[-1]


@pytest.fixture(scope="session")
def api(image: str, lock_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API server of a cluster on which this checkout's chart is installed."""
    shared = tmp_path_factory.getbasetemp()
    done = (shared.parent if os.environ.get("PYTEST_XDIST_WORKER") else shared) / "installed"
    with (lock_folder / "install").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            install(image)
            done.touch()
    with proxy() as client:
        client.wait("Deployment", SYSTEM, OPERATOR, is_available, seconds=120)
        yield client


@pytest.fixture(autouse=True)
def company(request: pytest.FixtureRequest, lock_folder: Path) -> Iterator[None]:
    """Ordinary tests run side by side; one that is marked `alone` waits for the others and keeps them out."""
    alone = request.node.get_closest_marker("alone") is not None
    with (lock_folder / "company").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@pytest.fixture
def place(api: Api, image: str, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A namespace of its own under the restricted pod security standard, deleted afterwards."""
    word = re.sub(r"[^a-z0-9]+", "-", Path(request.node.path).stem.removeprefix("test_").lower()).strip("-")
    name = f"t-{word[:30]}-{uuid.uuid4().hex[:6]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "openbell.dev/test": "true"}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    failed_before = request.session.testsfailed
    yield Place(api, name, image)
    if request.session.testsfailed > failed_before:
        print(report(name))
    api.delete("Namespace", None, name)


def report(namespace: str) -> str:
    """What somebody who looks into a failure wants to see."""
    parts = [
        kubectl("-n", namespace, "get", "tsch,strat,pods,deploy,pvc,lease", "-o", "wide", check=False),
        kubectl("-n", namespace, "get", "tsch,strat", "-o", "yaml", check=False),
        kubectl("-n", namespace, "get", "events", "--sort-by=.lastTimestamp", check=False),
        kubectl("-n", SYSTEM, "logs", f"deployment/{OPERATOR}", "--tail=60", check=False),
    ]
    pods = kubectl("-n", namespace, "get", "pods", "-o", "name", check=False).split()
    logs = (f"--- {pod}\n" + kubectl("-n", namespace, "logs", pod, "--tail=80", check=False) for pod in pods)
    return "\n".join([*parts, *logs])
