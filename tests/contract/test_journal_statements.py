"""What the journal reads and writes, on SQLite and on a real PostgreSQL: the same words, the same answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import URL, Connection, create_engine, insert, literal, select
from sqlalchemy.exc import DatabaseError

from fakes.values import T0, at, make_fill, make_intent, make_position, make_trade, make_update, ref
from openbell.domain.answers import ConfirmedEmpty, Value
from openbell.domain.errors import JournalError, StaleEpochError
from openbell.domain.identity import owner_tag
from openbell.domain.limits import LockScope
from openbell.domain.orders import IntentKind, IntentState, OrderType, Side
from openbell.domain.reasons import Reason
from openbell.domain.statistics import Counters, Statistics
from openbell.engine.lots import Gone, ShareSplit
from openbell.journal import GatewayClient, RoundTrips, StoredParameters, reads, rows, schema, writes
from openbell.journal.migrations.upgrade import upgrade
from openbell.risk.intraday_margin import Deficit
from openbell.risk.locks import Lock, lift
from openbell.risk.settlement import CashMovement


@pytest.fixture(params=["sqlite", "postgresql"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A transaction on a new journal, undone afterwards."""
    url: str | URL = request.getfixturevalue("postgresql") if request.param == "postgresql" else "sqlite://"
    engine = create_engine(url)
    with engine.connect() as opened:
        schema.metadata.create_all(opened)
        opened.execute(insert(schema.journal).values(id=1, schema_version=1, epoch=0, created_at=T0))
        yield opened
        opened.rollback()
    engine.dispose()


def committed(connection: Connection, *names: str, **changes: object) -> None:
    if reads.identity(connection).epoch == 0:
        writes.begin_epoch(connection, epoch=1)
    intents = tuple(make_intent(name, **changes) for name in names)
    assert writes.commit_intents(connection, intents=intents, statistics=None, now=T0) == {ref(n) for n in names}


def filled(connection: Connection, execution: str, name: str, **changes: object) -> bool:
    position = make_position(name)
    fill = make_fill(execution, name, **changes)
    return writes.record_fill(connection, fill=fill, position=position, closed=None, statistics=None, now=T0)


def test_owner_and_epoch_are_written_once(connection: Connection) -> None:
    assert writes.adopt_owner(connection, uid="u") == writes.adopt_owner(connection, uid="other") == owner_tag("u")
    writes.begin_epoch(connection, epoch=2)
    with pytest.raises(StaleEpochError):
        writes.begin_epoch(connection, epoch=2)
    assert reads.identity(connection).epoch == 2


def test_intents_that_are_there_already_stay(connection: Connection) -> None:
    committed(connection, "a", order_type=OrderType.LIMIT, limit_price=Decimal("90.50"), confidence=0.123456789012345)
    again = (make_intent("a", quantity=Decimal(7)), make_intent("b", created_at=at(0.000001)))
    counted = Statistics(total=Counters(errors=3))
    assert writes.commit_intents(connection, intents=again, statistics=counted, now=at(1)) == {ref("b")}
    first, second = reads.open_records(connection)
    assert (first.intent.quantity, first.intent.limit_price, first.intent.confidence) == (
        Decimal(10),
        Decimal("90.50"),
        0.123456789012345,
    )
    assert (second.intent.created_at, second.updated_at) == (at(0.000001), at(1))
    assert reads.statistics(connection) == counted
    assert [record.intent.order_ref for record in reads.orders(connection, limit=1)] == [ref("b")]


def test_an_order_is_followed_to_its_end(connection: Connection) -> None:
    committed(connection, "a", "b")
    state = writes.record_update(connection, update=make_update(IntentState.WORKING), now=at(1))
    assert state is IntentState.WORKING
    assert filled(connection, "x1", "a") is True
    assert filled(connection, "x1", "a") is False
    record = reads.record(connection, order_ref=ref("a"))
    assert record is not None
    assert (record.state, record.filled, record.average_price) == (IntentState.FILLED, Decimal(10), Decimal(100))
    assert writes.record_update(connection, update=make_update(IntentState.WORKING, "unknown"), now=at(1)) is None
    writes.record_update(connection, update=make_update(IntentState.WITHDRAWN, "b"), now=at(1))
    assert reads.order_times(connection, since=T0) == (T0,)
    assert reads.known_fill_ids(connection, since=T0) == {"x1"}


