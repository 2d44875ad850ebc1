"""The page of commands, written from the commands themselves."""

from __future__ import annotations

from typing import Any

import click

WIDE: dict[str, Any] = {"terminal_width": 100, "max_content_width": 100}
HEAD = """\
<!-- Written by `openbell crds` from the commands; a change there changes this page. -->
# Commands

What each prints with `--help`. Input that cannot be used is one sentence on the error output and exit code 2; what
fails for another reason exits with 1.
"""


def page(group: click.Group) -> str:
    """Every command of `group`, by name, with its help."""
    top = click.Context(group, info_name="openbell", **{**group.context_settings, **WIDE})
    parts = [HEAD]
    for name in group.list_commands(top):
        command = group.get_command(top, name)
        assert command is not None  # noqa: S101 - it is in the list
        inner = click.Context(command, info_name=name, parent=top, **WIDE)
        parts.append(f"## `openbell {name}`\n\n```text\n{command.get_help(inner)}\n```\n")
    return "\n".join(parts)
