"""`openbell crds`: the CustomResourceDefinitions and the reference pages, written from the models or compared."""

from __future__ import annotations

from pathlib import Path

import click

from openbell.resources import crd, reasons, reference


@click.command("crds")
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="The checkout whose files are written; the current folder by default.",
)
@click.option("--check", is_flag=True, help="Write nothing; fail when a file differs from the models.")
@click.option("--stdout", is_flag=True, help="Print the CustomResourceDefinitions, as for kubectl apply -f -.")
def command(root: Path, check: bool, stdout: bool) -> None:
    """Write crds/*.yaml, docs/reference/resources.md and reasons.md from the models."""
    if stdout:
        click.echo("---\n".join(crd.files().values()), nl=False)
        return
    wanted = {root / "crds" / name: content for name, content in crd.files().items()}
    wanted[root / "docs" / "reference" / "resources.md"] = reference.page()
    wanted[root / "docs" / "reference" / "reasons.md"] = reasons.page()
    differing = [path for path, content in wanted.items() if not path.is_file() or path.read_text("utf-8") != content]
    if check:
        for path in differing:
            click.echo(f"{path} differs from the models; run `openbell crds`", err=True)
        raise SystemExit(1 if differing else 0)
    for path in differing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], "utf-8")
        click.echo(f"wrote {path}")
