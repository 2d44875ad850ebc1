"""Whether a live object already says what we want: desired ⊆ live, on values as the API server writes them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from openbell.controller.desired.overlay import LIST_KEYS

HASH_ANNOTATION = "openbell.dev/applied-hash"

_QUANTITY = re.compile(r"^(\d+(?:\.\d+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
_SUFFIX = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{letter: Decimal(1000) ** (power + 1) for power, letter in enumerate("kMGTPE")},
    **{letter + "i": Decimal(1024) ** (power + 1) for power, letter in enumerate("KMGTPE")},
}
_QUANTITIES = frozenset({"requests", "limits"})
_MAP_LISTS = LIST_KEYS | {"ownerReferences": "uid"}
"""Lists that server-side apply merges by a key, so that others may add items; any other list is ours as a whole."""


def applied_hash(desired: Mapping[str, Any]) -> str:
    """A short hash of all that we apply: a live object with another one was applied from other inputs.

    It finds fields that we no longer want, which a subset comparison cannot see.
    """
    text = json.dumps(desired, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(desired: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """The paths at which `live` does not say what `desired` says; empty when nothing need be applied."""
    found: list[str] = []
    _compare(desired, live, "", found, quantities=False)
    return found


def _compare(desired: Any, live: Any, path: str, found: list[str], *, quantities: bool) -> None:
    if isinstance(desired, Mapping):
        if not isinstance(live, Mapping):
            # The API server leaves out an empty object.
            if desired or live is not None:
                found.append(path)
            return
        for key, value in desired.items():
            inner = f"{path}.{key}" if path else str(key)
            if isinstance(value, list):
                _compare_lists(value, live.get(key), str(key), inner, found)
            else:
                _compare(value, live.get(key), inner, found, quantities=quantities or key in _QUANTITIES)
        return
    if desired == live or (live is None and desired in (False, 0, "")):
        return
    if isinstance(desired, str) and quantities and _quantity(desired) == _quantity(live) is not None:
        return
    found.append(path)


def _compare_lists(desired: list[Any], live: Any, name: str, path: str, found: list[str]) -> None:
    if not isinstance(live, list):
        if desired or live is not None:
            found.append(path)
        return
    key = _key_of(name, desired)
    if key is None:
        if len(desired) != len(live):
            found.append(path)
            return
        for index, (wanted, has) in enumerate(zip(desired, live, strict=True)):
            _compare(wanted, has, f"{path}[{index}]", found, quantities=False)
        return
    by_key = {item.get(key): item for item in live if isinstance(item, Mapping)}
    for item in desired:
        where = f"{path}[{item[key]}]"
        if item[key] in by_key:
            _compare(item, by_key[item[key]], where, found, quantities=False)
        else:
            found.append(where)


def _key_of(name: str, items: list[Any]) -> str | None:
    if name == "ports" and items:
        return "containerPort" if "containerPort" in items[0] else "port"
    return _MAP_LISTS.get(name)


def larger_quantity(one: str, other: str) -> str:
    """The larger of two quantities, as it was written; the first where they are equal."""
    first, second = _quantity(one), _quantity(other)
    return other if first is not None and second is not None and second > first else one


def _quantity(value: object) -> Decimal | None:
    match = _QUANTITY.match(str(value))
    return None if match is None else Decimal(match.group(1)) * _SUFFIX[match.group(2) or ""]
