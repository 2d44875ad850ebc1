"""A journal that is older than what the resource's status has seen was lost or rolled back: a person must confirm.

What was found is kept in files beside the journal, because the epoch itself moves on with the next leadership. Once a
person has confirmed, the orders of ours that the broker still names and the journal no longer knows are taken as they
are: history that nobody can complete, and no reason to hold entries for ever.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from openbell.journal.recovery import Recovery

log = structlog.get_logger("openbell.journal")

CONFIRM_ANNOTATION = "openbell.dev/confirm-journal-loss"
LOST = "lost"
ACCEPTED = "accepted.json"


class JournalLoss:
    """Whether a loss is on record that nobody has confirmed yet, and what was accepted with earlier ones."""

    def __init__(self, folder: Path) -> None:
        self._lost, self._kept = folder / LOST, folder / ACCEPTED
        self._known_epoch = int(self._lost.read_text()) if self._lost.exists() else 0
        self._accepted: frozenset[str] = frozenset(
            json.loads(self._kept.read_text(encoding="utf-8")) if self._kept.exists() else ()
        )
        self._is_confirmed = False

    @property
    def is_open(self) -> bool:
        """Whether entries must wait for a person's word."""
        return self._known_epoch > 0 and not self._is_confirmed

    @property
    def known_epoch(self) -> int:
        """The epoch that the status had seen; what the person's annotation must say. 0: nothing was lost."""
        return self._known_epoch

    def look(self, journal_epoch: int, known_epoch: int) -> None:
        """Compare at the start: the journal must have seen every epoch that the status has."""
        if journal_epoch < known_epoch and not self._known_epoch:
            self._known_epoch = known_epoch
            self._lost.write_text(str(known_epoch))
            log.error("journal.lost", journal_epoch=journal_epoch, known_epoch=known_epoch)

    def confirm(self, annotations: Mapping[str, str]) -> bool:
        """Take a person's word where it names this very loss; whether that is new, and a comparison is due."""
        if not self.is_open or annotations.get(CONFIRM_ANNOTATION) != str(self._known_epoch):
            return False
        self._is_confirmed = True
        log.warning("journal.loss-confirmed", known_epoch=self._known_epoch)
        return True

    def without_accepted(self, found: Recovery) -> Recovery:
        """The comparison without what was accepted; the first one after a confirmation accepts what it finds."""
        if self._is_confirmed and not found.unknown:
            self._accept({order.order_ref for order in found.orphan_orders})
            self._accept({fill.order_ref for fill in found.orphan_fills})
            self._lost.unlink(missing_ok=True)
            self._known_epoch, self._is_confirmed = 0, False
        return replace(
            found,
            orphan_orders=tuple(each for each in found.orphan_orders if each.order_ref not in self._accepted),
            orphan_fills=tuple(each for each in found.orphan_fills if each.order_ref not in self._accepted),
        )

    def _accept(self, refs: set[str]) -> None:
        if refs <= self._accepted:
            return
        self._accepted |= refs
        partial = self._kept.with_suffix(".partial")
        partial.write_text(json.dumps(sorted(self._accepted)), encoding="utf-8")
        partial.replace(self._kept)
        log.warning("journal.orders-accepted", orders=len(refs))
