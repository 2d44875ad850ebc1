"""One evaluation: what each strategy says comes to an order or to a reason, and no strategy can hurt another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from fakes.trading import World, scheduler_manifest, strategy_manifest
from fakes.values import T0, at, make_signal
from openbell.domain.answers import Unknown
from openbell.domain.bars import Bar, BarSeries
from openbell.domain.orders import IntentKind, Side
from openbell.domain.signals import Action
from openbell.domain.state import TradingState
from openbell.resources.load import Manifest
from openbell.runner.entry import StrategyEntry
from openbell.runner.health import FAILURES_IN_A_ROW
from openbell.strategies.api import Context, DataNeeds, Strategy, StrategyParams


def bars(*closes: float, symbol: str = "AAPL", end: datetime = T0) -> BarSeries:
    """Minute bars of these closes, the last of which ends at `end`."""
    made = []
    for index, close in enumerate(reversed(closes)):
        over = end - timedelta(minutes=index)
        made.append(Bar(symbol, over - timedelta(minutes=1), over, close, close, close, close, 1000.0))
    return BarSeries.from_bars(symbol, 60, list(reversed(made)))


@dataclass
class Scripted(Strategy[StrategyParams]):
    """Says what a test makes it say."""

    name: ClassVar[str] = "Scripted"
    version: ClassVar[str] = "1"
    Params: ClassVar[type[StrategyParams]] = StrategyParams
    says: Callable[[Context[Any]], Iterable[Any]]
    needs: Callable[[], DataNeeds] = lambda: DataNeeds(60, 3)

    def data(self, params: StrategyParams, bar_seconds: int) -> DataNeeds:
        return self.needs()

    def evaluate(self, context: Context[StrategyParams]) -> Iterable[Any]:
        return self.says(context)


RISING = (100.0, 101.0, 103.0)
FALLING = (103.0, 101.0, 100.0)


def buy(context: Context[Any]) -> Iterable[Any]:
    return (context.signal(Action.BUY, 0.9, "because"),)


def prepare(world: World, *strategies: Manifest, closes: tuple[float, ...] = RISING, **spec: object) -> None:
    world.take(scheduler_manifest(**spec), *(strategies or (strategy_manifest(),)))
    world.market.series["AAPL", 60] = bars(*closes, end=world.clock.now())


def script(world: World, name: str, strategy: Scripted) -> None:
    """Put a scripted rule in the place of a strategy's own."""
    control = world.situation.control
    assert control is not None
    entries = {**control.entries, name: replace(control.entries[name], strategy=strategy)}
    world.situation.control = replace(control, entries=MappingProxyType(entries))


def entries(world: World) -> list[StrategyEntry]:
    control = world.situation.control
    assert control is not None
    return list(control.entries.values())


async def run(world: World) -> None:
    await world.evaluation.run(entries(world), world.clock.now())


def decided(world: World) -> list[tuple[str, str]]:
    return [(record.signal.strategy, record.reason.value) for record in world.signals]


async def test_a_rising_price_is_bought_and_everything_is_counted(world: World) -> None:
    prepare(world)
    await run(world)
    (intent,) = world.broker.sent
    assert (intent.kind, intent.side, intent.symbol, intent.strategy) == (IntentKind.ENTRY, Side.BUY, "AAPL", "trend")
    assert intent.quantity > 0
    assert (await world.journal.orders(10))[0].intent.order_ref == intent.order_ref
    assert decided(world) == [("trend", "ORDERED")]
    for counters in (world.ledger.statistics.total, world.ledger.statistics.of("trend")):
        assert (counters.evaluations_run, counters.signals_generated, counters.last_evaluation) == (1, 1, T0)
    assert (await world.journal.load()).statistics == world.ledger.statistics


async def test_the_same_bar_is_ordered_once_however_often_it_is_evaluated(world: World) -> None:
    prepare(world)
    await run(world)
    await run(world)
    assert len(world.broker.sent) == 1


async def test_a_price_that_stays_is_counted_as_no_signal(world: World) -> None:
    prepare(world, closes=(100.0, 100.0, 100.0))
    await run(world)
    assert (world.broker.sent, world.signals) == ([], [])
    assert world.ledger.statistics.of("trend").reasons == {"NO_SIGNAL": 1}


