"""What each operation writes, inside a transaction that is already open."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, case, insert, select
from sqlalchemy import update as update_rows

from openbell.domain.errors import JournalError, StaleEpochError
from openbell.domain.identity import owner_tag
from openbell.domain.money import ZERO
from openbell.domain.orders import Fill, Intent, IntentKind, IntentState, OrderUpdate
from openbell.domain.policies import encode_policy
from openbell.domain.positions import ClosedTrade, Position
from openbell.domain.statistics import Statistics
from openbell.journal import reads, rows, schema
from openbell.journal.dialects import insert_new, insert_or_replace
from openbell.journal.killpoints import reach
from openbell.journal.lifecycle import after_fill, after_split, after_update
from openbell.journal.values import GatewayClient, IntentRecord
from openbell.risk.intraday_margin import Deficit
from openbell.risk.locks import Lock
from openbell.risk.settlement import CashMovement


def adopt_owner(connection: Connection, *, uid: str) -> str:
    """Store the owner's tag unless there is one; the tag that is stored then."""
    table = schema.journal
    stored = connection.execute(select(table.c.owner_tag)).scalar_one()
    if stored is not None:
        return str(stored)
    tag = owner_tag(uid)
    connection.execute(update_rows(table).values(owner_tag=tag))
    reach("journal.owner.written")
    return tag


def adopt_gateway_client(connection: Connection, *, client_id: int) -> GatewayClient:
    """Store the client id unless there is one; what is stored then."""
    stored = reads.gateway_client(connection)
    if stored is not None:
        return stored
    connection.execute(insert(schema.gateway_client).values(id=1, client_id=client_id, order_id=0))
    return GatewayClient(client_id)


def use_order_ids(connection: Connection, *, up_to: int) -> None:
    """Raise the highest order id that may be used up, never lower it."""
    table = schema.gateway_client
    written = connection.execute(update_rows(table).values(order_id=_larger(table.c.order_id, up_to)))
    if not written.rowcount:
        raise JournalError("the journal has no client id that order ids could belong to")


def begin_epoch(connection: Connection, *, epoch: int) -> None:
    """Raise the epoch, never lower or repeat it."""
    current = reads.identity(connection).epoch
    if epoch <= current:
        raise StaleEpochError(f"epoch {epoch} is not higher than {current}, which the journal has seen")
    connection.execute(update_rows(schema.journal).values(epoch=epoch))
    reach("journal.epoch.written")


def commit_intents(
    connection: Connection,
    *,
    intents: tuple[Intent, ...],
    positions: tuple[Position, ...] = (),
    statistics: Statistics | None,
    now: datetime,
) -> frozenset[str]:
    """Insert the intents that are not there yet, and raise the numbers of positions."""
    current = reads.identity(connection).epoch
    for intent in intents:
        if intent.epoch != current:
            raise StaleEpochError(
                f"intent {intent.order_ref} carries epoch {intent.epoch}, but the journal's is {current}"
            )
    reach("journal.intents.begun")
    new: frozenset[str] = frozenset()
    if intents:
        values = [rows.intent_row(intent, now) for intent in intents]
        new = frozenset(connection.execute(insert_new(connection, schema.intents), values).scalars())
    for position in positions:  # one that is not there has its numbers from the fill that is booked later
        _update_position(connection, position, {})
    if statistics is not None:
        save_statistics(connection, statistics=statistics)
    reach("journal.intents.written")
    return new


def _write_record(connection: Connection, record: IntentRecord) -> None:
    table = schema.intents
    connection.execute(
        update_rows(table).where(table.c.order_ref == record.intent.order_ref).values(rows.record_changes(record))
    )


def record_update(connection: Connection, *, update: OrderUpdate, now: datetime) -> IntentState | None:
    """Move an intent on by the broker's word."""
    record = reads.record(connection, order_ref=update.order_ref)
    if record is None:
        return None
    changed = after_update(record, update, now)
    if changed != record:
        _write_record(connection, changed)
        reach("journal.update.written")
    return changed.state


def split_intents(connection: Connection, *, symbol: str, ratio: Decimal, now: datetime) -> None:
    """Split every open intent of a symbol."""
    table = schema.intents
    for record in reads.open_records(connection):
        if record.intent.symbol == symbol:
            split = after_split(record, ratio, now)
            priced = {"reference_price": split.intent.reference_price}
            connection.execute(update_rows(table).where(table.c.order_ref == split.intent.order_ref).values(priced))
            _write_record(connection, split)


def amend_intent(connection: Connection, *, intent: Intent, now: datetime) -> None:
    """Write what an open intent may come to by a change of its terms, before that is asked for."""
    table = schema.intents
    connection.execute(
        update_rows(table)
        .where(table.c.order_ref == intent.order_ref, table.c.is_open == 1)
        .values(quantity=intent.quantity, exits=intent.exits, reference_price=intent.reference_price, updated_at=now)
    )
    reach("journal.amendment.written")


def record_fill(
    connection: Connection,
    *,
    fill: Fill,
    position: Position,
    closed: ClosedTrade | None,
    statistics: Statistics | None,
    now: datetime,
) -> bool:
    """Book a fill unless its execution is booked already."""
    if fill.symbol != position.symbol:
        raise JournalError(f"fill {fill.execution_id} is of {fill.symbol}, but its position is of {position.symbol}")
    reach("journal.fill.begun")
    before = reads.position(connection, position_id=position.position_id)
    record = reads.record(connection, order_ref=fill.order_ref)
    realized = position.realized_pnl - (before.realized_pnl if before else ZERO)
    is_anew = before is not None and before.quantity == ZERO
    if is_anew and record is not None and record.intent.kind is IntentKind.ENTRY:
        realized = ZERO  # a new round trip of a position that was left counts its profit from nothing
    if not _is_new(connection, schema.fills, rows.fill_row(fill, position.position_id, realized)):
        return False
    reach("journal.fill.recorded")
    _write_position(connection, position, before)
    if closed is not None:
        connection.execute(insert(schema.trades).values(rows.trade_row(closed, fill.execution_id)))
    if record is not None:
        _write_record(connection, after_fill(record, fill, now))
    if statistics is not None:
        save_statistics(connection, statistics=statistics)
    reach("journal.fill.written")
    return True


