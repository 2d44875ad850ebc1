"""Blocks of the scheduler's spec that say where it trades: market calendar, broker, market data."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, WithJsonSchema

from openbell.resources.common import (
    Bool,
    CalendarDate,
    Model,
    Money,
    PositiveMoney,
    Rule,
    Symbol,
    block_of,
    list_type,
    matching,
    no_duplicates,
    one_of,
    whole,
)

_TIME_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
TimeOfDay = Annotated[
    str,
    Field(strict=True),
    matching(_TIME_PATTERN, 'a time of day in quotes, like "13:00"'),
    WithJsonSchema({"type": "string", "pattern": _TIME_PATTERN, "maxLength": 5}),
]

_ADDRESS_PATTERN = r"^([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?:[0-9]{1,5})?$"
Address = Annotated[
    str,
    Field(strict=True),
    matching(_ADDRESS_PATTERN, "empty or host:port"),
    WithJsonSchema({"type": "string", "pattern": _ADDRESS_PATTERN, "maxLength": 260}),
]

# No part may begin with a dot, so that a path cannot leave the data folder.
_FILE_PATTERN = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$"
DataFile = Annotated[
    str,
    Field(strict=True, max_length=255),
    matching(_FILE_PATTERN, "a path within the data folder, like stocks.csv.gz"),
    WithJsonSchema({"type": "string", "pattern": _FILE_PATTERN, "maxLength": 255}),
]

BasisPoints = Annotated[float, Field(strict=True, ge=0, le=1000)]


class Calendar(StrEnum):
    XNYS = "XNYS"
    XNAS = "XNAS"
    XLON = "XLON"
    XTKS = "XTKS"
    XHKG = "XHKG"
    XETR = "XETR"
    XTSE = "XTSE"
    CMES = "CMES"
    ALWAYS = "Always"


class BrokerType(StrEnum):
    SIMULATED = "Simulated"
    IBKR = "IBKR"


class Mode(StrEnum):
    PAPER = "Paper"
    LIVE = "Live"


class MarketDataType(StrEnum):
    BROKER = "Broker"
    SYNTHETIC = "Synthetic"
    REPLAY = "Replay"
    IBKR = "IBKR"


class EarlyClose(Model):
    """One day on which the session ends early."""

    date: CalendarDate = Field(description="The session's date, in the exchange's time zone.")
    time: TimeOfDay = Field(description='When the session ends, in the exchange\'s time zone, like "13:00".')

    def to_time(self) -> dt.time:
        """The end of the session as a wall-clock time of the exchange."""
        return dt.time.fromisoformat(self.time)


class MarketSpec(Model):
    """When there is a market."""

    calendar: Calendar = Field(
        Calendar.XNYS,
        description="Sessions, lunch breaks, holidays and early closes of: XNYS, the New York Stock Exchange; XNAS, "
        "Nasdaq; XLON, London; XTKS, Tokyo; XHKG, Hong Kong; XETR, Xetra in Frankfurt; XTSE, Toronto; CMES, the CME's "
        "electronic session, from the evening before. Always: a market without sessions.",
    )
    hours_only: Bool = Field(
        True, description="Whether entries are only evaluated while the market trades: in a session, not in its lunch."
    )
    extra_closures: Annotated[tuple[CalendarDate, ...], no_duplicates(str, "{} is listed twice")] = Field(
        (),
        max_length=100,
        description="Further days without a session, such as one closed at short notice.",
        json_schema_extra=list_type("set"),
    )
    early_closes: Annotated[tuple[EarlyClose, ...], no_duplicates(lambda day: day.date, "{} is listed twice")] = Field(
        (),
        max_length=100,
        description="Further days on which the session ends early.",
        json_schema_extra=list_type("map", "date"),
    )


class SimulatedBrokerSpec(Model):
    """The built-in broker: fills at the next quote or bar, with spread, slippage and commission."""

    address: Address = Field(
        "",
        description="host:port of a venue served by `openbell venue`; empty = the venue runs inside the runner and "
        "its book is kept on the runner's volume.",
    )
    starting_cash: PositiveMoney = Field(Decimal(100000), description="Cash of a new account, as a decimal string.")
    seed: Annotated[int, Field(strict=True, ge=0, le=2**31 - 1), whole] = Field(
        1, description="Another seed gives other slippage and other partial fills."
    )
    slippage_bps: BasisPoints = Field(
        1.0,
        description="Slippage of a market order, in hundredths of a percent, on average: each fill's lies between "
        "none and twice that.",
    )
    spread_bps: BasisPoints = Field(2.0, description="Distance of bid and ask, in hundredths of a percent.")
    commission_per_share: Money = Field(Decimal("0.005"), description="Commission for each share, as a decimal string.")
    minimum_commission: Money = Field(Decimal(1), description="Least commission of an order, as a decimal string.")
    partial_fills: Bool = Field(False, description="Whether orders may be filled in several parts.")


_DELAYED = "Whether prices that are a quarter of an hour old may be traded on where there are no live ones."


class IBKRSpec(Model):
    """How to reach Interactive Brokers' TWS or IB Gateway."""

    host: Annotated[str, Field(strict=True, min_length=1, max_length=253)] = Field(
        description="Host name or address of TWS or IB Gateway."
    )
    port: Annotated[int, Field(strict=True, ge=1, le=65_535), whole] = Field(
        4002, description="Port of its API: 4002 is IB Gateway's for paper trading."
    )
    account: Annotated[str, Field(strict=True, max_length=32)] = Field(
        "", description="The account to trade; empty = the only one that the gateway reports."
    )
    allow_delayed_data: Bool = Field(False, description=f"{_DELAYED} Refused in mode Live.")


