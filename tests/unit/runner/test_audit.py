"""Every recorded decision is made again from recorded inputs alone, and one altered input is told."""

from __future__ import annotations

import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from fakes.recorded import FALLING, RISING, Story, told
from fakes.trading import scheduler_manifest, strategy_manifest
from fakes.values import T0, at, make_signal
from openbell.domain.orders import IntentKind
from openbell.domain.signals import Signal
from openbell.domain.state import TradingState
from openbell.engine.trail import Note, TrailKind
from openbell.journal import killpoints
from openbell.journal.exact import encode
from openbell.journal.recorder import Told
from openbell.journal.relaxed import read_only
from openbell.journal.trail import all_runs
from openbell.runner.audit import Audit
from openbell.runner.main import restored_ledger
from openbell.runner.recording import Evaluated
from openbell.strategies.api import DataNeeds
from openbell.strategies.momentum import Momentum


def sentences(found: Audit) -> list[str]:
    return [difference.sentence() for difference in found.differences]


async def test_a_run_of_the_real_parts_is_made_again_with_nothing_different(folder: Path) -> None:
    found = (await told(folder)).audit()
    assert sentences(found) == []
    assert dict(found.untested) == {}
    assert (found.evaluations, found.decisions, found.orders, found.exits) == (6, 6, 4, 1)


async def test_one_altered_close_is_told(folder: Path) -> None:
    story = await told(folder)

    def lower(rows: Any) -> None:
        rows[-1, 4] = 100.5

    story.alter("bars", lower, number=1)
    said = sentences(story.audit())
    assert said[0].startswith("2026-03-02 15:01:00 trend/AAPL: recorded ORDERED by ob1.rqxfrjxf.")
    assert said[0].endswith(" (Buy with confidence 0.88 (+3.00% over 2 bars)); its inputs give NO_SIGNAL")
    assert any("recorded order" in each and "its inputs give no such order" in each for each in said)


async def test_an_altered_minimum_of_the_confidence_is_told(folder: Path) -> None:
    story = await told(folder)
    story.alter("spec", lambda document: document["spec"].update(minConfidence=0.99), number=_scheduler(story))
    said = sentences(story.audit())
    assert any("its inputs give LOW_CONFIDENCE" in each for each in said)
    assert any("recorded order" in each and "no such order" in each for each in said)


async def test_an_altered_parameter_is_told(folder: Path) -> None:
    story = await told(folder)

    def demand(document: Any) -> None:
        document["parameters"]["threshold"] = 0.5
        document["manifest"]["spec"]["parameters"]["threshold"] = 0.5

    story.alter("spec", demand, number=1 - _scheduler(story))
    assert any("its inputs give NO_SIGNAL" in each for each in sentences(story.audit()))


def _scheduler(story: Story) -> int:
    with closing(read_only(story.folder / "inputs.db")) as raw:
        bodies = [row[0] for row in raw.execute("SELECT body FROM documents WHERE kind = 'spec' ORDER BY id")]
    return next(index for index, body in enumerate(bodies) if b"TradingScheduler" in zlib.decompress(body))


async def test_an_altered_account_is_told(folder: Path) -> None:
    story = await told(folder)
    story.alter("evaluation", lambda document: document["tick"]["risk"].update(buying_power="10"), number=1)
    said = sentences(story.audit())
    assert any("its inputs give BUYING_POWER" in each for each in said)


async def test_an_altered_equity_gives_another_quantity(folder: Path) -> None:
    story = await told(folder)
    story.alter("evaluation", lambda document: document["tick"]["risk"].update(equity="98000"), number=1)
    (said,) = sentences(story.audit())
    assert "recorded order ob1." in said
    assert "with quantity " in said


async def test_an_altered_price_is_told(folder: Path) -> None:
    story = await told(folder)
    story.alter("evaluation", lambda document: document["tick"]["prices"][0].__setitem__(1, "103.01"), number=1)
    (said,) = sentences(story.audit())
    assert "reference price 103.0000" in said
    assert "reference price 103.01" in said


async def test_an_altered_reason_that_blocked_is_told(folder: Path) -> None:
    story = await Story(folder).begin()
    story.world.gate.asked = TradingState.PAUSED
    await story.tick(*RISING)
    await story.end()
    assert sentences(story.audit()) == []
    story.alter("evaluation", lambda document: document["tick"].update(entry_blocked=[]))
    (said,) = sentences(story.audit())
    assert "recorded PAUSED (Buy with confidence" in said
    assert "its inputs give ORDERED by ob1." in said


async def test_an_altered_lot_is_told(folder: Path) -> None:
    story = await told(folder)
    story.alter("evaluation", lambda document: document.update(lots=[]), number=3)
    assert any("recorded ORDERED" in each and "(Close" in each for each in sentences(story.audit()))


