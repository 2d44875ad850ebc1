"""Tables and statements compile for both databases, each in its own words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Column, Dialect, Integer, MetaData, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from openbell.journal import schema
from openbell.journal.dialects import insert_new, insert_or_replace

DIALECTS: dict[str, Dialect] = {"sqlite": sqlite.dialect(), "postgresql": postgresql.dialect()}  # type: ignore[no-untyped-call]
TABLES = list(schema.metadata.sorted_tables)


def words(element: Any, dialect: str) -> str:
    return " ".join(str(element.compile(dialect=DIALECTS[dialect])).split())


def on(dialect: str) -> Any:
    return SimpleNamespace(dialect=DIALECTS[dialect])


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_has_each_rule_once_and_none_of_the_other_databases_words(table: Any, dialect: str) -> None:
    text = words(CreateTable(table), dialect)
    text += "".join(words(CreateIndex(index), dialect) for index in table.indexes)
    foreign = {"sqlite": ("BIGINT", "NUMERIC", " ~ ", "JSONB"), "postgresql": ("GLOB", "json_valid", "STRICT", "REAL")}
    assert not [word for word in foreign[dialect] if word in text]
    rules = [str(rule.name) for rule in table.constraints if rule.name]
    assert {text.count(f"CONSTRAINT {rule} ") for rule in rules} <= {1}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_row_is_inserted_once_or_replaced_in_the_words_of_the_connections_database(dialect: str) -> None:
    new = insert_new(on(dialect), schema.fills)
    replaced = insert_or_replace(on(dialect), schema.parameters)
    assert type(replaced).__module__.split(".")[2] == dialect
    key = {"sqlite": "execution_id", "postgresql": "fills.execution_id"}[dialect]
    assert words(new, dialect).endswith(f"ON CONFLICT DO NOTHING RETURNING {key}")
    assert words(replaced, dialect).endswith(
        "ON CONFLICT (strategy) DO UPDATE SET type = excluded.type, document = excluded.document, "
        "updated_at = excluded.updated_at"
    )
    assert insert_new(on(dialect), schema.fills) is new, "built once"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_statements_of_a_table_are_built_for_its_keys_and_columns(dialect: str) -> None:
    table = Table("notes", MetaData(), *(Column(name, Integer, primary_key=name < "c") for name in "abcd"))
    new, replaced = insert_new(on(dialect), table), insert_or_replace(on(dialect), table)
    assert type(new.table) is Table
    assert {type(each).__module__.split(".")[2] for each in (new, replaced)} == {dialect}
    assert [column.name for column in new.exported_columns] == ["a", "b"]
    assert words(replaced, dialect).endswith("ON CONFLICT (a, b) DO UPDATE SET c = excluded.c, d = excluded.d")
