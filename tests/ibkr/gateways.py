"""`openbell gateway-sim` in a process of its own, with its orders and executions, from beginning to end of a test."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from lives import Execution, FoundError, Launcher, Order, executed

from openbell.brokers.ibkr.mapping import execution_id
from openbell.brokers.ibkr.supervision import EASTERN

ACCOUNT = "DU1000001"
PORTS = range(10_000, 30_000)  # below those that the system gives to others while the gateway restarts
START_SECONDS = 180.0  # of imports, on a machine under load
NIGHT = 120  # seconds around midnight in New York, when a gateway forgets what is over
SIDES = {"BOT": "Buy", "SLD": "Sell"}
Json = dict[str, Any]


def free_port() -> int:
    """A port that nobody listens on, nor is given one by the system."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_out_midnight() -> None:
    """Nothing that is true of a day has to be true over its end."""
    while True:
        now = datetime.now(EASTERN)
        seconds = (now.hour * 60 + now.minute) * 60 + now.second
        if NIGHT <= seconds < 86_400 - NIGHT:
            return
        time.sleep(5)


class Gateway:
    """The process, by what it says over its back door. Every order and execution that it has ever named is kept."""

    def __init__(self, folder: Path, launcher: Launcher, scenario: Json) -> None:
        wait_out_midnight()
        self.port = free_port()
        self.client_ids: set[int] = set()
        self.ids: dict[tuple[int, int], int] = {}  # (client, order id) → permId
        self._launcher = launcher
        self._orders: dict[int, Json] = {}
        self._executions: dict[str, Execution] = {}
        path, log = folder / "scenario.yaml", folder / "gateway.log"
        path.write_text(yaml.safe_dump({"accounts": [ACCOUNT], **scenario}), encoding="utf-8")
        listen = ["--listen", f"127.0.0.1:{self.port}", "--control", "127.0.0.1:0"]
        argv = ["gateway-sim", *listen, "--scenario", str(path)]
        self._pid = launcher.order({"argv": argv, "kill_point": "", "log": str(log), "planted": []})
        deadline = time.monotonic() + START_SECONDS
        while (said := log.read_text(encoding="utf-8") if log.exists() else "").count("listening on") < 2:
            assert time.monotonic() < deadline, said
            time.sleep(0.02)
        self.starting_cash = Decimal(scenario.get("startingCash", "1000000"))
        (line,) = [each for each in said.splitlines() if each.startswith("control")]
        self._door = ("127.0.0.1", int(line.rpartition(":")[2]))

    def close(self) -> None:
        os.kill(self._pid, signal.SIGTERM)
        answer = self._launcher.hear(30)
        assert answer is not None, "the gateway did not end"
        assert answer["status"] == 0, f"the gateway ended with {answer['status']}"

    def control(self, what: str, **rest: Any) -> Any:
        """What the gateway itself says, or is made to do."""
        with socket.create_connection(self._door, timeout=30) as door, door.makefile("rw") as lines:
            lines.write(json.dumps({"do": what, **rest}) + "\n")
            lines.flush()
            answer = json.loads(lines.readline())
        assert "error" not in answer, answer
        return answer["ok"]

    @property
    def spec(self) -> str:
        return f"{{type: IBKR, ibkr: {{host: 127.0.0.1, port: {self.port}, account: {ACCOUNT}}}}}"

    def arrivals(self) -> list[Order]:
        """Every order that was ever taken. One that was changed under another's name is found here."""
        for order in self.control("orders"):
            before = self._orders.setdefault(order["permId"], order)
            if before["orderRef"] != order["orderRef"]:
                raise FoundError(f"the order {before['orderRef']} was changed into {order['orderRef']}")
            number = order["clientId"], order["orderId"]
            if self.ids.setdefault(number, order["permId"]) != order["permId"]:
                raise FoundError(f"the order id {number} was given to two orders, {order['orderRef']} the second")
        return [
            Order(
                order["orderRef"],
                order["symbol"],
                "Buy" if order["action"] == "BUY" else "Sell",
                Decimal(order["quantity"]),
            )
            for order in self._orders.values()
        ]

    def open_orders(self) -> list[str]:
        """References of orders that may still be filled."""
        over = {"Filled", "Cancelled", "Inactive"}
        return [order["orderRef"] for order in self.control("orders") if order["status"] not in over]

    def executions(self) -> list[Execution]:
        """Every fill that was ever made."""
        for told in self.control("executions"):
            identity, side = execution_id(told["execId"]).base, SIDES[told["side"]]
            self._executions[identity] = executed(
                identity, told["orderRef"], told["symbol"], side, told["shares"], told["price"], told["commission"]
            )
        return list(self._executions.values())

    def cash(self) -> Decimal:
        return Decimal(self.control("cash")[ACCOUNT])

    def positions(self) -> dict[str, Decimal]:
        """What the account holds."""
        return {held["symbol"]: Decimal(held["position"]) for held in self.control("positions")}