async def test_a_signal_where_there_was_none_is_told(folder: Path) -> None:
    story = await told(folder)

    def rise(rows: Any) -> None:
        rows[-1, 4] = 120.0

    story.alter("bars", rise, number=0)
    assert any("recorded NO_SIGNAL; its inputs give Buy with confidence" in each for each in sentences(story.audit()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda document: document["quote"].update(price=102.0, bid=102.0, ask=102.0), "that the position is held"),
        (lambda document: document.update(held="1"), "with quantity 1"),
        (lambda document: document["position"]["policy"].update(take_profit=-0.5), ""),
        (lambda document: document["position"]["policy"].update(stop_loss=None, max_holding_seconds=1), "MAX_HOLDING"),
    ],
)
async def test_an_altered_input_of_an_exit_is_told(folder: Path, change: Callable[[Any], None], said: str) -> None:
    story = await told(folder)
    story.alter("exit", change)
    if not said:  # the stop comes first, whatever the target says
        assert sentences(story.audit()) == []
        return
    (sentence,) = sentences(story.audit())
    assert "STOP_LOSS" in sentence or "quantity" in sentence
    assert said in sentence


# -- what is no difference


async def test_orders_that_the_gate_or_the_journal_kept_back_are_the_same_decisions(folder: Path) -> None:
    story = await Story(folder).begin()
    story.world.journal.before["writing intents"] = lambda: setattr(story.world.gate, "asked", TradingState.PAUSED)
    await story.tick(*RISING)
    story.world.gate.asked = TradingState.RUNNING
    story.world.journal.before.clear()
    story.world.broker.is_connected = story.world.gate.broker_connected = False
    story.world.gate.broker_required = False
    await story.tick(*RISING)
    story.world.broker.is_connected = story.world.gate.broker_connected = True
    story.world.journal.is_failing = True
    await story.tick(*RISING)
    story.world.journal.is_failing = False
    await story.end()
    reasons = [record.reason.value for record in story.world.signals]
    assert reasons == ["PAUSED", "BROKER_DISCONNECTED", "SUPERSEDED", "JOURNAL_FAILED"], "one waited until a newer came"
    found = story.audit()
    assert sentences(found) == []
    assert found.decisions == 4, "the end of a wait is one, too"
    assert dict(found.untested) == {"orders: the journal does not have them, for it could not be written then": 1}


async def test_the_same_bar_again_is_decided_already_and_nothing_differs(folder: Path) -> None:
    story = await Story(folder).begin()
    await story.tick(*RISING)
    story.minute = 0
    await story.tick(*RISING)
    await story.end()
    found = story.audit()
    assert sentences(found) == []
    assert (found.decisions, found.orders) == (2, 1)


async def test_a_split_of_an_order_under_way_is_no_difference(folder: Path) -> None:
    story = await Story(folder).begin()
    await story.tick(*RISING)
    await story.world.desk.split("AAPL", Decimal(4))
    story.recording.split(at(1), "AAPL", Decimal(4))
    await story.end()
    assert sentences(story.audit()) == []
    assert story.intents[0].intent.reference_price == Decimal("25.75")


async def test_a_restart_and_a_changed_spec_are_no_differences(folder: Path) -> None:
    story = await Story(folder).begin()
    await story.tick(*RISING)
    story.world.take(scheduler_manifest(generation=2, minConfidence=0.99), strategy_manifest())
    await story.tick(*RISING)
    await story.end()
    again = await Story(folder, epoch=2).begin(minConfidence=0.6)
    again.minute = 5
    await again.tick(*RISING)
    await again.tick(*FALLING)
    await again.end()
    found = again.audit()
    assert sentences(found) == []
    assert dict(found.untested) == {}
    assert found.evaluations == 4


