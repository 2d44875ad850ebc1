"""Records what the unmodified clients send, to compare the codec with. Writes tests/gateway/recordings/NAME.jsonl:
first the hello as hex, then one line a message, with the call that made the client send it.

    .venv/bin/python tests/gateway/record.py

The server here is the least that a client connects to, in bytes written by hand; it shares nothing with the codec.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from driving import NAMES, client

HERE = Path(__file__).parent
VERSIONS = {"ib_insync": b"176", "ib_async": b"178", "ibapi": b"157"}
AAPL = {"symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"}
KNOWN = {**AAPL, "conId": 265598, "primaryExchange": "NASDAQ", "localSymbol": "AAPL", "tradingClass": "NMS"}


def order(kind: str, **more: Any) -> dict[str, Any]:
    """An order of a kind, as a call's argument."""
    return {"order": {"action": "BUY", "totalQuantity": 100, "orderType": kind, "orderRef": "rec", **more}}


def calls(name: str) -> list[tuple[str, list[Any]]]:
    """What is called, in order. The names of the clients' lower halves are the official client's."""
    stock = {"contract": AAPL}
    tags: list[Any] = []
    orders = [
        order("MKT", tif="DAY"),
        order("LMT", lmtPrice=150.25, tif="GTC", account="DU1", outsideRth=True),
        order("STP", auxPrice=140.5, tif="DAY", action="SELL"),
        order("STP LMT", lmtPrice=140.0, auxPrice=140.5, tif="GTC", action="SELL"),
        order("TRAIL", auxPrice=1.5, trailStopPrice=138.0, action="SELL"),
        order("TRAIL", trailingPercent=2.5, action="SELL"),
        order("TRAIL LIMIT", auxPrice=1.5, trailStopPrice=138.0, lmtPriceOffset=0.1, action="SELL"),
        order("MIT", auxPrice=130.0),
        order("LIT", lmtPrice=130.0, auxPrice=131.0),
        order("MOC"),
        order("LOC", lmtPrice=149.0),
        order("LMT", lmtPrice=150.0, tif="GTD", goodTillDate="20261231 15:00:00 US/Eastern"),
        order("LMT", lmtPrice=150.0, tif="IOC"),
        order("LMT", lmtPrice=150.0, tif="FOK", allOrNone=True),
        order("MKT", tif="OPG"),
        order("LMT", lmtPrice=150.0, parentId=7, transmit=False, ocaGroup="group", ocaType=1),
        order("LMT", lmtPrice=150.0, whatIf=True),
        order("LMT", lmtPrice=150.0, algoStrategy="Adaptive", algoParams=[["adaptivePriority", "Normal"]]),
        order("LMT", lmtPrice=150.0, scaleInitLevelSize=10, scaleSubsLevelSize=5, scalePriceIncrement=0.5),
        order("LMT", lmtPrice=150.0, hedgeType="D", hedgeParam="x"),
        order(
            "LMT",
            lmtPrice=150.0,
            conditionsIgnoreRth=True,
            conditions=[
                [
                    "PriceCondition",
                    {
                        "conjunction": "a",
                        "isMore": True,
                        "price": 151.0,
                        "conId": 8314,
                        "exch": "SMART",
                        "triggerMethod": 0,
                    },
                ],
                ["TimeCondition", {"conjunction": "o", "isMore": False, "time": "20261231 15:00:00 US/Eastern"}],
                ["VolumeCondition", {"conjunction": "a", "isMore": True, "volume": 9, "conId": 8314, "exch": "SMART"}],
            ],
        ),
        order("PEG MID", lmtPrice=150.0, auxPrice=0.01),
    ]
    listed: list[tuple[str, list[Any]]] = [
        ("placeOrder", [100 + number, stock, one]) for number, one in enumerate(orders)
    ]
    listed.append(("placeOrder", [190, {"contract": KNOWN}, orders[0]]))
    listed += [
        ("cancelOrder", [101] if name != "ib_insync" else [101, ""]),
        ("reqGlobalCancel", []),
        ("reqOpenOrders", []),
        ("reqAllOpenOrders", []),
        ("reqAutoOpenOrders", [True]),
        ("reqCompletedOrders", [False]),
        ("reqExecutions", [5, {"filter": {"acctCode": "DU1", "time": "20261127 09:30:00 US/Eastern"}}]),
        ("reqIds", [1]),
        ("reqManagedAccts", []),
        ("reqCurrentTime", []),
        ("reqAccountUpdates", [True, "DU1"]),
        ("reqAccountSummary", [6, "All", "NetLiquidation,BuyingPower,$LEDGER:ALL"]),
        ("cancelAccountSummary", [6]),
        ("reqPositions", []),
        ("cancelPositions", []),
        ("reqPositionsMulti", [7, "DU1", ""]),
        ("cancelPositionsMulti", [7]),
        ("reqAccountUpdatesMulti", [8, "DU1", "", True]),
        ("cancelAccountUpdatesMulti", [8]),
        ("reqPnL", [9, "DU1", ""]),
        ("cancelPnL", [9]),
        ("reqPnLSingle", [10, "DU1", "", 265598]),
        ("cancelPnLSingle", [10]),
        ("reqContractDetails", [11, stock]),
        ("reqMatchingSymbols", [12, "apple"]),
        ("reqMarketRule", [26]),
        ("reqHeadTimeStamp", [13, stock, "TRADES", True, 1]),
        ("cancelHeadTimeStamp", [13]),
        ("reqMarketDataType", [3]),
        ("reqMktData", [14, stock, "233", False, False, tags]),
        ("cancelMktData", [14]),
        ("reqHistoricalData", [15, stock, "", "2 D", "1 day", "TRADES", True, 1, True, tags]),
        ("cancelHistoricalData", [15]),
        ("reqRealTimeBars", [16, stock, 5, "TRADES", False, tags]),
        ("cancelRealTimeBars", [16]),
        ("reqScannerParameters", []),
        ("reqSecDefOptParams", [17, "AAPL", "", "STK", 265598]),
    ]
    return listed


