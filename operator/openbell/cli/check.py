"""`openbell check FILE…`: everything that is wrong with manifests, without a cluster."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from structlog.testing import capture_logs

from openbell.domain.errors import ManifestError
from openbell.resources import scheduler as scheduler_kind
from openbell.resources.load import Manifest, described, documents, is_foreign, parse_manifest, problems, read
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.strategy import StrategySpec
from openbell.runner.control import Control
from openbell.runner.sources import CONFIG_MAP, ConfigMaps, Texts, config_map_texts
from openbell.runner.trying import try_strategy

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "data"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be said of one manifest: nothing is wrong where `problems` is empty."""

    subject: str
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_foreign: bool = False


@click.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
def command(files: tuple[Path, ...]) -> None:
    """Say what is wrong with the manifests in FILES; exit with 2 when something is.

    Objects of other APIs, such as a Deployment, are passed over. Every strategy is tried on bars, too: whether it looks
    ahead, asks for enough of them, and says the same twice.
    """
    findings = list(examine(files))
    for finding in findings:
        for problem in finding.problems:
            click.echo(f"{finding.subject}: {problem}", err=True)
        for note in finding.notes:
            click.echo(f"{finding.subject}: note: {note}")
        if finding.is_foreign:
            click.echo(f"{finding.subject}: passed over, for it is not Openbell's")
        elif not finding.problems:
            click.echo(f"{finding.subject}: ok")
    raise SystemExit(2 if any(finding.problems for finding in findings) else 0)


def examine(files: Sequence[Path]) -> Iterator[Finding]:
    """One finding for each manifest, the files in order; strategies are seen beside their schedulers."""
    sound: list[tuple[str, Manifest]] = []
    seen: set[tuple[str, str, str]] = set()
    texts: dict[str, Texts] = {}
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
            if isinstance(document, Mapping) and document.get("kind") == CONFIG_MAP:
                yield _config_map(subject, document, texts)
                continue
            if is_foreign(document):
                yield Finding(subject, is_foreign=True)
                continue
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
            datasets = [path.parent / "data" for path in files]
            yield _strategy(subject, manifest, scheduler, ConfigMaps(texts), datasets)
        else:
            yield Finding(subject)


def _config_map(subject: str, document: Mapping[str, object], texts: dict[str, Texts]) -> Finding:
    try:
        name, data = config_map_texts(document)
    except ManifestError as error:
        return Finding(subject, (str(error),))
    if name in texts:
        return Finding(subject, ("there is another ConfigMap of that name",))
    texts[name] = data
    return Finding(subject)


def _strategy(
    subject: str,
    manifest: Manifest,
    scheduler: SchedulerSpec | None,
    config_maps: ConfigMaps,
    datasets: Sequence[Path],
) -> Finding:
    """What only shows beside the type's parameters and the scheduler's settings, and what shows on bars."""
    spec = manifest.spec
    assert isinstance(spec, StrategySpec)  # noqa: S101 - the caller has looked
    notes = () if scheduler else (f"its scheduler {spec.scheduler_ref.name} is in none of these files",)
    base = scheduler or SchedulerSpec()
    control = Control(
        Manifest(scheduler_kind.KIND, spec.scheduler_ref.name, manifest.namespace, base),
        base,
        {},
        {},
        config_maps=config_maps,
    )
    try:
        entry = control.entry_of(manifest)
    except ManifestError as error:
        return Finding(subject, (str(error),), notes)
    named = os.environ.get("OPENBELL_DATASETS")
    folders = [*([Path(named)] if named else []), *datasets, EXAMPLES]
    with capture_logs():  # of the workers: what they come to is the finding
        trial = asyncio.run(try_strategy(entry, base, folders))
    return Finding(subject, trial.problems, (*notes, *trial.notes))
