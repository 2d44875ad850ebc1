"""What the gateway's error codes mean to us. A table, each row with where it was found; anything else is unknown.

Sources: `recorded` (wire recordings of a real gateway that others have published), `libraries` (the sources of
ib_async, ib_insync and the official client), `documentation` (IBKR's message codes), `reports` (issue threads of other
projects).

A code alone decides little: the same 201 refuses a new order, and refuses the change of one that goes on working. So
the meaning is combined with what is known of the order, in `orders`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Meaning(StrEnum):
    """What follows from an error."""

    REJECT = "Reject"  # a new order is not at the broker; of an order that works, a change was refused
    CANCELLED = "Cancelled"  # the order is over
    TOO_LATE = "TooLate"  # what was asked of an order came after its end: its state has to be looked up
    WARNING = "Warning"  # nothing changes; an order lives on
    SERVER_LOST = "ServerLost"  # the gateway is up, and cut off from IBKR
    SERVER_BACK = "ServerBack"  # again connected to IBKR, subscriptions kept
    SERVER_BACK_EMPTY = "ServerBackEmpty"  # again connected, and every subscription is gone
    CLIENT_ID = "ClientId"  # the client id is in use
    CONNECTION = "Connection"  # this connection is over or was never made
    FARM_DOWN = "FarmDown"
    FARM_UP = "FarmUp"
    PACING = "Pacing"  # too fast
    DATA = "Data"  # market data: none, delayed, or not subscribed to
    SETTING = "Setting"  # a person has to change something in the gateway or in the manifest
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Known:
    """A row: what a code means, in short for people, and where that was found."""

    meaning: Meaning
    what: str
    source: str


TABLE: dict[int, Known] = {
    100: Known(Meaning.PACING, "more than 50 messages in a second", "recorded"),
    101: Known(Meaning.DATA, "too many market data lines", "documentation"),
    103: Known(Meaning.REJECT, "the order id was used before", "recorded"),
    104: Known(Meaning.TOO_LATE, "a filled order cannot be changed", "documentation"),
    105: Known(Meaning.WARNING, "a change does not match the order", "libraries"),
    109: Known(Meaning.REJECT, "the price is too far from the market for the gateway's precautions", "documentation"),
    110: Known(Meaning.REJECT, "the price does not fit the tick size", "recorded"),
    135: Known(Meaning.TOO_LATE, "no order has this id", "documentation"),
    136: Known(Meaning.TOO_LATE, "this order cannot be cancelled", "documentation"),
    161: Known(Meaning.TOO_LATE, "the order is not in a state to be cancelled", "documentation"),
    162: Known(Meaning.DATA, "historical data was not given", "recorded"),
    165: Known(Meaning.WARNING, "a message of the historical data service", "libraries"),
    200: Known(Meaning.REJECT, "no such security, or more than one", "recorded"),
    201: Known(Meaning.REJECT, "the order was rejected", "recorded"),
    202: Known(Meaning.CANCELLED, "the order was cancelled", "recorded"),
    203: Known(Meaning.REJECT, "the security is not available to this account", "documentation"),
    300: Known(Meaning.DATA, "no subscription has this id", "documentation"),
    320: Known(Meaning.REJECT, "the request could not be read", "documentation"),
    321: Known(Meaning.REJECT, "the request is not valid", "recorded"),
    322: Known(Meaning.DATA, "too many account summaries at a time", "documentation"),
    326: Known(Meaning.CLIENT_ID, "the client id is in use", "recorded"),
    327: Known(Meaning.SETTING, "only client 0 may bind manual orders", "documentation"),
    329: Known(Meaning.REJECT, "the order's type cannot be changed", "libraries"),
    354: Known(Meaning.DATA, "market data is not subscribed to", "recorded"),
    366: Known(Meaning.DATA, "no such historical request", "documentation"),
    383: Known(Meaning.REJECT, "the size is over the gateway's limit", "documentation"),
    388: Known(Meaning.REJECT, "the size is under the smallest", "documentation"),
    399: Known(Meaning.WARNING, "a message on the order", "recorded"),
    404: Known(Meaning.WARNING, "shares to sell short are being located; the order is held", "libraries"),
    420: Known(Meaning.PACING, "too many requests for market data", "documentation"),
    434: Known(Meaning.REJECT, "the size cannot be zero", "libraries"),
    435: Known(Meaning.REJECT, "an account has to be named", "reports"),
    451: Known(Meaning.REJECT, "the size is over the gateway's limit", "reports"),
    492: Known(Meaning.WARNING, "a message that the libraries take for a warning", "libraries"),
    502: Known(Meaning.CONNECTION, "the gateway cannot be reached", "libraries"),
    504: Known(Meaning.CONNECTION, "not connected", "libraries"),
    507: Known(Meaning.CONNECTION, "a message had a bad length", "libraries"),
    1100: Known(Meaning.SERVER_LOST, "the gateway has lost its connection to IBKR", "recorded"),
    1101: Known(Meaning.SERVER_BACK_EMPTY, "the gateway is connected to IBKR again, data lost", "recorded"),
    1102: Known(Meaning.SERVER_BACK, "the gateway is connected to IBKR again, data kept", "recorded"),
    1300: Known(Meaning.CONNECTION, "the gateway's port was reset", "documentation"),
    2103: Known(Meaning.FARM_DOWN, "a market data farm is disconnected", "recorded"),
    2104: Known(Meaning.FARM_UP, "a market data farm is connected", "recorded"),
    2105: Known(Meaning.FARM_DOWN, "a historical data farm is disconnected", "recorded"),
    2106: Known(Meaning.FARM_UP, "a historical data farm is connected", "recorded"),
    2107: Known(Meaning.FARM_UP, "a historical data farm is inactive, and connects when it is needed", "recorded"),
    2108: Known(Meaning.FARM_UP, "a market data farm is inactive, and connects when it is needed", "recorded"),
    2110: Known(Meaning.SERVER_LOST, "the gateway has lost its connection to IBKR's servers", "documentation"),
    2119: Known(Meaning.FARM_DOWN, "a market data farm is connecting", "documentation"),
    2146: Known(Meaning.REJECT, "the order id is too high", "recorded"),
    2147: Known(Meaning.REJECT, "the order id was used before", "recorded"),
    2157: Known(Meaning.FARM_DOWN, "the security definition farm is disconnected", "recorded"),
    2158: Known(Meaning.FARM_UP, "the security definition farm is connected", "recorded"),
    2172: Known(Meaning.SETTING, "the library's protocol version is no longer served", "reports"),
    2176: Known(Meaning.WARNING, "fractional sizes need a newer client", "recorded"),
    10078: Known(Meaning.REJECT, "the order conflicts with a preset of the gateway", "reports"),
    10089: Known(Meaning.DATA, "market data needs a subscription; delayed data is there", "recorded"),
    10090: Known(Meaning.DATA, "part of the market data is not subscribed to", "documentation"),
    10091: Known(Meaning.DATA, "part of the market data needs a subscription", "documentation"),
    10147: Known(Meaning.TOO_LATE, "the order to be cancelled is not found", "recorded"),
    10148: Known(Meaning.TOO_LATE, "the order can no longer be cancelled", "recorded"),
    10167: Known(Meaning.DATA, "delayed market data is given", "recorded"),
    10168: Known(Meaning.DATA, "market data is not subscribed to, and delayed data is not enabled", "documentation"),
    10182: Known(Meaning.DATA, "the updates of historical data have ended", "reports"),
    10197: Known(Meaning.DATA, "another session has the market data", "documentation"),
    10224: Known(Meaning.REJECT, "the orders of an OCA group have to name one account", "reports"),
    10225: Known(Meaning.DATA, "bars were busted, and have to be asked for again", "documentation"),
    10243: Known(Meaning.REJECT, "a fraction of a share cannot be ordered through the API", "recorded"),
    10289: Known(Meaning.REJECT, "the order's cash quantity is not accepted", "reports"),
    10349: Known(Meaning.WARNING, "the gateway's preset has set the time in force; the order lives", "reports"),
}
WARNINGS = range(2100, 2200)
"""Every other code in here is a notice (both libraries)."""
READ_ONLY = "read-only mode"


def meaning_of(code: int, text: str = "") -> Meaning:
    """What an error means by itself. A code of several meanings is told apart by its text."""
    if code == 162 and "pacing" in text.lower():
        return Meaning.PACING
    if code == 321 and READ_ONLY in text.lower():
        return Meaning.SETTING
    known = TABLE.get(code)
    if known is not None:
        return known.meaning
    return Meaning.WARNING if code in WARNINGS else Meaning.UNKNOWN


def sentence(code: int, text: str) -> str:
    """An error as one line for people, ending with its code."""
    said = " ".join(text.split()) or (TABLE[code].what if code in TABLE else "no reason was given")
    return f"{said} (IBKR {code})"
