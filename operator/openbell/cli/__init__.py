"""The program `openbell`: one module a command, imported when the command is asked for.

A command module's name is the command's (an underscore stands for a dash), and its click command is called
`command`. Modules whose names begin with an underscore are not commands.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import click

from openbell.domain.errors import ManifestError, OpenbellError


class WrongManifest(click.ClickException):
    """A manifest or setting that is not allowed, on its way to the terminal."""

    exit_code = 2


class Commands(click.Group):
    """The modules of this package as commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = (module.name for module in pkgutil.iter_modules(__path__))
        return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{__name__}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ManifestError as error:
            raise WrongManifest(str(error)) from error
        except OpenbellError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="openbell")
def main() -> None:
    """Openbell runs trading strategies on Kubernetes, or without it."""
