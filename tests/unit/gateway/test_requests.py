"""What clients ask: the bytes of the unmodified ones, and orders of every shape at every version."""

from __future__ import annotations

import contextlib
import json
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_bytes import hello, message, place, place_fields

from openbell.gateway.errors import FieldError
from openbell.gateway.orders import Terms, terms
from openbell.gateway.wire import requests
from openbell.gateway.wire.frames import Framer, Hello, Message
from openbell.gateway.wire.requests import ContractQuery, PlaceOrder, Request, read_request

RECORDINGS = Path(__file__).parents[2] / "gateway" / "recordings"
CLIENTS = ("ib_insync", "ib_async", "ibapi")
VERSIONS = [157, *range(163, 179)]
AAPL = ContractQuery(0, "AAPL", "STK", strike="0.0", exchange="SMART", currency="USD")


def read(data: bytes, version: int = 178) -> Request:
    framer = Framer()
    framer.feed(hello())
    (item,) = framer.feed(data)
    assert isinstance(item, Message)
    return read_request(item.fields, version)


def placed(version: int = 178, **asked: object) -> Terms:
    request = read(place(7, version, **asked), version)
    assert isinstance(request, PlaceOrder)
    assert (request.order_id, request.contract) == (7, AAPL)
    return terms(request.record)


def recording(name: str) -> tuple[Hello, int, list[tuple[str, list[Any], tuple[str, ...]]]]:
    head, *lines = (json.loads(line) for line in (RECORDINGS / f"{name}.jsonl").read_text("utf-8").splitlines())
    framer = Framer()
    (greeting,) = framer.feed(bytes.fromhex(head["hello"]))
    assert isinstance(greeting, Hello)
    messages = []
    for line in lines:
        payload = line["sent"].encode()
        (item,) = framer.feed(struct.pack("!I", len(payload)) + payload)
        assert isinstance(item, Message)
        messages.append((line["call"], line["args"], item.fields))
    return greeting, head["version"], messages


@pytest.mark.parametrize(
    ("name", "lowest", "highest"), [("ib_insync", 157, 176), ("ib_async", 157, 178), ("ibapi", 100, 157)]
)
def test_a_recorded_hello_says_what_the_client_speaks(name: str, lowest: int, highest: int) -> None:
    assert recording(name)[0] == Hello(lowest, highest)


# Names of an order as the clients have them → how the terms have them.
TERMS = {
    "action": "action",
    "orderType": "kind",
    "tif": "tif",
    "orderRef": "order_ref",
    "account": "account",
    "transmit": "transmit",
    "parentId": "parent_id",
    "ocaGroup": "oca_group",
    "ocaType": "oca_type",
    "outsideRth": "outside_hours",
    "allOrNone": "all_or_none",
    "whatIf": "what_if",
}
NUMBERS = {
    "totalQuantity": "quantity",
    "lmtPrice": "limit",
    "auxPrice": "aux",
    "trailStopPrice": "trail_stop",
    "trailingPercent": "trail_percent",
    "lmtPriceOffset": "limit_offset",
}


@pytest.mark.parametrize("name", CLIENTS)
def test_every_recorded_order_reads_as_it_was_meant(name: str) -> None:
    _, version, messages = recording(name)
    seen = 0
    for call, args, fields in messages:
        if call != "placeOrder":
            continue
        request = read_request(fields, version)
        assert isinstance(request, PlaceOrder)
        order_id, contract, order = args[0], args[1]["contract"], args[2]["order"]
        assert request.order_id == order_id
        assert (request.contract.symbol, request.contract.con_id) == ("AAPL", contract.get("conId", 0))
        asked = terms(request.record)
        for said, has in TERMS.items():
            if said in order:
                assert getattr(asked, has) == order[said], (order, said)
        for said, has in NUMBERS.items():
            wanted = Decimal(str(order[said])) if said in order else None
            assert getattr(asked, has) == wanted, (order, said)
        assert len(request.record.groups.get("conditions", ())) == len(order.get("conditions", ()))
        assert request.record.groups.get("algoParams", ()) == tuple(map(tuple, order.get("algoParams", ())))
        seen += 1
    assert seen == 23


