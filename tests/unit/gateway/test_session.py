"""A session under whatever a client may say: it answers, and never fails; everything it says can be written."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_bytes import AAPL, place_fields

from fakes.hours import RegularHours
from openbell.domain.clock import SimulatedClock
from openbell.gateway.errors import FieldError
from openbell.gateway.exchange import Exchange
from openbell.gateway.session import Session
from openbell.gateway.settings import DataRights, ExchangeSettings, GatewaySettings
from openbell.gateway.wire.order_reply import CompletedOrder, OpenOrder, write_completed_order, write_open_order
from openbell.gateway.wire.replies import Reply, write_reply
from openbell.gateway.wire.requests import read_request

START = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
MSFT = (272093, "", "", "", "", "", "", "SMART", "", "", "", "")
NOBODY = (0, "NOBODY", "STK", "", "", "", "", "SMART", "", "USD", "", "")

NUMBER = st.integers(-1, 4)
ACCOUNT = st.sampled_from(["", "DU1", "DU2", "U9", "All"])
CONTRACT = st.sampled_from([AAPL, MSFT, NOBODY])
FLAG = st.booleans()


def fields(*parts: object) -> st.SearchStrategy[list[object]]:
    """A message of fixed fields and of fields that are drawn; a drawn tuple is laid out in place."""
    drawn = [part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts]
    return st.tuples(*drawn).map(
        lambda row: [v for part in row for v in (part if isinstance(part, tuple) else (part,))]
    )


PRICE = st.integers(170, 210)


@st.composite
def order(draw: st.DrawFn) -> list[object]:
    kind = draw(st.sampled_from(["MKT", "LMT", "STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "MIT", "LIT", "MOC", "LOC"]))
    return place_fields(
        draw(st.integers(1, 12)),
        contract=draw(CONTRACT),
        kind=kind,
        action=draw(st.sampled_from(["BUY", "SELL"])),
        quantity=draw(st.sampled_from([0, 1, 100, 1_000_000])),
        limit=draw(st.none() | PRICE),
        aux=draw(st.none() | st.integers(1, 5) | PRICE),
        trail_percent=draw(st.none() | st.integers(1, 5)),
        trail_stop=draw(st.none() | PRICE),
        offset=draw(st.none() | st.integers(0, 2)),
        tif=draw(st.sampled_from(["", "DAY", "GTC", "GTD", "IOC", "OPG", "FOK"])),
        good_till=draw(st.sampled_from(["", "20261123-15:05:00", "20270101 10:00:00 US/Eastern"])),
        good_after=draw(st.sampled_from(["", "20261123-15:05:00"])),
        account=draw(ACCOUNT),
        parent=draw(st.integers(0, 12)),
        transmit=draw(FLAG),
        outside=draw(FLAG),
        all_or_none=draw(FLAG),
        what_if=draw(st.sampled_from([False, False, False, True])),
        oca_group=draw(st.sampled_from(["", "g"])),
        oca_type=draw(st.integers(0, 3)),
    )


SIZE = st.sampled_from(["1 secs", "5 secs", "1 min", "1 day", "x"])
DURATION = st.sampled_from(["30 S", "1 D", "3 D", "1 W", "x"])
WHAT = st.sampled_from(["TRADES", "MIDPOINT", "x"])
ANYTHING = st.one_of(
    order(),
    order(),
    fields(4, 1, st.integers(0, 12), ""),
    fields(58, 1),
    fields(5, 1),
    fields(16, 1),
    fields(15, 1, FLAG),
    fields(99, FLAG),
    fields(7, 3, NUMBER, 0, ACCOUNT, st.sampled_from(["", "x", "20261123 10:00:00"]), "", "", "", ""),
    fields(8, 1, 1),
    fields(9, 8, NUMBER, CONTRACT, False, "", "", ""),
    fields(1, 11, NUMBER, CONTRACT, False, st.sampled_from(["", "233"]), FLAG, False, ""),
    fields(2, 2, NUMBER),
    fields(59, 1, NUMBER),
    fields(20, NUMBER, CONTRACT, False, "", SIZE, DURATION, FLAG, WHAT, st.integers(0, 3), FLAG, ""),
    fields(25, 1, NUMBER),
    fields(50, 3, NUMBER, CONTRACT, 5, WHAT, FLAG, ""),
    fields(51, 1, NUMBER),
    fields(87, NUMBER, CONTRACT, False, FLAG, WHAT, 1),
    fields(61, 1),
    fields(64, 1),
    fields(6, 2, FLAG, ACCOUNT),
    fields(62, 1, NUMBER, "All", st.sampled_from(["NetLiquidation", "$LEDGER:ALL", "$LEDGER", ""])),
    fields(63, 1, NUMBER),
    fields(76, 1, NUMBER, ACCOUNT, "", FLAG),
    fields(77, 1, NUMBER),
    fields(74, 1, NUMBER, ACCOUNT, ""),
    fields(75, 1, NUMBER),
    fields(92, NUMBER, ACCOUNT, ""),
    fields(93, NUMBER),
    fields(94, NUMBER, ACCOUNT, "", st.sampled_from([265598, 1])),
    fields(95, NUMBER),
    fields(81, NUMBER, st.sampled_from(["", "a", "apple"])),
    fields(91, st.sampled_from([26, 27])),
    fields(17, 1),
    fields(49, 1),
    fields(71, 2, 1, ""),
    fields(st.integers(0, 110), NUMBER, NUMBER),
)
STEP = ANYTHING | st.integers(170, 210) | st.timedeltas(timedelta(seconds=1), timedelta(hours=9))


def written(replies: list[Reply], version: int) -> None:
    for reply in replies:
        if isinstance(reply, OpenOrder):
            fields = write_open_order(reply, version)
        elif isinstance(reply, CompletedOrder):
            fields = write_completed_order(reply, version)
        else:
            fields = write_reply(reply, version)
        assert all(isinstance(field, str) for field in fields)
        assert fields[0].isdecimal()


@pytest.mark.parametrize("rights", list(DataRights))
@settings(max_examples=60)
@given(
    steps=st.lists(STEP, max_size=25),
    several=st.booleans(),
    closes=st.booleans(),
    depth=st.none() | st.just(Decimal(40)),
    cancel_seconds=st.sampled_from([0.0, 5.0]),
    version=st.sampled_from([157, 176, 178]),
)
def test_whatever_a_client_says_is_answered_without_a_failure(
    rights: DataRights,
    steps: list[object],
    several: bool,
    closes: bool,
    depth: Decimal | None,
    cancel_seconds: float,
    version: int,
) -> None:
    clock = SimulatedClock(START)
    accounts = ("DU1", "DU2") if several else ("DU1",)
    world = ExchangeSettings(accounts, volatility=0.5, depth=depth, cancel_seconds=cancel_seconds)
    exchange = Exchange(world, clock, RegularHours() if closes else None)
    session = Session(1, exchange, GatewaySettings(world, data_rights=rights, master_client_id=2))
    master = Session(2, exchange, GatewaySettings(world, data_rights=rights, master_client_id=2))
    written(session.greet(), version)
    for step in steps:
        if isinstance(step, timedelta):
            clock.set(clock.now() + step)
            exchange.advance()
        elif isinstance(step, int):
            exchange.move("AAPL", step)
        else:
            assert isinstance(step, list)
            texts = ["" if v is None else str(int(v) if isinstance(v, bool) else v) for v in step]
            with contextlib.suppress(FieldError):
                written(session.handle(read_request(texts, 178)), version)
        for event in exchange.drain():
            written(session.tell(event), version)
            written(master.tell(event), version)
        written(session.pulse(), version)
    for order in exchange.orders():
        assert order.filled <= order.size
        assert order.remaining >= 0
        if order.parent_perm_id and order.filled:
            parent = next((o for o in exchange.orders() if o.perm_id == order.parent_perm_id), None)
            assert parent is None or parent.filled == parent.size
