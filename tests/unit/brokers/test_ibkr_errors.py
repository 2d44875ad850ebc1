"""What error codes of the gateway mean."""

from __future__ import annotations

import pytest

from openbell.brokers.ibkr.errors import TABLE, Meaning, meaning_of, sentence


@pytest.mark.parametrize(
    ("code", "text", "meaning"),
    [
        (201, "Order rejected - reason:", Meaning.REJECT),
        (202, "Order Canceled - reason:", Meaning.CANCELLED),
        (399, "Order Message:\nWarning: your order will not be placed at the exchange until", Meaning.WARNING),
        (10349, "Order TIF was set to DAY based on order preset.", Meaning.WARNING),
        (2109, "Order Event Warning:Attribute 'Outside Regular Trading Hours' is ignored", Meaning.WARNING),
        (10147, "OrderId 5 that needs to be cancelled is not found.", Meaning.TOO_LATE),
        (10148, "OrderId 5 that needs to be cancelled cannot be cancelled, state: Filled.", Meaning.TOO_LATE),
        (1100, "Connectivity between IBKR and Trader Workstation has been lost.", Meaning.SERVER_LOST),
        (1101, "restored - data lost.", Meaning.SERVER_BACK_EMPTY),
        (1102, "restored - data maintained.", Meaning.SERVER_BACK),
        (326, "Unable to connect as the client id is already in use.", Meaning.CLIENT_ID),
        (2104, "Market data farm connection is OK:usfarm", Meaning.FARM_UP),
        (2103, "Market data farm connection is broken:usfarm", Meaning.FARM_DOWN),
        (100, "Max rate of messages per second has been exceeded: max=50 rec=51", Meaning.PACING),
        (162, "Historical Market Data Service error message:Historical data request pacing violation", Meaning.PACING),
        (162, "HMDS query returned no data: AAPL@SMART Trades", Meaning.DATA),
        (321, "Error validating request.-'bv' : cause - Invalid order type was entered", Meaning.REJECT),
        (321, "cause - The API interface is currently in Read-Only mode.", Meaning.SETTING),
        (2199, "a notice that nobody knows", Meaning.WARNING),
        (99999, "an error that nobody knows", Meaning.UNKNOWN),
    ],
)
def test_a_code_has_the_meaning_that_was_seen(code: int, text: str, meaning: Meaning) -> None:
    assert meaning_of(code, text) is meaning


def test_what_the_libraries_take_for_the_end_of_an_order_is_none() -> None:
    """ib_insync and ib_async call an order cancelled at these; it lives (ib_async 190, pysystemtrade 1580)."""
    assert {meaning_of(code) for code in (399, 404, 10349, 2109)} == {Meaning.WARNING}


def test_every_row_says_what_it_is_and_where_that_was_found() -> None:
    sources = {"recorded", "libraries", "documentation", "reports"}
    assert all(known.what and known.source in sources for known in TABLE.values())


def test_an_error_is_one_line_for_people() -> None:
    assert sentence(399, "Order Message:\nBUY 1 AAPL\n") == "Order Message: BUY 1 AAPL (IBKR 399)"
    assert sentence(110, "") == "the price does not fit the tick size (IBKR 110)"
    assert sentence(99999, " ") == "no reason was given (IBKR 99999)"
