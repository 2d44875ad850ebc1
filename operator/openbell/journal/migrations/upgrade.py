"""Running the steps, inside a transaction that is already open."""

from __future__ import annotations

from importlib import import_module

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from openbell.journal.migrations import STEPS


def upgrade(connection: Connection, version: int) -> None:
    """Bring a schema of `version` to today's; what its row says of its version is the caller's."""
    operations = Operations(MigrationContext.configure(connection))
    for step in STEPS[version - 1 :]:
        import_module(f"{__package__}.{step}").upgrade(operations)
