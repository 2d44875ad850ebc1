"""What something passing stands against is ordered once that has passed, and never after it stopped counting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from fakes.trading import World, scheduler_manifest, strategy_manifest
from fakes.values import at, make_signal
from openbell.domain.bars import Bar, BarSeries
from openbell.domain.orders import Side
from openbell.domain.signals import Action, Signal
from openbell.domain.state import TradingState
from openbell.engine import queue
from openbell.strategies.api import Context, DataNeeds, Strategy, StrategyParams

FULL = {"maxOrdersPerMinute": 1}


@dataclass
class Scripted(Strategy[StrategyParams]):
    """Says what it is handed, once: `says` is emptied by the evaluation that takes it."""

    name: ClassVar[str] = "Scripted"
    version: ClassVar[str] = "1"
    Params: ClassVar[type[StrategyParams]] = StrategyParams
    says: list[Signal] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def data(self, params: StrategyParams, bar_seconds: int) -> DataNeeds:
        return DataNeeds(60, 1)

    def evaluate(self, context: Context[StrategyParams]) -> Iterable[Signal]:
        self.meanwhile()
        said = [each for each in self.says if each.symbol == context.symbol]
        self.says = [each for each in self.says if each.symbol != context.symbol]
        return said


class Market:
    """Three symbols, one strategy, and evaluations ten seconds apart."""

    SYMBOLS: ClassVar[tuple[str, ...]] = ("AAPL", "IBM", "MSFT")

    def __init__(self, world: World) -> None:
        self.world = world
        self.rule = Scripted()
        self.generation = 0
        self.take()

    def take(self, *, paused: bool = False, strategy: dict[str, Any] | None = None, **spec: Any) -> None:
        """A new version of the resources arrives."""
        self.generation += 1
        own = strategy_manifest(symbols=list(self.SYMBOLS), generation=self.generation, **(strategy or {}))
        spec = {"maxConcurrentTrades": 10, "paused": paused, **spec}
        self.world.take(scheduler_manifest(generation=self.generation, **spec), own)
        control = self.world.situation.control
        assert control is not None
        entries = {"trend": replace(control.entries["trend"], strategy=self.rule)}
        self.world.situation.control = replace(control, entries=MappingProxyType(entries))

    async def evaluate(self, seconds: float, *says: Signal) -> None:
        """At T0 + `seconds` the strategy is asked, and says this."""
        world = self.world
        world.clock.set(at(seconds))
        now = world.clock.now()
        for symbol in self.SYMBOLS:
            world.market.series[symbol, 60] = flat(symbol, now)
            world.market.prices[symbol] = 100.0
        self.rule.says = list(says)
        control = world.situation.control
        assert control is not None
        await world.evaluation.run(list(control.entries.values()), now)

    @property
    def sent(self) -> list[str]:
        return [intent.symbol for intent in self.world.broker.sent]

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(record.signal.symbol, record.reason.value) for record in self.world.signals]

    @property
    def counted(self) -> tuple[int, int]:
        total = self.world.ledger.statistics.total
        return total.signals_generated, total.trades_rejected


def flat(symbol: str, end: datetime) -> BarSeries:
    start = end - timedelta(seconds=60)
    return BarSeries.from_bars(symbol, 60, [Bar(symbol, start, end, 100.0, 100.0, 100.0, 100.0, 1000.0)])


def buy(symbol: str, confidence: float = 0.9, seconds: float = 300, **changes: Any) -> Signal:
    return make_signal(symbol=symbol, confidence=confidence, valid_until=at(seconds), **changes)


@pytest.fixture
def market(world: World) -> Market:
    return Market(world)


async def test_what_the_order_rate_held_back_is_ordered_when_the_minute_is_over(market: Market) -> None:
    market.take(risk=FULL)
    await market.evaluate(0, buy("AAPL", 0.9), buy("MSFT", 0.8), buy("IBM", 0.7))
    assert market.sent == ["AAPL"]
    await market.evaluate(30)
    assert market.sent == ["AAPL"]
    await market.evaluate(61)
    await market.evaluate(122)
    assert market.sent == ["AAPL", "MSFT", "IBM"], "by rank, as the rate allows"
    assert market.counted == (3, 0), "what waited and was ordered is one signal and no rejection"
    await market.evaluate(183)
    assert len(market.sent) == 3


async def test_a_signal_that_waits_is_told_once_and_then_what_became_of_it(market: Market) -> None:
    market.take(risk=FULL)
    await market.evaluate(0, buy("AAPL"), buy("MSFT", 0.8))
    waits = [("AAPL", "ORDERED"), ("MSFT", "ORDER_RATE_MINUTE")]
    await market.evaluate(10)
    await market.evaluate(20, buy("MSFT", 0.8))
    assert market.told == waits, "said again, it is the same entry"
    assert market.world.signals[-1].detail.endswith("it is decided again until 15:05:00 UTC")
    assert market.counted == (2, 0)
    assert market.world.metrics.signals_waiting._value.get() == 1
    await market.evaluate(61)
    assert market.told == [*waits, ("MSFT", "ORDERED")]
    kept = [(record.signal.symbol, record.reason.value) for record in market.world.ledger.signals]
    assert kept == [("AAPL", "ORDERED"), ("MSFT", "ORDERED")], "the last word takes the place of the first"
    assert market.world.ledger.statistics.total.reasons == {"ORDERED": 2, "ORDER_RATE_MINUTE": 1, "NO_SIGNAL": 9}
    assert market.world.metrics.signals_waiting._value.get() == 0


async def test_a_signal_whose_life_ends_while_it_waits_is_a_rejected_trade(market: Market) -> None:
    market.take(risk=FULL)
    await market.evaluate(0, buy("AAPL"), buy("MSFT", 0.8, seconds=45))
    assert market.counted == (2, 0)
    await market.evaluate(61)
    assert market.told[-1] == ("MSFT", "EXPIRED")
    assert (market.sent, market.counted) == (["AAPL"], (2, 1))


async def test_how_old_its_bar_was_is_taken_off_the_wait_of_an_opening(market: Market) -> None:
    market.take(risk=FULL)
    await market.evaluate(0, buy("AAPL"), buy("MSFT", 0.8, seconds=120, bar_time=at(-40)))
    assert market.world.signals[-1].detail.endswith("it is decided again until 15:01:20 UTC")
    await market.evaluate(61)
    assert market.sent == ["AAPL", "MSFT"]


async def test_an_openings_wait_is_over_when_its_bar_is_as_old_as_its_signal_was_to_live(market: Market) -> None:
    market.world.gate.in_sync = False
    await market.evaluate(0, buy("MSFT", 0.8, seconds=120, bar_time=at(-40)))
    await market.evaluate(79)
    market.world.gate.in_sync = True
    await market.evaluate(80)
    assert market.told == [("MSFT", "RECONCILING"), ("MSFT", "EXPIRED")]
    assert market.sent == []


async def test_a_place_that_an_exit_makes_is_taken_by_what_waited_for_it(market: Market) -> None:
    await market.world.hold("a", symbol="AAPL")
    market.world.broker.says(AAPL=10)
    market.take(maxConcurrentTrades=1)
    await market.evaluate(0, buy("MSFT"))
    assert market.told == [("MSFT", "MAX_CONCURRENT_TRADES")]
    (position,) = market.world.ledger.open_positions()
    market.world.ledger.put_position(replace(position, quantity=Decimal(0)))
    await market.evaluate(10)
    assert market.told[-1] == ("MSFT", "ORDERED")


async def test_what_waits_for_the_comparison_with_the_broker_goes_out_after_it(market: Market) -> None:
    market.world.gate.in_sync = False
    await market.evaluate(0, buy("AAPL"))
    assert market.told == [("AAPL", "RECONCILING")]
    market.world.gate.in_sync = True
    await market.evaluate(10)
    assert market.sent == ["AAPL"]


# -- what a person does in between


@pytest.mark.parametrize("whose", ["scheduler", "strategy"])
async def test_a_pause_and_a_resume_between_two_evaluations_end_the_wait(market: Market, whose: str) -> None:
    market.take(risk=FULL)
    await market.evaluate(0, buy("AAPL"), buy("MSFT", 0.8))
    paused: dict[str, Any] = {"paused": True} if whose == "scheduler" else {"strategy": {"paused": True}}
    market.take(risk=FULL, **paused)
    market.take(risk=FULL)
    await market.evaluate(61)
    assert (market.sent, market.told[-1]) == (["AAPL"], ("MSFT", "SUPERSEDED"))
    assert market.counted == (2, 1)


async def test_while_paused_nothing_waits(market: Market) -> None:
    market.world.gate.held = TradingState.PAUSED
    await market.evaluate(0, buy("AAPL"))
    assert market.told == [("AAPL", "PAUSED")]
    market.world.gate.held = TradingState.RUNNING
    await market.evaluate(10)
    assert market.sent == []


async def test_a_pause_held_here_takes_the_signals_that_waited(market: Market) -> None:
    market.take(risk=FULL)
    await market.evaluate(0, buy("AAPL"), buy("MSFT", 0.8))
    market.world.gate.held = TradingState.PAUSED  # by REST, while the API server is away
    await market.evaluate(61)
    assert market.told[-1] == ("MSFT", "PAUSED")
    market.world.gate.held = TradingState.RUNNING
    await market.evaluate(70)
    assert market.sent == ["AAPL"]


async def test_a_pause_while_strategies_think_takes_what_waited(market: Market) -> None:
    market.take(risk=FULL)
    await market.evaluate(0, buy("AAPL"), buy("MSFT", 0.8))

    def pause() -> None:
        market.world.gate.asked = TradingState.PAUSED

    market.rule.meanwhile = pause
    await market.evaluate(61)
    assert (market.sent, market.told[-1]) == (["AAPL"], ("MSFT", "PAUSED"))


async def test_signals_of_an_earlier_leadership_are_not_acted_on(market: Market) -> None:
    market.take(risk=FULL)
    await market.evaluate(0, buy("AAPL"), buy("MSFT", 0.8))
    market.world.fence.epoch = 2
    await market.world.journal.begin_epoch(2)
    await market.evaluate(61)
    assert (market.sent, market.told[-1]) == (["AAPL"], ("MSFT", "SUPERSEDED"))


async def test_a_strategy_that_is_gone_orders_nothing(market: Market) -> None:
    market.take(risk=FULL)
    await market.evaluate(0, buy("AAPL"), buy("MSFT", 0.8))
    control = market.world.situation.control
    assert control is not None
    market.world.situation.control = replace(control, entries=MappingProxyType({}))
    await market.evaluate(61)
    assert (market.sent, market.told[-1]) == (["AAPL"], ("MSFT", "SUPERSEDED"))


# -- exits, identity, room


async def test_a_closing_signal_waits_for_the_broker_and_a_pause_does_not_take_it(market: Market) -> None:
    await market.world.hold("a", symbol="AAPL")
    market.world.broker.says(AAPL=10)
    market.world.gate.broker_required = market.world.gate.broker_connected = False
    before = len(market.sent)
    await market.evaluate(0, buy("AAPL", action=Action.CLOSE))
    assert market.told == [("AAPL", "BROKER_DISCONNECTED")]
    market.take(paused=True)
    market.world.gate.broker_connected = True
    await market.evaluate(10)
    assert market.told[-1] == ("AAPL", "ORDERED")
    assert len(market.sent) == before + 1


async def test_an_entry_that_was_ordered_is_not_ordered_again_by_a_signal_that_waited(market: Market) -> None:
    await market.evaluate(0, buy("AAPL"))
    (sent,) = market.world.broker.sent
    market.world.desk.in_flight.clear()  # the order is over, and its fate forgotten here
    market.world.gate.in_sync = False
    await market.evaluate(10, buy("AAPL"))
    market.world.gate.in_sync = True
    await market.evaluate(20)
    assert market.told[-2:] == [("AAPL", "RECONCILING"), ("AAPL", "ALREADY_DECIDED")]
    assert market.world.broker.sent == [sent]


async def test_what_finds_no_room_is_told_so(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue.keep, "__kwdefaults__", {**queue.keep.__kwdefaults__, "capacity": 1})
    market.world.gate.in_sync = False
    await market.evaluate(0, buy("AAPL", 0.7), buy("MSFT", 0.9))
    assert sorted(market.told) == [("AAPL", "QUEUE_FULL"), ("MSFT", "RECONCILING")]
    assert market.counted == (2, 1)
    market.world.gate.in_sync = True
    await market.evaluate(10)
    assert market.sent == ["MSFT"]


async def test_a_change_of_mind_on_a_newer_bar_takes_the_place_of_what_waited(market: Market) -> None:
    market.take(risk=FULL | {"allowShort": True})
    await market.evaluate(0, buy("AAPL"), buy("MSFT", 0.8))
    await market.evaluate(61, buy("MSFT", 0.6, action=Action.SELL, bar_time=at(60)))
    assert market.told[-2:] == [("MSFT", "SUPERSEDED"), ("MSFT", "ORDERED")]
    assert [(intent.symbol, intent.side) for intent in market.world.broker.sent][-1] == ("MSFT", Side.SELL)


async def test_in_a_replay_each_signal_is_decided_at_its_own_bar(market: Market) -> None:
    market.world.evaluation._waiting._is_used = False
    market.take(risk=FULL)
    await market.evaluate(0, buy("AAPL"), buy("MSFT", 0.8))
    assert market.counted == (2, 1)
    await market.evaluate(61)
    assert market.sent == ["AAPL"]
