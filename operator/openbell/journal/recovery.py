"""Comparing the journal with the broker after a start or a lost connection. Pure: values in, decisions out.

What the broker did not answer changes nothing. What it answered decides each open intent:

1. It names the order → its word is recorded.
2. It does not name the order, and both orders and executions were answered:
   - fills of it cover the whole quantity → Filled;
   - it never acknowledged the order and no fill is known → Withdrawn: the order is not there;
   - it once acknowledged it (or filled a part) → Cancelled with what was filled.
   But an order older than what the broker remembers may have been completed and forgotten, and one that was handed
   over a moment before the question, or after it, may still be on its way. The first needs the broker's positions to
   agree with ours in that symbol; the second stays in doubt until it has settled.
3. Anything else stays in doubt.

An order of ours that the journal has no intent of is an orphan, with one exception: an exit or a protective order that
was sent while the journal could not be written. Its reference is that of one of the next of a position that we hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from openbell.domain.answers import Answer, Unknown, Value
from openbell.domain.identity import Leg, exit_ref, is_ours, protective_ref
from openbell.domain.money import ZERO
from openbell.domain.orders import Fill, Intent, IntentKind, IntentState, OrderType, OrderUpdate
from openbell.domain.positions import BrokerPosition, Position
from openbell.journal.lifecycle import after_update
from openbell.journal.values import IntentRecord

T = TypeVar("T")

UNRECORDED_AT_MOST = 1000
"""Orders of one position that may have been tried while the journal could not be written: a quarter of an hour's."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process knows while its journal cannot be written: its orders, open positions and booked executions."""

    records: Mapping[str, IntentRecord]
    positions: tuple[Position, ...]
    booked_fills: frozenset[str]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the journal knows: the open intents and every intent that the broker named, by reference."""

    owner_tag: str | None
    records: Mapping[str, IntentRecord]
    positions: tuple[Position, ...]
    booked_fills: frozenset[str]

    def overruled_by(self, memory: Memory) -> Facts:
        """With what memory has, which is newer wherever the two differ."""
        return Facts(
            self.owner_tag,
            {**self.records, **memory.records},
            memory.positions,
            self.booked_fills | memory.booked_fills,
        )


@dataclass(frozen=True, slots=True)
class MissingFill:
    """An execution of an order of ours that is not booked yet, and the intent it belongs to."""

    fill: Fill
    intent: Intent


@dataclass(frozen=True, slots=True)
class UnrecordedOrder:
    """An order to leave `position_id` that was sent and not written down, and all that the broker says of it.

    `sequence` is an exit's number, or a protective order's revision.
    """

    order_ref: str
    position_id: str
    sequence: int
    update: OrderUpdate | None
    fills: tuple[Fill, ...]
    kind: IntentKind = IntentKind.EXIT
    order_type: OrderType = OrderType.MARKET


@dataclass(frozen=True, slots=True)
class PositionDifference:
    """The broker holds something else in `symbol` than our lots and missing fills come to."""

    symbol: str
    ours: Decimal
    brokers: Decimal
    is_foreign: bool  # we hold nothing there and know of no order: somebody else's


@dataclass(frozen=True, slots=True)
class Recovery:
    """What follows from the comparison.

    Record `updates`, book `missing_fills` (oldest first). `doubtful` and `awaiting_fills` name the intents that are
    still open questions. `unrecorded` orders are to be taken up. `orphan_orders` and `orphan_fills` carry our owner
    tag, but no intent: the journal that knew them was lost. `foreign_orders` are somebody else's.
    """

    updates: tuple[OrderUpdate, ...]
    missing_fills: tuple[MissingFill, ...]
    doubtful: tuple[str, ...]
    awaiting_fills: tuple[str, ...]
    orphan_orders: tuple[OrderUpdate, ...]
    orphan_fills: tuple[Fill, ...]
    foreign_orders: tuple[OrderUpdate, ...]
    differences: tuple[PositionDifference, ...]
    unknown: tuple[str, ...]
    unrecorded: tuple[UnrecordedOrder, ...] = ()

    @property
    def is_in_sync(self) -> bool:
        """Whether entries may go on once updates and fills are recorded: everything of ours is accounted for."""
        questions = (*self.unknown, *self.doubtful, *self.awaiting_fills, *self.orphan_orders, *self.orphan_fills)
        return not (questions or self.unrecorded) and all(difference.is_foreign for difference in self.differences)


def recover(
    facts: Facts,
    orders: Answer[tuple[OrderUpdate, ...]],
    fills: Answer[tuple[Fill, ...]],
    positions: Answer[tuple[BrokerPosition, ...]],
    *,
    remembered_since: datetime | None = None,
    settled: Collection[str] | None = None,
) -> Recovery:
    """Decide what the broker's answers mean for the journal.

    `remembered_since`: orders and executions from then on are all in the answers (None: of all time).
    `settled`: references that the broker must name if it has them; others may still be on their way (None: all).
    """
    told = {update.order_ref: update for update in _items(orders)}
    ours = [fill for fill in _items(fills) if _is_ours(fill.order_ref, facts)]
    unbooked = _unbooked(ours, facts.booked_fills)
    missing = tuple(
        MissingFill(fill, facts.records[fill.order_ref].intent) for fill in unbooked if fill.order_ref in facts.records
    )
    differences: tuple[PositionDifference, ...] = ()
    if not isinstance(positions, Unknown) and not isinstance(fills, Unknown):
        differences = _differences(facts, unbooked, _items(positions))
    differing = None if isinstance(positions, Unknown) else frozenset(found.symbol for found in differences)
    complete = not isinstance(orders, Unknown) and not isinstance(fills, Unknown)

    updates: list[OrderUpdate] = []
    doubtful: list[str] = []
    awaiting: list[str] = []
    for record in sorted(facts.records.values(), key=lambda found: (found.intent.created_at, found.intent.order_ref)):
        ref = record.intent.order_ref
        coming = sum((item.fill.quantity for item in missing if item.fill.order_ref == ref), ZERO)
        update = told.get(ref)
        if update is None and complete and not record.state.is_final:
            agreed = differing is not None and record.intent.symbol not in differing
            has_settled = settled is None or ref in settled
            update = _unnamed(record, coming, agreed, remembered_since) if has_settled else None
        after = record if update is None else after_update(record, update, record.updated_at)
        if update is not None and after != record:
            updates.append(update)
        covered = record.filled + coming >= after.intent.quantity
        if after.state.is_final:
            if replace(after, filled=after.filled + coming).expects_fills:
                awaiting.append(ref)
        elif not covered and (update is None or after.state is not IntentState.WORKING):
            doubtful.append(ref)

    unnamed = [update for ref, update in told.items() if ref not in facts.records]
    unknown_fills = tuple(fill for fill in unbooked if fill.order_ref not in facts.records)
    unrecorded = _unrecorded(facts, unnamed, unknown_fills)
    taken_up = {found.order_ref for found in unrecorded}
    return Recovery(
        updates=tuple(updates),
        missing_fills=missing,
        doubtful=tuple(doubtful),
        awaiting_fills=tuple(awaiting),
        orphan_orders=tuple(
            update for update in unnamed if _is_ours(update.order_ref, facts) and update.order_ref not in taken_up
        ),
        orphan_fills=tuple(fill for fill in unknown_fills if fill.order_ref not in taken_up),
        foreign_orders=tuple(update for update in unnamed if not _is_ours(update.order_ref, facts)),
        differences=differences,
        unknown=tuple(
            f"{what}: {answer.why}"
            for what, answer in (("orders", orders), ("executions", fills), ("positions", positions))
            if isinstance(answer, Unknown)
        ),
        unrecorded=unrecorded,
    )


def _unrecorded(facts: Facts, orders: Iterable[OrderUpdate], fills: Iterable[Fill]) -> tuple[UnrecordedOrder, ...]:
    updates = {update.order_ref: update for update in orders if _is_ours(update.order_ref, facts)}
    by_ref: dict[str, list[Fill]] = {}
    for fill in fills:
        by_ref.setdefault(fill.order_ref, []).append(fill)
    if facts.owner_tag is None or not (updates or by_ref):
        return ()
    found: list[UnrecordedOrder] = []
    for position in facts.positions:
        for ref, sequence, kind, order_type in _next_refs(facts.owner_tag, position):
            if ref in updates or ref in by_ref:
                told = tuple(by_ref.get(ref, ()))
                update = updates.get(ref)
                found.append(UnrecordedOrder(ref, position.position_id, sequence, update, told, kind, order_type))
    return tuple(found)


def _next_refs(owner: str, position: Position) -> Iterator[tuple[str, int, IntentKind, OrderType]]:
    """References that the position's next exits and protective orders would have."""
    name = position.position_id
    for ahead in range(1, UNRECORDED_AT_MOST + 1):
        sequence, revision = position.exit_sequence + ahead, position.protection_revision + ahead
        yield exit_ref(owner, name, sequence), sequence, IntentKind.EXIT, OrderType.MARKET
        yield protective_ref(owner, name, Leg.STOP, revision), revision, IntentKind.PROTECTIVE, OrderType.STOP
        yield protective_ref(owner, name, Leg.TARGET, revision), revision, IntentKind.PROTECTIVE, OrderType.LIMIT


