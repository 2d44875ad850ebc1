"""The intent journal: what was decided, before it is sent, and what came of it. The only user of SQLAlchemy."""

from openbell.journal.journal import Journal
from openbell.journal.values import (
    Bookings,
    GatewayClient,
    IntentRecord,
    JournalIdentity,
    JournalState,
    RoundTrips,
    StoredParameters,
)

__all__ = [
    "Bookings",
    "GatewayClient",
    "IntentRecord",
    "Journal",
    "JournalIdentity",
    "JournalState",
    "RoundTrips",
    "StoredParameters",
]
