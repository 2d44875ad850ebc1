"""Worlds of a backtest: random bars, manifests of any settings, and the setups that they make."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml

from openbell.backtest.equity import curve_of
from openbell.backtest.report import as_json, report_of
from openbell.backtest.run import Backtest
from openbell.backtest.setup import Setup, assemble, control_of
from openbell.domain.bars import BarSeries, Floats
from openbell.domain.money import ZERO
from openbell.domain.positions import Position
from openbell.domain.signals import Action
from openbell.engine.digest import trade_line
from openbell.market.calendar import calendar_for
from openbell.market.recorded import RecordedBars, Split
from openbell.resources.load import load_text
from openbell.strategies.api import Context, Strategy

FIRST, LAST = date(2001, 8, 1), date(2002, 1, 31)
Rows = dict[str, list[tuple[date | datetime, tuple[float, ...]]]]
DAY = 86_400


def random_bars(
    seed: int,
    symbols: Sequence[str] = ("AAPL", "IBM"),
    *,
    calendar: str = "XNYS",
    sessions: int = 90,
    missing: float = 0.0,
    volatility: float = 0.02,
    bar_seconds: int = DAY,
    first: date = FIRST,
    last: date | None = None,
) -> Rows:
    """Bars that drift and jump, with a part of them missing; the first and the last are always there."""
    chance = random.Random(seed)
    days: list[date | datetime] = []
    for session in calendar_for(calendar).sessions(first, last or first + (LAST - FIRST)):
        if bar_seconds == DAY:
            days.append(session.date)
        else:
            step = timedelta(seconds=bar_seconds)
            days += [session.open + number * step for number in range(-((session.open - session.close) // step))]
    days = days[:sessions]
    found: Rows = {}
    for symbol in symbols:
        close = chance.uniform(20, 300)
        rows = []
        for number, day in enumerate(days):
            opening = close * (1 + chance.gauss(0, volatility / 3))
            close = max(0.5, opening * (1 + chance.gauss(0, volatility)))
            high = max(opening, close) * (1 + abs(chance.gauss(0, volatility / 2)))
            low = min(opening, close) * (1 - abs(chance.gauss(0, volatility / 2)) / 2)
            values = [round(each, chance.choice([2, 4, 6])) for each in (opening, close, high, low)]
            opening, close = max(0.01, values[0]), max(0.01, values[1])
            row = (opening, max(opening, close, values[2]), max(0.01, min(opening, close, values[3])), close, 1000.0)
            if number in {0, len(days) - 1} or chance.random() >= missing:
                rows.append((day, row))
        found[symbol] = rows
    return found


def csv_of(bars: Rows) -> str:
    """The same bars as a file."""
    is_daily = not isinstance(next(iter(bars.values()))[0][0], datetime)
    lines = [f"{'date' if is_daily else 'time'},symbol,open,high,low,close,volume"]
    lines += [
        f"{day},{symbol},{','.join(repr(value) for value in row)}" for symbol, rows in bars.items() for day, row in rows
    ]
    return "\n".join(lines) + "\n"


@dataclass
class Manifests:
    """A scheduler and its strategies; what is left out is the resources' default."""

    calendar: str = "XNYS"
    broker: dict[str, Any] = field(default_factory=dict)
    exits: dict[str, Any] = field(default_factory=dict)
    risk: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    splits: tuple[tuple[str, date, float], ...] = ()
    strategies: tuple[dict[str, Any], ...] = ()
    start: date = FIRST
    end: date = LAST
    bar_seconds: int = DAY

    def text(self) -> str:
        """YAML."""
        replay = {
            "file": "bars.csv",
            "from": self.start.isoformat(),
            "to": self.end.isoformat(),
            "splits": [{"symbol": name, "date": day.isoformat(), "ratio": ratio} for name, day, ratio in self.splits],
        }
        scheduler = {
            "apiVersion": "openbell.dev/v1alpha1",
            "kind": "TradingScheduler",
            "metadata": {"name": "replay"},
            "spec": {
                "enabled": True,
                "market": {"calendar": self.calendar},
                "broker": {"simulated": self.broker},
                "marketData": {"type": "Replay", "replay": replay},
                "exits": self.exits,
                "risk": self.risk,
                **self.spec,
            },
        }
        documents = [scheduler]
        for number, strategy in enumerate(self.strategies):
            spec = {
                "schedulerRef": {"name": "replay"},
                "symbols": ["AAPL", "IBM"],
                "barSeconds": self.bar_seconds,
                **strategy,
            }
            documents.append(
                {
                    "apiVersion": "openbell.dev/v1alpha1",
                    "kind": "Strategy",
                    "metadata": {"name": f"s{number}"},
                    "spec": spec,
                }
            )
        return yaml.safe_dump_all(documents)

    def setup(self, bars: Rows) -> Setup:
        """What a backtest of these manifests over these bars needs."""
        main, *strategies = load_text(self.text())
        splits = [Split(name, day, Decimal(str(ratio))) for name, day, ratio in self.splits]
        recorded = RecordedBars(bars, calendar_for(self.calendar), splits)
        start, end = max(self.start, recorded.first), min(self.end, recorded.last)
        return assemble(control_of(main, strategies), recorded, start, end)


