"""What clients may ask, as values, and the table that reads them.

A request is a frozen dataclass whose fields are the message's, in order. Most kinds carry a version of their own after
the kind, which says nothing at the protocol versions spoken here and is skipped.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, get_type_hints

from openbell.gateway.errors import FieldError
from openbell.gateway.wire.fields import flag, integer
from openbell.gateway.wire.layout import Record
from openbell.gateway.wire.placing import CONTRACT, read_order


@dataclass(frozen=True, slots=True)
class ContractQuery:
    """A contract as a client describes it: some of its twelve fields, the rest empty or 0."""

    con_id: int = 0
    symbol: str = ""
    sec_type: str = ""
    last_trade_date: str = ""
    strike: str = ""
    right: str = ""
    multiplier: str = ""
    exchange: str = ""
    primary_exchange: str = ""
    currency: str = ""
    local_symbol: str = ""
    trading_class: str = ""


@dataclass(frozen=True, slots=True)
class StartApi:
    client_id: int
    capabilities: str = ""


@dataclass(frozen=True, slots=True)
class MarketDataWanted:
    request_id: int
    contract: ContractQuery
    generic_ticks: str
    snapshot: bool
    regulatory_snapshot: bool


@dataclass(frozen=True, slots=True)
class MarketDataUnwanted:
    request_id: int


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    order_id: int
    contract: ContractQuery
    record: Record


@dataclass(frozen=True, slots=True)
class CancelOrder:
    order_id: int
    manual_time: str = ""


@dataclass(frozen=True, slots=True)
class OpenOrdersWanted:
    pass


@dataclass(frozen=True, slots=True)
class AccountUpdatesWanted:
    subscribe: bool
    account: str


@dataclass(frozen=True, slots=True)
class ExecutionsWanted:
    request_id: int
    client_id: int
    account: str
    time: str
    symbol: str
    sec_type: str
    exchange: str
    side: str


@dataclass(frozen=True, slots=True)
class IdsWanted:
    count: int


@dataclass(frozen=True, slots=True)
class ContractDetailsWanted:
    request_id: int
    contract: ContractQuery
    include_expired: bool
    id_type: str
    id: str
    issuer_id: str = ""


@dataclass(frozen=True, slots=True)
class AutoOpenOrdersWanted:
    bind: bool


@dataclass(frozen=True, slots=True)
class AllOpenOrdersWanted:
    pass


@dataclass(frozen=True, slots=True)
class ManagedAccountsWanted:
    pass


@dataclass(frozen=True, slots=True)
class HistoryWanted:
    request_id: int
    contract: ContractQuery
    include_expired: bool
    end: str
    bar_size: str
    duration: str
    regular_hours: bool
    what: str
    date_format: int
    keep_up_to_date: bool


@dataclass(frozen=True, slots=True)
class HistoryUnwanted:
    request_id: int


@dataclass(frozen=True, slots=True)
class TimeWanted:
    pass


@dataclass(frozen=True, slots=True)
class RealTimeBarsWanted:
    request_id: int
    contract: ContractQuery
    bar_size: int
    what: str
    regular_hours: bool


@dataclass(frozen=True, slots=True)
class RealTimeBarsUnwanted:
    request_id: int


@dataclass(frozen=True, slots=True)
class GlobalCancel:
    pass


@dataclass(frozen=True, slots=True)
class MarketDataTypeWanted:
    type: int


@dataclass(frozen=True, slots=True)
class PositionsWanted:
    pass


@dataclass(frozen=True, slots=True)
class PositionsUnwanted:
    pass


@dataclass(frozen=True, slots=True)
class AccountSummaryWanted:
    request_id: int
    group: str
    tags: str


@dataclass(frozen=True, slots=True)
class AccountSummaryUnwanted:
    request_id: int


@dataclass(frozen=True, slots=True)
class AccountUpdatesMultiWanted:
    request_id: int
    account: str
    model: str
    ledger_and_nlv: bool


@dataclass(frozen=True, slots=True)
class AccountUpdatesMultiUnwanted:
    request_id: int


@dataclass(frozen=True, slots=True)
class PositionsMultiWanted:
    request_id: int
    account: str
    model: str


@dataclass(frozen=True, slots=True)
class PositionsMultiUnwanted:
    request_id: int


@dataclass(frozen=True, slots=True)
class SymbolsWanted:
    request_id: int
    pattern: str


@dataclass(frozen=True, slots=True)
class HeadTimestampWanted:
    request_id: int
    contract: ContractQuery
    include_expired: bool
    regular_hours: bool
    what: str
    date_format: int


@dataclass(frozen=True, slots=True)
class HeadTimestampUnwanted:
    request_id: int


@dataclass(frozen=True, slots=True)
class MarketRuleWanted:
    rule_id: int


@dataclass(frozen=True, slots=True)
class PnlWanted:
    request_id: int
    account: str
    model: str


@dataclass(frozen=True, slots=True)
class PnlUnwanted:
    request_id: int


@dataclass(frozen=True, slots=True)
class PnlSingleWanted:
    request_id: int
    account: str
    model: str
    con_id: int


@dataclass(frozen=True, slots=True)
class PnlSingleUnwanted:
    request_id: int


@dataclass(frozen=True, slots=True)
class CompletedOrdersWanted:
    api_only: bool


@dataclass(frozen=True, slots=True)
class NotOffered:
    """A kind of request that the protocol has and this gateway does not, or one that nobody knows."""

    kind: int
    name: str
    request_id: int


Request: TypeAlias = (
    StartApi
    | MarketDataWanted
    | MarketDataUnwanted
    | PlaceOrder
    | CancelOrder
    | OpenOrdersWanted
    | AccountUpdatesWanted
    | ExecutionsWanted
    | IdsWanted
    | ContractDetailsWanted
    | AutoOpenOrdersWanted
    | AllOpenOrdersWanted
    | ManagedAccountsWanted
    | HistoryWanted
    | HistoryUnwanted
    | TimeWanted
    | RealTimeBarsWanted
    | RealTimeBarsUnwanted
    | GlobalCancel
    | MarketDataTypeWanted
    | PositionsWanted
    | PositionsUnwanted
    | AccountSummaryWanted
    | AccountSummaryUnwanted
    | AccountUpdatesMultiWanted
    | AccountUpdatesMultiUnwanted
    | PositionsMultiWanted
    | PositionsMultiUnwanted
    | SymbolsWanted
    | HeadTimestampWanted
    | HeadTimestampUnwanted
    | MarketRuleWanted
    | PnlWanted
    | PnlUnwanted
    | PnlSingleWanted
    | PnlSingleUnwanted
    | CompletedOrdersWanted
    | NotOffered
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind is read. `optional` fields at the end may be missing at older versions."""

    cls: Any
    versioned: bool = True
    optional: int = 0


