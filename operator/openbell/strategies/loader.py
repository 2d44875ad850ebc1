"""From a type's name and a manifest's parameters to a rule and its typed parameters."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from openbell.domain.errors import ManifestError
from openbell.strategies.api import Strategy, StrategyParams
from openbell.strategies.breakout import Breakout
from openbell.strategies.crossover import Crossover
from openbell.strategies.mean_reversion import MeanReversion
from openbell.strategies.momentum import Momentum

_STRATEGIES: Mapping[str, Strategy[Any]] = MappingProxyType(
    {strategy.name: strategy for strategy in (Momentum(), MeanReversion(), Breakout(), Crossover())}
)
STRATEGY_TYPES: tuple[str, ...] = tuple(_STRATEGIES)

HASH_LENGTH = 12  # characters of hexadecimal


def strategy_for(type_name: str) -> Strategy[Any]:
    """The rule of a type. Raises ManifestError for a type that does not exist."""
    strategy = _STRATEGIES.get(type_name)
    if strategy is None:
        raise ManifestError(
            f"spec.type is {type_name!r}, but must be one of {', '.join(STRATEGY_TYPES)}"
            + _nearest(type_name, STRATEGY_TYPES)
        )
    return strategy


def validate_parameters(type_name: str, parameters: Mapping[str, object]) -> StrategyParams:
    """The typed parameters of a manifest's. Raises ManifestError with one sentence about the first wrong one."""
    return validated(type_name, strategy_for(type_name).Params, parameters)


def validated(name: str, model: type[StrategyParams], parameters: Mapping[str, object]) -> StrategyParams:
    """A manifest's parameters as that model. Raises ManifestError with one sentence about the first wrong one."""
    try:
        return model.model_validate(dict(parameters))
    except ValidationError as error:
        raise ManifestError(_sentence(name, model, error.errors()[0])) from error


@cache
def parameters_schema(type_name: str) -> dict[str, Any]:
    """JSON schema of a type's parameters, by the names that manifests use. Not to be changed by who gets it."""
    return compact_schema(strategy_for(type_name).Params)


def compact_schema(model: type[StrategyParams]) -> dict[str, Any]:
    """JSON schema of parameters without the titles, which only repeat the names."""
    compact = _untitled(model.model_json_schema(by_alias=True))
    assert isinstance(compact, dict)  # noqa: S101 - a model's schema is an object
    return compact


def _untitled(schema: Any) -> Any:
    if isinstance(schema, dict):
        # A parameter that is itself called title has a schema under its name, and not a string.
        return {key: _untitled(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)}
    return [_untitled(each) for each in schema] if isinstance(schema, list) else schema


def parameters_hash(params: StrategyParams) -> str:
    """Twelve hexadecimal characters: equal for equal parameters, defaults written or not."""
    return hash_of(params.model_dump(mode="json", by_alias=True))


def hash_of(parameters: Mapping[str, Any]) -> str:
    """`parameters_hash` of parameters that have all their defaults written out."""
    canonical = json.dumps(parameters, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:HASH_LENGTH]


def _sentence(type_name: str, model: type[StrategyParams], error: ErrorDetails) -> str:
    path = ".".join(["spec.parameters", *(str(part) for part in error["loc"])])
    if error["type"] == "extra_forbidden":
        names = [field.alias or name for name, field in model.model_fields.items()]
        return f"{path} is not a parameter of {type_name}, which has {', '.join(names)}" + _nearest(
            str(error["loc"][-1]), names
        )
    if error["type"] == "value_error":
        # Raised by a model's own validator, whose message is the sentence.
        return f"{path}.{error['ctx']['error']}"
    return f"{path} is {error['input']!r}, but {_allowed(error)}"


def _allowed(error: ErrorDetails) -> str:
    # pydantic's messages read "Input should be …".
    return error["msg"].removeprefix("Input ").replace("should be", "must be", 1)


def _nearest(name: str, names: Iterable[str]) -> str:
    by_lower = {known.lower(): known for known in names}
    found = difflib.get_close_matches(name.lower().replace("_", ""), list(by_lower), n=1)
    return f"; did you mean {by_lower[found[0]]}?" if found else ""
