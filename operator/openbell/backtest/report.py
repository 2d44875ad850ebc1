"""A backtest's report: one value, shown as JSON for programs and as a page for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from openbell.backtest.desk import Booking
from openbell.backtest.equity import Curve, curve_of
from openbell.backtest.metrics import CurveMetrics, TradeMetrics, curve_metrics, exposure, trade_metrics, turnover
from openbell.backtest.run import Backtest
from openbell.backtest.setup import Setup
from openbell.domain.money import ZERO, amount, text
from openbell.domain.positions import ClosedTrade, Position
from openbell.engine.digest import TradeDigest
from openbell.market.calendar import AlwaysCalendar

SCHEMA = 1
SESSIONS_PER_YEAR = 252  # the usual number for exchanges in the United States
DAYS_PER_YEAR = 365  # for markets that never close


@dataclass(frozen=True, slots=True)
class StrategyReport:
    """One strategy's part."""

    name: str
    type: str
    symbols: tuple[str, ...]
    metrics: TradeMetrics
    pnl: Decimal
    fees: Decimal
    errors: int
    last_error: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told of a run."""

    scheduler: str
    source: str
    bars: int
    curve: Curve
    metrics: CurveMetrics
    trade_metrics: TradeMetrics
    exposure: float | None
    turnover: float | None
    fees: Decimal
    slippage: Decimal
    strategies: tuple[StrategyReport, ...]
    trades: tuple[ClosedTrade, ...]
    open_positions: tuple[tuple[Position, Decimal], ...]  # with the last price
    digest: str
    signals: int
    reasons: dict[str, int]


def report_of(setup: Setup, run: Backtest) -> Report:
    """The report of a run that has ended."""
    desk, outcome = run.desk, run.outcome
    curve = curve_of(run, float(setup.venue.terms.starting_cash))
    per_year = DAYS_PER_YEAR if isinstance(setup.recorded.calendar, AlwaysCalendar) else SESSIONS_PER_YEAR
    digest = TradeDigest()
    for trade in desk.trades:
        digest.add(trade)
    strategies = tuple(
        _strategy(
            name, entry.spec.type.value, entry.spec.symbols, desk.trades, outcome.errors[name], outcome.error_texts
        )
        for name, entry in setup.control.entries.items()
    )
    return Report(
        scheduler=setup.control.scheduler.name,
        source=setup.source,
        bars=run.timeline.bars,
        curve=curve,
        metrics=curve_metrics(curve.with_start, per_year),
        trade_metrics=trade_metrics([trade.pnl for trade in desk.trades]),
        exposure=exposure(curve.gross),
        turnover=turnover(
            (booking.fill.quantity * booking.fill.price for booking in desk.bookings),
            curve.equity,
            len(curve.equity) / per_year,
        ),
        fees=sum((booking.fill.commission for booking in desk.bookings), ZERO),
        slippage=sum((slippage_of(booking) for booking in desk.bookings), ZERO),
        strategies=strategies,
        trades=tuple(desk.trades),
        open_positions=tuple((each, run.last_price(each.symbol)) for each in desk.open_positions()),
        digest=digest.digest,
        signals=outcome.signals,
        reasons={reason.value: count for reason, count in sorted(outcome.reasons.items())},
    )


def slippage_of(booking: Booking) -> Decimal:
    """What a fill cost beyond the price that was shown when it filled."""
    return (booking.fill.price - booking.shown) * booking.fill.quantity * booking.fill.side.sign


def _strategy(
    name: str, kind: str, symbols: Sequence[str], trades: Sequence[ClosedTrade], errors: int, texts: dict[str, str]
) -> StrategyReport:
    own = [trade for trade in trades if trade.strategy == name]
    return StrategyReport(
        name=name,
        type=kind,
        symbols=tuple(symbols),
        metrics=trade_metrics([trade.pnl for trade in own]),
        pnl=sum((trade.pnl for trade in own), ZERO),
        fees=sum((trade.fees for trade in own), ZERO),
        errors=errors,
        last_error=texts.get(name, ""),
    )


# -- for programs ----------------------------------------------------------------------------------------------------


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain values. Keys are stable: new ones may come, none changes its meaning within a `schema`.

    Money, prices and quantities are decimal strings, ratios numbers, times ISO 8601 in UTC; what is not defined is
    null.
    """
    curve, drawdown = report.curve, report.metrics.drawdown
    return {
        "schema": SCHEMA,
        "scheduler": report.scheduler,
        "source": report.source,
        "from": curve.times[0].date().isoformat(),
        "to": curve.times[-1].date().isoformat(),
        "sessions": len(curve.times),
        "bars": report.bars,
        "initialEquity": f"{curve.initial:.2f}",
        "finalEquity": f"{curve.equity[-1]:.2f}",
        "digest": report.digest,
        "metrics": {
            "totalReturn": report.metrics.total_return,
            "annualReturn": report.metrics.annual_return,
            "volatility": report.metrics.volatility,
            "sharpe": report.metrics.sharpe,
            "sortino": report.metrics.sortino,
            "calmar": report.metrics.calmar,
            "maxDrawdown": drawdown.depth,
            "maxDrawdownSessions": drawdown.periods,
            "maxDrawdownPeak": _time(curve, drawdown.peak) if drawdown.depth < 0 else None,
            "maxDrawdownTrough": _time(curve, drawdown.trough) if drawdown.depth < 0 else None,
            "maxDrawdownRecovered": _time(curve, drawdown.recovered) if drawdown.depth < 0 else None,
            "exposure": report.exposure,
            "turnover": report.turnover,
            "fees": amount(report.fees),
            "slippage": amount(report.slippage),
            **_trade_keys(report.trade_metrics),
        },
        "strategies": [
            {
                "name": each.name,
                "type": each.type,
                "symbols": list(each.symbols),
                "pnl": amount(each.pnl),
                "fees": amount(each.fees),
                "errors": each.errors,
                "lastError": each.last_error or None,
                **_trade_keys(each.metrics),
            }
            for each in report.strategies
        ],
        "signals": {"total": report.signals, "outcomes": report.reasons},
        "openPositions": [
            {
                "strategy": position.strategy,
                "symbol": position.symbol,
                "quantity": text(position.quantity),
                "entryTime": _iso(position.opened_at),
                "entryPrice": text(position.average_price),
                "lastPrice": text(at),
                "unrealizedPnl": amount(position.unrealized_pnl(at)),
            }
            for position, at in report.open_positions
        ],
        "trades": [trade_json(trade) for trade in report.trades],
        "equity": [
            {"time": _iso(moment), "equity": f"{value:.2f}"}
            for moment, value in zip(curve.times, curve.equity.tolist(), strict=True)
        ],
    }


