"""What the rules answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from openbell.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class Allow:
    """Nothing speaks against the entry."""


@dataclass(frozen=True, slots=True)
class Deny:
    """The first rule that the entry breaks; `detail` is one clause with the numbers.

    `until` is when this rule may allow it next, None where no time alone changes that.
    """

    reason: Reason
    detail: str
    until: datetime | None = None


Verdict: TypeAlias = Allow | Deny
