"""What the gateway says, as values, and the table that writes them.

A reply is a frozen dataclass whose fields are the message's, in order, as text or numbers. Kinds that carry a version
of their own have it in the table. Orders are written by `order_reply`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from openbell.gateway.contracts import Contract
from openbell.gateway.wire.fields import show, whole

Number: TypeAlias = Decimal | float | int | None
FRACTIONS = 163  # from this version on sizes may have a fraction


@dataclass(frozen=True, slots=True)
class TickPrice:
    request_id: int
    tick_type: int
    price: Number
    size: Number
    attributes: int = 1


@dataclass(frozen=True, slots=True)
class TickSize:
    request_id: int
    tick_type: int
    size: Number


@dataclass(frozen=True, slots=True)
class TickGeneric:
    request_id: int
    tick_type: int
    value: Number


@dataclass(frozen=True, slots=True)
class TickString:
    request_id: int
    tick_type: int
    value: str


@dataclass(frozen=True, slots=True)
class TickRequestParameters:
    request_id: int
    minimum_tick: Number
    exchange: str
    permissions: int


@dataclass(frozen=True, slots=True)
class TickSnapshotEnd:
    request_id: int


@dataclass(frozen=True, slots=True)
class MarketDataType:
    request_id: int
    type: int


@dataclass(frozen=True, slots=True)
class OrderStatus:
    order_id: int
    status: str
    filled: Number
    remaining: Number
    average_price: Number
    perm_id: int
    parent_id: int
    last_price: Number
    client_id: int
    why_held: str
    cap_price: Number = 0


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    request_id: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class AccountValue:
    key: str
    value: str
    currency: str
    account: str


@dataclass(frozen=True, slots=True)
class PortfolioRow:
    contract: Contract
    position: Number
    market_price: Number
    market_value: Number
    average_cost: Number
    unrealized: Number
    realized: Number
    account: str


@dataclass(frozen=True, slots=True)
class AccountTime:
    time: str


@dataclass(frozen=True, slots=True)
class NextValidId:
    order_id: int


@dataclass(frozen=True, slots=True)
class ContractDetails:
    request_id: int
    contract: Contract


@dataclass(frozen=True, slots=True)
class ContractDetailsEnd:
    request_id: int


@dataclass(frozen=True, slots=True)
class ExecutionDetails:
    request_id: int
    order_id: int
    contract: Contract
    exec_id: str
    time: str
    account: str
    exchange: str
    side: str
    shares: Number
    price: Number
    perm_id: int
    client_id: int
    cumulative: Number
    average_price: Number
    order_ref: str


@dataclass(frozen=True, slots=True)
class ExecutionsEnd:
    request_id: int


@dataclass(frozen=True, slots=True)
class CommissionReport:
    exec_id: str
    commission: Number
    currency: str
    realized: Number
    yield_: Number = None
    yield_redemption_date: str = ""


@dataclass(frozen=True, slots=True)
class ManagedAccounts:
    accounts: str


@dataclass(frozen=True, slots=True)
class HistoricalBar:
    """A bar with its time already written in the format that was asked for."""

    date: str
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    average: Number
    count: int


@dataclass(frozen=True, slots=True)
class HistoricalData:
    request_id: int
    start: str
    end: str
    bars: tuple[HistoricalBar, ...]


@dataclass(frozen=True, slots=True)
class HistoricalUpdate:
    request_id: int
    bar: HistoricalBar


@dataclass(frozen=True, slots=True)
class CurrentTime:
    epoch: int


@dataclass(frozen=True, slots=True)
class RealTimeBar:
    request_id: int
    time: int
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    average: Number
    count: int


@dataclass(frozen=True, slots=True)
class OpenOrdersEnd:
    pass


@dataclass(frozen=True, slots=True)
class AccountDownloadEnd:
    account: str


@dataclass(frozen=True, slots=True)
class PositionRow:
    account: str
    contract: Contract
    position: Number
    average_cost: Number


@dataclass(frozen=True, slots=True)
class PositionsEnd:
    pass


@dataclass(frozen=True, slots=True)
class AccountSummary:
    request_id: int
    account: str
    tag: str
    value: str
    currency: str


@dataclass(frozen=True, slots=True)
class AccountSummaryEnd:
    request_id: int


@dataclass(frozen=True, slots=True)
class PositionMulti:
    request_id: int
    account: str
    contract: Contract
    position: Number
    average_cost: Number
    model: str


@dataclass(frozen=True, slots=True)
class PositionMultiEnd:
    request_id: int


@dataclass(frozen=True, slots=True)
class AccountUpdateMulti:
    request_id: int
    account: str
    model: str
    key: str
    value: str
    currency: str


@dataclass(frozen=True, slots=True)
class AccountUpdateMultiEnd:
    request_id: int


@dataclass(frozen=True, slots=True)
class SymbolSamples:
    request_id: int
    contracts: tuple[Contract, ...]


@dataclass(frozen=True, slots=True)
class HeadTimestamp:
    request_id: int
    value: str


@dataclass(frozen=True, slots=True)
class MarketRule:
    rule_id: int
    steps: tuple[tuple[Decimal, Decimal], ...]


@dataclass(frozen=True, slots=True)
class Pnl:
    request_id: int
    daily: Number
    unrealized: Number
    realized: Number


@dataclass(frozen=True, slots=True)
class PnlSingle:
    request_id: int
    position: Number
    daily: Number
    unrealized: Number
    realized: Number
    value: Number


@dataclass(frozen=True, slots=True)
class CompletedOrdersEnd:
    pass


Reply: TypeAlias = Any  # one of the dataclasses above, or of `order_reply`
Write: TypeAlias = Callable[[Any, int], list[str]]

# Class → its kind and the version that its message carries, for those that are their fields in order.
_TABLE: dict[type, tuple[str, ...]] = {
    TickPrice: ("1", "6"),
    TickSize: ("2", "6"),
    OrderStatus: ("3",),
    AccountValue: ("6", "2"),
    AccountTime: ("8", "1"),
    NextValidId: ("9", "1"),
    ManagedAccounts: ("15", "1"),
    TickGeneric: ("45", "6"),
    TickString: ("46", "6"),
    CurrentTime: ("49", "1"),
    RealTimeBar: ("50", "3"),
    ContractDetailsEnd: ("52", "1"),
    OpenOrdersEnd: ("53", "1"),
    AccountDownloadEnd: ("54", "1"),
    ExecutionsEnd: ("55", "1"),
    TickSnapshotEnd: ("57", "1"),
    MarketDataType: ("58", "1"),
    CommissionReport: ("59", "1"),
    PositionsEnd: ("62", "1"),
    AccountSummary: ("63", "1"),
    AccountSummaryEnd: ("64", "1"),
    PositionMultiEnd: ("72", "1"),
    AccountUpdateMulti: ("73", "1"),
    AccountUpdateMultiEnd: ("74", "1"),
    TickRequestParameters: ("81",),
    HeadTimestamp: ("88",),
    Pnl: ("94",),
    PnlSingle: ("95",),
    CompletedOrdersEnd: ("102",),
}
# Fields that clients below FRACTIONS read as whole numbers.
_SIZES = {TickPrice: "size", TickSize: "size", RealTimeBar: "volume", PnlSingle: "position"}


def write_reply(reply: Reply, version: int) -> list[str]:
    """The fields of a reply for a client at `version`."""
    special = _SPECIAL.get(type(reply))
    if special is not None:
        return special(reply, version)
    size = _SIZES.get(type(reply)) if version < FRACTIONS else None
    fields = list(_TABLE[type(reply)])
    for field in dataclasses.fields(reply):
        value = getattr(reply, field.name)
        fields.append(whole(value) if field.name == size and value is not None else _text(value))
    return fields


def _text(value: str | Number) -> str:
    return value if isinstance(value, str) else show(value)


def contract_fields(contract: Contract, *, exchange: str | None = None) -> list[str]:
    """conId to tradingClass, without the primary exchange, as orders, executions and positions have them."""
    return [
        str(contract.con_id),
        contract.symbol,
        contract.sec_type,
        contract.last_trade_date,
        "0",
        "?" if contract.sec_type == "STK" else "",
        contract.multiplier,
        contract.exchange if exchange is None else exchange,
        contract.currency,
        contract.local_symbol,
        contract.trading_class,
    ]


def _error(reply: ErrorMessage, version: int) -> list[str]:
    fields = ["4", "2", str(reply.request_id), str(reply.code), reply.text]
    return [*fields, ""] if version >= 166 else fields


def _portfolio(reply: PortfolioRow, _version: int) -> list[str]:
    contract = contract_fields(reply.contract, exchange=reply.contract.primary_exchange)
    contract[4:6] = ["0", "0"]  # a share's right is written as 0 here
    numbers = (reply.position, reply.market_price, reply.market_value, reply.average_cost)
    results = (reply.unrealized, reply.realized)
    return ["7", "8", *contract, *map(show, numbers), *map(show, results), reply.account]


def _contract_details(reply: ContractDetails, version: int) -> list[str]:
    contract = reply.contract
    head = [contract.symbol, contract.sec_type, contract.last_trade_date, "0", ""]
    names = [contract.exchange, contract.currency, contract.local_symbol, contract.market_name, contract.trading_class]
    multiplier_of_sizes = ["100"] if version < 164 else []
    sizes: list[str] = []
    if version >= 164:
        sizes = [show(contract.minimum_size), show(contract.size_increment), show(contract.suggested_increment)]
    elif version == 163:
        sizes = [show(contract.suggested_increment)]
    identifiers = [text for pair in contract.identifiers for text in pair]
    return [
        "10",
        *(["8"] if version < 164 else []),
        str(reply.request_id),
        *head,
        *names,
        str(contract.con_id),
        show(contract.minimum_tick),
        *multiplier_of_sizes,
        contract.multiplier,
        contract.order_types,
        contract.valid_exchanges,
        "1",  # price magnifier
        "0",  # underlying's id
        contract.long_name,
        contract.primary_exchange,
        "",  # contract month
        contract.industry,
        contract.category,
        contract.subcategory,
        contract.time_zone,
        contract.trading_hours,
        contract.liquid_hours,
        "",  # economic value: rule and multiplier
        "",
        str(len(contract.identifiers)),
        *identifiers,
        "1",  # aggregation group
        "",  # underlying's symbol and type
        "",
        contract.market_rule_ids,
        "",  # real expiration date
        contract.stock_type,
        *sizes,
    ]


def _execution(reply: ExecutionDetails, version: int) -> list[str]:
    return [
        "11",
        str(reply.request_id),
        str(reply.order_id),
        *contract_fields(reply.contract, exchange=reply.exchange),
        reply.exec_id,
        reply.time,
        reply.account,
        reply.exchange,
        reply.side,
        show(reply.shares),
        show(reply.price),
        str(reply.perm_id),
        str(reply.client_id),
        "0",  # liquidation
        show(reply.cumulative),
        show(reply.average_price),
        reply.order_ref,
        "",  # economic value: rule and multiplier
        "",
        "",  # model
        "2",  # removed liquidity
        *(["0"] if version >= 178 else []),
    ]


def _position(reply: PositionRow, _version: int) -> list[str]:
    numbers = (show(reply.position), show(reply.average_cost))
    return ["61", "3", reply.account, *contract_fields(reply.contract, exchange=""), *numbers]


def _position_multi(reply: PositionMulti, _version: int) -> list[str]:
    numbers = (show(reply.position), show(reply.average_cost))
    contract = contract_fields(reply.contract, exchange="")
    return ["71", "1", str(reply.request_id), reply.account, *contract, *numbers, reply.model]


def _volume(value: Number, version: int) -> str:
    return whole(value) if version < FRACTIONS and value is not None else show(value)


def _history(reply: HistoricalData, version: int) -> list[str]:
    fields = ["17", str(reply.request_id), reply.start, reply.end, str(len(reply.bars))]
    for bar in reply.bars:
        fields += [bar.date, *map(show, (bar.open, bar.high, bar.low, bar.close)), _volume(bar.volume, version)]
        fields += [show(bar.average), str(bar.count)]
    return fields


def _history_update(reply: HistoricalUpdate, version: int) -> list[str]:
    bar = reply.bar
    prices = map(show, (bar.open, bar.close, bar.high, bar.low))  # not the order of the bars before
    volume = _volume(bar.volume, version)
    return ["90", str(reply.request_id), str(bar.count), bar.date, *prices, show(bar.average), volume]


def _symbols(reply: SymbolSamples, version: int) -> list[str]:
    fields = ["79", str(reply.request_id), str(len(reply.contracts))]
    for contract in reply.contracts:
        fields += [str(contract.con_id), contract.symbol, contract.sec_type, contract.primary_exchange]
        fields += [contract.currency, "0", *([contract.long_name, ""] if version >= 176 else [])]
    return fields


def _market_rule(reply: MarketRule, _version: int) -> list[str]:
    steps = [show(value) for step in reply.steps for value in step]
    return ["93", str(reply.rule_id), str(len(reply.steps)), *steps]


_SPECIAL: dict[type, Write] = {
    ErrorMessage: _error,
    PortfolioRow: _portfolio,
    ContractDetails: _contract_details,
    ExecutionDetails: _execution,
    PositionRow: _position,
    PositionMulti: _position_multi,
    HistoricalData: _history,
    HistoricalUpdate: _history_update,
    SymbolSamples: _symbols,
    MarketRule: _market_rule,
}
