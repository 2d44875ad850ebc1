"""Values that are made quickly are the dataclasses that they were, but for the time that it takes."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest

from openbell.domain.orders import Intent
from openbell.domain.records import quick


@dataclass(frozen=True, slots=True)
class Plain:
    """What `Quick` would be without."""

    name: str
    count: int = 3
    tags: list[str] = field(default_factory=list)
    note: str = field(default="", compare=False)


@quick
@dataclass(frozen=True, slots=True)
class Quick:
    """Every kind of field."""

    name: str
    count: int = 3
    tags: list[str] = field(default_factory=list)
    note: str = field(default="", compare=False)


@quick
@dataclass(frozen=True, slots=True)
class Checked:
    """One that looks at what it was given."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("count is below 0")


def test_it_is_made_as_before() -> None:
    for arguments, named in ((("a",), {}), (("a", 4, ["x"]), {"note": "n"}), ((), {"tags": ["y"], "name": "b"})):
        plain, made = Plain(*arguments, **named), Quick(*arguments, **named)  # type: ignore[arg-type]
        assert repr(made) == repr(plain).replace("Plain", "Quick")
        assert [getattr(made, each.name) for each in fields(made)] == [getattr(plain, e.name) for e in fields(plain)]
    assert Quick("a").tags is not Quick("a").tags
    assert str(inspect.signature(Quick)).count("=") == str(inspect.signature(Plain)).count("=")


@pytest.mark.parametrize("arguments", [(), ("a", 1, [], "", "more")])
def test_what_is_missing_or_too_much_is_refused(arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        Quick(*arguments)  # type: ignore[arg-type]


def test_it_stays_frozen_and_has_no_other_fields() -> None:
    made = Quick("a")
    with pytest.raises(FrozenInstanceError):
        made.count = 4  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del made.count
    assert not hasattr(made, "__dict__")


def test_it_compares_hashes_copies_and_is_replaced_as_before() -> None:
    made = Quick("a", note="one")
    assert made == Quick("a", note="other") != Quick("b")
    assert hash(Checked(1)) == hash(Checked(1))
    assert replace(made, count=5) == Quick("a", 5)
    assert copy.copy(made) == copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made  # noqa: S301


def test_what_is_checked_at_the_making_is_checked() -> None:
    assert Checked(1).count == 1
    with pytest.raises(ValueError, match="below 0"):
        Checked(-1)


def test_a_class_that_it_does_not_fit_is_refused() -> None:
    @dataclass
    class WithoutSlots:
        name: str

    @dataclass(frozen=True, slots=True, kw_only=True)
    class ByName:
        name: str

    for cls in (WithoutSlots, ByName):
        with pytest.raises(TypeError, match=f"{cls.__name__}.name has no slot, or is no positional argument"):
            quick(cls)


def test_an_intent_says_where_an_argument_is_missing() -> None:
    with pytest.raises(TypeError, match=r"Intent.__init__\(\) missing 12 required positional arguments"):
        Intent()  # type: ignore[call-arg]
