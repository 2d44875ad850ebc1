"""Lots that are opened, scaled out of, protected and left in any order of events, and what must hold after each."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections import deque
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import structlog
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fakes.trading import World, scheduler_manifest, strategy_manifest
from fakes.values import OWNER, T0, make_intent, ref
from fakes.wire import Change, Died, Ending, WiredBroker
from openbell.brokers.base import ConnectionChanged
from openbell.brokers.simulated.venue import Terms
from openbell.domain.clock import SimulatedClock
from openbell.domain.orders import Fill, IntentKind, OrderType, OrderUpdate, Side
from openbell.domain.policies import encode_policy
from openbell.domain.positions import Escalation, ExitPolicy, ScaleOut, TrailingStop
from openbell.domain.reasons import ExitReason
from openbell.engine.cycle import exit_intent
from openbell.engine.exits import Exit
from openbell.runner import comparison as comparisons
from openbell.runner.main import restored_ledger

MEMORY = Path("/dev/shm")  # noqa: S108 - only its speed is wanted
SYMBOL = "AAPL"

POLICIES = st.builds(
    ExitPolicy,
    stop_loss=st.sampled_from([None, 0.02, 0.01]),
    take_profit=st.sampled_from([None, 0.04, 0.02]),
    trailing=st.sampled_from([None, TrailingStop(0.01, 0.01), TrailingStop(0.0, 0.02)]),
    max_holding_seconds=st.sampled_from([0, 0, 40]),
    scale_out=st.sampled_from([(), (ScaleOut(0.01, 0.5),), (ScaleOut(0.005, 0.3), ScaleOut(0.015, 0.4))]),
    escalation=st.sampled_from([None, Escalation(5), Escalation(15, 2.0)]),
    broker_side=st.sampled_from([True, True, True, False]),
)


PATIENCE = ("FIRST_ANSWER_SECONDS", "MARKED_ANSWER_SECONDS")


class LeftAtRandom(RuleBasedStateMachine):
    """One or two lots in one symbol at a broker behind a wire, and the runner's desk and exits through many lives."""

    def __init__(self) -> None:
        super().__init__()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.loop = asyncio.Runner()
        # Only the simulated clock goes on: an answer that has not come will not come while it is waited for.
        self.patience = [mock.patch.object(comparisons, name, 0.0) for name in PATIENCE]
        for each in self.patience:
            each.start()
        self.clock = SimulatedClock(T0)
        self.price = 100.0
        self.entries = 0
        self.lots: list[str] = []
        self.world: World | None = None

    def teardown(self) -> None:
        try:
            if self.world is not None and not self.wire.failed:
                self.everything_comes_to_rest()
        finally:
            if self.world is not None:
                self.world.close()
            self.loop.close()
            for each in self.patience:
                each.stop()
            shutil.rmtree(self.folder)
            structlog.reset_defaults()

    @initialize(partial=st.booleans(), seed=st.integers(0, 50), policy=POLICIES, quantity=st.integers(2, 12))
    def begin(self, partial: bool, seed: int, policy: ExitPolicy, quantity: int) -> None:
        terms = Terms(starting_cash=Decimal(1_000_000), slippage_bps=0.0, partial_fills=partial)
        self.wire = WiredBroker(self.clock, terms, seed)
        self.wire.failed = False
        self.live(1)
        self.a_lot_is_entered(quantity, Side.BUY, policy)
        self.life_goes_on([(0.0, 1)])

    def live(self, epoch: int) -> None:
        """A process begins, on what the one before has left on the disk."""
        world = self.world = World(self.folder / "journal", epoch=epoch, clock=self.clock, broker=self.wire)
        world.journal.is_inline = True
        world.market.prices = {SYMBOL: self.price}
        world.take(scheduler_manifest(), strategy_manifest())
        self.loop.run(self._restore(world, epoch))

    async def _restore(self, world: World, epoch: int) -> None:
        await world.journal.adopt_owner("u")
        state = await world.journal.load(since=T0)
        ledger = await restored_ledger(world.journal, state, self.clock)
        for name in ("positions", "orders", "statistics"):
            setattr(world.ledger, name, getattr(ledger, name))
        world.desk.restore(state.open_intents, state.last_exits)
        await world.desk.begin_epoch(epoch)
        world.gate.broker_connected = False
        if self.wire.is_connected:
            await self._connected()

    async def _connected(self) -> None:
        assert self.world is not None
        self.world.comparison.on_connection(ConnectionChanged(True, "up"))
        while self.world.comparison._due.is_set():
            self.world.comparison._due.clear()
            await self.world.comparison.compare()
        if self.world.journal.unwritten.is_inherited:  # some seconds on, what was on its way has arrived
            self.clock.set(self.clock.now() + timedelta(seconds=comparisons.SETTLING_SECONDS))
            self.wire.deliver_all()
            await self.world.comparison.compare()

    def run(self, *work: Coroutine[Any, Any, Any]) -> None:
        """Do things at once; where the process dies of it, the next one begins."""
        try:
            self.loop.run(self._together(work))
        except BaseExceptionGroup as group:
            if group.split(Died)[1] is not None:
                raise
            self.a_process_is_killed(0)

    async def _together(self, work: tuple[Coroutine[Any, Any, Any], ...]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for each in work:
                tasks.create_task(self._caught(each))

    async def _caught(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except Died as died:
            raise BaseExceptionGroup("died", [died]) from died

    async def _follow(self, count: int = 1_000) -> None:
        """Take in what the broker has told."""
        assert self.world is not None
        while self.wire.incoming and count and self.wire.is_connected:
            event = self.wire.incoming.popleft()
            count -= 1
            if isinstance(event, Fill):
                await self.world.desk.on_fill(event)
            elif isinstance(event, OrderUpdate):
                await self.world.desk.on_update(event)

    async def _signal(self) -> None:
        """A strategy says to leave, while the exit check may be under way."""
        assert self.world is not None
        for position in self.world.ledger.open_positions():
            if self.world.desk.has_exit(position.position_id):
                continue
            side = Side.SELL if position.quantity > 0 else Side.BUY
            found = Exit(ExitReason.SIGNAL, side, abs(position.quantity), "", position.best_price)
            intent = exit_intent(
                position,
                found,
                owner=OWNER,
                epoch=self.world.fence.epoch,
                now=self.clock.now(),
                price=Decimal(100),
                limit=Decimal(str(self.price)).quantize(Decimal("0.01")) if position.policy.escalation else None,
            )
            await self.world.desk.place([intent])
            return

    # -- what happens ----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.entries < 3)
    @rule(quantity=st.integers(1, 12), side=st.sampled_from([Side.BUY, Side.BUY, Side.SELL]), policy=POLICIES)
    def a_lot_is_entered(self, quantity: int, side: Side, policy: ExitPolicy) -> None:
        assert self.world is not None
        sides = {position.quantity > 0 for position in self.world.ledger.open_positions()}
        working = {intent.side for intent in self.world.desk.working_entries()}
        if (sides | {each is Side.BUY for each in working}) - {side is Side.BUY}:
            return  # the other side is held: such an entry is refused before it comes here
        self.entries += 1
        name = f"{self.entries}"
        self.lots.append(f"p-{name}")
        intent = make_intent(
            name,
            side=side,
            quantity=Decimal(quantity),
            epoch=self.world.fence.epoch,
            exits=encode_policy(policy),
            created_at=self.clock.now(),
        )
        self.run(self.world.desk.place([intent]))

    @rule(percent=st.sampled_from([-2.5, -1.0, -0.4, 0.0, 0.4, 1.0, 2.5]), seconds=st.integers(1, 8))
    def the_price_moves(self, percent: float, seconds: int) -> None:
        assert self.world is not None
        self.price = round(min(115.0, max(85.0, self.price * (1 + percent / 100))), 2)
        self.clock.set(self.clock.now() + timedelta(seconds=seconds))
        self.world.market.prices[SYMBOL] = self.price
        self.wire.quote(SYMBOL, self.price)

    @rule(moves=st.lists(st.tuples(st.sampled_from([-1.0, -0.4, 0.0, 0.4, 0.6, 1.0]), st.integers(1, 8)), max_size=4))
    def life_goes_on(self, moves: list[tuple[float, int]]) -> None:
        """Nothing special: everything arrives, and exits are checked."""
        for percent, seconds in moves:
            self.wire.deliver_all()
            self.the_price_moves(percent, seconds)
            self.run(self._follow())
            self.exits_are_checked()
            self.wire.deliver_all()
            self.run(self._follow())

    @rule()
    def exits_are_checked(self) -> None:
        assert self.world is not None
        self.run(self.world.exits.check())

    @rule(signals=st.booleans())
    def everything_happens_at_once(self, signals: bool) -> None:
        assert self.world is not None
        self.wire.deliver_all()
        self.run(self.world.exits.check(), self._follow(), *([self._signal()] if signals else []))

    @rule()
    def a_strategy_says_to_leave(self) -> None:
        self.run(self._signal())

    @rule(is_lost=st.booleans())
    def an_exit_waits_at_its_limit_in_vain(self, is_lost: bool) -> None:
        """The price goes away from it, until it has had its time; what asks for its end may get lost."""
        assert self.world is not None
        self.wire.deliver_all()
        self.run(self._follow(), self._signal())
        self.wire.deliver_all()
        self.run(self._follow())
        for position in self.world.ledger.open_positions()[:1]:
            for percent in (-0.4 if position.quantity > 0 else 0.4, 0.0):
                self.the_price_moves(percent, 8)
        self.exits_are_checked()
        if is_lost:
            self._lose_changes()
        self.wire.deliver_all()
        self.exits_are_checked()

    @rule(policy=POLICIES, percent=st.sampled_from([-0.4, 0.0, 0.4, 1.0]), seconds=st.sampled_from([1, 8]))
    def protection_is_asked_to_change_in_vain(self, policy: ExitPolicy, percent: float, seconds: int) -> None:
        """By another policy, or by the price that a stop follows; whatever is asked of working orders gets lost."""
        self.life_goes_on([(0.0, 1)])
        self.the_resource_changes(policy)
        self.the_price_moves(percent, 8)
        self.exits_are_checked()
        self._lose_changes()
        self.the_price_moves(0.0, seconds)
        self.exits_are_checked()

    def _lose_changes(self) -> None:
        self.wire.outgoing = deque(each for each in self.wire.outgoing if not isinstance(each, Ending | Change))

    @rule(count=st.integers(1, 4))
    def messages_arrive(self, count: int) -> None:
        for _ in range(count):
            self.wire.deliver()

    @rule(count=st.integers(1, 6))
    def news_arrive(self, count: int) -> None:
        self.run(self._follow(count))

    @precondition(lambda self: self.wire.outgoing and not hasattr(self.wire.outgoing[0], "kind"))
    @rule()
    def a_change_or_a_cancel_is_lost(self) -> None:
        self.wire.deliver(lose=True)

    @rule(arrive=st.integers(0, 3))
    def the_connection_breaks(self, arrive: int) -> None:
        assert self.world is not None
        self._lose_the_wire(arrive)
        self.wire.is_connected = False
        self.world.comparison.on_connection(ConnectionChanged(False, "down"))

    @precondition(lambda self: not self.wire.is_connected)
    @rule()
    def the_connection_comes_up(self) -> None:
        self.wire.is_connected = True
        self.run(self._connected())

    @rule()
    def everything_is_compared(self) -> None:
        assert self.world is not None
        if self.wire.is_connected:
            self.run(self.world.comparison.compare())

    @rule(arrive=st.integers(0, 3))
    def a_process_is_killed(self, arrive: int) -> None:
        assert self.world is not None
        self._lose_the_wire(arrive)
        self.wire.deaths = 0
        epoch = self.world.fence.epoch + 1
        self.world.close()
        self.wire.is_connected = True
        self.live(epoch)

    @rule(messages=st.integers(1, 3))
    def a_process_is_going_to_die(self, messages: int) -> None:
        self.wire.deaths = messages

    @rule(failing=st.booleans())
    def the_disk_fills_up_or_has_room(self, failing: bool) -> None:
        assert self.world is not None
        self.world.journal.is_failing = failing

    @rule(policy=POLICIES)
    def the_resource_changes(self, policy: ExitPolicy) -> None:
        assert self.world is not None
        self.world.exits.adopt({"trend": policy})

    @rule()
    def a_person_closes_a_position(self) -> None:
        assert self.world is not None
        for position in self.world.ledger.open_positions():
            self.world.exits.ask(position.position_id)
            return

    def _lose_the_wire(self, arrive: int) -> None:
        """The first messages arrive, the others and all news are lost."""
        for _ in range(arrive):
            self.wire.deliver()
        self.wire.outgoing.clear()
        self.wire.incoming.clear()

    # -- what must hold --------------------------------------------------------------------------------------------

    @invariant()
    def nothing_sells_more_than_is_held(self) -> None:
        if self.world is None:
            return
        try:
            for lot in self.lots:
                opened = self.wire.intents.get(ref(lot.removeprefix("p-")))
                if opened is None:
                    continue
                held = self.wire.held(lot) * opened.side.sign
                assert held >= 0, f"{lot} was turned round to {held}"
                could = self.wire.could_reduce(lot)
                assert could <= held, f"orders for {could} of {lot} may fill, and {held} are held"
        except AssertionError:
            self.wire.failed = True
            raise

    def everything_comes_to_rest(self) -> None:
        """Nothing is lost any more: every lot has its exit or its protection, and nothing else is left."""
        self.wire.deaths = 0
        if not self.wire.is_connected:
            self.the_connection_comes_up()
        assert self.world is not None
        self.world.journal.is_failing = False
        self.run(self.world.desk.save_statistics())  # the first write makes up for what was missed
        for _ in range(14):
            self.clock.set(self.clock.now() + timedelta(seconds=7))
            self.wire.quote(SYMBOL, self.price)
            self.wire.deliver_all()
            self.run(self._follow())
            self.run(self.world.comparison.compare())
            self.run(self._follow())
            self.run(self.world.exits.check())
            self.wire.deliver_all()
            self.run(self._follow())
            if not self.world.ledger.positions and not self.world.desk.in_flight:
                break
        self.clock.set(self.clock.now() + timedelta(seconds=61))  # a protective order that was refused is placed again
        for _ in range(4):
            self.run(self.world.exits.check())
            self.wire.deliver_all()
            self.run(self._follow())
        self.run(self.world.comparison.compare())
        positions = self.world.ledger.positions
        for lot in self.lots:
            self._rests(lot, positions.get(lot))
        assert self.world.gate.in_sync, self.world.comparison.why

    def _rests(self, lot: str, position: Any) -> None:
        held, working = self.wire.held(lot), self.wire.working(lot)
        assert held == (position.quantity if position is not None else 0), (
            f"{lot}: {held} are held, booked is {position}"
        )
        if position is None:
            assert not working, f"{lot} is flat, and has {working}"
            return
        kinds = [self.wire.intents[order.request.order_ref].kind for order in working]
        if IntentKind.EXIT in kinds:
            return
        policy = position.policy
        wants_stop = policy.broker_side and (policy.stop_loss or (policy.trailing and policy.trailing.activation == 0))
        stops = [order for order in working if order.request.order_type is OrderType.STOP]
        if wants_stop:
            (stop,) = stops
            assert stop.request.quantity == abs(held), (
                f"{lot}: {held} are held, the stop is for {stop.request.quantity}"
            )
        if not policy.broker_side:
            assert not working
        assert replace(position, quantity=held) == position
