"""What all resource models share: the base model, rules that pydantic and CEL both state, and field types."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from openbell.domain.money import text

GROUP = "openbell.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

RuleReason = Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule between fields, said twice: as CEL for the API server and as a Python check of the same meaning.

    `message` is what people read from either. `field_path` is the CEL path of the field at fault, relative to
    the object that carries the rule.
    """

    cel: str
    message: str
    check: Callable[[Any], bool]
    field_path: str = ""
    reason: RuleReason = "FieldValueInvalid"


def block_of(path: str, name: str, kind: StrEnum, attribute: str = "") -> tuple[Rule, Rule]:
    """`path`.`name` belongs to one value of `path`.type: required there, refused with any other.

    `attribute` is what the model calls it, where that is another name.
    The others are listed, so that a misspelt type has the one cause that it is misspelt.
    """
    others, held = [each.value for each in type(kind) if each is not kind], attribute or name
    return (
        Rule(
            cel=f"!(self.type in {others} && has(self.{name}))",
            message=f"{path}.{name} is only allowed when {path}.type is {kind.value}",
            check=lambda model: model.type is kind or getattr(model, held) is None,
            field_path=f".{name}",
            reason="FieldValueForbidden",
        ),
        Rule(
            cel=f"!(self.type == '{kind.value}' && !has(self.{name}))",
            message=f"{path}.{name} is required when {path}.type is {kind.value}",
            check=lambda model: model.type is not kind or getattr(model, held) is not None,
            field_path=f".{name}",
            reason="FieldValueRequired",
        ),
    )


def without_nulls(value: object) -> object:
    """A mapping without its null entries: the API server prunes them before it applies defaults."""
    if isinstance(value, Mapping):
        return {key: item for key, item in value.items() if item is not None}
    return value


class Model(BaseModel):
    """Base of every model: camelCase outside, frozen, nothing unknown, null means absent as in the API server."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, allow_inf_nan=False
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        known = {name for field_name, field in cls.model_fields.items() for name in (field_name, field.alias)}
        # An unknown field stays one, whatever it holds.
        return {key: item for key, item in value.items() if item is not None or key not in known}

    @model_validator(mode="after")
    def _rules_hold(self) -> Any:  # Self: pydantic wants the instance back
        for rule in self.rules:
            if not rule.check(self):
                raise PydanticCustomError("rule", "{message}", {"message": rule.message})
        return self

    def to_manifest(self) -> dict[str, Any]:
        """The model as it is written in YAML: camelCase, money as strings, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


ALLOWED: dict[str, str] = {}
"""What each pattern allows, in words."""


def matching(pattern: str, allowed: str) -> AfterValidator:
    """A validator for strings that must match the whole of `pattern` (RE2 and Python read it alike)."""
    ALLOWED[pattern] = allowed
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise PydanticCustomError("pattern", "must be {allowed}", {"allowed": allowed})
        return value

    return AfterValidator(check)


MONEY_PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,4})?$"
POSITIVE_MONEY_PATTERN = r"^[1-9][0-9]{0,14}(\.[0-9]{1,4})?$"


def _decimal(pattern: str, allowed: str) -> BeforeValidator:
    ALLOWED[pattern] = allowed
    compiled = re.compile(pattern)

    def check(value: object) -> Decimal:
        if isinstance(value, Decimal):
            value = text(value)
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise PydanticCustomError("pattern", "must be {allowed}", {"allowed": allowed})
        return Decimal(value)

    return BeforeValidator(check)


_as_text = PlainSerializer(text, return_type=str)

Money = Annotated[
    Decimal,
    _decimal(MONEY_PATTERN, 'a decimal string of zero or more, like "0.005"'),
    _as_text,
    WithJsonSchema({"type": "string", "pattern": MONEY_PATTERN, "maxLength": 20}),
]
"""An amount of zero or more in the account's currency."""

PositiveMoney = Annotated[
    Decimal,
    _decimal(POSITIVE_MONEY_PATTERN, 'a decimal string of one or more, like "25000"'),
    _as_text,
    WithJsonSchema({"type": "string", "pattern": POSITIVE_MONEY_PATTERN, "maxLength": 20}),
]
"""An amount of one or more in the account's currency."""

_DATE = re.compile(r"(19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}")
DATE_ALLOWED = "a date from 1900 to 2099, like 2026-12-24"


def _parse_date(value: object) -> date:
    problem = PydanticCustomError("date", "must be {allowed}", {"allowed": DATE_ALLOWED})
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise problem
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise problem from None


