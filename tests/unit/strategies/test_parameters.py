"""Typed parameters: what is allowed, and the one sentence about what is not."""

from __future__ import annotations

import jsonschema
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.domain.errors import ManifestError
from openbell.strategies import (
    STRATEGY_TYPES,
    parameters_hash,
    parameters_schema,
    strategy_for,
    validate_parameters,
)

GOOD: dict[str, list[dict[str, object]]] = {
    "Momentum": [{}, {"lookback": 1, "threshold": 1, "exitThreshold": 0.5, "direction": "Both"}],
    "MeanReversion": [{}, {"lookback": 3, "entry": 10, "exit": 9.5, "direction": "Both"}],
    "Breakout": [{}, {"channel": 2, "exitChannel": 2, "direction": "Both"}],
    "Crossover": [{}, {"fast": 2, "slow": 3, "average": "SMA", "atr": 2, "direction": "Both"}],
}
BAD = [
    ("Momentum", {"lokback": 5}, "spec.parameters.lokback is not a parameter of Momentum, which has lookback, "
     "threshold, exitThreshold, direction; did you mean lookback?"),
    ("Momentum", {"exit_treshold": 1}, "did you mean exitThreshold?"),
    ("Momentum", {"colour": 1}, "which has lookback, threshold, exitThreshold, direction"),
    ("Momentum", {"lookback": 0}, "spec.parameters.lookback is 0, but must be greater than or equal to 1"),
    ("Momentum", {"lookback": 501}, "spec.parameters.lookback is 501, but must be less than or equal to 500"),
    ("Momentum", {"lookback": "5"}, "spec.parameters.lookback is '5', but must be a valid integer"),
    ("Momentum", {"lookback": True}, "spec.parameters.lookback is True, but must be a valid integer"),
    ("Momentum", {"threshold": 0}, "spec.parameters.threshold is 0, but must be greater than 0"),
    ("Momentum", {"threshold": float("nan")}, "spec.parameters.threshold is nan, but must be a finite number"),
    ("Momentum", {"direction": "Up"}, "spec.parameters.direction is 'Up', but must be 'Long' or 'Both'"),
    ("Crossover", {"fast": 26}, "spec.parameters.fast is 26, but must be less than slow (26)"),
    ("MeanReversion", {"exit": 2}, "spec.parameters.exit is 2, but must be less than entry (2)"),
    ("MeanReversion", {"lookback": 2}, "spec.parameters.lookback is 2, but must be greater than or equal to 3"),
    ("Breakout", {"exitChannel": 21}, "spec.parameters.exitChannel is 21, but must be at most channel (20)"),
    ("Crossover", {"slow": 501}, "spec.parameters.slow is 501, but must be less than or equal to 500"),
    ("Crossover", {"average": "WMA"}, "spec.parameters.average is 'WMA', but must be 'EMA' or 'SMA'"),
]  # fmt: skip


@pytest.mark.parametrize("type_name", STRATEGY_TYPES)
def test_good_parameters_are_accepted_frozen_and_fit_the_schema(type_name: str) -> None:
    for given_parameters in GOOD[type_name]:
        params = validate_parameters(type_name, given_parameters)
        jsonschema.validate(given_parameters, parameters_schema(type_name))
        assert validate_parameters(type_name, params.model_dump(by_alias=True)) == params
        with pytest.raises(pydantic.ValidationError):
            params.direction = "Both"  # type: ignore[attr-defined]


@pytest.mark.parametrize(("type_name", "parameters", "sentence"), BAD)
def test_a_wrong_parameter_is_named_with_its_value_and_what_is_allowed(
    type_name: str, parameters: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        validate_parameters(type_name, parameters)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_type_is_named_with_the_nearest() -> None:
    with pytest.raises(ManifestError) as caught:
        strategy_for("Momentun")
    assert str(caught.value) == (
        "spec.type is 'Momentun', but must be one of Momentum, MeanReversion, Breakout, Crossover; "
        "did you mean Momentum?"
    )
    with pytest.raises(ManifestError, match=r"must be one of Momentum, MeanReversion, Breakout, Crossover$"):
        strategy_for("Astrology")


@pytest.mark.parametrize("type_name", STRATEGY_TYPES)
def test_every_parameter_is_described_with_a_default_in_the_schema(type_name: str) -> None:
    schema = parameters_schema(type_name)
    assert schema["additionalProperties"] is False
    assert "required" not in schema
    for name, field in schema["properties"].items():
        assert field["description"].endswith("."), name
        assert "default" in field, name


@given(st.dictionaries(st.sampled_from(["fast", "slow", "atr"]), st.integers(-1, 600)))
def test_the_schema_and_the_model_agree_on_single_fields(parameters: dict[str, object]) -> None:
    fits = jsonschema.Draft202012Validator(parameters_schema("Crossover")).is_valid(parameters)
    try:
        validate_parameters("Crossover", parameters)
        accepted = True
    except ManifestError as error:
        accepted = "must be less than slow" in str(error)
    assert fits is accepted


def test_the_hash_depends_on_the_values_not_on_how_they_are_written() -> None:
    default = parameters_hash(validate_parameters("Momentum", {}))
    assert parameters_hash(validate_parameters("Momentum", {"lookback": 10, "exitThreshold": 0})) == default
    assert parameters_hash(validate_parameters("Momentum", {"lookback": 11})) != default
    assert default == "63bcf48792cb"
