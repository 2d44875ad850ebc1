"""The whole runner on a simulated gateway, each in a process of its own: no end of either loses or doubles an order."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLE = Path(__file__).parents[2] / "examples" / "ibkr-simulated.yaml"
SCENARIO = {"accounts": ["DU1000001"], "startingCash": "100000", "volatility": 20}
SECONDS = 240.0  # a bound for a machine under load, not a time that anything takes
Json = dict[str, Any]


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


@dataclass
class Place:
    """A gateway that lives on, and a runner that does not have to."""

    folder: Path
    gateway: str
    door: tuple[str, int]
    port: int = field(default_factory=free_port)
    runner: subprocess.Popen[bytes] | None = None
    starts: int = 0

    @property
    def address(self) -> Json:
        host, _, port = self.gateway.rpartition(":")
        return {"host": host, "port": int(port)}

    def write(self, **spec: Any) -> None:
        """The example's manifest, with what is given in the scheduler's spec."""
        documents = list(yaml.safe_load_all(EXAMPLE.read_text(encoding="utf-8")))
        (scheduler,) = [each for each in documents if each["kind"] == "TradingScheduler"]
        scheduler["spec"]["broker"]["ibkr"] |= self.address
        scheduler["spec"] |= spec
        (self.folder / "manifest.yaml").write_text(yaml.safe_dump_all(documents), encoding="utf-8")

    def start(self) -> None:
        self.starts += 1
        manifest = self.folder / "manifest.yaml"
        with (self.folder / f"run-{self.starts}.log").open("wb") as log:
            arguments = ["run", str(manifest), "--data", str(self.folder / "data"), "--port", str(self.port)]
            self.runner = subprocess.Popen(
                [sys.executable, "-m", "openbell.cli", *arguments], stdout=log, stderr=subprocess.STDOUT
            )

    def end(self, number: signal.Signals) -> None:
        assert self.runner is not None
        self.runner.send_signal(number)
        self.runner.wait(30)

    def ask(self, path: str, method: str = "GET") -> Json:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/{path}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            found: Json = json.load(answer)
            return found

    def status(self) -> Json:
        """The scheduler's status; nothing while the runner does not answer."""
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            return self.ask("scheduler/status")
        return {}

    def until(self, found: Callable[[Json], Any], what: str) -> Json:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            status = self.status()
            if status and found(status):
                return status
            assert self.runner is None or self.runner.poll() is None, self.log()
            time.sleep(0.1)
        pytest.fail(f"not within {SECONDS:g} s: {what}\n{self.log()}")

    def log(self) -> str:
        return (self.folder / f"run-{self.starts}.log").read_text(encoding="utf-8")[-5000:]

    def control(self, **what: Any) -> Any:
        """What the gateway itself says, or is made to do."""
        with socket.create_connection(self.door, timeout=20) as door, door.makefile("rw") as lines:
            lines.write(json.dumps(what) + "\n")
            lines.flush()
            answer = json.loads(lines.readline())
        assert "error" not in answer, answer
        return answer["ok"]

    def booked(self) -> dict[str, tuple[str, str]]:
        """The journal's fills, by execution: of which order, and how many."""
        with closing(sqlite3.connect(self.folder / "data" / "journal" / "journal.db")) as raw:
            rows = raw.execute("SELECT execution_id, order_ref, quantity FROM fills").fetchall()
        return {execution: (order, quantity) for execution, order, quantity in rows}

    def client(self) -> tuple[int, int]:
        """Client id and highest order id, as the journal keeps them."""
        with closing(sqlite3.connect(self.folder / "data" / "journal" / "journal.db")) as raw:
            (row,) = raw.execute("SELECT client_id, order_id FROM gateway_client").fetchall()
        return row[0], row[1]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(yaml.safe_dump(SCENARIO), encoding="utf-8")
    arguments = ["gateway-sim", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--scenario", str(scenario)]
    with subprocess.Popen(
        [sys.executable, "-m", "openbell.cli", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as gateway:
        assert gateway.stdout is not None
        lines = (gateway.stdout.readline(), gateway.stdout.readline())
        addresses = dict(line.strip().split(" listening on ") for line in lines)
        host, _, port = addresses["control"].rpartition(":")
        made = Place(tmp_path, addresses["gateway"], (host, int(port)))
        try:
            yield made
        finally:
            if made.runner is not None and made.runner.poll() is None:
                made.end(signal.SIGKILL)
            gateway.terminate()


def is_in_sync(status: Json) -> bool:
    said = {each["type"]: each["status"] for each in status["conditions"]}
    return bool(status["ibkr_connected"]) and said["BrokerInSync"] == "True"


@pytest.mark.timeout(900)
def test_it_buys_and_exits_and_sends_nothing_twice_whatever_ends(place: Place) -> None:
    place.write(stopPolicy={"positions": "Flatten"})
    place.start()
    first = place.until(
        lambda status: status["stats"]["trades_executed"] and status["stats"]["exits_executed"], "a trade and its exit"
    )
    assert (first["mode"], first["broker_type"], first["epoch"]) == ("Paper", "IBKR", 1)
    (client_id, written) = place.client()
    assert place.control(do="sessions") == [client_id]
    assert written >= 100

    # The runner is killed, three times, at whatever it is just doing.
    for killed in range(1, 4):
        place.end(signal.SIGKILL)
        place.start()
        place.until(lambda status, epoch=killed + 1: is_in_sync(status) and status["epoch"] == epoch, "in sync again")
        assert place.client()[0] == client_id
        place.until(lambda status: status["stats"]["monitored_positions"], "a position")

    # The connection is lost, and the gateway restarts.
    for fault in ({"do": "disconnect"}, {"do": "restart", "seconds": 1}):
        place.control(**fault)
        place.until(is_in_sync, f"in sync after {fault}")

    # A person disconnects, which a restart does not undo.
    left = place.ask("trading/ibkr/disconnect", "POST")
    assert (left["ibkr_connected"], left["reason"]) == (False, "DisconnectedByHand")
    place.until(lambda _: place.control(do="sessions") == [], "the gateway sees that nobody is connected")
    place.end(signal.SIGTERM)
    place.start()
    away = place.until(lambda status: not status["ibkr_connected"] and status["leading"], "the API")
    told = {each["type"]: each for each in away["conditions"]}
    assert (told["BrokerConnected"]["status"], told["BrokerConnected"]["reason"]) == ("False", "DisconnectedByHand")
    assert (away["can_run"], "disconnected by hand" in away["why"]) == (False, True)
    assert place.ask("trading/ibkr/connect?wait=20", "POST")["ibkr_connected"]
    place.until(is_in_sync, "in sync after the connect")

    # Stopped, it leaves what it holds; then both books say the same.
    place.ask("scheduler/stop?wait=30", "POST")
    place.until(
        lambda status: status["state"] == "stopped" and not place.ask("positions")["positions"], "everything is left"
    )
    place.end(signal.SIGTERM)
    orders, executions = place.control(do="orders"), place.control(do="executions")
    refs = [order["orderRef"] for order in orders]
    assert len(refs) == len(set(refs)), "an order was sent twice"
    ids = [order["orderId"] for order in orders]
    assert len(ids) == len(set(ids))
    assert max(ids) <= place.client()[1], "an order id was used that is not written down"
    made = {each["execId"]: (each["orderRef"], Decimal(each["shares"])) for each in executions}
    kept = {execution: (order, Decimal(quantity)) for execution, (order, quantity) in place.booked().items()}
    assert sorted(kept.values()) == sorted(made.values()), "what the gateway executed is what the journal has booked"
    assert len(kept) >= 4
    assert place.control(do="positions") == []


@pytest.mark.timeout(500)
def test_prices_of_a_gateway_can_be_traded_without_sending_it_an_order(place: Place) -> None:
    place.write(broker={"type": "Simulated"}, marketData={"type": "IBKR", "ibkr": place.address})
    place.start()
    status = place.until(
        lambda status: status["stats"]["trades_executed"] and status["stats"]["exits_executed"], "a trade and its exit"
    )
    assert (status["broker_type"], status["market_data"]) == ("Simulated", "IBKR")
    assert place.control(do="sessions") == [place.client()[0]]
    assert place.control(do="orders") == []
    with pytest.raises(urllib.error.HTTPError) as refused:
        place.ask("trading/ibkr/disconnect", "POST")
    assert refused.value.code == 409
    refused.value.close()
