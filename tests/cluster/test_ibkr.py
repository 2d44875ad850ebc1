"""A scheduler of Interactive Brokers on the cluster: the example, with the gateway's socket cut for a minute."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import Object, Place, condition, kubectl, port_forward, positions, says, stats

pytestmark = pytest.mark.timeout(600, func_only=True)
EXAMPLE = Path(__file__).parents[2] / "examples" / "ibkr-simulated.yaml"
NAME, GATEWAY, CONTROL = "ibkr-simulated", "ibkr-gateway", 4003
CUT_SECONDS = 60


class Backdoor:
    """The gateway's own word, and what a test does to it."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=20)
        self._lines = self._socket.makefile("rw")
        self._others: list[socket.socket] = []

    def begin(self, what: str, **arguments: Any) -> None:
        """Something that takes long, by a line of its own; its answer is not waited for."""
        line = socket.create_connection(self._socket.getpeername(), timeout=20)
        line.sendall((json.dumps({"do": what, **arguments}) + "\n").encode())
        self._others.append(line)

    def do(self, what: str, **arguments: Any) -> Any:
        self._lines.write(json.dumps({"do": what, **arguments}) + "\n")
        self._lines.flush()
        answer = json.loads(self._lines.readline())
        assert "ok" in answer, answer
        return answer["ok"]

    def close(self) -> None:
        self._lines.close()
        for line in (self._socket, *self._others):
            line.close()


@pytest.fixture
def gateway(place: Place) -> Iterator[Backdoor]:
    """The example, applied with this checkout's image and the gateway's back door; its strategy is not there yet."""
    for each in yaml.safe_load_all(EXAMPLE.read_text(encoding="utf-8")):
        if each["kind"] == "Strategy":
            continue
        each["metadata"]["namespace"] = place.namespace
        if each["kind"] == "Deployment":
            container = each["spec"]["template"]["spec"]["containers"][0]
            container["image"] = place.image
            container["args"] += ["--control", f"127.0.0.1:{CONTROL}"]
        if each["kind"] == "TradingScheduler":
            each["spec"]["exits"] = {"stopLoss": 0.2, "takeProfit": 0.2, "maxHoldingSeconds": 20}
        place.api.apply(each)
    kubectl("-n", place.namespace, "rollout", "status", f"deployment/{GATEWAY}", "--timeout=120s")
    with port_forward(place.namespace, f"deployment/{GATEWAY}", CONTROL) as address:
        door = Backdoor(address)
        yield door
        door.close()


def eager(place: Place) -> Object:
    """A strategy that buys soon."""
    return place.strategy("eager", NAME, symbols=["AAPL", "MSFT", "NVDA"], barSeconds=5)


def refs(gateway: Backdoor) -> Counter[str]:
    return Counter(order["orderRef"] for order in gateway.do("orders"))


def test_a_gateway_that_is_cut_for_a_minute_is_told_truly_gates_entries_and_exits_go_on_after_it(
    place: Place, gateway: Backdoor
) -> None:
    place.wait_for("BrokerInSync", name=NAME, seconds=150)
    place.api.apply(eager(place))
    place.wait(lambda it: stats(it, "tradesExecuted") >= 1 and positions(it), name=NAME, seconds=180)
    connected = place.get(NAME)
    assert connected["status"]["brokerConnected"] is True

    gateway.begin("restart", seconds=CUT_SECONDS)
    cut_at = time.monotonic()
    before = refs(gateway)
    place.wait(lambda it: it["status"].get("brokerConnected") is False, name=NAME, seconds=15)
    cut = place.wait(lambda it: says(it, "BrokerInSync", "False"), name=NAME, seconds=15)
    assert condition(cut, "BrokerInSync")["reason"] != "InSync"
    assert condition(cut, "BrokerInSync")["message"]
    held = len(positions(cut))

    while time.monotonic() - cut_at < CUT_SECONDS - 5:
        now = place.get(NAME)
        assert now["status"].get("brokerConnected") is False, "while the port refuses nothing else is said"
        assert not says(now, "BrokerInSync", "True")
        time.sleep(3)
    assert refs(gateway) == before, "nothing arrived meanwhile"
    assert held == len(positions(place.get(NAME))), "nothing was left while nobody could be told"

    place.wait(lambda it: it["status"].get("brokerConnected") is True, name=NAME, seconds=90)
    place.wait_for("BrokerInSync", name=NAME, seconds=60)
    exits = stats(cut, "exitsExecuted")
    place.wait(lambda it: stats(it, "exitsExecuted") > exits, name=NAME, seconds=120)

    place.ask(NAME, paused=True)
    place.wait(lambda it: says(it, "Paused", "True") and not positions(it), name=NAME, seconds=120)
    twice = [ref for ref, times in refs(gateway).items() if times > 1]
    assert not twice, "no order was sent twice"
    assert gateway.do("positions") == [], "the gateway holds what we hold"


def test_the_kill_of_a_runner_loses_no_order_at_the_gateway(place: Place, gateway: Backdoor) -> None:
    place.wait_for("BrokerInSync", name=NAME, seconds=150)
    place.api.apply(eager(place))
    place.wait(lambda it: stats(it, "tradesExecuted") >= 1 and positions(it), name=NAME, seconds=180)
    pod = place.runner(NAME)
    place.api.delete("Pod", place.namespace, pod["metadata"]["name"], grace=0)
    since = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    place.wait(
        lambda it: (
            says(it, "BrokerInSync", "True")
            and datetime.fromisoformat(condition(it, "BrokerInSync")["lastTransitionTime"]) > since
        ),
        name=NAME,
        seconds=180,
    )
    place.ask(NAME, paused=True)
    place.wait(lambda it: says(it, "Paused", "True") and not positions(it), name=NAME, seconds=180)
    found = place.get(NAME)
    executions = gateway.do("executions")
    bought = {fill["orderRef"] for fill in executions if fill["side"] == "BOT"}
    assert stats(found, "tradesExecuted") == len(bought), "every purchase was counted, and once"
    assert [ref for ref, times in refs(gateway).items() if times > 1] == []
    assert gateway.do("positions") == []
