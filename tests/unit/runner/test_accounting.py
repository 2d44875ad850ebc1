"""Lots and profit by both ways of counting, as a runner tells them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from fakes.trading import World
from fakes.values import T0, at, make_fill, make_intent, make_position
from openbell.domain.orders import Fill, IntentKind, Side
from openbell.domain.positions import ExitPolicy, Position
from openbell.engine.lots import Lot, ShareSplit
from openbell.engine.portfolio import book
from openbell.journal import Bookings
from openbell.runner.accounting import Accounting, Accounts, account

D = Decimal
ENTRY = make_intent("a")
EXIT = make_intent("e", kind=IntentKind.EXIT, side=Side.SELL, position_id="p-a", reason="STOP_LOSS")
FIRST = make_fill("x1", price=D(100), time=at(-90000))
SECOND = make_fill("x2", price=D(110), time=at(-80000))
YESTERDAY = make_fill("x3", "e", side=Side.SELL, quantity=D(5), price=D(120), time=at(-70000))
TODAY = make_fill("x4", "e", side=Side.SELL, quantity=D(7), price=D(120), time=at(10))
LAST = make_fill("x5", "e", side=Side.SELL, quantity=D(8), price=D(120), time=at(20))


def booked(*fills: Fill) -> Position:
    position: Position | None = None
    for fill in fills:
        position = book(position, ENTRY if fill.side is Side.BUY else EXIT, fill, ExitPolicy()).position
    assert position is not None
    return position


def test_what_is_open_shows_its_lots_and_what_fifo_has_realised_more() -> None:
    fills = (FIRST, SECOND, YESTERDAY, TODAY)
    found = account(Bookings(D(104), {"p-a": fills}), {"p-a": booked(*fills)}, T0)
    assert found.lots == {"p-a": (Lot(D(8), D(110), at(-80000)),)}
    # sold at 120: yesterday five of the first lot (+20 each, +15 at average), today five of it and two of the second
    assert found.open_shift == D(5 * 20 + 5 * 20 + 2 * 10) - D(12 * 15)
    assert (found.realized_today, found.realized_today_fifo) == (D(104), D(104) + (5 * 20 + 2 * 10) - 7 * 15)


def test_what_was_left_today_counts_today_by_both_ways_and_is_no_longer_open() -> None:
    found = account(Bookings(D(223), {"p-a": (FIRST, SECOND, YESTERDAY, TODAY, LAST)}), {}, T0)
    assert (found.lots, found.open_shift) == ({}, D(0))
    assert found.realized_today_fifo == D(223) - D(25), "what FIFO had realised more yesterday it realises less today"


def test_a_history_that_does_not_add_up_says_nothing_of_lots() -> None:
    split = (FIRST, ShareSplit(at(-85000), D(2)))
    found = account(Bookings(D(0), {"p-a": split}), {"p-a": booked(FIRST)}, T0)
    assert found == Accounting({}, D(0), D(0), D(0))


async def test_the_journal_is_read_again_after_a_booking_only_and_not_told_of_when_it_fails(world: World) -> None:
    accounts = Accounts(world.journal, world.ledger)
    assert await accounts.read() is None, "no day has begun"
    world.ledger.day_start = T0
    for fills in ((FIRST,), (FIRST, SECOND)):
        position = booked(*fills)
        await world.journal.record_fill(fills[-1], position, None)
        world.ledger.put_position(position)
        for _ in range(3):
            found = await accounts.read()
            assert found is not None
            assert [lot.price for lot in found.lots["p-a"]] == [fill.price for fill in fills]
    assert world.journal.calls.count("reading lots") == 2
    world.journal.is_failing = True
    assert await accounts.read() == found, "nothing was booked since"
    world.ledger.put_position(replace(make_position("b"), fees=D(1)))
    assert await accounts.read() is None
