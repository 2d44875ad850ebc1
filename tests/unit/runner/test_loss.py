"""A lost journal: entries wait for a person, whose word is taken once and survives a restart."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from fakes.trading import World
from fakes.values import make_update
from openbell.domain.orders import IntentState, OrderUpdate
from openbell.domain.positions import ExitPolicy
from openbell.journal.recovery import Recovery
from openbell.runner.loss import CONFIRM_ANNOTATION, JournalLoss


def recovery(*orphans: OrderUpdate, unknown: tuple[str, ...] = ()) -> Recovery:
    return Recovery((), (), (), (), orphans, (), (), (), unknown)


@pytest.fixture
def lost(tmp_path: Path) -> JournalLoss:
    loss = JournalLoss(tmp_path)
    loss.look(journal_epoch=0, known_epoch=7)
    return loss


def test_a_journal_that_has_seen_every_epoch_is_not_lost(tmp_path: Path) -> None:
    loss = JournalLoss(tmp_path)
    loss.look(journal_epoch=7, known_epoch=7)
    assert not loss.is_open


def test_a_loss_stays_on_record_when_the_next_leader_raises_the_epoch(lost: JournalLoss, tmp_path: Path) -> None:
    again = JournalLoss(tmp_path)
    again.look(journal_epoch=8, known_epoch=8)
    assert lost.is_open
    assert again.is_open
    assert again.known_epoch == 7


def test_only_the_epoch_of_this_loss_confirms_it(lost: JournalLoss) -> None:
    assert not lost.confirm({})
    assert not lost.confirm({CONFIRM_ANNOTATION: "6"})
    assert lost.is_open
    assert lost.confirm({CONFIRM_ANNOTATION: "7"})
    assert not lost.is_open
    assert not lost.confirm({CONFIRM_ANNOTATION: "7"})


def test_without_a_persons_word_unknown_orders_of_ours_are_accepted_by_nobody(lost: JournalLoss) -> None:
    found = recovery(make_update(IntentState.FILLED, "old"))
    assert lost.without_accepted(found) == found


def test_what_the_broker_names_at_the_first_answer_after_the_confirmation_is_accepted_for_good(
    lost: JournalLoss, tmp_path: Path
) -> None:
    old, new = make_update(IntentState.FILLED, "old"), make_update(IntentState.WORKING, "new")
    lost.confirm({CONFIRM_ANNOTATION: "7"})
    silent = recovery(unknown=("orders: no answer",))
    assert lost.without_accepted(silent) == silent

    assert lost.without_accepted(recovery(old)).is_in_sync
    for loss in (lost, JournalLoss(tmp_path)):
        assert not loss.is_open
        assert loss.without_accepted(recovery(old, new)).orphan_orders == (new,)


async def test_a_change_of_the_exits_counts_for_open_positions(world: World) -> None:
    await world.hold("a")
    (before,) = world.ledger.open_positions()
    closer = replace(before.policy, stop_loss=0.001, take_profit=None)
    world.exits.adopt({"another": ExitPolicy(), before.strategy: closer})
    (after,) = world.ledger.open_positions()
    assert after.policy == closer
    assert after.quantity == before.quantity == Decimal(10)

    world.exits.adopt({})
    assert world.ledger.open_positions() == (after,)
