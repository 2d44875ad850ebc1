"""Merging a person's pod template over ours, by the rules that people know from strategic merge patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LIST_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "topologySpreadConstraints": "topologyKey",
    "hostAliases": "ip",
}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`: maps merge, lists of named items merge by name, other lists and values replace.

    A null removes the field.
    """
    result = dict(base)
    for key, value in over.items():
        here = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(here, Mapping):
            result[key] = merged(here, value)
        elif isinstance(value, Mapping):
            result[key] = merged({}, value)
        elif isinstance(value, list) and isinstance(here, list):
            result[key] = _merged_lists(here, value, _list_key(key, value))
        else:
            result[key] = value
    return result


def _list_key(name: str, items: list[Any]) -> str | None:
    key = "containerPort" if name == "ports" else LIST_KEYS.get(name)
    named = key is not None and all(isinstance(item, Mapping) and key in item for item in items)
    return key if named else None


def _merged_lists(base: list[Any], over: list[Any], key: str | None) -> list[Any]:
    if key is None:
        return list(over)
    result = list(base)
    index = {item.get(key): position for position, item in enumerate(base)}
    for item in over:
        position = index.get(item[key])
        if position is None:
            result.append(merged({}, item))
        else:
            result[position] = merged(result[position], item)
    return result
