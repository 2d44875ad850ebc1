"""One engine: what passes over sessions, what steps through them and the runner's replay make the same trades."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.backtests import DAY, FIRST, Manifests, assert_same, csv_of, lines, random_bars
from fakes.trading import until
from openbell.backtest.run import Backtest
from openbell.backtest.setup import Setup, prepare
from openbell.domain.errors import ManifestError
from openbell.domain.reasons import Reason
from openbell.engine.digest import TradeDigest, trade_line
from openbell.market.calendar import calendar_for
from openbell.market.recorded import RecordedBars
from openbell.runner.crew import RunnerOptions
from openbell.runner.fence import FolderFence
from openbell.runner.leadership import Contender
from openbell.runner.main import Runner
from openbell.runner.settings import SchedulerVariables
from openbell.runner.standalone import FileSource
from openbell.strategies.api import Context, ExitSignal, HeldPosition, Strategy
from openbell.strategies.momentum import Momentum
from openbell.telemetry.logs import LogTail

EXAMPLES = Path(__file__).parents[3] / "examples"
PATIENCE = 110.0
"""Seconds for a replay, a little less than a test may take: one takes two to five alone, and a minute beside others."""
DIGEST = "ef3aa30f1f49817259e1bdf075f679a105a5c0d474a748b824014909ba3f8073"
"""Of the replay of examples/replay.yaml, wherever it runs."""


def test_the_example_makes_the_replays_trades() -> None:
    run = Backtest(prepare([EXAMPLES / "replay.yaml"], datasets=[EXAMPLES / "data"]))
    run.run()
    digest = TradeDigest()
    for trade in run.desk.trades:
        digest.add(trade)
    assert (digest.trades, digest.digest) == (376, DIGEST)
    assert run.outcome.stepped < len(run.timeline.sessions) / 10, "what cannot matter is passed over"


# -- beside the runner -------------------------------------------------------------------------------------------------

MOMENTUM = {"type": "Momentum", "parameters": {"lookback": 3, "threshold": 0.01}}
BOTH_WAYS = {"type": "Momentum", "parameters": {"lookback": 2, "threshold": 0.01, "direction": "Both"}}
CROSSOVER = {"type": "Crossover", "parameters": {"fast": 3, "slow": 8, "atr": 2, "average": "SMA", "direction": "Both"}}

WORLDS: dict[str, tuple[int, dict[str, Any], Manifests]] = {
    "plain": (1, {}, Manifests(strategies=(MOMENTUM,))),
    "short, trailing, parts": (
        2,
        {"missing": 0.1},
        Manifests(
            broker={"seed": 9, "partialFills": True, "slippageBps": 8.0},
            exits={
                "stopLoss": 0.03,
                "takeProfit": 0.06,
                "trailing": {"activation": 0.01, "distance": 0.02},
                "scaleOut": [{"profit": 0.01, "fraction": 0.4}, {"profit": 0.03, "fraction": 0.3}],
                "escalation": {"limitSeconds": 30},
            },
            risk={"allowShort": True},
            strategies=(BOTH_WAYS, CROSSOVER),
        ),
    ),
    "little money, losses that stop a day, splits": (
        3,
        {"volatility": 0.05},
        Manifests(
            broker={"startingCash": "9000", "seed": 3},
            exits={"stopLoss": 0.02, "takeProfit": 0.0},
            risk={"maxDailyLossFraction": 0.02, "maxOrderNotional": "6000", "allowShort": True},
            spec={"sizing": {"minFraction": 0.1, "maxFraction": 0.9, "maxEquityFraction": 0.9}},
            splits=(("AAPL", date(2001, 8, 30), 2.0), ("IBM", date(2001, 10, 8), 0.5)),
            strategies=(BOTH_WAYS, {**MOMENTUM, "priority": 3}, {**CROSSOVER, "paused": True}),
        ),
    ),
    "held for days, flat before the close": (
        4,
        {},
        Manifests(
            exits={"stopLoss": 0.0, "maxHoldingSeconds": 400_000},
            strategies=(MOMENTUM, {**CROSSOVER, "exits": {"flatBeforeCloseSeconds": 60}}),
        ),
    ),
    "a market that never closes": (
        5,
        {"calendar": "Always", "missing": 0.05},
        Manifests(calendar="Always", risk={"allowShort": True}, strategies=(BOTH_WAYS,)),
    ),
    "bars of half an hour": (
        6,
        {"bar_seconds": 1800, "sessions": 130, "missing": 0.05, "volatility": 0.01},
        Manifests(
            bar_seconds=1800,
            broker={"partialFills": True},
            exits={"stopLoss": 0.02, "takeProfit": 0.03, "flatBeforeCloseSeconds": 300},
            risk={"allowShort": True, "maxDailyLossFraction": 0.001},
            splits=(("AAPL", date(2001, 8, 8), 2.0),),
            strategies=(BOTH_WAYS, {**MOMENTUM, "exits": {"flatBeforeCloseSeconds": 0}}),
        ),
    ),
}


def is_over(runner: Runner) -> bool:
    return runner._crew is not None and bool(runner._crew.situation.finished)


async def replayed(text: str, bars: str, folder: Path) -> list[str]:
    """The trades that the runner makes of it."""
    (folder / "bars.csv").write_text(bars, encoding="utf-8")
    file = folder / "manifests.yaml"
    file.write_text(text, encoding="utf-8")

    async def contend(epoch_floor: int, _ever_ran: bool) -> Contender:
        return FolderFence(epoch_floor + 1)

    options = RunnerOptions(data=folder / "data", host="127.0.0.1", port=0, datasets=(folder,), owner_uid="u-1")
    runner = Runner(FileSource([file], folder / "data", SchedulerVariables()), options, LogTail(), contend)
    task = asyncio.create_task(runner.run())
    try:
        await until(lambda: task.done() or is_over(runner), PATIENCE)
        assert runner._crew is not None
        return [trade_line(trade) for trade in runner._crew.ledger.trades]
    finally:
        runner.stop()
        await asyncio.wait_for(task, 20)


@pytest.mark.parametrize("name", WORLDS)
async def test_a_backtest_makes_the_trades_of_the_runners_replay(name: str) -> None:
    seed, shape, manifests = WORLDS[name]
    bars = random_bars(seed, **{"sessions": 60, **shape})
    manifests.start, manifests.end = FIRST, manifests.setup(bars).recorded.last
    run = Backtest(manifests.setup(bars))
    run.run()
    with tempfile.TemporaryDirectory() as folder:
        assert lines(run) == await replayed(manifests.text(), csv_of(bars), Path(folder))
    assert len(run.desk.trades) > 5


# -- beside every step -------------------------------------------------------------------------------------------------

RATIOS = st.sampled_from([0.0, 0.004, 0.01, 0.03, 0.08])
TRAILING = st.none() | st.fixed_dictionaries({"activation": RATIOS, "distance": st.sampled_from([0.005, 0.02, 0.05])})
EXITS = st.fixed_dictionaries(
    {
        "stopLoss": RATIOS,
        "takeProfit": RATIOS,
        "maxHoldingSeconds": st.sampled_from([0, 0, 3_600, 200_000, 800_000]),
        "flatBeforeCloseSeconds": st.sampled_from([0, 0, 0, 120]),
        "scaleOut": st.sampled_from(
            [
                [],
                [],
                [{"profit": 0.004, "fraction": 0.5}],
                [{"profit": 0.003, "fraction": 0.3}, {"profit": 0.02, "fraction": 0.4}],
            ]
        ),
        "escalation": st.sampled_from([{}, {"limitSeconds": 60}]),
        "brokerSide": st.booleans(),
    }
).flatmap(lambda exits: TRAILING.map(lambda trailing: {**exits, **({"trailing": trailing} if trailing else {})}))
BROKERS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 50),
        "startingCash": st.sampled_from(["3000", "100000"]),
        "spreadBps": st.sampled_from([0.0, 2.0, 60.0]),
        "slippageBps": st.sampled_from([0.0, 1.0, 30.0]),
        "partialFills": st.booleans(),
    }
)
STRATEGIES = st.one_of(
    st.fixed_dictionaries(
        {
            "lookback": st.integers(1, 6),
            "threshold": st.sampled_from([0.002, 0.01, 0.03]),
            "direction": st.sampled_from(["Long", "Both"]),
        }
    ).map(lambda parameters: {"type": "Momentum", "parameters": parameters}),
    st.fixed_dictionaries(
        {
            "fast": st.integers(2, 5),
            "slow": st.integers(6, 12),
            "atr": st.just(2),
            "average": st.sampled_from(["SMA", "EMA"]),
            "direction": st.sampled_from(["Long", "Both"]),
        }
    ).map(lambda parameters: {"type": "Crossover", "parameters": parameters}),
).flatmap(
    lambda strategy: st.sampled_from([["AAPL"], ["IBM"], ["AAPL", "IBM"]]).map(
        lambda symbols: {**strategy, "symbols": symbols}
    )
)
SPLIT_DAYS = [session.date for session in calendar_for("XNYS").sessions(date(2001, 8, 10), date(2001, 10, 30))]


LOOKBACK = {"lookbackSeconds": 900_000, "lockSeconds": 1_300_000}
PROTECTIONS = (
    {"type": "StopLossGuard", "stopLossGuard": {**LOOKBACK, "stops": 2}},
    {"type": "DrawdownGuard", "drawdownGuard": {**LOOKBACK, "maxFraction": 0.005}},
    {"type": "LowProfit", "lowProfit": {**LOOKBACK, "required": 0.0}},
    {"type": "Cooldown", "cooldown": {"lockSeconds": 200_000}},
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "maxDrawdownFraction": st.sampled_from([0.005, 0.02, 0.1, 1.0]),
        "protections": st.lists(st.sampled_from(PROTECTIONS), max_size=3),
        "symbolCooldownSeconds": st.sampled_from([100_000, 400_000]),
        "oppositeOrderSeconds": st.sampled_from([50_000, 300_000]),
        "dayTrading": st.just({"regime": "LegacyPDT"}),
        "maxRoundTripsPerDay": st.just(1),
        "maxStrategyOrdersPerMinute": st.just(1),
        "maxSymbolExposure": st.sampled_from([0.1, 0.6]),
    },
)


@st.composite
def setups(draw: st.DrawFn) -> Setup:
    calendar = draw(st.sampled_from(["XNYS", "Always"]))
    bar_seconds = draw(st.sampled_from([DAY, DAY, 7200]))
    missing = draw(st.sampled_from([0.0, 0.15]))
    bars = random_bars(
        draw(st.integers(0, 10_000)),
        calendar=calendar,
        missing=missing,
        sessions=60,
        bar_seconds=bar_seconds,
        volatility=draw(st.sampled_from([0.005, 0.02, 0.06])),
    )
    splits = []
    if draw(st.booleans()):
        day = draw(st.sampled_from(SPLIT_DAYS))
        symbol = draw(st.sampled_from(["AAPL", "IBM"]))
        if day in {each.date for each in RecordedBars(bars, calendar_for(calendar)).sessions_of(symbol)}:
            splits.append((symbol, day, draw(st.sampled_from([2.0, 0.1, 3.0]))))
    manifests = Manifests(
        calendar=calendar,
        bar_seconds=bar_seconds,
        broker=draw(BROKERS),
        exits=draw(EXITS),
        risk={
            "allowShort": draw(st.booleans()),
            "maxDailyLossFraction": draw(st.sampled_from([0.001, 0.05, 1.0])),
            "maxOrdersPerDay": draw(st.sampled_from([1, 3, 500])),
            **draw(RULES),
        },
        spec={
            "maxConcurrentTrades": draw(st.sampled_from([1, 2, 5])),
            "market": {"calendar": calendar, "hoursOnly": draw(st.booleans())},
        },
        splits=tuple(splits),
        strategies=tuple(draw(st.lists(STRATEGIES, min_size=1, max_size=3))),
        start=draw(st.sampled_from([date(2001, 8, 1), date(2001, 8, 3)])),
    )
    return manifests.setup(bars)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(setups())
def test_passing_over_sessions_changes_nothing(setup: Setup) -> None:
    stepped, passed, jumped = Backtest(setup), Backtest(setup), Backtest(setup)
    stepped.step_through()
    passed.run()
    jumped.run(batch=True)
    assert_same(passed, stepped, setup)
    assert_same(jumped, stepped, setup)


def both_ways(setup: Setup) -> Backtest:
    stepped, passed = Backtest(setup), Backtest(setup)
    stepped.step_through()
    passed.run()
    assert_same(passed, stepped, setup)
    return passed


def test_a_trailing_stop_hangs_from_the_best_price_of_sessions_that_were_passed_over() -> None:
    reasons = set()
    for seed in range(12):
        manifests = Manifests(
            exits={"stopLoss": 0.0, "takeProfit": 0.0, "trailing": {"activation": 0.0, "distance": 0.08}},
            strategies=({"type": "Momentum", "parameters": {"lookback": 3, "threshold": 0.02, "exitThreshold": 1.0}},),
        )
        run = both_ways(manifests.setup(random_bars(seed)))
        reasons |= {trade.exit_reason for trade in run.desk.trades}
    assert "TRAILING_STOP" in reasons


def test_a_days_loss_is_measured_from_its_open_also_where_that_was_passed_over() -> None:
    denied = 0
    for seed in range(12):
        manifests = Manifests(
            exits={"stopLoss": 0.0, "takeProfit": 0.0},
            risk={"maxDailyLossFraction": 0.0005},
            strategies=(MOMENTUM, {**MOMENTUM, "parameters": {"lookback": 1, "threshold": 0.005}}),
        )
        denied += both_ways(manifests.setup(random_bars(seed))).outcome.reasons[Reason.DAILY_LOSS]
    assert denied > 20


# -- beside the runner, under every rule ------------------------------------------------------------------------------

DAYS = 86_400
TURNING = {"type": "Momentum", "parameters": {"lookback": 1, "threshold": 0.004, "direction": "Both"}}
TIGHT = {"stopLoss": 0.01, "takeProfit": 0.02}
SHORT = {"allowShort": True}
HALF_HOURS: dict[str, Any] = {"bar_seconds": 1800, "sessions": 200, "volatility": 0.01}


def ruled(risk: dict[str, Any], **others: Any) -> Manifests:
    return Manifests(**{"exits": TIGHT, "risk": {**SHORT, **risk}, "strategies": (TURNING, MOMENTUM), **others})


RULED: dict[str, tuple[int, dict[str, Any], Manifests, Reason]] = {
    "maxDrawdownFraction": (
        21,
        {"volatility": 0.05},
        ruled({"maxDrawdownFraction": 0.03}, spec={"sizing": {"minFraction": 0.2, "maxFraction": 0.9}}),
        Reason.DRAWDOWN,
    ),
    "StopLossGuard": (
        22,
        {},
        ruled({"protections": [{"type": "StopLossGuard", "stopLossGuard": {**LOOKBACK, "stops": 2}}]}),
        Reason.STOP_LOSS_GUARD,
    ),
    "DrawdownGuard": (
        23,
        {},
        ruled({"protections": [{"type": "DrawdownGuard", "drawdownGuard": {**LOOKBACK, "maxFraction": 0.001}}]}),
        Reason.DRAWDOWN_GUARD,
    ),
    "LowProfit": (
        24,
        {},
        ruled({"protections": [{"type": "LowProfit", "lowProfit": {**LOOKBACK, "required": 0.0}}]}),
        Reason.LOW_PROFIT,
    ),
    "Cooldown": (
        25,
        {},
        ruled({"protections": [{"type": "Cooldown", "cooldown": {"lockSeconds": 3 * DAYS}}]}),
        Reason.COOLDOWN,
    ),
    "symbolCooldownSeconds": (26, {}, ruled({"symbolCooldownSeconds": 2 * DAYS}), Reason.SYMBOL_COOLDOWN),
    "oppositeOrderSeconds": (27, {}, ruled({"oppositeOrderSeconds": 2 * DAYS}), Reason.OPPOSITE_ORDER),
    "maxRoundTripsPerDay": (
        28,
        HALF_HOURS,
        ruled({"maxRoundTripsPerDay": 1}, bar_seconds=1800),
        Reason.MAX_ROUND_TRIPS,
    ),
    "maxStrategyOrdersPerMinute": (29, {}, ruled({"maxStrategyOrdersPerMinute": 1}), Reason.STRATEGY_ORDER_RATE),
    "settlement.account": (
        30,
        {},
        ruled(
            {"allowShort": False, "maxSymbolExposure": 1.0, "settlement": {"account": "Cash"}},
            broker={"startingCash": "9000"},
            spec={"sizing": {"minFraction": 0.5, "maxFraction": 0.9, "maxEquityFraction": 0.9}},
        ),
        Reason.SETTLED_CASH,
    ),
    "dayTrading.regime LegacyPDT": (
        31,
        HALF_HOURS,
        ruled({"dayTrading": {"regime": "LegacyPDT"}}, broker={"startingCash": "20000"}, bar_seconds=1800),
        Reason.DAY_TRADE_LIMIT,
    ),
    "dayTrading.regime IntradayMargin": (
        32,
        {"first": date(2026, 6, 8)},
        ruled({"dayTrading": {"regime": "IntradayMargin", "minExcessLiquidity": "97000"}}),
        Reason.INTRADAY_MARGIN,
    ),
}


@pytest.mark.parametrize("name", RULED)
async def test_every_rule_holds_back_what_it_holds_back_in_a_replay(name: str) -> None:
    seed, shape, manifests, reason = RULED[name]
    bars = random_bars(seed, **{"sessions": 60, **shape})
    recorded = RecordedBars(bars, calendar_for("XNYS"))
    manifests.start, manifests.end = recorded.first, recorded.last
    run = both_ways(manifests.setup(bars))
    with tempfile.TemporaryDirectory() as folder:
        assert lines(run) == await replayed(manifests.text(), csv_of(bars), Path(folder))
    assert run.outcome.reasons[reason] > 2, run.outcome.reasons
    assert len(run.desk.trades) > 3


async def test_the_kill_switch_opens_nothing_in_either() -> None:
    bars = random_bars(33)
    manifests = ruled({"killSwitch": True}, end=FIRST + timedelta(days=60))
    run = both_ways(manifests.setup(bars))
    with tempfile.TemporaryDirectory() as folder:
        assert lines(run) == await replayed(manifests.text(), csv_of(bars), Path(folder)) == []
    assert run.outcome.reasons[Reason.KILL_SWITCH] > 5


# -- beside the runner, with words on exits ---------------------------------------------------------------------------


def leave_or_tighten(_: Strategy[Any], context: Context[Any], position: HeldPosition) -> ExitSignal | None:
    """Leaves after four days of little, and else hangs the stop two percent from the newest close."""
    close = float(context.bars.close[-1])
    if (context.now - position.opened_at).days >= 4 and abs(close / position.average_price - 1) < 0.03:
        return ExitSignal("it goes nowhere")
    return ExitSignal("the close has moved", stop=close * (0.98 if position.is_long else 1.02))


async def test_words_on_exits_make_the_same_trades(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = random_bars(41)
    manifests = Manifests(
        exits={"stopLoss": 0.06, "takeProfit": 0.2},
        risk=SHORT,
        splits=(("AAPL", date(2001, 9, 6), 2.0),),
        strategies=(BOTH_WAYS, {**CROSSOVER, "symbols": ["IBM"]}),
    )
    recorded = RecordedBars(bars, calendar_for("XNYS"))
    manifests.start, manifests.end = recorded.first, recorded.last
    without = both_ways(manifests.setup(bars))
    monkeypatch.setattr(Momentum, "exit", leave_or_tighten)
    run = both_ways(manifests.setup(bars))
    with tempfile.TemporaryDirectory() as folder:
        assert lines(run) == await replayed(manifests.text(), csv_of(bars), Path(folder))
    assert lines(run) != lines(without)
    assert not run.outcome.errors
    stopped = [trade for trade in run.desk.trades if trade.strategy == "s0" and trade.exit_reason == "STOP_LOSS"]
    assert len(stopped) > 3
    with pytest.raises(ManifestError, match="Strategy s0: Momentum has no batch form"):
        Backtest(manifests.setup(bars)).run(batch=True)
