"""The API against its own OpenAPI document: a golden file that generated requests must agree with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CheckFunction
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import positive_data_acceptance

from fakes.runner_view import busy_runner
from openbell.web.app import create_app
from openbell.web.values import ReplayView
from openbell.web.view import RunnerView

GOLDEN = Path(__file__).parent / "golden" / "openapi.json"
TOKEN = "a-token-for-generated-requests"

_runner = busy_runner()
_runner.view_replay = ReplayView(False, 3, "sha256:00")
_view: RunnerView = _runner  # the fake satisfies the protocol: mypy says so
_app = create_app(_view, token=TOKEN)
schema = schemathesis.openapi.from_asgi("/openapi.json", _app)

# Types of strategy and their parameters are not for the document to say, so a well-formed body may be refused.
_excluded: list[CheckFunction] = [positive_data_acceptance]


def test_the_document_is_the_golden_one() -> None:
    text = json.dumps(create_app(_view, token=None).openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("OPENBELL_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), "run with OPENBELL_UPDATE_GOLDEN=1 when this change is meant"


def test_every_operation_says_what_it_does_and_every_error_has_our_shape() -> None:
    document = _app.openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], f"{method} {path}"
            for status, response in operation["responses"].items():
                if status.startswith(("4", "5")):
                    reference: str = response["content"]["application/json"]["schema"]["$ref"]
                    assert reference.rsplit("/", 1)[1] in {"ErrorBody", "Health"}, f"{method} {path} {status}"
    assert "HTTPValidationError" not in document["components"]["schemas"]


@pytest.mark.timeout(60)
@schema.parametrize()
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_generated_requests_are_answered_as_the_document_says(case: schemathesis.Case[Any]) -> None:
    # Where the generator has left the token out on purpose, giving it would make a bad request good.
    without = case.meta is not None and case.meta.is_negative_at(ParameterLocation.HEADER)
    headers = None if without else {"Authorization": f"Bearer {TOKEN}"}
    case.call_and_validate(headers=headers, excluded_checks=_excluded)
