"""Who a runner is to a gateway, which account it may trade there, and the connection as people steer it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fakes.ibkr import FakeGateway
from fakes.trading import World, scheduler_manifest, strategy_manifest, until
from fakes.values import make_intent
from openbell.brokers.base import ConnectionChanged
from openbell.brokers.ibkr.account import Mode, Wanted
from openbell.brokers.ibkr.adapter import IBKRBroker, Settings
from openbell.brokers.ibkr.clientid import client_id_of
from openbell.brokers.ibkr.supervision import Reason as LinkReason
from openbell.brokers.ibkr.supervision import Timing
from openbell.domain.clock import SystemClock
from openbell.domain.errors import ManifestError
from openbell.domain.reasons import Reason
from openbell.journal import GatewayClient
from openbell.resources.load import parse_spec
from openbell.resources.scheduler import KIND, SchedulerSpec
from openbell.runner import steering as steerings
from openbell.runner.gateway import broker_of, client_of, is_live_refused, needs_client
from openbell.runner.steering import KEPT, Steering

QUICK = Timing(handshake=1.0, synchronise=1.0, first_retry=0.02, longest_retry=0.1, resets=())


def spec(account: str = "DU1", **fields: Any) -> SchedulerSpec:
    broker = {"type": "IBKR", "ibkr": {"host": "gw", "port": 4002, "account": account}}
    parsed = parse_spec(KIND, {"broker": broker, **fields})
    assert isinstance(parsed, SchedulerSpec)
    return parsed


# --- who we are -----------------------------------------------------------------------------------------------------


async def test_a_client_id_is_derived_once_and_kept_whatever_is_derived_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await client_of(world.journal, "abcd2345", "")
    assert first.kept == GatewayClient(client_id_of("abcd2345"), 0)
    await first.write_order_id(100)
    monkeypatch.setattr("openbell.runner.gateway.client_id_of", lambda owner: 1)
    second = await client_of(world.journal, "abcd2345", "")
    assert second.kept == GatewayClient(client_id_of("abcd2345"), 100)


async def test_the_adapter_goes_on_above_every_order_id_that_may_have_been_used(world: World) -> None:
    client = await client_of(world.journal, "abcd2345", "")
    assert broker_of(spec(), SystemClock(), client).order_ids.following == 1
    await client.write_order_id(100)
    made = broker_of(spec(), SystemClock(), await client_of(world.journal, "abcd2345", ""))
    assert (made.order_ids.following, made.order_ids.is_written) == (101, False)
    assert made.connection.address == "gw:4002"


async def test_what_is_wanted_of_the_account_is_what_both_statements_say(world: World) -> None:
    client = await client_of(world.journal, "abcd2345", "U1")
    paper = broker_of(spec("DU1"), SystemClock(), client)
    live = broker_of(spec("U1", mode="Live"), SystemClock(), client)
    assert paper.connection.settings.wanted == Wanted("DU1", Mode.PAPER, "U1")
    assert live.connection.settings.wanted == Wanted("U1", Mode.LIVE, "U1")


async def test_a_gateway_that_is_not_named_is_said(world: World) -> None:
    simulated = parse_spec(KIND, {})
    assert isinstance(simulated, SchedulerSpec)
    with pytest.raises(ManifestError, match=r"spec\.broker\.ibkr is required"):
        broker_of(simulated, SystemClock(), await client_of(world.journal, "abcd2345", ""))
    assert (needs_client(simulated), needs_client(spec())) == (False, True)


@pytest.mark.parametrize(
    ("account", "mode", "allowed", "refused"),
    [
        ("DU1", "Paper", "", False),
        ("U1", "Live", "U1", False),
        ("U1", "Live", "", True),
        ("U1", "Live", "U2", True),
        ("", "Live", "", True),
        ("", "Live", "U1", True),
    ],
)
def test_live_needs_the_same_account_in_both_statements(account: str, mode: str, allowed: str, refused: bool) -> None:
    assert is_live_refused(spec(account, mode=mode), allowed) is refused


# --- the connection as people steer it ------------------------------------------------------------------------------


@asynccontextmanager
async def linked(world: World, folder: Path, gateway: FakeGateway) -> AsyncIterator[tuple[IBKRBroker, Steering]]:
    """A runner's parts, and the connection of an adapter beside them."""
    settings = Settings("gw", 4002, 7, Wanted(), timing=QUICK)
    broker = IBKRBroker(settings, SystemClock(), rng=random.Random(1), load_library=gateway.library)
    steering = Steering(broker.connection, world.gate, world.desk, world.ledger, folder)
    broker.connection.on_link = steering.note
    steering.restore()
    running = asyncio.create_task(broker.run())
    try:
        yield broker, steering
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_who_disconnects_holds_entries_at_once_and_hangs_up(world: World, folder: Path) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    async with linked(world, folder, FakeGateway()) as (broker, steering):
        await until(lambda: broker.is_connected)
        said = await steering.disconnect()
        assert (said.connected, said.reason) == (False, "DisconnectedByHand")
        assert said.message == "Disconnected from gw:4002: nothing is opened until it is connected again."
        assert world.gate.entry_blocked() is Reason.BROKER_DISCONNECTED
        assert not broker.is_connected
        assert await steering.disconnect() == said, "asked twice, it is done once"
        assert steering.standing() == ("DisconnectedByHand", steerings.WHY)


