"""Who we are to a gateway of Interactive Brokers, and which order ids may have been used there."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import Column, Integer

from openbell.journal.columns import check


def upgrade(op: Operations) -> None:
    """Add the table `gateway_client`."""
    op.create_table(
        "gateway_client",
        Column("id", Integer, primary_key=True),
        Column("client_id", Integer, nullable=False),
        Column("order_id", Integer, nullable=False),
        check("one_row", "id = 1"),
        check("client_id_range", "client_id BETWEEN 1 AND 2147483647"),
        check("order_id_range", "order_id BETWEEN 0 AND 2147483647"),
        sqlite_strict=True,
    )
