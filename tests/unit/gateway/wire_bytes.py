"""What clients send, written here by hand: nothing of the gateway's own codec is used, so that its mistakes show."""

from __future__ import annotations

import struct


def hello(lowest: int = 157, highest: int = 176, options: str = "") -> bytes:
    """The first bytes of a connection."""
    text = f"v{lowest}..{highest}" + (f" {options}" if options else "")
    return b"API\x00" + struct.pack("!I", len(text)) + text.encode()


def message(*values: object) -> bytes:
    """One message of these fields; True and False are 1 and 0, None is left out."""
    payload = b""
    for value in values:
        if isinstance(value, bool):
            value = int(value)
        payload += ("" if value is None else str(value)).encode() + b"\x00"
    return struct.pack("!I", len(payload)) + payload


AAPL = (0, "AAPL", "STK", "", "0.0", "", "", "SMART", "", "USD", "", "")


def place(order_id: int, version: int = 178, contract: tuple[object, ...] = AAPL, **asked: object) -> bytes:
    """A placeOrder of a plain share order, as ib_async lays it out."""
    return message(*place_fields(order_id, version, contract, **asked))


def place_fields(
    order_id: int, version: int = 178, contract: tuple[object, ...] = AAPL, **asked: object
) -> list[object]:
    """The fields of that message."""

    def a(name: str, default: object = None) -> object:
        return asked.pop(name, default)

    fields: list[object] = [3, order_id, *contract, None, None]
    fields += [a("action", "BUY"), a("quantity", 100), a("kind", "MKT"), a("limit"), a("aux"), a("tif", "DAY")]
    fields += [a("oca_group", ""), a("account", ""), "", 0, a("ref", ""), a("transmit", True), a("parent", 0)]
    fields += [False, False, 0, 0, a("outside", False), False]
    fields += ["", 0.0, a("good_after", ""), a("good_till", ""), "", "", ""]
    fields += [""] if version < 177 else []
    fields += ["", 0, "", -1, a("oca_type", 0), "", "", a("all_or_none", False), None, None, False, False, None, 0]
    fields += [None, None, None, None, None, False, None, None, a("neutral", "")]
    neutral = fields[-1]
    fields += [None]
    fields += [0, "", "", "", "", False, 0, ""] if neutral else []
    fields += [False, None, a("trail_stop"), a("trail_percent"), None, None, a("scale")]
    fields += [None, None, None, False, None, None, False] if fields[-1] else []
    fields += ["", "", "", a("hedge", "")]
    fields += ["beta"] if fields[-1] else []
    fields += [False, "", "", False, False, a("algorithm", "")]
    fields += [1, "adaptivePriority", "Normal"] if fields[-1] else []
    fields += ["", a("what_if", False), "", False, False, False]
    conditions = a("conditions", ())
    assert isinstance(conditions, tuple)
    fields += [len(conditions), *(value for condition in conditions for value in condition)]
    fields += [True, False] if conditions else []
    fields += ["", None, a("offset"), None, None, None, 0, "", "", "", None, "", "", "", "", False, False, None, None]
    for since, value in ((158, None), (160, None), (162, False), (166, ""), (169, "")):
        fields += [value] if version >= since else []
    assert not asked, f"no such field: {asked}"
    return fields
