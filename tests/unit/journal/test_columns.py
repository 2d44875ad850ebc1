"""What the tables are made of: types that lose nothing, and rules in the words of either database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, create_engine, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateTable

from fakes.values import T0
from openbell.journal.columns import (
    DecimalText,
    Micros,
    check,
    either,
    from_micros,
    is_json,
    number,
    one_of,
    to_micros,
)


class Mood(StrEnum):
    GOOD = "Good"
    BAD = "Bad"


def notes() -> Table:
    """A table of every kind of rule, made anew."""
    return Table(
        "notes",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("mood", Text),
        Column("plain", Text),
        Column("positive", DecimalText),
        Column("document", Text, default="{}", nullable=False),
        Column("at", Micros),
        one_of("mood", Mood),
        check("not_seven", "id <> 7"),
        *number("plain"),
        *number("positive", "> 0"),
        *is_json("document"),
        sqlite_strict=True,
    )


@pytest.fixture
def database() -> Iterator[tuple[Connection, Table]]:
    engine = create_engine("sqlite://")
    table = notes()
    with engine.connect() as connection:
        table.metadata.create_all(connection)
        yield connection, table
    engine.dispose()


@pytest.mark.parametrize(
    "row",
    [
        {"mood": "Good"},
        {"mood": "Bad"},
        {"plain": "0"},
        {"plain": "-12.50"},
        {"positive": Decimal("0.01")},
        {"positive": None},
        {"document": '{"a": [1]}'},
    ],
)
def test_a_row_that_keeps_the_rules_is_written(database: tuple[Connection, Table], row: dict[str, Any]) -> None:
    connection, table = database
    connection.execute(insert(table).values(row))
    (name,) = row
    assert connection.execute(select(table.c[name])).scalar_one() == row[name]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"mood": "Fair"}, "mood_known"),
        ({"id": 7}, "not_seven"),
        ({"plain": "1e3"}, "plain_number"),
        ({"plain": ""}, "plain_number"),
        ({"plain": "."}, "plain_number"),
        ({"positive": Decimal(0)}, "positive_number"),
        ({"positive": Decimal("-0.01")}, "positive_number"),
        ({"document": "{"}, "is_json"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused_by_its_name(
    database: tuple[Connection, Table], row: dict[str, Any], rule: str
) -> None:
    connection, table = database
    with pytest.raises(IntegrityError, match=f"CHECK constraint failed: {rule}$|CHECK constraint failed: {rule}\n"):
        connection.execute(insert(table).values(row))


def words(dialect: Any) -> str:
    return " ".join(str(CreateTable(notes()).compile(dialect=dialect)).split())


def test_sqlite_has_the_rules_in_its_words() -> None:
    text = words(sqlite.dialect())  # type: ignore[no-untyped-call]
    for rule in (
        "CONSTRAINT mood_known CHECK (mood IN ('Good', 'Bad'))",
        "CONSTRAINT not_seven CHECK (id <> 7)",
        "CONSTRAINT plain_number CHECK (plain NOT GLOB '*[^0-9.-]*' AND plain GLOB '*[0-9]*')",
        "CONSTRAINT positive_number CHECK (positive NOT GLOB '*[^0-9.-]*' AND positive GLOB '*[0-9]*' "
        "AND CAST(positive AS REAL) > 0)",
        "CONSTRAINT is_json CHECK (json_valid(document))",
    ):
        assert text.count(rule) == 1
    assert text.count("CONSTRAINT") == 5
    assert "at INTEGER" in text


def test_postgresql_has_the_same_rules_in_its_words() -> None:
    text = words(postgresql.dialect())  # type: ignore[no-untyped-call]
    for rule in (
        "CONSTRAINT mood_known CHECK (mood IN ('Good', 'Bad'))",
        "CONSTRAINT not_seven CHECK (id <> 7)",
        "CONSTRAINT plain_number CHECK (plain ~ '^-?[0-9]+([.][0-9]+)?$')",
        "CONSTRAINT positive_number CHECK (positive ~ '^-?[0-9]+([.][0-9]+)?$' AND CAST(positive AS NUMERIC) > 0)",
        "CONSTRAINT is_json CHECK (CAST(document AS JSONB) IS NOT NULL)",
    ):
        assert text.count(rule) == 1
    assert text.count("CONSTRAINT") == 5
    assert "at BIGINT" in text


def test_either_rule_has_one_name() -> None:
    assert [str(rule.name) for rule in either("odd", sqlite="a % 2", postgresql="mod(a, 2) = 1")] == ["odd", "odd"]


@pytest.mark.parametrize(
    ("moment", "micros"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC), 1_000_001),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), -1),
    ],
)
def test_a_time_is_microseconds_since_1970_and_back(moment: datetime, micros: int) -> None:
    assert to_micros(moment) == micros
    assert from_micros(micros) == moment


def test_times_and_decimals_are_read_back_as_they_were_written(database: tuple[Connection, Table]) -> None:
    connection, table = database
    moment = T0 + timedelta(microseconds=1)
    connection.execute(insert(table).values(id=1, at=moment, positive=Decimal("1E+3")))
    connection.execute(insert(table).values(id=2))
    rows = connection.execute(select(table.c.at, table.c.positive).order_by(table.c.id)).all()
    assert rows == [(moment, Decimal(1000)), (None, None)]
    assert connection.exec_driver_sql("SELECT positive FROM notes WHERE id = 1").scalar_one() == "1000"


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_what_is_no_finite_number_is_not_written(database: tuple[Connection, Table], value: str) -> None:
    connection, table = database
    with pytest.raises(Exception, match=f"{value} is not a finite number"):
        connection.execute(insert(table).values(positive=Decimal(value)))
