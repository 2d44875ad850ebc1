"""`openbell backtest`: what it prints, what it refuses, and with which code it ends."""

from __future__ import annotations

import gzip
import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fakes.backtests import Manifests, csv_of, random_bars
from openbell.cli import backtest, main

RULE = {"type": "Momentum", "parameters": {"lookback": 3, "threshold": 0.01}}
LIVE = """
apiVersion: openbell.dev/v1alpha1
kind: TradingScheduler
metadata: {name: live}
spec: {market: {calendar: XNYS}}
---
apiVersion: openbell.dev/v1alpha1
kind: Strategy
metadata: {name: trend}
spec: {schedulerRef: {name: live}, type: Momentum, symbols: [IBM], barSeconds: 86400, parameters: {threshold: 0.01}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bars = random_bars(1)
    (tmp_path / "bars.csv").write_text(csv_of(bars), "utf-8")
    manifests = Manifests(strategies=(RULE,), end=date(2001, 12, 5))
    (tmp_path / "replay.yaml").write_text(manifests.text(), "utf-8")
    (tmp_path / "live.yaml").write_text(LIVE, "utf-8")
    return tmp_path


def called(folder: Path, *arguments: str) -> Result:
    environment = {"XDG_CACHE_HOME": str(folder / "cache"), "OPENBELL_DATASETS": str(folder)}
    return CliRunner().invoke(main, ["backtest", *arguments], env=environment)


def read(folder: Path, *arguments: str) -> dict[str, Any]:
    done = called(folder, *arguments, "--output", "json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return found


def test_the_page_has_what_was_run_what_came_of_it_and_the_last_trades(folder: Path) -> None:
    done = called(folder, str(folder / "replay.yaml"))
    assert done.exit_code == 0, done.output
    assert done.stderr == "", "no progress bar where there is no terminal"
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"replay: bars\.csv, 2001-08-01 to 2001-12-05, \d+ sessions, \d+ bars", lines[0])
    for name in ("return", "Sharpe", "Sortino", "Calmar", "max drawdown", "hit rate", "profit factor", "slippage"):
        assert any(name in line for line in lines), name
    assert any(re.match(r"the last 10 of \d+ trades", line) for line in lines)
    assert len(lines) < 40, "it fits on one screen"
    assert max(map(len, lines)) <= 120


def test_all_trades_are_shown_on_demand(folder: Path) -> None:
    report = read(folder, str(folder / "replay.yaml"))
    done = called(folder, str(folder / "replay.yaml"), "--trades")
    assert len(re.findall(r"^s0 .* \d{4}-\d{2}-\d{2} ", done.stdout, re.MULTILINE)) == len(report["trades"]) > 10


def test_json_has_stable_keys_and_agrees_with_itself(folder: Path) -> None:
    report = read(folder, str(folder / "replay.yaml"))
    assert list(report) == [
        "schema",
        "scheduler",
        "source",
        "from",
        "to",
        "sessions",
        "bars",
        "initialEquity",
        "finalEquity",
        "digest",
        "metrics",
        "strategies",
        "signals",
        "openPositions",
        "trades",
        "equity",
    ]
    trades, metrics = report["trades"], report["metrics"]
    assert metrics["trades"] == len(trades) == sum(each["trades"] for each in report["strategies"])
    assert len(report["equity"]) == report["sessions"]
    assert report["equity"][-1]["equity"] == report["finalEquity"]
    booked = sum(round(float(trade["pnl"]) * 100) for trade in trades)
    unrealized = sum(round(float(each["unrealizedPnl"]) * 100) for each in report["openPositions"])
    open_fees = round(float(metrics["fees"]) * 100) - sum(round(float(trade["fees"]) * 100) for trade in trades)
    grown = round((float(report["finalEquity"]) - float(report["initialEquity"])) * 100)
    assert abs(booked + unrealized - open_fees - grown) <= len(trades) + 2, "a cent a trade is rounding"
    assert report["signals"]["total"] == sum(report["signals"]["outcomes"].values())


def test_a_part_of_the_time_can_be_named(folder: Path) -> None:
    report = read(folder, str(folder / "replay.yaml"), "--from", "2001-09-20", "--to", "2001-10-31")
    assert (report["from"], report["to"]) == ("2001-09-20", "2001-10-31")
    assert all("2001-09-20" <= trade["entryTime"][:10] <= "2001-10-31" for trade in report["trades"])


def test_any_scheduler_is_tried_on_bars_of_a_file(folder: Path) -> None:
    report = read(folder, str(folder / "live.yaml"), "--bars", str(folder / "bars.csv"))
    assert (report["scheduler"], report["from"]) == ("live", "2001-08-01")
    assert report["trades"]


def test_csv_gzipped_csv_and_parquet_are_the_same_bars(folder: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    plain = folder / "bars.csv"
    (folder / "bars.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    rows = [(day, symbol, *row) for symbol, found in random_bars(1).items() for day, row in found]
    names = ("date", "symbol", "open", "high", "low", "close", "volume")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    pyarrow.parquet.write_table(
        pyarrow.table({name: list(values) for name, values in columns.items()}), folder / "bars.parquet"
    )
    digests = {
        read(folder, str(folder / "live.yaml"), "--bars", str(folder / name))["digest"]
        for name in ("bars.csv", "bars.csv.gz", "bars.parquet")
    }
    assert len(digests) == 1


def test_a_year_without_a_trade_has_nulls_and_no_division_by_zero(folder: Path) -> None:
    (folder / "never.yaml").write_text(LIVE.replace("{threshold: 0.01}", "{threshold: 1}"), "utf-8")
    for arguments in ((), ("--from", "2001-08-01", "--to", "2001-08-01")):
        report = read(folder, str(folder / "never.yaml"), "--bars", str(folder / "bars.csv"), *arguments)
        assert report["trades"] == []
        nulls = {name for name, value in report["metrics"].items() if value is None}
        assert {"sharpe", "sortino", "calmar", "hitRate", "profitFactor", "maxDrawdownPeak"} <= nulls
        done = called(folder, str(folder / "never.yaml"), "--bars", str(folder / "bars.csv"), *arguments)
        assert done.exit_code == 0


def test_the_batch_form_is_refused_where_there_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openbell.strategies.momentum import Momentum

    monkeypatch.setattr(Momentum, "signals", lambda *_: None, raising=False)
    done = called(folder, str(folder / "replay.yaml"), "--batch")
    assert (done.exit_code, done.stderr) == (2, "Error: Strategy s0: Momentum has no batch form\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["live.yaml"], "spec.marketData.type is Broker; name a file of bars with --bars"),
        (["live.yaml", "replay.yaml"], "the files have 2 schedulers (live, replay); a backtest has exactly one"),
        (["live.yaml", "--bars", "nowhere.csv"], "nowhere.csv: the file cannot be read"),
        (["replay.yaml", "--from", "2001-11-01", "--to", "2001-10-01"], "it must not end before it begins"),
        (["replay.yaml", "--from", "1999-01-01"], "the range is from 1999-01-01 to 2001-12-05; bars.csv has bars from"),
        (["replay.yaml", "--from", "yesterday"], "Invalid value for '--from'"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_with_code_2(folder: Path, arguments: list[str], message: str) -> None:
    named = [str(folder / each) if "." in each and "-" not in each else each for each in arguments]
    done = called(folder, *named)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("symbols: [IBM]", "symbols: [IBM, GOOG]", "Strategy trend: spec.symbols has GOOG; the recorded bars have"),
        (
            "barSeconds: 86400",
            "barSeconds: 60",
            "Strategy trend: spec.barSeconds is 60; the recorded bars are of",
        ),
        ("name: live}, type", "name: other}, type", "Strategy trend: spec.schedulerRef.name is 'other'"),
        ("threshold: 0.01", "threshold: 7", "Strategy trend: spec.parameters.threshold is 7"),
    ],
)
def test_a_strategy_that_does_not_fit_is_named(folder: Path, before: str, after: str, message: str) -> None:
    assert before in LIVE
    (folder / "wrong.yaml").write_text(LIVE.replace(before, after), "utf-8")
    done = called(folder, str(folder / "wrong.yaml"), "--bars", str(folder / "bars.csv"))
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_strategy_that_raises_is_told_and_does_not_end_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openbell.strategies.momentum import Momentum

    def broken(*_: object) -> object:
        raise ZeroDivisionError("float division by zero")

    monkeypatch.setattr(Momentum, "evaluate", broken)
    done = called(folder, str(folder / "replay.yaml"))
    assert done.exit_code == 0
    assert re.search(r"s0 raised \d+ times, last: ZeroDivisionError: float division by zero", done.stdout)


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with backtest._progress(4) as tell:
        tell(2)
        tell(4)
    shown = capsys.readouterr()
    assert "sessions" in shown.err
    assert "100%" in shown.err
    assert shown.out == ""


def test_a_class_of_ones_own_is_refused_in_one_sentence(folder: Path) -> None:
    text = (folder / "replay.yaml").read_text("utf-8")
    source = "type: Custom\n  source: {type: Image, entryPoint: 'openbell.strategies.momentum:Momentum'}"
    (folder / "own.yaml").write_text(text.replace("type: Momentum", source), "utf-8")
    done = called(folder, str(folder / "own.yaml"))
    assert done.exit_code == 2
    assert "Strategy s0: spec.type is Custom; a backtest runs no class of your own" in done.output
