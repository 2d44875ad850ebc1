"""What a broker can answer: a value, a confirmed nothing, or unknown. Unknown changes no state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Value(Generic[T]):
    """The broker said this."""

    value: T


@dataclass(frozen=True, slots=True)
class ConfirmedEmpty:
    """The broker said, for certain, that there is nothing."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The broker did not answer, or not in a way to rely on; `why` is one clause for people."""

    why: str


Answer: TypeAlias = Value[T] | ConfirmedEmpty | Unknown
