"""Whatever happens in whatever order: nothing is sold twice, and nothing stays without exit or protection.

A short part of what tests/chaos does at length.
"""

from __future__ import annotations

from hypothesis import settings

from fakes.leaving_at_random import LeftAtRandom

LeftAtRandom.TestCase.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
TestLeftAtRandom = LeftAtRandom.TestCase
