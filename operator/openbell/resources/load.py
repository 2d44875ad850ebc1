"""Manifests from YAML or from the API server, and what is wrong with them in one sentence each."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from openbell.domain.errors import ManifestError
from openbell.resources import scheduler, strategy
from openbell.resources.common import API_VERSION, Model
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.schema import at_path, describe, structural_schema
from openbell.resources.strategy import StrategySpec

Spec = SchedulerSpec | StrategySpec
Unknown = Literal["forbid", "ignore"]

SPECS: dict[str, type[Spec]] = {scheduler.KIND: SchedulerSpec, strategy.KIND: StrategySpec}
MAX_NAME_LENGTH = 52
"""A scheduler's name is part of its children's (`<name>-runner`), whose labels and Services hold 63 characters."""
MAX_STRATEGY_NAME_LENGTH = 63
NAME_MESSAGE = "must be at most {} lower-case letters, digits and dashes, beginning with a letter"

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_TOP_LEVEL = ("apiVersion", "kind", "metadata", "spec", "status")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A resource as a person wrote it, with every default filled in. `uid` is empty outside a cluster."""

    kind: str
    name: str
    namespace: str
    spec: Spec
    uid: str = ""
    generation: int = 1
    annotations: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def load_file(path: Path) -> tuple[Manifest, ...]:
    """All manifests of a YAML file. Raises ManifestError that begins with the file's name."""
    return load_text(read(path), source=str(path))


def read(path: Path) -> str:
    """The text of a file. Raises ManifestError where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is not UTF-8 text") from error


def load_text(content: str, *, source: str = "") -> tuple[Manifest, ...]:
    """All manifests of a YAML text. Raises ManifestError for the first that is wrong."""
    manifests = []
    for document in documents(content, source=source):
        try:
            manifests.append(parse_manifest(document))
        except ManifestError as error:
            where = [part for part in (source, described(document)) if part]
            raise ManifestError(": ".join([*where, str(error)])) from error
    return tuple(manifests)


def documents(content: str, *, source: str = "") -> tuple[Any, ...]:
    """The YAML documents of a text, empty ones left out, read as kubectl reads them."""
    where = f"{source}: " if source else ""
    try:
        return tuple(item for item in yaml.load_all(content, _Loader) if item is not None)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ManifestError(f"{where}{line}{error.problem}") from error
    except yaml.YAMLError as error:
        raise ManifestError(f"{where}not YAML: {' '.join(str(error).split())}") from error


def parse_manifest(document: object, *, unknown: Unknown = "forbid") -> Manifest:
    """One resource from a dict of plain values.

    `unknown="ignore"` is for objects from the API server, whose schema may be newer than this program.
    Raises ManifestError with one sentence that names the field, its value and what is allowed.
    """
    found, manifest = _examine(document, unknown)
    if found or manifest is None:
        raise ManifestError(found[0] if len(found) == 1 else f"{found[0]} (and {len(found) - 1} more)")
    return manifest


def problems(document: object) -> tuple[str, ...]:
    """Everything that is wrong with a resource, one sentence each; empty when it is right."""
    return _examine(document, "forbid")[0]


def is_foreign(document: object) -> bool:
    """Whether this is an object of somebody else's API: neither its group nor its kind is one of ours."""
    if not isinstance(document, Mapping):
        return False
    version, kind, metadata = document.get("apiVersion"), document.get("kind"), document.get("metadata")
    if not isinstance(version, str) or not isinstance(kind, str) or not isinstance(metadata, Mapping):
        return False
    return version.partition("/")[0] != API_VERSION.partition("/")[0] and kind not in SPECS


def parse_spec(kind: str, spec: Mapping[str, Any], *, unknown: Unknown = "forbid") -> Spec:
    """The spec of a resource of that kind alone. Raises ManifestError as `parse_manifest` does."""
    try:
        return SPECS[kind].model_validate(spec, extra=unknown)
    except ValidationError as error:
        found = _sentences(SPECS[kind], error)
        raise ManifestError(found[0] if len(found) == 1 else f"{found[0]} (and {len(found) - 1} more)") from error


