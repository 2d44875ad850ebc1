"""Somebody who has just installed Openbell, with nothing but curl: the six steps."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from lab import Place, port_forward, run, stats


def curl(address: str, path: str, *options: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run("curl", "-sS", "--max-time", "40", *options, f"http://{address}{path}"))
    return answer


@pytest.mark.timeout(300, func_only=True)
def test_a_newcomer_walks_from_the_first_status_to_the_logs(place: Place) -> None:
    place.api.apply(place.scheduler(enabled=False))
    place.runner()
    secret = place.api.wait("Secret", place.namespace, "lab-api-token", lambda it: it is not None, 10)
    token = base64.b64decode(secret["data"]["token"]).decode()
    write = ("-X", "POST", "-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json")

    with port_forward(place.namespace, "service/lab-api", 8021) as address:
        # 1. status: what is there does nothing yet
        first = curl(address, "/api/scheduler/status")
        assert (first["status"], first["state"], first["enabled"]) == ("success", "stopped", False)
        assert first["config"] == {
            "evaluation_interval": 1,
            "exit_check_interval": 1,
            "min_confidence": 0.5,
            "max_concurrent_trades": 5,
            "market_hours_only": True,
        }
        assert first["stats"]["trades_executed"] == 0

        # 2. a strategy; not without the token
        body = {
            "strategy_type": "momentum",
            "config": {"symbol": "AAPL", "bar_seconds": 1, "lookback": 2, "threshold": 0.00001},
            "enabled": True,
        }
        strangers = curl(address, "/api/strategies/add", *write[:2], *write[4:], "-d", json.dumps(body))
        assert strangers["status"] == "error"
        added = curl(address, "/api/strategies/add", *write, "-d", json.dumps(body))
        assert added["status"] == "success"
        assert place.api.get("Strategy", place.namespace, added["name"]) is not None

        # 3. start
        started = curl(address, "/api/scheduler/start?wait=30", *write)
        assert (started["status"], started["acknowledged"]) == ("success", True)
        assert place.get()["spec"]["enabled"] is True

        # 4. status, until a trade is counted
        traded = place.wait(lambda it: stats(it, "tradesExecuted") > 0, seconds=120)
        now = curl(address, "/api/scheduler/status")
        assert now["state"] == "running"
        assert now["stats"]["trades_executed"] >= stats(traded, "tradesExecuted")
        assert curl(address, "/api/orders")["orders"]
        assert curl(address, "/api/signals")["signals"]

        # 5. pause and resume
        assert curl(address, "/api/scheduler/pause?wait=30", *write)["acknowledged"] is True
        assert place.get()["spec"]["paused"] is True
        assert curl(address, "/api/scheduler/status")["state"] == "paused"
        assert curl(address, "/api/scheduler/resume?wait=30", *write)["acknowledged"] is True
        assert curl(address, "/api/scheduler/status")["state"] == "running"

        # 6. logs
        events = [line["event"] for line in curl(address, "/api/logs?lines=1000")["logs"]]
        assert "state.acknowledged" in events
