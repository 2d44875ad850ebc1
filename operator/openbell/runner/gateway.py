"""A broker behind a gateway: who we are to it, and which account may be traded there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from openbell.brokers.ibkr import account
from openbell.brokers.ibkr.adapter import IBKRBroker, Settings
from openbell.brokers.ibkr.clientid import client_id_of
from openbell.brokers.ibkr.market import IBKRMarket
from openbell.brokers.ibkr.orderids import OrderIds
from openbell.brokers.ibkr.source import IBKRSource
from openbell.domain.clock import Clock
from openbell.domain.errors import ManifestError
from openbell.journal import GatewayClient, Journal
from openbell.market.calendar import SessionCalendar
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.surroundings import BrokerType, IBKRSpec, MarketDataType, Mode


@dataclass(frozen=True, slots=True)
class Client:
    """Who we are to the gateway, as the journal keeps it, and how the order ids that may be used up are written down.

    `live_account` is the one that whoever runs Openbell allows live trading for; empty: none.
    """

    kept: GatewayClient
    write_order_id: Callable[[int], Awaitable[None]]
    live_account: str = ""


def needs_client(spec: SchedulerSpec) -> bool:
    """Whether the spec asks for a gateway."""
    return spec.broker.type is BrokerType.IBKR or spec.market_data.type is MarketDataType.IBKR


async def client_of(journal: Journal, owner: str, live_account: str) -> Client:
    """Who we are: derived from the owner of the orders the first time, afterwards what the journal has kept."""
    kept = await journal.adopt_gateway_client(client_id_of(owner))
    return Client(kept, journal.use_order_ids, live_account)


def broker_of(spec: SchedulerSpec, clock: Clock, client: Client) -> IBKRBroker:
    """The adapter for the account that the spec names. Whether that may be traded it says itself, once it is known."""
    ibkr = _ibkr(spec)
    wanted = account.Wanted(ibkr.account, account.Mode(spec.mode.value), client.live_account)
    return IBKRBroker(
        Settings(ibkr.host, ibkr.port, client.kept.client_id, wanted),
        clock,
        order_ids=OrderIds.kept(client.kept.order_id),
        write_order_id=client.write_order_id,
    )


def source_of(spec: SchedulerSpec, clock: Clock, client: Client) -> IBKRSource:
    """A connection for market data alone."""
    data = spec.market_data.ibkr
    if data is None:
        raise ManifestError("spec.marketData.ibkr is required when spec.marketData.type is IBKR")
    return IBKRSource(Settings(data.host, data.port, client.kept.client_id), clock)


def market_of(spec: SchedulerSpec, source: IBKRBroker | IBKRSource, calendar: SessionCalendar) -> IBKRMarket:
    """The prices that come over a connection, in the scheduler's hours."""
    named = spec.broker.ibkr or spec.market_data.ibkr
    return source.market_data(
        calendar, hours_only=spec.market.hours_only, allow_delayed=named is not None and named.allow_delayed_data
    )


def is_live_refused(spec: SchedulerSpec, live_account: str) -> bool:
    """Whether Live is asked for without the second statement for the same account, or without stops at the broker."""
    if spec.mode is not Mode.LIVE:
        return False
    named = spec.broker.ibkr.account if spec.broker.ibkr is not None else ""
    return not named or named != live_account or not spec.exits.broker_side


def _ibkr(spec: SchedulerSpec) -> IBKRSpec:
    if spec.broker.ibkr is None:
        raise ManifestError("spec.broker.ibkr is required when spec.broker.type is IBKR")
    return spec.broker.ibkr
