"""How long a deleted scheduler is held so that its runner can close positions: only as long as it helps."""

from __future__ import annotations

from dataclasses import dataclass

FLATTEN_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class DeletionFacts:
    must_flatten: bool
    has_pod: bool
    ever_ran: bool
    is_flat: bool
    namespace_is_ending: bool
    waited_seconds: float


@dataclass(frozen=True, slots=True)
class Deletion:
    """How long to hold on still (0: let go), and why."""

    seconds_left: float
    why: str


def decide_deletion(facts: DeletionFacts) -> Deletion:
    """Let go unless a runner is there that has positions to close and time left to do it."""
    if not facts.must_flatten:
        return Deletion(0, "positions are to be kept")
    if facts.namespace_is_ending:
        return Deletion(0, "the namespace is being deleted")
    if facts.is_flat:
        return Deletion(0, "the runner has closed its positions and stopped")
    if not facts.has_pod or not facts.ever_ran:
        return Deletion(0, "there is no runner that could close positions")
    left = FLATTEN_PATIENCE_SECONDS - facts.waited_seconds
    if left <= 0:
        return Deletion(0, f"positions were not closed within {FLATTEN_PATIENCE_SECONDS:.0f} s")
    return Deletion(left, "the runner is closing positions")
