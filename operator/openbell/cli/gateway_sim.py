"""`openbell gateway-sim`: a gateway of Interactive Brokers that is not one, for trying and for tests."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from decimal import Decimal

import click

from openbell.cli.venue import Money
from openbell.gateway.server import Gateway
from openbell.gateway.settings import DataRights, ExchangeSettings, GatewaySettings
from openbell.market.calendar import ALWAYS, calendar_for
from openbell.market.sessions import VENUES


@click.command()
@click.option("--listen", default="127.0.0.1:4002", show_default=True, help="HOST:PORT; port 0 takes a free one.")
@click.option("--account", "accounts", multiple=True, default=("DU1000001",), show_default=True, help="Repeatable.")
@click.option("--starting-cash", default="1000000", show_default=True, type=Money(), help="Of each account.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Of prices and identifiers.")
@click.option(
    "--volatility", default=0.3, show_default=True, type=click.FloatRange(0.0, 20.0), help="Annualised ratio."
)
@click.option("--symbol", "symbols", multiple=True, help="A share beside those of the catalogue (repeatable).")
@click.option("--calendar", default=ALWAYS, show_default=True, type=click.Choice([ALWAYS, *VENUES]))
@click.option("--depth", type=click.IntRange(1), help="Shares that trade at one quote; any number by default.")
@click.option(
    "--data",
    "rights",
    default=DataRights.LIVE.value,
    show_default=True,
    type=click.Choice([right.value for right in DataRights]),
    help="Market data that was paid for.",
)
@click.option("--read-only", is_flag=True, help="Refuse orders, as a gateway does whose API is set to read-only.")
@click.option("--max-version", default=178, show_default=True, type=click.IntRange(157, 178), help="Of the protocol.")
@click.option("--master-client-id", type=click.IntRange(0), help="The client that is told of everyone's orders.")
def command(
    listen: str,
    accounts: tuple[str, ...],
    starting_cash: Decimal,
    seed: int,
    volatility: float,
    symbols: tuple[str, ...],
    calendar: str,
    depth: int | None,
    rights: str,
    read_only: bool,
    max_version: int,
    master_client_id: int | None,
) -> None:
    """Serve a simulated IB Gateway until SIGTERM.

    It speaks the socket protocol of TWS, so that programs written with ib_async, ib_insync or the official client trade
    against it unchanged.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{listen!r} is not HOST:PORT", param_hint="--listen")
    exchange = ExchangeSettings(
        accounts=accounts,
        starting_cash=starting_cash,
        seed=seed,
        volatility=volatility,
        symbols=symbols,
        depth=None if depth is None else Decimal(depth),
        read_only=read_only,
    )
    settings = GatewaySettings(
        exchange=exchange,
        host=host.strip("[]"),
        port=int(port),
        max_version=max_version,
        data_rights=DataRights(rights),
        master_client_id=master_client_id,
    )
    hours = None if calendar == ALWAYS else calendar_for(calendar)
    try:
        asyncio.run(_serve(Gateway(settings, hours=hours)))
    except OSError as error:
        raise click.ClickException(f"{listen} cannot be listened on: {error}") from error


async def _serve(gateway: Gateway) -> None:
    loop = asyncio.get_running_loop()
    serving = loop.create_task(gateway.serve())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    announcing = loop.create_task(_announce(gateway))
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    announcing.cancel()


async def _announce(gateway: Gateway) -> None:
    # One line that whoever started this process can wait for; with port 0 it is the only way to know the port.
    await gateway.ready.wait()
    click.echo(f"gateway listening on {gateway.host}:{gateway.port}")
