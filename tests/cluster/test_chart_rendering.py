"""What the chart renders, for every way in which its values are meant to be used. No cluster is needed."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import ROOT, Object, run

CHART = str(ROOT / "charts" / "openbell")
GOLDEN = Path(__file__).parent / "golden" / "chart-defaults.yaml"

MATRIX: dict[str, list[str]] = {
    "defaults": [],
    "everything": [
        "watchNamespaces={trading,research}",
        "allowLiveTrading=true",
        "metrics.serviceMonitor.enabled=true",
        "metrics.serviceMonitor.labels.team=a",
        "metrics.podMonitor.enabled=true",
        "dashboard.enabled=true",
        "dashboard.annotations.folder=Trading",
        "podAnnotations.a=b",
        "podLabels.c=d",
        "nodeSelector.disk=ssd",
        "priorityClassName=high",
        "tolerations[0].key=x",
        "tolerations[0].operator=Exists",
        "imagePullSecrets[0].name=registry",
        "serviceAccount.annotations.e=f",
        "crds.annotations.g=h",
    ],
    "nothing": [
        "crds.enabled=false",
        "rbac.create=false",
        "rbac.aggregate=false",
        "serviceAccount.create=false",
        "metrics.service=false",
        "metrics.scrapeAnnotations=false",
        "resources.requests.cpu=",
        "resources.requests.memory=",
        "resources.limits.memory=",
    ],
    "digest": ["image.digest=sha256:" + "0" * 64, "image.repository=mirror.example/openbell"],
    "other names": ["fullnameOverride=bell", "serviceAccount.name=ringer"],
}


def render(*settings: str, namespace: str = "openbell-system", options: tuple[str, ...] = ()) -> list[Object]:
    arguments = [part for setting in settings for part in ("--set", setting)]
    text = run("helm", "template", "openbell", CHART, "--namespace", namespace, *arguments, *options)
    return [each for each in yaml.safe_load_all(text) if each]


def named(objects: list[Object], kind: str, name: str | None = None) -> Object:
    found = [each for each in objects if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    assert len(found) == 1, f"{kind} {name}: {[each['metadata']['name'] for each in found]}"
    return found[0]


def operator_container(objects: list[Object]) -> Object:
    container: Object = named(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return container


def variables(objects: list[Object]) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in operator_container(objects)["env"]}


def test_lint_finds_nothing(tools: None) -> None:
    said = run("helm", "lint", "--strict", CHART)

    assert "0 chart(s) failed" in said


@pytest.mark.parametrize("settings", MATRIX.values(), ids=MATRIX)
def test_every_way_of_setting_values_renders(tools: None, settings: list[str]) -> None:
    objects = render(*settings)

    identities = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects]
    assert ("Deployment", "openbell-system") in {identity[:2] for identity in identities}
    assert len(identities) == len(set(identities))


def test_the_default_rendering_is_the_recorded_one(tools: None) -> None:
    rendered = [each for each in render() if each["kind"] != "CustomResourceDefinition"]
    text = yaml.safe_dump_all(rendered, sort_keys=False, width=110)
    if os.environ.get("OPENBELL_RECORD"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text, encoding="utf-8")

    assert text == GOLDEN.read_text(encoding="utf-8"), "a change that is meant: OPENBELL_RECORD=1 records it"


def test_definitions_are_kept_at_uninstall_unless_told_otherwise(tools: None) -> None:
    def policies(*settings: str) -> list[str | None]:
        definitions = [each for each in render(*settings) if each["kind"] == "CustomResourceDefinition"]
        return [(each["metadata"].get("annotations") or {}).get("helm.sh/resource-policy") for each in definitions]

    assert policies() == ["keep", "keep"]
    assert policies("crds.keep=false") == [None, None]
    assert policies("crds.enabled=false") == []


def test_watched_namespaces_leave_nothing_cluster_wide_to_the_operator(tools: None) -> None:
    objects = render("watchNamespaces={trading,research}")

    assert [each for each in objects if each["kind"] == "ClusterRoleBinding"] == []
    bindings = {each["metadata"]["namespace"] for each in objects if each["kind"] == "RoleBinding"}
    assert bindings == {"trading", "research", "openbell-system"}
    assert variables(objects)["OPENBELL_WATCH_NAMESPACES"] == "trading,research"


def rules_of(objects: list[Object]) -> list[Object]:
    return [rule for each in objects if each["kind"] in ("ClusterRole", "Role") for rule in each["rules"]]


def test_the_operator_may_create_secrets_and_nothing_else_with_them(tools: None) -> None:
    verbs = {verb for rule in rules_of(render()) if "secrets" in rule["resources"] for verb in rule["verbs"]}

    assert verbs == {"create"}


def test_no_role_may_escalate_bind_or_do_anything_at_all(tools: None) -> None:
    for rule in rules_of(render()):
        assert not {"escalate", "bind", "impersonate", "*"} & set(rule["verbs"])
        assert "*" not in rule["resources"] + rule["apiGroups"]


def test_live_trading_is_off_unless_it_is_allowed(tools: None) -> None:
    assert variables(render())["OPENBELL_ALLOW_LIVE"] == "false"
    assert variables(render("allowLiveTrading=true"))["OPENBELL_ALLOW_LIVE"] == "true"


def test_runners_use_the_operators_image_unless_another_is_named(tools: None) -> None:
    objects = render("image.tag=v9")

    assert variables(objects)["OPENBELL_RUNNER_IMAGE"] == operator_container(objects)["image"] == "openbell:v9"
    assert variables(render("runner.image=mine:1"))["OPENBELL_RUNNER_IMAGE"] == "mine:1"


def test_a_digest_wins_over_a_tag(tools: None) -> None:
    digest = "sha256:" + "0" * 64

    assert operator_container(render("image.tag=v9", f"image.digest={digest}"))["image"] == f"openbell@{digest}"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("watchNamespace={a}", "additional properties 'watchNamespace' not allowed"),
        ("watchNamespaces={Not_A_Name}", "does not match pattern"),
        ("allowLiveTrading=yes", "got string, want boolean"),
        ("metrics.port=70000", "maximum: got 70,000, want 65,535"),
        ("metrics.serviceMonitor.enabled=true,metrics.service=false", "a ServiceMonitor selects a Service"),
    ],
)
def test_a_wrong_value_is_refused_with_a_plain_message(tools: None, setting: str, message: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(message)):
        render(setting)


def test_an_old_cluster_is_refused(tools: None) -> None:
    with pytest.raises(AssertionError, match=r"incompatible with Kubernetes v1\.31\.0"):
        render(options=("--kube-version", "v1.31.0"))


def test_the_dashboard_is_rendered_whole(tools: None) -> None:
    shipped = named(render("dashboard.enabled=true"), "ConfigMap")

    assert shipped["metadata"]["labels"]["grafana_dashboard"] == "1"
    board = json.loads((ROOT / "charts" / "openbell" / "dashboards" / "openbell.json").read_text(encoding="utf-8"))
    assert json.loads(shipped["data"]["openbell.json"]) == board


def test_every_query_of_the_dashboard_is_valid(promtool: None, tmp_path: Path) -> None:
    board = json.loads((ROOT / "charts" / "openbell" / "dashboards" / "openbell.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    # What Grafana fills in.
    filled = [re.sub(r'"\$\w+"', '".*"', query.replace("$__rate_interval", "1m")) for query in queries]
    assert not [query for query in filled if "$" in query]
    rules = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(filled)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")

    assert f"SUCCESS: {len(queries)} rules found" in run("promtool", "check", "rules", "--lint=none", str(file))
