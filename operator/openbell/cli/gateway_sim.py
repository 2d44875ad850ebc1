"""`openbell gateway-sim`: a gateway of Interactive Brokers that is not one, for trying and for tests."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import click

from openbell.gateway.control import Control
from openbell.gateway.scenario import Scenario, read_file
from openbell.gateway.server import Gateway
from openbell.market.calendar import ALWAYS, calendar_for
from openbell.market.sessions import VENUES


@click.command()
@click.option("--listen", default="127.0.0.1:4002", show_default=True, help="HOST:PORT; port 0 takes a free one.")
@click.option(
    "--scenario",
    "scenario_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML file that says what the gateway is and what goes wrong with it.",
)
@click.option("--account", "accounts", multiple=True, help="An account's code (repeatable); DU1000001 by default.")
@click.option("--seed", type=click.IntRange(0), help="Of prices, identifiers and faults of chance; 1 by default.")
@click.option("--symbol", "symbols", multiple=True, help="A share beside those of the catalogue (repeatable).")
@click.option("--calendar", default=ALWAYS, show_default=True, type=click.Choice([ALWAYS, *VENUES]))
@click.option("--control", help="HOST:PORT of the back door by which prices are moved and things broken (tests).")
def command(
    listen: str,
    scenario_path: Path | None,
    accounts: tuple[str, ...],
    seed: int | None,
    symbols: tuple[str, ...],
    calendar: str,
    control: str | None,
) -> None:
    """Serve a simulated IB Gateway until SIGTERM.

    It speaks the socket protocol of TWS, so that programs written with ib_async, ib_insync or the official client trade
    against it unchanged.
    """
    scenario = Scenario() if scenario_path is None else read_file(scenario_path)
    given: dict[str, Any] = {"accounts": accounts or None, "seed": seed, "symbols": symbols or None}
    changed = {name: value for name, value in given.items() if value is not None}
    settings = scenario.model_copy(update=changed).settings(*_address(listen, "--listen"))
    door = None if control is None else _address(control, "--control")
    hours = None if calendar == ALWAYS else calendar_for(calendar)
    try:
        asyncio.run(_serve(Gateway(settings, hours=hours), door))
    except OSError as error:
        raise click.ClickException(f"an address cannot be listened on: {error}") from error


def _address(text: str, option: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{text!r} is not HOST:PORT", param_hint=option)
    return host.strip("[]"), int(port)


async def _serve(gateway: Gateway, door: tuple[str, int] | None) -> None:
    loop = asyncio.get_running_loop()
    serving = [loop.create_task(gateway.serve())]
    if door is not None:
        serving.append(loop.create_task(Control(gateway).serve(*door, _announce_control)))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: [task.cancel() for task in serving])
    announcing = loop.create_task(_announce(gateway))
    try:
        await asyncio.wait(serving, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (*serving, announcing):
            task.cancel()
        ended = await asyncio.gather(*serving, announcing, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome


async def _announce(gateway: Gateway) -> None:
    # One line that whoever started this process can wait for; with port 0 it is the only way to know the port.
    await gateway.ready.wait()
    click.echo(f"gateway listening on {gateway.host}:{gateway.port}")


def _announce_control(host: str, port: int) -> None:
    click.echo(f"control listening on {host}:{port}")
