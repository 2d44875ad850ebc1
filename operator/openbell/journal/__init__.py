"""The intent journal: what was decided, before it is sent, and what came of it. The only user of SQLAlchemy."""

from openbell.journal.journal import Journal
from openbell.journal.values import IntentRecord, JournalIdentity, JournalState, StoredParameters

__all__ = ["IntentRecord", "Journal", "JournalIdentity", "JournalState", "StoredParameters"]
