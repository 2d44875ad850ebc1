"""The tree of errors: each class one situation, each message one sentence that a person can act on."""


class OpenbellError(Exception):
    """Anything that Openbell raises on purpose; the command line prints its message and exits with 2 or 1."""


class ManifestError(OpenbellError):
    """A manifest, setting or parameter is not allowed. Names the field, the value and what is allowed."""


class CalendarError(OpenbellError):
    """A date lies where a calendar knows nothing. Says what is known; the caller takes the cautious answer."""


class JournalError(OpenbellError):
    """The journal cannot be read or written. Entries stop; exits go on from memory."""


class JournalLockedError(JournalError):
    """Another process holds the journal folder's lock. Raised at start; the process exits."""


class StaleEpochError(JournalError):
    """A write carries an older epoch than the journal has seen: this process no longer leads, and must exit."""


class BrokerError(OpenbellError):
    """The broker cannot be reached or answered with something that is not understood. Changes no state."""


class NotLeadingError(OpenbellError):
    """The lease is not ours, or its deadline has passed: nothing may be sent."""


class NotAllowedError(OpenbellError):
    """What a person asked for is held back by a state that a person or the lease has brought about."""


class ClusterError(OpenbellError):
    """The Kubernetes API refused or failed; carries the HTTP status where there is one."""

    def __init__(self, message: str, status: int | None = None, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