async def test_what_is_open_is_named_for_no_exit_can_go_out(world: World, folder: Path) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    await world.hold()
    async with linked(world, folder, FakeGateway()) as (broker, steering):
        await until(lambda: broker.is_connected)
        said = await steering.disconnect()
        assert said.message == (
            "Disconnected from gw:4002: nothing is opened, and no exit can go out, until it is connected again; "
            "of 1 open position(s), 0 have a stop that rests at the broker."
        )
        assert world.gate.exit_blocked() is None, "an exit is not held back: it cannot be sent"


async def test_an_order_that_waits_for_its_answer_is_waited_for_but_not_for_ever(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steerings, "ANSWER_SECONDS", 0.05)
    world.take(scheduler_manifest(), strategy_manifest())
    await world.desk.place([make_intent()])
    async with linked(world, folder, FakeGateway()) as (broker, steering):
        await until(lambda: broker.is_connected)
        leaving = asyncio.create_task(steering.disconnect())
        await asyncio.sleep(0.01)
        assert broker.is_connected
        assert world.gate.broker_released, "while it is waited for, nothing new goes out"
        await leaving
        assert not broker.is_connected


async def test_a_disconnect_outlives_the_process_and_ends_by_a_connect_alone(world: World, folder: Path) -> None:
    gateway = FakeGateway()
    async with linked(world, folder, gateway) as (broker, steering):
        await until(lambda: broker.is_connected)
        await steering.disconnect()
    world.gate.broker_released = False
    dialled = gateway.dialled
    async with linked(world, folder, gateway) as (broker, steering):
        await asyncio.sleep(0.1)
        assert (gateway.dialled, broker.link.reason) == (dialled, LinkReason.DISMISSED)
        assert world.gate.broker_released
        said = await steering.connect(5.0)
        assert (said.connected, said.reason, said.message) == (True, "Connected", "Connected to gw:4002.")
        assert not world.gate.broker_released
        assert not (folder / KEPT).exists()
        assert await steering.connect(0.0) == said, "asked twice, it is done once"


async def test_the_last_word_counts_whatever_was_still_under_way(world: World, folder: Path) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    async with linked(world, folder, FakeGateway()) as (broker, steering):
        await until(lambda: broker.is_connected)
        await steering.disconnect()
        said = await asyncio.gather(steering.connect(0.0), steering.disconnect())
        assert said[1].reason == "DisconnectedByHand"
        assert world.gate.broker_released
        assert (folder / KEPT).exists()
        await asyncio.sleep(0.1)
        assert not broker.is_connected


async def test_a_gateway_that_is_away_is_said_after_the_wait(world: World, folder: Path) -> None:
    gateway = FakeGateway(refuse=[ConnectionRefusedError("refused") for _ in range(1000)])
    async with linked(world, folder, gateway) as (_, steering):
        said = await steering.connect(0.1)
        assert not said.connected
        assert said.message.startswith("Connecting to gw:4002: ")


async def test_a_folder_that_takes_no_file_does_not_keep_a_person_from_disconnecting(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError("no space left on device")

    async with linked(world, folder, FakeGateway()) as (broker, steering):
        await until(lambda: broker.is_connected)
        monkeypatch.setattr(Path, "touch", full)
        assert not (await steering.disconnect()).connected
        assert not broker.is_connected


async def test_a_link_that_is_up_and_not_heard_of_yet_is_no_reason_of_its_own(world: World, folder: Path) -> None:
    async with linked(world, folder, FakeGateway()) as (broker, steering):
        assert steering.standing() == ("NotTried", "not connected yet")
        await until(lambda: broker.is_connected)
        assert steering.standing()[0] == "Connecting"


# --- what the status says of it -------------------------------------------------------------------------------------


def observed(world: World, kind: str) -> tuple[str, str, str]:
    (found,) = [each for each in world.situation.refresh_conditions() if each.type == kind]
    return found.status, found.reason, found.message


async def test_the_status_says_in_one_word_and_one_sentence_why_there_is_no_connection(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    assert observed(world, "BrokerConnected") == ("True", "Connected", "the broker answers")
    world.gate.lose_connection()
    why = "the gateway still has a connection with our client id; it is waited for"
    world.situation.link = lambda: ("ClientIdInUse", why)
    assert observed(world, "BrokerConnected") == ("False", "ClientIdInUse", why)
    assert observed(world, "BrokerInSync") == ("False", "Disconnected", f"nothing can be compared: {why}")
    assert world.situation.why() == why


async def test_a_broker_without_a_gateway_says_what_was_heard_last(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    world.comparison.on_connection(ConnectionChanged(False, "the venue is gone"))
    assert observed(world, "BrokerConnected") == ("False", "Disconnected", "the venue is gone")
    assert world.situation.why() == "the venue is gone"