def framed(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


class Recorder:
    """Accepts one client, says just enough to it, and keeps what it sends."""

    def __init__(self, version: bytes) -> None:
        self.hello = b""
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self._version = version

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hello = await reader.readexactly(8)
        self.hello += await reader.readexactly(struct.unpack(">I", self.hello[4:])[0])
        writer.write(framed(self._version + b"\x0020261127 10:00:00 EST\x00"))
        try:
            while True:
                (length,) = struct.unpack(">I", await reader.readexactly(4))
                payload = await reader.readexactly(length)
                self.messages.put_nowait(payload)
                if payload.startswith(b"71\x00"):
                    writer.write(framed(b"15\x001\x00DU1\x00") + framed(b"9\x001\x001\x00"))
        except asyncio.IncompleteReadError:
            writer.close()


async def record(name: str) -> None:
    recorder = Recorder(VERSIONS[name])
    server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0)
    async with server, client(name) as driven:
        await driven.do("connect", port=server.sockets[0].getsockname()[1], client_id=3, raw=True)
        started = await recorder.messages.get()
        lines = [{"version": int(VERSIONS[name]), "hello": recorder.hello.hex()}, _line("startApi", [], started)]
        for call, args in calls(name):
            await driven.do("request", name=call, args=args)
            async with asyncio.timeout(5):
                lines.append(_line(call, args, await recorder.messages.get()))
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (HERE / "recordings" / f"{name}.jsonl").write_text(text, "utf-8")
    print(f"{name}: {len(lines) - 1} messages")


def _line(call: str, args: list[Any], payload: bytes) -> dict[str, Any]:
    return {"call": call, "args": args, "sent": payload.decode("utf-8")}


async def main() -> None:
    for name in NAMES:
        await record(name)


if __name__ == "__main__":
    asyncio.run(main())
