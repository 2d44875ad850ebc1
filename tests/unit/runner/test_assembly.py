"""What a runner stands on, by what its scheduler asks for."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fakes.trading import control_of, scheduler_manifest
from openbell.brokers.ibkr.adapter import IBKRBroker
from openbell.brokers.ibkr.market import IBKRMarket
from openbell.brokers.ibkr.supervision import Reason
from openbell.brokers.simulated.adapter import SimulatedBroker
from openbell.domain.clock import SystemClock
from openbell.domain.errors import ManifestError
from openbell.journal import GatewayClient
from openbell.market.synthetic import SyntheticMarket
from openbell.runner.assembly import Ground, Site, build_ground, ground_of, prepare_site
from openbell.runner.gateway import Client

IBKR = {"broker": {"type": "IBKR", "ibkr": {"host": "gw", "account": "DU1"}}}
DATA = {"marketData": {"type": "IBKR", "ibkr": {"host": "gw"}}}


async def write(order_id: int) -> None:
    """Nothing is asked for here."""


CLIENT = Client(GatewayClient(77, 500), write)


def ground(folder: Path, stack: ExitStack, client: Client | None = None, **spec: Any) -> Ground:
    control = control_of(scheduler_manifest(**spec))
    site = prepare_site(control, data=folder, datasets=(), stack=stack)
    assert site == Site(folder, site.clock)
    assert isinstance(site.clock, SystemClock)
    return build_ground(control, site, stack=stack, client=client)


async def test_the_simulated_broker_has_a_market_of_its_own_and_no_connection(folder: Path) -> None:
    with ExitStack() as stack:
        made = ground(folder, stack)
        assert isinstance(made.broker, SimulatedBroker)
        assert isinstance(made.market, SyntheticMarket)
        assert (made.gateway, made.source) == (None, None)


async def test_a_gateway_brings_its_account_and_its_prices_over_one_connection(folder: Path) -> None:
    with ExitStack() as stack:
        made = ground(folder, stack, CLIENT, **IBKR)
        assert isinstance(made.broker, IBKRBroker)
        assert isinstance(made.market, IBKRMarket)
        assert made.gateway is made.broker.connection
        assert made.source is None
        assert (made.gateway.settings.client_id, made.broker.order_ids.following) == (77, 501)


async def test_prices_of_a_gateway_are_traded_on_by_the_simulated_broker(folder: Path) -> None:
    with ExitStack() as stack:
        made = ground(folder, stack, CLIENT, **DATA)
        assert isinstance(made.broker, SimulatedBroker)
        assert isinstance(made.market, IBKRMarket)
        assert made.source is not None
        assert made.source.link.reason is Reason.NOT_TRIED
        assert made.gateway is None, "there is no account that a person could take away"


@pytest.mark.parametrize("spec", [IBKR, DATA])
async def test_nobody_talks_to_a_gateway_without_a_client_id(folder: Path, spec: dict[str, Any]) -> None:
    with ExitStack() as stack, pytest.raises(ManifestError, match="who we are to it is not known"):
        ground(folder, stack, **spec)


@pytest.mark.parametrize(("spec", "is_new"), [(IBKR, True), (DATA, True), ({}, False)])
def test_other_hours_are_another_ground_where_prices_come_in_these_hours(spec: dict[str, Any], is_new: bool) -> None:
    before = control_of(scheduler_manifest(**spec))
    after = control_of(scheduler_manifest(market={"calendar": "XNYS"}, **spec))
    assert (ground_of(before) != ground_of(after)) is is_new
    assert ground_of(before) == ground_of(control_of(scheduler_manifest(minConfidence=0.9, **spec)))
