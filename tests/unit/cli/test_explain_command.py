"""`openbell explain` tells from a journal's folder or a runner's API, and says in a sentence what it cannot find."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fakes import runner_view as fake
from fakes.recorded import RISING, Story, told
from openbell.cli import main
from openbell.domain.errors import JournalError
from openbell.web.app import create_app
from openbell.web.server import listen, serving


def explain(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["explain", *(str(each) for each in arguments)])


async def test_an_order_is_told_from_its_signal_to_its_exit(tmp_path: Path) -> None:
    story = await told(tmp_path)
    entry = story.intents[1].intent
    left = story.intents[0].intent
    done = explain(entry.order_ref, "--data", tmp_path)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == f"Order {entry.order_ref}: Buy 77 AAPL, an entry of trend."
    assert lines[1].startswith("2026-03-02 15:04:00 UTC: trend said Buy with confidence 0.88 (+3.00% over 2 bars)")
    assert f"by order {left.order_ref}: STOP_LOSS" in lines[6]
    assert "price 90, stop 100.94" in lines[6]
    assert "with a profit of -1003.00 after fees of 2.00" in lines[-1]


@pytest.mark.parametrize("subject", ["AAPL", "aapl", "trend", "trend/AAPL", "trend/aapl"])
async def test_a_symbol_or_a_strategy_is_told_with_what_is_true_now_and_was_before(
    tmp_path: Path, subject: str
) -> None:
    await told(tmp_path)
    lines = explain(subject, "--data", tmp_path).output.splitlines()
    assert lines[:2] == [
        "trend/AAPL",
        "  strategy: 2026-03-02 15:07:00 UTC: NO_SIGNAL, the strategy had nothing to say.",
    ]
    assert lines[2].startswith("  position: 2026-03-02 15:06:00 UTC: STOP_LOSS by order ob1.")
    assert len(lines) == 9
    assert sorted(path.name for path in (tmp_path / "journal").iterdir() if "-" in path.name) == [], "nothing is left"


async def test_a_folder_is_read_while_its_runner_works(tmp_path: Path) -> None:
    story = await Story(tmp_path).begin()
    await story.tick(*RISING)
    done = await asyncio.to_thread(explain, story.world.broker.sent[0].order_ref, "--data", tmp_path)
    assert "the broker has not answered." in done.output
    await story.end()


async def test_what_is_not_known_is_a_sentence_and_exits_with_2(tmp_path: Path) -> None:
    await told(tmp_path)
    for subject, sentence in (
        ("ob1.rqxfrjxf.nothing", "there is no order ob1.rqxfrjxf.nothing here"),
        ("TSLA", "nothing was decided of 'TSLA' that is still kept"),
        ("trend/TSLA", "nothing was decided of 'trend/TSLA' that is still kept"),
    ):
        done = explain(subject, "--data", tmp_path)
        assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
        assert done.output.startswith(f"Error: {sentence}")


async def test_a_folder_that_cannot_be_read_exits_with_2(tmp_path: Path) -> None:
    assert explain("AAPL", "--data", tmp_path).exit_code == 2
    (tmp_path / "journal.db").write_bytes(b"nothing that is known" * 100)
    (tmp_path / "trail.db").write_bytes(b"nothing that is known" * 100)
    for subject in ("AAPL", "ob1.a.b"):
        done = explain(subject, "--data", tmp_path)
        assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
    assert "--data and --url are both given" in explain("AAPL", "--data", tmp_path, "--url", "http://x").output


async def test_a_runner_is_asked_by_its_api() -> None:
    runner = fake.busy_runner()
    async with serving(create_app(runner, token=None), listen("127.0.0.1", 0)) as port:
        url = f"http://127.0.0.1:{port}"
        order = await asyncio.to_thread(explain, runner.view_orders[1].order_ref, "--url", url)
        symbol = await asyncio.to_thread(explain, "AAPL", "--url", url)
        missing = await asyncio.to_thread(explain, "ob1.a.b", "--url", url)
        runner.fail = JournalError("the decision trail is closed")
        failed = await asyncio.to_thread(explain, "AAPL", "--url", url)
    assert order.exit_code == 0, order.output
    assert "Buy 22 MSFT, an entry of momentum-tech." in order.output
    assert "22 of 22 are filled, at 437.39 on average." in order.output
    assert symbol.output.startswith("momentum-tech/AAPL\n  strategy: ")
    assert (missing.exit_code, missing.output) == (2, "Error: there is no order ob1.a.b here\n")
    assert (failed.exit_code, failed.output) == (2, f"Error: {url} answers 503: the decision trail is closed\n")


def test_a_runner_that_is_not_there_exits_with_2() -> None:
    done = explain("AAPL", "--url", "http://127.0.0.1:9")
    assert done.exit_code == 2
    assert done.output.startswith("Error: http://127.0.0.1:9 does not answer as a runner does: ")
    assert "must begin with http:// or https://" in explain("AAPL", "--url", "file:///etc/passwd").output
