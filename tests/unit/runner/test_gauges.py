"""What the gauges show of a runner: locks, drawdown, settled money, protection, and NaN for what is not known."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

from fakes.trading import World, scheduler_manifest, strategy_manifest
from fakes.values import T0, at
from openbell.domain.account import Account
from openbell.domain.limits import LockScope
from openbell.domain.orders import IntentState, OrderType, OrderUpdate
from openbell.domain.policies import encode_policy
from openbell.domain.positions import ExitPolicy
from openbell.risk.settlement import SettlementLedger
from openbell.runner.gauges import tell_gauges


def told(world: World, name: str, labels: dict[str, str] | None = None) -> float:
    """A gauge after it was set anew."""
    tell_gauges(world.metrics, world.situation, world.locking, world.clock.now())
    value = world.metrics.registry.get_sample_value(f"openbell_{name}", labels or {})
    assert value is not None
    return value


async def test_locks_are_counted_by_scope_until_they_are_lifted(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    kept = await world.locking.add(LockScope.SYMBOL, "AAPL", None, "news", "ada")
    await world.locking.add(LockScope.SYMBOL, "IBM", 60, "news", "ada")
    assert told(world, "locks", {"scope": "Symbol"}) == 2
    assert told(world, "locks", {"scope": "Global"}) == 0
    await world.locking.lift(kept.lock_id, "ada")
    assert told(world, "locks", {"scope": "Symbol"}) == 1


async def test_the_drawdown_is_the_fall_from_the_highest_equity_and_unknown_before_there_is_one(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    world.ledger.account = account = Account("T", "USD", *(Decimal(1000),) * 3)
    world.ledger.peak_equity = None
    assert math.isnan(told(world, "drawdown_ratio"))
    world.ledger.peak_equity = account.equity
    assert told(world, "drawdown_ratio") == 0
    world.ledger.account = replace(account, equity=account.equity * Decimal("0.95"))
    assert told(world, "drawdown_ratio") == 0.05
    world.ledger.account = replace(account, equity=account.equity * 2)
    assert told(world, "drawdown_ratio") == 0, "a new highest that is not written down yet"
    world.ledger.account = None
    assert math.isnan(told(world, "drawdown_ratio"))


async def test_settled_cash_is_the_smaller_figure_and_that_of_cash_accounts_alone(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    world.ledger.account = account = Account("T", "USD", *(Decimal(1000),) * 3)
    assert math.isnan(told(world, "settled_cash"))
    world.ledger.settlement = SettlementLedger(Decimal(900))
    assert told(world, "settled_cash") == 900
    world.ledger.account = replace(account, settled_cash=Decimal(850))
    assert told(world, "settled_cash") == 850


async def test_positions_count_as_protected_once_the_broker_has_their_stop(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    world.comparison.is_certain = True
    await world.hold("a", exits=encode_policy(ExitPolicy(broker_side=True)))
    world.broker.says(AAPL=10)
    await world.exits.check()
    assert (told(world, "open_positions"), told(world, "protected_positions")) == (1, 0)
    stop = next(each for each in world.broker.sent if each.order_type is OrderType.STOP)
    await world.desk.on_update(OrderUpdate(stop.order_ref, IntentState.WORKING, "b", terms=stop.terms))
    assert (told(world, "open_positions"), told(world, "protected_positions")) == (1, 1)


async def test_the_age_of_data_counts_from_the_newest(world: World) -> None:
    world.take(scheduler_manifest(), strategy_manifest())
    world.situation.data.newest = T0
    world.clock.set(at(5))
    assert told(world, "data_age_seconds") == 5
