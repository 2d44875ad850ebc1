"""What the runner remembers after a restart."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from fakes.trading import World
from fakes.values import at, make_fill, make_position, make_trade
from openbell.runner import main


async def test_all_round_trips_count_after_a_restart_also_those_that_are_no_longer_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "KEPT_TRADES", 3)
    for number in range(8):
        trade = make_trade(pnl=Decimal("0.10"), exit_time=at(number), strategy="trend" if number % 2 else "cross")
        flat = make_position(quantity=Decimal(0))
        await world.journal.record_fill(make_fill(f"x{number}"), flat, trade)
    still_open = replace(make_position("b"), realized_pnl=Decimal(7), fees=Decimal(2))
    await world.journal.record_fill(make_fill("y", "b"), still_open, None)

    ledger = await main.restored_ledger(world.journal, await world.journal.load(), world.clock)

    assert [trade.exit_time for trade in ledger.trades] == [at(5), at(6), at(7)]
    assert ledger.realized_total() == Decimal("5.80")
    assert (ledger.realized("cross"), ledger.realized("trend")) == (Decimal("0.40"), Decimal("5.40"))


async def test_all_fees_count_after_a_restart(world: World) -> None:
    await world.journal.record_fill(make_fill("x1"), make_position(quantity=Decimal(0)), make_trade(fees=Decimal(2)))
    await world.journal.record_fill(make_fill("x2", "b"), make_position("b", fees=Decimal("1.25")), None)
    ledger = await main.restored_ledger(world.journal, await world.journal.load(), world.clock)
    assert ledger.fees_total() == Decimal("3.25")
