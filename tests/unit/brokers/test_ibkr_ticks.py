"""When a price is one to rely on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.brokers.ibkr.ticks import DELAY_SECONDS, STALE_SECONDS, DataType, Ticks
from openbell.domain.answers import Answer, Unknown, Value
from openbell.domain.bars import Quote

NOW = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)
BID, ASK, LAST = 1, 2, 4
DELAYED_BID, DELAYED_ASK, DELAYED_LAST = 66, 67, 68


def ticks(*told: tuple[int, float], at: float = 0.0, kind: DataType = DataType.LIVE) -> Ticks:
    found = Ticks("AAPL")
    found.told_type(kind)
    for tick, price in told:
        found.price(tick, price, NOW, at)
    return found


def quote(found: Ticks, at: float = 0.0, *, allow_delayed: bool = False) -> Quote:
    answer = found.quote(at, allow_delayed=allow_delayed)
    assert isinstance(answer, Value), answer
    return answer.value


def why(answer: Answer[Quote]) -> str:
    assert isinstance(answer, Unknown)
    return answer.why


def test_a_quote_is_the_book_and_the_last_trade() -> None:
    assert quote(ticks((BID, 99.99), (ASK, 100.01), (LAST, 100.0))) == Quote("AAPL", NOW, 100.0, 99.99, 100.01)


@pytest.mark.parametrize(("last", "price"), [(98.0, 99.0), (103.0, 101.0), (100.5, 100.5), (0.0, 100.0), (-1.0, 100.0)])
def test_the_price_lies_within_the_book(last: float, price: float) -> None:
    assert quote(ticks((BID, 99.0), (ASK, 101.0), (LAST, last))).price == price


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ((), "no price has come yet"),
        (((BID, 100.0),), "no price has come yet"),
        (((BID, -1.0), (ASK, 100.0)), "there is no bid"),
        (((BID, 100.0), (ASK, 0.0)), "there is no ask"),
        (((BID, -1.0), (ASK, -1.0)), "there is no bid and no ask"),
        (((BID, 101.0), (ASK, 100.0)), "crossed: bid 101 over ask 100"),
        (((BID, float("inf")), (ASK, 100.0)), "there is no bid"),
    ],
)
def test_a_book_that_is_missing_or_crossed_is_unknown(told: tuple[tuple[int, float], ...], said: str) -> None:
    assert said in why(ticks(*told).quote(0.0, allow_delayed=False))


def test_a_locked_book_is_a_price() -> None:
    assert quote(ticks((BID, 100.0), (ASK, 100.0))).price == 100.0


def test_a_price_goes_stale_and_another_renews_it() -> None:
    found = ticks((BID, 99.0), (ASK, 101.0))
    assert quote(found, STALE_SECONDS).bid == 99.0
    assert "the last price came 121 s ago" in why(found.quote(STALE_SECONDS + 1, allow_delayed=False))
    found.price(BID, 99.5, NOW, STALE_SECONDS + 1)
    assert quote(found, STALE_SECONDS + 2).bid == 99.5


def test_after_a_doubt_only_what_comes_then_counts() -> None:
    found = ticks((BID, 99.0), (ASK, 101.0), (LAST, 100.0))
    found.doubt()
    assert not found.has_both_sides
    found.price(BID, 98.0, NOW, 1.0)
    assert "no price" in why(found.quote(1.0, allow_delayed=False)), "the other side may be as old as before"
    found.price(ASK, 99.0, NOW, 1.0)
    assert quote(found, 1.0).price == 98.5


def test_a_halted_stock_has_no_price_until_it_trades_again() -> None:
    found = ticks((BID, 99.0), (ASK, 101.0))
    found.value(49, 2.0)
    assert "halted" in why(found.quote(0.0, allow_delayed=False))
    found.value(49, 0.0)
    assert quote(found).bid == 99.0
    found.value(49, -1.0)
    found.value(50, 1.0)
    assert quote(found).bid == 99.0, "not known is not halted, and another tick is another thing"


def test_delayed_prices_are_given_where_that_is_allowed_and_with_their_age() -> None:
    found = ticks((DELAYED_BID, 99.0), (DELAYED_ASK, 101.0), (DELAYED_LAST, 100.0), kind=DataType.DELAYED)
    assert "delayed" in why(found.quote(0.0, allow_delayed=False))
    assert quote(found, allow_delayed=True).time == NOW - timedelta(seconds=DELAY_SECONDS)


def test_prices_of_the_last_close_are_no_prices_of_now() -> None:
    found = ticks((BID, 99.0), (ASK, 101.0), kind=DataType.FROZEN)
    assert "last close" in why(found.quote(0.0, allow_delayed=True))


def test_a_type_that_nobody_knows_is_not_told() -> None:
    found = ticks((BID, 99.0), (ASK, 101.0))
    found.told_type(9)
    assert found.type is DataType.NOT_TOLD


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 4, 6, 9, 66, 67, 68]), st.floats(-2, 200)), max_size=20),
    st.sampled_from(DataType),
    st.booleans(),
    st.floats(0, 500),
)
def test_whatever_is_told_a_quote_is_a_book_that_is_not_crossed(
    told: list[tuple[int, float]], kind: DataType, allowed: bool, later: float
) -> None:
    answer = ticks(*told, kind=kind).quote(later, allow_delayed=allowed)
    if isinstance(answer, Value):
        found = answer.value
        assert 0 < found.bid <= found.price <= found.ask
        assert later <= STALE_SECONDS
        assert kind is not DataType.FROZEN
        assert allowed or kind in {DataType.LIVE, DataType.NOT_TOLD}