def test_a_position_goes_from_its_first_fill_to_its_round_trip(connection: Connection) -> None:
    committed(connection, "a")
    filled(connection, "x1", "a")
    held = replace(make_position(), best_price=Decimal("104.1"), exit_sequence=2)
    writes.save_positions(connection, positions=(held,))
    writes.save_positions(connection, positions=(replace(held, exit_sequence=1),))
    assert reads.positions(connection) == (held,)
    numbered = replace(held, exit_sequence=3, best_price=Decimal(1))
    unknown = make_position("z")
    writes.commit_intents(connection, intents=(), positions=(numbered, unknown), statistics=None, now=T0)
    held = replace(held, exit_sequence=3)
    assert reads.positions(connection) == (held,), "the numbers alone, and of positions that are there"
    committed(connection, "c", kind=IntentKind.EXIT, side=Side.SELL, position_id="p-a")
    flat = replace(held, quantity=Decimal(0), realized_pnl=Decimal("40.10"))
    leave = make_fill("x2", "c", side=Side.SELL, time=at(9))
    assert writes.record_fill(connection, fill=leave, position=flat, closed=make_trade(), statistics=None, now=at(9))
    assert reads.position(connection, position_id="p-a") == flat
    assert reads.positions(connection) == ()
    assert reads.trades(connection, limit=5) == (make_trade(),)
    assert reads.round_trips(connection) == {"trend": RoundTrips(Decimal(38), Decimal(2))}
    assert reads.realized_pnl(connection, since=T0) == Decimal("38.10")
    with pytest.raises(JournalError, match="no fill of it was booked"):
        writes.save_positions(connection, positions=(make_position("z"),))


def test_an_adjustment_is_written_once(connection: Connection) -> None:
    filled(connection, "x1", "a")
    lost = make_position(quantity=Decimal(0), realized_pnl=Decimal(-7))
    for is_new in (True, False):
        written = writes.adjust_position(
            connection, adjustment_id="gone", position=lost, closed=make_trade(), ratio=None, now=T0
        )
        assert written is is_new
    assert reads.realized_pnl(connection, since=T0) == Decimal(-8)


@pytest.mark.parametrize("connection", ["postgresql"], indirect=True)
def test_steps_to_todays_schema_run_there_too(connection: Connection) -> None:
    filled(connection, "x1", "a")
    connection.exec_driver_sql("ALTER TABLE adjustments DROP COLUMN ratio")
    connection.exec_driver_sql("DROP INDEX fills_position")
    for name in ("locks", "peaks", "deficits", "cash_movements", "gateway_client"):
        connection.exec_driver_sql(f"DROP TABLE {name}")
    connection.exec_driver_sql("INSERT INTO adjustments VALUES ('old', 'p-a', 1, '2.5')")
    upgrade(connection, 1)
    split = make_position(quantity=Decimal(20))
    assert writes.adjust_position(
        connection, adjustment_id="new", position=split, closed=None, ratio=Decimal(2), now=T0
    )
    table = schema.adjustments
    found = connection.execute(select(table.c.adjustment_id, table.c.realized, table.c.ratio).order_by("adjustment_id"))
    assert [tuple(row) for row in found] == [("new", Decimal(0), Decimal(2)), ("old", Decimal("2.5"), None)]
    writes.save_locks(connection, locks=(LOCK,))
    assert reads.locks(connection, since=T0) == (LOCK,)


def test_a_client_id_stays_and_its_order_ids_never_go_back(connection: Connection) -> None:
    with pytest.raises(JournalError, match="no client id"):
        writes.use_order_ids(connection, up_to=5)
    assert writes.adopt_gateway_client(connection, client_id=2_000_000_000) == GatewayClient(2_000_000_000)
    for up_to in (2**31 - 1, 7):
        writes.use_order_ids(connection, up_to=up_to)
    assert writes.adopt_gateway_client(connection, client_id=8) == GatewayClient(2_000_000_000, 2**31 - 1)


LOCK = Lock("k1", LockScope.SYMBOL, "AAPL", Reason.COOLDOWN, "AAPL was left", T0, at(60), "Cooldown#0")