async def test_a_kill_right_after_an_exit_was_written_makes_no_difference(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = await Story(folder).begin()
    await story.tick(*RISING)
    await story.fill()
    with monkeypatch.context() as patch:
        patch.setattr(killpoints, "reach", die_when_committed)
        with pytest.raises(KilledError):
            await story.look(90.0)
    await story.end()
    again = Story(folder, epoch=2)
    state = await again.world.journal.load(since=T0)
    again.world.ledger.positions = (await restored_ledger(again.world.journal, state, again.world.clock)).positions
    again.world.desk.restore(state.open_intents, state.last_exits)
    await again.begin()
    again.minute = 5
    again.world.clock.set(at(60 * again.minute))
    again.world.broker.says(AAPL=77)
    await again.world.comparison.compare()  # the broker does not know it: it was never sent
    await again.look(90.0)
    (sent,) = [intent for intent in again.world.broker.sent if intent.kind is IntentKind.EXIT]
    assert sent.reason == "STOP_LOSS", "at the first look"
    await again.end()
    found = again.audit()
    assert (sentences(found), found.exits) == ([], 1)


class KilledError(BaseException):
    """The process is gone."""


def die_when_committed(point: str) -> None:
    if point == "desk.committed":
        raise KilledError


# -- what cannot be tested is named


async def test_a_strategy_that_failed_is_untested_by_name(folder: Path) -> None:
    story = await Story(folder).begin(strategy_manifest(), strategy_manifest("broken"))
    control = story.world.situation.control
    assert control is not None

    unlucky = replace(control.entries["broken"], strategy=_Unlucky())
    story.world.situation.control = replace(control, entries={**control.entries, "broken": unlucky})
    await story.tick(*RISING)
    await story.end()
    found = story.audit()
    assert sentences(found) == []
    assert dict(found.untested) == {
        "evaluations of broken: it failed (RuntimeError: out of luck), which is no input": 1
    }


class _Unlucky(Momentum):
    def data(self, params: Any, bar_seconds: int) -> DataNeeds:
        return DataNeeds(bar_seconds, 3)

    def evaluate(self, context: Any) -> Iterable[Signal]:
        raise RuntimeError("out of luck")


async def test_bars_that_are_no_longer_there_are_untested_by_name(folder: Path) -> None:
    story = await told(folder)
    with closing(sqlite3.connect(story.folder / "inputs.db")) as raw:
        raw.execute("DELETE FROM documents WHERE id = (SELECT min(id) FROM documents WHERE kind = 'bars')")
        raw.commit()
    found = story.audit()
    assert sentences(found) == []
    assert found.untested["evaluations: the bars of AAPL are not all recorded"] > 0


async def test_a_trail_that_is_lost_leaves_the_orders_to_compare(folder: Path) -> None:
    story = await told(folder)
    with closing(sqlite3.connect(story.folder / "trail.db")) as raw:
        raw.execute("DELETE FROM runs")
        raw.commit()
    found = story.audit()
    assert sentences(found) == []
    assert (found.decisions, found.orders) == (0, 4)
    assert found.untested == {"decisions of trend: the trail does not have them": 6}


async def test_decisions_and_orders_without_inputs_are_untested(folder: Path) -> None:
    story = await told(folder)
    with closing(sqlite3.connect(story.folder / "inputs.db")) as raw:
        raw.execute("DELETE FROM documents")
        raw.commit()
    found = story.audit()
    assert found.untested == {
        "orders: no inputs are recorded": 4,
        "decisions: they are of a time whose inputs are not kept": 6,
    }


async def test_a_position_that_is_held_and_a_market_that_is_closed_are_told_and_need_no_inputs(folder: Path) -> None:
    story = await told(folder)
    with closing(read_only(story.folder / "trail.db")) as raw:
        exits = [(run.reason, run.detail) for run in all_runs(raw) if run.kind is TrailKind.EXIT]
    assert exits[0][0] == "HOLD"
    assert "price 102.5, stop 100.94, target 107.12" in exits[0][1]
    assert exits[1][0] == "STOP_LOSS"


async def test_a_signal_that_waited_from_an_earlier_evaluation_is_an_input_of_this_one(folder: Path) -> None:
    story = await Story(folder).begin()
    await story.tick(*RISING)
    await story.end()

    def wait(document: Any) -> None:
        document["waiting"] = [encode(make_signal(symbol="IBM"))]

    story.alter("evaluation", wait)
    (said,) = Counter(story.audit().untested)
    assert said == "decisions of trend: the trail does not have them"


async def test_what_changes_after_a_tick_does_not_change_what_was_recorded(folder: Path) -> None:
    story = await Story(folder).begin()
    recorded: list[Evaluated] = []
    tell = story.recording.evaluated
    held = Event()

    def wait() -> list[Note]:
        held.wait(10)
        return []

    story.recorder.tell(Told(wait))

    def evaluated(each: Evaluated) -> None:
        recorded.append(each)
        tell(each)

    story.recording.evaluated = evaluated  # type: ignore[method-assign]
    await story.tick(*RISING)
    tick = recorded[0].tick
    assert tick is not None
    assert isinstance(tick.prices, dict)
    tick.prices["AAPL"] = Decimal(1)
    held.set()
    await story.end()
    assert sentences(story.audit()) == []


async def test_an_exit_that_was_taken_up_from_the_broker_is_untested_for_its_reason_is_lost(folder: Path) -> None:
    story = await told(folder)
    story.intents = tuple(
        replace(each, intent=replace(each.intent, reason="UNRECORDED", epoch=9, reference_price=Decimal(1)))
        if each.intent.kind is IntentKind.EXIT
        else each
        for each in story.intents
    )
    found = story.audit()
    assert sentences(found) == []
    assert sum(found.untested.values()) == 2
