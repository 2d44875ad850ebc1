"""The crossover of two simple averages in other engines: one engine and one file of bars a process, JSON out.

    python benchmarks/backtest_peers.py ENGINE BARS.npz FAST SLOW ROUNDS

Long only, one share, market orders without costs. What is timed, in processor time, is the run alone: imports, reading
and the engine's own form of the bars come before. Each engine is used as its documentation shows, at its defaults.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Trades = list[list[Any]]  # bar of the entry, its price, bar of the exit, its price


def frame(bars: dict[str, np.ndarray]) -> pd.DataFrame:
    index = pd.to_datetime(bars["start"], unit="s", utc=True)
    names = ("open", "high", "low", "close", "volume")
    return pd.DataFrame({name: bars[name] for name in names}, index=index)


def backtrader(bars: dict[str, np.ndarray], fast: int, slow: int) -> Callable[[], tuple[float, Trades]]:
    import backtrader as bt

    feed = frame(bars).tz_localize(None)

    class Crossover(bt.Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            self.fast = bt.ind.SMA(self.data.close, period=fast)
            self.slow = bt.ind.SMA(self.data.close, period=slow)
            self.trades: Trades = []

        def next(self) -> None:
            if len(self) <= slow:
                return
            before, after = self.fast[-1] - self.slow[-1], self.fast[0] - self.slow[0]
            if not self.position:
                if before <= 0 < after:
                    self.buy(size=1)
            elif after < 0:
                self.close()

        def notify_order(self, order: Any) -> None:
            if order.status == order.Completed:
                fill = [len(self) - 1, round(order.executed.price, 2)]
                if order.isbuy():
                    self.trades.append(fill)
                else:
                    self.trades[-1] += fill

    def run() -> tuple[float, Trades]:
        engine = bt.Cerebro()
        engine.adddata(bt.feeds.PandasData(dataname=feed))
        engine.addstrategy(Crossover)
        engine.broker.setcash(1e9)
        began = time.process_time()
        done = engine.run()[0]
        return time.process_time() - began, [trade for trade in done.trades if len(trade) == 4]

    return run


def backtesting(bars: dict[str, np.ndarray], fast: int, slow: int) -> Callable[[], tuple[float, Trades]]:
    import warnings

    from backtesting import Backtest, Strategy

    warnings.simplefilter("ignore")
    feed = frame(bars).tz_localize(None).rename(columns=str.capitalize)

    class Crossover(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            closes = pd.Series(self.data.Close)
            self.fast = self.I(lambda: closes.rolling(fast).mean().to_numpy())
            self.slow = self.I(lambda: closes.rolling(slow).mean().to_numpy())

        def next(self) -> None:
            if len(self.data) <= slow:
                return
            before, after = self.fast[-2] - self.slow[-2], self.fast[-1] - self.slow[-1]
            if not self.position:
                if before <= 0 < after:
                    self.buy(size=1)
            elif after < 0:
                self.position.close()

    def run() -> tuple[float, Trades]:
        engine = Backtest(feed, Crossover, cash=1e9, commission=0.0)
        began = time.process_time()
        found = engine.run()["_trades"]
        columns = (found["EntryBar"], found["EntryPrice"].round(2), found["ExitBar"], found["ExitPrice"].round(2))
        return time.process_time() - began, [list(trade) for trade in zip(*(c.tolist() for c in columns), strict=True)]

    return run


def nautilus(bars: dict[str, np.ndarray], fast: int, slow: int) -> Callable[[], tuple[float, Trades]]:
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig, StrategyConfig
    from nautilus_trader.indicators import SimpleMovingAverage
    from nautilus_trader.model.currencies import USD
    from nautilus_trader.model.data import Bar, BarType
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import Venue
    from nautilus_trader.model.objects import Money
    from nautilus_trader.persistence.wranglers import BarDataWrangler
    from nautilus_trader.test_kit.providers import TestInstrumentProvider
    from nautilus_trader.trading.strategy import Strategy

    instrument = TestInstrumentProvider.equity("AAA", "XNAS")
    bar_type = BarType.from_str("AAA.XNAS-1-DAY-LAST-EXTERNAL")
    feed = frame(bars)
    # It fills a market order at once, at the close that its signal was formed on. These bars open where the last one
    # closed and when it closed, so that is the next open in price and in time.
    feed.index = pd.to_datetime(bars["end"], unit="s", utc=True)
    data = BarDataWrangler(bar_type, instrument).process(feed)
    number = {int(end) * 1_000_000_000: index + 1 for index, end in enumerate(bars["end"])}

    class Crossover(Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(StrategyConfig())
            self.fast, self.slow = SimpleMovingAverage(fast), SimpleMovingAverage(slow)
            self.before = 0.0
            self.seen = 0

        def on_start(self) -> None:
            self.register_indicator_for_bars(bar_type, self.fast)
            self.register_indicator_for_bars(bar_type, self.slow)
            self.subscribe_bars(bar_type)

        def on_bar(self, bar: Bar) -> None:
            self.seen += 1
            after = self.fast.value - self.slow.value
            if self.seen > slow:
                if self.portfolio.is_flat(instrument.id):
                    if self.before <= 0 < after:
                        quantity = instrument.make_qty(1)
                        self.submit_order(self.order_factory.market(instrument.id, OrderSide.BUY, quantity))
                elif after < 0:
                    self.close_all_positions(instrument.id)
            self.before = after

    def run() -> tuple[float, Trades]:
        engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
        engine.add_venue(Venue("XNAS"), OmsType.NETTING, AccountType.CASH, [Money(1_000_000_000, USD)], USD)
        engine.add_instrument(instrument)
        engine.add_data(data)
        engine.add_strategy(Crossover())
        began = time.process_time()
        engine.run()
        took = time.process_time() - began
        trades = []
        positions = [*engine.cache.position_snapshots(), *engine.cache.positions_closed()]
        for each in sorted(positions, key=lambda position: position.ts_opened):
            entry, leave = number[each.ts_opened], number[each.ts_closed]
            trades.append([entry, round(each.avg_px_open, 2), leave, round(each.avg_px_close, 2)])
        engine.dispose()
        return took, trades

    return run


def main() -> None:
    engine, path, fast, slow, rounds = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    with np.load(Path(path)) as stored:
        bars = {name: stored[name] for name in stored.files}
    peers = {"backtrader": backtrader, "backtesting": backtesting, "nautilus": nautilus}
    run = peers[engine](bars, int(fast), int(slow))
    results = [run() for _ in range(int(rounds))]
    json.dump({"seconds": min(took for took, _ in results), "trades": results[-1][1]}, sys.stdout)


if __name__ == "__main__":
    main()
