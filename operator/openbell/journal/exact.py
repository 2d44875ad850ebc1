"""Frozen values as plain JSON values, exactly: what is decoded equals what was encoded, to the last digit.

Decoding is led by the type hints of the dataclasses, so that a class which gets a field needs nothing here. Decimals
are text, floats are written by their shortest exact form, aware times are UTC. A field that is missing takes its
default: an older document of a class that has grown stays readable.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Collection, Mapping, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar, cast

from openbell.domain.errors import OpenbellError

T = TypeVar("T")
Plain: TypeAlias = Any
"""None, bool, int, float, str, or a list or dict of such."""

CLASS = "="  # the key under which a dataclass's name stands: no field can be called so


class InexactError(OpenbellError):
    """A value that cannot be written so that it is read back equal, or a document that is not of the type asked for."""


def encode(value: object) -> Plain:
    """Plain values for `value`. Raises InexactError for a type that has no exact form here."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | str | float):
        return value
    if isinstance(value, Decimal | date | time):
        return _text(value)
    if isinstance(value, timedelta):
        return [value.days, value.seconds, value.microseconds]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {CLASS: type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return [[encode(key), encode(item)] for key, item in value.items()]
    if isinstance(value, Set):
        return sorted((encode(item) for item in value), key=repr)
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    raise InexactError(f"{type(value).__name__} {value!r:.60} has no exact form")


def _text(value: Decimal | date | time) -> str:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat()
    return value.isoformat()


def decode(kind: type[T], plain: Plain) -> T:
    """The value of type `kind` that `plain` was made from. Raises InexactError where it is not of that type."""
    try:
        return cast("T", _decode(kind, plain))
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise InexactError(f"a recorded value is no {getattr(kind, '__name__', kind)}: {error!r:.200}") from error


def _decode(kind: Any, plain: Plain) -> Any:
    origin = typing.get_origin(kind)
    if origin in {types.UnionType, typing.Union}:
        return _one_of(typing.get_args(kind), plain)
    if origin is not None:
        return _decode_generic(origin, typing.get_args(kind), plain)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, plain)
    return _decode_scalar(kind, plain)


def _decode_scalar(kind: Any, plain: Plain) -> Any:
    if kind is type(None):
        return _is(plain, type(None))
    if kind is bool or kind is str:
        return _is(plain, kind)
    if kind is int or kind is float:
        allowed = int if kind is int else (int, float)
        if isinstance(plain, bool) or not isinstance(plain, allowed):
            raise TypeError(f"{plain!r} is no {kind.__name__}")
        return plain
    if kind is timedelta:
        days, seconds, microseconds = plain
        return timedelta(days, seconds, microseconds)
    if kind is Decimal:
        return Decimal(_is(plain, str))
    if kind in {datetime, date, time}:
        return kind.fromisoformat(_is(plain, str))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(plain)
    raise TypeError(f"{kind!r} is not a type that is recorded")


def _is(plain: Plain, kind: type) -> Any:
    if not isinstance(plain, kind):
        raise TypeError(f"{plain!r} is no {kind.__name__}")
    return plain


def _decode_generic(origin: Any, arguments: tuple[Any, ...], plain: Plain) -> Any:
    if not isinstance(plain, list):
        raise TypeError(f"{plain!r} is no list")
    if issubclass(origin, Mapping):
        key_kind, item_kind = arguments
        return MappingProxyType({_decode(key_kind, key): _decode(item_kind, item) for key, item in plain})
    if issubclass(origin, Set):
        return frozenset(_decode(arguments[0], item) for item in plain)
    if issubclass(origin, tuple):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_decode(arguments[0], item) for item in plain)
        if len(arguments) != len(plain):
            raise TypeError(f"{plain!r} has not {len(arguments)} items")
        return tuple(_decode(kind, item) for kind, item in zip(arguments, plain, strict=True))
    if issubclass(origin, Collection):
        return tuple(_decode(arguments[0], item) for item in plain)
    raise TypeError(f"{origin!r} is not a type that is recorded")


def _decode_dataclass(kind: Any, plain: Plain) -> Any:
    if not isinstance(plain, dict) or plain.get(CLASS) != kind.__name__:
        raise TypeError(f"{plain!r:.80} is no {kind.__name__}")
    hints = _hints(kind)
    return kind(**{name: _decode(hints[name], item) for name, item in plain.items() if name != CLASS})


def _one_of(kinds: tuple[Any, ...], plain: Plain) -> Any:
    if plain is None and type(None) in kinds:
        return None
    for kind in kinds:
        if kind is not type(None):
            try:
                return _decode(kind, plain)
            except (ValueError, TypeError, KeyError, ArithmeticError):
                continue
    raise TypeError(f"{plain!r:.80} is none of {', '.join(str(kind) for kind in kinds)}")


@lru_cache(maxsize=256)
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)