# -- strategies that fail


async def test_an_exception_of_one_strategy_is_contained_and_the_others_go_on(world: World) -> None:
    prepare(world, strategy_manifest("bad"), strategy_manifest("trend"))

    def fail(_: Context[Any]) -> Iterable[Any]:
        raise ZeroDivisionError("division by zero")

    script(world, "bad", Scripted(fail))
    await run(world)
    assert decided(world) == [("trend", "ORDERED")]
    assert world.situation.failures.texts == {"bad": "ZeroDivisionError: division by zero"}
    assert (world.ledger.statistics.of("bad").errors, world.ledger.statistics.of("trend").errors) == (1, 0)


async def test_five_failures_in_a_row_are_a_failed_strategy_and_one_good_evaluation_heals_it(world: World) -> None:
    prepare(world, closes=(100.0, 100.0, 100.0))
    wrong = [True]

    def say(_: Context[Any]) -> Iterable[Any]:
        if wrong[0]:
            raise ValueError("no")
        return ()

    script(world, "trend", Scripted(say))
    (entry,) = entries(world)
    for count in range(1, FAILURES_IN_A_ROW + 1):
        assert not world.situation.failures.is_failed("trend")
        await run(world)
        assert world.situation.failures.counts["trend"] == count
    assert world.situation.failures.is_failed("trend")
    assert world.situation.strategy_why(entry) == "failed 5 times in a row: ValueError: no"
    conditions = {str(each.type): each for each in world.situation.refresh_strategy(entry)}
    assert (conditions["Failed"].status.value, conditions["Failed"].message) == ("True", "ValueError: no")
    assert (conditions["Running"].status.value, conditions["Running"].reason) == ("False", "Failed")
    degraded = {str(each.type): each for each in world.situation.refresh_conditions()}["Degraded"]
    assert (degraded.status.value, degraded.reason, degraded.message) == ("True", "StrategiesFailed", "failed: trend")
    wrong[0] = False
    await run(world)
    assert not world.situation.failures.is_failed("trend")


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("Buy", "TypeError: evaluate gave 'Buy', which is a str; it must give signals"),
        (None, "TypeError: evaluate gave None, which is a NoneType; it must give signals"),
        (make_signal(strategy="other"), "ValueError: evaluate gave a signal of other on AAPL when trend was asked"),
        (make_signal(symbol="MSFT"), "ValueError: evaluate gave a signal of trend on MSFT when trend was asked"),
        (make_signal(confidence="high"), "TypeError: the signal's confidence is 'high', which is a str"),
        (make_signal(action="Buy"), "TypeError: the signal's action is 'Buy', which is a str"),
        (make_signal(bar_time=None), "TypeError: the signal's bar_time is None"),
    ],
)
async def test_what_is_no_signal_is_an_error_of_its_strategy_alone(world: World, said: object, complaint: str) -> None:
    prepare(world, strategy_manifest("other"), strategy_manifest("trend"))
    script(world, "trend", Scripted(lambda _: (said,)))
    await run(world)
    assert decided(world) == [("other", "ORDERED")]
    assert world.situation.failures.texts["trend"].startswith(complaint)


async def test_a_strategy_that_gives_nothing_iterable_is_contained(world: World) -> None:
    prepare(world)
    script(world, "trend", Scripted(lambda _: None))  # type: ignore[arg-type,return-value]
    await run(world)
    assert world.situation.failures.texts["trend"].startswith("TypeError")


async def test_a_strategy_that_cannot_say_what_it_needs_is_contained(world: World) -> None:
    prepare(world, strategy_manifest("bad"), strategy_manifest("trend"))

    def fail() -> DataNeeds:
        raise KeyError("warmup")

    script(world, "bad", Scripted(buy, fail))
    await run(world)
    assert decided(world) == [("trend", "ORDERED")]
    assert world.situation.failures.texts == {"bad": "KeyError: 'warmup'"}


async def test_a_time_without_a_zone_is_recorded_and_not_traded(world: World) -> None:
    prepare(world)
    script(world, "trend", Scripted(lambda _: (make_signal(valid_until=datetime(2026, 3, 3)),)))  # noqa: DTZ001
    await run(world)
    assert (decided(world), world.broker.sent) == ([("trend", "INVALID_SIGNAL")], [])


