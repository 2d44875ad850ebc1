"""Who has applied what of a condition: so that the operator, giving the word back to a runner, tears no entry apart.

Server-side apply keeps books for each field. A value that two managers apply belongs to both, so taking an entry over
by force leaves the runner owning what was the same before (the generation, say). Were the operator then to stop naming
the entry, its own fields would go, the shared ones stay, and the API server would refuse the rest: `message: Required
value`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from openbell.kube.resources import Object
from openbell.resources.conditions import RUNNER_CONDITIONS

STATUS_MANAGER = "openbell-operator-status"
REQUIRED = frozenset({"type", "status", "reason", "message", "lastTransitionTime"})
"""What an entry cannot be without, by the schema of a condition."""


def borrowed(obj: Object) -> dict[str, bool]:
    """The runner's conditions that the operator has applied, each with whether an entry without its part would be torn.

    An entry may be let go when all others together own the whole of it, or nothing of it, for then it goes as a whole.
    """
    ours: set[str] = set()
    others: dict[str, set[str]] = {}
    for books in obj["metadata"].get("managedFields") or ():
        is_ours = books.get("manager") == STATUS_MANAGER and books.get("operation") == "Apply"
        for kind, fields in _entries(books.get("fieldsV1") or {}):
            if is_ours:
                ours.add(kind)
            else:
                others.setdefault(kind, set()).update(fields)
    return {kind: bool(others.get(kind)) and not others[kind] >= REQUIRED for kind in sorted(ours)}


def kept_whole(conditions: Iterable[dict[str, Any]], obj: Object) -> list[dict[str, Any]]:
    """The conditions to apply, and as they stand those live entries that must still be named to stay whole."""
    named = list(conditions)
    kinds = {each["type"] for each in named}
    torn = {kind for kind, is_torn in borrowed_of(obj).items() if is_torn} - kinds
    live = (obj.get("status") or {}).get("conditions") or ()
    return named + [each for each in live if each["type"] in torn]


def borrowed_of(obj: Object) -> dict[str, bool]:
    """What the cache has kept of `borrowed`."""
    found: dict[str, bool] = obj.get("borrowed") or {}
    return found


def _entries(fields: Mapping[str, Any]) -> Iterable[tuple[str, set[str]]]:
    """The runner's conditions in the books of one manager, each with the names of the fields that it owns."""
    conditions = (fields.get("f:status") or {}).get("f:conditions") or {}
    for key, owned in conditions.items():
        if not key.startswith("k:"):
            continue
        kind = json.loads(key[2:]).get("type")
        if kind in RUNNER_CONDITIONS:
            yield str(kind), {field[2:] for field in owned if field.startswith("f:")} | {"."}
