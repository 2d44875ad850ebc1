"""/ws/v1 by a real server and a real client, in one event loop."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fakes import runner_view as fake
from openbell.web import server, stream
from openbell.web.app import create_app
from openbell.web.hub import HubSubscription


@asynccontextmanager
async def served(runner: fake.FakeRunner, token: str | None = None) -> AsyncIterator[str]:
    sock = server.listen("127.0.0.1", 0)
    async with server.serving(create_app(runner, token=token), sock) as port:
        yield f"ws://127.0.0.1:{port}/ws/v1"


async def read(client: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(5):
        message: dict[str, Any] = json.loads(await client.recv())
    return message


async def test_a_snapshot_comes_first_and_events_follow_with_growing_numbers() -> None:
    runner = fake.busy_runner()
    async with served(runner) as url, connect(url) as client:
        snapshot = await read(client)
        runner.hub.publish(fake.signal("KO"))
        runner.hub.publish(fake.trade("KO"))
        runner.hub.publish(runner.portfolio())
        await runner.pause(0)
        events = [await read(client) for _ in range(4)]
    assert (snapshot["type"], snapshot["seq"]) == ("snapshot", 0)
    assert set(snapshot["data"]) == {
        "status",
        "portfolio",
        "strategies",
        "signals",
        "orders",
        "equity_history",
        "replay",
    }
    assert len(snapshot["data"]["equity_history"]) == 400
    assert [each["is_protected"] for each in snapshot["data"]["portfolio"]["positions"]] == [True, True, False]
    assert snapshot["data"]["equity_history"][-1]["equity"] == snapshot["data"]["portfolio"]["equity"]
    assert [event["type"] for event in events] == ["signal", "trade", "portfolio", "state"]
    assert [event["seq"] for event in events] == [1, 2, 3, 4]
    assert events[0]["data"]["decision_text"] == "an order was sent"
    assert events[1]["data"]["price"] == "247.81"
    assert events[2]["data"]["positions"][0]["is_protected"] is True
    assert events[3]["data"]["state"] == "paused"


async def test_connecting_again_gives_a_new_snapshot_that_goes_on_counting() -> None:
    runner = fake.FakeRunner()
    async with served(runner) as url:
        async with connect(url) as client:
            await read(client)
            runner.hub.publish(fake.signal())
            assert (await read(client))["seq"] == 1
        async with connect(url) as client:
            assert (await read(client))["seq"] == 1
            runner.hub.publish(fake.signal("IBM"))
            assert (await read(client))["seq"] == 2


async def test_a_client_that_left_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, forgotten = fake.FakeRunner(), asyncio.Event()
    forget = runner.hub.forget

    def forget_and_tell(client: HubSubscription) -> None:
        forget(client)
        forgotten.set()

    monkeypatch.setattr(runner.hub, "forget", forget_and_tell)
    async with served(runner) as url:
        async with connect(url) as client:
            await read(client)
            assert runner.hub.client_count == 1
        async with asyncio.timeout(5):
            await forgotten.wait()
        assert runner.hub.client_count == 0


async def test_what_a_client_says_changes_nothing() -> None:
    runner = fake.FakeRunner()
    async with served(runner) as url, connect(url) as client:
        await read(client)
        await client.send('{"type": "stop"}')
        runner.hub.publish(fake.signal())
        assert (await read(client))["type"] == "signal"
    assert runner.calls == []


async def test_a_message_above_the_limit_ends_the_connection() -> None:
    runner = fake.FakeRunner()
    async with served(runner) as url, connect(url) as client:
        await read(client)
        await client.send("x" * 5000)
        with pytest.raises(ConnectionClosed):
            await read(client)


async def test_a_slow_client_is_told_how_much_it_missed() -> None:
    runner = fake.FakeRunner(queue_length=3)
    async with served(runner) as url, connect(url) as client:
        await read(client)
        for _ in range(8):  # published in one step of the loop: the client has no turn in between
            runner.hub.publish(fake.signal())
        messages = [await read(client) for _ in range(4)]
    assert messages[0] == {"type": "lagged", "seq": 6, "dropped": 5}
    assert [message["seq"] for message in messages[1:]] == [6, 7, 8]
    assert b"openbell_stream_dropped_total 5.0" in runner.metrics()


async def test_another_sites_page_cannot_listen() -> None:
    async with served(fake.FakeRunner(), "a-token-of-ours") as url:
        with pytest.raises(InvalidStatus, match="403"):
            async with connect(url, origin="http://evil.example"):  # type: ignore[arg-type]
                pass


async def test_a_rebound_name_cannot_listen_without_a_token() -> None:
    async with served(fake.FakeRunner()) as url:
        port = url.split(":")[2].split("/")[0]
        with pytest.raises(InvalidStatus, match="403"):
            async with connect(f"ws://rebound.example:{port}/ws/v1", host="127.0.0.1"):
                pass


async def test_clients_beyond_the_limit_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_CLIENTS", 1)
    async with served(fake.FakeRunner()) as url, connect(url) as first:
        await read(first)
        with pytest.raises(InvalidStatus, match="403"):
            async with connect(url):
                pass


async def test_stopping_the_server_closes_clients_within_seconds() -> None:
    runner = fake.FakeRunner()
    async with asyncio.timeout(8):
        async with served(runner) as url:
            client = await connect(url)
            await read(client)
        with pytest.raises(ConnectionClosed):
            await client.recv()
    assert runner.hub.client_count == 0


async def test_a_taken_address_is_one_sentence_and_not_an_exit() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(server.ListenError, match=rf"cannot listen on 127\.0\.0\.1:{port}"):
            server.listen("127.0.0.1", port)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70000), ("not.a.host.invalid", 8021)])
async def test_an_address_that_is_none_is_one_sentence(host: str, port: int) -> None:
    with pytest.raises(server.ListenError, match="cannot listen"):
        server.listen(host, port)
