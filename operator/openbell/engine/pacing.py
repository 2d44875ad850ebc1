"""How often a strategy is evaluated, by how much its symbols move. Pure.

Prices that move by σ√t in a time t (variance grows with time) move as far in base × (σ_usual / σ_now)² as they usually
do in base. So the interval is base / v, where v is the mean, over the strategy's symbols, of realised variance over
its own longer-run level: the sum of squared log returns (Andersen, Bollerslev, Diebold and Labys, "Modeling and
forecasting realized volatility", Econometrica 71, 2003) per return of the newest `lookback` bars, over that of the
bars before them. Twice the usual volatility is a quarter of the usual interval. Time measured by the market's own
movement is the θ-time of Dacorogna et al., J. of International Money and Finance 12, 1993.

The interval is one of a ladder's rungs: base times powers of two up to the longest, base divided by its smallest prime
factor, again and again, down to the shortest. Each rung divides the next, so every tick of a longer one is a tick of
the shorter ones too: the grid, session open + k × interval, keeps its phase when the interval changes. A rung is left
only when the wanted interval is three quarters of the way (in its logarithm) to the next one, so noise at the border
of two does not move it to and fro.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from openbell.domain.bars import BarSeries

LEVEL_LOOKBACKS = 4
"""The longer-run level is taken over so many lookbacks before the newest one."""
DAY_SECONDS = 86_400
LEAVE_AT = 0.75  # of the way to the next rung, from where on a rung is left
ADJOINING = 1.5  # bars whose ends are further apart than so many bar lengths have a night, a break or a hole between


@dataclass(frozen=True, slots=True)
class Pace:
    """What is asked for: the interval at the usual volatility and its bounds, in seconds, and how many bars are newest.

    A base outside of the bounds is another's own choice, and not adapted: it is its ladder's only rung.
    """

    base_seconds: int
    min_seconds: int
    max_seconds: int
    lookback: int

    @property
    def is_adaptive(self) -> bool:
        """Whether the base lies within the bounds."""
        return self.min_seconds <= self.base_seconds <= self.max_seconds

    @property
    def bars_needed(self) -> int:
        """Bars for the returns of all lookbacks."""
        return (LEVEL_LOOKBACKS + 1) * self.lookback + 1


def next_interval(pace: Pace, current_seconds: int, ratios: Iterable[float | None]) -> int:
    """The interval from now on, where it is `current_seconds` now, by the symbols' variance ratios.

    The base where no symbol has bars enough.
    """
    known = [ratio for ratio in ratios if ratio is not None]
    return choose(pace, current_seconds, sum(known) / len(known)) if known else pace.base_seconds


def variance_ratio(series: BarSeries, lookback: int) -> float | None:
    """Realised variance of the newest `lookback` log returns over that of those before; 1 is as usual.

    Returns from one session to the next, or over a hole, are left out, except between daily bars. None where fewer than
    two lookbacks remain, or a price is not positive. A price that never moved before has no level: infinite, once it
    moves.
    """
    needed = (LEVEL_LOOKBACKS + 1) * lookback + 1
    closes, ends = series.close[-needed:], series.end[-needed:]
    if len(closes) <= 2 * lookback or not bool(np.all(np.isfinite(closes) & (closes > 0))):
        return None
    returns = np.diff(np.log(closes))
    if series.bar_seconds < DAY_SECONDS:
        returns = returns[np.diff(ends) <= ADJOINING * series.bar_seconds]
    if len(returns) < 2 * lookback:
        return None
    squares = returns * returns
    now, level = float(squares[-lookback:].mean()), float(squares[:-lookback].mean())
    if level > 0:
        return now / level
    return math.inf if now > 0 else 1.0


def choose(pace: Pace, current_seconds: int, ratio: float) -> int:
    """The rung for a variance `ratio`: never longer for a larger one, and the current one unless there is reason."""
    rungs = ladder(pace)
    wanted = pace.base_seconds / ratio if ratio > 0 else math.inf
    at = _nearest(rungs, current_seconds)
    if at > 0 and wanted <= _between(rungs[at], rungs[at - 1]):
        return rungs[min(_nearest(rungs, wanted), at - 1)]
    if at < len(rungs) - 1 and wanted >= _between(rungs[at], rungs[at + 1]):
        return rungs[max(_nearest(rungs, wanted), at + 1)]
    return rungs[at]


def ladder(pace: Pace) -> tuple[int, ...]:
    """The intervals that may be chosen, rising; the base is one of them, and each divides the next."""
    rungs = [pace.base_seconds]
    if not pace.is_adaptive:
        return tuple(rungs)
    while (longer := rungs[-1] * 2) <= pace.max_seconds:
        rungs.append(longer)
    while rungs[0] > 1 and (shorter := rungs[0] // _smallest_factor(rungs[0])) >= pace.min_seconds:
        rungs.insert(0, shorter)
    return tuple(rungs)


def _smallest_factor(number: int) -> int:
    return next((factor for factor in range(2, math.isqrt(number) + 1) if number % factor == 0), number)


def _nearest(rungs: tuple[int, ...], seconds: float) -> int:
    if seconds <= 0:
        return 0
    if math.isinf(seconds):
        return len(rungs) - 1
    return min(range(len(rungs)), key=lambda index: abs(math.log(rungs[index] / seconds)))


def _between(rung: int, neighbour: int) -> float:
    return math.exp(math.log(rung) + LEAVE_AT * math.log(neighbour / rung))
