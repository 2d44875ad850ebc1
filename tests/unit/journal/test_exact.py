"""What is recorded is read back equal, to the last digit, for every value that a decision depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.values import make_signal
from openbell.domain.bars import Quote
from openbell.domain.orders import Side
from openbell.domain.positions import Position
from openbell.domain.reasons import Reason
from openbell.domain.signals import Signal
from openbell.engine.cycle import Tick
from openbell.journal.exact import InexactError, decode, encode
from openbell.risk.view import RiskView

DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
FLOATS = st.floats(allow_nan=False)
TIMES = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5)), timezone(timedelta(minutes=330))]))


@dataclass(frozen=True, slots=True)
class Everything:
    """One field of every kind."""

    money: Decimal
    ratio: float
    moment: datetime
    day: date
    hour: time
    length: timedelta
    side: Side
    pair: tuple[str, int]
    many: tuple[Decimal, ...]
    names: frozenset[str]
    by_pair: Mapping[tuple[str, Side], datetime]
    price: Decimal | Quote | None = None
    flag: bool = False
    nested: Mapping[str, tuple[datetime, ...]] = field(default_factory=lambda: MappingProxyType({}))


everything = st.builds(
    Everything,
    money=DECIMALS,
    ratio=FLOATS,
    moment=TIMES,
    day=st.dates(),
    hour=st.times(),
    length=st.timedeltas(),
    side=st.sampled_from(Side),
    pair=st.tuples(st.text(), st.integers()),
    many=st.lists(DECIMALS).map(tuple),
    names=st.frozensets(st.text()),
    by_pair=st.dictionaries(st.tuples(st.text(), st.sampled_from(Side)), TIMES),
    price=st.none() | DECIMALS | st.builds(Quote, st.text(), TIMES, FLOATS, FLOATS, FLOATS),
    flag=st.booleans(),
    nested=st.dictionaries(st.text(), st.lists(TIMES).map(tuple)),
)


def through_text(value: Any, kind: Any) -> Any:
    return decode(kind, json.loads(json.dumps(encode(value))))


@given(everything)
def test_a_value_of_every_kind_is_read_back_equal(value: Everything) -> None:
    back = through_text(value, Everything)
    assert back == value
    assert (str(back.money), repr(back.ratio)) == (str(value.money), repr(value.ratio))
    assert back.moment.utcoffset() == timedelta(0)


@pytest.mark.parametrize("kind", [Position, RiskView, Signal, Tick])
def test_every_value_that_a_decision_depends_on_has_an_exact_form(kind: type[Any]) -> None:
    @settings(max_examples=15, suppress_health_check=list(HealthCheck))
    @given(st.from_type(kind))
    def check(value: object) -> None:
        back = through_text(value, kind)
        assert isinstance(back, kind)
        assert json.dumps(encode(back)) == json.dumps(encode(value))  # as text, for which NaN equals itself

    check()


def test_a_time_without_a_zone_stays_without_one() -> None:
    value = Quote("A", datetime(2026, 3, 2, 15), 1.0, 1.0, 1.0)  # noqa: DTZ001 - what a faulty source gives
    assert through_text(value, Quote) == value


def test_a_field_that_a_class_got_later_takes_its_default() -> None:
    plain = encode(make_signal())
    del plain["priority"]
    assert decode(Signal, plain) == make_signal()


@pytest.mark.parametrize("value", [object(), 1j, {1: object()}])
def test_what_has_no_exact_form_is_refused(value: object) -> None:
    with pytest.raises(InexactError):
        encode(value)


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        (Decimal, 1.5),
        (Decimal, "one"),
        (int, True),
        (float, "1"),
        (datetime, 7),
        (Side, "Hold"),
        (Quote, {"=": "Signal"}),
        (Quote, {"=": "Quote", "symbol": "A"}),
        (tuple[str, int], ["a"]),
        (tuple[str, ...], "a"),
        (Reason | None, "NEVER"),
        (object, "x"),
    ],
)
def test_a_document_of_another_type_is_refused(kind: Any, plain: object) -> None:
    with pytest.raises(InexactError):
        decode(kind, plain)
