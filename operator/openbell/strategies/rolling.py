"""TA-Lib's sums and averages over the window that ends at each bar, for all bars at once.

TA-Lib's own functions over a long history carry their running sums and seeds along from its first bar, so that a value
depends on how much history there was. An evaluation reads exactly its warm-up; what is said of a whole history must be
what each of those windows says alone. So every window is computed by itself, in the order of additions in which TA-Lib
computes one, and all windows of a block side by side.

Every function takes columns of n bars and answers n - window + 1 values: the first is of the window that ends at bar
window - 1. All values must be finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from openbell.domain.bars import Floats
from openbell.strategies.indicators import indicator

# Windows computed side by side: their intermediate values stay in the processor's nearest cache.
BLOCK = 8192
# What a seed counts for in an average of its own scale when it is forgotten.
FORGOTTEN = 1e-20


def rolling_mean(values: Floats, length: int) -> Floats:
    """TA-Lib's SMA, as it is of each window alone."""
    return _by_blocks(values, length, lambda block: _sum(block, length, length) / length)


def rolling_ema(values: Floats, length: int, window: int) -> tuple[Floats, Floats]:
    """TA-Lib's EMA of `length` at the last bar but one of each window, and at its last.

    It begins with the simple average of the window's first `length` bars. `window` is greater than `length`.
    """
    count = len(values) - window + 1
    before, after = np.empty(max(0, count)), np.empty(max(0, count))
    for start, stop in _blocks(count, window):
        block = values[start:stop]
        size = len(block) - window + 1
        average = _sum(block, length, window) / length
        _smooth(average, block, range(length, window - 1), 2.0 / (length + 1))
        before[start : start + size] = average
        _smooth(average, block, range(window - 1, window), 2.0 / (length + 1))
        after[start : start + size] = average
    return before, after


def rolling_atr(high: Floats, low: Floats, close: Floats, length: int, window: int) -> Floats:
    """TA-Lib's ATR of `length` at the end of each window, but for the last digits of a float."""
    # The first bar of a window has no bar before it, and TA-Lib counts no range of it.
    ranges: Floats = indicator("TRANGE")(high, low, close)[1:]
    # A short average forgets all but the end of a long window: what is left out counts less than a float's last digit.
    forgets = length + math.ceil(math.log(FORGOTTEN) / math.log1p(-1.0 / length))
    ranges, window = ranges[max(0, window - 1 - forgets) :], min(window - 1, forgets)

    def averages(block: Floats) -> Floats:
        average = _sum(block, length, window) / length
        _smooth(average, block, range(length, window), 1.0 / length)
        return average

    return _by_blocks(ranges, window, averages)


def ends_of_finite_windows(window: int, *columns: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """For each of the n - window + 1 windows, whether all of its values in all columns are numbers."""
    bad = np.zeros(len(columns[0]) + 1, dtype=np.int64)
    for column in columns:
        bad[1:] += ~np.isfinite(column)
    total = np.cumsum(bad)
    answer: np.ndarray[tuple[int], np.dtype[np.bool_]] = total[window:] == total[:-window]
    return answer


def _smooth(average: Floats, block: Floats, offsets: range, weight: float) -> None:
    """Take the bars at these offsets of each window into its exponential average, in place and in TA-Lib's order."""
    count = len(average)
    step = np.empty(count)
    for offset in offsets:
        np.subtract(block[offset : offset + count], average, out=step)
        step *= weight
        average += step


def _sum(block: Floats, length: int, window: int) -> Floats:
    """The sum of the first `length` values of each window, oldest first."""
    count = len(block) - window + 1
    total = block[:count].copy()
    for offset in range(1, length):
        total += block[offset : offset + count]
    return total


def _by_blocks(values: Floats, window: int, compute: Callable[[Floats], Floats]) -> Floats:
    count = len(values) - window + 1
    if count <= 0:
        return np.empty(0)
    return np.concatenate([compute(values[start:stop]) for start, stop in _blocks(count, window)])


def _blocks(count: int, window: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, BLOCK):
        yield start, min(start + BLOCK, count) + window - 1
