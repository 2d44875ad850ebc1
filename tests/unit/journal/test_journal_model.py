"""The journal against a model of a dozen lines, through any sequence of operations and restarts."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fakes.values import T0, make_fill, make_intent, make_position, make_trade, make_update, ref
from openbell.domain.clock import SimulatedClock
from openbell.domain.errors import JournalError, StaleEpochError
from openbell.domain.orders import FINAL_STATES, IntentState
from openbell.domain.positions import Position
from openbell.domain.statistics import Counters, Statistics
from openbell.journal import Journal

NAMES = st.sampled_from("abcd")
QUANTITY = Decimal(10)
LADDER = [IntentState.INTENDED, IntentState.DOUBTFUL, IntentState.WORKING]
HARD_FINAL = FINAL_STATES - {IntentState.WITHDRAWN}


@dataclass
class Known:
    state: IntentState = IntentState.INTENDED
    filled: Decimal = Decimal(0)
    reported: Decimal = Decimal(0)

    @property
    def is_open(self) -> bool:
        wanted = QUANTITY if self.state is IntentState.FILLED else self.reported
        return self.state not in FINAL_STATES or self.filled < wanted


class JournalAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="openbell-journal-"))
        self.loop = asyncio.Runner()
        self.journal = Journal.open(self.folder, clock=SimulatedClock(T0))
        self.epoch = 0
        self.intents: dict[str, Known] = {}
        self.fills: set[str] = set()
        self.positions: dict[str, Position] = {}
        self.trades = 0
        self.statistics = Statistics()

    def teardown(self) -> None:
        self.journal.close()
        self.loop.close()
        shutil.rmtree(self.folder)

    @rule()
    def restart(self) -> None:
        self.journal.close()
        self.journal = Journal.open(self.folder, clock=SimulatedClock(T0))

    @rule(epoch=st.integers(1, 6))
    def begin_epoch(self, epoch: int) -> None:
        if epoch > self.epoch:
            self.loop.run(self.journal.begin_epoch(epoch))
            self.epoch = epoch
        else:
            with pytest.raises(StaleEpochError):
                self.loop.run(self.journal.begin_epoch(epoch))

    @rule(names=st.lists(NAMES, max_size=4), epochs_back=st.integers(0, 1), count=st.none() | st.integers(1, 9))
    def commit(self, names: list[str], epochs_back: int, count: int | None) -> None:
        if self.epoch == 0:
            return
        batch = [make_intent(name, epoch=self.epoch - epochs_back) for name in names]
        counted = None if count is None else Statistics(total=Counters(signals_generated=count))
        if epochs_back and names:
            with pytest.raises(StaleEpochError):
                self.loop.run(self.journal.commit_intents(batch, statistics=counted))
            return
        new = set(names) - self.intents.keys()
        committed = self.loop.run(self.journal.commit_intents(batch, statistics=counted))
        assert committed == {ref(name) for name in new}
        self.intents.update({name: Known() for name in new})
        self.statistics = counted or self.statistics

    @rule(name=NAMES, told=st.sampled_from(IntentState), filled=st.integers(0, 10).map(Decimal))
    def update(self, name: str, told: IntentState, filled: Decimal) -> None:
        result = self.loop.run(self.journal.record_update(make_update(told, name, filled_quantity=filled)))
        known = self.intents.get(name)
        if known is None:
            assert result is None
            return
        if known.state is IntentState.WITHDRAWN:
            moves = told in {IntentState.WORKING, *HARD_FINAL}
        elif known.state in HARD_FINAL:
            moves = False
        elif told is IntentState.WITHDRAWN:
            moves = known.state is not IntentState.WORKING and known.filled == known.reported == 0
        elif told in HARD_FINAL:
            moves = True
        else:
            moves = LADDER.index(told) > LADDER.index(known.state)
        known.state = told if moves else known.state
        known.reported = max(known.reported, filled)
        assert result is known.state

    @rule(
        execution=st.sampled_from("uvwxyz"),
        name=NAMES,
        quantity=st.integers(1, 10).map(Decimal),
        held=st.integers(-3, 3).map(Decimal),
        sequence=st.integers(0, 3),
        closes=st.booleans(),
    )
    def fill(self, execution: str, name: str, quantity: Decimal, held: Decimal, sequence: int, closes: bool) -> None:
        position = make_position(name, quantity=held, exit_sequence=sequence)
        trade = make_trade(name) if closes else None
        booked = self.loop.run(self.journal.record_fill(make_fill(execution, name, quantity=quantity), position, trade))
        assert booked is (execution not in self.fills)
        if not booked:
            return
        self.fills.add(execution)
        self.trades += closes
        before = self.positions.get(position.position_id)
        self.positions[position.position_id] = replace(
            position, exit_sequence=max(sequence, before.exit_sequence if before else 0)
        )
        known = self.intents.get(name)
        if known is not None:
            known.filled += quantity
            known.reported = max(known.reported, known.filled)
            if known.state not in HARD_FINAL:
                known.state = IntentState.FILLED if known.filled >= QUANTITY else IntentState.WORKING

    @rule(name=NAMES, best=st.integers(1, 200).map(Decimal), sequence=st.integers(0, 5))
    def save(self, name: str, best: Decimal, sequence: int) -> None:
        position = make_position(name, quantity=Decimal(77), best_price=best, exit_sequence=sequence)
        before = self.positions.get(position.position_id)
        if before is None:
            with pytest.raises(JournalError):
                self.loop.run(self.journal.save_positions([position]))
            return
        self.loop.run(self.journal.save_positions([position]))
        self.positions[position.position_id] = replace(
            before, best_price=best, exit_sequence=max(sequence, before.exit_sequence)
        )

    @rule(name=NAMES)
    def break_a_commit(self, name: str) -> None:
        with pytest.raises(JournalError):
            self.loop.run(
                self.journal.commit_intents(
                    [
                        make_intent(name, epoch=max(1, self.epoch)),
                        make_intent("bad", epoch=max(1, self.epoch), symbol=""),
                    ],
                    statistics=Statistics(total=Counters(errors=99)),
                )
            )

    @invariant()
    def agrees(self) -> None:
        state = self.loop.run(self.journal.load())
        assert state.epoch == self.epoch
        assert state.statistics == self.statistics
        opened = {name: known for name, known in self.intents.items() if known.is_open}
        assert {
            record.intent.order_ref: (record.state, record.filled, record.reported) for record in state.open_intents
        } == {ref(name): (known.state, known.filled, known.reported) for name, known in opened.items()}
        pointed_at = {f"p-{name}" for name in opened}
        assert {position.position_id: position for position in state.positions} == {
            key: position for key, position in self.positions.items() if position.is_open or key in pointed_at
        }
        assert {fill.execution_id for fill in state.fills_today} == self.fills
        assert len(self.loop.run(self.journal.trades(100))) == self.trades
        assert len(self.loop.run(self.journal.orders(100))) == len(self.intents)


JournalAgainstModel.TestCase.settings = settings(max_examples=10, stateful_step_count=30, deadline=None)
TestJournalAgainstModel = JournalAgainstModel.TestCase
