"""What an equity curve and its trades come to. Pure; a number that is not defined is None, never NaN or infinite.

With equity e₀ … eₙ and returns rₜ = eₜ / eₜ₋₁ − 1 over n periods of which a year has p:

- total return eₙ / e₀ − 1; annual return (eₙ / e₀)^(p/n) − 1, compounded
- volatility s·√p with s the sample deviation (n − 1) of r
- Sharpe ratio mean(r) / s · √p, without a risk-free rate (Sharpe, "The Sharpe Ratio", J. of Portfolio Management, 1994)
- Sortino ratio mean(r)·p / (√mean(min(r, 0)²) · √p): the deviation below a target of 0 over all periods (Sortino and
  Price, "Performance Measurement in a Downside Risk Framework", J. of Investing, 1994)
- drawdown eₜ / max(e₀ … eₜ) − 1, deepest one; its length runs from the peak until that is reached again, or to the end
- Calmar ratio annual return / |deepest drawdown| (Young, Futures, 1991; here over the whole range, not three years)
- hit rate: round trips with a profit after fees / all; profit factor: their sum / the sum of the losses
- exposure: part of the periods at whose end something is held
- turnover: half of all that was bought and sold / mean equity, a year
- slippage: what fills cost beyond the prices shown then, half the spread included
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from openbell.domain.bars import Floats


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The deepest fall: its depth (a ratio, 0 or below) and the places of its peak, its trough and its recovery.

    Places count from 0, the beginning; `recovered` is None where the peak was not reached again.
    """

    depth: float
    peak: int
    trough: int
    recovered: int | None
    periods: int


@dataclass(frozen=True, slots=True)
class CurveMetrics:
    """Measures of an equity curve. Ratios, not percent."""

    total_return: float | None
    annual_return: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    drawdown: Drawdown


@dataclass(frozen=True, slots=True)
class TradeMetrics:
    """Measures of round trips; money in account currency."""

    trades: int
    hit_rate: float | None
    profit_factor: float | None
    mean_pnl: float | None
    mean_win: float | None
    mean_loss: float | None
    best: float | None
    worst: float | None


def curve_metrics(equity: Floats, periods_per_year: float) -> CurveMetrics:
    """Measures of an equity curve with its beginning; a curve that ever is 0 or below has no compounded return."""
    returns = returns_of(equity)
    periods = len(equity) - 1
    grown = float(equity[-1] / equity[0]) if periods and equity[0] > 0 else None
    annual = None
    if grown is not None and grown > 0:
        annual = _finite(lambda: math.expm1(math.log(grown) * periods_per_year / periods))
    deviation = float(np.std(returns, ddof=1)) if len(returns) > 1 else 0.0
    mean = float(np.mean(returns)) if len(returns) else 0.0
    below = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2))) if len(returns) else 0.0
    drawdown = deepest_drawdown(equity)
    year = math.sqrt(periods_per_year)
    return CurveMetrics(
        total_return=None if grown is None else grown - 1.0,
        annual_return=annual,
        volatility=deviation * year if len(returns) > 1 else None,
        sharpe=_ratio(mean * year, deviation, returns),
        sortino=_ratio(mean * year, below, returns),
        calmar=_finite(lambda: annual / -drawdown.depth) if annual is not None and drawdown.depth < 0 else None,
        drawdown=drawdown,
    )


def returns_of(equity: Floats) -> Floats:
    """Returns from each value to the next; empty where the curve is ever 0 or below, for then there are none."""
    if len(equity) < 2 or not (equity > 0).all():
        return np.empty(0)
    returns: Floats = equity[1:] / equity[:-1] - 1.0
    return returns


def deepest_drawdown(equity: Floats) -> Drawdown:
    """The deepest fall below the highest value so far; the first one where several are as deep."""
    highs = np.maximum.accumulate(equity)
    falls = np.divide(equity, highs, out=np.ones_like(highs), where=highs > 0) - 1.0
    trough = int(np.argmin(falls))
    if falls[trough] >= 0:
        return Drawdown(0.0, 0, 0, 0, 0)
    peak = trough - int(np.argmax(equity[trough::-1] >= highs[trough]))  # of equal peaks the last
    after = np.flatnonzero(equity[trough:] >= highs[trough])
    recovered = trough + int(after[0]) if len(after) else None
    end = len(equity) - 1 if recovered is None else recovered
    return Drawdown(float(falls[trough]), peak, trough, recovered, end - peak)


def trade_metrics(pnls: Sequence[Decimal]) -> TradeMetrics:
    """Measures of the profits of round trips, after fees; one that is exactly 0 is neither won nor lost."""
    won = [pnl for pnl in pnls if pnl > 0]
    lost = [pnl for pnl in pnls if pnl < 0]
    return TradeMetrics(
        trades=len(pnls),
        hit_rate=len(won) / len(pnls) if pnls else None,
        profit_factor=float(sum(won) / -sum(lost)) if lost else None,
        mean_pnl=_mean(pnls),
        mean_win=_mean(won),
        mean_loss=_mean(lost),
        best=float(max(pnls)) if pnls else None,
        worst=float(min(pnls)) if pnls else None,
    )


def exposure(gross: Floats) -> float | None:
    """Part of the periods at whose end something was held."""
    return float(np.count_nonzero(gross)) / len(gross) if len(gross) else None


def turnover(traded: Iterable[Decimal], equity: Floats, years: float) -> float | None:
    """Half of all that was bought and sold, over the mean equity, a year."""
    mean = float(np.mean(equity)) if len(equity) else 0.0
    return float(sum(traded)) / 2.0 / mean / years if mean > 0 and years > 0 else None


def _mean(values: Sequence[Decimal]) -> float | None:
    return float(sum(values) / len(values)) if values else None


def _ratio(above: float, below: float, returns: Floats) -> float | None:
    # The deviation of equal returns is not always exactly 0 in floats: a ratio to such a one means nothing.
    scale = float(np.max(np.abs(returns))) if len(returns) else 0.0
    if len(returns) < 2 or below <= 1e-14 * max(scale, 1e-300) or scale < 1e-15:
        return None
    return above / below


def _finite(compute: Callable[[], float]) -> float | None:
    try:
        value = compute()
    except OverflowError:
        return None
    return value if math.isfinite(value) else None
