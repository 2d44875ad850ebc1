"""The chart on a real cluster: dry run, test, narrowing, upgrade, uninstall and coming back."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from lab import (
    OPERATOR,
    RELEASE,
    ROOT,
    SYSTEM,
    Api,
    Object,
    Place,
    condition,
    install,
    is_available,
    kubectl,
    run,
    says,
)

pytestmark = [pytest.mark.alone, pytest.mark.timeout(400, func_only=True)]

DEFINITIONS = ("tradingschedulers.openbell.dev", "strategies.openbell.dev")
SUBJECT = f"system:serviceaccount:{SYSTEM}:{OPERATOR}"


@pytest.fixture
def restored(api: Api, image: str) -> Iterator[None]:
    """Whatever a test does to the release, afterwards it is as all other tests want it."""
    yield
    install(image)
    api.wait("Deployment", SYSTEM, OPERATOR, is_available, 120)


def may(verb: str, resource: str, namespace: str) -> bool:
    """What the API server answers to a review of the operator's own access."""
    said = kubectl("auth", "can-i", verb, resource, "--namespace", namespace, "--as", SUBJECT, check=False)
    return said.strip() == "yes"


def test_the_api_server_takes_everything_that_the_chart_renders(api: Api, image: str) -> None:
    repository, tag = image.rsplit(":", 1)
    rendered = run(
        "helm", "template", RELEASE, str(ROOT / "charts" / "openbell"), "--namespace", SYSTEM, "--no-hooks",
        "--set", f"image.repository={repository},image.tag={tag},dashboard.enabled=true",
    )  # fmt: skip

    said = kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
        stdin=rendered,
    )

    assert all(line.endswith("serverside-applied (server dry run)") for line in said.splitlines())
    assert len(said.splitlines()) > 10


def test_the_manifests_in_the_notes_are_valid(api: Api) -> None:
    notes = run("helm", "get", "notes", RELEASE, "--namespace", SYSTEM)
    manifest = notes.split("<<'MANIFEST'\n")[1].split("   MANIFEST")[0]
    lines = [line.removeprefix("   ") for line in manifest.splitlines()]

    said = kubectl("apply", "--dry-run=server", "-f", "-", stdin="\n".join(lines))

    assert len(said.splitlines()) == 2


def test_helm_test_makes_a_scheduler_and_leaves_nothing(api: Api) -> None:
    said = run("helm", "test", RELEASE, "--namespace", SYSTEM, "--timeout", "3m", timeout=200)

    assert "Succeeded" in said
    api.wait_gone("TradingScheduler", SYSTEM, "openbell-test", 30)
    api.wait_gone("PersistentVolumeClaim", SYSTEM, "openbell-test-journal", 60)


def test_watched_namespaces_narrow_what_the_operator_may_and_does(restored: None, place: Place, image: str) -> None:
    other = f"{place.namespace}-other"
    place.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    try:
        install(image, "--set", f"watchNamespaces={{{place.namespace}}}")
        place.api.wait("Deployment", SYSTEM, OPERATOR, is_available, 120)

        for verb, resource in (("create", "deployments.apps"), ("list", "tradingschedulers.openbell.dev")):
            assert may(verb, resource, place.namespace)
            assert not may(verb, resource, other)
        assert not may("get", "secrets", place.namespace)

        spec: Object = {"enabled": False, "stopPolicy": {"runner": "ScaleToZero"}}
        ignored = place.scheduler(**spec)
        ignored["metadata"]["namespace"] = other
        place.api.apply(ignored, place.scheduler(**spec))
        place.wait_for("Ready")
        outside = place.api.get("TradingScheduler", other, "lab")
        assert condition(outside, "Ready") == {}

        install(image)
        place.api.wait("TradingScheduler", other, "lab", lambda it: it and says(it, "Ready", "True"), 90)
    finally:
        place.api.delete("Namespace", None, other)


def test_upgrade_uninstall_and_install_leave_a_runner_alone(restored: None, place: Place, image: str) -> None:
    place.api.apply(place.scheduler(), place.strategy())
    place.wait_for("RunnerLeading", seconds=90)
    runner = place.runner()

    install(image, "--set", "resources.requests.cpu=60m")
    place.api.wait("Deployment", SYSTEM, OPERATOR, is_available, 120)
    run("helm", "uninstall", RELEASE, "--namespace", SYSTEM, "--wait", timeout=200)

    assert place.api.get("Deployment", SYSTEM, OPERATOR) is None
    for name in DEFINITIONS:
        kept = place.api.get("CustomResourceDefinition", None, name)
        assert kept is not None
        assert not kept["metadata"].get("deletionTimestamp")
    place.ask(paused=True)
    place.wait_for("Paused")

    install(image)
    place.ask(paused=False)
    place.wait_for("Ready", seconds=90)
    assert place.runner()["metadata"]["uid"] == runner["metadata"]["uid"]
    assert json.dumps(place.runner()["spec"]["containers"]) == json.dumps(runner["spec"]["containers"])