# Kind → dataclass, for those that are read field by field; orders, market data and bars are read by functions below.
_TABLE: dict[int, _Kind] = {
    2: _Kind(MarketDataUnwanted),
    4: _Kind(CancelOrder, optional=1),
    5: _Kind(OpenOrdersWanted),
    6: _Kind(AccountUpdatesWanted),
    7: _Kind(ExecutionsWanted),
    8: _Kind(IdsWanted),
    9: _Kind(ContractDetailsWanted, optional=1),
    15: _Kind(AutoOpenOrdersWanted),
    16: _Kind(AllOpenOrdersWanted),
    17: _Kind(ManagedAccountsWanted),
    25: _Kind(HistoryUnwanted),
    49: _Kind(TimeWanted),
    51: _Kind(RealTimeBarsUnwanted),
    58: _Kind(GlobalCancel),
    59: _Kind(MarketDataTypeWanted),
    61: _Kind(PositionsWanted),
    62: _Kind(AccountSummaryWanted),
    63: _Kind(AccountSummaryUnwanted),
    64: _Kind(PositionsUnwanted),
    71: _Kind(StartApi, optional=1),
    74: _Kind(PositionsMultiWanted),
    75: _Kind(PositionsMultiUnwanted),
    76: _Kind(AccountUpdatesMultiWanted),
    77: _Kind(AccountUpdatesMultiUnwanted),
    81: _Kind(SymbolsWanted, versioned=False),
    87: _Kind(HeadTimestampWanted, versioned=False),
    90: _Kind(HeadTimestampUnwanted, versioned=False),
    91: _Kind(MarketRuleWanted, versioned=False),
    92: _Kind(PnlWanted, versioned=False),
    93: _Kind(PnlUnwanted, versioned=False),
    94: _Kind(PnlSingleWanted, versioned=False),
    95: _Kind(PnlSingleUnwanted, versioned=False),
    99: _Kind(CompletedOrdersWanted, versioned=False),
}

