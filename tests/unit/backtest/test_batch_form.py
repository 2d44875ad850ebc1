"""The batch form is used where it is proven, and refused where it is not."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from fakes.backtests import Manifests, lines, random_bars, with_columns
from openbell.backtest.proof import Proofs
from openbell.backtest.run import Backtest
from openbell.domain.errors import ManifestError

RULE = {"type": "Momentum", "parameters": {"lookback": 3, "threshold": 0.02, "direction": "Both"}}
MANIFESTS = Manifests(
    exits={"stopLoss": 0.05, "takeProfit": 0.0},
    risk={"allowShort": True},
    splits=(("AAPL", date(2001, 9, 6), 2.0),),
    strategies=(RULE,),
)


def test_only_sessions_that_matter_are_visited() -> None:
    setup = with_columns(MANIFESTS.setup(random_bars(1)))
    visited, run = 0, Backtest(setup)
    ask = run._ask

    def counted(number: int) -> object:
        nonlocal visited
        visited += 1
        return ask(number)

    run._ask = counted  # type: ignore[method-assign, assignment]
    run.run(batch=True)
    every = Backtest(setup)
    every.run()
    assert lines(run) == lines(every)
    assert len(run.desk.trades) > 10
    assert visited < 0.75 * len(run.timeline.sessions)


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
