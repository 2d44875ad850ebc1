"""`openbell replay JOURNAL`: make every recorded decision again from its recorded inputs, and say which differ."""

from __future__ import annotations

import json
from pathlib import Path

import click

from openbell.domain.errors import JournalError, ManifestError
from openbell.journal.exact import InexactError
from openbell.journal.reading import JournalReader, find_journal, stored_inputs, stored_runs
from openbell.runner.audit import Audit, audit, counts

SHOWN = 1000  # differences that a table shows; JSON has all


@click.command("replay")
@click.argument("journal", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(journal: Path, output: str) -> None:
    """Derive every recorded decision again, from the recorded inputs alone.

    JOURNAL is a journal's folder, or a runner's data folder. A runner that works may go on meanwhile. Exits with 1 when
    a decision differs, with 2 when the folder cannot be read.
    """
    report = examine(journal)
    click.echo(as_json(report) if output == "json" else as_table(report))
    raise SystemExit(1 if report.differences else 0)


def examine(journal: Path) -> Audit:
    """The audit of a folder. Raises ManifestError for what cannot be read."""
    folder = find_journal(journal)
    try:
        with JournalReader(folder) as reader:
            intents = reader.orders()
        return audit(stored_inputs(folder), stored_runs(folder), intents)
    except (InexactError, JournalError) as error:
        raise ManifestError(f"{folder}: {error}") from error


def as_json(report: Audit) -> str:
    """Counts, every difference and what is untested."""
    differences = [
        {
            "time": each.time.isoformat(),
            "strategy": each.strategy,
            "symbol": each.symbol,
            "recorded": each.recorded,
            "derived": each.derived,
        }
        for each in report.differences
    ]
    document = {"counts": counts(report), "differences": differences, "untested": dict(report.untested)}
    return json.dumps(document, indent=1)


def as_table(report: Audit) -> str:
    """The same for people: each difference on a line, what is untested by name, the counts at the end."""
    lines = [f"differs: {each.sentence()}" for each in report.differences[:SHOWN]]
    if len(report.differences) > SHOWN:
        lines.append(f"… and {len(report.differences) - SHOWN} more; --output json shows all")
    lines += [f"untested: {times} {clause}" for clause, times in sorted(report.untested.items())]
    if report.not_evaluated:
        lines.append(f"no strategy was asked at {report.not_evaluated} ticks of strategy and symbol: nothing to derive")
    same = "none differs" if not report.differences else f"{len(report.differences)} differ"
    lines.append(
        f"{report.evaluations} evaluations with {report.decisions} decisions, {report.orders} orders and "
        f"{report.exits} exits were derived again: {same}"
    )
    return "\n".join(lines)
