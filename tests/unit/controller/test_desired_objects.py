"""What a scheduler's children look like: golden files, and the promises that they keep."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import openbell
from openbell.controller import rbac
from openbell.controller.desired.access import runner_rules
from openbell.controller.desired.children import sealed, surroundings
from openbell.controller.desired.network import token_secret
from openbell.controller.desired.overlay import merged
from openbell.controller.desired.owner import Owner
from openbell.controller.desired.storage import volume_claim, volume_upkeep
from openbell.controller.desired.workload import deployment, pod_template
from openbell.controller.diff import HASH_ANNOTATION, differences
from openbell.resources.runner import Retain
from openbell.resources.scheduler import SchedulerSpec

GOLDEN = Path(__file__).parent / "golden"
OWNER = Owner("alpha", "trading", "3f0c2a55-1111-2222-3333-444455556666")
IMAGE = "registry.example/openbell:1.0.0"

SPECS: dict[str, dict[str, Any]] = {
    "default": {},
    "tailored": {
        "runner": {
            "image": "registry.example/custom:7",
            "serviceAccountName": "somebody",
            "storage": {"size": "5Gi", "className": "fast"},
            "retain": "Delete",
            "resources": {"requests": {"cpu": "1"}, "limits": {}},
            "podTemplate": {
                "metadata": {"labels": {"team": "quants", "app.kubernetes.io/instance": "stolen"}},
                "spec": {
                    "nodeSelector": {"disk": "ssd"},
                    "containers": [
                        {"name": "runner", "env": [{"name": "EXTRA", "value": "1"}], "livenessProbe": None},
                        {"name": "sidecar", "image": "busybox"},
                    ],
                    "volumes": [{"name": "data-files", "configMap": {"name": "bars"}}],
                },
            },
        },
        "api": {"auth": "None"},
    },
}


def spec_of(name: str) -> SchedulerSpec:
    return SchedulerSpec.model_validate(SPECS[name])


CONFIG_MAPS = {"default": (), "tailored": ("strategies",)}


def children(name: str) -> list[dict[str, Any]]:
    spec = spec_of(name)
    storage, retain = spec.runner.storage, spec.runner.retain
    return [
        *surroundings(OWNER, spec, CONFIG_MAPS[name]),
        sealed(volume_claim(OWNER, storage, retain)),
        token_secret(OWNER, "the-token"),
        sealed(deployment(OWNER, spec, image=spec.runner.image or IMAGE, replicas=0)),
    ]


@pytest.mark.parametrize("name", SPECS)
def test_children_are_what_the_golden_file_says(name: str) -> None:
    path = GOLDEN / f"children-{name}.yaml"
    text = "---\n".join(yaml.safe_dump(each, sort_keys=False) for each in children(name))
    if os.environ.get("OPENBELL_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_everything_but_the_volume_goes_with_its_scheduler() -> None:
    owned = {each["kind"]: "ownerReferences" in each["metadata"] for each in children("default")}
    assert owned.pop("PersistentVolumeClaim") is False
    assert all(owned.values())


def test_the_volume_goes_too_where_the_spec_says_delete() -> None:
    claim = volume_upkeep(OWNER, "1Gi", Retain.DELETE)
    assert claim["metadata"]["ownerReferences"] == [OWNER.reference]


@pytest.mark.parametrize(
    "edit",
    [
        {"enabled": True},
        {"paused": True},
        {"evaluationIntervalSeconds": 5},
        {"risk": {"maxOrdersPerDay": 7}},
        {"broker": {"simulated": {"slippageBps": 9.0}}},
        {"stopPolicy": {"positions": "Flatten"}},
    ],
)
def test_what_the_runner_reads_itself_does_not_touch_its_pod(edit: dict[str, Any]) -> None:
    edited = SchedulerSpec.model_validate(edit)
    assert pod_template(OWNER, edited, IMAGE) == pod_template(OWNER, SchedulerSpec(), IMAGE)


def test_an_upgrade_of_the_operator_changes_no_byte_of_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    before = pod_template(OWNER, SchedulerSpec(), IMAGE)
    monkeypatch.setattr(openbell, "__version__", "99.0.0")
    assert pod_template(OWNER, SchedulerSpec(), IMAGE) == before
    assert "0.1.0" not in str(before).replace(IMAGE, "")


def test_the_overlay_cannot_take_the_labels_by_which_the_pod_is_found() -> None:
    template = pod_template(OWNER, spec_of("tailored"), IMAGE)
    assert template["metadata"]["labels"]["app.kubernetes.io/instance"] == "alpha"
    assert template["metadata"]["labels"]["team"] == "quants"


def test_the_operator_holds_every_permission_that_it_grants() -> None:
    held = {
        (group, resource, verb)
        for rule in rbac.WATCHED_RULES
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    granted = {
        (group, resource, verb)
        for rule in runner_rules("x", "x-runner", ("code",))
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted <= held
    assert {verb for group, resource, verb in held if resource == "secrets"} == {"create"}
    assert not {verb for _, _, verb in held} & {"escalate", "bind", "*", "impersonate"}


def test_the_hash_does_not_follow_the_replicas_but_every_other_field() -> None:
    spec = SchedulerSpec()
    seals = [
        sealed(deployment(OWNER, spec, image=image, replicas=replicas))["metadata"]["annotations"][HASH_ANNOTATION]
        for image, replicas in ((IMAGE, 0), (IMAGE, 1), ("other", 1))
    ]
    assert seals[0] == seals[1] != seals[2]


@pytest.mark.parametrize(
    ("mode", "allow_live", "told"), [("Live", True, "U1"), ("Live", False, None), ("Paper", True, None)]
)
def test_a_runner_is_told_of_live_trading_only_where_both_want_it(
    mode: str, allow_live: bool, told: str | None
) -> None:
    broker = {"type": "IBKR", "ibkr": {"host": "gw", "account": "U1"}}
    spec = SchedulerSpec.model_validate({"mode": mode, "broker": broker})
    workload = deployment(OWNER, spec, image=IMAGE, replicas=0, allow_live=allow_live)
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert environment.get("OPENBELL_ALLOW_LIVE") == told


def test_named_items_merge_lists_of_values_replace_and_null_removes() -> None:
    base = {"a": 1, "containers": [{"name": "x", "args": ["1"], "env": [{"name": "E", "value": "1"}]}], "b": {"c": 2}}
    over = {"containers": [{"name": "x", "args": ["2"]}, {"name": "y"}], "b": {"c": None, "d": 3}}
    assert merged(base, over) == {
        "a": 1,
        "containers": [{"name": "x", "args": ["2"], "env": [{"name": "E", "value": "1"}]}, {"name": "y"}],
        "b": {"d": 3},
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["", "x", "100m", "1Gi"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "limits"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["spec", "metadata"]), JSON))
def test_an_object_never_differs_from_itself(obj: dict[str, Any]) -> None:
    assert differences(obj, obj) == []


def test_a_difference_names_its_path_and_what_others_added_is_none() -> None:
    workload = deployment(OWNER, SchedulerSpec(), image=IMAGE, replicas=1)
    live = yaml.safe_load(yaml.safe_dump(workload))
    container = live["spec"]["template"]["spec"]["containers"][0]
    container["terminationMessagePath"] = "/dev/termination-log"
    live["spec"]["template"]["spec"]["containers"].append({"name": "injected"})
    container["resources"]["limits"]["memory"] = str(512 * 1024 * 1024)
    assert differences(workload, live) == []
    container["env"][0]["value"] = "edited"
    live["spec"]["replicas"] = 2
    assert differences(workload, live) == [
        "spec.replicas",
        "spec.template.spec.containers[runner].env[OPENBELL_SCHEDULER].value",
    ]


def test_a_list_that_is_ours_as_a_whole_may_not_have_more_items() -> None:
    wanted = {"subjects": [{"kind": "ServiceAccount", "name": "a"}]}
    live = {"subjects": [{"kind": "ServiceAccount", "name": "a"}, {"kind": "User", "name": "eve"}]}
    assert differences(wanted, live) == ["subjects"]