@pytest.mark.parametrize("confidence", [float("nan"), -0.1, 1.1])
async def test_a_confidence_that_is_none_is_recorded_and_not_traded(world: World, confidence: float) -> None:
    prepare(world)
    script(world, "trend", Scripted(lambda context: (context.signal(Action.BUY, confidence, "sure"),)))
    await run(world)
    assert (decided(world), world.broker.sent) == ([("trend", "INVALID_SIGNAL")], [])


# -- what holds entries


async def test_a_shadow_does_everything_but_orders(world: World) -> None:
    prepare(world, strategy_manifest(execution="Shadow"))
    await run(world)
    assert (decided(world), world.broker.sent) == ([("trend", "SHADOW")], [])
    assert await world.journal.orders(10) == ()


async def test_while_paused_evaluation_goes_on_and_openings_are_refused_with_the_reason(world: World) -> None:
    prepare(world, paused=True)
    await run(world)
    assert (decided(world), world.broker.sent) == ([("trend", "PAUSED")], [])
    assert world.ledger.statistics.total.evaluations_run == 1


async def test_while_paused_a_closing_signal_still_acts(world: World) -> None:
    prepare(world)
    await world.hold("a")
    world.broker.says(AAPL=10)
    prepare(world, closes=FALLING, paused=True)
    await run(world)
    sold = world.broker.sent[-1]
    assert (sold.kind, sold.side, sold.quantity, sold.position_id) == (IntentKind.EXIT, Side.SELL, Decimal(10), "p-a")
    assert decided(world) == [("trend", "ORDERED")]


async def test_a_paused_strategy_is_evaluated_and_opens_nothing(world: World) -> None:
    prepare(world, strategy_manifest(paused=True))
    await run(world)
    assert (decided(world), world.broker.sent) == ([("trend", "STRATEGY_PAUSED")], [])


@pytest.mark.parametrize("change", ["stopped", "not leading", "closing"])
async def test_what_may_not_trade_is_not_evaluated(world: World, change: str) -> None:
    prepare(world)
    world.fence.held = change != "not leading"
    world.gate.closing = change == "closing"
    if change == "stopped":
        world.gate.asked = TradingState.STOPPED
    await run(world)
    assert (world.signals, world.ledger.statistics.total.evaluations_run) == ([], 0)


async def test_a_gate_that_closes_while_strategies_think_keeps_the_order_in(world: World) -> None:
    prepare(world)

    def pause_and_buy(context: Context[Any]) -> Iterable[Any]:
        world.gate.asked = TradingState.PAUSED
        return buy(context)

    script(world, "trend", Scripted(pause_and_buy))
    await run(world)
    assert (decided(world), world.broker.sent) == ([("trend", "PAUSED")], [])


async def test_without_a_connection_nothing_is_evaluated_and_the_reason_is_counted(world: World) -> None:
    prepare(world)
    world.gate.broker_connected = False
    await run(world)
    assert (world.signals, world.ledger.statistics.total.evaluations_run) == ([], 0)
    assert world.ledger.statistics.of("trend").reasons == {"BROKER_DISCONNECTED": 1}


async def test_where_no_connection_is_required_signals_are_decided_without_one(world: World) -> None:
    prepare(world, requireBrokerConnection=False)
    world.gate.broker_required = False
    world.gate.broker_connected = world.broker.is_connected = False
    await run(world)
    assert (decided(world), world.broker.sent) == ([("trend", "BROKER_DISCONNECTED")], [])
    assert await world.journal.orders(10) == (), "nothing is written only to be withdrawn"
    world.gate.broker_connected = world.broker.is_connected = True
    await run(world)
    assert len(world.broker.sent) == 1, "the same bar is ordered once the broker is back"


async def test_a_connection_that_breaks_between_the_decision_and_the_send_withdraws_the_order(world: World) -> None:
    prepare(world)
    world.broker.is_connected = False
    await run(world)
    assert (decided(world), world.broker.sent) == ([("trend", "BROKER_DISCONNECTED")], [])
    assert [record.state.value for record in await world.journal.orders(10)] == ["Withdrawn"]


# -- data