# Kinds that the protocol has and this gateway does not: name, and where the request's id is (0: it has none).
_ELSEWHERE: dict[int, tuple[str, int]] = {
    10: ("reqMktDepth", 2),
    11: ("cancelMktDepth", 2),
    12: ("reqNewsBulletins", 0),
    13: ("cancelNewsBulletins", 0),
    14: ("setServerLogLevel", 0),
    18: ("requestFA", 0),
    19: ("replaceFA", 0),
    21: ("exerciseOptions", 2),
    22: ("reqScannerSubscription", 1),
    23: ("cancelScannerSubscription", 2),
    24: ("reqScannerParameters", 0),
    52: ("reqFundamentalData", 2),
    53: ("cancelFundamentalData", 2),
    54: ("calculateImpliedVolatility", 2),
    55: ("calculateOptionPrice", 2),
    56: ("cancelCalculateImpliedVolatility", 2),
    57: ("cancelCalculateOptionPrice", 2),
    65: ("verifyRequest", 0),
    66: ("verifyMessage", 0),
    67: ("queryDisplayGroups", 2),
    68: ("subscribeToGroupEvents", 2),
    69: ("updateDisplayGroup", 2),
    70: ("unsubscribeFromGroupEvents", 2),
    72: ("verifyAndAuthRequest", 0),
    73: ("verifyAndAuthMessage", 0),
    78: ("reqSecDefOptParams", 1),
    79: ("reqSoftDollarTiers", 1),
    80: ("reqFamilyCodes", 0),
    82: ("reqMktDepthExchanges", 0),
    83: ("reqSmartComponents", 1),
    84: ("reqNewsArticle", 1),
    85: ("reqNewsProviders", 0),
    86: ("reqHistoricalNews", 1),
    88: ("reqHistogramData", 1),
    89: ("cancelHistogramData", 1),
    96: ("reqHistoricalTicks", 1),
    97: ("reqTickByTickData", 1),
    98: ("cancelTickByTickData", 1),
    100: ("reqWshMetaData", 1),
    101: ("cancelWshMetaData", 1),
    102: ("reqWshEventData", 1),
    103: ("cancelWshEventData", 1),
    104: ("reqUserInfo", 1),
}


def read_request(fields: Sequence[str], version: int) -> Request:
    """The request that a message's fields hold. Raises FieldError, and nothing else, for one that cannot be read."""
    kind = integer(fields[0] if fields else "", "message kind", -1)
    special = _SPECIAL.get(kind)
    if special is None and kind not in _TABLE:
        name, position = _ELSEWHERE.get(kind, (f"message {kind}", 0))
        return NotOffered(kind, name, _id_at(fields, position))
    try:
        if special is not None:
            return special(tuple(fields), version)
        entry = _TABLE[kind]
        cursor = _Cursor(fields[2 if entry.versioned else 1 :])
        return _read(entry, cursor)
    except FieldError as error:
        raise FieldError(str(error), _id_at(fields, _id_position(kind))) from error


def _id_position(kind: int) -> int:
    if kind in {3, 20}:
        return 1
    if kind in {1, 50}:
        return 2
    entry = _TABLE[kind]
    first = next(iter(dataclasses.fields(entry.cls)), None)
    if first is None or first.name not in {"request_id", "order_id"}:
        return 0
    return 2 if entry.versioned else 1


def _id_at(fields: Sequence[str], position: int) -> int:
    if not 0 < position < len(fields):
        return -1
    try:
        return integer(fields[position], "request id", -1)
    except FieldError:
        return -1