def _items(answer: Answer[tuple[T, ...]]) -> tuple[T, ...]:
    return answer.value if isinstance(answer, Value) else ()


def _is_ours(order_ref: str, facts: Facts) -> bool:
    return order_ref in facts.records or (facts.owner_tag is not None and is_ours(order_ref, facts.owner_tag))


def _unbooked(fills: Iterable[Fill], booked: frozenset[str]) -> tuple[Fill, ...]:
    """The fills that are not booked, each execution once, oldest first."""
    by_id = {fill.execution_id: fill for fill in fills if fill.execution_id not in booked}
    return tuple(sorted(by_id.values(), key=lambda fill: (fill.time, fill.execution_id)))


def _unnamed(
    record: IntentRecord,
    coming: Decimal,
    agreed: bool,
    remembered_since: datetime | None,
) -> OrderUpdate | None:
    """What a complete answer that leaves out this open intent says of it; None: nothing for certain."""
    intent = record.intent
    filled = record.filled + coming
    if filled >= intent.quantity:
        return None  # booking its fills makes it Filled
    if remembered_since is not None and intent.created_at < remembered_since and not agreed:
        return None
    never_seen = record.state is not IntentState.WORKING and filled == ZERO and record.reported == ZERO
    return OrderUpdate(
        order_ref=intent.order_ref,
        state=IntentState.WITHDRAWN if never_seen else IntentState.CANCELLED,
        broker_order_id=record.broker_order_id,
        filled_quantity=filled,
        detail="the broker does not know the order" if never_seen else "the broker no longer has the order",
    )


def _differences(
    facts: Facts, unbooked: Iterable[Fill], held: Iterable[BrokerPosition]
) -> tuple[PositionDifference, ...]:
    ours: dict[str, Decimal] = {}
    for position in facts.positions:
        ours[position.symbol] = ours.get(position.symbol, ZERO) + position.quantity
    for fill in unbooked:
        ours[fill.symbol] = ours.get(fill.symbol, ZERO) + fill.quantity * fill.side.sign
    brokers: dict[str, Decimal] = {}
    for item in held:
        brokers[item.symbol] = brokers.get(item.symbol, ZERO) + item.quantity
    concerned = set(ours) | {record.intent.symbol for record in facts.records.values() if record.is_open}
    return tuple(
        PositionDifference(symbol, ours.get(symbol, ZERO), brokers.get(symbol, ZERO), symbol not in concerned)
        for symbol in sorted(ours.keys() | brokers.keys())
        if ours.get(symbol, ZERO) != brokers.get(symbol, ZERO)
    )
