"""Custom strategies in a runner: loaded in workers, asked beside the others, contained, and told of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from fakes.custom import STREAK, with_body
from fakes.trading import World, scheduler_manifest, strategy_manifest, until
from fakes.values import OWNER, T0
from openbell.domain.answers import Value
from openbell.domain.bars import Bar, BarSeries
from openbell.domain.orders import IntentKind
from openbell.domain.positions import BrokerPosition, ExitPolicy, Position
from openbell.domain.reasons import Reason
from openbell.domain.signals import Action
from openbell.engine.exits import levels
from openbell.journal import StoredParameters
from openbell.resources.load import Manifest
from openbell.runner.asking import Asking, ask, contexts_of, deadline
from openbell.runner.control import Control, understand
from openbell.runner.custom import Loaded, Workshop, signal_of
from openbell.runner.documents import all_documents
from openbell.runner.entry import StrategyEntry
from openbell.runner.evaluation import Evaluation
from openbell.runner.source import Observed
from openbell.runner.sources import ConfigMaps
from openbell.runner.worker import WorkerError

SOURCE = {"type": "ConfigMap", "configMap": {"name": "code", "key": "k.py"}, "class": "Rise"}


def custom_manifest(name: str = "own", **spec: object) -> Manifest:
    return strategy_manifest(name, **{"type": "Custom", "source": SOURCE, "parameters": {}, **spec})


def bars(*closes: float) -> BarSeries:
    made = []
    for index, close in enumerate(reversed(closes)):
        over = T0 - timedelta(minutes=index)
        made.append(Bar("AAPL", over - timedelta(minutes=1), over, close, close, close, close, 1.0))
    return BarSeries.from_bars("AAPL", 60, list(reversed(made)))


class Shop:
    """A world whose evaluation has workers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.workshop = Workshop()
        self.last_good: dict[str, StoredParameters] = {}
        world.situation.workshop = self.workshop
        world.market.series["AAPL", 60] = bars(100.0, 101.0, 103.0)
        self.asking = Asking(self.workshop, patience_seconds=None)
        world.evaluation.close()
        world.evaluation = Evaluation(
            world.situation,
            world.market,
            world.broker,
            world.journal,
            world.clock,
            world.metrics,
            OWNER,
            world.signals.append,
            asking=self.asking,
        )

    async def take(self, *strategies: Manifest, code: str | None = STREAK, unread: bool = False) -> Control:
        world = self.world
        world.take(scheduler_manifest())
        texts = {} if code is None else {"code": {"k.py": code}}
        maps = ConfigMaps(texts, frozenset({"code"}) if unread else frozenset())
        observed = Observed(scheduler_manifest(), {each.name: each for each in strategies}, config_maps=maps)
        control = understand(observed, self.last_good)
        assert control is not None
        world.situation.control = control
        world.gate.strategies = control.strategy_states()
        self.workshop.adopt(control.entries)
        for name in control.entries:
            bench = self.workshop.bench(name)
            if bench is not None:
                await bench.ready(None)
        return control

    async def run(self) -> None:
        control = self.world.situation.control
        assert control is not None
        await self.world.evaluation.run(list(control.entries.values()), self.world.clock.now())

    def entry(self, name: str = "own") -> StrategyEntry:
        control = self.world.situation.control
        assert control is not None
        return control.entries[name]

    def conditions(self, name: str = "own") -> dict[str, tuple[str, str, str]]:
        found = self.world.situation.refresh_strategy(self.entry(name))
        return {str(each.type): (each.status.value, each.reason, each.message) for each in found}

    def document(self, name: str = "own") -> Any:
        return all_documents(self.world.situation, pod="", owner_tag="")["Strategy", name]


@pytest.fixture
async def shop(world: World) -> AsyncIterator[Shop]:
    made = Shop(world)
    yield made
    await made.workshop.close()


async def test_a_signal_of_a_custom_strategy_becomes_an_order(shop: Shop) -> None:
    await shop.take(custom_manifest())
    await shop.run()
    (intent,) = shop.world.broker.sent
    assert (intent.strategy, intent.symbol) == ("own", "AAPL")
    (record,) = shop.world.signals
    assert (record.signal.version, record.signal.bar_time, record.reason) == ("1.4", T0, Reason.ORDERED)
    assert len(record.signal.parameters_hash) == 12
    assert shop.document()["parametersSchema"]["properties"]["bars"]["default"] == 2
    assert shop.conditions()["Failed"][:2] == ("False", "AsExpected")


async def test_built_in_and_custom_strategies_are_asked_in_one_tick(shop: Shop) -> None:
    await shop.take(custom_manifest(), strategy_manifest("trend"))
    await shop.run()
    assert {(r.signal.strategy, r.reason.value) for r in shop.world.signals} >= {("own", "ORDERED")}
    assert {r.signal.strategy for r in shop.world.signals} == {"own", "trend"}


