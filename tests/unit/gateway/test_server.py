"""The server at its socket, spoken to in bytes: versions, mistakes, limits, and failures that are not hidden."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from wire_bytes import AAPL, hello, message, place

from openbell.gateway.exchange import Exchange
from openbell.gateway.server import Gateway, negotiate, running
from openbell.gateway.settings import ExchangeSettings, GatewaySettings
from openbell.gateway.wire.frames import Hello

OPEN: list[Any] = []


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    """Sockets that a test opened are closed after it."""
    yield
    while OPEN:
        writer = OPEN.pop().writer
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Peer:
    """A socket to a gateway, with frames taken apart by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, gateway: Gateway, *sent: bytes) -> Peer:
        peer = cls(*await asyncio.open_connection("127.0.0.1", gateway.port))
        OPEN.append(peer)
        peer.writer.write(b"".join(sent))
        return peer

    async def frame(self) -> list[str]:
        async with asyncio.timeout(5):
            (length,) = struct.unpack("!I", await self.reader.readexactly(4))
            return (await self.reader.readexactly(length)).decode().split("\0")[:-1]

    async def until(self, *beginning: str) -> list[str]:
        """The next message that begins so."""
        while (fields := await self.frame())[: len(beginning)] != list(beginning):
            pass
        return fields

    async def rest(self) -> bytes:
        """What comes until the gateway closes."""
        async with asyncio.timeout(5):
            return await self.reader.read()


START = message(71, 2, 5, "")


async def started(gateway: Gateway, version: int = 178) -> Peer:
    peer = await Peer.open(gateway, hello(157, version))
    assert (await peer.frame())[0] == str(version)
    peer.writer.write(START)
    await peer.until("4", "2", "-1", "2158")
    return peer


@pytest.mark.parametrize(
    ("lowest", "highest", "most", "version"),
    [
        (157, 176, 178, 176),
        (157, 178, 178, 178),
        (100, 157, 178, 157),
        (100, 225, 178, 178),
        (100, 225, 176, 176),
        (100, 160, 178, 157),  # 158 to 162 are laid out differently by different clients
        (100, 156, 178, None),
        (179, 225, 178, None),
        (160, 161, 178, None),
    ],
)
def test_the_version_is_the_highest_that_both_speak(lowest: int, highest: int, most: int, version: int | None) -> None:
    assert negotiate(Hello(lowest, highest), most) == version


async def test_nothing_is_said_between_the_version_and_the_start() -> None:
    async with running() as gateway:
        peer = await Peer.open(gateway, hello())
        version, time = await peer.frame()
        assert (version, len(time.split())) == ("176", 3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await peer.reader.read(1)
        peer.writer.write(START)
        assert await peer.frame() == ["15", "1", "DU1000001"]
        assert await peer.frame() == ["9", "1", "1"]


@pytest.mark.parametrize("first", [b"GET / HTTP/1.0\r\n\r\n", hello(100, 150), hello() + b"\xff" * 8])
async def test_what_does_not_speak_the_protocol_is_disconnected(first: bytes) -> None:
    async with running() as gateway:
        peer = await Peer.open(gateway, first)
        said = await peer.rest()
        assert len(said) < 60
        await started(gateway)  # and others are served


async def test_a_request_before_the_start_ends_the_connection() -> None:
    async with running() as gateway:
        peer = await Peer.open(gateway, hello(), message(49, 1))
        await peer.frame()
        assert await peer.rest() == b""


async def test_a_message_that_cannot_be_read_is_answered_and_the_connection_goes_on() -> None:
    async with running() as gateway:
        peer = await started(gateway)
        peer.writer.write(message(1, 11, 55, "x", "AAPL") + message(3, 9, "AAPL") + message(49, 1))
        assert (await peer.until("4", "2", "55"))[3] == "320"
        assert (await peer.until("4", "2", "9"))[3] == "320"
        await peer.until("49", "1")


@pytest.mark.parametrize("version", [157, *range(163, 179)])
async def test_an_order_is_told_of_at_every_version(version: int) -> None:
    async with running(GatewaySettings(ExchangeSettings(preset_tif=False))) as gateway:
        peer = await started(gateway, version)
        peer.writer.write(place(1, version, quantity=10, ref="mine"))
        opened = await peer.until("5", "1")
        assert opened[2:4] == ["265598", "AAPL"]
        assert "mine" in opened
        filled = await peer.until("11", "-1", "1")
        assert len(filled) == (32 if version >= 178 else 31)
        assert len(await peer.until("59", "1")) == 8
        peer.writer.write(message(99, False))
        assert "Filled" in await peer.until("101")
        peer.writer.write(message(9, 8, 77, *AAPL, False, "", "", *([""] if version >= 176 else [])))
        details = await peer.until("10")
        assert details[1] == ("77" if version >= 164 else "8")


async def test_sizes_are_whole_for_clients_that_read_them_so() -> None:
    async with running() as gateway:
        peer = await started(gateway, 157)
        peer.writer.write(message(20, 6, *AAPL, False, "", "5 secs", "60 S", False, "TRADES", 2, False, ""))
        bars = await peer.until("17", "6")
        volumes = bars[10::8]
        assert len(volumes) >= 12
        assert all(volume.isdecimal() for volume in volumes)


async def test_a_client_that_exceeds_the_rate_three_seconds_long_is_dropped() -> None:
    async with running(GatewaySettings(max_messages_per_second=5)) as gateway:
        peer = await started(gateway)
        for _ in range(3):
            peer.writer.write(message(17, 1) * 6)
            refused = await peer.until("4", "2", "-1", "100")
            assert refused[4].startswith("Max rate of messages per second has been exceeded: max=5 rec=")
            await asyncio.sleep(1.05)
        await peer.rest()
        assert not gateway.sessions


async def test_a_mistake_of_the_gateways_own_ends_it_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Exchange, *_: Any) -> None:
        raise RuntimeError("a mistake of our own")

    async def trade() -> None:
        async with running() as gateway:
            peer = await started(gateway)
            monkeypatch.setattr(Exchange, "place", broken)
            peer.writer.write(place(1))
            await peer.rest()

    with pytest.raises(RuntimeError, match="a mistake of our own"):
        await trade()


async def test_a_port_that_is_taken_is_told() -> None:
    async with running() as gateway:
        with pytest.raises(OSError, match="address already in use"):
            async with running(GatewaySettings(port=gateway.port)):
                pass


async def test_a_client_that_leaves_takes_its_subscriptions_along() -> None:
    async with running() as gateway:
        for _ in range(3):
            peer = await started(gateway)
            peer.writer.write(message(61, 1) + message(1, 11, 8, *AAPL, False, "", False, False, ""))
            await peer.until("58", "1", "8")
            assert [session.subscriptions for session in gateway.sessions] == [2]
            peer.writer.close()
            for _ in range(100):
                if not gateway.sessions:
                    break
                await asyncio.sleep(0.02)
            assert gateway.sessions == []


async def test_restarts_that_are_asked_for_at_once_come_one_after_the_other() -> None:
    async with running() as gateway:
        await asyncio.gather(*(gateway.restart(0.05) for _ in range(3)))
        assert gateway.failure is None
        _, writer = await asyncio.open_connection(gateway.host, gateway.port)
        writer.close()
