"""The equity line in bounded memory: a long line loses resolution, never its ends."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from openbell.web.values import EquityPoint

CAPACITY = 2000


class EquityHistory:
    """Keeps at most `capacity` points. When full, every second inner point is dropped and the spacing doubles, so
    that the line always spans everything since the start."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        if capacity < 4:
            raise ValueError(f"an equity history needs a capacity of at least 4, not {capacity}")
        self._capacity = capacity
        self._points: list[EquityPoint] = []
        self._spacing_seconds = 0.0

    def add(self, time: datetime, equity: Decimal) -> None:
        """Record a point. The newest one always counts: within the spacing it replaces the last."""
        point = EquityPoint(time, equity)
        if len(self._points) >= 2 and (time - self._points[-2].time).total_seconds() < self._spacing_seconds:
            self._points[-1] = point
            return
        if self._points and time <= self._points[-1].time:
            self._points[-1] = EquityPoint(self._points[-1].time, equity)
            return
        self._points.append(point)
        if len(self._points) > self._capacity:
            self._thin()

    def points(self) -> tuple[EquityPoint, ...]:
        """Oldest first, times strictly increasing."""
        return tuple(self._points)

    def _thin(self) -> None:
        first, last = self._points[0], self._points[-1]
        span = (last.time - first.time).total_seconds()
        self._spacing_seconds = max(2 * self._spacing_seconds, 2 * span / self._capacity)
        self._points = [first, *self._points[2:-1:2], last]
