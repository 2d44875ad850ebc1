"""How a simulated gateway behaves, and what it says in words."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from openbell.gateway.faults import Fault


class DataRights(StrEnum):
    """What market data the user of the gateway has paid for."""

    LIVE = "live"
    DELAYED = "delayed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """The world behind the gateway. Money in the accounts' currency."""

    accounts: tuple[str, ...] = ("DU1000001",)
    starting_cash: Decimal = Decimal(1_000_000)
    seed: int = 1
    volatility: float = 0.0  # annualised; 0: prices move only when they are moved
    symbols: tuple[str, ...] = ()  # beside the catalogue's
    half_spread_ticks: int = 1
    depth: Decimal | None = None  # shares that trade at one quote; None: any number
    cancel_seconds: float = 0.0  # between a cancel and its effect; the order may fill meanwhile
    preset_tif: bool = True  # an order without a TIF becomes DAY, with warning 10349
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """A gateway: the world, where it listens, and how it deals with clients."""

    exchange: ExchangeSettings = ExchangeSettings()
    host: str = "127.0.0.1"
    port: int = 0
    max_version: int = 178
    poll_seconds: float = 0.02  # between two looks at the market
    data_rights: DataRights = DataRights.LIVE
    delay_seconds: float = 900.0  # of delayed data
    max_messages_per_second: int = 50
    pacing: bool = True  # whether too many requests for history are refused
    master_client_id: int | None = None
    faults: tuple[Fault, ...] = ()