def adjust_position(
    connection: Connection,
    *,
    adjustment_id: str,
    position: Position,
    closed: ClosedTrade | None,
    ratio: Decimal | None,
    now: datetime,
) -> bool:
    """Write a position that changed without a fill, unless this adjustment is written already."""
    before = reads.position(connection, position_id=position.position_id)
    realized = position.realized_pnl - (before.realized_pnl if before else ZERO)
    row = {
        "adjustment_id": adjustment_id,
        "position_id": position.position_id,
        "time": now,
        "realized": realized,
        "ratio": ratio,
    }
    if not _is_new(connection, schema.adjustments, row):
        return False
    _write_position(connection, position, before)
    if closed is not None:
        connection.execute(insert(schema.trades).values(rows.trade_row(closed, adjustment_id)))
    return True


def _is_new(connection: Connection, table: Table, row: dict[str, Any]) -> bool:
    """Insert a row; whether its key was not there yet."""
    return connection.execute(insert_new(connection, table), row).first() is not None


def _write_position(connection: Connection, position: Position, before: Position | None) -> None:
    if before is None:
        connection.execute(insert(schema.positions).values(rows.position_row(position)))
        return
    # Identities come from these numbers: none must be used twice, whatever the caller remembers.
    kept = replace(
        position,
        exit_sequence=max(position.exit_sequence, before.exit_sequence),
        protection_revision=max(position.protection_revision, before.protection_revision),
    )
    table = schema.positions
    connection.execute(
        update_rows(table).where(table.c.position_id == position.position_id).values(rows.position_row(kept))
    )


def _larger(column: Column[int], given: int) -> ColumnElement[int]:
    return case((column > given, column), else_=given)


def save_positions(connection: Connection, *, positions: tuple[Position, ...]) -> None:
    """Write what changes between fills."""
    for position in positions:
        changed = {"best_price": position.best_price, "policy": encode_policy(position.policy)}
        if not _update_position(connection, position, changed):
            raise JournalError(f"position {position.position_id} is not in the journal: no fill of it was booked")
    reach("journal.positions.written")


def _update_position(connection: Connection, position: Position, changed: dict[str, Any]) -> bool:
    """Write changes of a position that is there, and its numbers, which never go back."""
    table = schema.positions
    written = connection.execute(
        update_rows(table)
        .where(table.c.position_id == position.position_id)
        .values(
            exit_sequence=_larger(table.c.exit_sequence, position.exit_sequence),
            protection_revision=_larger(table.c.protection_revision, position.protection_revision),
            **changed,
        )
    )
    return bool(written.rowcount)


def save_statistics(connection: Connection, *, statistics: Statistics) -> None:
    """Replace the counters."""
    document = rows.statistics_document(statistics)
    connection.execute(insert_or_replace(connection, schema.statistics), {"id": 1, "document": document})
    reach("journal.statistics.written")


def remember_parameters(connection: Connection, *, strategy: str, type_name: str, document: str, now: datetime) -> None:
    """Replace a strategy's parameters."""
    row = {"strategy": strategy, "type": type_name, "document": document, "updated_at": now}
    connection.execute(insert_or_replace(connection, schema.parameters), row)


def remember_day_start(connection: Connection, *, day: date, equity: Decimal) -> Decimal:
    """Store a day's first equity; the one that is stored then."""
    table = schema.day_starts
    _is_new(connection, table, {"day": day.isoformat(), "equity": equity})
    return Decimal(connection.execute(select(table.c.equity).where(table.c.day == day.isoformat())).scalar_one())


def save_locks(connection: Connection, *, locks: tuple[Lock, ...]) -> None:
    """Insert locks, or note that one was lifted; the first who lifted it stays."""
    table = schema.locks
    for lock in locks:
        _is_new(connection, table, rows.lock_row(lock))
        if lock.lifted_at is not None:
            connection.execute(
                update_rows(table)
                .where(table.c.lock_id == lock.lock_id, table.c.lifted_at.is_(None))
                .values(lifted_at=lock.lifted_at, lifted_by=lock.lifted_by)
            )


def save_peak(connection: Connection, *, equity: Decimal, since: datetime) -> None:
    """Replace the highest equity."""
    connection.execute(insert_or_replace(connection, schema.peaks), {"id": 1, "equity": equity, "since": since})


def save_cash_movement(connection: Connection, *, movement: CashMovement) -> None:
    """Insert a movement, once for each time."""
    row = {
        "time": movement.time,
        "amount": movement.amount,
        "settles_on": movement.settles_on.isoformat() if movement.settles_on else None,
    }
    _is_new(connection, schema.cash_movements, row)


def save_deficit(connection: Connection, *, deficit: Deficit) -> None:
    """Replace a day's deficit."""
    row = {
        "day": deficit.day.isoformat(),
        "amount": deficit.amount,
        "equity": deficit.equity,
        "satisfied_on": deficit.satisfied_on.isoformat() if deficit.satisfied_on else None,
    }
    connection.execute(insert_or_replace(connection, schema.deficits), row)
