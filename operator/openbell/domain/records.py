"""Values that are made quickly, for those of which every decision makes some.

A frozen dataclass sets its fields through `object.__setattr__`, which looks up each name anew; that took a third of the
time of a decision. A slot's own setter does the same at less than half the price. Everything else of the dataclass
stays: it is as frozen, compares, prints and is replaced as before.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

T = TypeVar("T")

_MISSING = object()


def quick(cls: type[T]) -> type[T]:
    """A dataclass that is frozen and has slots, with an `__init__` of the same signature that takes less time.

    Raises TypeError for a class that this does not fit: one whose fields are not all positional arguments.
    """
    found: tuple[Field[Any], ...] = fields(cls)  # type: ignore[arg-type]
    arguments, body = ["self"], []
    names: dict[str, object] = {"_MISSING": _MISSING}
    for each in found:
        setter = getattr(getattr(cls, each.name, None), "__set__", None)
        if setter is None or not each.init or each.kw_only:
            raise TypeError(f"{cls.__name__}.{each.name} has no slot, or is no positional argument")
        names[f"_set_{each.name}"] = setter
        value = each.name
        if each.default_factory is not MISSING:
            names[f"_make_{each.name}"] = each.default_factory
            arguments.append(f"{each.name}=_MISSING")
            value = f"_make_{each.name}() if {each.name} is _MISSING else {each.name}"
        elif each.default is not MISSING:
            names[f"_default_{each.name}"] = each.default
            arguments.append(f"{each.name}=_default_{each.name}")
        else:
            arguments.append(each.name)
        body.append(f" _set_{each.name}(self, {value})")
    if hasattr(cls, "__post_init__"):
        body.append(" self.__post_init__()")
    # As dataclasses do it: only code that names each field takes no loop over them.
    text = "\n".join([f"def __init__({', '.join(arguments)}):", *body])
    exec(compile(text, f"<{cls.__module__}.{cls.__qualname__}>", "exec"), names)  # noqa: S102
    made: Any = names["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__module__ = cls.__module__
    made.__annotations__ = getattr(cls, "__init__").__annotations__  # noqa: B009
    setattr(cls, "__init__", made)  # noqa: B010
    return cls
