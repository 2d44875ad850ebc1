"""`openbell export JOURNAL --to FOLDER`: what a runner decided and what came of it, as CSV files."""

from __future__ import annotations

from pathlib import Path

import click

from openbell.journal.export import export_journal

PATH = click.Path(path_type=Path)


@click.command("export")
@click.argument("journal", type=PATH)
@click.option("--to", "folder", required=True, type=PATH, help="Folder for the files; made where it is missing.")
@click.option("--force", is_flag=True, help="Write files anew that are there already.")
def command(journal: Path, folder: Path, *, force: bool) -> None:
    """Write every table of JOURNAL as a CSV file: intents, fills, trades, positions, locks and what else is kept.

    JOURNAL is the file journal.db or the folder that it is in. A runner may be using it: what is written is what it
    had committed at one moment.
    """
    for name, count in export_journal(journal, folder, force=force).items():
        click.echo(f"{folder / name}.csv: {count} row{'' if count == 1 else 's'}")