def _examine(document: object, unknown: Unknown) -> tuple[tuple[str, ...], Manifest | None]:
    if not isinstance(document, Mapping):
        return (f"the document is {_shown(document)}; it must be an object with apiVersion, kind and metadata",), None
    found: list[str] = []
    if document.get("apiVersion") != API_VERSION:
        found.append(f"apiVersion is {_shown(document.get('apiVersion'))}; it must be {API_VERSION}")
    kind = document.get("kind")
    if kind not in SPECS:
        found.append(f"kind is {_shown(kind)}; it must be one of {', '.join(SPECS)}")
        return tuple(found), None
    found += [_unknown_field(str(name), "", _TOP_LEVEL) for name in document if name not in _TOP_LEVEL]
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    found += _name_problems(kind, metadata.get("name"))
    model = SPECS[kind]
    spec = document.get("spec")
    try:
        parsed = model.model_validate({} if spec is None else spec, extra=unknown)
    except ValidationError as error:
        return (*found, *_sentences(model, error)), None
    if found:
        return tuple(found), None
    manifest = Manifest(
        kind=kind,
        name=metadata["name"],
        namespace=metadata.get("namespace") or "default",
        spec=parsed,
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 1),
        annotations=MappingProxyType(dict(metadata.get("annotations") or {})),
    )
    return (), manifest


def _name_problems(kind: str, name: object) -> list[str]:
    longest = MAX_NAME_LENGTH if kind == scheduler.KIND else MAX_STRATEGY_NAME_LENGTH
    if name is None:
        return ["metadata.name is missing"]
    if isinstance(name, str) and _NAME.fullmatch(name) and len(name) <= longest:
        return []
    return [f"metadata.name is {_shown(name)}; it {NAME_MESSAGE.format(longest)}"]


def _sentences(model: type[Model], error: ValidationError) -> tuple[str, ...]:
    schema = structural_schema(model)
    errors = error.errors(include_url=False)
    deeper = {item["loc"][:-1] for item in errors}
    # pydantic counts only good items, so a list whose one item is wrong is also called too short.
    errors = [item for item in errors if item["type"] != "too_short" or item["loc"] not in deeper]
    return tuple(_sentence(item, schema) for item in errors)


def _sentence(error: ErrorDetails, schema: dict[str, Any]) -> str:
    """One pydantic error in the words of this program."""
    if error["type"] == "rule":
        return error["msg"]
    location = [part for part in error["loc"] if part != "[key]"]
    path = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    if error["type"] == "extra_forbidden":
        siblings = at_path(schema, location[:-1]).get("properties", {})
        return _unknown_field(str(location[-1]), path[: path.rindex(".")] + ".", tuple(siblings))
    wanted = describe(at_path(schema, location))
    if error["type"] == "missing":
        return f"{path} is missing; it must be {wanted}"
    if error["type"] == "duplicate":
        return f"{path}: {error['msg']}"
    return f"{path} is {_shown(error['input'])}; it must be {wanted}"


def _unknown_field(name: str, parent: str, siblings: tuple[str, ...]) -> str:
    lowered = {sibling.lower(): sibling for sibling in siblings}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    hint = f"did you mean {lowered[near[0]]}?" if near else f"known here: {', '.join(siblings)}"
    return f"{parent}{name} is not a known field; {hint}"


def _shown(value: object) -> str:
    """A value as YAML or JSON shows it, cut to a length that fits a sentence."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def described(document: object) -> str:
    """Kind and name of a document, or nothing where it has none."""
    if not isinstance(document, Mapping) or not isinstance(document.get("metadata"), Mapping):
        return ""
    kind, name = document.get("kind"), document["metadata"].get("name")
    return f"{kind} {name}" if kind and name else ""


_NUMBERS = (
    ("tag:yaml.org,2002:int", re.compile(r"^[-+]?(0|[1-9][0-9]*)$")),
    (
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+)$"),
    ),
)


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: dates and times of day stay strings, a key stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if key_node.tag != "tag:yaml.org,2002:merge" and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _own_resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    replaced = {"timestamp", "int", "float"}
    resolvers = {
        first: [(tag, pattern) for tag, pattern in known if tag.rsplit(":", 1)[1] not in replaced]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for first in "-+.0123456789":
        resolvers.setdefault(first, []).extend(_NUMBERS)
    return resolvers


# PyYAML would read 13:00 as a number to base 60 and 2026-12-24 as a date, and would leave 1e-3 a string.
_Loader.yaml_implicit_resolvers = _own_resolvers()
