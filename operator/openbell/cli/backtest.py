"""`openbell backtest FILE…`: what a scheduler and its strategies would have done over recorded bars."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

from openbell.backtest.proof import Proofs
from openbell.backtest.report import as_json, as_page, report_of
from openbell.backtest.run import Backtest
from openbell.backtest.setup import prepare

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "data"
PATH = click.Path(path_type=Path, dir_okay=False)
DAY = click.DateTime(["%Y-%m-%d"])


@click.command("backtest")
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option("--bars", type=PATH, help="File of bars, CSV (also gzipped) or Parquet, instead of the manifest's.")
@click.option(
    "--datasets",
    envvar="OPENBELL_DATASETS",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with the manifest's file.  [default: data, beside the manifest]",
)
@click.option("--from", "start", type=DAY, help="First day to trade.  [default: the manifest's, or the file's first]")
@click.option("--to", "end", type=DAY, help="Last day to trade.  [default: the manifest's, or the file's last]")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--trades", "all_trades", is_flag=True, help="Show every trade, not the last ones only.")
@click.option(
    "--batch",
    is_flag=True,
    help="Go from event to event by the rules' batch form, once it is proven on these bars; for many runs over the "
    "same bars with other exits, sizing or limits.",
)
def command(
    files: tuple[Path, ...],
    bars: Path | None,
    datasets: Path | None,
    start: datetime | None,
    end: datetime | None,
    output: str,
    all_trades: bool,
    batch: bool,
) -> None:
    """Trade the scheduler and the strategies of FILES over recorded bars, in simulated time.

    The decisions are the ones that trade live, so a replay of the same bars gives the same trades. A signal at the
    close of a bar fills at the open of the next.
    """
    folders = (datasets, *(file.parent / "data" for file in files), *(file.parent for file in files), EXAMPLES)
    setup = prepare(
        files,
        bars=bars,
        datasets=[folder for folder in folders if folder is not None],
        start=_day(start),
        end=_day(end),
    )
    run = Backtest(setup)
    if batch:
        Proofs(_proofs_folder()).require(Backtest(setup))
    with _progress(len(run.timeline.sessions)) as tell:
        run.run(tell, batch=batch)
    report = report_of(setup, run)
    if output == "json":
        click.echo(json.dumps(as_json(report), indent=1, allow_nan=False))
    else:
        for line in as_page(report, all_trades=all_trades):
            click.echo(line)


def _proofs_folder() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "openbell" / "proofs"


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


@contextmanager
def _progress(sessions: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr where that is a terminal, and nothing else anywhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    bar: Any
    with click.progressbar(length=sessions, label="sessions", file=sys.stderr) as bar:
        yield lambda done: bar.update(done - bar.pos)