async def test_stale_bars_are_no_grounds_for_a_trade(world: World) -> None:
    prepare(world)
    world.clock.set(at(126))
    await run(world)
    assert (world.signals, world.broker.sent) == ([], [])
    assert world.ledger.statistics.of("trend").reasons == {"STALE_DATA": 1}
    assert (world.situation.data.is_fresh, world.situation.data.why) == (False, "the newest bar of AAPL is 126 s old")


async def test_bars_that_are_late_within_bounds_are_taken(world: World) -> None:
    prepare(world)
    world.clock.set(at(59))
    await run(world)
    assert decided(world) == [("trend", "ORDERED")]
    assert world.situation.data.is_fresh


async def test_bars_that_are_unknown_are_an_error_and_no_signal(world: World) -> None:
    prepare(world)
    world.market.series.clear()
    await run(world)
    assert world.ledger.statistics.of("trend").reasons == {"STALE_DATA": 1}
    assert (world.ledger.statistics.total.errors, world.situation.data.why) == (1, "no bars of AAPL: no bars")


async def test_too_few_bars_are_a_warm_up_and_no_failure(world: World) -> None:
    prepare(world, closes=(100.0, 103.0))
    await run(world)
    assert world.ledger.statistics.of("trend").reasons == {"WARMUP": 1}
    assert world.situation.failures.counts == {}


async def test_one_symbol_without_bars_does_not_silence_another(world: World) -> None:
    prepare(world, strategy_manifest(symbols=["MSFT", "AAPL"]))
    await run(world)
    assert [intent.symbol for intent in world.broker.sent] == ["AAPL"]
    assert world.ledger.statistics.of("trend").reasons == {"STALE_DATA": 1, "ORDERED": 1}


async def test_a_symbol_without_a_price_is_not_bought(world: World) -> None:
    prepare(world)
    world.market.prices.clear()
    await run(world)
    assert world.broker.sent == []
    assert [reason for _, reason in decided(world)] != ["ORDERED"]


# -- the day's start


async def test_the_days_equity_is_kept_once_and_survives_a_restart(world: World) -> None:
    prepare(world)
    await world.evaluation.refresh_account(T0)
    assert world.ledger.day_start_equity == Decimal(100_000)
    world.ledger.day_start = None  # as after a restart
    account = world.broker.account_answer.value  # type: ignore[union-attr]
    world.broker.account_answer = replace(world.broker.account_answer, value=replace(account, equity=Decimal(90_000)))  # type: ignore[type-var]
    await world.evaluation.refresh_account(T0)
    assert world.ledger.day_start_equity == Decimal(100_000)
    assert world.situation.pnl_day() == Decimal(-10_000)


async def test_a_journal_that_fails_at_the_days_start_keeps_yesterdays_measure_and_closes_the_gate(
    world: World,
) -> None:
    prepare(world)
    await world.evaluation.refresh_account(T0)
    world.journal.is_failing = True
    tomorrow = T0 + timedelta(days=1)
    await world.evaluation.refresh_account(tomorrow)
    assert world.ledger.day_start == T0.replace(hour=0)
    assert not world.gate.journal_open
    world.journal.is_failing = False
    await world.evaluation.refresh_account(tomorrow)
    assert world.ledger.day_start == tomorrow.replace(hour=0)


async def test_an_evaluation_goes_on_while_the_journal_fails_and_opens_nothing(world: World) -> None:
    prepare(world)
    world.journal.is_failing = True
    await run(world)
    assert (decided(world), world.broker.sent) == ([("trend", "JOURNAL_FAILED")], [])
    world.journal.is_failing = False
    world.clock.set(at(60))
    world.market.series["AAPL", 60] = bars(*RISING, end=at(60))
    await run(world)
    await run(world)
    assert world.gate.journal_open
    assert [reason for _, reason in decided(world)] == ["JOURNAL_FAILED", "JOURNAL_FAILED", "ORDERED"]
    assert len(world.broker.sent) == 1


async def test_an_account_that_is_unknown_changes_nothing(world: World) -> None:
    prepare(world)
    await world.evaluation.refresh_account(T0)
    before = world.ledger.account
    world.broker.account_answer = Unknown("no answer")
    await world.evaluation.refresh_account(T0 + timedelta(days=1))
    assert (world.ledger.account, world.ledger.day_start) == (before, T0.replace(hour=0))