def lines(run: Backtest) -> list[str]:
    """The trades of a run as canonical text."""
    return [trade_line(trade) for trade in run.desk.trades]


def positions_of(run: Backtest) -> dict[str, Position]:
    """The open positions of a run; the best price is nobody's business where no trailing stop hangs from it."""
    return {
        name: position if position.policy.trailing else replace(position, best_price=ZERO)
        for name, position in run.desk.positions.items()
    }


def assert_same(one: Backtest, other: Backtest, setup: Setup) -> None:
    """Two runs of a setup came to the same: trades, fills, reasons, positions, equity at each close, and measures."""
    assert lines(one) == lines(other)
    assert one.outcome.reasons == other.outcome.reasons
    assert [booking.fill for booking in one.desk.bookings] == [booking.fill for booking in other.desk.bookings]
    assert [booking.shown for booking in one.desk.bookings] == [booking.shown for booking in other.desk.bookings]
    assert positions_of(one) == positions_of(other)
    cash = float(setup.venue.terms.starting_cash)
    assert curve_of(one, cash).equity.tolist() == curve_of(other, cash).equity.tolist()
    assert as_json(report_of(setup, one)) == as_json(report_of(setup, other))


@dataclass
class Said:
    """What a rule says at every bar."""

    open: Floats
    close_long: Floats
    close_short: Floats


class WithColumns(Strategy[Any]):
    """Any rule with a batch form, made by asking the rule itself at every bar; `wrong` bars say the opposite."""

    name, version = "WithColumns", "1"

    def __init__(self, rule: Strategy[Any], wrong: Iterable[int] = ()) -> None:
        self._rule = rule
        self._wrong = tuple(wrong)
        self.Params = rule.Params  # type: ignore[misc]
        self.data = rule.data  # type: ignore[method-assign]
        self.evaluate = rule.evaluate  # type: ignore[method-assign]

    def data(self, params: Any, bar_seconds: int) -> Any:
        raise NotImplementedError

    def evaluate(self, context: Context[Any]) -> Any:
        raise NotImplementedError

    def signals(self, bars: BarSeries, params: Any) -> Said:
        warmup = self._rule.data(params, bars.bar_seconds).warmup
        columns = [np.zeros(len(bars)) for _ in range(3)]
        for stop in range(warmup, len(bars) + 1):
            window = slice(stop - warmup, stop)
            names = ("end", "open", "high", "low", "close", "volume")
            series = BarSeries(bars.symbol, bars.bar_seconds, *(getattr(bars, name)[window] for name in names))
            for column, held in zip(columns, (ZERO, Decimal(1), Decimal(-1)), strict=True):
                now = series.last_end
                assert now is not None
                for signal in self._rule.evaluate(Context(bars.symbol, series, params, held, now)):
                    column[stop - 1] = -1 if held == 0 and signal.action is Action.SELL else 1
        for place in self._wrong:
            columns[0][place] = 0 if columns[0][place] else 1
        return Said(*columns)


def with_columns(setup: Setup, wrong: Iterable[int] = ()) -> Setup:
    """The same setup with rules that have a batch form."""
    entries = {
        name: replace(entry, strategy=WithColumns(entry.strategy, wrong))
        for name, entry in setup.control.entries.items()
    }
    return replace(setup, control=replace(setup.control, entries=MappingProxyType(entries)))
