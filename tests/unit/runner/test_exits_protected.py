"""Exits with orders that rest at the broker, parts, limit orders that give way, and a person's word."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fakes.trading import World, scheduler_manifest, strategy_manifest
from fakes.values import OWNER, at, make_fill, make_intent, make_update, ref
from openbell.brokers.base import ConnectionChanged
from openbell.domain.clock import SimulatedClock
from openbell.domain.errors import NotAllowedError
from openbell.domain.identity import Leg, exit_ref, protective_ref
from openbell.domain.orders import Intent, IntentKind, IntentState, OrderTerms, OrderType, OrderUpdate, Side
from openbell.domain.policies import encode_policy
from openbell.domain.positions import Escalation, ExitPolicy, ScaleOut, TrailingStop
from openbell.domain.state import TradingState
from openbell.market.calendar import calendar_for

PROTECTED = ExitPolicy(broker_side=True)
STOP, TARGET = protective_ref(OWNER, "p-a", Leg.STOP, 1), protective_ref(OWNER, "p-a", Leg.TARGET, 2)


async def held(world: World, policy: ExitPolicy, quantity: int = 10) -> World:
    """A lot of AAPL bought at 100 that the broker confirms."""
    world.take(scheduler_manifest(), strategy_manifest())
    world.comparison.is_certain = True
    await world.hold("a", quantity, exits=encode_policy(policy))
    world.broker.says(AAPL=quantity)
    world.broker.sent.clear()
    return world


async def acknowledged(world: World, *intents: Intent) -> None:
    for intent in intents or tuple(world.broker.sent):
        told = OrderUpdate(intent.order_ref, IntentState.WORKING, "b", terms=intent.terms, oca_group=intent.oca_group)
        await world.desk.on_update(told)


async def told(world: World, order_ref: str, state: IntentState, filled: int = 0, **rest: Any) -> None:
    await world.desk.on_update(OrderUpdate(order_ref, state, "b", Decimal(filled), **rest))


async def sold(world: World, order_ref: str, quantity: int, price: int = 100, name: str = "") -> None:
    fill = make_fill(f"x-{order_ref}-{name}", side=Side.SELL, quantity=Decimal(quantity), price=Decimal(price))
    await world.desk.on_fill(replace(fill, order_ref=order_ref))


# -- protecting --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def protected(world: World) -> World:
    """Ten AAPL at 100 with a stop at 98 and a target at 104 that rest at the broker."""
    await held(world, PROTECTED)
    await world.exits.check()
    await acknowledged(world)
    return world


async def test_a_lot_gets_a_stop_and_a_target_of_one_group_that_stay(protected: World) -> None:
    stop, target = protected.broker.sent
    assert (stop.order_ref, target.order_ref) == (STOP, TARGET)
    assert {intent.kind for intent in (stop, target)} == {IntentKind.PROTECTIVE}
    assert (stop.order_type, stop.stop_price, stop.side, stop.quantity) == (OrderType.STOP, 98, Side.SELL, 10)
    assert (target.order_type, target.limit_price) == (OrderType.LIMIT, 104)
    assert stop.oca_group == target.oca_group != ""
    assert {intent.time_in_force.value for intent in (stop, target)} == {"GTC"}
    await protected.exits.check()
    assert len(protected.broker.sent) == 2
    assert protected.ledger.positions["p-a"].protection_revision == 2
    assert not protected.desk.is_leaving("p-a")
    assert len(protected.ledger.order_times) == 1, "they are no orders to the limits of entries"


async def test_nothing_is_protected_before_the_broker_has_told_of_every_order(world: World) -> None:
    await held(world, PROTECTED)
    world.comparison.on_connection(ConnectionChanged(True, "up"))
    await world.exits.check()
    assert world.broker.sent == []
    await world.comparison.compare()
    await world.exits.check()
    assert [intent.order_ref for intent in world.broker.sent] == [STOP, TARGET]


async def test_outside_of_the_session_a_lot_is_protected_all_the_same(world: World) -> None:
    await held(world, PROTECTED)
    world.situation.calendar = calendar_for("XNYS")
    world.clock.set(at(-100_000))  # a Sunday
    assert not world.situation.is_open()
    await world.exits.check()
    assert [intent.order_ref for intent in world.broker.sent] == [STOP, TARGET]


async def test_an_exit_joins_the_group_of_the_protective_orders(protected: World) -> None:
    protected.market.prices["AAPL"] = 97.0
    await protected.exits.check()
    leaving = protected.broker.sent[-1]
    assert (leaving.kind, leaving.quantity, leaving.reason) == (IntentKind.EXIT, 10, "STOP_LOSS")
    assert leaving.oca_group == protected.broker.sent[0].oca_group
    assert protected.broker.cancelled == []


@pytest.mark.parametrize(
    ("order_ref", "price", "reason"), [(STOP, 98, "STOP_LOSS"), (TARGET, 104, "TAKE_PROFIT")], ids=["stop", "target"]
)
async def test_a_protective_order_that_fills_is_the_exit(
    protected: World, order_ref: str, price: int, reason: str
) -> None:
    await sold(protected, order_ref, 10, price)
    (trade,) = protected.ledger.trades
    assert (trade.exit_reason, trade.exit_price) == (reason, price)
    assert protected.ledger.positions == {}


async def test_what_protected_a_lot_that_is_gone_is_cancelled_until_the_broker_says_so(protected: World) -> None:
    await sold(protected, STOP, 10)
    await told(protected, STOP, IntentState.FILLED, 10)
    await protected.exits.check()
    assert protected.broker.cancelled == [TARGET]
    protected.clock.set(at(6))
    protected.gate.asked = TradingState.STOPPED
    await protected.exits.check()
    assert protected.broker.cancelled == [TARGET, TARGET]
    await told(protected, TARGET, IntentState.CANCELLED)
    assert protected.desk.in_flight == {}


async def test_a_lot_that_grows_has_its_protection_grow_and_what_may_fill_is_written_down_first(world: World) -> None:
    await held(world, PROTECTED, 4)
    await world.exits.check()
    await acknowledged(world)
    await world.desk.place([make_intent("b", position_id="p-a", quantity=Decimal(6))])
    await world.desk.on_fill(make_fill("x-b", "b", quantity=Decimal(6)))
    world.broker.says(AAPL=10)
    await world.exits.check()
    assert [terms.quantity for _, terms in world.broker.modified] == [10, 10]
    assert [
        record.intent.quantity for record in (await world.journal.load()).open_intents if record.intent.oca_group
    ] == [10, 10]
    await world.exits.check()
    assert len(world.broker.modified) == 2, "a change that is under way is not asked for again at once"


async def test_terms_count_from_when_the_broker_names_them(protected: World) -> None:
    await protected.desk.modify(STOP, OrderTerms(Decimal(4), stop_price=Decimal(98)))
    flying = protected.desk.in_flight[STOP]
    assert flying.could_fill == 10
    await told(protected, STOP, IntentState.WORKING, terms=OrderTerms(Decimal(10), stop_price=Decimal(98)))
    assert flying.could_fill == 10, "this may have been said before the change was asked for"
    await told(protected, STOP, IntentState.WORKING, terms=OrderTerms(Decimal(4), stop_price=Decimal(98)))
    assert flying.could_fill == 4
    assert (await protected.journal.record(STOP)).intent.quantity == 4  # type: ignore[union-attr]


async def test_an_old_answer_does_not_undo_a_newer_change(protected: World) -> None:
    asked_at = protected.clock.monotonic()
    old = OrderUpdate(STOP, IntentState.WORKING, "b", terms=OrderTerms(Decimal(2), stop_price=Decimal(98)))
    protected.clock.set(at(1))
    terms = OrderTerms(Decimal(10), stop_price=Decimal("98.5"))
    await protected.desk.modify(STOP, terms)
    await told(protected, STOP, IntentState.WORKING, terms=terms)
    await protected.desk.on_update(old, asked_at)
    assert protected.desk.in_flight[STOP].intent.terms == terms


async def test_a_stop_follows_a_trailing_stop_and_tells_so_when_it_fills(world: World) -> None:
    await held(world, ExitPolicy(take_profit=None, trailing=TrailingStop(0.01, 0.01), broker_side=True))
    await world.exits.check()
    await acknowledged(world)
    world.market.prices["AAPL"] = 110.0
    world.clock.set(at(6))
    await world.exits.check()
    ((order_ref, terms),) = world.broker.modified
    assert (order_ref, terms.stop_price) == (STOP, Decimal("108.9000"))
    await told(world, STOP, IntentState.WORKING, terms=terms)
    await sold(world, STOP, 10, 108)
    assert [trade.exit_reason for trade in world.ledger.trades] == ["TRAILING_STOP"]


async def test_one_that_the_broker_refused_is_tried_again_after_a_minute_alone(world: World) -> None:
    await held(world, replace(PROTECTED, take_profit=None))
    await world.exits.check()
    await told(world, STOP, IntentState.REJECTED)
    await world.exits.check()
    assert len(world.broker.sent) == 1
    world.clock.set(at(61))
    await world.exits.check()
    assert [intent.order_ref for intent in world.broker.sent] == [STOP, protective_ref(OWNER, "p-a", Leg.STOP, 2)]
    assert world.ledger.statistics.total.trades_rejected == 0


async def test_one_that_the_broker_lost_is_placed_again(protected: World) -> None:
    protected.clock.set(at(60))
    await protected.comparison.compare()  # it names no order of ours
    protected.clock.set(at(121))
    await protected.exits.check()
    assert [intent.kind for intent in protected.broker.sent[2:]] == [IntentKind.PROTECTIVE] * 2
    assert len({intent.order_ref for intent in protected.broker.sent}) == 4


async def test_a_protected_lot_that_the_broker_no_longer_holds_is_let_go_when_its_protection_is_gone(
    protected: World,
) -> None:
    protected.broker.says()
    for _ in range(3):
        await protected.exits.check()
    assert protected.broker.cancelled == [STOP, TARGET]
    assert "p-a" in protected.ledger.positions, "one of them may have left it"
    await told(protected, STOP, IntentState.CANCELLED)
    await told(protected, TARGET, IntentState.CANCELLED)
    await protected.exits.check()
    assert protected.ledger.positions == {}


async def test_a_person_reads_that_a_stop_rests_at_the_broker_where_nobody_watches(protected: World) -> None:
    protected.gate.asked = TradingState.STOPPED
    assert protected.situation.unmonitored() == (
        "StoppedKeepingPositions",
        "1 position(s) without exits: AAPL (a stop rests at the broker)",
    )
    await told(protected, STOP, IntentState.CANCELLED)
    assert (protected.situation.unmonitored() or ("", ""))[1] == "1 position(s) without exits: AAPL"


async def test_pausing_and_stopping_leave_protection_alone(protected: World) -> None:
    for state in (TradingState.PAUSED, TradingState.STOPPED):
        protected.take(
            scheduler_manifest(generation=3, enabled=state is not TradingState.STOPPED, paused=True),
            strategy_manifest(),
        )
        await protected.exits.check()
    assert protected.broker.cancelled == []


async def test_where_the_broker_refuses_an_exit_the_protection_goes_first(protected: World) -> None:
    protected.market.prices["AAPL"] = 97.0
    await protected.exits.check()
    await told(protected, protected.broker.sent[-1].order_ref, IntentState.REJECTED)
    await protected.exits.check()
    assert protected.broker.cancelled == [STOP, TARGET]
    await told(protected, STOP, IntentState.CANCELLED)
    await protected.exits.check()
    assert len(protected.broker.sent) == 3, "the target may still fill"
    await told(protected, TARGET, IntentState.CANCELLED)
    await protected.exits.check()
    assert (protected.broker.sent[-1].kind, protected.broker.sent[-1].oca_group) == (IntentKind.EXIT, "")


async def test_protection_that_was_sent_and_not_written_down_is_taken_up_after_a_restart(
    world: World, folder: Path
) -> None:
    await held(world, PROTECTED)
    world.journal.is_failing = True
    await world.exits.check()
    stop, target = world.broker.sent
    world.close()
    reborn = await World(folder / "journal", epoch=2, clock=SimulatedClock(at(60))).begin()
    try:
        state = await reborn.journal.load()
        for position in state.positions:
            reborn.ledger.put_position(position)
        reborn.take(scheduler_manifest(), strategy_manifest())
        updates = [
            OrderUpdate(each.order_ref, IntentState.WORKING, "b", terms=each.terms, oca_group=each.oca_group)
            for each in (stop, target)
        ]
        entry = make_update(IntentState.FILLED, filled_quantity=Decimal(10))
        reborn.broker.says(*updates, entry, AAPL=10)
        await reborn.comparison.compare()
        await reborn.comparison.compare()
        assert not reborn.gate.in_sync, "more of them may be on their way"
        reborn.clock.set(at(70))
        await reborn.comparison.compare()
        assert reborn.gate.in_sync, reborn.comparison.why
        await reborn.exits.check()
        assert reborn.broker.sent == [], "nothing is placed twice"
        assert reborn.desk.is_protected("p-a")
        assert reborn.ledger.positions["p-a"].protection_revision == 2
        reborn.market.prices["AAPL"] = 97.0
        await reborn.exits.check()
        assert reborn.broker.sent[0].oca_group == stop.oca_group
    finally:
        reborn.close()


# -- parts -------------------------------------------------------------------------------------------------------------

STEPPED = ExitPolicy(broker_side=True, take_profit=None, scale_out=(ScaleOut(0.01, 0.3),))


async def test_a_part_is_sold_when_the_broker_has_confirmed_that_the_stop_is_for_the_rest(world: World) -> None:
    await held(world, STEPPED)
    await world.exits.check()
    await acknowledged(world)
    world.market.prices["AAPL"] = 101.0
    for _ in range(3):
        await world.exits.check()
    ((order_ref, terms),) = world.broker.modified
    assert (order_ref, terms.quantity) == (STOP, 7)
    assert len(world.broker.sent) == 1
    await told(world, STOP, IntentState.WORKING, terms=terms)
    await world.exits.check()
    part = world.broker.sent[-1]
    assert (part.reason, part.quantity, part.oca_group) == ("PARTIAL_TARGET", 3, "")
    await sold(world, part.order_ref, 3, 101)
    world.broker.says(AAPL=7)
    await world.exits.check()
    assert len(world.broker.modified) == 1
    assert len(world.broker.sent) == 2
    assert world.ledger.positions["p-a"].quantity == 7


async def test_a_part_waits_for_nobody_where_nothing_rests_at_the_broker(world: World) -> None:
    await held(world, replace(STEPPED, broker_side=False))
    world.market.prices["AAPL"] = 101.0
    await world.exits.check()
    assert [(each.reason, each.quantity) for each in world.broker.sent] == [("PARTIAL_TARGET", 3)]


# -- limit orders that give way ----------------------------------------------------------------------------------------

GENTLE = ExitPolicy(take_profit=0.04, escalation=Escalation(limit_seconds=10))


@pytest.fixture
async def waiting(world: World) -> World:
    """Ten AAPL whose target was reached at 104, and that are offered there."""
    await held(world, GENTLE)
    world.market.prices["AAPL"] = 104.0
    await world.exits.check()
    await acknowledged(world)
    return world


async def test_an_exit_without_haste_is_offered_at_the_touch_first(waiting: World) -> None:
    (offered,) = waiting.broker.sent
    assert (offered.order_type, offered.limit_price, offered.time_in_force.value) == (OrderType.LIMIT, 104, "Day")
    await waiting.exits.check()
    assert waiting.broker.cancelled == []


async def test_after_its_time_the_rest_goes_to_the_market_when_the_broker_has_confirmed_the_cancel(
    waiting: World,
) -> None:
    (offered,) = waiting.broker.sent
    waiting.clock.set(at(10))
    await waiting.exits.check()
    assert waiting.broker.cancelled == [offered.order_ref]
    for seconds in (11, 20, 600):
        waiting.clock.set(at(seconds))
        await waiting.exits.check()
    assert len(waiting.broker.sent) == 1, "no time that passes is a confirmation"
    await sold(waiting, offered.order_ref, 4, 104)
    await told(waiting, offered.order_ref, IntentState.CANCELLED, 4)
    waiting.broker.says(AAPL=6)
    waiting.market.prices["AAPL"] = 103.0  # the target is out of reach again: the decision stands
    await waiting.exits.check()
    last = waiting.broker.sent[-1]
    assert (last.order_type, last.quantity, last.reason) == (OrderType.MARKET, 6, "TAKE_PROFIT")
    assert last.order_ref == exit_ref(OWNER, "p-a", 2)


async def test_a_stop_ends_the_waiting_at_once(waiting: World) -> None:
    waiting.market.prices["AAPL"] = 97.0
    await waiting.exits.check()
    assert waiting.broker.cancelled == [waiting.broker.sent[0].order_ref]
    await told(waiting, waiting.broker.sent[0].order_ref, IntentState.CANCELLED)
    await waiting.exits.check()
    assert (waiting.broker.sent[-1].order_type, waiting.broker.sent[-1].reason) == (OrderType.MARKET, "STOP_LOSS")


async def test_a_limit_order_that_filled_while_it_was_cancelled_is_not_followed(waiting: World) -> None:
    (offered,) = waiting.broker.sent
    waiting.clock.set(at(10))
    await waiting.exits.check()
    await sold(waiting, offered.order_ref, 10, 104)
    await told(waiting, offered.order_ref, IntentState.FILLED, 10)
    await waiting.exits.check()
    assert len(waiting.broker.sent) == 1
    assert waiting.ledger.positions == {}


async def test_a_cancel_that_says_more_was_filled_waits_for_those_fills(waiting: World) -> None:
    (offered,) = waiting.broker.sent
    waiting.clock.set(at(10))
    await waiting.exits.check()
    await told(waiting, offered.order_ref, IntentState.CANCELLED, 4)
    await waiting.exits.check()
    assert len(waiting.broker.sent) == 1
    await sold(waiting, offered.order_ref, 4, 104)
    await waiting.exits.check()
    assert waiting.broker.sent[-1].quantity == 6


async def test_after_a_restart_the_last_exit_tells_to_go_on(waiting: World, folder: Path) -> None:
    (offered,) = waiting.broker.sent
    waiting.clock.set(at(10))
    await waiting.exits.check()
    await told(waiting, offered.order_ref, IntentState.CANCELLED)
    waiting.close()
    reborn = await World(folder / "journal", epoch=2, clock=SimulatedClock(at(60))).begin()
    try:
        state = await reborn.journal.load()
        for position in state.positions:
            reborn.ledger.put_position(position)
        reborn.desk.restore(state.open_intents, state.last_exits)
        reborn.take(scheduler_manifest(), strategy_manifest())
        reborn.broker.says(AAPL=10)
        reborn.market.prices["AAPL"] = 101.0
        await reborn.exits.check()
        (followed,) = reborn.broker.sent
        assert (followed.order_type, followed.reason) == (OrderType.MARKET, "TAKE_PROFIT")
    finally:
        reborn.close()


async def test_a_limit_order_that_never_reached_the_broker_is_tried_again(world: World) -> None:
    await held(world, GENTLE)
    world.market.prices["AAPL"] = 104.0
    world.fence.held = True
    world.broker.failing = None
    await world.exits.check()
    (offered,) = world.broker.sent
    await told(world, offered.order_ref, IntentState.WITHDRAWN)
    await world.exits.check()
    assert [each.order_type for each in world.broker.sent] == [OrderType.LIMIT, OrderType.LIMIT]


# -- the close ---------------------------------------------------------------------------------------------------------

FLAT = ExitPolicy(stop_loss=None, take_profit=None, flat_before_close_seconds=600, escalation=Escalation(60))


@pytest.mark.parametrize(
    ("day", "close"),
    [("2026-03-02", "21:00"), ("2026-11-27", "18:00")],
    ids=["a whole day", "the day after Thanksgiving"],
)
async def test_before_the_close_a_lot_is_left_and_nothing_waits_beyond_it(world: World, day: str, close: str) -> None:
    closing = datetime.fromisoformat(f"{day}T{close}:00+00:00")
    world.situation.calendar = calendar_for("XNYS")
    world.clock.set(closing - timedelta(minutes=11))
    await held(world, FLAT)
    await world.exits.check()
    assert world.broker.sent == []
    assert world.exits.next_look(world.clock.now()) == closing - timedelta(minutes=10), (
        "whatever the interval of checks"
    )
    world.clock.set(closing - timedelta(minutes=10))
    await world.exits.check()
    (offered,) = world.broker.sent
    assert (offered.order_type, offered.reason) == (OrderType.LIMIT, "SESSION_CLOSE")
    await acknowledged(world)
    assert world.exits.next_look(world.clock.now()) == closing - timedelta(minutes=9)
    world.clock.set(closing - timedelta(seconds=90))
    await world.exits.check()
    assert world.broker.cancelled == [offered.order_ref]
    await told(world, offered.order_ref, IntentState.CANCELLED)
    await world.exits.check()
    assert world.broker.sent[-1].order_type is OrderType.MARKET


async def test_too_near_the_close_nothing_is_offered_at_a_limit(world: World) -> None:
    closing = datetime.fromisoformat("2026-11-27T18:00:00+00:00")
    world.situation.calendar = calendar_for("XNYS")
    world.clock.set(closing - timedelta(seconds=90))
    await held(world, FLAT)
    await world.exits.check()
    assert [each.order_type for each in world.broker.sent] == [OrderType.MARKET]


# -- a person's word ---------------------------------------------------------------------------------------------------


async def test_a_person_closes_a_position_also_while_paused(protected: World) -> None:
    protected.gate.asked = TradingState.PAUSED
    assert protected.exits.ask("p-a") == "AAPL is being closed at the market."
    await protected.exits.check()
    leaving = protected.broker.sent[-1]
    assert (leaving.kind, leaving.reason, leaving.order_type) == (IntentKind.EXIT, "MANUAL", OrderType.MARKET)
    assert protected.exits.ask("p-a") == "An exit of AAPL is already under way."
    await protected.exits.check()
    assert len(protected.broker.sent) == 3
    await sold(protected, leaving.order_ref, 10)
    assert [trade.exit_reason for trade in protected.ledger.trades] == ["MANUAL"]
    with pytest.raises(KeyError):
        protected.exits.ask("p-a")


async def test_a_persons_word_ends_a_limit_order(waiting: World) -> None:
    waiting.market.prices["AAPL"] = 103.0
    assert waiting.exits.ask("p-a") == "AAPL is being closed at the market."
    await waiting.exits.check()
    assert waiting.broker.cancelled == [waiting.broker.sent[0].order_ref]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"asked": TradingState.STOPPED}, "the scheduler is stopped"),
        ({"asked": TradingState.PAUSED, "exits_halted_while_paused": True}, "the scheduler is paused"),
    ],
)
async def test_a_person_is_told_why_a_position_is_not_closed(
    protected: World, change: dict[str, Any], why: str
) -> None:
    for name, value in change.items():
        setattr(protected.gate, name, value)
    with pytest.raises(NotAllowedError, match=f"Position p-a is not closed now: {why}"):
        protected.exits.ask("p-a")
    protected.gate.asked = TradingState.RUNNING
    await protected.exits.check()
    assert len(protected.broker.sent) == 2


async def test_a_runner_that_does_not_lead_closes_nothing(protected: World) -> None:
    protected.fence.held = False
    with pytest.raises(NotAllowedError, match="this runner does not hold the lease"):
        protected.exits.ask("p-a")


async def test_what_is_asked_for_meanwhile_is_said(protected: World) -> None:
    protected.situation.calendar = calendar_for("XNYS")
    protected.clock.set(at(-100_000))
    assert protected.exits.ask("p-a") == "AAPL is closed when the market opens."
    protected.gate.broker_connected = False
    assert protected.exits.ask("p-a") == "AAPL is closed when the broker is connected again."


async def test_a_signal_that_cannot_join_waits_and_is_not_lost(protected: World) -> None:
    await sold(protected, TARGET, 4, 104)
    protected.broker.says(AAPL=6)
    leave = make_intent("e", kind=IntentKind.EXIT, side=Side.SELL, position_id="p-a", reason="SIGNAL")
    await protected.desk.place([leave])
    assert ref("e") not in protected.broker.refs
    await protected.exits.check()
    assert set(protected.broker.cancelled) == {STOP, TARGET}
    await told(protected, STOP, IntentState.CANCELLED)
    await told(protected, TARGET, IntentState.CANCELLED, 4)
    await protected.exits.check()
    assert (protected.broker.sent[-1].reason, protected.broker.sent[-1].quantity) == ("SIGNAL", 6)
