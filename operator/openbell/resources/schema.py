"""Structural schemas, as the API server wants them, from the models' own JSON schema.

References are written out; there is no anyOf, title, const or additionalProperties: false; null means absent;
exclusive bounds are booleans. Every object above a default has a default of its own, so that nested defaults apply.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic.fields import FieldInfo

from openbell.resources.common import ALLOWED, Model, Rule

Schema = dict[str, Any]

_INT32_MAX = 2**31 - 1
_KEPT = (
    "type",
    "format",
    "pattern",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
)


@cache
def structural_schema(model: type[Model]) -> Schema:
    """The schema of a model, complete and without references. Not to be changed by who gets it."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _object(model, raw, raw.get("$defs", {}))


def _object(model: type[Model], raw: Schema, definitions: Schema) -> Schema:
    schema: Schema = {
        "type": "object",
        "description": " ".join((model.__doc__ or "").split()),
        "properties": {
            alias_of(name, field): _field(model, name, field, raw, definitions)
            for name, field in model.model_fields.items()
        },
    }
    required = [alias_of(name, field) for name, field in model.model_fields.items() if field.is_required()]
    if required:
        schema["required"] = required
    if model.rules:
        schema["x-kubernetes-validations"] = [validation(rule) for rule in model.rules]
    return schema


def alias_of(name: str, field: FieldInfo) -> str:
    """A field's name in YAML."""
    return field.alias or name


def model_in(field: FieldInfo) -> type[Model] | None:
    """The model that a field holds, alone or in a list; None where it holds plain values."""
    return _model_in(field.annotation)


def _model_in(annotation: Any) -> type[Model] | None:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    found = (_model_in(argument) for argument in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)


def validation(rule: Rule) -> Schema:
    """A rule as `x-kubernetes-validations` has it."""
    validation: Schema = {"rule": rule.cel, "message": rule.message, "reason": rule.reason}
    if rule.field_path:
        validation["fieldPath"] = rule.field_path
    return validation


def _field(model: type[Model], name: str, field: FieldInfo, parent: Schema, definitions: Schema) -> Schema:
    raw = _resolved(parent["properties"][alias_of(name, field)], definitions)
    schema = _value(raw, definitions, model_in(field))
    if field.description:
        schema["description"] = field.description
    default = None if field.is_required() else _default(model, name, field)
    if default is not None:
        schema["default"] = default
    return schema


def _value(raw: Schema, definitions: Schema, nested: type[Model] | None) -> Schema:
    raw = _resolved(raw, definitions)
    if nested is not None and raw.get("type") == "object":
        return _object(nested, raw, definitions)
    schema: Schema = {key: raw[key] for key in _KEPT if key in raw}
    schema |= {key: value for key, value in raw.items() if key.startswith("x-kubernetes-")}
    if schema.get("type") == "integer":
        schema["format"] = "int32" if schema.get("maximum", _INT32_MAX + 1) <= _INT32_MAX else "int64"
    if schema.get("type") == "number":
        schema["format"] = "double"
    for bound, key in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if key in raw:
            schema |= {bound: raw[key], key: True}
    if "items" in raw:
        schema["items"] = _value(raw["items"], definitions, nested)
    if isinstance(raw.get("additionalProperties"), Mapping):
        schema["additionalProperties"] = _value(raw["additionalProperties"], definitions, None)
    return schema


def _resolved(raw: Schema, definitions: Schema) -> Schema:
    """The schema behind references and `or null`."""
    while True:
        if "$ref" in raw:
            siblings = {key: value for key, value in raw.items() if key != "$ref"}
            raw = definitions[raw["$ref"].rsplit("/", 1)[1]] | siblings
        elif "anyOf" in raw:
            siblings = {key: value for key, value in raw.items() if key != "anyOf"}
            (wanted,) = (option for option in raw["anyOf"] if option.get("type") != "null")
            raw = wanted | siblings
        else:
            return raw


def _default(model: type[Model], name: str, field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Model):
        return spelled_default(value)
    holder = model.model_construct(_fields_set={name}, **{name: value})
    return holder.model_dump(mode="json", by_alias=True, include={name})[alias_of(name, field)]


def spelled_default(value: Model) -> Schema:
    """The default of an object: `{}`, or what its rules may read.

    The API server checks a default as it is written, before nested defaults are filled in, and refuses the whole
    CRD when a rule then reads a field that is not there.
    """
    if not value.rules:
        return {}
    written = value.to_manifest()
    for name, field in type(value).model_fields.items():
        inner = getattr(value, name)
        if isinstance(inner, Model):
            written[alias_of(name, field)] = spelled_default(inner)
    return written


def at_path(schema: Schema, location: Sequence[str | int]) -> Schema:
    """The schema of the field at a path of names and indexes; empty where there is none."""
    for part in location:
        if isinstance(part, int):
            schema = schema.get("items", {})
        else:
            schema = schema.get("properties", {}).get(part) or schema.get("additionalProperties", {})
    return schema


def describe(schema: Schema) -> str:
    """What a schema allows, as the end of a sentence that begins with "must be"."""
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}" if len(schema["enum"]) > 1 else str(schema["enum"][0])
    if schema.get("pattern") in ALLOWED:
        return ALLOWED[schema["pattern"]]
    match schema.get("type"):
        case "integer":
            return "an integer" + _range(schema)
        case "number":
            return "a number" + _range(schema)
        case "boolean":
            return "true or false"
        case "string" if "x-kubernetes-validations" in schema:
            message: str = schema["x-kubernetes-validations"][0]["message"]
            return message.removeprefix("must be ")
        case "string" if "maxLength" in schema:
            return f"a string of {schema.get('minLength', 0)} to {schema['maxLength']} characters"
        case "string":
            return "a string"
        case "array" if "maxItems" in schema:
            return f"a list of {schema.get('minItems', 0)} to {schema['maxItems']} items"
        case "array":
            return "a list"
        case _ if "maxProperties" in schema:
            return f"an object of at most {schema['maxProperties']} entries"
        case _:
            return "an object"


def _range(schema: Schema) -> str:
    if schema.get("exclusiveMinimum"):
        return f" above {schema['minimum']} and up to {schema['maximum']}"
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']} to {schema['maximum']}"
    return f" of at least {schema['minimum']}" if "minimum" in schema else ""
