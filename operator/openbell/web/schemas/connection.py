"""The connection to the broker's gateway."""

from __future__ import annotations

from pydantic import Field

from openbell.web.schemas.base import Answer


class Connection(Answer):
    """What a connect or a disconnect came to."""

    ibkr_connected: bool
    reason: str = Field(description="As that of the condition BrokerConnected.")
    message: str = Field(description="What it means, in one sentence.")