class BrokerSpec(Model):
    """Who executes orders."""

    rules: ClassVar[tuple[Rule, ...]] = block_of("spec.broker", "ibkr", BrokerType.IBKR)

    type: Annotated[BrokerType, one_of(BrokerType)] = Field(
        BrokerType.SIMULATED, description="Simulated: built in. IBKR: Interactive Brokers, described by ibkr."
    )
    simulated: SimulatedBrokerSpec = Field(
        default_factory=SimulatedBrokerSpec, description="Settings of the simulated broker."
    )
    ibkr: IBKRSpec | None = Field(None, description="Required for type IBKR, refused for any other.")


class IBKRDataSpec(Model):
    """Which TWS or IB Gateway gives the prices, where another broker executes the orders."""

    host: Annotated[str, Field(strict=True, min_length=1, max_length=253)] = Field(
        description="Host name or address of TWS or IB Gateway."
    )
    port: Annotated[int, Field(strict=True, ge=1, le=65_535), whole] = Field(
        4002, description="Port of its API: 4002 is IB Gateway's for paper trading."
    )
    allow_delayed_data: Bool = Field(False, description=_DELAYED)


class SyntheticSpec(Model):
    """Prices that are a function of seed, symbol and time, so that a restart continues them."""

    seed: Annotated[int, Field(strict=True, ge=0, le=2**31 - 1), whole] = Field(
        1, description="Another seed gives another market."
    )
    volatility: Annotated[float, Field(strict=True, ge=0, le=1000)] = Field(
        0.5, description="Annualised volatility of the prices, as a ratio."
    )
    start_price: PositiveMoney | None = Field(
        None, description="Price around which every symbol moves, as a decimal string; absent = one for each symbol."
    )


class Split(Model):
    """A stock split, applied to bars, positions and indicators on its date."""

    symbol: Symbol = Field(description="The symbol that was split.")
    date: CalendarDate = Field(description="First day on which the split prices trade.")
    ratio: Annotated[float, Field(strict=True, gt=0, le=1000)] = Field(
        description="New shares for each old one: 2 for a split of 2:1."
    )


class ReplaySpec(Model):
    """Recorded bars, traded in simulated time."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.from <= self.to",
            message="spec.marketData.replay.from must not be after spec.marketData.replay.to",
            check=lambda replay: replay.from_date <= replay.to_date,
            field_path=".from",
        ),
    )

    file: DataFile = Field(description="CSV file of bars within the data folder, like stocks.csv.gz.")
    from_date: CalendarDate = Field(alias="from", description="First day to trade.")
    to_date: CalendarDate = Field(alias="to", description="Last day to trade.")
    splits: Annotated[
        tuple[Split, ...],
        no_duplicates(lambda split: (split.symbol, str(split.date)), "{} is listed twice"),
    ] = Field(
        (),
        max_length=1000,
        description="Splits within the recorded time, for bars that are not adjusted.",
        json_schema_extra=list_type("map", "symbol", "date"),
    )


class MarketDataSpec(Model):
    """Where bars and quotes come from."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *block_of("spec.marketData", "replay", MarketDataType.REPLAY),
        *block_of("spec.marketData", "ibkr", MarketDataType.IBKR),
    )

    type: Annotated[MarketDataType, one_of(MarketDataType)] = Field(
        MarketDataType.BROKER,
        description="Broker: the broker's own (of the simulated broker: synthetic). Synthetic: prices made from a "
        "seed. Replay: recorded bars in simulated time. IBKR: Interactive Brokers', with the simulated broker.",
    )
    synthetic: SyntheticSpec = Field(default_factory=SyntheticSpec, description="Settings of the synthetic market.")
    replay: ReplaySpec | None = Field(None, description="Required for type Replay, refused for any other.")
    ibkr: IBKRDataSpec | None = Field(None, description="Required for type IBKR, refused for any other.")
