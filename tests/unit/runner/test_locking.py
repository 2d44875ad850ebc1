"""Locks of a runner: made by closed trades, made and lifted by people, kept across restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fakes.trading import World, scheduler_manifest, strategy_manifest, until
from fakes.values import at, make_fill, make_intent, make_trade, make_update
from openbell.domain.account import Account
from openbell.domain.bars import Bar, BarSeries
from openbell.domain.errors import JournalError
from openbell.domain.limits import LockScope
from openbell.domain.orders import IntentKind, IntentState, Side
from openbell.domain.reasons import ExitReason, Reason
from openbell.domain.signals import Action
from openbell.runner.documents import scheduler_document
from openbell.runner.locking import UNLOCK_ANNOTATION, LockNotFoundError
from openbell.runner.main import restored_ledger

GUARDED: dict[str, Any] = {"risk": {"protections": [{"type": "Cooldown", "cooldown": {"lockSeconds": 60}}]}}


@asynccontextmanager
async def keeping(world: World) -> AsyncIterator[None]:
    working = asyncio.create_task(world.locking.run())
    yield
    working.cancel()


async def leave(world: World, name: str, price: str = "90") -> None:
    """Leave the position of `hold` by its stop."""
    leaving = make_intent(
        f"{name}-x",
        kind=IntentKind.EXIT,
        side=Side.SELL,
        position_id=f"p-{name}",
        reason=ExitReason.STOP_LOSS.value,
    )
    await world.desk.place([leaving])
    await world.desk.on_update(make_update(IntentState.WORKING, f"{name}-x"))
    fill = make_fill(f"x-{name}-x", f"{name}-x", side=Side.SELL, price=Decimal(price), time=world.clock.now())
    await world.desk.on_fill(fill)


async def evaluate(world: World) -> Reason:
    """What becomes of an opinion to buy AAPL, whose bars rise."""
    now = world.clock.now()
    ends = [now - timedelta(minutes=minutes) for minutes in (2, 1, 0)]
    made = [
        Bar("AAPL", end - timedelta(minutes=1), end, close, close, close, close, 1000.0)
        for end, close in zip(ends, (100.0, 101.0, 103.0), strict=True)
    ]
    world.market.series["AAPL", 60] = BarSeries.from_bars("AAPL", 60, made)
    control = world.situation.control
    assert control is not None
    await world.evaluation.run(list(control.entries.values()), world.clock.now())
    return world.signals[-1].reason


async def test_a_closed_trade_makes_a_lock_that_survives_a_restart(world: World, folder: Path) -> None:
    world.take(scheduler_manifest(**GUARDED), strategy_manifest())
    async with keeping(world):
        await world.hold("a")
        await leave(world, "a")
        (lock,) = world.locking.active()
        assert (lock.scope, lock.subject, lock.reason) == (LockScope.SYMBOL, "AAPL", Reason.COOLDOWN)
        assert lock.until == at(60)
        await until(lambda: world.locking._to_do.empty())
        state = await world.journal.load()
        ledger = await restored_ledger(world.journal, state, world.clock)
    assert ledger.locks == {lock.lock_id: lock}


async def test_a_lock_that_could_not_be_written_is_made_again_by_its_trade(world: World) -> None:
    world.take(scheduler_manifest(**GUARDED), strategy_manifest())
    world.ledger.put_trade(make_trade(exit_time=at(-10)))
    world.locking.review()
    (first,) = world.locking.active()
    world.ledger.locks.clear()
    world.locking.review()
    assert world.locking.active() == (first,)


async def test_a_person_locks_and_lifts_and_both_are_kept(world: World) -> None:
    made = await world.locking.add(LockScope.GLOBAL, "", None, "news", by="REST")
    assert world.announced
    assert world.situation.why() == f"openings are locked until it is lifted ({made.lock_id}): news"
    lifted = await world.locking.lift(made.lock_id, by="ada")
    assert (lifted.lifted_by, lifted.lifted_at) == ("ada", at(0))
    assert await world.locking.lift(made.lock_id, by="bob") == lifted
    assert world.locking.active() == ()
    assert await world.journal.locks(at(-60)) == (lifted,)
    with pytest.raises(LockNotFoundError):
        await world.locking.lift("nosuch", by="ada")


async def test_a_lock_that_cannot_be_kept_is_none(world: World) -> None:
    world.journal.is_failing = True
    with pytest.raises(JournalError):
        await world.locking.add(LockScope.GLOBAL, "", 60, "news", by="REST")
    assert world.locking.active() == ()


async def test_the_annotation_lifts_what_it_names_and_nothing_else(world: World) -> None:
    one = await world.locking.add(LockScope.GLOBAL, "", 60, "one", by="REST")
    two = await world.locking.add(LockScope.GLOBAL, "", 60, "two", by="REST")
    async with keeping(world):
        world.take(scheduler_manifest(annotations={UNLOCK_ANNOTATION: f"nosuch, {one.lock_id}"}), strategy_manifest())
        await until(lambda: world.locking.active() == (two,))
    assert world.ledger.locks[one.lock_id].lifted_by == f"annotation {UNLOCK_ANNOTATION}"


async def test_locks_are_in_the_status_and_leave_it_when_they_end(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    made = await world.locking.add(LockScope.SYMBOL, "AAPL", 60, "earnings", by="REST")
    assert scheduler_document(world.situation, pod="", owner_tag="")["locks"] == [
        {
            "id": made.lock_id,
            "scope": "Symbol",
            "subject": "AAPL",
            "reason": "LOCKED",
            "since": "2026-03-02T15:00:00Z",
            "until": "2026-03-02T15:01:00Z",
            "why": "earnings",
            "madeBy": "REST",
        }
    ]
    world.clock.set(at(60))
    assert "locks" not in scheduler_document(world.situation, pod="", owner_tag="")


# the drawdown


def account(equity: int) -> Account:
    return Account("a", "USD", Decimal(equity), Decimal(equity), Decimal(equity))


async def test_a_drawdown_is_shown_as_a_lock_and_lifting_it_counts_the_highest_anew(world: World) -> None:
    world.take(scheduler_manifest(risk={"maxDrawdownFraction": 0.1}), strategy_manifest())
    for equity in (100_000, 120_000, 108_001):
        world.ledger.account = account(equity)
        await world.locking.on_account(world.ledger.account)
    assert world.locking.active() == ()
    world.ledger.account = account(108_000)
    (lock,) = world.locking.active()
    assert (lock.reason, lock.until, lock.scope) == (Reason.DRAWDOWN, None, LockScope.GLOBAL)
    assert world.ledger.peak_equity == 120_000
    await world.locking.lift(lock.lock_id, by="ada")
    assert world.locking.active() == ()
    assert await world.journal.peak() == (Decimal(108_000), at(0))
    world.ledger.account = account(97_200)
    assert len(world.locking.active()) == 1


async def test_a_drawdown_ends_by_itself_when_equity_has_recovered(world: World) -> None:
    world.take(scheduler_manifest(risk={"maxDrawdownFraction": 0.1}), strategy_manifest())
    await world.locking.on_account(account(100_000))
    world.ledger.account = account(90_000)
    assert len(world.locking.active()) == 1
    world.ledger.account = account(90_001)
    assert world.locking.active() == ()


async def test_a_restart_forgets_less_than_a_thousandth_of_the_highest_equity(world: World) -> None:
    for equity in (100_000, 100_050, 100_100, 100_110):
        await world.locking.on_account(account(equity))
    state = await world.journal.load()
    ledger = await restored_ledger(world.journal, state, world.clock)
    assert ledger.peak_equity == 100_100


# in an evaluation


async def test_an_evaluation_heeds_locks_and_says_until_when(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    made = await world.locking.add(LockScope.STRATEGY, "trend", 60, "watching", by="REST")
    assert await evaluate(world) is Reason.LOCKED
    assert world.signals[-1].signal.action is Action.BUY
    assert world.signals[-1].detail == f"lock {made.lock_id}: watching; not before 2026-03-02 15:01:00 UTC"


async def test_an_evaluation_heeds_the_cooldown_of_a_symbol(world: World) -> None:
    world.take(scheduler_manifest(risk={"symbolCooldownSeconds": 60}), strategy_manifest())
    world.ledger.put_trade(make_trade(exit_time=at(-59)))
    assert await evaluate(world) is Reason.SYMBOL_COOLDOWN


async def test_an_evaluation_heeds_orders_to_the_other_side_and_a_strategys_own_rate(world: World) -> None:
    spec = {"oppositeOrderSeconds": 60}
    world.take(scheduler_manifest(risk=spec), strategy_manifest())
    await world.hold("a")
    await leave(world, "a")
    assert await evaluate(world) is Reason.OPPOSITE_ORDER
    world.take(scheduler_manifest(generation=2, risk={"maxStrategyOrdersPerMinute": 2}), strategy_manifest())
    assert await evaluate(world) is Reason.STRATEGY_ORDER_RATE
    world.take(scheduler_manifest(generation=3, risk={"maxRoundTripsPerDay": 1}), strategy_manifest())
    assert await evaluate(world) is Reason.MAX_ROUND_TRIPS


async def test_an_evaluation_heeds_exposure_with_what_other_strategies_hold(world: World) -> None:
    world.take(scheduler_manifest(risk={"maxGrossExposure": 0.05}), strategy_manifest())
    await world.hold("m", strategy="other", symbol="MSFT", quantity=10)
    assert await evaluate(world) is Reason.MAX_GROSS_EXPOSURE
