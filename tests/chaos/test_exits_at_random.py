"""Desk, exits and venue through many random histories; and bugs in them that must not survive.

The broker is at the end of a wire on which messages and news are late or lost; the process dies and begins again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from fakes.leaving_at_random import LeftAtRandom
from openbell.domain.orders import IntentKind, IntentState
from openbell.runner import next_steps
from openbell.runner.comparison import Comparison
from openbell.runner.desk import Desk
from openbell.runner.inflight import InFlight, Standing

Plant = Callable[[pytest.MonkeyPatch], None]


def through(histories: int, steps: int, **more: Any) -> None:
    long = settings(
        max_examples=histories,
        stateful_step_count=steps,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        **more,
    )
    run_state_machine_as_test(LeftAtRandom, settings=long)


@pytest.mark.timeout(900)
def test_nothing_is_sold_twice_in_any_history(chaos_seed: int) -> None:
    print(f"exits at random: seed {chaos_seed}")

    class Seeded(LeftAtRandom):
        pass

    seed(chaos_seed)(Seeded)
    long = settings(
        max_examples=250,
        stateful_step_count=50,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Seeded, settings=long)


def exit_beside_the_protective_orders(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Standing, "joinable", property(lambda self: ""))


def forget_that_a_cancel_may_come_too_late(patch: pytest.MonkeyPatch) -> None:
    """What was told to go counts as gone, and takes another's place or makes room for a market order."""
    reducing = Desk._reducing

    def gone(self: Desk, position_id: str) -> list[InFlight]:
        return [flying for flying in reducing(self, position_id) if flying.cancel_asked_at is None]

    patch.setattr(Desk, "_reducing", gone)


def sell_a_part_before_the_stop_is_for_the_rest(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Desk, "_fits", lambda self, intent, position: True)
    patch.setattr(next_steps, "could_fill", lambda orders: next_steps.ZERO)


def take_any_word_for_the_answer_to_a_change(patch: pytest.MonkeyPatch) -> None:
    """Terms are taken as they are asked for, not as the broker names them."""
    modify = Desk.modify

    async def believed(self: Desk, order_ref: str, terms: Any) -> None:
        await modify(self, order_ref, terms)
        flying = self.in_flight.get(order_ref)
        if flying is not None and flying.asked == terms:
            flying.asked = None
            flying.record = replace(flying.record, intent=replace(flying.intent, quantity=terms.quantity))

    patch.setattr(Desk, "modify", believed)


def begin_without_asking_the_broker(patch: pytest.MonkeyPatch) -> None:
    async def compare(self: Comparison) -> bool:
        self._due.clear()
        self.answered.set()
        self.is_certain = True
        self._gate.in_sync = True
        return True

    patch.setattr(Comparison, "compare", compare)


def leave_twice_at_once(patch: pytest.MonkeyPatch) -> None:
    """What is decided and not handed over yet is not seen by whoever decides next."""

    def seen(self: Desk, position_id: str) -> list[InFlight]:
        return self.in_flight.reducing(position_id)

    patch.setattr(Desk, "_reducing", seen)


def protect_again_without_confirmation(patch: pytest.MonkeyPatch) -> None:
    """A protective order is not changed but told to go, counts as gone with that, and another takes its place.

    The other begins a group of its own: in the same group the venue itself would keep both from being filled.
    """
    reducing, adjust, keep = Desk._reducing, next_steps._adjust, next_steps._keep

    def gone(self: Desk, position_id: str) -> list[InFlight]:
        return [
            flying
            for flying in reducing(self, position_id)
            if flying.intent.kind is not IntentKind.PROTECTIVE or flying.cancel_asked_at is None
        ]

    def kept(*arguments: Any) -> tuple[next_steps.Step, ...]:
        steps = keep(*arguments)
        return tuple(replace(each, group=None) if isinstance(each, next_steps.Protect) else each for each in steps)

    def replaced(*arguments: Any) -> tuple[next_steps.Step, ...]:
        steps = adjust(*arguments)
        return tuple(
            next_steps.Cancel(each.order_ref) if isinstance(each, next_steps.Modify) else each for each in steps
        )

    patch.setattr(Desk, "_reducing", gone)
    patch.setattr(next_steps, "_keep", kept)
    patch.setattr(next_steps, "_adjust", replaced)


def follow_a_limit_order_that_still_waits(patch: pytest.MonkeyPatch) -> None:
    """A limit order that was told to go counts as over, whatever the broker says of it.

    In both places that are asked: where only the standing says so, the exit check still sees a lot that is being left
    and makes no order.
    """
    standing, is_leaving = Desk.standing, Desk.is_leaving

    def has_had_its_time(leaving: InFlight | None) -> bool:
        return leaving is not None and leaving.cancel_asked_at is not None and leaving.intent.limit_price is not None

    def impatient(self: Desk, position_id: str) -> Standing:
        found = standing(self, position_id)
        if found.exit is None or not has_had_its_time(found.exit):
            return found
        return replace(found, exit=None, last=replace(found.exit.record, state=IntentState.CANCELLED))

    def leaves(self: Desk, position_id: str) -> bool:
        return is_leaving(self, position_id) and not has_had_its_time(standing(self, position_id).exit)

    patch.setattr(Desk, "standing", impatient)
    patch.setattr(Desk, "is_leaving", leaves)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "plant",
    [
        exit_beside_the_protective_orders,
        forget_that_a_cancel_may_come_too_late,
        sell_a_part_before_the_stop_is_for_the_rest,
        take_any_word_for_the_answer_to_a_change,
        begin_without_asking_the_broker,
        leave_twice_at_once,
        protect_again_without_confirmation,
        follow_a_limit_order_that_still_waits,
    ],
)
def test_a_planted_bug_does_not_survive(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup)):
        through(400, 50, derandomize=True)
