"""`openbell resolve [ORDER]`: the orders that the broker has no certain word on, and a person's word on one of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from openbell.cli._api import DEFAULT_URL, TOKEN_VARIABLE, RunnerApi
from openbell.domain.errors import ManifestError

OPEN = ("Intended", "Doubtful", "Working")
MOST = 500


@click.command("resolve", epilog=f"Resolving needs the runner's token in the variable {TOKEN_VARIABLE}.")
@click.argument("order", required=False)
@click.option("--as", "outcome", type=click.Choice(["sent", "lost"]), help="What became of it.")
@click.option("--url", default=DEFAULT_URL, show_default=True, help="Address of a runner's API.")
def command(order: str | None, outcome: str | None, url: str) -> None:
    """Say what became of ORDER, which holds entries because the broker has no certain word on it.

    Look at the broker's own list first. sent: the order was there and is over, with the fills that are known. lost: it
    never got there. Either is written to the journal; what the broker still says of the order counts all the same.
    Without ORDER, list the orders that are not over.
    """
    api = RunnerApi(url)
    if order is None:
        found = [each for each in api.get("/api/orders", {"limit": MOST})["orders"] if each["state"] in OPEN]
        for each in found:
            click.echo(described(each))
        if not found:
            click.echo("No order is open.")
        return
    if outcome is None:
        raise ManifestError("--as is missing; it must be sent or lost")
    if not (order.isascii() and order.replace(".", "").isalnum()):
        raise ManifestError(f"{order!r} is not an order's reference; 'openbell resolve' without one lists them")
    click.echo(described(api.post(f"/api/orders/{quote(order, safe='')}/resolve", {"as": outcome})["order"]))


def described(order: dict[str, Any]) -> str:
    """An order in one line."""
    what = f"{order['side']} {order['quantity']} {order['symbol']} by {order['strategy']}"
    detail = f" ({order['detail']})" if order["detail"] else ""
    return f"{order['order_ref']}  {order['state']}: {what}, {order['filled_quantity']} filled{detail}"
