"""What the journal promises, one operation at a time."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

import pytest
from sqlalchemy import Connection

from fakes.values import OWNER, T0, at, make_fill, make_intent, make_position, make_trade, make_update, ref
from openbell.domain.answers import Unknown, Value
from openbell.domain.clock import SimulatedClock
from openbell.domain.errors import JournalError, JournalLockedError, StaleEpochError
from openbell.domain.identity import exit_ref, owner_tag
from openbell.domain.orders import IntentKind, IntentState, OrderTerms, OrderType, OrderUpdate, Side, TimeInForce
from openbell.domain.positions import ExitPolicy, TrailingStop
from openbell.domain.reasons import Reason
from openbell.domain.statistics import Counters, Statistics
from openbell.engine.lots import Gone
from openbell.journal import IntentRecord, Journal, JournalIdentity, StoredParameters, rows, schema
from openbell.journal import journal as journal_module
from openbell.journal.columns import from_micros, to_micros
from openbell.journal.database import connect, prepare


def reopen(journal: Journal, folder: Path) -> Journal:
    journal.close()
    return Journal.open(folder, clock=SimulatedClock(T0))


# opening


def test_a_second_opener_is_told_who_holds_the_folder(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(JournalLockedError, match=f"locked by another process \\(id {os.getpid()}\\)"):
        Journal.open(tmp_path, clock=SimulatedClock(T0))


def test_the_folder_is_locked_before_the_database_is_touched(tmp_path: Path) -> None:
    script = (
        "import fcntl, os, sys\n"
        f"fd = os.open({str(tmp_path / 'lock')!r}, os.O_RDWR | os.O_CREAT)\n"
        "fcntl.flock(fd, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(JournalLockedError):
            Journal.open(tmp_path, clock=SimulatedClock(T0))
        assert not (tmp_path / "journal.db").exists()
        holder.communicate("")
    Journal.open(tmp_path, clock=SimulatedClock(T0)).close()


def test_a_closed_journal_lets_the_folder_go_and_refuses_work(journal: Journal, tmp_path: Path) -> None:
    again = reopen(journal, tmp_path)
    again.close()
    again.close()
    with pytest.raises(JournalError, match="it is closed"):
        asyncio.run(again.identity())


def test_commits_are_durable_and_readers_do_not_block(tmp_path: Path) -> None:
    connection = connect(tmp_path / "journal.db")
    settings = {
        name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
        for name in ("journal_mode", "synchronous", "busy_timeout")
    }
    connection.close()
    connection.engine.dispose()
    assert settings == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 5000}


@pytest.mark.parametrize(
    ("version", "why"), [(0, "the first one is 1"), (schema.SCHEMA_VERSION + 1, f"newer than {schema.SCHEMA_VERSION}")]
)
def test_an_impossible_and_a_newer_schema_version_are_refused(
    journal: Journal, tmp_path: Path, version: int, why: str
) -> None:
    journal.close()
    with sqlite3.connect(tmp_path / "journal.db") as raw:
        raw.execute("UPDATE journal SET schema_version = ?", (version,))
    raw.close()
    with pytest.raises(JournalError, match=f"schema version is {version}, .*{why}"):
        Journal.open(tmp_path, clock=SimulatedClock(T0))


def test_the_sentence_of_a_version_that_cannot_be_read_says_what_to_do(journal: Journal, tmp_path: Path) -> None:
    journal.close()
    newer = schema.SCHEMA_VERSION + 1
    sentences = {
        newer: f"the journal's schema version is {newer}, newer than {schema.SCHEMA_VERSION}, "
        "which this version of Openbell reads; run the newer Openbell",
        0: "the journal's schema version is 0, but the first one is 1: the file is damaged",
    }
    for version, sentence in sentences.items():
        with sqlite3.connect(tmp_path / "journal.db") as raw:
            raw.execute("UPDATE journal SET schema_version = ?", (version,))
        raw.close()
        with pytest.raises(JournalError) as refused:
            Journal.open(tmp_path, clock=SimulatedClock(T0))
        assert str(refused.value) == sentence


def test_a_new_file_says_its_version_when_it_was_made_and_that_nobody_has_written(tmp_path: Path) -> None:
    Journal.open(tmp_path, clock=SimulatedClock(T0)).close()
    with sqlite3.connect(tmp_path / "journal.db") as raw:
        found = raw.execute("SELECT id, owner_tag, epoch, schema_version, created_at FROM journal").fetchall()
    raw.close()
    assert found == [(1, None, 0, schema.SCHEMA_VERSION, to_micros(T0))]


def test_a_journal_is_opened_with_its_reserve_and_the_mark_of_what_was_not_written(tmp_path: Path) -> None:
    first = Journal.open(tmp_path, clock=SimulatedClock(T0))
    assert not first.unwritten.is_inherited
    assert {path.name for path in tmp_path.iterdir()} >= {"journal.db", "lock", "reserve", "unwritten"}
    first.unwritten.set()
    again = reopen(first, tmp_path)
    assert again.unwritten.is_inherited
    again.close()


def test_what_holds_the_file_up_gets_the_reserve_and_is_tried_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def refuse_once(connection: Connection, path: Path, now: datetime) -> None:
        asked.append((tmp_path / "reserve").exists())
        if len(asked) == 1:
            raise JournalError("database or disk is full")
        prepare(connection, path, now)

    (tmp_path / "reserve").write_bytes(b"room")
    monkeypatch.setattr(journal_module, "prepare", refuse_once)
    Journal.open(tmp_path, clock=SimulatedClock(T0)).close()
    assert asked == [True, False]
    assert (tmp_path / "reserve").stat().st_size > 4, "it is kept anew"


def test_without_a_reserve_the_first_refusal_is_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise JournalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(journal_module, "prepare", refuse)
        with pytest.raises(JournalError, match=r"^database or disk is full$"):
            Journal.open(tmp_path, clock=SimulatedClock(T0))
    Journal.open(tmp_path, clock=SimulatedClock(T0)).close()  # the folder was let go


def test_a_file_that_is_no_journal_is_refused_and_the_folder_let_go(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"not a database, but long enough to be looked at as one" * 20)
    with pytest.raises(JournalError, match=r"^the journal failed while opening: file is not a database$"):
        Journal.open(tmp_path, clock=SimulatedClock(T0))
    path.unlink()
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE other (x)")
    raw.close()
    with pytest.raises(JournalError, match=r"^the file journal\.db is not a journal of Openbell: it has other tables$"):
        Journal.open(tmp_path, clock=SimulatedClock(T0))
    path.unlink()
    Journal.open(tmp_path, clock=SimulatedClock(T0)).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="file/journal cannot be used"):
        Journal.open(tmp_path / "file" / "journal", clock=SimulatedClock(T0))


# who writes


async def test_the_owner_is_adopted_once(journal: Journal, tmp_path: Path) -> None:
    assert await journal.identity() == JournalIdentity(None, 0)
    tag = await journal.adopt_owner("uid-1")
    assert tag == owner_tag("uid-1")
    assert await journal.adopt_owner("uid-2") == tag
    again = reopen(journal, tmp_path)
    assert (await again.identity()).owner_tag == tag
    assert (await again.load()).owner_tag == tag
    again.close()


async def test_an_epoch_only_ever_rises(journal: Journal, tmp_path: Path) -> None:
    await journal.begin_epoch(3)
    for stale in (1, 2, 3):
        with pytest.raises(StaleEpochError, match=f"^epoch {stale} is not higher than 3, which the journal has seen$"):
            await journal.begin_epoch(stale)
    await journal.begin_epoch(4)
    again = reopen(journal, tmp_path)
    assert (await again.identity()).epoch == 4
    again.close()


@pytest.mark.parametrize("epoch", [1, 3])
async def test_intents_of_another_epoch_are_refused_whole(journal: Journal, epoch: int) -> None:
    await journal.begin_epoch(2)
    with pytest.raises(StaleEpochError, match=f"^intent {ref('b')} carries epoch {epoch}, but the journal's is 2$"):
        await journal.commit_intents([make_intent("a", epoch=2), make_intent("b", epoch=epoch)])
    assert await journal.orders(9) == ()


# intents


async def test_an_intent_is_read_back_as_it_was_written(journal: Journal, tmp_path: Path) -> None:
    await journal.begin_epoch(1)
    intents = [
        make_intent("m", created_at=datetime(2026, 3, 2, 15, 0, 0, 123457, tzinfo=UTC), quantity=Decimal("10.500")),
        make_intent(
            "l",
            kind=IntentKind.EXIT,
            side=Side.SELL,
            order_type=OrderType.LIMIT,
            limit_price=Decimal("100.0100"),
            time_in_force=TimeInForce.IOC,
            exits='{"stopLoss":0.02}',
            confidence=0.1 + 0.2,
            created_at=at(1),
        ),
        make_intent("s", order_type=OrderType.STOP, stop_price=Decimal("1E+2"), created_at=at(2)),
    ]
    await journal.commit_intents(intents)
    again = reopen(journal, tmp_path)
    stored = (await again.load()).open_intents
    assert [record.intent for record in stored] == intents
    nothing = Decimal(0)
    assert stored[0] == IntentRecord(intents[0], IntentState.INTENDED, nothing, nothing, nothing, "", "", T0)
    assert stored[0].intent.quantity.as_tuple() == Decimal("10.500").as_tuple()
    assert await again.record(ref("l")) == stored[1]
    assert await again.record(ref("none")) is None
    again.close()


async def test_an_intent_is_new_only_once_and_keeps_its_first_content(journal: Journal) -> None:
    await journal.begin_epoch(1)
    assert await journal.commit_intents([make_intent("a"), make_intent("a", reason="again")]) == {ref("a")}
    assert await journal.commit_intents([make_intent("a", reason="later"), make_intent("b")]) == {ref("b")}
    assert await journal.commit_intents([]) == frozenset()
    record = await journal.record(ref("a"))
    assert record is not None
    assert record.intent.reason == "rising"


async def test_a_tick_is_written_whole_or_not_at_all(journal: Journal) -> None:
    await journal.begin_epoch(1)
    with pytest.raises(JournalError, match="quantity_number"):
        await journal.commit_intents([make_intent("a"), make_intent("b", quantity=Decimal(0))])
    assert await journal.orders(9) == ()
    assert await journal.commit_intents([make_intent("a")]) == {ref("a")}


async def test_a_large_tick_is_one_commit(journal: Journal) -> None:
    await journal.begin_epoch(1)
    many = [make_intent(f"n{number}") for number in range(1200)]
    assert len(await journal.commit_intents(many)) == 1200
    assert await journal.commit_intents(many) == frozenset()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"quantity": Decimal(-1)}, "quantity_number"),
        ({"quantity": Decimal("NaN")}, "not a finite number"),
        ({"order_type": OrderType.LIMIT}, "limit_has_price"),
        ({"limit_price": Decimal(1)}, "limit_has_price"),
        ({"order_type": OrderType.STOP}, "stop_has_price"),
        ({"stop_price": Decimal(1)}, "stop_has_price"),
        ({"confidence": 1.01}, "confidence_range"),
        ({"confidence": -0.01}, "confidence_range"),
        ({"symbol": ""}, "names_given"),
        ({"strategy": ""}, "names_given"),
        ({"position_id": ""}, "names_given"),
        ({"order_ref": "x" * 33}, "order_ref_length"),
        ({"order_ref": ""}, "order_ref_length"),
        ({"bar_time": datetime(2026, 3, 2)}, "offset-naive"),  # noqa: DTZ001 - the point of the test
        ({"reference_price": Decimal(-1)}, "reference_price_number"),
    ],
)
async def test_an_illegal_intent_cannot_be_written(journal: Journal, changes: dict[str, object], named: str) -> None:
    await journal.begin_epoch(1)
    with pytest.raises(JournalError, match=named):
        await journal.commit_intents([make_intent("a", **changes)])
    assert await journal.orders(9) == ()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE intents SET kind = 'Other'",
        "UPDATE intents SET side = 'Hold'",
        "UPDATE intents SET state = 'Lost'",
        "UPDATE intents SET time_in_force = 'FOK'",
        "UPDATE intents SET epoch = 0",
        "UPDATE intents SET is_open = 0",
        "UPDATE intents SET is_open = 2",
        "UPDATE intents SET filled = '-1'",
        "UPDATE intents SET filled = 'many'",
        "UPDATE intents SET filled = '1e3'",
        "UPDATE intents SET created_at = 'yesterday'",
        "UPDATE journal SET epoch = -1",
        "UPDATE journal SET owner_tag = 'short'",
        "INSERT INTO journal SELECT 2, schema_version, owner_tag, epoch, created_at FROM journal",
        "UPDATE positions SET is_open = 0",
        "UPDATE positions SET exit_sequence = -1",
        "UPDATE positions SET average_price = '-1'",
        "UPDATE fills SET quantity = '0'",
        "UPDATE fills SET execution_id = ''",
        "UPDATE trades SET quantity = '0'",
        "INSERT INTO statistics VALUES (2, '{}')",
        "INSERT INTO statistics VALUES (1, 'no json')",
        "INSERT INTO day_starts VALUES ('today', '1')",
    ],
)
async def test_an_illegal_row_cannot_be_written_past_the_code(journal: Journal, tmp_path: Path, statement: str) -> None:
    await journal.begin_epoch(1)
    await journal.commit_intents([make_intent("a")])
    await journal.record_fill(make_fill(), make_position(), make_trade())
    await journal.commit_intents([make_intent("b")])
    raw = sqlite3.connect(tmp_path / "journal.db")
    with pytest.raises(sqlite3.IntegrityError):
        raw.execute(statement)
    raw.close()


# order updates


async def put(journal: Journal, *states: IntentState) -> IntentState | None:
    await journal.begin_epoch((await journal.identity()).epoch + 1)
    await journal.commit_intents([make_intent("a", epoch=(await journal.identity()).epoch)])
    told = None
    for state in states:
        told = await journal.record_update(make_update(state))
    return told


async def test_an_update_without_an_intent_changes_nothing(journal: Journal) -> None:
    assert await journal.record_update(make_update(IntentState.WORKING, "unknown")) is None
    assert await journal.orders(9) == ()


async def test_an_update_is_kept_with_what_the_broker_said(
    journal: Journal, clock: SimulatedClock, tmp_path: Path
) -> None:
    await put(journal)
    clock.set(at(5))
    update = make_update(IntentState.WORKING, filled_quantity=Decimal(4), detail="accepted", broker_order_id="17")
    assert await journal.record_update(update) is IntentState.WORKING
    clock.set(at(6))
    await journal.record_update(replace(update, broker_order_id="", detail="", filled_quantity=Decimal(0)))
    again = reopen(journal, tmp_path)
    record = await again.record(ref("a"))
    assert record is not None
    assert (record.broker_order_id, record.detail, record.reported) == ("17", "accepted", Decimal(4))
    assert record.filled == 0
    assert record.updated_at == at(5)
    again.close()


async def test_a_final_intent_whose_fills_are_missing_stays_open(journal: Journal) -> None:
    await put(journal, IntentState.FILLED)
    assert [record.state for record in (await journal.load()).open_intents] == [IntentState.FILLED]
    await journal.record_fill(make_fill(quantity=Decimal(9)), make_position(quantity=Decimal(9)), None)
    assert len((await journal.load()).open_intents) == 1
    await journal.record_fill(make_fill("x2", quantity=Decimal(1)), make_position(), None)
    assert (await journal.load()).open_intents == ()


async def test_a_cancelled_intent_waits_for_the_fills_that_the_broker_named(journal: Journal) -> None:
    await put(journal)
    await journal.record_update(make_update(IntentState.CANCELLED, filled_quantity=Decimal(3)))
    assert len((await journal.load()).open_intents) == 1
    await journal.record_fill(make_fill(quantity=Decimal(3)), make_position(quantity=Decimal(3)), None)
    assert (await journal.load()).open_intents == ()


async def test_a_rejected_intent_is_over(journal: Journal) -> None:
    await put(journal, IntentState.REJECTED)
    assert (await journal.load()).open_intents == ()


# fills


async def test_a_fill_is_booked_once(journal: Journal) -> None:
    await put(journal)
    assert await journal.record_fill(make_fill(), make_position(), None) is True
    changed = make_position(quantity=Decimal(20))
    counted = Statistics(total=Counters(trades_executed=2))
    assert await journal.record_fill(make_fill(), changed, make_trade(), statistics=counted) is False
    state = await journal.load()
    assert state.positions == (make_position(),)
    assert state.fills_today == (make_fill(),)
    assert state.statistics == Statistics()
    assert await journal.trades(9) == ()
    record = await journal.record(ref("a"))
    assert record is not None
    assert (record.state, record.filled) == (IntentState.FILLED, Decimal(10))


async def test_fills_add_up_to_quantity_and_average_price(journal: Journal) -> None:
    await put(journal)
    first, second = make_fill("x1", quantity=Decimal(4)), make_fill("x2", quantity=Decimal(6), price=Decimal(105))
    await journal.record_fill(first, make_position(quantity=Decimal(4)), None)
    record = await journal.record(ref("a"))
    assert record is not None
    assert (record.state, record.filled, record.reported) == (IntentState.WORKING, Decimal(4), Decimal(4))
    await journal.record_fill(second, make_position(average_price=Decimal(103)), None)
    record = await journal.record(ref("a"))
    assert record is not None
    assert (record.state, record.filled, record.average_price) == (IntentState.FILLED, Decimal(10), Decimal(103))


async def test_a_fill_position_trade_and_counters_are_one_commit(journal: Journal, tmp_path: Path) -> None:
    policy = ExitPolicy(0.01, None, TrailingStop(0.02, 0.01), 60, 300)
    opened = make_position(policy=policy, best_price=Decimal("101.5"), fees=Decimal(1), opened_quantity=Decimal(10))
    await put(journal)
    await journal.record_fill(make_fill(), opened, None)
    flat = replace(opened, quantity=Decimal(0), realized_pnl=Decimal(40), fees=Decimal(2))
    selling = make_fill("x2", "z", side=Side.SELL, price=Decimal(104), time=at(60))
    counted = Statistics(total=Counters(exits_executed=1))
    await journal.record_fill(selling, flat, make_trade(), statistics=counted)
    again = reopen(journal, tmp_path)
    state = await again.load()
    assert state.positions == ()
    assert state.statistics == counted
    assert await again.trades(9) == (make_trade(),)
    assert await again.position("p-a") == flat
    assert await again.position("p-none") is None
    again.close()


async def test_a_trade_that_cannot_be_written_takes_its_fill_back(journal: Journal) -> None:
    await put(journal)
    with pytest.raises(JournalError, match="quantity_number"):
        await journal.record_fill(make_fill(), make_position(), make_trade(quantity=Decimal(0)))
    state = await journal.load()
    assert (state.positions, state.fills_today) == ((), ())
    assert state.open_intents[0].filled == 0
    assert await journal.record_fill(make_fill(), make_position(), make_trade()) is True


async def test_a_fill_of_another_symbol_is_not_booked_on_a_position(journal: Journal) -> None:
    with pytest.raises(JournalError, match=r"^fill x1 is of MSFT, but its position is of AAPL$"):
        await journal.record_fill(make_fill(symbol="MSFT"), make_position(), None)


async def test_a_fill_without_an_intent_is_booked_all_the_same(journal: Journal) -> None:
    assert await journal.record_fill(make_fill(name="lost"), make_position(), None) is True
    assert (await journal.load()).positions == (make_position(),)


# positions


async def test_between_fills_only_best_price_policy_and_sequence_are_written(journal: Journal) -> None:
    await journal.record_fill(make_fill(), make_position(), None)
    stale = make_position(
        quantity=Decimal(99),
        average_price=Decimal(1),
        best_price=Decimal(107),
        policy=ExitPolicy(0.5),
        exit_sequence=2,
        realized_pnl=Decimal(5),
    )
    await journal.save_positions([stale])
    expected = make_position(best_price=Decimal(107), policy=ExitPolicy(0.5), exit_sequence=2)
    assert (await journal.load()).positions == (expected,)


async def test_an_exits_sequence_never_goes_back(journal: Journal) -> None:
    await journal.record_fill(make_fill(), make_position(exit_sequence=1), None)
    await journal.save_positions([make_position(exit_sequence=3)])
    await journal.save_positions([make_position(exit_sequence=2)])
    await journal.record_fill(make_fill("x2"), make_position(exit_sequence=0), None)
    position = await journal.position("p-a")
    assert position is not None
    assert position.exit_sequence == 3


async def test_the_numbers_of_a_position_are_saved_between_fills(journal: Journal) -> None:
    await journal.record_fill(make_fill(), make_position(), None)
    await journal.save_positions([make_position(exit_sequence=1, protection_revision=2)])
    assert await journal.position("p-a") == make_position(exit_sequence=1, protection_revision=2)


async def test_a_position_without_a_fill_is_not_saved(journal: Journal) -> None:
    with pytest.raises(JournalError, match=r"^position p-a is not in the journal: no fill of it was booked$"):
        await journal.save_positions([make_position()])


async def test_a_flat_position_is_loaded_while_an_intent_of_it_is_open(journal: Journal) -> None:
    await put(journal)
    flat = make_position(quantity=Decimal(0), exit_sequence=1)
    await journal.record_fill(make_fill(quantity=Decimal(4)), flat, None)
    assert (await journal.load()).positions == (flat,)
    await journal.record_update(make_update(IntentState.CANCELLED, filled_quantity=Decimal(4)))
    assert (await journal.load()).positions == ()


async def test_a_split_is_applied_once(journal: Journal) -> None:
    await journal.record_fill(make_fill(), make_position(), None)
    after = make_position(quantity=Decimal(20), average_price=Decimal(50), best_price=Decimal(50))
    assert await journal.adjust_position("split:AAPL:2005-02-28:p-a", after) is True
    again = make_position(quantity=Decimal(40), average_price=Decimal(25), best_price=Decimal(25))
    assert await journal.adjust_position("split:AAPL:2005-02-28:p-a", again) is False
    assert (await journal.load()).positions == (after,)


async def test_a_reduction_by_the_broker_ends_in_a_trade(journal: Journal, clock: SimulatedClock) -> None:
    await journal.record_fill(make_fill(), make_position(), None)
    clock.set(at(60))
    flat = make_position(quantity=Decimal(0), realized_pnl=Decimal(-7))
    trade = make_trade(exit_reason="BROKER")
    assert await journal.adjust_position("broker:p-a:1", flat, trade) is True
    assert await journal.trades(9) == (trade,)
    assert await journal.realized_pnl(at(1)) == Decimal(-7)
    assert await journal.realized_pnl(at(60)) == Decimal(-7)
    assert await journal.realized_pnl(at(60.001)) == Decimal(0)


async def test_adjustments_add_what_they_made_to_what_was_made_before(journal: Journal) -> None:
    await journal.record_fill(make_fill(commission=Decimal(0)), make_position(realized_pnl=Decimal(5)), None)
    for number, realized in enumerate((7, 4)):
        await journal.adjust_position(f"broker:p-a:{number}", make_position(realized_pnl=Decimal(realized)))
    assert await journal.realized_pnl(T0) == 4
    await journal.adjust_position("broker:p-b:1", make_position("b", realized_pnl=Decimal(-3)))
    assert await journal.realized_pnl(T0) == 1
    (gone,) = (await journal.bookings(T0)).histories["p-b"]
    assert gone == Gone(T0, Decimal(-3))


# what is asked for


async def test_realised_profit_is_after_the_fees_of_the_fills_since(journal: Journal) -> None:
    await journal.record_fill(make_fill(), make_position(), None)
    half = make_position(quantity=Decimal(5), realized_pnl=Decimal(20))
    await journal.record_fill(make_fill("x2", side=Side.SELL, quantity=Decimal(5), time=at(10)), half, None)
    flat = make_position(quantity=Decimal(0), realized_pnl=Decimal(50))
    await journal.record_fill(make_fill("x3", side=Side.SELL, quantity=Decimal(5), time=at(20)), flat, None)
    assert await journal.realized_pnl(T0) == Decimal(47)
    assert await journal.realized_pnl(at(10)) == Decimal(48)
    assert await journal.realized_pnl(at(10.001)) == Decimal(29)
    assert await journal.realized_pnl(at(20.001)) == Decimal(0)


async def test_order_times_leave_out_what_was_never_sent(journal: Journal) -> None:
    await journal.begin_epoch(1)
    await journal.commit_intents([make_intent(n, created_at=at(t)) for n, t in (("b", 2), ("a", 1), ("c", 3))])
    assert await journal.order_times(T0) == (at(1), at(2), at(3))
    assert await journal.order_times(at(2)) == (at(2), at(3))
    await journal.record_update(make_update(IntentState.WITHDRAWN, "b"))
    assert await journal.order_times(T0) == (at(1), at(3))


async def test_orders_and_trades_come_newest_first_up_to_the_limit(journal: Journal) -> None:
    await journal.begin_epoch(1)
    await journal.commit_intents([make_intent(n, created_at=at(t)) for n, t in (("a", 1), ("c", 3), ("b", 2))])
    assert [record.intent.order_ref for record in await journal.orders(2)] == [ref("c"), ref("b")]
    for number in range(3):
        trade = make_trade(exit_time=at(number))
        await journal.record_fill(make_fill(f"x{number}"), make_position(), trade)
    assert [trade.exit_time for trade in await journal.trades(2)] == [at(2), at(1)]


async def test_what_was_made_at_the_same_time_comes_in_the_order_of_its_names(journal: Journal) -> None:
    await journal.begin_epoch(1)
    await journal.commit_intents([make_intent(name) for name in "bca"])
    assert [record.intent.order_ref for record in await journal.orders(9)] == [ref(name) for name in "abc"]
    assert [each.intent.order_ref for each in (await journal.load()).open_intents] == [ref(name) for name in "abc"]
    for number in (2, 3, 1):
        position = make_position(f"p{number}", strategy=f"s{number}")
        await journal.record_fill(make_fill(f"x{number}"), position, make_trade(strategy=f"s{number}"))
    assert [trade.strategy for trade in await journal.trades(9)] == ["s1", "s2", "s3"]
    assert [position.strategy for position in (await journal.load()).positions] == ["s1", "s2", "s3"]
    assert [fill.execution_id for fill in await journal.fills(T0)] == ["x1", "x2", "x3"]


async def test_positions_and_open_intents_are_loaded_oldest_first_and_final_ones_are_not(journal: Journal) -> None:
    await journal.begin_epoch(1)
    await journal.commit_intents([make_intent(n, created_at=at(t)) for n, t in (("b", 2), ("a", 3), ("c", 1))])
    await journal.record_update(make_update(IntentState.CANCELLED, "b"))
    await journal.record_fill(make_fill("x1", "lost"), make_position("late", opened_at=at(5)), None)
    await journal.record_fill(make_fill("x2", "lost"), make_position("soon", opened_at=at(4)), None)
    await journal.record_fill(make_fill("x3", "lost"), make_position("gone", quantity=Decimal(0)), None)
    state = await journal.load()
    assert [each.intent.order_ref for each in state.open_intents] == [ref("c"), ref("a")]
    assert [each.position_id for each in state.positions] == ["p-soon", "p-late"]
    assert await journal.position("p-gone") == make_position("gone", quantity=Decimal(0))
    assert await journal.position("p-none") is None
    assert await journal.record("none") is None


async def test_however_much_the_broker_names_is_looked_up(journal: Journal, tmp_path: Path) -> None:
    await journal.begin_epoch(1)
    names = [f"n{number:04}" for number in range(1001)]
    await journal.commit_intents([make_intent(name) for name in names])
    with sqlite3.connect(tmp_path / "journal.db") as raw:
        raw.execute("UPDATE intents SET state = 'Cancelled', is_open = 0")
    raw.close()
    known = [names[place] for place in (0, 1, 499, 500, 501, 999, 1000)]
    for name in known:
        await journal.record_fill(make_fill(name, name), make_position(name), None)
    told = Value(tuple(make_update(IntentState.WORKING, name) for name in names))
    made = Value(tuple(make_fill(name, name, quantity=Decimal(1)) for name in names))
    found = await journal.compare(told, made, Unknown("not asked"))
    assert (found.orphan_orders, found.orphan_fills) == ((), ())
    assert [item.fill.execution_id for item in found.missing_fills] == [name for name in names if name not in known]


async def test_known_fills_are_those_since(journal: Journal) -> None:
    await journal.record_fill(make_fill("x1", time=at(1)), make_position(), None)
    await journal.record_fill(make_fill("x2", time=at(2)), make_position(), None)
    assert await journal.known_fill_ids(at(1)) == {"x1", "x2"}
    assert await journal.known_fill_ids(at(1.5)) == {"x2"}


async def test_fills_of_the_last_day_are_loaded_unless_told_otherwise(journal: Journal, clock: SimulatedClock) -> None:
    await journal.record_fill(make_fill("x1", time=at(-86401)), make_position(), None)
    await journal.record_fill(make_fill("x2", time=at(-86400)), make_position(), None)
    assert [fill.execution_id for fill in (await journal.load()).fills_today] == ["x2"]
    assert [fill.execution_id for fill in (await journal.load(since=at(-86401))).fills_today] == ["x1", "x2"]
    assert (await journal.load(since=T0)).fills_today == ()


async def test_counters_survive(journal: Journal, tmp_path: Path) -> None:
    counters = Counters(1, 2, 3, 4, 5, 6, at(1), at(2.000001)).with_reason(Reason.PAUSED, 7)
    stored = Statistics(counters, MappingProxyType({"trend": Counters(evaluations_run=8)}), T0 - timedelta(days=9))
    assert (await journal.load()).statistics == Statistics()
    await journal.save_statistics(Statistics())
    await journal.save_statistics(stored)
    again = reopen(journal, tmp_path)
    assert (await again.load()).statistics == stored
    again.close()


def test_the_same_counters_are_the_same_text_whatever_their_order() -> None:
    one, other = Counters(evaluations_run=1, reasons={"b": 1, "a": 2}), Counters(reasons={"a": 2, "b": 1})
    names = [("x", one), ("y", other)]
    text = rows.statistics_document(Statistics(one, MappingProxyType(dict(names))))
    turned = replace(one, reasons={"a": 2, "b": 1})
    again = Statistics(turned, MappingProxyType(dict(reversed(names))))
    assert rows.statistics_document(again) == text
    assert " " not in text


async def test_counters_can_go_with_a_ticks_intents(journal: Journal) -> None:
    await journal.begin_epoch(1)
    counted = Statistics(total=Counters(signals_generated=1))
    await journal.commit_intents([make_intent()], statistics=counted)
    assert (await journal.load()).statistics == counted
    with pytest.raises(JournalError):
        await journal.commit_intents(
            [make_intent("b", quantity=Decimal(0))], statistics=Statistics(total=Counters(signals_generated=2))
        )
    assert (await journal.load()).statistics == counted


async def test_the_last_good_parameters_are_kept_by_strategy(journal: Journal, tmp_path: Path) -> None:
    await journal.remember_parameters("trend", "Momentum", {"lookback": 5})
    await journal.remember_parameters("cross", "Crossover", {"fast": 3, "average": "SMA"})
    await journal.remember_parameters("trend", "Momentum", {"lookback": 6, "threshold": 0.01})
    again = reopen(journal, tmp_path)
    assert dict((await again.load()).parameters) == {
        "trend": StoredParameters("Momentum", {"lookback": 6, "threshold": 0.01}),
        "cross": StoredParameters("Crossover", {"fast": 3, "average": "SMA"}),
    }
    again.close()


async def test_the_same_parameters_are_the_same_text_whatever_their_order(journal: Journal, tmp_path: Path) -> None:
    await journal.remember_parameters("one", "Crossover", {"fast": 3, "average": "SMA"})
    await journal.remember_parameters("other", "Crossover", {"average": "SMA", "fast": 3})
    journal.close()
    with sqlite3.connect(tmp_path / "journal.db") as raw:
        (one,), (other,) = raw.execute("SELECT document FROM parameters").fetchall()
    raw.close()
    assert one == other


async def test_parameters_that_are_no_json_are_not_kept(journal: Journal) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        await journal.remember_parameters("trend", "Momentum", {"threshold": float("nan")})
    assert dict((await journal.load()).parameters) == {}


async def test_a_day_keeps_the_equity_it_began_with(journal: Journal) -> None:
    assert await journal.remember_day_start(date(2026, 3, 2), Decimal("100.50")) == Decimal("100.50")
    assert await journal.remember_day_start(date(2026, 3, 2), Decimal(90)) == Decimal("100.50")
    assert await journal.remember_day_start(date(2026, 3, 3), Decimal(90)) == Decimal(90)


# faults


async def test_a_fault_is_one_sentence_and_the_journal_goes_on_after_it(journal: Journal, tmp_path: Path) -> None:
    await journal.begin_epoch(1)
    raw = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    raw.execute("ALTER TABLE intents RENAME TO hidden")
    with pytest.raises(JournalError, match="the journal failed while writing intents: no such table: intents"):
        await journal.commit_intents([make_intent()])
    raw.execute("ALTER TABLE hidden RENAME TO intents")
    raw.close()
    assert await journal.commit_intents([make_intent()]) == {ref("a")}


async def test_a_full_disk_changes_nothing_and_the_journal_goes_on_after_it(journal: Journal) -> None:
    await journal.begin_epoch(1)

    def limit_pages(pages: int) -> None:
        journal._connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        journal._connection.rollback()

    many = [make_intent(f"n{number}", reason="r" * 1000) for number in range(200)]
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(journal._thread, limit_pages, 60)
    with pytest.raises(JournalError, match="database or disk is full"):
        await journal.commit_intents(many)
    await loop.run_in_executor(journal._thread, limit_pages, 100000)
    assert await journal.orders(9) == ()
    assert len(await journal.commit_intents(many)) == 200


async def test_a_split_changes_the_open_intents_of_its_symbol_alone(journal: Journal, tmp_path: Path) -> None:
    await journal.begin_epoch(1)
    limited = make_intent("a", order_type=OrderType.LIMIT, limit_price=Decimal(90))
    await journal.commit_intents([limited, make_intent("b", symbol="MSFT"), make_intent("c")])
    await journal.record_update(make_update(IntentState.WORKING, "a"))
    await journal.record_fill(make_fill("x1", "a", quantity=Decimal(4)), make_position("a", quantity=Decimal(4)), None)
    await journal.record_update(make_update(IntentState.CANCELLED, "c"))
    await journal.split_intents("AAPL", Decimal(2))
    reopened = reopen(journal, tmp_path)
    split, other, over = [await reopened.record(ref(name)) for name in "abc"]
    reopened.close()
    assert split is not None
    assert other is not None
    assert over is not None
    assert (split.intent.quantity, split.filled, split.reported, split.average_price) == (20, 8, 8, 50)
    assert (split.intent.limit_price, split.intent.reference_price) == (45, Decimal("50.125"))
    assert (other.intent.quantity, over.intent.quantity) == (10, 10)


async def test_a_split_lets_an_intent_be_filled_by_as_many_shares_as_the_broker_makes_of_it(journal: Journal) -> None:
    await journal.begin_epoch(1)
    await journal.commit_intents([make_intent("a")])
    await journal.split_intents("AAPL", Decimal("0.1"))
    await journal.record_fill(make_fill("x1", "a", quantity=Decimal(1)), make_position("a", quantity=Decimal(1)), None)
    record = await journal.record(ref("a"))
    assert record is not None
    assert (record.state, record.is_open) == (IntentState.FILLED, False)


async def test_a_cancelled_caller_does_not_undo_or_block(journal: Journal) -> None:
    await journal.begin_epoch(1)
    task = asyncio.create_task(journal.commit_intents([make_intent()]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await journal.commit_intents([make_intent()]) <= {ref("a")}
    assert await journal.record(ref("a")) is not None


async def test_operations_are_done_in_the_order_of_their_calls(journal: Journal) -> None:
    await journal.begin_epoch(1)
    updates = [IntentState.WORKING, IntentState.CANCELLED, IntentState.FILLED]
    results = await asyncio.gather(
        journal.commit_intents([make_intent()]), *(journal.record_update(make_update(state)) for state in updates)
    )
    assert results == [{ref("a")}, IntentState.WORKING, IntentState.CANCELLED, IntentState.CANCELLED]


def test_the_owner_of_these_tests_is_a_real_tag() -> None:
    assert owner_tag("u") == OWNER
    assert from_micros(to_micros(T0)) == T0


async def test_what_an_open_intent_may_come_to_is_written_and_a_final_one_stays(
    journal: Journal, clock: SimulatedClock
) -> None:
    resting = {"kind": IntentKind.PROTECTIVE, "side": Side.SELL, "order_type": OrderType.STOP}
    stop = make_intent("s", **resting, stop_price=Decimal(98), time_in_force=TimeInForce.GTC, oca_group="g")
    await journal.begin_epoch(1)
    await journal.commit_intents([stop])
    larger = replace(stop, quantity=Decimal(12), exits="{}", reference_price=Decimal(101), stop_price=Decimal(1))
    beside = make_intent("t", **resting, stop_price=Decimal(97))
    await journal.commit_intents([beside])
    clock.set(at(5))
    await journal.amend_intent(larger)
    found = await journal.record(ref("s"))
    assert found is not None
    assert found.intent == replace(larger, stop_price=Decimal(98)), "its price is the broker's to name"
    assert found.updated_at == at(5)
    other = await journal.record(ref("t"))
    assert other is not None
    assert (other.intent, other.updated_at) == (beside, T0)
    terms = OrderTerms(Decimal(7), stop_price=Decimal(99))
    await journal.record_update(make_update(IntentState.WORKING, "s", terms=terms))
    found = await journal.record(ref("s"))
    assert found is not None
    assert found.intent.terms == terms
    await journal.record_update(make_update(IntentState.CANCELLED, "s"))
    await journal.amend_intent(larger)
    found = await journal.record(ref("s"))
    assert found is not None
    assert found.intent.terms == terms


async def test_the_newest_exit_of_an_open_position_is_loaded_and_one_that_was_withdrawn_is_passed_over(
    journal: Journal,
) -> None:
    owner = await journal.adopt_owner("u")
    await journal.begin_epoch(1)
    await journal.commit_intents([make_intent("a")])
    position = make_position("a", exit_sequence=3)
    await journal.record_fill(make_fill("x1", "a"), position, None)
    assert (await journal.load()).last_exits == ()
    leaving = {"kind": IntentKind.EXIT, "side": Side.SELL, "position_id": "p-a"}
    exits = [make_intent("e", **leaving, order_ref=exit_ref(owner, "p-a", number)) for number in (1, 2, 3)]
    await journal.commit_intents(exits)
    for intent, state in zip(exits[1:], (IntentState.CANCELLED, IntentState.WITHDRAWN), strict=True):
        await journal.record_update(OrderUpdate(intent.order_ref, state, ""))
    (last,) = (await journal.load()).last_exits
    assert (last.intent.order_ref, last.state) == (exits[1].order_ref, IntentState.CANCELLED)


async def test_the_only_exit_of_each_open_position_is_loaded_and_of_one_that_is_flat_none(journal: Journal) -> None:
    owner = await journal.adopt_owner("u")
    await journal.begin_epoch(1)
    exits = []
    for number, name in enumerate("abc"):
        held = make_position(name, exit_sequence=1, quantity=Decimal(0 if name == "c" else 10))
        await journal.record_fill(make_fill(f"x{number}", "lost"), held, None)
        leaving = {"kind": IntentKind.EXIT, "side": Side.SELL, "position_id": held.position_id}
        exits.append(make_intent(name, **leaving, order_ref=exit_ref(owner, held.position_id, 1)))
    await journal.commit_intents(exits)
    found = {each.intent.position_id for each in (await journal.load()).last_exits}
    assert found == {"p-a", "p-b"}


async def test_protective_orders_are_no_orders_to_the_rates(journal: Journal) -> None:
    await journal.begin_epoch(1)
    resting = {"kind": IntentKind.PROTECTIVE, "order_type": OrderType.STOP, "stop_price": Decimal(98)}
    await journal.commit_intents([make_intent("a"), make_intent("s", **resting)])
    assert await journal.order_times(T0) == (T0,)
