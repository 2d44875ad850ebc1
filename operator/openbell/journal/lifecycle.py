"""The life of an intent: what an update or a fill makes of its record. Pure.

Only the broker's word moves an intent on, and never back: Intended < Doubtful < Working < final. Filled, Cancelled
and Rejected are final whatever comes later. Withdrawn is our own conclusion (the broker did not know the order), so
a later word of the broker about that order overrules it: bytes that were still on their way can arrive after all.
Filled can be our own conclusion too, of a protective order whose larger quantity could not be written down: the
broker's answer that it still works for more overrules that.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from openbell.domain.money import ZERO
from openbell.domain.orders import Fill, Intent, IntentKind, IntentState, OrderUpdate
from openbell.journal.values import IntentRecord

_STEP = {IntentState.INTENDED: 0, IntentState.DOUBTFUL: 1, IntentState.WORKING: 2}
_BROKERS_WORD = frozenset({IntentState.WORKING, IntentState.FILLED, IntentState.CANCELLED, IntentState.REJECTED})
_BROKERS_FINAL = _BROKERS_WORD - {IntentState.WORKING}


def after_update(record: IntentRecord, update: OrderUpdate, now: datetime) -> IntentRecord:
    """The record after an update, which may be late, repeated or contradict what is known better.

    The state follows the rule above; Withdrawn is refused where the broker ever acknowledged the order or a fill
    is booked. The broker's cumulative quantity only grows. Terms are taken of a protective order alone: no other one
    is ever changed by us.
    """
    state = _state_after(record, update)
    changed = replace(
        record,
        intent=record.intent
        if state in _BROKERS_FINAL and state is record.state
        else _with_terms(record.intent, update),
        state=state,
        reported=max(record.reported, update.filled_quantity),
        broker_order_id=update.broker_order_id or record.broker_order_id,
        detail=update.detail if update.detail and state is update.state else record.detail,
    )
    return record if changed == record else replace(changed, updated_at=now)


def _is_larger(record: IntentRecord, update: OrderUpdate) -> bool:
    """Whether a protective order that our fills had filled is a larger one at the broker."""
    terms, kind = update.terms, record.intent.kind
    return kind is IntentKind.PROTECTIVE and terms is not None and terms.quantity > max(record.filled, record.reported)


def _with_terms(intent: Intent, update: OrderUpdate) -> Intent:
    terms = update.terms
    if terms is None or intent.kind is not IntentKind.PROTECTIVE or not terms.quantity > 0:
        return intent
    fits = (terms.limit_price is None, terms.stop_price is None) == (
        intent.limit_price is None,
        intent.stop_price is None,
    )
    if not fits:
        return intent
    return replace(intent, quantity=terms.quantity, limit_price=terms.limit_price, stop_price=terms.stop_price)


def _state_after(record: IntentRecord, update: OrderUpdate) -> IntentState:
    known, told = record.state, update.state
    if known is IntentState.WITHDRAWN:
        return told if told in _BROKERS_WORD else known
    if known is IntentState.FILLED and told is IntentState.WORKING and _is_larger(record, update):
        return told
    if known.is_final:
        return known
    if told is IntentState.WITHDRAWN:
        never_seen = known is not IntentState.WORKING and record.filled == ZERO and record.reported == ZERO
        return told if never_seen else known
    if told.is_final:
        return told
    return told if _STEP[told] > _STEP[known] else known


def after_fill(record: IntentRecord, fill: Fill, now: datetime) -> IntentRecord:
    """The record after a new fill: quantities grow, a full one fills the intent, a part of one makes it Working.

    A fill always books, also on a final intent (a cancel that came too late), whose state then stays.
    """
    filled = record.filled + fill.quantity
    state = record.state
    if not state.is_final or state is IntentState.WITHDRAWN:
        state = IntentState.FILLED if filled >= record.intent.quantity else IntentState.WORKING
    return replace(
        record,
        state=state,
        filled=filled,
        reported=max(record.reported, filled),
        average_price=(record.average_price * record.filled + fill.price * fill.quantity) / filled,
        updated_at=now,
    )


def after_split(record: IntentRecord, ratio: Decimal, now: datetime) -> IntentRecord:
    """The record after a stock split of `ratio` new shares for one old, as the broker splits a working order."""
    intent = record.intent
    split = replace(
        intent,
        quantity=intent.quantity * ratio,
        reference_price=intent.reference_price / ratio,
        limit_price=None if intent.limit_price is None else intent.limit_price / ratio,
        stop_price=None if intent.stop_price is None else intent.stop_price / ratio,
    )
    return replace(
        record,
        intent=split,
        filled=record.filled * ratio,
        reported=record.reported * ratio,
        average_price=record.average_price / ratio,
        updated_at=now,
    )
