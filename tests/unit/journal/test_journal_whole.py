"""What holds of every operation of the journal: its sentence when it fails, and the points where it may be killed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from fakes.values import T0, at, make_fill, make_intent, make_position, make_trade, make_update
from openbell.domain.answers import ConfirmedEmpty
from openbell.domain.clock import SimulatedClock
from openbell.domain.errors import JournalError
from openbell.domain.orders import IntentKind, IntentState, Side
from openbell.domain.statistics import Statistics
from openbell.journal import Journal, killpoints
from openbell.journal.killpoints import JOURNAL_POINTS
from openbell.risk.intraday_margin import Deficit
from openbell.risk.settlement import CashMovement

DAY = date(2026, 3, 2)
ONE = Decimal(1)
NONE = ConfirmedEmpty()

OPERATIONS: dict[str, Callable[[Journal], Awaitable[object]]] = {
    "reading its identity": lambda journal: journal.identity(),
    "writing its owner": lambda journal: journal.adopt_owner("u"),
    "writing its client id": lambda journal: journal.adopt_gateway_client(7),
    "writing order ids": lambda journal: journal.use_order_ids(100),
    "writing its epoch": lambda journal: journal.begin_epoch(1),
    "writing intents": lambda journal: journal.commit_intents([make_intent()], statistics=Statistics()),
    "writing an order update": lambda journal: journal.record_update(make_update(IntentState.WORKING)),
    "writing a fill": lambda journal: journal.record_fill(make_fill(), make_position(), None),
    "writing an adjustment": lambda journal: journal.adjust_position("a", make_position()),
    "writing a split": lambda journal: journal.split_intents("AAPL", ONE),
    "writing a change of terms": lambda journal: journal.amend_intent(make_intent()),
    "writing positions": lambda journal: journal.save_positions([make_position()]),
    "writing statistics": lambda journal: journal.save_statistics(Statistics()),
    "writing parameters": lambda journal: journal.remember_parameters("trend", "momentum", {}),
    "writing a day's equity": lambda journal: journal.remember_day_start(DAY, ONE),
    "writing locks": lambda journal: journal.save_locks([]),
    "writing the highest equity": lambda journal: journal.save_peak(ONE, T0),
    "writing a cash movement": lambda journal: journal.save_cash_movement(CashMovement(T0, ONE)),
    "writing a margin deficit": lambda journal: journal.save_deficit(Deficit(DAY, ONE, ONE)),
    "reading its state": lambda journal: journal.load(),
    "reading an intent": lambda journal: journal.record("a"),
    "reading a position": lambda journal: journal.position("p"),
    "reading orders": lambda journal: journal.orders(1),
    "reading trades": lambda journal: journal.trades(1),
    "reading lots": lambda journal: journal.bookings(T0),
    "reading locks": lambda journal: journal.locks(T0),
    "reading the highest equity": lambda journal: journal.peak(),
    "reading cash movements": lambda journal: journal.cash_movements(),
    "reading margin deficits": lambda journal: journal.deficits(DAY),
    "reading order times": lambda journal: journal.order_times(T0),
    "comparing with the broker": lambda journal: journal.compare(NONE, NONE, NONE),
}
PROFITS = (Journal.round_trips, lambda journal: journal.realized_pnl(T0))
FILLS = (lambda journal: journal.fills(T0), lambda journal: journal.known_fill_ids(T0))


def test_a_closed_journal_says_what_it_was_asked_for(journal: Journal) -> None:
    journal.close()
    asked = [*OPERATIONS.items()]
    asked += [("reading profits", each) for each in PROFITS] + [("reading fills", each) for each in FILLS]
    for doing, operation in asked:
        with pytest.raises(JournalError) as refused:
            asyncio.run(operation(journal))  # type: ignore[arg-type]
        assert str(refused.value) == f"the journal failed while {doing}: it is closed"


class EveryName:
    """A kill point that is none: it notes which ones are passed."""

    def __init__(self) -> None:
        self.passed: list[str] = []

    def __ne__(self, other: object) -> bool:
        self.passed.append(str(other))
        return True


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> EveryName:
    names = EveryName()
    monkeypatch.setattr(killpoints, "_armed", SimpleNamespace(name=names, remaining=0))
    return names


async def test_every_operation_passes_its_kill_points_in_their_order(tmp_path: Path, points: EveryName) -> None:
    journal = Journal.open(tmp_path, clock=SimulatedClock(T0))
    for doing in ("epoch", "owner", "intents", "an order update", "a fill", "a change of terms", "positions"):
        await OPERATIONS[f"writing {doing}" if f"writing {doing}" in OPERATIONS else f"writing its {doing}"](journal)
    await journal.save_statistics(Statistics())
    journal.close()
    saved = "journal.statistics.written"  # the counters of the intents go into their commit
    written = JOURNAL_POINTS.index("journal.intents.written")
    assert points.passed == [*JOURNAL_POINTS[:written], saved, *JOURNAL_POINTS[written:]]


async def test_what_changes_nothing_writes_nothing(tmp_path: Path, points: EveryName) -> None:
    journal = Journal.open(tmp_path, clock=SimulatedClock(T0))
    await journal.record_fill(make_fill(), make_position(), None)
    await journal.adopt_owner("u")
    points.passed.clear()
    await journal.record_update(make_update(IntentState.WORKING, "unknown"))
    await journal.record_fill(make_fill(), make_position(), None)
    await journal.adopt_owner("another")
    await journal.identity()
    journal.close()
    assert points.passed == [
        "journal.update.committed",
        "journal.fill.begun",
        "journal.fill.committed",
        "journal.owner.committed",
    ]


# what all round trips and lots come to


async def test_round_trips_add_up_by_strategy(journal: Journal) -> None:
    trips = [
        make_trade("a", pnl=Decimal("0.10"), fees=Decimal("1.01")),
        make_trade("b", pnl=Decimal("0.20"), fees=Decimal("1.02")),
        make_trade("c", strategy="other", pnl=Decimal(-5), fees=Decimal(1)),
    ]
    for number, trip in enumerate(trips):
        await journal.record_fill(make_fill(f"x{number}"), make_position(), trip)
    found = await journal.round_trips()
    assert {name: (each.pnl, each.fees) for name, each in found.items()} == {
        "trend": (Decimal("0.30"), Decimal("2.03")),
        "other": (-5, 1),
    }


async def test_lots_are_made_of_what_is_open_and_of_what_was_booked_since(
    journal: Journal, clock: SimulatedClock
) -> None:
    flat = make_position("old", quantity=Decimal(0), realized_pnl=Decimal(9))
    old = make_fill("x0", "old", commission=Decimal(0))
    await journal.record_fill(old, make_position("old"), None)
    sold = make_fill("x1", "old", time=T0)
    await journal.record_fill(sold, flat, None)
    await journal.record_fill(make_fill("x2", "held"), make_position("held"), None)
    clock.set(at(60))
    await journal.adjust_position("split", make_position("held", quantity=Decimal(20)), ratio=Decimal(2))
    gone = make_position("held", quantity=Decimal(0), realized_pnl=Decimal(-3))
    since = at(120)
    clock.set(since)
    held = await journal.bookings(since)
    assert held.realized == 0
    assert [type(event).__name__ for event in held.histories["p-held"]] == ["Fill", "ShareSplit"]
    assert set(held.histories) == {"p-held"}
    await journal.adjust_position("gone", gone)
    booked = await journal.bookings(since)
    assert booked.realized == -3
    fill, split, left = booked.histories["p-held"]
    assert fill == make_fill("x2", "held")
    assert (split.time, getattr(split, "ratio", None)) == (at(60), 2)
    assert (left.time, getattr(left, "realized", None)) == (since, -3)
    assert (await journal.bookings(at(121))).histories == {}
    assert set((await journal.bookings(T0)).histories) == {"p-old", "p-held"}


async def test_a_position_that_is_opened_anew_counts_its_profit_from_nothing(journal: Journal) -> None:
    await journal.begin_epoch(1)
    await journal.commit_intents([make_intent("a")])
    await journal.record_fill(
        make_fill("x1", "exit"), make_position(quantity=Decimal(0), realized_pnl=Decimal(50)), None
    )
    await journal.record_fill(make_fill("x2", "a"), make_position(), None)
    assert await journal.realized_pnl(T0) == 50 - 2  # the fees of both


@pytest.mark.parametrize("kind", [IntentKind.EXIT, IntentKind.PROTECTIVE, None])
async def test_a_late_fill_of_whatever_left_a_position_counts_its_profit_too(
    journal: Journal, kind: IntentKind | None
) -> None:
    await journal.begin_epoch(1)
    if kind is not None:
        await journal.commit_intents([make_intent("a", kind=kind)])
    flat = make_position(quantity=Decimal(0), realized_pnl=Decimal(50))
    await journal.record_fill(make_fill("x1", "a"), flat, None)
    await journal.record_fill(make_fill("x2", "a"), replace(flat, realized_pnl=Decimal(70)), None)
    assert await journal.realized_pnl(T0) == 70 - 2


async def test_an_entry_that_reduces_an_open_position_counts_what_it_made(journal: Journal) -> None:
    await journal.begin_epoch(1)
    await journal.record_fill(make_fill("x1", "before"), make_position(realized_pnl=Decimal(5)), None)
    await journal.commit_intents([make_intent("a", side=Side.SELL)])
    less = make_position(quantity=Decimal(6), realized_pnl=Decimal(25))
    await journal.record_fill(make_fill("x2", "a", side=Side.SELL, quantity=Decimal(4)), less, None)
    assert await journal.realized_pnl(T0) == 25 - 2


async def test_numbers_of_positions_go_with_the_intents_and_never_go_back(journal: Journal) -> None:
    await journal.begin_epoch(1)
    known = make_position(exit_sequence=3, protection_revision=4)
    await journal.record_fill(make_fill(), known, None)
    later = replace(known, exit_sequence=5, protection_revision=2, best_price=Decimal(999))
    await journal.commit_intents([make_intent("b")], positions=[later, make_position("unknown")])
    stored = await journal.position("p-a")
    assert stored == replace(known, exit_sequence=5, protection_revision=4)
    assert await journal.position("p-unknown") is None
    behind = replace(known, exit_sequence=1, protection_revision=1)
    await journal.record_fill(make_fill("x2", commission=Decimal(0)), behind, None)
    stored = await journal.position("p-a")
    assert stored is not None
    assert (stored.exit_sequence, stored.protection_revision) == (5, 4)


async def test_the_first_equity_of_each_day_is_its_own(journal: Journal, tmp_path: Path) -> None:
    assert await journal.remember_day_start(DAY, Decimal("100.50")) == Decimal("100.50")
    journal.close()
    raw = sqlite3.connect(tmp_path / "journal.db")
    assert raw.execute("SELECT day, equity FROM day_starts").fetchall() == [("2026-03-02", "100.50")]
    raw.close()
