"""The examples are right, hold what they promise, and the recorded bars are what their page says."""

from __future__ import annotations

import csv
import gzip
import hashlib
import itertools
from collections import defaultdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from openbell.cli import main
from openbell.gateway.scenario import read_file
from openbell.resources.load import Manifest, documents, parse_manifest
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.strategy import StrategySpec

EXAMPLES = Path(__file__).parents[3] / "examples"
BARS = EXAMPLES / "data" / "stocks.csv.gz"
# A fall or rise by this factor over a night is a split or a great event.
GREAT_MOVE = 1.8


def load(name: str) -> tuple[Manifest, ...]:
    """The manifests of ours in an example."""
    found = documents((EXAMPLES / name).read_text(encoding="utf-8"))
    return tuple(parse_manifest(each) for each in found if each["apiVersion"].startswith("openbell.dev/"))


def scheduler(name: str) -> SchedulerSpec:
    (spec,) = [item.spec for item in load(f"{name}.yaml") if isinstance(item.spec, SchedulerSpec)]
    return spec


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_passes_the_check(path: Path) -> None:
    done = CliRunner().invoke(main, ["check", str(path)])
    assert (done.exit_code, done.stderr) == (0, "")
    assert ": ok" in done.stdout
    assert "note" not in done.stdout


@pytest.mark.parametrize(
    ("name", "interval", "confidence", "trades"),
    [("paper-first-steps", 60, 0.8, 5), ("conservative", 120, 0.7, 3), ("aggressive", 30, 0.5, 10)],
)
def test_a_ready_manifest_has_its_three_numbers(name: str, interval: int, confidence: float, trades: int) -> None:
    spec = scheduler(name)
    assert (spec.evaluation_interval_seconds, spec.min_confidence, spec.max_concurrent_trades) == (
        interval,
        confidence,
        trades,
    )


def test_the_quickstart_has_a_market_at_any_hour_and_two_kinds_of_strategies() -> None:
    assert scheduler("quickstart").market.calendar == "Always"
    manifests = load("quickstart.yaml")
    types = {manifest.spec.type.value for manifest in manifests if isinstance(manifest.spec, StrategySpec)}
    assert types == {"Momentum", "Crossover"}


def test_the_simulated_gateway_of_the_example_is_the_one_that_its_scheduler_trades(tmp_path: Path) -> None:
    kinds = {each["kind"]: each for each in documents((EXAMPLES / "ibkr-simulated.yaml").read_text(encoding="utf-8"))}
    text = kinds["ConfigMap"]["data"]["scenario.yaml"]
    assert text == (EXAMPLES / "data" / "gateway-scenario.yaml").read_text(encoding="utf-8")
    (tmp_path / "scenario.yaml").write_text(text, encoding="utf-8")
    scenario = read_file(tmp_path / "scenario.yaml")
    ibkr = scheduler("ibkr-simulated").broker.ibkr
    assert ibkr is not None
    assert (ibkr.account,) == scenario.accounts
    (port,) = kinds["Service"]["spec"]["ports"]
    assert (ibkr.host, ibkr.port) == (kinds["Service"]["metadata"]["name"], port["port"])
    pod = kinds["Deployment"]["spec"]["template"]
    assert pod["metadata"]["labels"] == kinds["Service"]["spec"]["selector"]
    (container,) = pod["spec"]["containers"]
    result = CliRunner().invoke(main, [*container["args"], "--help"])
    assert result.exit_code == 0, result.output


def test_the_recorded_bars_are_those_that_their_page_describes() -> None:
    page = (EXAMPLES / "data" / "README.md").read_text()
    assert hashlib.sha256(BARS.read_bytes()).hexdigest() in page
    with gzip.open(BARS, "rt") as lines:
        assert f"{sum(1 for _ in lines) - 1:,}" in page


def test_the_replay_lists_every_split_of_its_symbols_and_nothing_else() -> None:
    replay = scheduler("replay").market_data.replay
    assert replay is not None
    symbols = {
        symbol
        for manifest in load("replay.yaml")
        if isinstance(manifest.spec, StrategySpec)
        for symbol in manifest.spec.symbols
    }
    assert symbols == {"AAPL", "GOOG", "IBM", "MSFT"}
    closes: dict[str, list[tuple[str, float]]] = defaultdict(list)
    with gzip.open(BARS, "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["Ticker"] in symbols:
                closes[row["Ticker"]].append((row["Date"], float(row["Close"])))
    moves = {
        (symbol, day): round(before / after)
        for symbol, days in closes.items()
        for (_, before), (day, after) in itertools.pairwise(days)
        if before / after > GREAT_MOVE or after / before > GREAT_MOVE
    }
    listed = {(split.symbol, str(split.date)): round(split.ratio) for split in replay.splits}
    # Apple warned of its earnings the evening before: the fall is real, and must be traded.
    assert moves == listed | {("AAPL", "2000-09-29"): 2}
    first, last = min(closes["AAPL"])[0], max(closes["AAPL"])[0]
    assert (str(replay.from_date), str(replay.to_date)) == (first, last)