async def test_a_slow_one_is_killed_at_its_deadline_counted_and_started_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openbell.runner.asking.deadline", lambda *_: 0.3)
    await shop.take(custom_manifest(), strategy_manifest("trend"), code=with_body("time.sleep(60)"))
    shop.asking._patience_seconds = 0.01
    await shop.run()
    assert [r.signal.strategy for r in shop.world.signals] == ["trend"]
    failures = shop.world.situation.failures
    assert failures.texts == {"own": "it gave no answer within 0.3 s, and its process was killed"}
    await shop.run()  # the process that is starting is not counted against it
    shop.asking._patience_seconds = None
    await shop.run()
    assert failures.counts["own"] in (2, 3)


async def test_what_a_slow_one_says_in_time_is_decided_by_itself(shop: Shop) -> None:
    said = "time.sleep(0.4)\nyield context.signal(Action.BUY, 0.8, '')"
    await shop.take(custom_manifest(), strategy_manifest("trend"), code=with_body(said))
    shop.asking._patience_seconds = 0.01
    running = asyncio.create_task(shop.run())
    await until(lambda: len(shop.world.broker.sent) == 1)
    assert not running.done(), "the built-in strategy's order does not wait for the other"
    await running
    assert [each.strategy for each in shop.world.broker.sent] == ["trend", "own"]
    assert shop.world.ledger.statistics.total.evaluations_run == 1


async def test_what_it_raises_five_times_in_a_row_fails_it_and_the_others_go_on(shop: Shop) -> None:
    await shop.take(custom_manifest(), strategy_manifest("trend"), code=with_body("raise KeyError('no')"))
    for _ in range(5):
        await shop.run()
    assert shop.conditions()["Failed"] == ("True", "Errors", "KeyError: 'no' (line 22 of ConfigMap code, key k.py)")
    assert shop.world.situation.failed_strategies() == ("own",)
    assert shop.world.broker.sent[0].strategy == "trend"


async def test_a_class_that_cannot_be_loaded_is_tried_again_and_nobody_waits_for_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openbell.runner.custom.LOAD_SECONDS", 0.2)
    shop.asking._patience_seconds = 5.0
    await shop.take(custom_manifest(), strategy_manifest("trend"), code="while True: pass")
    sentence = "its class cannot be loaded: it gave no answer within 0.2 s, and its process was killed"
    assert shop.document()["why"] == sentence
    began = asyncio.get_running_loop().time()
    await shop.run()
    assert asyncio.get_running_loop().time() - began < 4.0
    assert [each.strategy for each in shop.world.broker.sent] == ["trend"]
    for _ in range(4):
        await shop.run()
    assert shop.conditions()["Failed"] == ("True", "Errors", sentence)


async def test_one_that_dies_counts_once_and_is_there_again_for_the_next_evaluation(shop: Shop) -> None:
    await shop.take(custom_manifest(), code=with_body("os._exit(3)"))
    await shop.run()
    assert shop.world.situation.failures.texts == {"own": "its process ended (exit code 3) without an answer"}
    await shop.run()
    assert shop.world.situation.failures.counts == {"own": 2}


@pytest.mark.parametrize(
    ("code", "spec", "reason", "sentence"),
    [
        (None, {}, "SourceNotFound", "there is no ConfigMap code in default, which spec.source.configMap.name names"),
        (
            STREAK,
            {"source": {**SOURCE, "configMap": {"name": "code", "key": "other.py"}}},
            "SourceNotFound",
            "the ConfigMap code has no key other.py, which spec.source.configMap.key names; it has k.py",
        ),
        (
            STREAK,
            {"source": {**SOURCE, "class": "Fall"}},
            "InvalidClass",
            "there is no strategy class Fall in ConfigMap code, key k.py; it has Rise",
        ),
        (
            STREAK,
            {"parameters": {"bars": 0}},
            "InvalidParameters",
            "spec.parameters.bars is 0, but must be greater than or equal to 1",
        ),
    ],
)
async def test_a_class_that_cannot_run_is_refused_at_once_with_a_sentence(
    shop: Shop, code: str | None, spec: dict[str, object], reason: str, sentence: str
) -> None:
    await shop.take(custom_manifest(**spec), strategy_manifest("trend"), code=code)
    await shop.run()
    assert shop.conditions()["Failed"] == ("True", reason, sentence)
    assert shop.conditions()["Running"][:2] == ("False", "Failed")
    assert shop.document()["why"] == sentence
    assert "parametersSchema" not in shop.document()
    assert [each.strategy for each in shop.world.broker.sent] == ["trend"]
    assert shop.world.ledger.statistics.of("own").reasons == {"NOT_LOADED": 1}