def test_locks_the_highest_equity_deficits_and_cash_movements_are_kept(connection: Connection) -> None:
    lifted = lift(LOCK, by="ada", at=at(5))
    writes.save_locks(connection, locks=(LOCK, lifted, lift(LOCK, by="bob", at=at(6))))
    assert reads.locks(connection, since=at(5)) == (lifted,)
    assert reads.locks(connection, since=at(6)) == ()
    for equity in (Decimal("100.5"), Decimal(99)):
        writes.save_peak(connection, equity=equity, since=T0)
    assert reads.peak(connection) == (Decimal(99), T0)
    deficit = Deficit(date(2026, 7, 6), Decimal(1500), Decimal(9000))
    for each in (deficit, replace(deficit, satisfied_on=date(2026, 7, 8))):
        writes.save_deficit(connection, deficit=each)
        assert reads.deficits(connection, since=deficit.day) == (each,)
    for movement in (CashMovement(T0, Decimal("1.5"), date(2026, 7, 8)), CashMovement(T0, Decimal(2))):
        writes.save_cash_movement(connection, movement=movement)
    assert reads.cash_movements(connection) == (CashMovement(T0, Decimal("1.5"), date(2026, 7, 8)),)


def test_what_lots_are_made_of_is_read_with_all_that_came_before(connection: Connection) -> None:
    first, second = make_fill("x1", time=at(1)), make_fill("x2", quantity=Decimal(5), time=at(20))
    for fill in (first, second):
        writes.record_fill(connection, fill=fill, position=make_position(), closed=None, statistics=None, now=T0)
    writes.adjust_position(
        connection, adjustment_id="s", position=make_position(), closed=None, ratio=Decimal(2), now=at(10)
    )
    filled(connection, "y1", "b", time=at(2))
    gone = make_position("b", quantity=Decimal(0), realized_pnl=Decimal(3))
    writes.adjust_position(connection, adjustment_id="g", position=gone, closed=None, ratio=None, now=at(11))
    found = reads.bookings(connection, since=at(11))
    assert dict(found.histories) == {
        "p-a": (first, second, ShareSplit(at(10), Decimal(2))),
        "p-b": (make_fill("y1", "b", time=at(2)), Gone(at(11), Decimal(3))),
    }
    assert found.realized == Decimal(2)
    assert set(reads.bookings(connection, since=at(12)).histories) == {"p-a"}


def test_a_split_reaches_open_intents(connection: Connection) -> None:
    committed(connection, "a")
    writes.split_intents(connection, symbol="AAPL", ratio=Decimal(2), now=T0)
    (record,) = reads.open_records(connection)
    assert (record.intent.quantity, record.intent.reference_price) == (Decimal(20), Decimal("50.125"))


def test_what_is_kept_by_name_is_replaced_and_a_days_start_is_not(connection: Connection) -> None:
    for lookback in (5, 6):
        writes.remember_parameters(
            connection, strategy="trend", type_name="Momentum", document=f'{{"lookback": {lookback}}}', now=T0
        )
        writes.save_statistics(connection, statistics=Statistics(Counters(errors=lookback)))
        equity = writes.remember_day_start(connection, day=date(2026, 3, 2), equity=Decimal(lookback))
        assert equity == Decimal(5)
    state = reads.load(connection, since=T0 - timedelta(days=1))
    assert dict(state.parameters) == {"trend": StoredParameters("Momentum", {"lookback": 6})}
    assert state.statistics.total.errors == 6


def test_facts_are_read_of_what_the_broker_named(connection: Connection) -> None:
    committed(connection, "a", "b")
    filled(connection, "x1", "a")
    told = Value((make_update(IntentState.FILLED),))
    facts = reads.facts(connection, orders=told, fills=Value((make_fill("x1"), make_fill("x2", "q"))))
    assert set(facts.records) == {ref("a"), ref("b")}
    assert facts.booked_fills == {"x1"}
    assert reads.facts(connection, orders=ConfirmedEmpty(), fills=ConfirmedEmpty()).booked_fills == frozenset()


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("intents", {"quantity": "0"}),
        ("intents", {"quantity": "ten"}),
        ("intents", {"state": "Lost"}),
        ("intents", {"limit_price": "1"}),
        ("intents", {"confidence": 1.5}),
        ("positions", {"is_open": 0}),
        ("positions", {"quantity": "0"}),
        ("day_starts", {"day": "today", "equity": "1"}),
        ("statistics", {"id": 1, "document": "{"}),
        ("statistics", {"id": 2, "document": "{}"}),
    ],
)
def test_an_illegal_row_is_refused(connection: Connection, table: str, row: dict[str, object]) -> None:
    values: dict[str, object] = {
        "intents": rows.intent_row(make_intent(), T0),
        "positions": rows.position_row(make_position()),
    }.get(table, {})
    # As a literal a text goes past the column's own type, which refuses some of these before any database does.
    wrong = {name: literal(value) if isinstance(value, str) else value for name, value in row.items()}
    with pytest.raises(DatabaseError):
        connection.execute(insert(schema.metadata.tables[table]).values(values | wrong))
