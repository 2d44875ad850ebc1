"""What risk keeps in the journal: locks, the highest equity, margin deficits."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from fakes.values import T0, at, make_fill, make_intent, make_position
from openbell.domain.errors import JournalError
from openbell.domain.limits import LockScope
from openbell.domain.reasons import Reason
from openbell.journal import Journal
from openbell.risk.intraday_margin import Deficit
from openbell.risk.locks import Lock, lift
from openbell.risk.settlement import CashMovement

LOCK = Lock("k1", LockScope.SYMBOL, "AAPL", Reason.COOLDOWN, "AAPL was left", T0, at(60), "Cooldown#0")


async def test_a_lock_is_read_back_as_it_was_until_it_has_ended(journal: Journal) -> None:
    endless = Lock("k2", LockScope.GLOBAL, "", Reason.LOCKED, "news", at(1), None, "REST")
    await journal.save_locks([LOCK, endless])
    assert await journal.locks(at(60)) == (LOCK, endless)
    assert await journal.locks(at(61)) == (endless,)


async def test_locks_come_oldest_first_and_those_of_a_time_by_their_names(journal: Journal) -> None:
    await journal.save_locks([replace(LOCK, lock_id=name, since=at(t)) for name, t in (("a", 2), ("c", 1), ("b", 1))])
    assert [lock.lock_id for lock in await journal.locks(T0)] == ["b", "c", "a"]


async def test_of_two_locks_the_one_that_was_lifted_is(journal: Journal) -> None:
    other = replace(LOCK, lock_id="k2", subject="MSFT")
    lifted = lift(LOCK, by="ada", at=at(5))
    await journal.save_locks([LOCK, other])
    await journal.save_locks([lifted])
    assert await journal.locks(T0) == (lifted, other)


async def test_who_lifted_a_lock_first_stays_and_it_is_remembered_for_a_while(journal: Journal) -> None:
    await journal.save_locks([LOCK])
    lifted = lift(LOCK, by="ada", at=at(5))
    await journal.save_locks([lifted])
    await journal.save_locks([replace(LOCK, lifted_by="bob", lifted_at=at(6)), LOCK])
    assert await journal.locks(at(5)) == (lifted,)
    assert await journal.locks(at(6)) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": LockScope.GLOBAL},
        {"subject": ""},
        {"until": T0},
        {"made_by": ""},
        {"lifted_by": "nobody"},
    ],
)
async def test_an_impossible_lock_is_refused(journal: Journal, changes: dict[str, Any]) -> None:
    with pytest.raises(JournalError):
        await journal.save_locks([replace(LOCK, **changes)])
    assert await journal.locks(T0) == ()


async def test_there_is_one_highest_equity(journal: Journal) -> None:
    assert await journal.peak() is None
    await journal.save_peak(Decimal("100000.10"), T0)
    await journal.save_peak(Decimal("99"), at(5))
    assert await journal.peak() == (Decimal(99), at(5))


async def test_a_days_deficit_can_become_larger_and_be_satisfied(journal: Journal) -> None:
    deficit = Deficit(date(2026, 7, 6), Decimal(1500), Decimal(9000))
    await journal.save_deficit(deficit)
    satisfied = replace(deficit, amount=Decimal(2000), satisfied_on=date(2026, 7, 8))
    await journal.save_deficit(satisfied)
    assert await journal.deficits(date(2026, 7, 6)) == (satisfied,)
    assert await journal.deficits(date(2026, 7, 7)) == ()


async def test_deficits_are_read_oldest_first_whenever_they_were_written(journal: Journal) -> None:
    days = [Deficit(date(2026, 7, day), Decimal(day), Decimal(9000)) for day in (7, 8, 6)]
    for each in days:
        await journal.save_deficit(each)
    assert [each.day.day for each in await journal.deficits(date(2026, 7, 1))] == [6, 7, 8]


async def test_what_moves_cash_is_kept_in_its_order_and_the_first_word_of_a_time_stays(journal: Journal) -> None:
    later, opening = CashMovement(at(5), Decimal("-0.5")), CashMovement(at(-5), Decimal(10_000))
    sale = CashMovement(at(1), Decimal(900), date(2026, 3, 3))
    for each in (later, opening, sale, replace(sale, amount=Decimal(1))):
        await journal.save_cash_movement(each)
    assert await journal.cash_movements() == (opening, sale, later)


async def test_fills_are_read_from_a_time_on(journal: Journal) -> None:
    await journal.begin_epoch(1)
    await journal.commit_intents([make_intent()])
    for number in range(2):
        fill = make_fill(f"x{number}", quantity=Decimal(5), time=at(9 - number))
        await journal.record_fill(fill, make_position(quantity=Decimal(5 * (number + 1))), None)
    assert [fill.execution_id for fill in await journal.fills(at(8))] == ["x1", "x0"]
    assert [fill.execution_id for fill in await journal.fills(at(9))] == ["x0"]