async def test_a_config_map_that_has_not_been_read_is_waited_for_without_a_failure(shop: Shop) -> None:
    await shop.take(custom_manifest(), code=None, unread=True)
    await shop.run()
    assert shop.conditions()["Failed"][0] == "False"
    assert shop.document()["why"] == "the ConfigMap code has not been read yet"
    await shop.take(custom_manifest())
    await shop.run()
    assert len(shop.world.broker.sent) == 1


async def test_wrong_parameters_leave_the_last_good_ones_in_force(shop: Shop) -> None:
    shop.last_good["own"] = StoredParameters("Custom", {"bars": 1})
    await shop.take(custom_manifest(parameters={"bars": 99}))
    await shop.run()
    assert len(shop.world.broker.sent) == 1
    assert shop.document()["why"] == (
        "the last good parameters stay in force: spec.parameters.bars is 99, but must be less than or equal to 50"
    )
    assert shop.conditions()["Failed"] == ("False", "LastGoodParameters", shop.document()["why"])
    loaded = shop.workshop.loaded("own")
    assert loaded is not None
    assert loaded.parameters == {"bars": 1}


async def test_changed_code_replaces_the_worker_and_unchanged_code_does_not(shop: Shop) -> None:
    await shop.take(custom_manifest())
    first = shop.workshop.bench("own")
    await shop.take(custom_manifest(symbols=["AAPL", "MSFT"]))
    assert shop.workshop.bench("own") is first
    await shop.take(custom_manifest(), code=STREAK.replace("1.4", "1.5"))
    loaded = shop.workshop.loaded("own")
    assert loaded is not None
    assert loaded.version == "1.5"
    await shop.take()
    assert shop.workshop.bench("own") is None


async def test_a_change_is_told_once_it_is_loaded(shop: Shop) -> None:
    told: list[Loaded | None] = []
    shop.workshop.on_change = lambda: told.append(shop.workshop.loaded("own"))
    await shop.take(custom_manifest())
    await until(lambda: bool(told))
    assert [each.version for each in told if each] == ["1.4"]


async def test_a_worker_is_sent_the_bars_that_its_class_asks_for_and_no_more(shop: Shop) -> None:
    await shop.take(custom_manifest(), code=with_body("raise ValueError(list(context.bars.close))"))
    shop.world.market.series["AAPL", 60] = bars(*range(1, 500))
    await shop.run()
    assert "[497.0, 498.0, 499.0]" in shop.world.situation.failures.texts["own"].replace("np.float64", "").translate(
        {ord("("): None, ord(")"): None}
    )


@pytest.mark.parametrize("type_name", ["Momentum", "MeanReversion", "Breakout", "Crossover"])
async def test_a_built_in_rule_says_the_same_in_a_worker(shop: Shop, type_name: str) -> None:
    module = {"MeanReversion": "mean_reversion"}.get(type_name, type_name.lower())
    source = {"type": "Image", "entryPoint": f"openbell.strategies.{module}:{type_name}"}
    parameters = {"direction": "Both"}
    built_in = strategy_manifest("own", type=type_name, parameters=parameters)
    await shop.take(built_in)
    on_the_thread = shop.entry()
    await shop.take(custom_manifest(source=source, parameters=parameters))
    bench = shop.workshop.bench("own")
    assert bench is not None
    assert bench.loaded is not None
    spoke = 0
    for end in range(130, 400):
        close = 100 * np.exp(np.cumsum(np.random.default_rng(4).normal(0, 0.004, 400)))[:end]
        series = {("AAPL", 60): bars(*close)}
        for held in (Decimal(0), Decimal(5), Decimal(-5)) if end % 9 == 0 else (Decimal(0),):
            lots = {("own", "AAPL"): held}
            contexts, _ = contexts_of(shop.entry(), bench.loaded.needs, series, lots, T0, bench.loaded)
            (said,), _ = await bench.evaluate(contexts, 20.0)
            assert said == ask(on_the_thread, series, lots, T0).signals
            spoke += len(said)
    assert spoke > 10


HOOK = """
    def exit(self, context, position):
        from openbell.strategies import ExitSignal
        assert position.opened_at <= context.now and position.is_long and position.average_price > 0
        return {answer}
"""


async def asked_to_exit(shop: Shop, answer: str) -> Position | None:
    """The position after an evaluation at which the class says so of it."""
    world = shop.world
    await shop.take(custom_manifest(), code=STREAK + HOOK.format(answer=answer))
    await world.hold("a", strategy="own", symbol="AAPL")
    world.broker.sent.clear()
    world.broker.positions_answer = Value((BrokerPosition("AAPL", Decimal(10), Decimal(100)),))
    await shop.run()
    return world.ledger.position_of("own", "AAPL")


