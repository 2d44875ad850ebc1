"""Layouts of long messages as data, read and written by one small interpreter.

A layout is a sequence of items: a name stands for one field, `Since`/`Before` for items that depend on the negotiated
version, `When` for items that depend on what was read so far, `Counted` for a count and so many groups of fields.
Values stay text: the gateway echoes most of what an order carries and understands little of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from openbell.gateway.errors import FieldError
from openbell.gateway.wire.fields import integer, left_out

Group: TypeAlias = tuple[str, ...]
# What people name is never a number that was left out, whatever it looks like.
_NAMED = frozenset({"orderRef", "ocaGroup", "account", "modelCode", "symbol", "localSymbol"})


@dataclass(frozen=True, slots=True)
class Record:
    """Named texts, and named lists of groups."""

    texts: Mapping[str, str]
    groups: Mapping[str, tuple[Group, ...]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")


@dataclass(frozen=True, slots=True)
class Since:
    """Items that are there from a version on."""

    version: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Before:
    """Items that are there below a version."""

    version: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class When:
    """Items that are there when what came before says so."""

    test: Callable[[Mapping[str, str]], bool]
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """A count, and so many groups of `width` fields; where the first field of a group decides, `widths` says by it."""

    name: str
    width: int = 0
    widths: Mapping[str, int] = field(default_factory=dict)
    after: tuple[Item, ...] = ()  # items that follow when there is at least one group


Item: TypeAlias = str | Since | Before | When | Counted
Layout: TypeAlias = tuple[Item, ...]


def names(text: str) -> tuple[str, ...]:
    """Field names written in one string."""
    return tuple(text.split())


def named(layout: Layout) -> frozenset[str]:
    """The names of all single fields of a layout, whatever they depend on."""
    found: set[str] = set()
    for item in layout:
        match item:
            case str():
                found.add(item)
            case Counted(after=items) | Since(items=items) | Before(items=items) | When(items=items):
                found |= named(items)
    return frozenset(found)


def read(layout: Layout, fields: Sequence[str], version: int) -> tuple[Record, int]:
    """The record that `fields` hold, and how many of them it took. Raises FieldError."""
    reader = _Reader(fields, version)
    reader.read(layout)
    return Record(reader.texts, reader.groups), reader.position


class _Reader:
    def __init__(self, fields: Sequence[str], version: int) -> None:
        self.texts: dict[str, str] = {}
        self.groups: dict[str, tuple[Group, ...]] = {}
        self.position = 0
        self._fields = fields
        self._version = version

    def read(self, layout: Layout) -> None:
        for item in layout:
            match item:
                case str():
                    value = self._take(item)
                    self.texts[item] = "" if item not in _NAMED and left_out(value) else value
                case Since(version, items):
                    self._maybe(self._version >= version, items)
                case Before(version, items):
                    self._maybe(self._version < version, items)
                case When(test, items):
                    self._maybe(test(self.texts), items)
                case Counted():
                    self._counted(item)

    def _maybe(self, there: bool, items: Layout) -> None:
        if there:
            self.read(items)

    def _counted(self, item: Counted) -> None:
        count = integer(self._take(item.name), item.name)
        if not 0 <= count <= len(self._fields) - self.position:
            raise FieldError(f"Unable to parse field: '{item.name}' counts {count}")
        groups = []
        for _ in range(count):
            width = item.width
            if item.widths:
                kind = self._fields[self.position] if self.position < len(self._fields) else ""
                if kind not in item.widths:
                    raise FieldError(f"Unable to parse field: '{item.name}' of kind '{kind[:8]}'")
                width = item.widths[kind]
            groups.append(tuple(self._take(item.name) for _ in range(width)))
        self.groups[item.name] = tuple(groups)
        self._maybe(bool(groups), item.after)

    def _take(self, name: str) -> str:
        if self.position >= len(self._fields):
            raise FieldError(f"Unable to read field: '{name}' is missing")
        self.position += 1
        return self._fields[self.position - 1]


def write(layout: Layout, record: Record, version: int) -> list[str]:
    """The fields of a record. Raises KeyError for a name that the record has not: a mistake of ours."""
    fields: list[str] = []
    for item in layout:
        match item:
            case str():
                fields.append(record.texts[item])
            case Since(since, items) if version >= since:
                fields += write(items, record, version)
            case Before(before, items) if version < before:
                fields += write(items, record, version)
            case When(test, items) if test(record.texts):
                fields += write(items, record, version)
            case Counted(name=name, after=after):
                groups = record.groups.get(name, ())
                fields.append(str(len(groups)))
                fields += [value for group in groups for value in group]
                if groups:
                    fields += write(after, record, version)
            case _:
                pass
    return fields