ASKED: dict[str, Request] = {
    "startApi": requests.StartApi(3),
    "cancelOrder": requests.CancelOrder(101),
    "reqGlobalCancel": requests.GlobalCancel(),
    "reqOpenOrders": requests.OpenOrdersWanted(),
    "reqAllOpenOrders": requests.AllOpenOrdersWanted(),
    "reqAutoOpenOrders": requests.AutoOpenOrdersWanted(bind=True),
    "reqCompletedOrders": requests.CompletedOrdersWanted(api_only=False),
    "reqExecutions": requests.ExecutionsWanted(5, 0, "DU1", "20261127 09:30:00 US/Eastern", "", "", "", ""),
    "reqIds": requests.IdsWanted(1),
    "reqManagedAccts": requests.ManagedAccountsWanted(),
    "reqCurrentTime": requests.TimeWanted(),
    "reqAccountUpdates": requests.AccountUpdatesWanted(subscribe=True, account="DU1"),
    "reqAccountSummary": requests.AccountSummaryWanted(6, "All", "NetLiquidation,BuyingPower,$LEDGER:ALL"),
    "cancelAccountSummary": requests.AccountSummaryUnwanted(6),
    "reqPositions": requests.PositionsWanted(),
    "cancelPositions": requests.PositionsUnwanted(),
    "reqPositionsMulti": requests.PositionsMultiWanted(7, "DU1", ""),
    "cancelPositionsMulti": requests.PositionsMultiUnwanted(7),
    "reqAccountUpdatesMulti": requests.AccountUpdatesMultiWanted(8, "DU1", "", ledger_and_nlv=True),
    "cancelAccountUpdatesMulti": requests.AccountUpdatesMultiUnwanted(8),
    "reqPnL": requests.PnlWanted(9, "DU1", ""),
    "cancelPnL": requests.PnlUnwanted(9),
    "reqPnLSingle": requests.PnlSingleWanted(10, "DU1", "", 265598),
    "cancelPnLSingle": requests.PnlSingleUnwanted(10),
    "reqContractDetails": requests.ContractDetailsWanted(11, AAPL, include_expired=False, id_type="", id=""),
    "reqMatchingSymbols": requests.SymbolsWanted(12, "apple"),
    "reqMarketRule": requests.MarketRuleWanted(26),
    "reqHeadTimeStamp": requests.HeadTimestampWanted(
        13, AAPL, include_expired=False, regular_hours=True, what="TRADES", date_format=1
    ),
    "cancelHeadTimeStamp": requests.HeadTimestampUnwanted(13),
    "reqMarketDataType": requests.MarketDataTypeWanted(3),
    "reqMktData": requests.MarketDataWanted(14, AAPL, "233", snapshot=False, regulatory_snapshot=False),
    "cancelMktData": requests.MarketDataUnwanted(14),
    "reqHistoricalData": requests.HistoryWanted(
        15, AAPL, False, "", "1 day", "2 D", True, "TRADES", 1, keep_up_to_date=True
    ),
    "cancelHistoricalData": requests.HistoryUnwanted(15),
    "reqRealTimeBars": requests.RealTimeBarsWanted(16, AAPL, 5, "TRADES", regular_hours=False),
    "cancelRealTimeBars": requests.RealTimeBarsUnwanted(16),
    "reqScannerParameters": requests.NotOffered(24, "reqScannerParameters", -1),
    "reqSecDefOptParams": requests.NotOffered(78, "reqSecDefOptParams", 17),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_every_other_recorded_request_reads_as_it_was_meant(name: str) -> None:
    _, version, messages = recording(name)
    found = {call: read_request(fields, version) for call, _, fields in messages if call != "placeOrder"}
    assert found == ASKED


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"neutral": "MKT"},
        {"scale": 0.5},
        {"hedge": "D"},
        {"algorithm": "Adaptive"},
        {"conditions": ((1, "a", True, 151.0, 8314, "SMART", 0), (3, "o", False, "20261231 15:00:00 US/Eastern"))},
    ],
    ids=["plain", "delta-neutral", "scale", "hedge", "algorithm", "conditions"],
)
def test_an_order_of_any_shape_reads_at_every_version(version: int, shape: dict[str, object]) -> None:
    asked = placed(version, kind="LMT", limit=150.25, offset=0.5, trail_stop=1.5, ref="r", **shape)
    assert (asked.kind, asked.limit, asked.order_ref) == ("LMT", Decimal("150.25"), "r")
    assert (asked.limit_offset, asked.trail_stop) == (Decimal("0.5"), Decimal("1.5"))


