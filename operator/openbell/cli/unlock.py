"""`openbell unlock [LOCK]`: the locks that hold openings back, and lifting one of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import click

from openbell.cli._api import DEFAULT_URL, TOKEN_VARIABLE, RunnerApi
from openbell.domain.errors import ManifestError


@click.command("unlock", epilog=f"Lifting needs the runner's token in the variable {TOKEN_VARIABLE}.")
@click.argument("lock", required=False)
@click.option("--url", default=DEFAULT_URL, show_default=True, help="Address of a runner's API.")
def command(lock: str | None, url: str) -> None:
    """Lift LOCK, so that what it held back may be opened again; without LOCK, list the locks that there are.

    What made a lock does not make it again of the same trades. Lifting a drawdown's lock measures the drawdown anew
    from the equity of now.
    """
    api = RunnerApi(url)
    if lock is None:
        locks = api.get("/api/locks")["locks"]
        for each in locks:
            click.echo(f"{each['lock_id']}  {described(each)}")
        if not locks:
            click.echo("No lock holds openings back.")
        return
    if not (lock.isascii() and lock.isalnum()):
        raise ManifestError(f"{lock!r} is not a lock's id; 'openbell unlock' without one lists the locks")
    lifted = api.delete(f"/api/locks/{quote(lock, safe='')}")["lock"]
    click.echo(f"{lock} was lifted at {_moment(lifted['lifted_at'])} by {lifted['lifted_by']}: {described(lifted)}")


def described(lock: dict[str, Any]) -> str:
    """A lock in one sentence."""
    held = {"Global": "every opening", "Symbol": "openings of", "Strategy": "openings by strategy"}[lock["scope"]]
    until = "it is lifted" if lock["until"] is None else _moment(lock["until"])
    whose = f"{held} {lock['subject']}".strip()
    return f"{whose}, until {until}: {lock['detail']} ({lock['reason']}, by {lock['made_by']})."


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
