"""The runner's part of the status, which the resources' own models must take, whatever happened."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from fakes.trading import World, scheduler_manifest, strategy_manifest
from fakes.values import T0, make_position, make_signal
from openbell.domain.reasons import Reason
from openbell.domain.state import TradingState
from openbell.resources.scheduler import SchedulerStatus
from openbell.resources.strategy import StrategyStatus
from openbell.runner.documents import all_documents
from openbell.runner.ledger import SignalRecord

MAIN = ("TradingScheduler", "main")
TREND = ("Strategy", "trend")


def documents(world: World) -> dict[tuple[str, str], Any]:
    """What would be written, checked as the API server checks it."""
    found = all_documents(world.situation, pod="main-runner-0", owner_tag="rqxfrjxf")
    for (kind, _), document in found.items():
        model = SchedulerStatus if kind == "TradingScheduler" else StrategyStatus
        model.model_validate_json(json.dumps(document, allow_nan=False))
    return dict(found)


def conditions(document: Any) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in document["conditions"]}


async def test_before_the_resources_are_known_nothing_is_said(world: World) -> None:
    assert documents(world) == {}


async def test_a_scheduler_that_has_done_nothing_says_so(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    found = documents(world)
    assert set(found) == {MAIN, TREND}
    main = found[MAIN]
    assert (main["state"], main["canRun"], main["why"]) == ("Running", True, "evaluating 1 strategy every 60 s")
    assert main["runner"] == {
        "pod": "main-runner-0",
        "epoch": 1,
        "ownerTag": "rqxfrjxf",
        "observedGeneration": 1,
        "version": main["runner"]["version"],
    }
    assert main["positions"] == {"open": 0, "summary": "", "items": []}
    assert "equity" not in main
    assert "observedGeneration" not in main, "that one is the operator's"
    assert "strategies" not in main, "that one is the operator's"


async def test_money_and_positions_are_decimal_strings(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    await world.hold("a")
    await world.evaluation.refresh_account(T0)
    await world.situation.read_quotes(world.market, ["AAPL"], T0)
    world.market.prices["AAPL"] = 101.5
    await world.situation.read_quotes(world.market, ["AAPL"], T0)
    main = documents(world)[MAIN]
    (item,) = main["positions"]["items"]
    assert (main["equity"], main["pnl"]["day"], main["pnl"]["total"]) == ("100000.00", "0.00", "14.00")
    assert (item["quantity"], item["averagePrice"], item["pnl"]) == ("10", "100", "15.00")
    assert main["positions"]["summary"] == "AAPL +10"
    assert main["stats"]["monitoredPositions"] == 1
    assert documents(world)[TREND]["openPositions"] == 1


async def test_the_list_of_positions_is_bounded_and_in_order(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    for number in range(60):
        world.ledger.put_position(make_position(f"{99 - number}", symbol=f"S{number:02d}"))
    main = documents(world)[MAIN]
    assert main["positions"]["open"] == 60
    assert [item["symbol"] for item in main["positions"]["items"]] == [f"S{number:02d}" for number in range(50)]
    assert main["positions"]["summary"] == "S00 +10, S01 +10, S02 +10, S03 +10, S04 +10 and 55 more"


@pytest.mark.parametrize("confidence", [0.123456, 1, float("nan"), float("inf"), -3.0, 1.5])
async def test_the_last_signal_is_shown_whatever_its_confidence(world: World, confidence: float) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    signal = make_signal(confidence=confidence)
    world.ledger.note_signal(SignalRecord(signal, T0, Reason.INVALID_SIGNAL, ""))
    last = documents(world)[TREND]["lastSignal"]
    assert (last["symbol"], last["action"], last["outcome"]) == ("AAPL", "Buy", "INVALID_SIGNAL")
    assert last["confidence"] == {0.123456: 0.1235, 1: 1.0, 1.5: 1.0}.get(confidence, 0.0)


async def test_an_error_of_any_length_fits_the_status(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    for _ in range(5):
        world.situation.failures.failed("trend", "ValueError: " + "x" * 100_000)
    trend = documents(world)[TREND]
    assert (len(trend["why"]), trend["why"][-1]) == (1024, "…")
    assert conditions(trend)["Failed"] == ("True", "Errors")


async def test_pause_stop_and_loss_of_the_lease_are_documents_too(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    world.ledger.put_position(make_position("a"))
    world.take(scheduler_manifest(generation=2, paused=True), strategy_manifest())
    main = documents(world)[MAIN]
    assert (main["state"], main["canRun"], conditions(main)["Paused"]) == ("Paused", False, ("True", "Paused"))
    assert {each["observedGeneration"] for each in main["conditions"]} == {2}
    world.take(scheduler_manifest(generation=3, enabled=False), strategy_manifest())
    main = documents(world)[MAIN]
    assert (main["state"], conditions(main)["Paused"]) == ("Stopped", ("False", "Stopped"))
    assert conditions(main)["UnmonitoredPositions"] == ("True", "StoppedKeepingPositions")
    assert main["stats"]["monitoredPositions"] == 0
    world.fence.held = False
    main = documents(world)[MAIN]
    assert conditions(main)["RunnerLeading"] == ("False", "NotLeading")


async def test_nothing_that_happened_leaves_the_document_as_it_was(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    assert documents(world) == documents(world)


async def test_a_held_gate_drains_until_the_resource_says_it(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    world.supervisor.hold(TradingState.PAUSED)
    assert conditions(documents(world)[MAIN])["Paused"] == ("False", "Draining")


async def test_many_symbols_are_shown_shortly(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest(symbols=[f"S{number}" for number in range(500)]))
    assert documents(world)[TREND]["symbols"] == "S0, S1, S2 +497"


async def test_open_profit_counts_for_the_strategy(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    world.ledger.put_position(make_position("a", realized_pnl=Decimal(5), fees=Decimal(1)))
    world.market.prices["AAPL"] = 102.0
    await world.situation.read_quotes(world.market, ["AAPL"], T0)
    assert documents(world)[TREND]["pnl"]["total"] == "24.00"
