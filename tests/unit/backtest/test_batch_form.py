"""The batch form is used where it is proven, and refused where it is not; it visits few sessions."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes.backtests import Manifests, assert_same, lines, random_bars, with_columns
from openbell.backtest.proof import Proofs
from openbell.backtest.run import Backtest
from openbell.backtest.setup import Setup, prepare
from openbell.domain.errors import ManifestError
from openbell.domain.reasons import Reason
from openbell.strategies.api import Context

EXAMPLES = Path(__file__).parents[3] / "examples"

RULE = {"type": "Momentum", "parameters": {"lookback": 3, "threshold": 0.02, "direction": "Both"}}
MANIFESTS = Manifests(
    exits={"stopLoss": 0.05, "takeProfit": 0.0},
    risk={"allowShort": True},
    splits=(("AAPL", date(2001, 9, 6), 2.0),),
    strategies=(RULE,),
)


# -- what is jumped over -----------------------------------------------------------------------------------------------


def jumped(setup: Setup) -> Backtest:
    """A run in the batch form that came to what every step of every session comes to."""
    jumping, stepping = Backtest(setup), Backtest(setup)
    jumping.run(batch=True)
    stepping.step_through()
    assert_same(jumping, stepping, setup)
    assert len(jumping.desk.trades) > 10
    return jumping


def visited(run: Backtest) -> float:
    """The part of the sessions that a run looked at."""
    return run.outcome.visited / len(run.timeline.sessions)


def reasons(run: Backtest) -> set[str]:
    return {trade.exit_reason for trade in run.desk.trades}


def test_only_sessions_that_matter_are_visited() -> None:
    run = jumped(with_columns(MANIFESTS.setup(random_bars(1))))
    assert visited(run) < 0.75


SELDOM = {"type": "Momentum", "parameters": {"lookback": 8, "threshold": 0.06, "exitThreshold": 1.0}}
YEARS = date(2005, 9, 8)


def always(**others: Any) -> Manifests:
    return Manifests(**{"calendar": "Always", "strategies": (SELDOM,), "end": YEARS, **others})


@pytest.mark.parametrize("activation", [0.0, 0.03])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_position_is_jumped_along_while_its_trailing_stop_follows(seed: int, activation: float) -> None:
    bars = random_bars(seed, calendar="Always", sessions=1_500, last=YEARS, volatility=0.015)
    exits = {"stopLoss": 0.0, "takeProfit": 0.0, "trailing": {"activation": activation, "distance": 0.1}}
    run = jumped(always(exits=exits).setup(bars))
    assert reasons(run) == {"TRAILING_STOP"}
    assert visited(run) < 0.25


def test_a_short_position_is_jumped_along_too() -> None:
    bars = random_bars(3, calendar="Always", sessions=1_500, last=YEARS, volatility=0.015)
    exits = {"stopLoss": 0.2, "takeProfit": 0.0, "trailing": {"activation": 0.01, "distance": 0.1}}
    both = {"type": "Momentum", "parameters": {**SELDOM["parameters"], "direction": "Both"}}
    manifests = always(exits=exits, risk={"allowShort": True}, strategies=(both,))
    run = jumped(manifests.setup(bars))
    assert any(trade.quantity < 0 and trade.exit_reason == "TRAILING_STOP" for trade in run.desk.trades)
    assert visited(run) < 0.4


HALF_HOURS: dict[str, Any] = {"bar_seconds": 1800, "sessions": 1_000, "volatility": 0.004}


def test_days_on_which_nothing_is_decided_are_jumped_over() -> None:
    rule = {"type": "Momentum", "parameters": {"lookback": 6, "threshold": 0.04, "exitThreshold": 1.0}}
    other = {"type": "Momentum", "parameters": {"lookback": 2, "threshold": 0.025, "exitThreshold": 1.0}}
    manifests = Manifests(
        bar_seconds=7200,
        end=date(2002, 7, 31),
        exits={"stopLoss": 0.05, "takeProfit": 0.08},
        risk={"maxDailyLossFraction": 0.0005, "maxDrawdownFraction": 1.0},
        strategies=(rule, other),
    )
    bars = random_bars(5, bar_seconds=7200, sessions=1_000, last=date(2002, 7, 31), volatility=0.008)
    run = jumped(manifests.setup(bars))
    assert run.outcome.reasons[Reason.DAILY_LOSS] > 3, "losses are measured from the beginning of their day"
    assert visited(run) < sum(run.timeline.begins_day) / len(run.timeline.sessions)


def test_of_a_day_whose_close_counts_the_last_bars_are_visited() -> None:
    rule = {"type": "Momentum", "parameters": {"lookback": 4, "threshold": 0.02, "exitThreshold": 1.0}}
    manifests = Manifests(
        bar_seconds=1800,
        exits={"stopLoss": 0.3, "takeProfit": 0.3, "flatBeforeCloseSeconds": 300},
        strategies=(rule,),
    )
    run = jumped(manifests.setup(random_bars(6, **HALF_HOURS)))
    assert reasons(run) == {"SESSION_CLOSE"}
    assert visited(run) < 0.35


def test_a_rule_is_asked_of_the_symbols_alone_that_it_speaks_of() -> None:
    setup = MANIFESTS.setup(random_bars(1))
    alone = jumped(setup)
    asked: Counter[str] = Counter()
    strategy = setup.control.entries["s0"].strategy
    evaluate = strategy.evaluate

    def counted(context: Context[Any]) -> Any:
        said = evaluate(context)
        asked["speaks" if said else "is silent"] += 1
        return said

    strategy.evaluate = counted  # type: ignore[method-assign]
    run = Backtest(setup)
    run.run(batch=True)
    assert lines(run) == lines(alone)
    assert asked["speaks"] == run.outcome.signals
    assert asked["is silent"] == 0


# -- real bars ---------------------------------------------------------------------------------------------------------


EVERY: dict[str, Any] = {
    "trailing": {"activation": 0.05, "distance": 0.1},
    "scaleOut": [{"profit": 0.1, "fraction": 0.5}],
    "maxHoldingSeconds": 90 * 86_400,
}


@pytest.mark.parametrize("exits", [{}, EVERY], ids=["levels", "every way out"])
def test_the_batch_form_of_the_examples_rules_makes_the_same_of_real_bars(
    tmp_path: Path, exits: dict[str, Any]
) -> None:
    scheduler, *strategies = yaml.safe_load_all((EXAMPLES / "replay.yaml").read_text("utf-8"))
    scheduler["spec"]["exits"].update(exits)
    scheduler["spec"]["risk"] = {"maxDrawdownFraction": 0.5, "maxDailyLossFraction": 0.01}
    for strategy in strategies[1:]:
        strategy["spec"]["sizing"] = {"minFraction": 0.2, "maxFraction": 0.4, "maxEquityFraction": 0.4}
    (tmp_path / "replay.yaml").write_text(yaml.safe_dump_all([scheduler, *strategies]), "utf-8")
    setup = prepare([tmp_path / "replay.yaml"], datasets=[EXAMPLES / "data"], end=date(2005, 6, 1))
    jumping, passing = Backtest(setup), Backtest(setup)
    jumping.run(batch=True)
    passing.run()
    assert_same(jumping, passing, setup)
    assert len(passing.desk.trades) > 100
    assert not exits or reasons(passing) >= {"TRAILING_STOP", "MAX_HOLDING", "STOP_LOSS"}
    assert visited(jumping) < 0.8


# -- the proof ---------------------------------------------------------------------------------------------------------


def test_columns_that_say_what_the_rule_says_are_proven_once(tmp_path: Path) -> None:
    setup = with_columns(MANIFESTS.setup(random_bars(1)))
    Proofs(tmp_path / "proofs").require(Backtest(setup))
    kept = {path.name for path in (tmp_path / "proofs").iterdir()}
    assert len(kept) == 2, "one for each symbol"

    def never(*_: object) -> object:
        raise AssertionError("proven before")

    again = Backtest(setup)
    for table in again.tables:
        table.context = never  # type: ignore[method-assign, assignment]
    Proofs(tmp_path / "proofs").require(again)
    others = Backtest(with_columns(MANIFESTS.setup(random_bars(2))))
    Proofs(tmp_path / "proofs").require(others)
    assert len(set((tmp_path / "proofs").iterdir())) == 4, "other bars are other proofs"


@pytest.mark.parametrize("wrong", [10, 33, -1])
def test_columns_that_differ_at_one_bar_are_refused(wrong: int) -> None:
    run = Backtest(with_columns(MANIFESTS.setup(random_bars(1)), [wrong]))
    day = run.timeline.sessions[wrong].date
    with pytest.raises(ManifestError, match=rf"Strategy s0: its batch form is not its rule: at {day} .* while flat"):
        Proofs(None).require(run)


def test_a_rule_without_a_batch_form_is_named() -> None:
    class Silent:
        def signals(self, *_: object) -> None:
            return None

    setup = with_columns(MANIFESTS.setup(random_bars(1)))
    entry = setup.control.entries["s0"]
    entry.strategy.signals = Silent().signals  # type: ignore[attr-defined]
    with pytest.raises(ManifestError, match="Strategy s0: WithColumns has no batch form"):
        Proofs(None).require(Backtest(setup))
    with pytest.raises(ManifestError, match="Strategy s0: WithColumns has no batch form"):
        Backtest(setup).run(batch=True)