def trade_json(trade: ClosedTrade) -> dict[str, Any]:
    """One round trip as plain values."""
    return {
        "strategy": trade.strategy,
        "symbol": trade.symbol,
        "quantity": text(trade.quantity),
        "entryTime": _iso(trade.entry_time),
        "entryPrice": f"{trade.entry_price:.6f}",
        "exitTime": _iso(trade.exit_time),
        "exitPrice": f"{trade.exit_price:.6f}",
        "exitReason": trade.exit_reason,
        "pnl": amount(trade.pnl),
        "fees": amount(trade.fees),
    }


def _trade_keys(metrics: TradeMetrics) -> dict[str, Any]:
    names = {
        "trades": "trades",
        "hit_rate": "hitRate",
        "profit_factor": "profitFactor",
        "mean_pnl": "meanPnl",
        "mean_win": "meanWin",
        "mean_loss": "meanLoss",
        "best": "bestPnl",
        "worst": "worstPnl",
    }
    return {names[name]: value for name, value in asdict(metrics).items()}


def _time(curve: Curve, place: int | None) -> str | None:
    """The time of a place of the curve with its beginning, which has the first session's close before it."""
    return None if place is None else _iso(curve.times[max(0, place - 1)])


def _iso(moment: datetime) -> str:
    return moment.isoformat()


