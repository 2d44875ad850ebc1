"""Specs for tests: least valid ones, and edits of them that are often right and sometimes wrong, made by Hypothesis."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

from hypothesis import strategies as st

from openbell.resources.crd import STRATEGY, TRADING_SCHEDULER, ResourceKind
from openbell.resources.schema import Schema, structural_schema

API_VERSION = "openbell.dev/v1alpha1"
LEAST: dict[str, dict[str, Any]] = {
    TRADING_SCHEDULER.kind: {},
    STRATEGY.kind: {"schedulerRef": {"name": "desk"}, "type": "Momentum", "symbols": ["AAPL"]},
}
MAX_EDITS = 5

Path = tuple[str, ...]

# An item of a list is the path element "[]".
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 0.5, 1.5, -0.001, 60.0, 2**31, 2**53, 2**63, 1e300,
    "", "x", "1", "-1", "0.5", "100", "1e3", "AAPL\n",
    "é" * 20, "a" * 600, "2023-02-30", "2026-01-02", "13:00", "25:00",
    "Always", "IBKR", "Replay", "Live", "host:1", "../x", "1Gi", "-1Gi",
    [], [None], [1], ["AAPL", "AAPL"], [{}], ["x"] * 600,
    {}, {"x": 1}, {"cpu": 1}, {"cpu": None}, {"type": "IBKR"}, {"name": None},
)  # fmt: skip


def resource(kind: ResourceKind, spec: Any, *, name: str = "generated") -> dict[str, Any]:
    """A whole resource with that spec."""
    return {"apiVersion": API_VERSION, "kind": kind.kind, "metadata": {"name": name}, "spec": spec}


def least(kind: ResourceKind) -> dict[str, Any]:
    """The shortest spec that is allowed."""
    return copy.deepcopy(LEAST[kind.kind])


def paths(schema: Schema, above: Path = ()) -> Iterator[tuple[Path, Schema]]:
    """Every place in a spec, and what is allowed there."""
    for name, field in schema.get("properties", {}).items():
        yield (*above, name), field
        yield from paths(field, (*above, name))
    if "items" in schema:
        yield (*above, "[]"), schema["items"]
        yield from paths(schema["items"], (*above, "[]"))


@st.composite
def edited_specs(draw: Callable[[st.SearchStrategy[Any]], Any], kind: ResourceKind) -> dict[str, Any]:
    """The least spec with one to five places set, most of them to a value that its schema allows."""
    places = list(paths(structural_schema(kind.spec)))
    spec = least(kind)
    for _ in range(draw(st.integers(1, MAX_EDITS))):
        path, schema = draw(st.sampled_from(places))
        value = draw(odd_values() if draw(st.integers(0, 5)) == 0 else allowed_values(schema))
        _put(spec, path, value)
    if draw(st.integers(0, 24)) == 0:
        spec["surprise"] = 1
    return spec


def odd_values() -> st.SearchStrategy[Any]:
    """Values that are right in some places and wrong in most."""
    return st.sampled_from(ODD_VALUES).map(copy.deepcopy)


def allowed_values(schema: Schema) -> st.SearchStrategy[Any]:
    """Values that a schema allows, as far as rules between fields do not forbid them."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.from_regex(re.compile(schema["pattern"], re.ASCII), fullmatch=True) | st.integers(1, 9)
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return st.sampled_from([{}, {"lookback": 5}, {"spec": {"nodeSelector": {"disk": "ssd"}, "x": [1, None]}}])
    match schema["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "number":
            low, high = schema["minimum"], schema["maximum"]
            numbers = st.floats(low, high, allow_subnormal=False) | st.sampled_from([low, high])
            return numbers.filter(lambda number: number > low) if "exclusiveMinimum" in schema else numbers
        case "string":
            return _texts(schema)
        case "array":
            return st.lists(
                allowed_values(schema["items"]),
                min_size=schema.get("minItems", 0),
                max_size=min(4, schema["maxItems"]),
                unique_by=json.dumps,
            )
        case _:
            return _objects(schema)


def _texts(schema: Schema) -> st.SearchStrategy[str]:
    if schema.get("format") == "date":
        return st.dates(date(1900, 1, 1), date(2099, 12, 31)).map(date.isoformat)
    if "x-kubernetes-validations" in schema:
        return st.sampled_from(re.findall(r"'(\w+)'", schema["x-kubernetes-validations"][0]["rule"]))
    longest = schema["maxLength"]
    if "pattern" in schema:
        texts = st.from_regex(re.compile(schema["pattern"], re.ASCII), fullmatch=True)
        return texts.filter(lambda text: len(text) <= longest)
    return st.text("abcXYZ019-./é€", min_size=schema.get("minLength", 0), max_size=min(longest, 40))


def _objects(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    if "additionalProperties" in schema:
        return st.dictionaries(
            st.sampled_from(["cpu", "memory", "openbell.dev/x"]), allowed_values(schema["additionalProperties"])
        )
    required = schema.get("required", ())
    every = {name: allowed_values(field) for name, field in schema["properties"].items()}
    return st.fixed_dictionaries(
        {name: every[name] for name in required},
        optional={name: every[name] for name in every if name not in required},
    )


def odd_specs(kind: ResourceKind) -> Iterator[dict[str, Any]]:
    """The least spec with every place in turn set to every odd value."""
    for path, _ in paths(structural_schema(kind.spec)):
        for value in ODD_VALUES:
            spec = least(kind)
            _put(spec, path, copy.deepcopy(value))
            yield spec


def _put(spec: dict[str, Any], path: Path, value: Any) -> None:
    """Set a place, making what is above it; a place below a value of another shape is left alone."""
    holder: Any = spec
    for part, below in zip(path, (*path[1:], None), strict=True):
        fresh: Any = value if below is None else [] if below == "[]" else {}
        if part == "[]" and isinstance(holder, list):
            if below is None or not holder:
                holder.append(fresh)
            holder = holder[-1]
        elif part != "[]" and isinstance(holder, dict):
            if below is None:
                holder[part] = fresh
            holder = holder.setdefault(part, fresh)
        else:
            return
