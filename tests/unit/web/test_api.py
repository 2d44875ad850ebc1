"""The REST routes over a fake runner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes import runner_view as fake
from openbell.domain.errors import ClusterError, JournalError, NotAllowedError
from openbell.domain.orders import IntentState
from openbell.domain.reasons import ExitReason, Reason
from openbell.domain.state import TradingState
from openbell.domain.statistics import Counters
from openbell.engine.trail import DecisionQuery, Run, TrailKind
from openbell.web.app import create_app
from openbell.web.routes.page import NOT_BUILT
from openbell.web.values import Check, HealthView, ReplayView
from openbell.web.view import RunnerView

TOKEN = "correct-horse-battery"


@asynccontextmanager
async def client(
    runner: RunnerView, token: str | None = None, host: str = "127.0.0.1:8021", **options: Any
) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(runner, token=token, **options), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as made:
        yield made


async def test_status_has_the_keys_and_types_people_rely_on() -> None:
    async with client(fake.FakeRunner()) as api:
        body = (await api.get("/api/scheduler/status")).json()
    assert body["status"] == "success"
    assert body["state"] == "running"
    assert body["enabled"] is True
    assert body["config"] == {
        "evaluation_interval": 60,
        "exit_check_interval": 30,
        "min_confidence": 0.5,
        "max_concurrent_trades": 5,
        "market_hours_only": True,
    }
    assert {key: body["stats"][key] for key in body["stats"] if key != "exits_executed"} == {
        "evaluations_run": 142,
        "signals_generated": 23,
        "trades_executed": 8,
        "trades_rejected": 2,
        "errors": 0,
        "monitored_positions": 3,
        "last_evaluation": "2024-12-19T14:30:00Z",
        "last_trade": "2024-12-19T14:25:00Z",
        "uptime_seconds": 8520,
    }
    assert datetime.fromisoformat(body["stats"]["last_trade"]).tzinfo is not None
    assert (body["can_run"], body["is_market_hours"], body["ibkr_connected"]) == (True, True, True)


@pytest.mark.parametrize(
    ("state", "shown"),
    [(TradingState.RUNNING, "running"), (TradingState.PAUSED, "paused"), (TradingState.STOPPED, "stopped")],
)
async def test_state_is_spelt_in_lower_case(state: TradingState, shown: str) -> None:
    async with client(fake.FakeRunner(fake.status(state=state))) as api:
        assert (await api.get("/api/scheduler/status")).json()["state"] == shown


async def test_times_are_null_before_anything_happened() -> None:
    async with client(fake.FakeRunner(fake.status(totals=Counters()))) as api:
        stats = (await api.get("/api/scheduler/status")).json()["stats"]
    assert (stats["last_evaluation"], stats["last_trade"], stats["evaluations_run"]) == (None, None, 0)


async def test_stats_are_given_per_strategy_and_per_reason_in_words() -> None:
    totals = fake.counters(reasons={"NO_SIGNAL": 119, "ORDERED": 8, "OF_AN_OLDER_VERSION": 1})
    runner = fake.FakeRunner(fake.status(totals=totals), view_strategies=(fake.strategy(),))
    async with client(runner) as api:
        body = (await api.get("/api/scheduler/stats")).json()
    assert body["reasons"] == [
        {"reason": "NO_SIGNAL", "text": Reason.NO_SIGNAL.text, "count": 119},
        {"reason": "ORDERED", "text": "an order was sent", "count": 8},
        {"reason": "OF_AN_OLDER_VERSION", "text": "OF_AN_OLDER_VERSION", "count": 1},
    ]
    assert body["strategies"]["momentum-tech"]["evaluations_run"] == 142
    assert body["strategies"]["momentum-tech"]["reasons"]["LOW_CONFIDENCE"] == 9
    assert body["started_at"] == "2024-12-16T14:30:00Z"


async def test_a_position_is_closed_by_its_id_and_the_answer_says_what_happens() -> None:
    runner = fake.busy_runner()
    position = runner.portfolio().positions[0].position_id
    async with client(runner, token=TOKEN) as api:
        assert (await api.post(f"/api/positions/{position}/close")).status_code == 401
        assert runner.closed == []
        answer = await api.post(f"/api/positions/{position}/close", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 202
    assert answer.json() == {
        "status": "success",
        "position_id": position,
        "message": "AAPL is being closed at the market.",
    }
    assert runner.closed == [position]


async def test_a_position_that_is_not_open_cannot_be_closed() -> None:
    async with client(fake.busy_runner()) as api:
        answer = await api.post("/api/positions/p-nothing/close")
    assert answer.status_code == 404
    assert answer.json()["message"] == "Position 'p-nothing' is not open; GET /api/positions lists those that are."


async def test_a_position_is_not_closed_while_exits_are_held_back() -> None:
    runner = fake.busy_runner()
    runner.view_status = replace(runner.view_status, state=TradingState.STOPPED)
    position = runner.portfolio().positions[0].position_id
    async with client(runner) as api:
        answer = await api.post(f"/api/positions/{position}/close")
    assert answer.status_code == 409
    assert answer.json() == {
        "status": "error",
        "message": f"Position {position} is not closed now: the scheduler is stopped.",
    }
    assert runner.closed == []


@pytest.mark.parametrize(
    ("call", "state", "enabled", "paused"),
    [
        ("start", "running", True, False),
        ("stop", "stopped", False, False),
        ("pause", "paused", True, True),
        ("resume", "running", True, False),
    ],
)
async def test_lifecycle_answers_202_with_the_generation(call: str, state: str, enabled: bool, paused: bool) -> None:
    runner = fake.FakeRunner()
    async with client(runner) as api:
        answer = await api.post(f"/api/scheduler/{call}", params={"wait": 5})
        after = (await api.get("/api/scheduler/status")).json()
    assert answer.status_code == 202
    assert answer.json() == {"status": "success", "generation": 8, "acknowledged": True}
    assert runner.calls == [(call, 5.0)]
    assert (after["state"], after["enabled"], after["paused"]) == (state, enabled, paused)


async def test_lifecycle_does_not_wait_unless_asked() -> None:
    runner = fake.FakeRunner(acknowledges=False)
    async with client(runner) as api:
        answer = await api.post("/api/scheduler/pause")
    assert answer.json()["acknowledged"] is False
    assert runner.calls == [("pause", 0.0)]


@pytest.mark.parametrize("wait", ["-1", "61", "soon", "nan", "inf"])
async def test_a_wait_out_of_bounds_is_refused_in_one_sentence(wait: str) -> None:
    async with client(fake.FakeRunner()) as api:
        answer = await api.post("/api/scheduler/pause", params={"wait": wait})
    assert answer.status_code == 422
    assert answer.json()["status"] == "error"
    assert answer.json()["message"].startswith("Field wait cannot be ")
    assert wait in answer.json()["message"]


async def test_a_misspelt_query_parameter_is_refused_not_ignored() -> None:
    runner = fake.FakeRunner()
    async with client(runner) as api:
        answer = await api.post("/api/scheduler/pause", params={"wiat": "5"})
    assert (answer.status_code, runner.calls) == (422, [])
    assert answer.json()["message"] == "Field wiat is not one that this call knows."


@pytest.mark.parametrize("spelt", ["momentum", "Momentum", "MOMENTUM"])
async def test_a_strategy_is_added_as_the_example_says(spelt: str) -> None:
    runner = fake.FakeRunner()
    async with client(runner) as api:
        answer = await api.post(
            "/api/strategies/add", json={"strategy_type": spelt, "config": {"symbol": "AAPL"}, "enabled": True}
        )
        listed = (await api.get("/api/strategies")).json()["strategies"]
    assert answer.status_code == 201
    assert answer.json()["status"] == "success"
    assert answer.json()["name"] == "momentum-aapl"
    assert [each["name"] for each in listed] == ["momentum-aapl"]
    assert runner.added[0].type == "Momentum"
    assert runner.added[0].symbols == ("AAPL",)


async def test_what_is_not_a_setting_is_a_parameter_of_the_type() -> None:
    runner = fake.FakeRunner()
    config = {"symbols": ["AAPL", "BRK.B"], "lookback": 30, "threshold": 0.5, "min_confidence": 0.8, "bar_seconds": 300}
    async with client(runner) as api:
        answer = await api.post(
            "/api/strategies/add",
            json={"strategy_type": "momentum", "config": config, "name": "mine", "enabled": False},
        )
    assert answer.status_code == 201
    request = runner.added[0]
    assert request.parameters == {"lookback": 30, "threshold": 0.5}
    assert (request.symbols, request.min_confidence, request.bar_seconds) == (("AAPL", "BRK.B"), 0.8, 300)
    assert (request.name, request.enabled) == ("mine", False)


async def test_a_custom_strategy_names_where_its_class_is_as_the_resource_does() -> None:
    runner = fake.FakeRunner()
    source = {"type": "ConfigMap", "configMap": {"name": "streaks"}, "class": "Streak"}
    body = {"strategy_type": "custom", "source": source, "config": {"symbol": "AAPL", "bars": 4}}
    async with client(runner) as api:
        answer = await api.post("/api/strategies/add", json=body)
    assert (answer.status_code, answer.json()["name"]) == (201, "custom-aapl")
    assert runner.added[0].source == source | {"configMap": {"name": "streaks", "key": "strategy.py"}}
    assert (runner.added[0].type, runner.added[0].parameters) == ("Custom", {"bars": 4})


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            {"strategy_type": "astrology", "config": {"symbol": "AAPL"}},
            "Field strategy_type cannot be 'astrology': allowed are Momentum, Crossover, Custom.",
        ),
        ({"config": {"symbol": "AAPL"}}, "Field strategy_type is missing and required."),
        (
            {"strategy_type": "momentum", "config": {}},
            "Field config cannot be {}: give either symbol or symbols.",
        ),
        (
            {"strategy_type": "momentum", "config": {"symbol": "AAPL", "symbols": ["IBM"]}},
            "Field config cannot be {'symbol': 'AAPL', 'symbols': ['IBM']}: give either symbol or symbols.",
        ),
        (
            {"strategy_type": "momentum", "config": {"symbol": "apple pie"}},
            "Field config.symbol cannot be 'apple pie': must be a symbol of 1 to 16 capitals, digits, dots and dashes, "
            "like AAPL or BRK.B.",
        ),
        (
            {"strategy_type": "momentum", "config": {"symbol": "AAPL", "min_confidence": 1.5}},
            "Field config.min_confidence cannot be 1.5: input should be less than or equal to 1.",
        ),
        (
            {"strategy_type": "momentum", "config": {"symbol": "AAPL"}, "enabeld": True},
            "Field enabeld is not one that this call knows.",
        ),
        (
            {"strategy_type": "momentum", "config": {"symbol": "AAPL"}, "enabled": "yes"},
            "Field enabled cannot be 'yes': input should be a valid boolean.",
        ),
        (
            {"strategy_type": "custom", "config": {"symbol": "AAPL"}},
            "Field source is missing and required where strategy_type is Custom.",
        ),
        (
            {
                "strategy_type": "momentum",
                "config": {"symbol": "AAPL"},
                "source": {"type": "Image", "entryPoint": "a:B"},
            },
            "Field source is only allowed where strategy_type is Custom; it is Momentum.",
        ),
        (
            {"strategy_type": "custom", "config": {"symbol": "AAPL"}, "source": {"type": "Image"}},
            "Field source cannot be {'type': 'Image'}: "
            "spec.source.entryPoint is required when spec.source.type is Image.",
        ),
        (
            {
                "strategy_type": "custom",
                "config": {"symbol": "AAPL"},
                "source": {"type": "Image", "entryPoint": "import os"},
            },
            "Field source.entryPoint cannot be 'import os': "
            "must be a module and a class, like package.module:Reversal.",
        ),
        (
            {"strategy_type": "momentum", "config": {"symbol": "AAPL", "lookbak": 3}},
            "Field parameters.lookbak is not one of Momentum: lookback, threshold.",
        ),
    ],
)
async def test_a_wrong_strategy_gets_one_sentence(body: dict[str, Any], sentence: str) -> None:
    async with client(fake.FakeRunner()) as api:
        answer = await api.post("/api/strategies/add", json=body)
    assert (answer.status_code, answer.json()) == (422, {"status": "error", "message": sentence})


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe{}"])
async def test_a_body_that_is_not_json_is_refused_in_one_sentence(body: bytes) -> None:
    async with client(fake.FakeRunner()) as api:
        answer = await api.post("/api/strategies/add", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["message"]) == (422, "The body is not valid JSON.")


async def test_a_body_above_the_limit_is_refused_declared_or_not() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(65):
            yield b" " * 1024

    runner = fake.FakeRunner()
    async with client(runner) as api:
        declared = await api.post("/api/strategies/add", content=b" " * 65 * 1024)
        streamed = await api.post("/api/strategies/add", content=chunks())
    assert (declared.status_code, streamed.status_code) == (413, 413)
    assert declared.json()["message"] == "The body is larger than the 65536 bytes that are allowed."
    assert runner.added == []


async def test_a_name_that_exists_is_a_conflict() -> None:
    runner = fake.FakeRunner(view_strategies=(fake.strategy("momentum-aapl"),))
    async with client(runner) as api:
        answer = await api.post("/api/strategies/add", json={"strategy_type": "momentum", "config": {"symbol": "AAPL"}})
    assert answer.status_code == 409
    assert answer.json()["message"] == "Strategy 'momentum-aapl' exists already."


async def test_money_travels_as_plain_decimal_text() -> None:
    exact = fake.position(average_price=Decimal("1E+3"), unrealized_pnl=Decimal("-0.10"), price=None)
    async with client(fake.FakeRunner(view_positions=(exact,))) as api:
        shown = (await api.get("/api/positions")).json()["positions"][0]
    assert (shown["average_price"], shown["unrealized_pnl"], shown["price"]) == ("1000", "-0.1", None)


async def test_a_position_says_whether_its_stop_rests_at_the_broker_and_is_to() -> None:
    held = (fake.position("AAPL"), fake.position("MSFT", is_protected=False, broker_side=False))
    async with client(fake.FakeRunner(view_positions=held)) as api:
        apple, microsoft = (await api.get("/api/positions")).json()["positions"]
    assert (apple["is_protected"], apple["broker_side"]) == (True, True)
    assert (microsoft["is_protected"], microsoft["broker_side"]) == (False, False)


async def test_a_position_shows_its_oldest_lots_or_that_they_are_not_known() -> None:
    bought = tuple(fake.LotView(Decimal(1), Decimal("247.50") + day, fake.NOW) for day in range(101))
    held = (fake.position("AAPL"), fake.position("MSFT"), fake.position("GOOG"))
    async with client(fake.FakeRunner(view_positions=held, view_lots={"p-aapl": bought, "p-msft": ()})) as api:
        apple, microsoft, google = (await api.get("/api/positions")).json()["positions"]
    assert apple["lots"][1] == {"quantity": "1", "price": "248.5", "opened_at": "2024-12-19T14:30:00Z"}
    assert len(apple["lots"]) == 100
    assert (microsoft["lots"], google["lots"]) == ([], None)


async def test_the_portfolio_tells_profit_by_both_ways_of_counting_where_it_is_known() -> None:
    runner = fake.FakeRunner(view_positions=(fake.position(),))
    async with client(runner) as api:
        unknown = (await api.get("/api/portfolio")).json()
        runner.view_fifo = {"realized_today_fifo": Decimal("-3.10"), "realized_total_fifo": Decimal(1200)}
        known = (await api.get("/api/portfolio")).json()
    assert (unknown["cash"], unknown["pnl_total"], unknown["fees_total"]) == ("91311.35", "1284.55", "13")
    assert (unknown["realized_total"], unknown["unrealized"]) == ("1223.75", "60.8")
    assert (unknown["realized_total_fifo"], unknown["realized_today_fifo"]) == (None, None)
    assert (known["realized_total_fifo"], known["realized_today_fifo"]) == ("1200", "-3.1")


async def test_signals_say_why_not_in_words_and_heed_the_limit() -> None:
    refused = fake.signal("GOOG", decision=Reason.LOW_CONFIDENCE, detail="0.42 is below 0.50")
    async with client(fake.FakeRunner(view_signals=(refused, fake.signal()))) as api:
        shown = (await api.get("/api/signals", params={"limit": 1})).json()["signals"]
    assert len(shown) == 1
    assert shown[0]["decision"] == "LOW_CONFIDENCE"
    assert shown[0]["decision_text"] == "the confidence is below the minimum"
    assert shown[0]["detail"] == "0.42 is below 0.50"


async def test_orders_and_logs_are_listed() -> None:
    async with client(fake.busy_runner()) as api:
        orders = (await api.get("/api/orders")).json()["orders"]
        logs = (await api.get("/api/logs", params={"lines": 2})).json()["logs"]
    assert [each["symbol"] for each in orders] == ["IBM", "MSFT", "TSLA", "AAPL"]
    assert orders[2]["average_price"] is None
    assert [each["event"] for each in logs] == ["evaluation.done", "exit.sent"]
    assert logs[1]["fields"] == {"symbol": "IBM", "reason": "TRAILING_STOP"}


async def test_replay_shows_its_progress_and_digest() -> None:
    runner = fake.FakeRunner(fake.status(market_data="Replay"), view_replay=ReplayView(True, 41, "sha256:ab"))
    async with client(runner) as api:
        body = (await api.get("/api/replay")).json()
    assert body == {"status": "success", "finished": True, "trades": 41, "digest": "sha256:ab"}


async def test_replay_is_404_with_a_sentence_where_nothing_is_replayed() -> None:
    async with client(fake.FakeRunner()) as api:
        answer = await api.get("/api/replay")
    assert answer.status_code == 404
    assert answer.json() == {
        "status": "error",
        "message": "This scheduler is no replay: its spec.marketData.type is Broker, not Replay.",
    }


async def test_readiness_ignores_broker_and_leadership() -> None:
    async with client(fake.FakeRunner(fake.status(broker_connected=False, leading=False))) as api:
        answer = await api.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "success")


async def test_a_failed_check_is_503_and_named() -> None:
    runner = fake.FakeRunner()
    runner.ready = HealthView((Check("api", True), Check("journal", False, "the disk is full")))
    runner.live = HealthView((Check("exit loop", False, "silent for 41 s"),))
    async with client(runner) as api:
        ready, live = await api.get("/readyz"), await api.get("/livez")
    assert (ready.status_code, ready.json()["message"]) == (503, "journal: the disk is full")
    assert (live.status_code, live.json()["message"]) == (503, "exit loop: silent for 41 s")


async def test_metrics_are_prometheus_text() -> None:
    async with client(fake.FakeRunner()) as api:
        answer = await api.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "openbell_evaluations_total 0.0" in answer.text


async def test_unknown_paths_and_methods_get_sentences() -> None:
    async with client(fake.FakeRunner()) as api:
        missing = await api.get("/api/nothing")
        wrong = await api.get("/api/scheduler/pause")
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert missing.json()["message"] == "Path '/api/nothing' is not one of this API; see /openapi.json."
    assert wrong.json()["message"] == "Method GET is not allowed on /api/scheduler/pause; allowed is POST."


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ClusterError("The API server cannot be reached.", None), 503),
        (ClusterError("Patching is forbidden.", 403), 403),
        (ClusterError("TradingScheduler 'x' is not there.", 404), 404),
        (ClusterError("The API server failed.", 500), 503),
        (JournalError("The journal cannot be read."), 503),
    ],
)
async def test_failures_behind_the_api_keep_their_sentence(error: ClusterError | JournalError, status: int) -> None:
    async with client(fake.FakeRunner(fail=error)) as api:
        answer = await api.post("/api/scheduler/pause")
    assert (answer.status_code, answer.json()) == (status, {"status": "error", "message": str(error)})


async def test_a_bug_behind_the_api_shows_no_inside() -> None:
    class Broken(fake.FakeRunner):
        def status(self) -> Any:
            raise RuntimeError("secret detail")

    async with client(Broken()) as api:
        answer = await api.get("/api/scheduler/status")
    assert answer.status_code == 500
    assert answer.json()["status"] == "error"
    assert "secret" not in answer.text


WRITES = ("/api/scheduler/start", "/api/scheduler/stop", "/api/scheduler/pause", "/api/scheduler/resume")


async def test_the_gateway_is_left_and_taken_up_again_with_the_token() -> None:
    runner = fake.FakeRunner()
    async with client(runner, TOKEN) as api:
        for call in ("connect", "disconnect"):
            assert (await api.post(f"/api/trading/ibkr/{call}")).status_code == 401
        assert runner.calls == []
        write = {"authorization": f"Bearer {TOKEN}"}
        left = await api.post("/api/trading/ibkr/disconnect", headers=write)
        between = (await api.get("/api/scheduler/status")).json()["ibkr_connected"]
        again = await api.post("/api/trading/ibkr/connect", params={"wait": 5}, headers=write)
    assert (left.status_code, again.status_code) == (202, 202)
    assert left.json() == {
        "status": "success",
        "ibkr_connected": False,
        "reason": "DisconnectedByHand",
        "message": "disconnected.",
    }
    assert (between, again.json()["ibkr_connected"]) == (False, True)
    assert runner.calls == [("disconnect", 0.0), ("connect", 5.0)]


async def test_a_broker_without_a_gateway_is_a_conflict() -> None:
    runner = fake.FakeRunner(fail=NotAllowedError("spec.broker.type is Simulated; there is no gateway"))
    async with client(runner) as api:
        answer = await api.post("/api/trading/ibkr/connect")
    assert (answer.status_code, answer.json()["status"]) == (409, "error")


async def test_a_persons_word_on_an_order_in_doubt_needs_the_token_and_is_one_of_two() -> None:
    doubtful = fake.order(order_ref="ob1.abcd.1", state=IntentState.DOUBTFUL)
    runner, write = fake.FakeRunner(view_orders=(doubtful,)), {"authorization": f"Bearer {TOKEN}"}
    path = "/api/orders/ob1.abcd.1/resolve"
    async with client(runner, TOKEN) as api:
        assert (await api.post(path, json={"as": "lost"})).status_code == 401
        lost = await api.post(path, json={"as": "lost"}, headers=write)
        wrong = [await api.post(path, json=body, headers=write) for body in ({"as": "maybe"}, {}, {"outcome": "lost"})]
        missing = await api.post("/api/orders/ob1.abcd.9/resolve", json={"as": "sent"}, headers=write)
    assert (lost.status_code, lost.json()["order"]["state"]) == (200, "Withdrawn")
    assert [answer.status_code for answer in wrong] == [422, 422, 422]
    assert missing.status_code == 404


@pytest.mark.parametrize("path", WRITES)
@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong", "Bearer", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ünïcode"]
)
async def test_a_write_without_the_token_is_401_and_does_nothing(path: str, authorization: str | None) -> None:
    runner = fake.FakeRunner()
    headers = {b"authorization": authorization.encode()} if authorization else {}
    async with client(runner, TOKEN) as api:
        answer = await api.post(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["status"] == "error"
    assert answer.json()["message"].endswith(".")
    assert runner.calls == []


async def test_adding_a_strategy_needs_the_token_before_its_body_is_looked_at() -> None:
    runner = fake.FakeRunner()
    async with client(runner, TOKEN) as api:
        answer = await api.post("/api/strategies/add", json={"strategy_type": "momentum", "config": {"symbol": "A"}})
    assert (answer.status_code, runner.added) == (401, [])


async def test_the_token_opens_writes_and_reads_need_none() -> None:
    runner = fake.FakeRunner()
    async with client(runner, TOKEN, host="demo-api.default.svc:8021") as api:
        read = await api.get("/api/scheduler/status")
        write = await api.post("/api/scheduler/pause", headers={"authorization": f"Bearer {TOKEN}"})
    assert (read.status_code, write.status_code) == (200, 202)


@pytest.mark.parametrize("host", ["localhost:8021", "127.0.0.1:8021", "[::1]:8021", "10.0.0.7", "demo-api.default.svc"])
async def test_without_a_token_addresses_and_named_hosts_may_write(host: str) -> None:
    async with client(fake.FakeRunner(), allowed_hosts=["demo-api.default.svc"]) as api:
        answer = await api.post("/api/scheduler/pause", headers={"host": host})
    assert answer.status_code == 202


@pytest.mark.parametrize("host", ["rebound.example:8021", "localhost.example", "", "127.0.0.1.example"])
async def test_without_a_token_a_rebound_name_is_refused(host: str) -> None:
    runner = fake.FakeRunner()
    async with client(runner) as api:
        answer = await api.post("/api/scheduler/pause", headers={"host": host})
    assert (answer.status_code, runner.calls) == (403, [])


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999"])
async def test_another_sites_page_cannot_write(origin: str) -> None:
    runner = fake.FakeRunner()
    async with client(runner) as api:
        answer = await api.post("/api/scheduler/pause", headers={"origin": origin})
        own = await api.post("/api/scheduler/pause", headers={"origin": "http://127.0.0.1:8021"})
    assert (answer.status_code, own.status_code) == (403, 202)
    assert len(runner.calls) == 1


def test_an_empty_token_is_no_token_to_start_with() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        create_app(fake.FakeRunner(), token="")


async def test_every_answer_keeps_a_browser_strict(tmp_path: Path) -> None:
    async with client(fake.FakeRunner(), static=tmp_path) as api:
        for path in ("/", "/api/scheduler/status", "/api/nothing"):
            headers = (await api.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"


async def test_the_page_says_how_to_build_it_where_it_is_not_built(tmp_path: Path) -> None:
    async with client(fake.FakeRunner(), static=tmp_path) as api:
        answer = await api.get("/")
    assert (answer.status_code, answer.text) == (404, NOT_BUILT)


async def test_the_page_and_its_assets_are_served_where_built(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "app.js").write_text("1")
    (tmp_path / "index.html").write_text("<!doctype html>")
    async with client(fake.FakeRunner(), static=tmp_path) as api:
        page, asset, outside = await api.get("/"), await api.get("/assets/app.js"), await api.get("/assets/%2e%2e/x")
    assert (page.text, page.headers["content-type"].split(";")[0]) == ("<!doctype html>", "text/html")
    assert (asset.status_code, asset.headers["cache-control"]) == (200, "no-cache")
    assert outside.status_code == 404


async def test_openapi_is_served_and_docs_from_elsewhere_are_not() -> None:
    async with client(fake.FakeRunner()) as api:
        assert (await api.get("/openapi.json")).json()["info"]["title"] == "Openbell"
        assert (await api.get("/docs")).status_code == 404


async def test_uptime_is_the_runners_own() -> None:
    async with client(fake.FakeRunner(replace(fake.status(), uptime_seconds=3))) as api:
        assert (await api.get("/api/scheduler/status")).json()["stats"]["uptime_seconds"] == 3


async def test_locks_are_listed_made_and_lifted() -> None:
    runner = fake.FakeRunner(view_locks=(fake.lock(),))
    async with client(runner) as api:
        (listed,) = (await api.get("/api/locks")).json()["locks"]
        assert (listed["scope"], listed["subject"], listed["reason"]) == ("Symbol", "AAPL", "STOP_LOSS_GUARD")
        made = await api.post("/api/locks", json={"detail": "news", "seconds": 60})
        assert made.status_code == 201
        name = made.json()["lock"]["lock_id"]
        assert made.json()["lock"]["until"] == "2024-12-19T14:31:00Z"
        lifted = await api.delete(f"/api/locks/{name}")
        assert (lifted.status_code, lifted.json()["lock"]["lifted_by"]) == (200, "REST")
        gone = await api.delete(f"/api/locks/{name}")
        assert (gone.status_code, gone.json()["message"]) == (404, f"There is no lock {name!r} here; see /api/locks.")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"scope": "Symbol", "detail": "x"}, "subject names the symbol or strategy of its scope"),
        ({"subject": "AAPL", "detail": "x"}, "is empty for Global"),
        ({"detail": "x", "seconds": 0}, "Field seconds cannot be 0"),
        ({}, "Field detail is missing and required."),
    ],
)
async def test_a_wrong_lock_gets_one_sentence(body: dict[str, Any], sentence: str) -> None:
    async with client(fake.FakeRunner()) as api:
        answer = await api.post("/api/locks", json=body)
    assert answer.status_code == 422
    assert sentence in answer.json()["message"]


async def test_making_and_lifting_a_lock_need_the_token() -> None:
    runner = fake.FakeRunner(view_locks=(fake.lock(),))
    async with client(runner, token=TOKEN) as api:
        assert (await api.get("/api/locks")).status_code == 200
        assert (await api.post("/api/locks", json={"detail": "x"})).status_code == 401
        assert (await api.delete("/api/locks/k2v7wq4mzt3a")).status_code == 401
    assert len(runner.view_locks) == 1


# -- decisions


async def test_decisions_are_listed_with_their_reasons_in_words() -> None:
    run = Run("trend", "AAPL", TrailKind.ENTRY, "NO_SIGNAL", "", "", fake.NOW, fake.NOW + timedelta(minutes=4), 5)
    left = Run("trend", "AAPL", TrailKind.EXIT, "STOP_LOSS", "10 held, price 97", "ob1.x", fake.NOW, fake.NOW, 1)
    runner = fake.FakeRunner(view_decisions=(left, run))
    async with client(runner) as api:
        body = (await api.get("/api/decisions")).json()
    assert body["decisions"][0]["order_ref"] == "ob1.x"
    assert body["decisions"][0]["reason_text"] == ExitReason.STOP_LOSS.text
    assert body["decisions"][1] == {
        "strategy": "trend",
        "symbol": "AAPL",
        "kind": "Entry",
        "reason": "NO_SIGNAL",
        "reason_text": "the strategy had nothing to say",
        "detail": "",
        "order_ref": None,
        "since": "2024-12-19T14:30:00Z",
        "until": "2024-12-19T14:34:00Z",
        "count": 5,
    }


async def test_decisions_are_asked_for_by_what_a_person_knows() -> None:
    runner = fake.FakeRunner()
    asked = {"strategy": "trend", "symbol": "AAPL", "reason": "WARMUP", "since": "2024-12-16T15:00:00+01:00"}
    async with client(runner) as api:
        assert (await api.get("/api/decisions", params=asked | {"order_ref": "ob1.x", "limit": 3})).status_code == 200
        assert (await api.get("/api/decisions")).status_code == 200
    since = datetime(2024, 12, 16, 14, tzinfo=UTC)
    assert runner.asked == [DecisionQuery("trend", "AAPL", "WARMUP", since, "ob1.x", 3), DecisionQuery()]


@pytest.mark.parametrize(
    ("params", "named"),
    [({"limit": 501}, "limit"), ({"since": "2024-12-16T15:00:00"}, "since"), ({"symbols": "A"}, "symbols")],
)
async def test_a_wrong_question_for_decisions_is_refused(params: dict[str, str], named: str) -> None:
    async with client(fake.FakeRunner()) as api:
        answer = await api.get("/api/decisions", params=params)
    assert answer.status_code == 422
    assert named in answer.json()["message"]


async def test_a_trail_that_cannot_be_read_is_503() -> None:
    async with client(fake.FakeRunner(fail=JournalError("the decision trail is closed"))) as api:
        answer = await api.get("/api/decisions")
    assert (answer.status_code, answer.json()["message"]) == (503, "the decision trail is closed")
