"""Specs that are recorded are understood again as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.trading import control_of, scheduler_manifest, strategy_manifest
from openbell.engine.recorded import Roster
from openbell.journal import StoredParameters
from openbell.resources import scheduler
from openbell.resources.load import Manifest, documents, parse_manifest
from openbell.runner.control import Control, understand
from openbell.runner.evaluation import terms_of
from openbell.runner.limits import limits_of
from openbell.runner.recording import roster_of
from openbell.runner.rederive import control_of as understood_again
from openbell.runner.source import Observed

EXAMPLES = Path(__file__).parents[3] / "examples"


def again(control: Control) -> Control:
    return understood_again(roster_of(control))


def same(one: Control, other: Control) -> bool:
    """Whether everything that a decision depends on is the same."""
    assert limits_of(one) == limits_of(other)
    assert one.spec == other.spec
    assert one.entries.keys() == other.entries.keys()
    for name, entry in one.entries.items():
        copy = other.entries[name]
        assert terms_of(copy) == terms_of(entry)
        assert (copy.parameters_hash, copy.generation) == (entry.parameters_hash, entry.generation)
        assert copy.parameters.model_dump() == entry.parameters.model_dump()
        assert (copy.spec, copy.settings) == (entry.spec, entry.settings)
    return True


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_understood_again(path: Path) -> None:
    found = documents(path.read_text())
    manifests = [parse_manifest(each) for each in found if each["kind"] in {scheduler.KIND, "Strategy"}]
    main = next((each for each in manifests if each.kind == scheduler.KIND), scheduler_manifest())
    strategies: dict[str, Manifest] = {each.name: each for each in manifests if each.kind == "Strategy"}
    control = understand(Observed(main, strategies), {})
    assert control is not None
    assert same(control, again(control))


def test_parameters_in_force_are_the_last_good_ones_also_when_the_spec_has_others() -> None:
    good = control_of(scheduler_manifest(), strategy_manifest())
    wrong = strategy_manifest(generation=2, parameters={"lookback": -1})
    parameters = good.entries["trend"].parameters.model_dump(by_alias=True)
    stored = {"trend": StoredParameters("Momentum", parameters)}
    control = understand(Observed(scheduler_manifest(), {"trend": wrong}), stored)
    assert control is not None
    assert control.entries["trend"].problem
    assert again(control).entries["trend"].parameters == good.entries["trend"].parameters


def test_equal_specs_have_one_document() -> None:
    def made() -> Roster:
        return roster_of(control_of(scheduler_manifest(), strategy_manifest()))

    assert made() == made()
    assert made() != roster_of(control_of(scheduler_manifest(minConfidence=0.6), strategy_manifest()))
