"""What the tables are made of: types of columns, and rules that a row must keep.

Where SQLite and PostgreSQL say a rule differently, each has its own words. Migrations use these too, so a change of
one changes history: add another instead.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Dialect, Integer, Text, TypeDecorator
from sqlalchemy.types import TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 UTC, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC time of `to_micros`."""
    return _EPOCH + micros * _MICROSECOND


class Micros(TypeDecorator[datetime]):
    """An aware datetime as an integer; a naive one is refused by the subtraction itself."""

    impl = Integer
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        # A strict table of SQLite knows INTEGER alone, which has 64 bits there.
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_micros(value)


class DecimalText(TypeDecorator[Decimal]):
    """A finite Decimal as plain text (no exponent): what was written is read back digit for digit."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        if not value.is_finite():
            raise ValueError(f"{value} is not a finite number")
        return format(value, "f")

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """The column holds the value of a member."""
    names = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({names})", name=f"{column}_known")


def check(name: str, condition: str) -> CheckConstraint:
    """A rule in words that both databases understand."""
    return CheckConstraint(condition, name=name)


def either(name: str, *, sqlite: str, postgresql: str) -> tuple[CheckConstraint, CheckConstraint]:
    """One rule in the words of either database; a table gets the one that it understands."""
    both = check(name, sqlite), check(name, postgresql)
    for rule, dialect in zip(both, ("sqlite", "postgresql"), strict=True):
        rule.ddl_if(dialect=dialect)
    return both


def number(column: str, condition: str = "") -> tuple[CheckConstraint, CheckConstraint]:
    """Text that is a plain decimal number, and perhaps positive or not negative."""
    plain = f"{column} NOT GLOB '*[^0-9.-]*' AND {column} GLOB '*[0-9]*'"
    posix = f"{column} ~ '^-?[0-9]+([.][0-9]+)?$'"
    return either(
        f"{column}_number",
        sqlite=f"{plain} AND CAST({column} AS REAL) {condition}" if condition else plain,
        postgresql=f"{posix} AND CAST({column} AS NUMERIC) {condition}" if condition else posix,
    )


def is_json(column: str) -> tuple[CheckConstraint, CheckConstraint]:
    """The column holds a JSON text."""
    return either("is_json", sqlite=f"json_valid({column})", postgresql=f"CAST({column} AS JSONB) IS NOT NULL")
