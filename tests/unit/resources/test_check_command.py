"""`openbell check` says everything that is wrong, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fakes.custom import STREAK, with_body
from openbell.cli import main

API = "apiVersion: openbell.dev/v1alpha1\n"
DESK = f"{API}kind: TradingScheduler\nmetadata: {{name: desk}}\nspec: {{enabled: true}}\n"


def strategy(name: str, rest: str = "") -> str:
    least = "schedulerRef: {name: desk}, type: Momentum, symbols: [AAPL]"
    return f"{API}kind: Strategy\nmetadata: {{name: {name}}}\nspec: {{{least}{rest}}}\n"


def check(tmp_path: Path, *contents: str) -> Result:
    paths = []
    for number, content in enumerate(contents):
        path = tmp_path / f"{number}.yaml"
        path.write_text(content)
        paths.append(str(path))
    return CliRunner().invoke(main, ["check", *paths])


def test_a_right_file_is_told_to_be_ok(tmp_path: Path) -> None:
    done = check(tmp_path, f"{DESK}---\n{strategy('m')}")
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        f"{tmp_path}/0.yaml: TradingScheduler desk: ok",
        f"{tmp_path}/0.yaml: Strategy m: ok",
    ]


def test_every_problem_of_every_document_is_told(tmp_path: Path) -> None:
    done = check(tmp_path, f"{DESK}---\n{strategy('m', ', priority: -1, barSeconds: 0')}", strategy("n", ", x: 1"))
    assert done.exit_code == 2
    assert done.stderr.count("Strategy m: spec.") == 2
    assert "Strategy n: spec.x is not a known field" in done.stderr
    assert "TradingScheduler desk: ok" in done.stdout


def test_a_wrong_parameter_is_told(tmp_path: Path) -> None:
    done = check(tmp_path, DESK, strategy("m", ", parameters: {lookback: 0}"))
    assert done.exit_code == 2
    assert "spec.parameters.lookback" in done.stderr


def test_a_strategy_may_stand_in_another_file_than_its_scheduler(tmp_path: Path) -> None:
    done = check(tmp_path, strategy("m"), DESK)
    assert "note" not in done.output
    done = check(tmp_path, strategy("m"))
    assert done.exit_code == 0
    assert "note: its scheduler desk is in none of these files" in done.output


def test_sizing_is_checked_over_the_schedulers(tmp_path: Path) -> None:
    done = check(tmp_path, DESK, strategy("m", ", sizing: {minFraction: 0.9}"))
    assert "spec.sizing over the scheduler's gives minFraction above maxFraction" in done.stderr


def test_a_name_that_stands_twice_is_told(tmp_path: Path) -> None:
    done = check(tmp_path, DESK, DESK)
    assert (done.exit_code, done.stderr) == (
        2,
        f"{tmp_path}/1.yaml: TradingScheduler desk: there is another TradingScheduler of that name\n",
    )


def test_files_that_are_missing_empty_or_not_yaml_are_told(tmp_path: Path) -> None:
    done = check(tmp_path, "# nothing\n", "a: [1\n")
    assert done.exit_code == 2
    assert "0.yaml: there is no manifest in this file" in done.stderr
    assert "1.yaml: line 2:" in done.stderr
    gone = CliRunner().invoke(main, ["check", str(tmp_path / "gone.yaml")])
    assert "gone.yaml: cannot be read: No such file or directory" in gone.stderr


OWN = f"""apiVersion: v1
kind: ConfigMap
metadata: {{name: code}}
data:
  strategy.py: |
%s
---
{API}kind: Strategy
metadata: {{name: own}}
spec:
  schedulerRef: {{name: desk}}
  type: Custom
  source: {{type: ConfigMap, configMap: {{name: code}}, class: Rise}}
  symbols: [AAPL]
"""


def own(module: str) -> str:
    return OWN % "\n".join(f"    {line}" for line in module.splitlines())


def test_an_own_strategy_that_is_right_is_told_to_be_ok(tmp_path: Path) -> None:
    done = check(tmp_path, DESK, own(STREAK))
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{tmp_path}/1.yaml: ConfigMap code: ok",
        f"{tmp_path}/0.yaml: TradingScheduler desk: ok",
        f"{tmp_path}/1.yaml: Strategy own: ok",
    ]


@pytest.mark.parametrize(
    ("module", "sentences"),
    [
        (
            with_body("if time.time() > 0: yield context.signal(Action.BUY, 0.5, '')"),
            ["Strategy own: clock: it reads time.time at the bar that ends"],
        ),
        (
            with_body("if context.bars.close.mean() > context.bars.close[-1]: yield context.signal(Action.BUY, 1, '')"),
            ["Strategy own: warm-up: it says"],
        ),
        (with_body("raise ValueError('no')"), ["Strategy own: runs: it raised ValueError: no"]),
        (STREAK.replace("class Rise", "class Fall"), ["there is no strategy class Rise in ConfigMap code, key"]),
        ("def (", ["ConfigMap code, key strategy.py is no Python module: invalid syntax (line 1)"]),
    ],
)
def test_what_is_wrong_with_an_own_strategy_is_told(tmp_path: Path, module: str, sentences: list[str]) -> None:
    done = check(tmp_path, DESK, own(module))
    assert done.exit_code == 2
    for sentence in sentences:
        assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == len(sentences)


def test_an_own_strategy_whose_config_map_is_nowhere_is_told(tmp_path: Path) -> None:
    done = check(tmp_path, DESK, own(STREAK).partition("---")[2])
    assert "there is no ConfigMap code in default, which spec.source.configMap.name names" in done.stderr


def test_a_block_of_another_type_is_refused(tmp_path: Path) -> None:
    both = "{type: Image, entryPoint: 'a:B', class: Rise}"
    document = own(STREAK).replace("{type: ConfigMap, configMap: {name: code}, class: Rise}", both)
    assert "spec.source.class is only allowed when spec.source.type is ConfigMap" in check(tmp_path, document).stderr
    done = check(tmp_path, strategy("m", ", source: {type: Image, entryPoint: 'a:B'}"))
    assert "spec.source is only allowed when spec.type is Custom" in done.stderr
    done = check(tmp_path, strategy("m").replace("Momentum", "Custom"))
    assert "spec.source is required when spec.type is Custom" in done.stderr


def test_strategies_are_tried_on_the_recorded_bars_that_their_scheduler_replays(tmp_path: Path) -> None:
    replay = "{type: Replay, replay: {file: bars.csv, from: 2020-01-01, to: 2020-02-01}}"
    desk = DESK.replace("enabled: true", f"marketData: {replay}")
    daily = strategy("m", ", barSeconds: 86400")
    done = check(tmp_path, desk, daily)
    assert done.exit_code == 0
    assert "note: not tried on recorded bars: spec.marketData.replay.file is 'bars.csv'" in done.stdout
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "bars.csv").write_text("nonsense")
    done = check(tmp_path, desk, daily)
    assert "bars.csv line 1: column date is missing" in done.output
