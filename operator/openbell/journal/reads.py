"""What each operation reads, inside a transaction that is already open."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType

from sqlalchemy import ColumnElement, Connection, or_, select, union

from openbell.domain.answers import Answer, Value
from openbell.domain.identity import exit_ref
from openbell.domain.money import ZERO
from openbell.domain.orders import Fill, IntentKind, IntentState, OrderUpdate
from openbell.domain.positions import ClosedTrade, Position
from openbell.domain.statistics import Statistics
from openbell.engine.lots import Gone, LotEvent, ShareSplit
from openbell.journal import rows, schema
from openbell.journal.recovery import Facts
from openbell.journal.values import (
    Bookings,
    GatewayClient,
    IntentRecord,
    JournalIdentity,
    JournalState,
    RoundTrips,
    StoredParameters,
)
from openbell.risk.intraday_margin import Deficit
from openbell.risk.locks import Lock
from openbell.risk.settlement import CashMovement

_BATCH = 500  # values in one IN list, well below SQLite's limit of variables
_CHUNK = 1000  # rows in memory at once, where all of a table are read

_IDENTITY = select(schema.journal.c.owner_tag, schema.journal.c.epoch)


def identity(connection: Connection) -> JournalIdentity:
    row = connection.execute(_IDENTITY).one()
    return JournalIdentity(row.owner_tag, row.epoch)


def gateway_client(connection: Connection) -> GatewayClient | None:
    row = connection.execute(select(schema.gateway_client.c.client_id, schema.gateway_client.c.order_id)).one_or_none()
    return None if row is None else GatewayClient(row.client_id, row.order_id)


def _records(connection: Connection, condition: ColumnElement[bool]) -> tuple[IntentRecord, ...]:
    table = schema.intents
    query = select(table).where(condition).order_by(table.c.created_at, table.c.order_ref)
    return tuple(rows.record_of(row) for row in connection.execute(query).mappings())


def record(connection: Connection, *, order_ref: str) -> IntentRecord | None:
    found = _records(connection, schema.intents.c.order_ref == order_ref)
    return found[0] if found else None


def open_records(connection: Connection) -> tuple[IntentRecord, ...]:
    return _records(connection, schema.intents.c.is_open == 1)


def position(connection: Connection, *, position_id: str) -> Position | None:
    table = schema.positions
    row = connection.execute(select(table).where(table.c.position_id == position_id)).mappings().one_or_none()
    return None if row is None else rows.position_of(row)


def positions(connection: Connection) -> tuple[Position, ...]:
    """Open positions and those that an open intent points at, oldest first."""
    table = schema.positions
    pointed_at = select(schema.intents.c.position_id).where(schema.intents.c.is_open == 1)
    query = (
        select(table)
        .where(or_(table.c.is_open == 1, table.c.position_id.in_(pointed_at)))
        .order_by(table.c.opened_at, table.c.position_id)
    )
    return tuple(rows.position_of(row) for row in connection.execute(query).mappings())


def statistics(connection: Connection) -> Statistics:
    document = connection.execute(select(schema.statistics.c.document)).scalar_one_or_none()
    return Statistics() if document is None else rows.statistics_of(document)


def fills(connection: Connection, *, since: datetime) -> tuple[Fill, ...]:
    table = schema.fills
    query = select(table).where(table.c.time >= since).order_by(table.c.time, table.c.execution_id)
    return tuple(rows.fill_of(row) for row in connection.execute(query).mappings())


def load(connection: Connection, *, since: datetime) -> JournalState:
    who = identity(connection)
    stored = connection.execute(select(schema.parameters)).all()
    return JournalState(
        owner_tag=who.owner_tag,
        epoch=who.epoch,
        open_intents=open_records(connection),
        positions=positions(connection),
        statistics=statistics(connection),
        parameters=MappingProxyType(
            {row.strategy: StoredParameters(row.type, json.loads(row.document)) for row in stored}
        ),
        fills_today=fills(connection, since=since),
        last_exits=_last_exits(connection, who.owner_tag),
    )


def _last_exits(connection: Connection, owner: str | None) -> tuple[IntentRecord, ...]:
    """The newest exit of each open position that was not withdrawn: whether it is to be gone on with."""
    if owner is None:
        return ()
    table = schema.positions
    query = select(table.c.position_id, table.c.exit_sequence).where(table.c.is_open == 1)
    found: list[IntentRecord] = []
    for each in connection.execute(query).all():
        for sequence in range(each.exit_sequence, 0, -1):
            last = record(connection, order_ref=exit_ref(owner, each.position_id, sequence))
            if last is not None and last.state is not IntentState.WITHDRAWN:
                found.append(last)
                break
    return tuple(found)


def orders(connection: Connection, *, limit: int) -> tuple[IntentRecord, ...]:
    table = schema.intents
    query = select(table).order_by(table.c.created_at.desc(), table.c.order_ref).limit(limit)
    return tuple(rows.record_of(row) for row in connection.execute(query).mappings())


def trades(connection: Connection, *, limit: int) -> tuple[ClosedTrade, ...]:
    table = schema.trades
    query = select(table).order_by(table.c.exit_time.desc(), table.c.closed_by).limit(limit)
    return tuple(rows.trade_of(row) for row in connection.execute(query).mappings())


def round_trips(connection: Connection) -> Mapping[str, RoundTrips]:
    table = schema.trades
    # The columns are text, which SQL would add up as floats.
    query = select(table.c.strategy, table.c.pnl, table.c.fees).execution_options(yield_per=_CHUNK)
    totals: dict[str, RoundTrips] = {}
    for strategy, pnl, fees in connection.execute(query):
        totals[strategy] = totals.get(strategy, RoundTrips()).plus(pnl, fees)
    return MappingProxyType(totals)


def bookings(connection: Connection, *, since: datetime) -> Bookings:
    made, adjusted, held = schema.fills, schema.adjustments, schema.positions
    concerned = union(
        select(held.c.position_id).where(held.c.is_open == 1),
        select(made.c.position_id).where(made.c.time >= since),
        select(adjusted.c.position_id).where(adjusted.c.time >= since),
    )
    histories: dict[str, list[LotEvent]] = {}
    for row in connection.execute(select(made).where(made.c.position_id.in_(concerned))).mappings():
        histories.setdefault(row["position_id"], []).append(rows.fill_of(row))
    for row in connection.execute(select(adjusted).where(adjusted.c.position_id.in_(concerned))).mappings():
        event = ShareSplit(row["time"], row["ratio"]) if row["ratio"] else Gone(row["time"], row["realized"])
        histories.setdefault(row["position_id"], []).append(event)
    return Bookings(
        realized_pnl(connection, since=since),
        MappingProxyType({position_id: tuple(events) for position_id, events in histories.items()}),
    )


def known_fill_ids(connection: Connection, *, since: datetime) -> frozenset[str]:
    table = schema.fills
    return frozenset(connection.execute(select(table.c.execution_id).where(table.c.time >= since)).scalars())


def order_times(connection: Connection, *, since: datetime) -> tuple[datetime, ...]:
    table = schema.intents
    query = (
        select(table.c.created_at)
        .where(
            table.c.created_at >= since,
            table.c.state != IntentState.WITHDRAWN.value,
            table.c.kind != IntentKind.PROTECTIVE.value,
        )
        .order_by(table.c.created_at)
    )
    return tuple(connection.execute(query).scalars())


def realized_pnl(connection: Connection, *, since: datetime) -> Decimal:
    made = schema.fills
    adjusted = schema.adjustments
    total = ZERO
    for realized, commission in connection.execute(
        select(made.c.realized, made.c.commission).where(made.c.time >= since)
    ):
        total += realized - commission
    for realized in connection.execute(select(adjusted.c.realized).where(adjusted.c.time >= since)).scalars():
        total += realized
    return total


def locks(connection: Connection, *, since: datetime) -> tuple[Lock, ...]:
    table = schema.locks
    query = (
        select(table)
        .where(
            or_(table.c.until.is_(None), table.c.until >= since),
            or_(table.c.lifted_at.is_(None), table.c.lifted_at >= since),
        )
        .order_by(table.c.since, table.c.lock_id)
    )
    return tuple(rows.lock_of(row) for row in connection.execute(query).mappings())


def peak(connection: Connection) -> tuple[Decimal, datetime] | None:
    row = connection.execute(select(schema.peaks.c.equity, schema.peaks.c.since)).one_or_none()
    return None if row is None else (row.equity, row.since)


def cash_movements(connection: Connection) -> tuple[CashMovement, ...]:
    table = schema.cash_movements
    return tuple(
        CashMovement(row["time"], row["amount"], date.fromisoformat(row["settles_on"]) if row["settles_on"] else None)
        for row in connection.execute(select(table).order_by(table.c.time)).mappings()
    )


def deficits(connection: Connection, *, since: date) -> tuple[Deficit, ...]:
    table = schema.deficits
    query = select(table).where(table.c.day >= since.isoformat()).order_by(table.c.day)
    return tuple(
        Deficit(
            date.fromisoformat(row["day"]),
            row["amount"],
            row["equity"],
            date.fromisoformat(row["satisfied_on"]) if row["satisfied_on"] else None,
        )
        for row in connection.execute(query).mappings()
    )


def facts(connection: Connection, *, orders: Answer[tuple[OrderUpdate, ...]], fills: Answer[tuple[Fill, ...]]) -> Facts:
    """What the journal knows of everything that these answers name."""
    told_orders = orders.value if isinstance(orders, Value) else ()
    told_fills = fills.value if isinstance(fills, Value) else ()
    records = {found.intent.order_ref: found for found in open_records(connection)}
    named = {update.order_ref for update in told_orders} | {fill.order_ref for fill in told_fills}
    for batch in _batches(named - records.keys()):
        for found in _records(connection, schema.intents.c.order_ref.in_(batch)):
            records[found.intent.order_ref] = found
    booked: set[str] = set()
    column = schema.fills.c.execution_id
    for batch in _batches(fill.execution_id for fill in told_fills):
        booked.update(connection.execute(select(column).where(column.in_(batch))).scalars())
    return Facts(
        owner_tag=identity(connection).owner_tag,
        records=MappingProxyType(records),
        positions=positions(connection),
        booked_fills=frozenset(booked),
    )


def _batches(values: Iterable[str]) -> list[list[str]]:
    ordered = sorted(set(values))
    return [ordered[start : start + _BATCH] for start in range(0, len(ordered), _BATCH)]
