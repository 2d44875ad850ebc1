"""The API server and the models allow the same specs, and read the same from them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from apiserver import Answer, ApiServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from specs import edited_specs, least, odd_specs, resource

from openbell.resources.crd import KINDS, STRATEGY, ResourceKind
from openbell.resources.load import parse_manifest, parse_spec, problems

EXAMPLES = 500


def dry_run(server: ApiServer, kind: ResourceKind, body: dict[str, Any]) -> Answer:
    """What the API server would say to `kubectl create`, strict about unknown fields."""
    path = f"/apis/openbell.dev/v1alpha1/namespaces/default/{kind.plural}?dryRun=All&fieldValidation=Strict"
    return server.request("POST", path, body)


def disagreement(server: ApiServer, kind: ResourceKind, spec: dict[str, Any]) -> tuple[bool, str]:
    """Whether the models allow a spec, and how the API server differs from them; empty where it does not."""
    body = resource(kind, spec)
    wrong = problems(body)
    answer = dry_run(server, kind, body)
    said = f"{spec}: models: {wrong or 'allowed'}; API server: {answer.status} {answer.message}"
    if answer.status not in {201, 400, 422} or (answer.status == 201) != (not wrong):
        return not wrong, said
    if not wrong and parse_spec(kind.kind, answer.body["spec"]) != parse_manifest(body).spec:
        return True, f"{spec} was read as {answer.body['spec']}"
    return not wrong, ""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_api_server_and_the_models_agree_on_odd_values_in_every_place(
    api_server: ApiServer, kind: ResourceKind
) -> None:
    found = [disagreement(api_server, kind, spec) for spec in odd_specs(kind)]
    assert [said for _, said in found if said] == []
    assert 0.02 < sum(allowed for allowed, _ in found) / len(found) < 0.95


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_api_server_and_the_models_allow_the_same_specs(api_server: ApiServer, kind: ResourceKind) -> None:
    seen: Counter[bool] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(spec=edited_specs(kind))
    def agree(spec: dict[str, Any]) -> None:
        allowed, said = disagreement(api_server, kind, spec)
        assert said == ""
        seen[allowed] += 1

    agree()
    # A comparison of nothing but refusals, or of nothing but consent, would say little.
    assert min(seen[True], seen[False]) > EXAMPLES / 8, seen


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_api_server_fills_in_the_defaults_of_the_models(api_server: ApiServer, kind: ResourceKind) -> None:
    body = resource(kind, least(kind))
    answer = dry_run(api_server, kind, body)
    assert answer.status == 201, answer.message
    assert answer.body["spec"] == parse_manifest(body).spec.to_manifest()


def test_a_scheduler_without_a_spec_has_all_defaults(api_server: ApiServer) -> None:
    (scheduler, _) = KINDS
    body = resource(scheduler, {})
    del body["spec"]
    answer = dry_run(api_server, scheduler, body)
    assert answer.status == 201, answer.message
    assert answer.body["spec"] == parse_manifest(body).spec.to_manifest()


def test_a_strategy_without_a_spec_is_refused(api_server: ApiServer) -> None:
    body = resource(STRATEGY, {})
    del body["spec"]
    answer = dry_run(api_server, STRATEGY, body)
    assert answer.status == 422
    assert "spec: Required value" in answer.message
    assert problems(body)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@given(name=st.text("ab-.A0_", min_size=1, max_size=6) | st.integers(50, 66).map(lambda length: "a" * length))
@settings(
    max_examples=80,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_the_api_server_and_the_models_allow_the_same_names(
    api_server: ApiServer, kind: ResourceKind, name: str
) -> None:
    body = resource(kind, least(kind), name=name)
    assert (dry_run(api_server, kind, body).status == 201) == (not problems(body))