class _Cursor:
    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = fields
        self._position = 0

    @property
    def at_end(self) -> bool:
        return self._position >= len(self._fields)

    def text(self, name: str) -> str:
        if self.at_end:
            raise FieldError(f"Unable to read field: '{name}' is missing")
        self._position += 1
        return self._fields[self._position - 1]

    def integer(self, name: str) -> int:
        return integer(self.text(name), name)

    def flag(self, name: str) -> bool:
        return flag(self.text(name), name)

    def contract(self) -> ContractQuery:
        return _contract({name: self.text(name) for name in CONTRACT})


def _contract(texts: dict[str, str]) -> ContractQuery:
    con_id, *others = (texts[name] for name in CONTRACT)
    return ContractQuery(integer(con_id, "conId"), *others)


@functools.cache
def _shape(cls: Any) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(cls)
    return tuple((field.name, hints[field.name]) for field in dataclasses.fields(cls))


def _read(entry: _Kind, cursor: _Cursor) -> Request:
    values: dict[str, Any] = {}
    shape = _shape(entry.cls)
    for number, (name, hint) in enumerate(shape):
        if cursor.at_end and number >= len(shape) - entry.optional:
            break
        values[name] = _value(cursor, name, hint)
    request: Request = entry.cls(**values)
    return request


def _value(cursor: _Cursor, name: str, hint: Any) -> Any:
    if hint is ContractQuery:
        return cursor.contract()
    if hint is bool:
        return cursor.flag(name)
    return cursor.integer(name) if hint is int else cursor.text(name)


def _skip_legs(cursor: _Cursor, contract: ContractQuery) -> None:
    if contract.sec_type == "BAG":
        for _ in range(_bounded(cursor.integer("comboLegs"), "comboLegs")):
            for name in ("conId", "ratio", "action", "exchange"):
                cursor.text(name)


def _bounded(count: int, name: str) -> int:
    if not 0 <= count <= 1_000:
        raise FieldError(f"Unable to parse field: '{name}' counts {count}")
    return count


def _market_data(fields: tuple[str, ...], _version: int) -> Request:
    cursor = _Cursor(fields[2:])
    request_id, contract = cursor.integer("tickerId"), cursor.contract()
    _skip_legs(cursor, contract)
    if cursor.flag("deltaNeutralContract"):
        for name in ("conId", "delta", "price"):
            cursor.text(name)
    ticks = cursor.text("genericTickList")
    return MarketDataWanted(request_id, contract, ticks, cursor.flag("snapshot"), cursor.flag("regulatorySnapshot"))


def _history(fields: tuple[str, ...], _version: int) -> Request:
    cursor = _Cursor(fields[1:])
    request_id, contract = cursor.integer("tickerId"), cursor.contract()
    expired = cursor.flag("includeExpired")
    end, size, duration = (cursor.text(name) for name in ("endDateTime", "barSizeSetting", "durationStr"))
    regular, what, date_format = cursor.flag("useRTH"), cursor.text("whatToShow"), cursor.integer("formatDate")
    _skip_legs(cursor, contract)
    keep = cursor.flag("keepUpToDate")
    return HistoryWanted(
        request_id, contract, expired, end, size, duration, regular, what, date_format, keep_up_to_date=keep
    )


def _real_time_bars(fields: tuple[str, ...], _version: int) -> Request:
    cursor = _Cursor(fields[2:])
    request_id, contract = cursor.integer("tickerId"), cursor.contract()
    size, what = cursor.integer("barSize"), cursor.text("whatToShow")
    return RealTimeBarsWanted(request_id, contract, size, what, cursor.flag("useRTH"))


def _place(fields: tuple[str, ...], version: int) -> Request:
    record = read_order(fields[1:], version)
    return PlaceOrder(integer(record["orderId"], "orderId"), _contract(dict(record.texts)), record)


_SPECIAL: dict[int, Callable[[tuple[str, ...], int], Request]] = {
    1: _market_data,
    3: _place,
    20: _history,
    50: _real_time_bars,
}
