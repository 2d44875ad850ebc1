"""`openbell check FILE…`: everything that is wrong with manifests, without a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from openbell.domain.errors import ManifestError
from openbell.resources.effective import effective_settings
from openbell.resources.load import Manifest, described, documents, parse_manifest, problems, read
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.strategy import StrategySpec
from openbell.strategies.loader import validate_parameters


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be said of one manifest: nothing is wrong where `problems` is empty."""

    subject: str
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@click.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
def command(files: tuple[Path, ...]) -> None:
    """Say what is wrong with the manifests in FILES; exit with 2 when something is."""
    findings = list(examine(files))
    for finding in findings:
        for problem in finding.problems:
            click.echo(f"{finding.subject}: {problem}", err=True)
        for note in finding.notes:
            click.echo(f"{finding.subject}: note: {note}")
        if not finding.problems:
            click.echo(f"{finding.subject}: ok")
    raise SystemExit(2 if any(finding.problems for finding in findings) else 0)


def examine(files: Sequence[Path]) -> Iterator[Finding]:
    """One finding for each manifest, the files in order; strategies are seen beside their schedulers."""
    sound: list[tuple[str, Manifest]] = []
    seen: set[tuple[str, str, str]] = set()
    for path in files:
        try:
            found = documents(read(path), source=str(path))
        except ManifestError as error:
            yield Finding(str(path), (str(error).removeprefix(f"{path}: "),))
            continue
        if not found:
            yield Finding(str(path), ("there is no manifest in this file",))
        for number, document in enumerate(found, start=1):
            subject = f"{path}: {described(document) or f'document {number}'}"
            wrong = problems(document)
            if wrong:
                yield Finding(subject, wrong)
                continue
            manifest = parse_manifest(document)
            key = (manifest.kind, manifest.namespace, manifest.name)
            if key in seen:
                yield Finding(subject, (f"there is another {manifest.kind} of that name",))
                continue
            seen.add(key)
            sound.append((subject, manifest))
    schedulers = {
        (manifest.namespace, manifest.name): manifest.spec
        for _, manifest in sound
        if isinstance(manifest.spec, SchedulerSpec)
    }
    for subject, manifest in sound:
        if isinstance(manifest.spec, StrategySpec):
            scheduler = schedulers.get((manifest.namespace, manifest.spec.scheduler_ref.name))
            yield _strategy(subject, manifest.spec, scheduler)
        else:
            yield Finding(subject)


def _strategy(subject: str, spec: StrategySpec, scheduler: SchedulerSpec | None) -> Finding:
    """What only shows beside the type's parameters and the scheduler's settings."""
    wrong: list[str] = []
    try:
        validate_parameters(spec.type.value, spec.parameters)
    except ManifestError as error:
        wrong.append(str(error))
    if scheduler is None:
        missing = f"its scheduler {spec.scheduler_ref.name} is in none of these files"
        return Finding(subject, tuple(wrong), (missing,))
    try:
        effective_settings(scheduler, spec)
    except ManifestError as error:
        wrong.append(str(error))
    return Finding(subject, tuple(wrong))
