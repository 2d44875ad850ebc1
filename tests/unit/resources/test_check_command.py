"""`openbell check` says everything that is wrong, and nothing else."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

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
