"""`openbell unlock` lists locks and lifts one through a runner's API, and says in a sentence why it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from click.testing import CliRunner, Result

from fakes import runner_view as fake
from openbell.cli import main
from openbell.domain.errors import JournalError
from openbell.domain.limits import LockScope
from openbell.web.app import create_app
from openbell.web.server import listen, serving

TOKEN = "correct-horse-battery"


def unlock(*arguments: str, token: str | None = TOKEN) -> Result:
    return CliRunner(env={"OPENBELL_TOKEN": token}).invoke(main, ["unlock", *arguments])


@pytest.fixture
def runner() -> fake.FakeRunner:
    """A runner with a lock on a symbol, and one on everything that only a person lifts."""
    everything = fake.lock("allofthem", scope=LockScope.GLOBAL, subject="", detail="news", until=None, made_by="REST")
    return fake.FakeRunner(view_locks=(fake.lock("aapl1"), everything))


@pytest.fixture
async def url(runner: fake.FakeRunner) -> AsyncIterator[str]:
    async with serving(create_app(runner, token=TOKEN), listen("127.0.0.1", 0)) as port:
        yield f"http://127.0.0.1:{port}"


async def asked(url: str, *arguments: str, token: str | None = TOKEN) -> tuple[int, str]:
    done = await asyncio.to_thread(unlock, *arguments, "--url", url, token=token)
    return done.exit_code, done.output


async def test_without_an_id_the_locks_are_listed_and_none_is_lifted(url: str, runner: fake.FakeRunner) -> None:
    assert await asked(url, token=None) == (
        0,
        "aapl1  openings of AAPL, until 2024-12-19 15:25:00 UTC: 2 losing stops within 3600 s "
        "(STOP_LOSS_GUARD, by StopLossGuard#0).\n"
        "allofthem  every opening, until it is lifted: news (STOP_LOSS_GUARD, by REST).\n",
    )
    assert len(runner.view_locks) == 2


async def test_a_runner_without_locks_says_so(url: str, runner: fake.FakeRunner) -> None:
    runner.view_locks = ()
    assert await asked(url) == (0, "No lock holds openings back.\n")


async def test_the_lock_that_is_named_is_lifted_and_no_other(url: str, runner: fake.FakeRunner) -> None:
    code, said = await asked(url, "aapl1")
    assert (code, said) == (
        0,
        "aapl1 was lifted at 2024-12-19 14:30:00 UTC by REST: openings of AAPL, until 2024-12-19 15:25:00 UTC: "
        "2 losing stops within 3600 s (STOP_LOSS_GUARD, by StopLossGuard#0).\n",
    )
    assert [each.lock_id for each in runner.view_locks] == ["allofthem"]


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        (None, "OPENBELL_TOKEN is not set; it is needed by the runner at"),
        (" ", "OPENBELL_TOKEN is not set; it is needed by the runner at"),
        ("another", "OPENBELL_TOKEN is not the token of the runner at"),
    ],
)
async def test_nothing_is_lifted_without_the_right_token(
    url: str, runner: fake.FakeRunner, token: str | None, sentence: str
) -> None:
    assert await asked(url, "aapl1", token=token) == (2, f"Error: {sentence} {url}\n")
    assert len(runner.view_locks) == 2


async def test_what_cannot_be_lifted_is_one_sentence_and_exits_with_2(url: str, runner: fake.FakeRunner) -> None:
    assert await asked(url, "nothing") == (
        2,
        f"Error: {url} answers 404: There is no lock 'nothing' here; see /api/locks.\n",
    )
    for wrong in ("../positions", "a?b", "ä", ""):
        code, said = await asked(url, wrong)
        assert (code, len(said.splitlines())) == (2, 1)
        assert said == f"Error: {wrong!r} is not a lock's id; 'openbell unlock' without one lists the locks\n"
    runner.fail = JournalError("the journal cannot be written")
    assert await asked(url, "aapl1") == (2, f"Error: {url} answers 503: the journal cannot be written\n")
    assert len(runner.view_locks) == 2


def test_a_runner_that_is_not_there_exits_with_2() -> None:
    for arguments in ((), ("aapl1",)):
        done = unlock(*arguments, "--url", "http://127.0.0.1:9")
        assert done.exit_code == 2
        assert done.output.startswith("Error: http://127.0.0.1:9 does not answer as a runner does: ")
    assert "must begin with http:// or https://" in unlock("aapl1", "--url", "file:///etc/passwd").output