async def test_a_custom_strategy_tightens_the_stop_of_its_position(shop: Shop) -> None:
    position = await asked_to_exit(shop, "ExitSignal('up', stop=position.stop + 0.5)")
    assert position is not None
    assert position.policy.stop_price == levels(position).stop
    kept = await shop.world.journal.position(position.position_id)
    assert kept == position, "it outlives a restart"
    shop.world.exits.adopt({"own": ExitPolicy(stop_loss=0.5)})
    adopted = shop.world.ledger.position_of("own", "AAPL")
    assert adopted is not None
    assert levels(adopted).stop == position.policy.stop_price
    assert shop.world.broker.sent == []


async def test_a_custom_strategy_cannot_loosen_a_stop(shop: Shop) -> None:
    position = await asked_to_exit(shop, "ExitSignal('down', stop=position.stop - 0.5)")
    assert position is not None
    assert position.policy.stop_price is None
    assert shop.conditions()["Failed"][0] == "False"


async def test_a_custom_strategy_leaves_its_position(shop: Shop) -> None:
    await asked_to_exit(shop, "ExitSignal('it is enough')")
    (intent,) = shop.world.broker.sent
    assert (intent.kind, intent.reason, intent.strategy) == (IntentKind.EXIT, "SIGNAL", "own")
    assert [record.signal.reason for record in shop.world.signals if record.reason is Reason.ORDERED] == [
        "it is enough"
    ]


@pytest.mark.parametrize("answer", ["ExitSignal('x', stop=-1.0)", "ExitSignal('x', stop=float('nan'))", "17", "1 / 0"])
async def test_nonsense_on_exits_is_an_error_and_changes_nothing(shop: Shop, answer: str) -> None:
    position = await asked_to_exit(shop, answer)
    assert position is not None
    assert position.policy.stop_price is None
    assert shop.world.broker.sent == []
    assert shop.world.ledger.statistics.of("own").errors == 1


def entry_with(interval: int) -> Any:
    made = strategy_manifest("x", evaluationIntervalSeconds=interval)
    control = understand(Observed(scheduler_manifest(), {"x": made}), {})
    assert control is not None
    return control.entries["x"]


@pytest.mark.parametrize(
    ("interval", "others", "late", "expected"),
    [
        (60, [], 0, 60),
        (60, [], 12, 48),
        (60, [], 59.5, 1),
        (60, [], 90, 1),
        (60, [5], 0, 5),
        (5, [60], 1, 4),
        (1, [], 0, 1),
    ],
)
def test_the_deadline_is_what_is_left_until_the_next_evaluation(
    interval: int, others: list[int], late: float, expected: float
) -> None:
    entry = entry_with(interval)
    entries = [entry, *map(entry_with, others)]
    assert deadline(entry, entries, T0 + timedelta(seconds=late), T0) == expected


async def test_of_what_a_worker_says_only_the_opinion_is_taken(shop: Shop) -> None:
    await shop.take(custom_manifest())
    bench = shop.workshop.bench("own")
    assert bench is not None
    assert bench.loaded is not None
    (context,), _ = contexts_of(shop.entry(), bench.loaded.needs, {("AAPL", 60): bars(1, 2, 3)}, {}, T0, bench.loaded)
    said = {
        "symbol": "AAPL",
        "action": "Buy",
        "confidence": 0.9,
        "validUntil": "2030-01-01T00:00:00+00:00",
        "reason": "r" * 2000,
        "strategy": "another",
        "barTime": "2020-01-01T00:00:00+00:00",
        "priority": 100,
    }
    signal = signal_of(said, context)
    assert (signal.strategy, signal.bar_time, signal.priority, signal.action) == ("own", T0, 0, Action.BUY)
    assert len(signal.reason) == 1000
    for wrong in (
        {"symbol": "MSFT"},
        {"action": "Hold"},
        {"confidence": "1"},
        {"confidence": None},
        {"validUntil": "soon"},
        {"validUntil": "2030-01-01T00:00:00"},
    ):
        with pytest.raises((TypeError, ValueError)):
            signal_of({**said, **wrong}, context)
    # A worker that says something else entirely is an error of that strategy alone.
    with pytest.raises(WorkerError, match="what it said is no signal"):
        await replace_answers(bench, {"ok": True, "signals": [[{"symbol": "AAPL"}]]}, [context])


async def replace_answers(bench: Any, answer: dict[str, Any], contexts: list[Any]) -> None:
    class Answering:
        async def ask(self, *_: object) -> Any:
            await asyncio.sleep(0)
            return type("Message", (), {"body": answer})()

    real, bench._worker = bench._worker, Answering()
    try:
        await bench.evaluate(contexts, 1.0)
    finally:
        bench._worker = real
