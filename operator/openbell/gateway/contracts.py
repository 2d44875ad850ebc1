"""What can be traded here: a catalogue of US shares and funds with the identifiers that Interactive Brokers gives them,
and any others that a person names, with identifiers made from the name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from openbell.gateway.wire.requests import ContractQuery

RULE = 26  # the market rule of US shares
RULES: dict[int, tuple[tuple[Decimal, Decimal], ...]] = {
    RULE: ((Decimal(0), Decimal("0.0001")), (Decimal(1), Decimal("0.01"))),
}
ORDER_TYPES = "ACTIVETIM,AON,COND,DAY,GAT,GTC,GTD,IOC,FOK,LIT,LMT,LOC,MIT,MKT,MOC,OCA,OPG,STP,STPLMT,TRAIL,TRAILLMT"
EXCHANGES = ("SMART", "NYSE", "NASDAQ", "ARCA", "IEX", "BATS", "ISLAND")
# symbol: identifier, name, listed at, kind, price that a simulated history starts from
_LISTED = """\
AAPL 265598 NASDAQ COMMON 190 APPLE INC
AMD 4391 NASDAQ COMMON 140 ADVANCED MICRO DEVICES
AMZN 3691937 NASDAQ COMMON 180 AMAZON.COM INC
DIA 73128548 ARCA ETF 390 SPDR DJIA TRUST
DIS 6459 NYSE COMMON 110 WALT DISNEY CO
GLD 51529211 ARCA ETF 215 SPDR GOLD SHARES
GOOGL 208813719 NASDAQ COMMON 170 ALPHABET INC-CL A
IBM 8314 NYSE COMMON 185 INTL BUSINESS MACHINES CORP
INTC 270639 NASDAQ COMMON 35 INTEL CORP
IWM 9579970 ARCA ETF 205 ISHARES RUSSELL 2000 ETF
JPM 1520593 NYSE COMMON 200 JPMORGAN CHASE & CO
KO 8894 NYSE COMMON 62 COCA-COLA CO
META 107113386 NASDAQ COMMON 500 META PLATFORMS INC-CLASS A
MSFT 272093 NASDAQ COMMON 420 MICROSOFT CORP
NFLX 15124833 NASDAQ COMMON 640 NETFLIX INC
NVDA 4815747 NASDAQ COMMON 120 NVIDIA CORP
ORCL 272800 NYSE COMMON 125 ORACLE CORP
QQQ 320227571 NASDAQ ETF 460 INVESCO QQQ TRUST SERIES 1
SPY 756733 ARCA ETF 520 SPDR S&P 500 ETF TRUST
TLT 15547841 NASDAQ ETF 92 ISHARES 20+ YEAR TREASURY BOND ETF
TSLA 76792991 NASDAQ COMMON 200 TESLA INC
"""


@dataclass(frozen=True, slots=True)
class Contract:
    """One contract with all that contract details say of it."""

    con_id: int
    symbol: str
    primary_exchange: str = "NASDAQ"
    stock_type: str = "COMMON"
    start_price: Decimal = Decimal(100)
    long_name: str = ""
    sec_type: str = "STK"
    last_trade_date: str = ""
    multiplier: str = ""
    exchange: str = "SMART"
    currency: str = "USD"
    local_symbol: str = ""
    trading_class: str = ""
    market_name: str = "NMS"
    minimum_tick: Decimal = Decimal("0.01")
    order_types: str = ORDER_TYPES
    valid_exchanges: str = ",".join(EXCHANGES)
    industry: str = ""
    category: str = ""
    subcategory: str = ""
    time_zone: str = "US/Eastern"
    trading_hours: str = ""
    liquid_hours: str = ""
    identifiers: tuple[tuple[str, str], ...] = ()
    market_rule_ids: str = ",".join(str(RULE) for _ in EXCHANGES)
    minimum_size: Decimal = Decimal(1)
    size_increment: Decimal = Decimal(1)
    suggested_increment: Decimal = Decimal(100)

    def at(self, exchange: str) -> Contract:
        """The same contract, routed to `exchange`."""
        return replace(self, exchange=exchange)


def tick_at(price: Decimal) -> Decimal:
    """The smallest step of a US share's price at `price` (Regulation NMS, rule 612)."""
    return Decimal("0.0001") if price < 1 else Decimal("0.01")


class Catalogue:
    """Contracts by identifier and by symbol."""

    def __init__(self, more: Iterable[str] = ()) -> None:
        self._by_symbol = {contract.symbol: contract for contract in _listed()}
        for symbol in more:
            self._by_symbol.setdefault(symbol, _made(symbol))
        self._by_id = {contract.con_id: contract for contract in self._by_symbol.values()}

    def __iter__(self) -> Iterator[Contract]:
        return iter(self._by_symbol.values())

    def by_id(self, con_id: int) -> Contract | None:
        """The contract of an identifier."""
        return self._by_id.get(con_id)

    def by_symbol(self, symbol: str) -> Contract | None:
        """The contract of a symbol."""
        return self._by_symbol.get(symbol)

    def find(self, query: ContractQuery) -> Contract | None:
        """The one contract that a client describes; None where there is none."""
        found = self._by_id.get(query.con_id) if query.con_id else self._by_symbol.get(query.symbol)
        if found is None:
            found = self._by_symbol.get(query.local_symbol) if not query.con_id and not query.symbol else None
        if found is None or not _agrees(found, query):
            return None
        return found.at(query.exchange or "SMART")

    def like(self, pattern: str, most: int = 16) -> tuple[Contract, ...]:
        """Contracts whose symbol begins with, or whose name contains, `pattern`."""
        wanted = pattern.upper()
        found = [c for c in self if wanted and (c.symbol.startswith(wanted) or wanted in c.long_name)]
        return tuple(sorted(found, key=lambda c: (not c.symbol.startswith(wanted), c.symbol))[:most])


def _agrees(contract: Contract, query: ContractQuery) -> bool:
    wanted = (
        (query.symbol, contract.symbol),
        (query.sec_type, contract.sec_type),
        (query.currency, contract.currency),
        (query.local_symbol, contract.local_symbol),
        (query.trading_class, contract.trading_class),
    )
    if any(asked and asked != has for asked, has in wanted):
        return False
    if query.exchange and query.exchange not in EXCHANGES:
        return False
    return query.primary_exchange in {"", contract.primary_exchange, "ISLAND", "SMART"}


def _listed() -> Iterator[Contract]:
    for line in _LISTED.splitlines():
        symbol, con_id, exchange, kind, price, name = line.split(" ", 5)
        yield _contract(symbol, int(con_id), exchange, kind, Decimal(price), name)


def _made(symbol: str) -> Contract:
    digest = int.from_bytes(hashlib.blake2b(symbol.encode(), digest_size=8).digest(), "big")
    return _contract(symbol, 900_000_000 + digest % 90_000_000, "NASDAQ", "COMMON", Decimal(20 + digest % 280), symbol)


def _contract(symbol: str, con_id: int, exchange: str, kind: str, price: Decimal, name: str) -> Contract:
    return Contract(
        con_id,
        symbol,
        exchange,
        kind,
        price,
        name,
        local_symbol=symbol,
        trading_class="NMS" if exchange == "NASDAQ" else symbol,
        market_name="NMS" if exchange == "NASDAQ" else symbol,
        identifiers=(("ISIN", f"US{con_id:010d}"),),
    )
