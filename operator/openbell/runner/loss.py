"""A journal that is older than what the resource's status has seen was lost or rolled back: a person must confirm.

What was found is kept in a file beside the journal, because the epoch itself moves on with the next leadership.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import structlog

log = structlog.get_logger("openbell.journal")

CONFIRM_ANNOTATION = "openbell.dev/confirm-journal-loss"


class JournalLoss:
    """Whether a loss is on record that nobody has confirmed yet."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker
        self._known_epoch = int(marker.read_text()) if marker.exists() else 0

    @property
    def is_open(self) -> bool:
        """Whether entries must wait for a person's word."""
        return self._known_epoch > 0

    @property
    def known_epoch(self) -> int:
        """The epoch that the status had seen; what the person's annotation must say. 0: nothing was lost."""
        return self._known_epoch

    def look(self, journal_epoch: int, known_epoch: int) -> None:
        """Compare at the start: the journal must have seen every epoch that the status has."""
        if journal_epoch < known_epoch and not self.is_open:
            self._known_epoch = known_epoch
            self._marker.write_text(str(known_epoch))
            log.error("journal.lost", journal_epoch=journal_epoch, known_epoch=known_epoch)

    def confirm(self, annotations: Mapping[str, str]) -> None:
        """Take a person's word where it names this very loss."""
        if self.is_open and annotations.get(CONFIRM_ANNOTATION) == str(self._known_epoch):
            self._known_epoch = 0
            self._marker.unlink(missing_ok=True)
            log.warning("journal.loss-confirmed")
