"""`openbell resolve` lists what is open and says a person's word on one order, or in a sentence why it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result

from fakes import runner_view as fake
from openbell.cli import main
from openbell.domain.orders import IntentState
from openbell.web.app import create_app
from openbell.web.server import listen, serving

TOKEN = "correct-horse-battery"


def resolve(*arguments: str, token: str | None = TOKEN) -> Result:
    return CliRunner(env={"OPENBELL_TOKEN": token}).invoke(main, ["resolve", *arguments])


@pytest.fixture
def runner() -> fake.FakeRunner:
    """A runner with an order in doubt, and one that is over."""
    doubtful = replace(fake.order(), order_ref="ob1.abcd.1", state=IntentState.DOUBTFUL, detail="no answer")
    return fake.FakeRunner(view_orders=(doubtful, replace(fake.order(), order_ref="ob1.abcd.2")))


@pytest.fixture
async def url(runner: fake.FakeRunner) -> AsyncIterator[str]:
    async with serving(create_app(runner, token=TOKEN), listen("127.0.0.1", 0)) as port:
        yield f"http://127.0.0.1:{port}"


async def asked(url: str, *arguments: str, token: str | None = TOKEN) -> tuple[int, str]:
    done = await asyncio.to_thread(resolve, *arguments, "--url", url, token=token)
    return done.exit_code, done.output


async def test_without_an_order_those_that_are_not_over_are_listed(url: str) -> None:
    code, said = await asked(url, token=None)
    assert (code, said.count("\n")) == (0, 1)
    assert said.startswith("ob1.abcd.1  Doubtful: Buy ")
    assert said.endswith(" filled (no answer)\n")


async def test_where_nothing_is_open_it_says_so(url: str, runner: fake.FakeRunner) -> None:
    runner.view_orders = ()
    assert await asked(url) == (0, "No order is open.\n")


@pytest.mark.parametrize(("outcome", "state"), [("sent", "Cancelled"), ("lost", "Withdrawn")])
async def test_a_word_on_an_order_in_doubt_is_taken(url: str, outcome: str, state: str) -> None:
    code, said = await asked(url, "ob1.abcd.1", "--as", outcome)
    assert (code, said.startswith(f"ob1.abcd.1  {state}: ")) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ob1.abcd.1"], "--as is missing; it must be sent or lost"),
        (["ob1.abcd.1", "--as", "maybe"], "'maybe' is not one of 'sent', 'lost'"),
        (["../x", "--as", "lost"], "'../x' is not an order's reference"),
        (["ob1.abcd.2", "--as", "lost"], "is not in doubt"),
        (["ob1.abcd.9", "--as", "lost"], "is not under way"),
    ],
)
async def test_what_cannot_be_is_one_sentence(url: str, arguments: list[str], said: str) -> None:
    code, output = await asked(url, *arguments)
    assert (code, said in output) == (2, True), output


async def test_without_the_token_nothing_is_resolved(url: str) -> None:
    code, said = await asked(url, "ob1.abcd.1", "--as", "lost", token=None)
    assert (code, "OPENBELL_TOKEN is not set" in said) == (2, True)
