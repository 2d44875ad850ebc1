"""Whatever the operator applied is put right again within five seconds of an edit or a deletion."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
from lab import Object, Place, RefusedError, path_of

WITHIN_SECONDS = 5.0
MANAGER = "openbell-operator"
JSON_PATCH = "application/json-patch+json"
CHILDREN = {
    "ServiceAccount": "lab-runner",
    "Role": "lab-runner",
    "RoleBinding": "lab-runner",
    "Service": "lab-api",
    "Deployment": "lab-runner",
    "Lease": "lab-runner",
    "PersistentVolumeClaim": "lab-journal",
}
# The API server itself forbids to change these: selectors, what they select by, and names that other fields refer to.
FIXED = {
    "Deployment": r"spec/selector.*|spec/template/metadata/labels/app\.kubernetes\.io/.*"
    r"|spec/template/spec/volumes/\d+/name|.*/volumeMounts/\d+/name|.*/valueFrom/fieldRef",
    "RoleBinding": r"roleRef.*",
}

Path: TypeAlias = tuple[str, ...]


def applied_fields(child: Object) -> list[Path]:
    """The path of every field that the operator has applied; one in a keyed list by its key, as in managedFields."""
    entry = next(
        each
        for each in child["metadata"]["managedFields"]
        if each["manager"] == MANAGER and each["operation"] == "Apply"
    )
    return list(_leaves(entry["fieldsV1"], ()))


def _leaves(fields: Object, path: Path) -> Iterator[Path]:
    below = {key: value for key, value in fields.items() if key != "."}
    if not below:
        yield path
    for key, value in below.items():
        yield from _leaves(value, (*path, key))


def find(child: Object, path: Path) -> tuple[list[str], Any]:
    """The JSON pointer of a field in the object as it is now, and its value; LookupError when it is gone."""
    pointer: list[str] = []
    value: Any = child
    for step in path:
        kind, name = step.split(":", 1)
        if kind == "f":
            pointer.append(name)
            value = value[name]
        elif kind == "k":
            keys = json.loads(name)
            index = next((n for n, each in enumerate(value) if keys.items() <= each.items()), None)
            if index is None:
                raise LookupError(name)
            pointer.append(str(index))
            value = value[index]
        else:  # a value of a set
            if json.loads(name) not in value:
                raise LookupError(name)
            return pointer, value
    return pointer, value


def others(value: Any, name: str) -> list[Any]:
    """Values that a person might put in its place, of which the API server takes the first valid one."""
    words = {
        "protocol": ["UDP"],
        "type": ["NodePort", "RollingUpdate", "RuntimeDefault", "Unconfined"],
        "imagePullPolicy": ["Never"],
        "fieldPath": ["metadata.name", "metadata.uid"],
        "path": ["/elsewhere"],
        "port": ["elsewhere"],
        "targetPort": ["elsewhere"],
    }
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, str):
        return [*words.get(name, []), value + "x", "512Mi", "x"]
    if isinstance(value, list):
        return [value[:-1], [*value, value[-1] + "x"]] if value and isinstance(value[0], str) else [value[:-1]]
    return [{}, None]


def edit(place: Place, kind: str, child: Object, path: Path) -> bool:
    """Change one field to something else that is valid; False when there is nothing valid to change it to."""
    pointer, value = find(child, path)
    target = "/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in pointer)
    url = path_of(kind, place.namespace, child["metadata"]["name"])
    patches = [[{"op": "replace", "path": target, "value": other}] for other in others(value, pointer[-1])]
    for patch in [*patches, [{"op": "remove", "path": target}]]:
        try:
            place.api.call("PATCH", url, body=patch, headers={"Content-Type": JSON_PATCH})
        except RefusedError:
            continue
        return True
    return False


@pytest.fixture
def idle(place: Place) -> Place:
    """A scheduler whose children are all there and whose pod is not, so that edits start nothing."""
    place.api.apply(place.scheduler(enabled=False, stopPolicy={"runner": "ScaleToZero"}))
    place.wait_for("Ready")
    return place


def seconds_until_repaired(place: Place, kind: str, name: str, path: Path, was: Any) -> float:
    started = time.monotonic()

    def is_repaired(child: Object | None) -> bool:
        if child is None:
            return False
        try:
            return bool(find(child, path)[1] == was)
        except LookupError:
            return False

    place.api.wait(kind, place.namespace, name, is_repaired, 2 * WITHIN_SECONDS)
    return time.monotonic() - started


# The volume claim is made once and then left alone: what can be changed of it is its owner's.
@pytest.mark.parametrize("kind", [kind for kind in CHILDREN if kind != "PersistentVolumeClaim"])
def test_every_field_that_was_applied_is_repaired(idle: Place, kind: str) -> None:
    name = CHILDREN[kind]
    child = idle.api.get(kind, idle.namespace, name)
    assert child is not None
    fields = applied_fields(child)
    late: dict[str, float] = {}
    unchangeable: set[str] = set()

    for path in fields:
        child = idle.api.get(kind, idle.namespace, name)
        assert child is not None
        pointer, was = find(child, path)
        shown = "/".join(pointer)
        if not edit(idle, kind, child, path):
            unchangeable.add(shown)
            continue
        try:
            took = seconds_until_repaired(idle, kind, name, path, was)
        except AssertionError:
            took = float("inf")
        if took > WITHIN_SECONDS:
            late[shown] = took

    assert late == {}
    assert sorted(each for each in unchangeable if not re.fullmatch(FIXED.get(kind, ""), each)) == []
    assert len(fields) > len(unchangeable)


@pytest.mark.parametrize("kind", [kind for kind in CHILDREN if kind != "PersistentVolumeClaim"])
def test_a_deleted_child_is_made_again(idle: Place, kind: str) -> None:
    name = CHILDREN[kind]
    child = idle.api.get(kind, idle.namespace, name)
    assert child is not None

    started = time.monotonic()
    idle.api.delete(kind, idle.namespace, name)
    idle.api.wait(
        kind,
        idle.namespace,
        name,
        lambda it: it and it["metadata"]["uid"] != child["metadata"]["uid"],
        2 * WITHIN_SECONDS,
    )

    assert time.monotonic() - started <= WITHIN_SECONDS


def test_what_others_have_set_is_left_alone(idle: Place) -> None:
    annotation = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}
    idle.api.patch("Deployment", idle.namespace, "lab-runner", {"spec": {"template": annotation}} | annotation)

    idle.api.patch("Deployment", idle.namespace, "lab-runner", {"spec": {"revisionHistoryLimit": 7}})
    repaired = idle.api.wait(
        "Deployment", idle.namespace, "lab-runner", lambda it: it and it["spec"]["revisionHistoryLimit"] != 7, 10
    )

    assert repaired["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] == "now"
    assert repaired["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] == "now"
