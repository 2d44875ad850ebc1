"""What is generated from the models is what the checkout holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from openbell.cli import main
from openbell.resources.crd import KINDS, ResourceKind, definition, rendered, root_schema
from openbell.resources.reference import fields

ROOT = Path(__file__).parents[3]
KIBIBYTE = 1024


def test_the_checkout_holds_what_the_models_give() -> None:
    done = CliRunner().invoke(main, ["crds", "--root", str(ROOT), "--check"])
    assert (done.exit_code, done.output) == (0, "")


def test_a_file_that_differs_is_named(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(main, ["crds", "--root", str(tmp_path)]).exit_code == 0
    assert runner.invoke(main, ["crds", "--root", str(tmp_path), "--check"]).exit_code == 0
    changed = tmp_path / "crds" / KINDS[0].file_name
    changed.write_text(changed.read_text() + "# edited\n")
    done = runner.invoke(main, ["crds", "--root", str(tmp_path), "--check"])
    assert done.exit_code == 1
    assert str(changed) in done.output


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_definition_is_far_below_what_annotations_and_helm_can_hold(kind: ResourceKind) -> None:
    assert len(rendered(kind).encode()) < 200 * KIBIBYTE


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_has_a_description_and_a_type(kind: ResourceKind) -> None:
    schema = root_schema(kind)
    for part in ("spec", "status"):
        for path, field, _ in fields(schema["properties"][part], part):
            assert field["description"].endswith("."), path
            assert field.get("type") or field["x-kubernetes-int-or-string"], path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_object_above_a_default_has_a_default(kind: ResourceKind) -> None:
    def lacking(schema: dict[str, Any], path: str) -> Iterator[str]:
        for name, field in schema.get("properties", {}).items():
            has_defaults = any("default" in inner for inner in field.get("properties", {}).values())
            optional = name not in schema.get("required", ())
            if has_defaults and optional and "default" not in field:
                yield f"{path}.{name}"
            yield from lacking(field, f"{path}.{name}")

    # These are absent unless somebody writes them.
    meant = {"spec.broker.ibkr", "spec.exits.trailing", "spec.source.configMap"}
    meant |= {"spec.marketData.ibkr", "spec.marketData.replay"}
    if kind.kind == "Strategy":
        meant.add("spec.exits.escalation")
    assert set(lacking(root_schema(kind)["properties"]["spec"], "spec")) <= meant


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_numbers_and_texts_and_lists_of_the_spec_are_bounded(kind: ResourceKind) -> None:
    bounds = {
        "integer": ("minimum", "maximum"),
        "number": ("minimum", "maximum"),
        "string": ("maxLength",),
        "array": ("maxItems", "x-kubernetes-list-type"),
    }
    for path, field, _ in fields(root_schema(kind)["properties"]["spec"], "spec"):
        if "enum" not in field:
            assert [key for key in bounds.get(field.get("type", ""), ()) if key not in field] == [], path


def test_columns_are_those_that_people_were_promised() -> None:
    def columns(kind: ResourceKind, wide: bool) -> list[str]:
        version = definition(kind)["spec"]["versions"][0]
        return [
            column["name"] for column in version["additionalPrinterColumns"] if (column.get("priority") == 1) == wide
        ]

    scheduler, strategy = KINDS
    assert columns(scheduler, False) == ["STATE", "MODE", "STRATEGIES", "POSITIONS", "P&L", "WHY", "AGE"]
    assert columns(scheduler, True) == ["READY", "BROKER", "MARKET", "TRADES", "RUNNER", "LAST-EVALUATION"]
    assert columns(strategy, False) == ["SCHEDULER", "TYPE", "STATE", "SYMBOLS", "POSITIONS", "P&L", "WHY", "AGE"]