# -- for people ------------------------------------------------------------------------------------------------------

LAST_TRADES = 10


def as_page(report: Report, *, all_trades: bool = False) -> Iterator[str]:
    """The report as lines of text: what was run, what came of it, each strategy, the last trades."""
    curve, metrics, trades = report.curve, report.metrics, report.trade_metrics
    first, last = curve.times[0].date(), curve.times[-1].date()
    yield f"{report.scheduler}: {report.source}, {first} to {last}, {len(curve.times)} sessions, {report.bars} bars"
    yield f"{curve.initial:,.2f} became {curve.equity[-1]:,.2f}; digest {report.digest[:16]}"
    yield ""
    fall = metrics.drawdown
    recovery = "" if fall.depth == 0 or fall.recovered is not None else ", not recovered"
    left = [
        ("return", _percent(metrics.total_return)),
        ("a year", _percent(metrics.annual_return)),
        ("volatility", _percent(metrics.volatility)),
        ("Sharpe", _number(metrics.sharpe)),
        ("Sortino", _number(metrics.sortino)),
        ("Calmar", _number(metrics.calmar)),
        ("max drawdown", _percent(fall.depth)),
    ]
    right = [
        ("trades", str(trades.trades)),
        ("hit rate", _percent(trades.hit_rate)),
        ("profit factor", _number(trades.profit_factor)),
        ("exposure", _percent(report.exposure)),
        ("turnover a year", _number(report.turnover)),
        ("fees", f"{report.fees:,.2f}"),
        ("slippage", f"{report.slippage:,.2f}"),
    ]
    for (name, value), (other, number) in zip(left, right, strict=True):
        yield f"{name:<14}{value:>12}     {other:<16}{number:>12}"
    yield f"{'its length':<14}{fall.periods:>12} sessions{recovery}"
    yield ""
    yield from _table(
        ("STRATEGY", "TYPE", "SYMBOLS", "TRADES", "HIT RATE", "PROFIT FACTOR", "P&L", "FEES"),
        [
            (
                each.name,
                each.type,
                _few(each.symbols),
                str(each.metrics.trades),
                _percent(each.metrics.hit_rate),
                _number(each.metrics.profit_factor),
                f"{each.pnl:,.2f}",
                f"{each.fees:,.2f}",
            )
            for each in report.strategies
        ],
        left=3,
    )
    for each in report.strategies:
        if each.errors:
            yield f"{each.name} raised {each.errors} times, last: {each.last_error}"
    outcomes = ", ".join(f"{reason} {count}" for reason, count in report.reasons.items())
    yield f"{report.signals} signals{': ' if outcomes else ''}{outcomes}"
    for position, at in report.open_positions:
        pnl = position.unrealized_pnl(at)
        yield f"open: {position.strategy} {position.symbol} {position.quantity:+f} at {at:,.2f}, {pnl:+,.2f}"
    if not report.trades:
        return
    shown = report.trades if all_trades else report.trades[-LAST_TRADES:]
    yield ""
    if len(shown) < len(report.trades):
        yield f"the last {len(shown)} of {len(report.trades)} trades (--trades shows all)"
    yield from _table(
        ("STRATEGY", "SYMBOL", "QUANTITY", "ENTRY", "PRICE", "EXIT", "PRICE", "REASON", "P&L"),
        [
            (
                trade.strategy,
                trade.symbol,
                text(trade.quantity),
                _minute(trade.entry_time),
                f"{trade.entry_price:,.2f}",
                _minute(trade.exit_time),
                f"{trade.exit_price:,.2f}",
                trade.exit_reason,
                f"{trade.pnl:,.2f}",
            )
            for trade in shown
        ],
        left=2,
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> Iterator[str]:
    """Aligned columns, the first `left` of them to the left."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        cells = (
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _minute(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")


def _few(names: Sequence[str]) -> str:
    return ",".join(names[:4]) + (f" +{len(names) - 4}" if len(names) > 4 else "")
