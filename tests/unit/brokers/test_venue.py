"""The venue's rules for any order and any price."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fakes.random_trading import START, TradedAtRandom, market
from openbell.brokers.simulated.venue import REMEMBERED, Terms, Venue
from openbell.domain.bars import Quote
from openbell.domain.money import cents
from openbell.domain.orders import Fill, IntentState, OrderType, OrderUpdate, Side, TimeInForce

FREE = Terms(spread_bps=0.0, slippage_bps=0.0, commission_per_share=Decimal(0), minimum_commission=Decimal(0))


def quote(symbol: str, seconds: float, at: float) -> Quote:
    return Quote(symbol, START + timedelta(seconds=seconds), at, at, at)


TestTradedAtRandom = TradedAtRandom.TestCase


@given(st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 200)), min_size=1, max_size=30))
def test_equity_moves_only_with_prices_and_costs(trades: list[tuple[int, int]]) -> None:
    """Trading itself, without spread, slippage and commission, neither makes nor loses money."""
    venue = Venue("V", 1, replace(FREE, starting_cash=Decimal(10_000_000)))
    equity, last = Decimal(10_000_000), None
    for number, (quantity, at) in enumerate(trades):
        held = venue.ledger("a").quantity("AAPL")
        if last is not None:
            equity += held * (at - last)
        last = at
        side = Side.BUY if quantity > 0 else Side.SELL
        venue.submit("a", market(f"r{number}", side, abs(quantity)), START + timedelta(seconds=number))
        venue.on_quote(quote("AAPL", number + 0.5, float(at)))
        assert venue.account("a").equity == equity


def test_the_average_price_moves_only_where_a_side_grows() -> None:
    venue = Venue("V", 1, FREE)
    steps = [
        (Side.BUY, 10, 100.0, 10, "100"),
        (Side.BUY, 10, 110.0, 20, "105"),
        (Side.SELL, 5, 120.0, 15, "105"),
        (Side.SELL, 25, 90.0, -10, "90"),
        (Side.SELL, 10, 100.0, -20, "95"),
        (Side.BUY, 5, 80.0, -15, "95"),
    ]
    for number, (side, quantity, at, held, average) in enumerate(steps):
        venue.submit("a", market(f"r{number}", side, quantity), START + timedelta(seconds=number))
        venue.on_quote(quote("AAPL", number + 0.5, at))
        (position,) = venue.positions("a")
        assert (position.quantity, position.average_price) == (Decimal(held), Decimal(average))
    venue.submit("a", market("flat", Side.BUY, 15), START + timedelta(seconds=100))
    venue.on_quote(quote("AAPL", 101, 90.0))
    assert venue.positions("a") == ()


def test_a_quote_of_the_arrival_s_own_instant_does_not_fill() -> None:
    venue = Venue("V", 1, FREE)
    venue.submit("a", market("r", Side.BUY, 1), START)
    assert venue.on_quote(quote("AAPL", 0, 100.0)) == ()
    assert len(venue.on_quote(quote("AAPL", 0.000001, 100.0))) == 2


def test_where_there_is_a_book_its_sides_are_paid() -> None:
    venue = Venue("V", 1, replace(FREE, spread_bps=50.0))
    venue.submit("a", market("r", Side.BUY, 1), START)
    fill = venue.on_quote(Quote("AAPL", START + timedelta(seconds=1), 100.0, 99.5, 100.25))[0].event
    assert isinstance(fill, Fill)
    assert fill.price == Decimal("100.2500")


def test_short_sales_tie_their_proceeds_and_as_much_again() -> None:
    venue = Venue("V", 1, FREE)
    venue.submit("a", market("r", Side.SELL, 300), START)
    venue.on_quote(quote("AAPL", 1, 100.0))
    account = venue.account("a")
    assert (account.cash, account.equity, account.buying_power) == (
        Decimal(130_000),
        Decimal(100_000),
        Decimal(70_000),
    )


def test_a_day_order_ends_with_its_day_and_another_does_not() -> None:
    venue = Venue("V", 1, FREE)
    day, lasting = market("day", Side.BUY, 1), replace(market("gtc", Side.BUY, 1), time_in_force=TimeInForce.GTC)
    end = START + timedelta(hours=6)
    venue.submit("a", day, START, end)
    venue.submit("a", lasting, START, end)
    assert not venue.has_expired(end - timedelta(seconds=1))
    assert venue.has_expired(end)
    (happened,) = venue.expire(end)
    assert isinstance(happened.event, OrderUpdate)
    assert (happened.event.order_ref, happened.event.state) == ("day", IntentState.CANCELLED)
    assert [update.state for update in venue.orders("a")] == [IntentState.CANCELLED, IntentState.WORKING]


def test_commission_is_the_minimum_once_an_order_then_by_the_share() -> None:
    venue = Venue("V", 1, replace(FREE, minimum_commission=Decimal("1.00"), commission_per_share=Decimal("0.005"),
                                  partial_fills=True))  # fmt: skip
    venue.submit("a", market("r", Side.BUY, 400), START)
    fills = []
    for second in range(1, 40):
        happened = venue.on_quote(quote("AAPL", second, 100.0))
        fills += [one.event for one in happened if isinstance(one.event, Fill)]
    assert sum(fill.quantity for fill in fills) == 400
    assert len(fills) > 1
    assert fills[0].commission == max(Decimal("1.00"), cents(fills[0].quantity * Decimal("0.005")))
    assert sum(fill.commission for fill in fills) == Decimal("2.00")


def test_a_split_turns_positions_working_orders_and_prices() -> None:
    venue = Venue("V", 1, FREE)
    venue.submit("a", market("r", Side.BUY, 10), START)
    venue.on_quote(quote("AAPL", 1, 100.0))
    stop = replace(market("s", Side.SELL, 10), order_type=OrderType.STOP, stop_price=Decimal(96))
    venue.submit("a", stop, START + timedelta(seconds=2))
    before = venue.account("a").equity
    venue.split("AAPL", Decimal(2))
    (position,) = venue.positions("a")
    assert (position.quantity, position.average_price) == (Decimal(20), Decimal(50))
    assert venue.account("a").equity == before
    assert venue.on_quote(quote("AAPL", 3, 49.0)) == ()  # not below 48
    assert venue.on_quote(quote("AAPL", 4, 47.5)) == ()  # triggered here
    fill = venue.on_quote(quote("AAPL", 5, 47.0))[0].event
    assert isinstance(fill, Fill)
    assert (fill.quantity, fill.price) == (Decimal(20), Decimal("47.0000"))
    assert venue.positions("a") == ()


def test_only_so_many_finished_orders_are_remembered_and_all_that_work() -> None:
    venue = Venue("V", 1, FREE)
    resting = replace(market("rest", Side.BUY, 1), order_type=OrderType.LIMIT, limit_price=Decimal(1))
    venue.submit("a", resting, START)
    for number in range(REMEMBERED + 5):
        venue.submit("a", market(f"r{number}", Side.BUY, 0), START)
    remembered = venue.orders("a")
    assert len(remembered) == REMEMBERED + 1
    assert remembered[0].order_ref == "rest"
    assert remembered[1].order_ref == "r5"


def fill_prices(seed: int) -> list[Decimal]:
    venue = Venue("V", seed, replace(FREE, slippage_bps=10.0))
    prices = []
    for number in range(50):
        venue.submit("a", market(f"r{number}", Side.BUY, 1), START + timedelta(seconds=number))
        happened = venue.on_quote(quote("AAPL", number + 0.5, 100.0))
        prices += [each.event.price for each in happened if isinstance(each.event, Fill)]
    return prices


def test_slippage_is_drawn_by_the_seed_between_none_and_twice_its_average() -> None:
    prices = fill_prices(1)
    assert prices == fill_prices(1)
    assert prices != fill_prices(2)
    assert len(prices) == 50
    assert all(Decimal(100) <= price <= Decimal("100.2") for price in prices)
    assert Decimal("100.07") < sum(prices) / 50 < Decimal("100.13")
