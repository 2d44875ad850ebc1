"""Noticing that code asks what time it is, and whose code it was."""

from __future__ import annotations

import threading
import time

from openbell.strategies.watching import clock_readings


def test_a_reading_of_the_clock_is_noticed() -> None:
    with clock_readings(__name__) as readings:
        time.monotonic()
    assert readings == ["time.monotonic"]


def test_what_another_thread_reads_meanwhile_is_its_own_business() -> None:
    with clock_readings(__name__) as readings:
        other = threading.Thread(target=time.monotonic)
        other.start()
        other.join()
    assert readings == []
