"""`openbell explain SUBJECT`: what was decided and why, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from openbell.cli._api import DEFAULT_URL
from openbell.cli._explaining import ApiPlace, FolderPlace, Place
from openbell.domain.errors import JournalError, ManifestError
from openbell.domain.identity import PREFIX
from openbell.engine.explain import explain_order, explain_runs
from openbell.engine.trail import DecisionQuery

READ_RUNS = 500


@click.command("explain")
@click.argument("subject")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of a journal.")
@click.option("--url", help=f"Address of a runner's API.  [default: {DEFAULT_URL}]")
def command(subject: str, data: Path | None, url: str | None) -> None:
    """Say why something was or was not done.

    SUBJECT is the reference of an order (ob1.…), a symbol, a strategy, or STRATEGY/SYMBOL. It is read from a runner's
    API, or with --data from a journal's folder (a runner's data folder will do), whether or not its runner works.
    """
    if data is not None and url is not None:
        raise ManifestError("--data and --url are both given; an explanation is read from one place")
    try:
        place: Place = FolderPlace(data) if data is not None else ApiPlace(url or DEFAULT_URL)
        for line in explained(place, subject):
            click.echo(line)
    except JournalError as error:
        raise ManifestError(str(error)) from error


def explained(place: Place, subject: str) -> Iterable[str]:
    """The sentences about a subject. Raises ManifestError where nothing is known of it."""
    if subject.startswith(f"{PREFIX}."):
        found = place.order(subject)
        if found is None:
            raise ManifestError(f"there is no order {subject} here")
        return explain_order(*found)
    strategy, slash, symbol = subject.partition("/")
    queries = (
        [DecisionQuery(strategy, symbol, limit=READ_RUNS), DecisionQuery(strategy, symbol.upper(), limit=READ_RUNS)]
        if slash
        else [
            DecisionQuery(symbol=subject, limit=READ_RUNS),
            DecisionQuery(strategy=subject, limit=READ_RUNS),
            DecisionQuery(symbol=subject.upper(), limit=READ_RUNS),
        ]
    )
    for query in queries:
        runs = place.runs(query)
        if runs:
            return explain_runs(runs)
    raise ManifestError(
        f"nothing was decided of {subject!r} that is still kept; name an order (ob1.…), a symbol, a strategy or "
        "STRATEGY/SYMBOL"
    )
