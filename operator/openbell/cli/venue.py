"""`openbell venue`: the simulated broker as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from decimal import Decimal, InvalidOperation
from pathlib import Path

import click

from openbell.brokers.simulated.book import Book
from openbell.brokers.simulated.desk import POLL_SECONDS, VenueSettings
from openbell.brokers.simulated.faults import FaultPlan, parse_fault
from openbell.brokers.simulated.server import VenueServer
from openbell.brokers.simulated.venue import Terms
from openbell.domain.clock import SystemClock
from openbell.market.calendar import ALWAYS, calendar_for
from openbell.market.sessions import VENUES
from openbell.market.synthetic import SyntheticMarket


class Money(click.ParamType[Decimal]):
    """A decimal number that is not negative."""

    name = "amount"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            self.fail(f"{value!r} is not a number", param, ctx)
        if not amount.is_finite() or amount < 0:
            self.fail(f"{value!r} is not allowed; it must be 0 or more", param, ctx)
        return amount


@click.command()
@click.option("--listen", default="127.0.0.1:8400", show_default=True, help="HOST:PORT; port 0 takes a free one.")
@click.option(
    "--book", "book_path", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The book's file."
)
@click.option("--seed", default=1, show_default=True, help="Of prices, partial fills and faults of chance.")
@click.option(
    "--volatility", default=0.5, show_default=True, type=click.FloatRange(0.0, 20.0), help="Annualised ratio."
)
@click.option("--start-price", type=click.FloatRange(0.01), help="Of every symbol; each its own by default.")
@click.option("--symbol", "symbols", multiple=True, help="What is traded (repeatable); everything by default.")
@click.option("--calendar", default=ALWAYS, show_default=True, type=click.Choice([ALWAYS, *VENUES]))
@click.option("--starting-cash", default="100000", show_default=True, type=Money(), help="Of a new account.")
@click.option("--spread-bps", default=2.0, show_default=True, type=click.FloatRange(0.0, 1000.0))
@click.option("--slippage-bps", default=1.0, show_default=True, type=click.FloatRange(0.0, 1000.0))
@click.option("--commission-per-share", default="0.005", show_default=True, type=Money())
@click.option("--minimum-commission", default="1.00", show_default=True, type=Money())
@click.option("--partial-fills", is_flag=True, help="Fill orders in seeded parts.")
@click.option("--poll-seconds", default=POLL_SECONDS, show_default=True, type=click.FloatRange(0.001, 60.0))
@click.option("--fault", "faults", multiple=True, help="kind[:nth=N|every=N|chance=P|seconds=S], repeatable.")
@click.option("--admin", is_flag=True, help="Let a connection list arrivals, set faults and trade by hand (tests).")
def command(
    listen: str,
    book_path: Path,
    seed: int,
    volatility: float,
    start_price: float | None,
    symbols: tuple[str, ...],
    calendar: str,
    starting_cash: Decimal,
    spread_bps: float,
    slippage_bps: float,
    commission_per_share: Decimal,
    minimum_commission: Decimal,
    partial_fills: bool,
    poll_seconds: float,
    faults: tuple[str, ...],
    admin: bool,
) -> None:
    """Serve a simulated broker with a synthetic market, until SIGTERM."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{listen!r} is not HOST:PORT", param_hint="--listen")
    market = SyntheticMarket(seed, volatility, start_price, symbols or None)
    terms = Terms(starting_cash, spread_bps, slippage_bps, commission_per_share, minimum_commission, partial_fills)
    settings = VenueSettings(seed, terms, calendar_for(calendar), market.has, poll_seconds)
    plan = FaultPlan([parse_fault(text) for text in faults], seed)
    book = Book.open(book_path)
    try:
        server = VenueServer(book, market, SystemClock(), settings, plan, allow_admin=admin)
        asyncio.run(_serve(server, host.strip("[]"), int(port)))
    except OSError as error:
        raise click.ClickException(f"{listen} cannot be listened on: {error}") from error
    finally:
        book.close()


async def _serve(server: VenueServer, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    serving = loop.create_task(server.serve(host, port, _announce))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def _announce(host: str, port: int) -> None:
    # One line that whoever started this process can wait for; with port 0 it is the only way to know the port.
    click.echo(f"venue listening on {host}:{port}")
