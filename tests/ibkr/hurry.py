"""Shorter waiting times and bars for a runner under test, in proportion to each other: scenarios are quick then."""

from __future__ import annotations

from functools import partial

from openbell.brokers.ibkr import book, history, market, series
from openbell.brokers.ibkr.supervision import Timing
from openbell.runner import comparison, desk, exiting, gateway, next_steps, steering, underway

ANSWER = 1.5
SETTLING = 3.0
TIMING = Timing(heartbeat=1.0, silence=0.7, first_retry=0.1, longest_retry=0.5, client_id_retry=0.2, resets=())


def hurry() -> None:
    """Wait for nothing longer than a few seconds."""
    for module in (next_steps, desk, exiting, steering, underway):
        module.ANSWER_SECONDS = ANSWER
    comparison.SETTLING_SECONDS = SETTLING
    comparison.MARKED_ANSWER_SECONDS = SETTLING + comparison.FIRST_ANSWER_SECONDS
    book.COMMISSION_SECONDS, book.FILLS_SECONDS, book.INACTIVE_SECONDS = 1.0, 1.5, 0.6
    history.SIZES[1] = "1 secs"  # which the simulated gateway keeps up to date, and the real one does not
    series.FINAL_SECONDS = market.FINAL_SECONDS = 1.2
    gateway.Settings = partial(gateway.Settings, timing=TIMING)