CalendarDate = Annotated[
    date,
    BeforeValidator(_parse_date),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date",
            "maxLength": 10,
            # Without a rule that reads it, the API server lets a list through where a format is given (1.34).
            "x-kubernetes-validations": [
                {
                    "rule": "self >= timestamp('1900-01-01T00:00:00Z') && self < timestamp('2100-01-01T00:00:00Z')",
                    "message": f"must be {DATE_ALLOWED}",
                }
            ],
        }
    ),
]

Moment = Annotated[
    datetime,
    PlainSerializer(lambda moment: moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A time of the status, aware, written in UTC to the second."""


def _whole(value: object) -> object:
    # JSON knows one kind of number: to the API server 60.0 is the integer 60.
    return int(value) if isinstance(value, float) and value.is_integer() else value


whole = BeforeValidator(_whole)
"""For every integer field, as the last of its annotations."""

Bool = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0, le=2**53 - 1), whole]
Ratio = Annotated[float, Field(strict=True, ge=0, le=1)]
Confidence = Ratio
Text = Annotated[str, Field(strict=True, max_length=1024)]

SYMBOL_PATTERN = r"^[A-Z0-9]([A-Z0-9.-]{0,14}[A-Z0-9])?$"
Symbol = Annotated[
    str,
    Field(strict=True),
    matching(SYMBOL_PATTERN, "a symbol of 1 to 16 capitals, digits, dots and dashes, like AAPL or BRK.B"),
    WithJsonSchema({"type": "string", "pattern": SYMBOL_PATTERN, "maxLength": 16}),
]

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
ResourceName = Annotated[
    str,
    Field(strict=True),
    matching(NAME_PATTERN, "a name of at most 63 lower-case letters, digits and dashes"),
    WithJsonSchema({"type": "string", "pattern": NAME_PATTERN, "maxLength": 63}),
]

OPTIONAL_NAME_PATTERN = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$"
OptionalName = Annotated[
    str,
    Field(strict=True),
    matching(OPTIONAL_NAME_PATTERN, "empty or the name of an object"),
    WithJsonSchema({"type": "string", "pattern": OPTIONAL_NAME_PATTERN, "maxLength": 253}),
]

QUANTITY_PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,9})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"


def _quantity(value: object) -> object:
    # kubectl and the API server take a bare whole number too, as for any quantity.
    number = _whole(value)
    return str(number) if isinstance(number, int) and not isinstance(number, bool) else value


Quantity = Annotated[
    str,
    Field(strict=True),
    BeforeValidator(_quantity),
    matching(QUANTITY_PATTERN, "a quantity like 500m or 1Gi"),
    WithJsonSchema(
        {"x-kubernetes-int-or-string": True, "pattern": QUANTITY_PATTERN, "minimum": 0, "maximum": 10**15 - 1}
    ),
]

FreeObject = Annotated[
    dict[str, JsonValue],
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]
"""An object whose content another schema than ours decides."""


def one_of(choice: type[StrEnum]) -> WithJsonSchema:
    """The schema of a field that decides what its object is, as a rule instead of an enum.

    After a value that an enum does not hold the API server adds that further rules were not checked, so that a
    person reads two messages for one mistake. This way it is one.
    """
    names = [member.value for member in choice]
    listed = ", ".join(f"'{name}'" for name in names)
    message = f"must be one of {', '.join(names)}"
    # The API server shows the kind of a value that a rule refuses, not the value.
    rule = {"rule": f"self in [{listed}]", "message": message, "messageExpression": f"'{message}; it is ' + self"}
    return WithJsonSchema({"type": "string", "maxLength": 32, "x-kubernetes-validations": [rule]})


def no_duplicates(key: Callable[[Any], object], message: str) -> AfterValidator:
    """A validator for lists that the API server treats as a set or as a map by key."""

    def check(items: tuple[Any, ...]) -> tuple[Any, ...]:
        seen: set[object] = set()
        for item in items:
            if key(item) in seen:
                raise PydanticCustomError("duplicate", "{message}", {"message": message.format(key(item))})
            seen.add(key(item))
        return items

    return AfterValidator(check)


def list_type(kind: Literal["set", "map", "atomic"], *keys: str) -> dict[str, Any]:
    """`json_schema_extra` of a list field: how the API server merges it."""
    extra: dict[str, Any] = {"x-kubernetes-list-type": kind}
    if keys:
        extra["x-kubernetes-list-map-keys"] = list(keys)
    return extra
