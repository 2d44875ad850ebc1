"""`openbell crds`: the CustomResourceDefinitions and the reference pages, written from their models or compared."""

from __future__ import annotations

from pathlib import Path

import click

from openbell.cli import _reference
from openbell.resources import crd, reasons, reference


@click.command("crds")
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="The checkout whose files are written; the current folder by default.",
)
@click.option("--check", is_flag=True, help="Write nothing; fail when a file differs.")
@click.option("--stdout", is_flag=True, help="Print the CustomResourceDefinitions, as for kubectl apply -f -.")
@click.pass_context
def command(context: click.Context, root: Path, check: bool, stdout: bool) -> None:
    """Write crds/*.yaml, and resources.md, reasons.md and commands.md in docs/reference, from models and commands."""
    if stdout:
        click.echo("---\n".join(crd.files().values()), nl=False)
        return
    wanted = {root / "crds" / name: content for name, content in crd.files().items()}
    wanted[root / "docs" / "reference" / "resources.md"] = reference.page()
    wanted[root / "docs" / "reference" / "reasons.md"] = reasons.page()
    group = context.find_root().command
    assert isinstance(group, click.Group)  # noqa: S101 - it is `openbell`, whose command this is
    wanted[root / "docs" / "reference" / "commands.md"] = _reference.page(group)
    differing = [path for path, content in wanted.items() if not path.is_file() or path.read_text("utf-8") != content]
    if check:
        for path in differing:
            click.echo(f"{path} differs from what it is written from; run `openbell crds`", err=True)
        raise SystemExit(1 if differing else 0)
    for path in differing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], "utf-8")
        click.echo(f"wrote {path}")