PRICES = st.decimals(Decimal("0.01"), Decimal(100_000), places=2)
WORDS = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=32)


@given(
    version=st.sampled_from(VERSIONS),
    action=st.sampled_from(["BUY", "SELL"]),
    quantity=st.integers(1, 10**9),
    limit=st.none() | PRICES,
    aux=st.none() | PRICES,
    ref=WORDS,
    group=WORDS,
    parent=st.integers(0, 2**31 - 2),
    transmit=st.booleans(),
)
def test_what_an_order_says_comes_back_whole(
    version: int,
    action: str,
    quantity: int,
    limit: Decimal | None,
    aux: Decimal | None,
    ref: str,
    group: str,
    parent: int,
    transmit: bool,
) -> None:
    asked = placed(
        version,
        action=action,
        quantity=quantity,
        limit=limit,
        aux=aux,
        ref=ref,
        oca_group=group,
        parent=parent,
        transmit=transmit,
    )
    assert (asked.action, asked.quantity, asked.limit, asked.aux) == (action, quantity, limit, aux)
    assert (asked.order_ref, asked.oca_group, asked.parent_id, asked.transmit) == (ref, group, parent, transmit)


@pytest.mark.parametrize(
    "text", ["", "2147483647", "9223372036854775807", "1.7976931348623157e+308", "1.7976931348623157E308"]
)
def test_a_number_may_be_left_out_in_every_way_that_clients_have(text: str) -> None:
    assert placed(limit=text).limit is None


def test_a_reference_that_looks_like_a_number_left_out_is_kept() -> None:
    assert placed(ref="2147483647").order_ref == "2147483647"


@given(st.lists(st.text(max_size=8), max_size=24), st.sampled_from(VERSIONS))
def test_any_fields_are_a_request_or_one_kind_of_error(fields: list[str], version: int) -> None:
    with contextlib.suppress(FieldError):
        read_request(fields, version)


@given(
    st.integers(0, 120),
    st.sampled_from(["", "x", "-1", "1e999", "99999999999999999999", "nan", "\u0663", "1" * 5_000, "inf"]),
    st.sampled_from(VERSIONS),
)
def test_an_order_with_one_field_wrong_is_an_order_or_one_kind_of_error(at: int, wrong: str, version: int) -> None:
    fields = ["" if value is None else str(value) for value in place_fields(7, version, conditions=((4, "a", 1, 30),))]
    fields[at % len(fields)] = wrong
    with contextlib.suppress(FieldError):
        request = read_request(fields, version)
        if isinstance(request, PlaceOrder):
            terms(request.record)


@given(st.integers(0, 120), st.sampled_from(VERSIONS))
def test_an_order_that_is_cut_short_is_refused(length: int, version: int) -> None:
    fields = ["" if value is None else str(int(value) if isinstance(value, bool) else value)
              for value in place_fields(7, version)]  # fmt: skip
    with pytest.raises(FieldError):
        read_request(fields[: max(1, length % len(fields))], version)


def test_an_order_with_a_field_too_many_is_refused() -> None:
    with pytest.raises(FieldError, match="expected"):
        read(message(*place_fields(7), "more"))


def test_a_request_that_cannot_be_read_is_refused_under_its_own_number() -> None:
    with pytest.raises(FieldError) as wrong:
        read(message(1, 11, 55, "x", "AAPL"))
    assert wrong.value.request_id == 55


def test_a_message_that_nobody_knows_is_not_offered() -> None:
    assert read(message(4711, 1, 2)) == requests.NotOffered(4711, "message 4711", -1)
    assert read(message(10, 5, 77)) == requests.NotOffered(10, "reqMktDepth", 77)
